//! The reconcile loop: the single thread that reads and changes the host.
//!
//! Its parts own their state: [`host`] the kernel and the journal, [`followed_source`] the source of the
//! spec, [`active_spec`] the specs, [`change_gate`] what may be applied, [`overrides`] what operators hold,
//! [`health`] the checks, [`retry`] the failed objects,
//! [`conflict`] the changes that other programs repeat, [`schedule`] the timers, [`report`] what the
//! passes found.
//! The loop combines them: [`pass`] is one pass, [`reload`] reads the spec, [`commands`] executes
//! requests of the control socket, [`status`] publishes the state, and [`events`] what changed.

mod active_spec;
mod backoff;
mod change_gate;
mod commands;
mod conflict;
mod events;
mod followed_source;
mod health;
mod host;
mod kept_vips;
mod overrides;
mod parameter_changes;
mod pass;
mod pass_error;
mod pause;
mod reload;
mod report;
mod retry;
mod schedule;
mod status;
mod transitions;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use evenkeel_control::{Command, EventPublisher, Mode, PassStatus, Pause, Status, Trigger};
use evenkeel_engine::{Journal, Kernel};
use evenkeel_health::Moment;
use evenkeel_plan::{Object, Op};
use evenkeel_source::Follower;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::listen::EndpointProblem;
use crate::liveness::Liveness;
use crate::lost_vips::KeptVips;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::systemd::Notifier;
use crate::traffic_reader::Names;
use active_spec::SpecVersions;
use change_gate::ChangeGate;
use conflict::Conflicts;
use events::PassEvents;
use followed_source::FollowedSource;
use health::Health;
use host::Host;
use kept_vips::BoundVips;
use overrides::Overrides;
use report::PassReport;
use retry::RetryQueue;
use schedule::{PassEnd, Schedule};

/// A message to the reconciler.
#[derive(Debug)]
pub(crate) enum Message {
    /// An address or an interface changed.
    Address {
        /// The addresses that were removed.
        gone: BTreeSet<IpAddr>,
        /// Those of them that were bound again already ([`crate::lost_vips`]).
        rebound: Vec<Op>,
    },
    /// The source of the spec may have changed.
    Source,
    /// Read the spec again, whether or not it seems to have changed.
    Reload,
    /// A request of the control socket.
    Command(Command),
    /// There are results of health checks.
    Health,
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
    /// Why the HTTP endpoint is missing, for the status.
    pub(crate) endpoint_problem: EndpointProblem,
}

pub(crate) use health::Wake;
pub(crate) use host::Connect;

/// Keeps one network namespace on its spec: the loop and the parts that own its state.
pub(crate) struct Reconciler<K: Kernel> {
    options: Options,
    outputs: Outputs,
    host: Host<K>,
    source: FollowedSource,
    specs: SpecVersions,
    lock: K::Lock,
    gate: ChangeGate,
    overrides: Overrides,
    health: Health,
    retries: RetryQueue,
    conflicts: Conflicts,
    schedule: Schedule,
    report: PassReport,
    bound_vips: BoundVips,
}

impl<K: Kernel> Reconciler<K> {
    pub(crate) fn new(
        options: Options,
        connect: Connect<K>,
        follower: Follower,
        outputs: Outputs,
        lock: K::Lock,
        kept_vips: KeptVips,
        wake: Wake,
    ) -> Self {
        Self {
            health: Health::new(options.checks.clone(), wake, outputs.metrics.checks()),
            outputs,
            lock,
            host: Host::new(connect),
            source: FollowedSource::new(follower),
            specs: SpecVersions::default(),
            gate: ChangeGate::default(),
            overrides: Overrides::default(),
            retries: RetryQueue::default(),
            conflicts: Conflicts::new(options.interval),
            schedule: Schedule::new(options.interval),
            report: PassReport::default(),
            bound_vips: BoundVips::new(kept_vips),
            options,
        }
    }

    /// Runs the loop until a stop message arrives or all senders are gone.
    pub(crate) fn run(&mut self, messages: &Receiver<Message>) {
        self.begin();
        'running: loop {
            self.outputs.liveness.mark_alive();
            let pause_end = self.pause().and_then(|pause| pause.until);
            let wait = self.schedule.wait(pause_end);
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
        self.bound_vips.shared().clear();
        self.outputs.notifier.stopping();
        info!("stopped; the host is left unchanged");
    }

    fn begin(&mut self) {
        let Self { options, host, specs, gate, health, schedule, .. } = self;
        health.restore(&options.state);
        gate.restore_pause(&options.state, &schedule.clock.both());
        match host.load_journal(&options.state) {
            Ok(()) => {
                // A pending spec is not enforced.
                let journal = Journal { pending: None, next: None, ..host.journal().clone() };
                specs.remember(&options.state, &journal, schedule.clock.steady());
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
        let now = self.schedule.clock.now();
        match message {
            // Handled by the loop.
            Message::Stop | Message::Reload => {}
            Message::Address { gone, rebound } => {
                self.note_rebound(&rebound);
                let mut is_vip_gone = false;
                let desired = self.specs.desired();
                for vip in desired.vips.keys().filter(|it| gone.contains(&it.address)) {
                    is_vip_gone = true;
                    // A probe against the baseline does not suffice here. And a VIP that was removed
                    // had been bound, whatever prevented a pass from binding it before.
                    self.host.forget_baseline();
                    self.retries.retry(&Object::Vip(vip.clone()));
                }
                self.schedule.on_addresses(now, is_vip_gone);
                if self.source.uses_addresses() {
                    // As rarely as the passes, however many events there are.
                    self.sample_at(self.schedule.addresses_from);
                }
            }
            Message::Source => self.sample_at(Duration::ZERO),
            Message::Health => {
                if self.health.take_results(&self.options.state, Moment::now()) {
                    self.schedule.on_health(now);
                }
            }
            Message::Command(Command { request, reply }) => {
                let answer = self.handle(request);
                // The client may have disconnected.
                let _answered = reply.send(answer);
            }
        }
    }

    /// Schedules a sample of the source for this time, or a moment after the last one.
    fn sample_at(&mut self, time: Duration) {
        let time = self.schedule.at(self.source.next_sample()).max(time);
        self.schedule.sample_at(time);
    }

    fn reload(&mut self) {
        info!("SIGHUP: reading the spec again");
        self.outputs.notifier.reloading();
        self.read_when_stable();
        self.retries.retry_all();
        self.conflicts.clear();
        self.pass(Trigger::Signal);
        let summary = self.outputs.publish.borrow().summary();
        self.outputs.notifier.ready(&summary);
    }

    /// Executes what is due.
    fn on_timer(&mut self) {
        let now = self.schedule.clock.now();
        self.health.transitions.end_second(Moment::now());
        if self.schedule.take_debounce(now) {
            self.check_source();
        }
        let wall = self.schedule.clock.wall();
        if self.pause().is_some_and(|pause| pause.until.is_some_and(|until| until <= wall)) {
            info!("the pause is over");
            self.resume();
            return self.pass(Trigger::Command);
        }
        let due = self.schedule.take_due(now);
        if self.schedule.is_resync_due(now) {
            self.check_source();
        }
        // The resync is no longer due if the source triggered a pass.
        if let Some(trigger) = due.trigger(self.schedule.is_resync_due(now)) {
            self.pass(trigger);
        }
    }

    /// Makes a pass and schedules the next one.
    fn pass(&mut self, trigger: Trigger) {
        let begin = self.schedule.clock.now();
        let end = self.reconcile(trigger);
        self.reannounce();
        let now = self.schedule.clock.now();
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
            let pass = PassStatus {
                at: self.schedule.clock.steady(),
                trigger,
                result: end.result.to_owned(),
                milliseconds,
                changes: end.changes,
            };
            self.report.set_last_pass(&pass);
            events.pass = Some(pass);
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
        self.host.reannounce(&vips);
    }

    fn schedule_next(&mut self, now: Duration, took: Duration, needs_follow_up: bool) {
        let may_change = !self.is_read_only();
        let is_draining = !self.host.journal().record.drains.0.is_empty();
        self.schedule.after_pass(&PassEnd {
            at: now,
            took,
            problem: self.report.problem(),
            needs_follow_up,
            is_draining: is_draining && may_change,
            left: self.next_end().filter(|_| may_change),
            failed_object: self.retries.next().filter(|_| may_change),
            health: self.health.next_change(&self.specs.desired()).filter(|_| may_change),
            conflict: self.conflicts.next(now).filter(|_| may_change),
        });
    }

    /// Returns the time until this real server has left a service, an override ends, or the pending apply is
    /// overdue.
    fn next_end(&self) -> Option<Duration> {
        let now = self.schedule.clock.both();
        let pending = self.host.journal().pending.as_ref().and_then(|pending| {
            let deadline = Duration::from_secs(pending.deadline?);
            // If it is overdue and could not be rolled back completely, the interval suffices.
            deadline.checked_sub(now.wall)
        });
        let overrides = self.overrides.next_end(&now);
        [self.host.next_left(&now), overrides, pending].into_iter().flatten().min()
    }

    /// Returns the active pause, in terms of the current wall clock.
    fn pause(&self) -> Option<Pause> {
        self.gate.paused(|| self.schedule.clock.both())
    }

    /// Whether the daemon must not change anything.
    fn is_read_only(&self) -> bool {
        self.options.mode == Mode::Observe || self.gate.is_paused()
    }
}
