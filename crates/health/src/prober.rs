//! The thread that probes.
//!
//! It owns an event loop, the schedule, and the states of all checks. Nothing that it does can block: it
//! writes no log, and a receiver that does not take a batch gets a later one that says as much.

mod last_turn;
mod outbox;
mod worker;

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use rustix::process::{Resource, getrlimit};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::batch::Batch;
use crate::check_id::CheckId;
use crate::clock::Moment;
use crate::environment::Environment;
use crate::job::Job;
use crate::routes::Routes;
use crate::stored::StoredVerdict;
use evenkeel_model::Verdict;

use last_turn::LastTurn;
use worker::{Command, Worker};

/// How many probes run at once, whatever the limit of descriptors.
const MOST: u64 = 4096;

/// Takes batches. It must not block; it returns a batch that it does not take now, and is asked again.
pub type Sink = Box<dyn FnMut(Batch) -> Result<(), Batch> + Send>;

/// How a prober starts.
#[derive(Debug)]
pub struct ProberOptions {
    /// What the host offers.
    pub environment: Environment,
    /// How many probes run at once; `None`: [`probe_limit`].
    pub limit: Option<usize>,
    /// Verdicts of the process before, those of them that [are fresh](crate::StoredVerdicts::fresh).
    pub stored: Vec<StoredVerdict>,
    /// The routes of this host.
    pub routes: Box<dyn Routes>,
}

/// The thread, until it is dropped.
#[derive(Debug)]
pub struct Prober {
    commands: Option<UnboundedSender<Command>>,
    last_turn: LastTurn,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Starts the thread, which probes nothing until it [has checks](Self::set).
    ///
    /// # Errors
    /// If the kernel has no thread, or nothing to wait for events with.
    pub fn start(options: ProberOptions, sink: Sink) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (commands, receiver) = unbounded_channel();
        let last_turn = LastTurn::default();
        let turns = last_turn.clone();
        let thread = thread::Builder::new().name("health".to_owned()).spawn(move || {
            let limit = options.limit.unwrap_or_else(probe_limit);
            runtime.block_on(async move {
                let ProberOptions { environment, limit: _, stored, routes } = options;
                Worker::new(environment, limit, (stored, routes), sink).run(receiver, turns).await;
            });
        })?;
        Ok(Self { commands: Some(commands), last_turn, thread: Some(thread) })
    }

    /// Sets which checks are made from now on. Those that are made already keep their verdict and their
    /// times; changed ones keep the verdict until their first results.
    pub fn set(&self, jobs: Vec<Job>) {
        // Here and not in the thread, where it would delay probes.
        let mut wanted: HashMap<CheckId, Job> = HashMap::new();
        for job in jobs {
            let first = job.first;
            let known = wanted.entry(job.id()).or_insert(job);
            // In use in one service, new in another: it is in use.
            if first == Verdict::Up {
                known.first = first;
            }
        }
        self.command(Command::Set(wanted));
    }

    /// Makes a check now, as after a hint that its target has changed.
    pub fn hurry(&self, id: CheckId) {
        self.command(Command::Hurry(id));
    }

    /// Whether the thread runs. It ends by itself only by a defect.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|it| !it.is_finished())
    }

    /// When the loop last turned: at most a second ago, unless something holds it up. A checker that is
    /// frozen reports nothing, so callers should compare this with the clock from time to time.
    pub fn last_turn(&self) -> Moment {
        self.last_turn.get()
    }

    fn command(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A thread that has ended takes none, which `is_running` says.
            let _ = commands.send(command);
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A sink into a channel of the receiver, converted to its messages.
pub fn channel_sink<T: Send + 'static>(
    sender: SyncSender<T>,
    to_message: impl Fn(Batch) -> T + Send + 'static,
    to_batch: impl Fn(T) -> Option<Batch> + Send + 'static,
) -> Sink {
    Box::new(move |batch| match sender.try_send(to_message(batch)) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(message)) => match to_batch(message) {
            Some(batch) => Err(batch),
            None => Ok(()),
        },
        // The receiver is gone: the process ends.
        Err(TrySendError::Disconnected(_)) => Ok(()),
    })
}

/// How many probes may run at once: half of the descriptors that this process may have, 4,096 at most.
pub fn probe_limit() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((descriptors / 2).clamp(1, MOST)).unwrap_or(1)
}

#[cfg(test)]
#[path = "prober/tests.rs"]
mod tests;
