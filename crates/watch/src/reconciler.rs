//! The keeper: the one thread that reads and changes the host, and when it does so. What it does
//! each time is in [`pass`], when it reads the spec in [`reload`], what it does when asked in
//! [`commands`].

mod commands;
mod pass;
mod platform;
mod reload;
mod status;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use evenkeel_engine::{Journal, ReadRequest};
use evenkeel_model::{Live, ServiceKey};
use evenkeel_plan::{Guard, Object};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::active_spec::SpecVersions;
use crate::backoff::{delay, jittered};
use crate::clock::Clock;
use crate::conflict::Conflicts;
use crate::control::Command;
use crate::debounce::{Debounce, LIMIT, STABLE_FOR};
use crate::liveness::Liveness;
use crate::metrics::Metrics;
use crate::retry::RetryQueue;
use crate::spec_source::SpecSource;
use crate::spec_watcher::{Files, Fingerprint};
use crate::status::{Held, Mode, PassStatus, Pause, Status};
use crate::systemd::Notifier;
use crate::traffic_reader::Names;
use crate::{Options, Trigger, pause};
use platform::{Connect, Platform};

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
const MAX_SLEEP: Duration = Duration::from_secs(10);

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
pub(crate) struct Outputs {
    pub(crate) metrics: Metrics,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) notifier: Arc<Notifier>,
    /// Where the spec in force is told to whoever shows its names.
    pub(crate) names: Names,
    pub(crate) publish: watch::Sender<Arc<Status>>,
}

/// The keeper of one network namespace.
pub(crate) struct Reconciler<K: Platform> {
    options: Options,
    connect: Connect<K>,
    kernel: Option<K>,
    outputs: Outputs,
    clock: Clock,
    files: Files,
    debounce: Debounce<Fingerprint>,
    /// What of the files cannot be heard.
    unreliable: Vec<String>,
    specs: SpecVersions,
    /// As it was last read or written.
    journal: Journal,
    failing: RetryQueue,
    conflicts: Conflicts,
    paused: Option<pause::StoredPause>,
    held: Option<Held>,
    /// As it was before; the same plan is not told twice.
    last_held: Option<Held>,
    /// The plan that was approved and is awaited.
    approved: Option<String>,
    /// The guards that the spec of this digest may pass until it is reached.
    granted: Option<(String, Vec<Guard>)>,
    /// What keeps all of it from going on, and how often in a row it did.
    pass_error: Option<PassError>,
    consecutive_failures: u32,
    /// What keeps some steps from being tried.
    unmet_preconditions: Vec<String>,
    pending_steps: Vec<String>,
    /// What the last plan was worth a word for.
    warnings: Vec<String>,
    /// What the host was like when it was last seen to be in sync.
    known: Option<SyncBaseline<K::TableDigest>>,
    unmanaged: usize,
    last_pass: Option<PassStatus>,
    last_success: Option<u64>,
    schedule: Schedule,
}

/// Why a pass could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PassError {
    /// Another process is changing the namespace.
    Locked(String),
    /// Anything else, in words.
    Other(String),
}

/// A host in sync, and what tells cheaply whether it still is.
struct SyncBaseline<G> {
    table_digest: G,
    live: Live,
    not_in_proc: BTreeSet<ServiceKey>,
    request: ReadRequest,
    /// When the whole of it is to be read again, whatever it looks like.
    until: Duration,
}

/// When something is to be done, by the clock that never jumps.
#[derive(Debug, Default)]
struct Schedule {
    resync: Duration,
    retry: Option<Duration>,
    drain: Option<Duration>,
    debounce: Option<Duration>,
    address: Option<Duration>,
    /// Before that, addresses ask for no further pass.
    addresses_from: Duration,
    /// When other programs are to be looked for again; this wakes nobody up.
    known_writers_at: Duration,
}

impl<K: Platform> Reconciler<K> {
    pub(crate) fn new(
        options: Options,
        connect: Connect<K>,
        source: Box<dyn SpecSource>,
        files: Files,
        outputs: Outputs,
    ) -> Self {
        let interval = options.interval;
        Self {
            connect,
            kernel: None,
            outputs,
            clock: Clock::new(),
            files,
            debounce: Debounce::new(STABLE_FOR, LIMIT),
            unreliable: Vec::new(),
            specs: SpecVersions::new(source),
            journal: Journal::default(),
            failing: RetryQueue::default(),
            conflicts: Conflicts::new(interval),
            paused: None,
            held: None,
            last_held: None,
            approved: None,
            granted: None,
            pass_error: None,
            consecutive_failures: 0,
            unmet_preconditions: Vec::new(),
            pending_steps: Vec::new(),
            warnings: Vec::new(),
            known: None,
            unmanaged: 0,
            last_pass: None,
            last_success: None,
            schedule: Schedule::default(),
            options,
        }
    }

    /// Keeps the host until it is told to stop, or nobody is left to tell.
    pub(crate) fn run(&mut self, messages: &Receiver<Message>) {
        self.begin();
        'running: loop {
            self.outputs.liveness.mark_alive();
            let wait = self.next().saturating_sub(self.clock.now()).min(MAX_SLEEP);
            let first = match messages.recv_timeout(wait) {
                Err(RecvTimeoutError::Disconnected) => break,
                received => received.ok(),
            };
            // However often it was asked for meanwhile, a reload is one.
            let mut is_reload = false;
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Stop => break 'running,
                    Message::Reload => is_reload = true,
                    message => self.on_message(message),
                }
            }
            if is_reload {
                self.reload();
            }
            self.on_timer();
        }
        self.outputs.notifier.stopping();
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
        self.read_when_stable();
        self.pass(Trigger::Start);
        let summary = self.outputs.publish.borrow().summary();
        self.outputs.notifier.ready(&summary);
    }

    fn on_message(&mut self, message: Message) {
        let now = self.clock.now();
        match message {
            // Whoever listens does these.
            Message::Stop | Message::Reload => {}
            Message::Address { gone } => {
                let mut from = self.schedule.addresses_from.max(now);
                let desired = self.specs.desired();
                for vip in desired.vips.keys().filter(|it| gone.contains(&it.address)) {
                    from = now;
                    // What the host was like is no answer to that; and a VIP that went had been
                    // bound, whatever kept a pass from it before.
                    self.known = None;
                    self.failing.retry(&Object::Vip(vip.clone()));
                }
                self.schedule.address =
                    Some(self.schedule.address.map_or(from, |known| known.min(from)));
            }
            Message::Files => {
                let time = self.at(self.debounce.next_sample(Instant::now()));
                self.schedule.debounce =
                    Some(self.schedule.debounce.map_or(time, |known| known.min(time)));
            }
            Message::Command(Command { request, reply }) => {
                let answer = self.handle(request);
                // Whoever asked may have gone away.
                let _answered = reply.send(answer);
            }
        }
    }

    fn reload(&mut self) {
        info!("SIGHUP: reading the spec anew");
        self.outputs.notifier.reloading();
        self.read_when_stable();
        self.failing.retry_all();
        self.conflicts.clear();
        self.pass(Trigger::Signal);
        let summary = self.outputs.publish.borrow().summary();
        self.outputs.notifier.ready(&summary);
    }

    /// When the next thing is to be done.
    fn next(&self) -> Duration {
        let Schedule {
            resync,
            retry,
            drain,
            debounce,
            address,
            addresses_from: _,
            known_writers_at: _,
        } = &self.schedule;
        let paused = self.pause().and_then(|pause| pause.until);
        let wall = self.clock.wall();
        let resumed =
            paused.map(|until| self.clock.now() + Duration::from_secs(until.saturating_sub(wall)));
        let all = [*retry, *drain, *debounce, *address, resumed];
        all.into_iter().flatten().fold(*resync, Duration::min)
    }

    /// Does what is due.
    fn on_timer(&mut self) {
        let now = self.clock.now();
        let is_due = |time: &mut Option<Duration>| time.take_if(|time| *time <= now).is_some();
        if is_due(&mut self.schedule.debounce) {
            self.check_files();
        }
        let wall = self.clock.wall();
        if self.pause().is_some_and(|pause| pause.until.is_some_and(|until| until <= wall)) {
            info!("the pause is over");
            self.resume();
            return self.pass(Trigger::Command);
        }
        // One pass does for all; it is told under the name of the most particular reason.
        let (address, drain, retry) = (
            is_due(&mut self.schedule.address),
            is_due(&mut self.schedule.drain),
            is_due(&mut self.schedule.retry),
        );
        if self.schedule.resync <= now {
            self.check_files();
        }
        // Not due any more if the files gave reason for a pass.
        let is_resync = self.schedule.resync <= now;
        match (address, drain, retry, is_resync) {
            (true, ..) => self.pass(Trigger::Address),
            (_, true, ..) => self.pass(Trigger::Drain),
            (_, _, true, _) => self.pass(Trigger::Retry),
            (_, _, _, true) => self.pass(Trigger::Resync),
            _ => {}
        }
    }

    /// Makes a pass, and plans when the next one is to be made.
    fn pass(&mut self, trigger: Trigger) {
        let begin = self.clock.now();
        let end = self.reconcile(trigger);
        self.reannounce();
        let now = self.clock.now();
        self.outputs.metrics.pass(trigger, end.result, now - begin);
        let milliseconds = u64::try_from((now - begin).as_millis()).unwrap_or(u64::MAX);
        if end.changes > 0 {
            info!(
                trigger = trigger.as_str(),
                result = end.result,
                changes = end.changes,
                milliseconds,
                "pass"
            );
        } else {
            debug!(trigger = trigger.as_str(), result = end.result, milliseconds, "pass");
        }
        if end.is_reported {
            self.last_pass = Some(PassStatus {
                at: self.clock.wall(),
                trigger,
                result: end.result.to_owned(),
                milliseconds,
                changes: end.changes,
            });
        }
        self.plan_next(now, now - begin, end.needs_follow_up);
        self.publish_status();
    }

    /// Tells the neighbours on interfaces that could carry nothing before.
    fn reannounce(&mut self) {
        if self.is_read_only() {
            return;
        }
        let desired = self.specs.desired();
        let vips: Vec<_> = desired.vips.keys().collect();
        match self.kernel.as_mut().map(|kernel| kernel.reannounce(&vips)) {
            Some(Ok(failed)) => failed.iter().for_each(|summary| warn!("{summary}")),
            // The next pass meets it too, and tells.
            Some(Err(error)) => debug!("{error}"),
            None => {}
        }
    }

    fn plan_next(&mut self, now: Duration, took: Duration, needs_follow_up: bool) {
        self.schedule.resync = now + jittered(self.options.interval);
        self.schedule.addresses_from = now + (took * 9).clamp(*ADDRESSES.start(), *ADDRESSES.end());
        // What was heard before the pass is in what it read, if it came to read anything.
        let received = self.schedule.address.filter(|_| self.pass_error.is_some());
        self.schedule.address = received.map(|time| time.max(self.schedule.addresses_from));
        let is_draining = !self.journal.record.drains.0.is_empty();
        self.schedule.drain = (is_draining && !self.is_read_only()).then(|| now + DRAIN);
        self.schedule.retry = match &self.pass_error {
            Some(PassError::Locked(_)) => Some(now + LOCK),
            Some(PassError::Other(_)) => Some(now + delay(self.consecutive_failures)),
            None if needs_follow_up => Some(now),
            None if self.is_read_only() => None,
            None => {
                let failing = self.failing.next().map(|next| next.max(now + LOCK));
                failing.into_iter().chain(self.conflicts.next(now)).min()
            }
        };
    }

    /// The pause that goes on, by the wall's clock of now.
    fn pause(&self) -> Option<Pause> {
        self.paused.as_ref().map(|stored| stored.at(&self.clock.both()))
    }

    /// Whether nothing is to be changed.
    fn is_read_only(&self) -> bool {
        self.options.mode == Mode::Observe || self.paused.is_some()
    }
}
