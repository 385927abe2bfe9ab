//! The keeper: the one thread that reads and changes the host, and when it does so. What it does
//! each time is in [`pass`], when it reads the spec in [`reading`], what it does when asked in
//! [`commands`].

mod commands;
mod ground;
mod pass;
mod reading;
mod told;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use evenkeel_engine::{Journal, Sysctls};
use evenkeel_model::{Live, ServiceKey};
use evenkeel_plan::{Guard, Object};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::backoff::{delay, jittered};
use crate::clock::Clock;
use crate::control::Command;
use crate::failing::Failing;
use crate::fights::Fights;
use crate::files::{Files, Signature};
use crate::heartbeat::Heartbeat;
use crate::metrics::Metrics;
use crate::settle::{LIMIT, QUIET, Settle};
use crate::source::SpecSource;
use crate::specs::Specs;
use crate::status::{Held, Mode, PassStatus, Pause, Status};
use crate::systemd::Notifier;
use crate::traffic::Names;
use crate::{Options, Reason, pause};
use ground::{Connect, Ground};

/// Between two looks at drains that go on.
const DRAIN: Duration = Duration::from_secs(1);

/// Between two tries to get the lock that someone else has.
const LOCK: Duration = Duration::from_millis(200);

/// Between the end of a pass and the next one that addresses ask for, however many of them change:
/// nine times as long as the pass took, so that a storm of events costs a tenth of a processor, but
/// never so long that a VIP of which no notice came would be gone for a tenth of a second. The first
/// one waits for nothing, nor does one for a VIP that is known to have gone: a fight ends these.
const ADDRESSES: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(80);

/// The longest sleep: whoever listens for the keeper's heart hears it in time.
const BEAT: Duration = Duration::from_secs(10);

/// What the keeper hears.
#[derive(Debug)]
pub(crate) enum Message {
    /// An address or an interface changed; these addresses went.
    Address { gone: BTreeSet<IpAddr> },
    /// Something happened to the files of the spec.
    Files,
    /// Read the spec anew, whether or not it seems to have changed.
    Reload,
    /// Somebody asks for something.
    Command(Command),
    /// End, and leave the host as it is.
    Stop,
}

/// Everything the keeper has to do with beside the kernel.
pub(crate) struct Surroundings {
    pub(crate) metrics: Metrics,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) notifier: Arc<Notifier>,
    /// Where the spec in force is told to whoever shows its names.
    pub(crate) names: Names,
    pub(crate) publish: watch::Sender<Arc<Status>>,
}

/// The keeper of one network namespace.
pub(crate) struct Keeper<K: Ground> {
    options: Options,
    connect: Connect<K>,
    kernel: Option<K>,
    surroundings: Surroundings,
    clock: Clock,
    files: Files,
    settle: Settle<Signature>,
    /// What of the files cannot be heard.
    unheard: Vec<String>,
    specs: Specs,
    /// As it was last read or written.
    journal: Journal,
    failing: Failing,
    fights: Fights,
    paused: Option<pause::Kept>,
    held: Option<Held>,
    /// As it was before; the same plan is not told twice.
    last_held: Option<Held>,
    /// The plan that was approved and is awaited.
    approved: Option<String>,
    /// The guards that the spec of this digest may pass until it is reached.
    granted: Option<(String, Vec<Guard>)>,
    /// What keeps all of it from going on, and how often in a row it did.
    trouble: Option<Trouble>,
    troubles: u32,
    /// What keeps some steps from being tried.
    obstacles: Vec<String>,
    to_do: Vec<String>,
    /// What the last plan was worth a word for.
    warnings: Vec<String>,
    /// What the host was like when it was last seen to be in sync.
    known: Option<Known<K::Glance>>,
    unmanaged: usize,
    last_pass: Option<PassStatus>,
    last_success: Option<u64>,
    due: Due,
}

/// Why a pass could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Another process is changing the namespace.
    Locked(String),
    /// Anything else, in words.
    Other(String),
}

/// A host in sync, and what tells cheaply whether it still is.
struct Known<G> {
    glance: G,
    live: Live,
    hidden: BTreeSet<ServiceKey>,
    sysctls: Sysctls,
    /// When the whole of it is to be read again, whatever it looks like.
    until: Duration,
}

/// When something is to be done, by the clock that never jumps.
#[derive(Debug, Default)]
struct Due {
    resync: Duration,
    retry: Option<Duration>,
    drain: Option<Duration>,
    settle: Option<Duration>,
    address: Option<Duration>,
    /// Before that, addresses ask for no further pass.
    addresses_from: Duration,
    /// When other programs are to be looked for again; this wakes nobody up.
    hands: Duration,
}

impl<K: Ground> Keeper<K> {
    pub(crate) fn new(
        options: Options,
        connect: Connect<K>,
        source: Box<dyn SpecSource>,
        files: Files,
        surroundings: Surroundings,
    ) -> Self {
        let interval = options.interval;
        Self {
            connect,
            kernel: None,
            surroundings,
            clock: Clock::new(),
            files,
            settle: Settle::new(QUIET, LIMIT),
            unheard: Vec::new(),
            specs: Specs::new(source),
            journal: Journal::default(),
            failing: Failing::default(),
            fights: Fights::new(interval),
            paused: None,
            held: None,
            last_held: None,
            approved: None,
            granted: None,
            trouble: None,
            troubles: 0,
            obstacles: Vec::new(),
            to_do: Vec::new(),
            warnings: Vec::new(),
            known: None,
            unmanaged: 0,
            last_pass: None,
            last_success: None,
            due: Due::default(),
            options,
        }
    }

    /// Keeps the host until it is told to stop, or nobody is left to tell.
    pub(crate) fn run(&mut self, messages: &Receiver<Message>) {
        self.begin();
        'kept: loop {
            self.surroundings.heartbeat.beat();
            let wait = self.next().saturating_sub(self.clock.now()).min(BEAT);
            let first = match messages.recv_timeout(wait) {
                Err(RecvTimeoutError::Disconnected) => break,
                heard => heard.ok(),
            };
            // However often it was asked for meanwhile, a reload is one.
            let mut is_reload = false;
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Stop => break 'kept,
                    Message::Reload => is_reload = true,
                    message => self.hear(message),
                }
            }
            if is_reload {
                self.reload();
            }
            self.on_time();
        }
        self.surroundings.notifier.stopping();
        info!("stopped; the host stays as it is");
    }

    fn begin(&mut self) {
        self.paused = pause::read(&self.options.state, &self.clock.both());
        match self.options.state.read(false) {
            Ok((journal, _)) => {
                self.specs.remember(&self.options.state, &journal, self.clock.wall());
                self.journal = journal;
            }
            // The first pass meets it too, and tells.
            Err(error) => debug!("{error}"),
        }
        self.read_at_rest();
        self.pass(Reason::Start);
        let words = self.surroundings.publish.borrow().summary();
        self.surroundings.notifier.ready(&words);
    }

    fn hear(&mut self, message: Message) {
        let now = self.clock.now();
        match message {
            // Whoever listens does these.
            Message::Stop | Message::Reload => {}
            Message::Address { gone } => {
                let mut from = self.due.addresses_from.max(now);
                let desired = self.specs.desired();
                for vip in desired.vips.keys().filter(|it| gone.contains(&it.address)) {
                    from = now;
                    // What the host was like is no answer to that; and a VIP that went had been
                    // bound, whatever kept a pass from it before.
                    self.known = None;
                    self.failing.retry(&Object::Vip(vip.clone()));
                }
                self.due.address = Some(self.due.address.map_or(from, |known| known.min(from)));
            }
            Message::Files => {
                let time = self.at(self.settle.heard(Instant::now()));
                self.due.settle = Some(self.due.settle.map_or(time, |known| known.min(time)));
            }
            Message::Command(Command { request, reply }) => {
                let answer = self.obey(request);
                // Whoever asked may have gone away.
                let _answered = reply.send(answer);
            }
        }
    }

    fn reload(&mut self) {
        info!("SIGHUP: reading the spec anew");
        self.surroundings.notifier.reloading();
        self.read_at_rest();
        self.failing.retry_all();
        self.fights.clear();
        self.pass(Reason::Signal);
        let words = self.surroundings.publish.borrow().summary();
        self.surroundings.notifier.ready(&words);
    }

    /// When the next thing is to be done.
    fn next(&self) -> Duration {
        let Due { resync, retry, drain, settle, address, addresses_from: _, hands: _ } = &self.due;
        let paused = self.pause().and_then(|pause| pause.until);
        let wall = self.clock.wall();
        let resumed =
            paused.map(|until| self.clock.now() + Duration::from_secs(until.saturating_sub(wall)));
        let all = [*retry, *drain, *settle, *address, resumed];
        all.into_iter().flatten().fold(*resync, Duration::min)
    }

    /// Does what is due.
    fn on_time(&mut self) {
        let now = self.clock.now();
        let is_due = |time: &mut Option<Duration>| time.take_if(|time| *time <= now).is_some();
        if is_due(&mut self.due.settle) {
            self.look_at_files();
        }
        let wall = self.clock.wall();
        if self.pause().is_some_and(|pause| pause.until.is_some_and(|until| until <= wall)) {
            info!("the pause is over");
            self.resume();
            return self.pass(Reason::Command);
        }
        // One pass does for all; it is told under the name of the most particular reason.
        let (address, drain, retry) = (
            is_due(&mut self.due.address),
            is_due(&mut self.due.drain),
            is_due(&mut self.due.retry),
        );
        if self.due.resync <= now {
            self.look_at_files();
        }
        // Not due any more if the files gave reason for a pass.
        let is_resync = self.due.resync <= now;
        match (address, drain, retry, is_resync) {
            (true, ..) => self.pass(Reason::Address),
            (_, true, ..) => self.pass(Reason::Drain),
            (_, _, true, _) => self.pass(Reason::Retry),
            (_, _, _, true) => self.pass(Reason::Resync),
            _ => {}
        }
    }

    /// Makes a pass, and plans when the next one is to be made.
    fn pass(&mut self, reason: Reason) {
        let begin = self.clock.now();
        let end = self.make_pass(reason);
        self.announce_risen();
        let now = self.clock.now();
        self.surroundings.metrics.pass(reason, end.result, now - begin);
        let milliseconds = u64::try_from((now - begin).as_millis()).unwrap_or(u64::MAX);
        if end.changes > 0 {
            info!(
                reason = reason.word(),
                result = end.result,
                changes = end.changes,
                milliseconds,
                "pass"
            );
        } else {
            debug!(reason = reason.word(), result = end.result, milliseconds, "pass");
        }
        if end.is_worth_telling {
            self.last_pass = Some(PassStatus {
                at: self.clock.wall(),
                reason,
                result: end.result.to_owned(),
                milliseconds,
                changes: end.changes,
            });
        }
        self.plan_next(now, now - begin, end.follows_up);
        self.tell();
    }

    /// Tells the neighbours on interfaces that could carry nothing before.
    fn announce_risen(&mut self) {
        if self.is_hands_off() {
            return;
        }
        let desired = self.specs.desired();
        let vips: Vec<_> = desired.vips.keys().collect();
        match self.kernel.as_mut().map(|kernel| kernel.announce_risen(&vips)) {
            Some(Ok(failed)) => failed.iter().for_each(|words| warn!("{words}")),
            // The next pass meets it too, and tells.
            Some(Err(error)) => debug!("{error}"),
            None => {}
        }
    }

    fn plan_next(&mut self, now: Duration, took: Duration, follows_up: bool) {
        self.due.resync = now + jittered(self.options.interval);
        self.due.addresses_from = now + (took * 9).clamp(*ADDRESSES.start(), *ADDRESSES.end());
        // What was heard before the pass is in what it read, if it came to read anything.
        let heard = self.due.address.filter(|_| self.trouble.is_some());
        self.due.address = heard.map(|time| time.max(self.due.addresses_from));
        let is_draining = !self.journal.record.drains.0.is_empty();
        self.due.drain = (is_draining && !self.is_hands_off()).then(|| now + DRAIN);
        self.due.retry = match &self.trouble {
            Some(Trouble::Locked(_)) => Some(now + LOCK),
            Some(Trouble::Other(_)) => Some(now + delay(self.troubles)),
            None if follows_up => Some(now),
            None if self.is_hands_off() => None,
            None => {
                let failing = self.failing.next().map(|next| next.max(now + LOCK));
                failing.into_iter().chain(self.fights.next(now)).min()
            }
        };
    }

    /// The pause that goes on, by the wall's clock of now.
    fn pause(&self) -> Option<Pause> {
        self.paused.as_ref().map(|kept| kept.at(&self.clock.both()))
    }

    /// Whether nothing is to be changed.
    fn is_hands_off(&self) -> bool {
        self.options.mode == Mode::Observe || self.paused.is_some()
    }
}
