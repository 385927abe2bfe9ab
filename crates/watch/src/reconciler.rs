//! The reconcile loop: the single thread that reads and changes the host, and its timers. [`pass`]
//! is one pass, [`reload`] reads the spec, [`commands`] executes requests of the control socket,
//! [`status`] publishes the state,
//! and [`events`] what changed.

mod commands;
mod events;
mod pass;
mod reload;
mod status;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use evenkeel_control::{Command, EventPublisher, Held, Mode, PassStatus, Pause, Status, Trigger};
use evenkeel_engine::{Journal, Kernel, KernelError, ReadRequest, TableDigest};
use evenkeel_model::{Binding, Live, ServiceKey};
use evenkeel_plan::{Guard, Object, Warning};
use evenkeel_source::Follower;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::active_spec::SpecVersions;
use crate::backoff::{delay, jittered};
use crate::clock::DaemonClock;
use crate::conflict::Conflicts;
use crate::liveness::Liveness;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::pause;
use crate::retry::RetryQueue;
use crate::systemd::Notifier;
use crate::traffic_reader::Names;
use events::PassEvents;

/// Connects to a kernel; the addresses are those that the journal records as evenkeel's.
pub(crate) type Connect<K> = Box<dyn FnMut(BTreeSet<Binding>) -> Result<K, KernelError> + Send>;

/// Between two checks of running drains.
const DRAIN: Duration = Duration::from_secs(1);

/// Between two attempts to take a lock that another process holds.
const LOCK: Duration = Duration::from_millis(200);

/// Between the end of a pass and the next one that address events trigger, however many there are:
/// nine times as long as the pass took, so that a storm of events costs a tenth of a processor, but
/// never so long that a VIP whose removal was not reported would be missing for a tenth of a second.
/// The first such pass does not wait, nor does one for a VIP that is reported as removed: conflict
/// detection limits these.
const ADDRESSES: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(80);

/// The upper bound on sleeping, so that the liveness check does not expire.
const MAX_SLEEP: Duration = Duration::from_secs(10);

/// A message to the reconciler.
#[derive(Debug)]
pub(crate) enum Message {
    /// An address or an interface changed; these addresses were removed.
    Address { gone: BTreeSet<IpAddr> },
    /// The source of the spec may have changed.
    Source,
    /// Read the spec again, whether or not it seems to have changed.
    Reload,
    /// A request of the control socket.
    Command(Command),
    /// Stop, and leave the host unchanged.
    Stop,
}

/// Where the reconciler publishes its state.
pub(crate) struct Outputs {
    pub(crate) metrics: Metrics,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) notifier: Arc<Notifier>,
    /// The active spec, for the names in traffic metrics.
    pub(crate) names: Names,
    pub(crate) publish: watch::Sender<Arc<Status>>,
    pub(crate) events: EventPublisher,
}

/// Keeps one network namespace on its spec.
pub(crate) struct Reconciler<K: Kernel> {
    options: Options,
    connect: Connect<K>,
    kernel: Option<K>,
    outputs: Outputs,
    clock: DaemonClock,
    follower: Follower,
    /// Changes that the source may not report, a message each.
    unreliable: Vec<String>,
    specs: SpecVersions,
    /// The journal as last read or written.
    journal: Journal,
    failing: RetryQueue,
    conflicts: Conflicts,
    paused: Option<pause::StoredPause>,
    held: Option<Held>,
    /// The last held plan that was logged; the same plan is not logged twice.
    last_held: Option<Held>,
    /// The approved plan that the next pass may apply.
    approved: Option<String>,
    /// The guards that the spec with this digest may pass until it is reached.
    granted: Option<(String, Vec<Guard>)>,
    /// Why no pass can be made, and how many passes in a row have failed.
    pass_error: Option<PassError>,
    consecutive_failures: u32,
    /// Why some steps cannot be tried.
    unmet_preconditions: Vec<String>,
    pending_steps: Vec<String>,
    /// The warnings of the last plan.
    warnings: Vec<Warning>,
    /// The state of the host when it was last in sync.
    baseline: Option<SyncBaseline>,
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
    /// Anything else, as a message.
    Other(String),
}

/// A host in sync, with what a probe compares to find out whether it still is.
struct SyncBaseline {
    table_digest: TableDigest,
    live: Live,
    not_in_proc: BTreeSet<ServiceKey>,
    request: ReadRequest,
    /// When the whole of it is to be read again, even if a probe sees no change.
    until: Duration,
}

/// The deadlines of the timers, by the monotonic clock.
#[derive(Debug, Default)]
struct Schedule {
    resync: Duration,
    retry: Option<Duration>,
    drain: Option<Duration>,
    debounce: Option<Duration>,
    address: Option<Duration>,
    /// Before this time, address events trigger no further pass.
    addresses_from: Duration,
    /// When to look for other programs again, in the pass after it; it is not a timer.
    known_writers_at: Duration,
}

impl<K: Kernel> Reconciler<K> {
    pub(crate) fn new(
        options: Options,
        connect: Connect<K>,
        follower: Follower,
        outputs: Outputs,
    ) -> Self {
        let interval = options.interval;
        Self {
            connect,
            kernel: None,
            outputs,
            clock: DaemonClock::new(),
            follower,
            unreliable: Vec::new(),
            specs: SpecVersions::default(),
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
            baseline: None,
            unmanaged: 0,
            last_pass: None,
            last_success: None,
            schedule: Schedule::default(),
            options,
        }
    }

    /// Runs the loop until a stop message arrives or all senders are gone.
    pub(crate) fn run(&mut self, messages: &Receiver<Message>) {
        self.begin();
        'running: loop {
            self.outputs.liveness.mark_alive();
            let wait = self.next().saturating_sub(self.clock.now()).min(MAX_SLEEP);
            let first = match messages.recv_timeout(wait) {
                Err(RecvTimeoutError::Disconnected) => break,
                received => received.ok(),
            };
            // Several reload requests lead to one reload.
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
        info!("stopped; the host is left unchanged");
    }

    fn begin(&mut self) {
        self.paused = pause::read(&self.options.state, &self.clock.both());
        match self.options.state.read(false) {
            Ok((journal, _)) => {
                self.specs.remember(&self.options.state, &journal, self.clock.wall());
                self.journal = journal;
            }
            // The first pass fails with it too, and reports it.
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
            // Handled by the loop.
            Message::Stop | Message::Reload => {}
            Message::Address { gone } => {
                let mut from = self.schedule.addresses_from.max(now);
                let desired = self.specs.desired();
                for vip in desired.vips.keys().filter(|it| gone.contains(&it.address)) {
                    from = now;
                    // A probe against the baseline does not suffice here. And a VIP that was removed
                    // had been bound, whatever prevented a pass from binding it before.
                    self.baseline = None;
                    self.failing.retry(&Object::Vip(vip.clone()));
                }
                self.schedule.address =
                    Some(self.schedule.address.map_or(from, |time| time.min(from)));
                if self.follower.uses_addresses() {
                    // As rarely as the passes, however many events there are.
                    self.sample_at(self.schedule.addresses_from);
                }
            }
            Message::Source => self.sample_at(Duration::ZERO),
            Message::Command(Command { request, reply }) => {
                let answer = self.handle(request);
                // The client may have disconnected.
                let _answered = reply.send(answer);
            }
        }
    }

    /// Schedules a sample of the source for this time, or a moment after the last one.
    fn sample_at(&mut self, time: Duration) {
        let time = self.at(self.follower.next_sample(Instant::now())).max(time);
        self.schedule.debounce = Some(self.schedule.debounce.map_or(time, |due| due.min(time)));
    }

    fn reload(&mut self) {
        info!("SIGHUP: reading the spec again");
        self.outputs.notifier.reloading();
        self.read_when_stable();
        self.failing.retry_all();
        self.conflicts.clear();
        self.pass(Trigger::Signal);
        let summary = self.outputs.publish.borrow().summary();
        self.outputs.notifier.ready(&summary);
    }

    /// Returns the next deadline.
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

    /// Executes what is due.
    fn on_timer(&mut self) {
        let now = self.clock.now();
        let is_due = |time: &mut Option<Duration>| time.take_if(|time| *time <= now).is_some();
        if is_due(&mut self.schedule.debounce) {
            self.check_source();
        }
        let wall = self.clock.wall();
        if self.pause().is_some_and(|pause| pause.until.is_some_and(|until| until <= wall)) {
            info!("the pause is over");
            self.resume();
            return self.pass(Trigger::Command);
        }
        // One pass serves all; it is reported with the most specific trigger.
        let (address, drain, retry) = (
            is_due(&mut self.schedule.address),
            is_due(&mut self.schedule.drain),
            is_due(&mut self.schedule.retry),
        );
        if self.schedule.resync <= now {
            self.check_source();
        }
        // No longer due if the source triggered a pass.
        let is_resync = self.schedule.resync <= now;
        match (address, drain, retry, is_resync) {
            (true, ..) => self.pass(Trigger::Address),
            (_, true, ..) => self.pass(Trigger::Drain),
            (_, _, true, _) => self.pass(Trigger::Retry),
            (_, _, _, true) => self.pass(Trigger::Resync),
            _ => {}
        }
    }

    /// Makes a pass and schedules the next one.
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
        let mut events = PassEvents { pass: None, steps: end.steps };
        if end.is_reported {
            events.pass = Some(PassStatus {
                at: self.clock.wall(),
                trigger,
                result: end.result.to_owned(),
                milliseconds,
                changes: end.changes,
            });
            self.last_pass.clone_from(&events.pass);
        }
        self.schedule_next(now, now - begin, end.needs_follow_up);
        self.publish_status(events);
    }

    /// Announces VIPs on interfaces that came up.
    fn reannounce(&mut self) {
        if self.is_read_only() {
            return;
        }
        let desired = self.specs.desired();
        let vips: Vec<_> = desired.vips.keys().collect();
        match self.kernel.as_mut().map(|kernel| kernel.reannounce(&vips)) {
            Some(Ok(failed)) => failed.iter().for_each(|message| warn!("{message}")),
            // The next pass fails with it too, and reports it.
            Some(Err(error)) => debug!("{error}"),
            None => {}
        }
    }

    fn schedule_next(&mut self, now: Duration, took: Duration, needs_follow_up: bool) {
        self.schedule.resync = now + jittered(self.options.interval);
        self.schedule.addresses_from = now + (took * 9).clamp(*ADDRESSES.start(), *ADDRESSES.end());
        // Events before the pass are in what it read, if it got to read anything.
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

    /// Returns the active pause, in terms of the current wall clock.
    fn pause(&self) -> Option<Pause> {
        self.paused.as_ref().map(|stored| stored.at(&self.clock.both()))
    }

    /// Whether the daemon must not change anything.
    fn is_read_only(&self) -> bool {
        self.options.mode == Mode::Observe || self.paused.is_some()
    }
}
