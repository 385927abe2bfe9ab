//! The operations that are measured.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use clap::ValueEnum;
use evenkeel_engine::fake_kernel::{FakeKernel, Fault};
use evenkeel_engine::{
    ApplyOptions, DrainProgress, ExecutionContext, Journal, OnFailure, Pass, StateDir,
    execute_journalled,
};
use evenkeel_model::{Desired, Drain, Scheduler, Vip};
use evenkeel_plan::render::{self, Labels, Line};
use evenkeel_plan::{
    ClockReading, Inputs, Op, PriorState, ServiceSelection, hold_back, plan, staleness_diff,
};
use rustix::io::Errno;

use super::states::{binding, host, key, marked, on_port, service, spec, with_host_objects};
use crate::error::Error;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// Services are added, each with a real server.
    Add,
    /// Real servers are added to one service.
    AddRealServers,
    /// Services are added on the ports of one VIP.
    AddPorts,
    /// Services on the ports of one VIP leave with it.
    LeavePorts,
    /// Real servers are added to services beside VIPs.
    AddBesideVips,
    /// The weights of real servers are edited, each in a service of its own.
    Edit,
    /// The schedulers of services are edited.
    EditServices,
    /// A real server of each service is taken out, and drains.
    Drain,
    /// Services leave with their VIPs, and their real servers drain.
    Leave,
    /// The same for fwmark services beside VIPs that leave.
    LeaveMarked,
    /// Services are deleted.
    Delete,
    /// The real servers of one service are deleted.
    DeleteRealServers,
    /// VIPs are bound.
    Bind,
    /// VIPs are unbound.
    Unbind,
    /// VIPs get another label.
    Relabel,
    /// VIPs get another prefix length.
    Resize,
    /// Routes, neighbour entries and source NAT are added with their services and VIPs.
    AddHostObjects,
    /// They are deleted, with all else.
    DeleteHostObjects,
    /// The last of many additions fails, and the others are undone.
    Undo,
    /// The last of many real servers of one service fails, and the others are undone.
    UndoRealServers,
    /// The last of many VIPs cannot be bound, and the others are unbound again.
    UndoBind,
    /// Every second of the objects of a plan is held back.
    HoldBack,
    /// Every second service is selected.
    Target,
    /// A saved plan is compared with the same plan.
    Saved,
    /// A saved plan is compared with one of other weights.
    Stale,
    /// A plan is written as text.
    Text,
    /// A plan is written as JSON.
    Json,
}

/// An operation on states that are ready.
pub(super) type Operation = Box<dyn FnOnce() -> Result<(), Error>>;

const SECONDS: Drain = Drain(30);

impl Case {
    /// Prepares the states with so many objects.
    pub(super) fn prepare(self, objects: usize) -> Result<Operation, Error> {
        let all = || 0..objects;
        let (wlc, wrr) = (Scheduler::wlc(), scheduler("wrr")?);
        // Services with a real server each.
        let services = |weight| all().map(move |it| (key(it), service(&wlc, it..it + 1, weight)));
        let vips = |prefix, label: Option<&str>| -> Vec<_> {
            let vip = Vip { label: label.map(Into::into), ..Vip::default() };
            all().map(|it| (binding(it, prefix), vip.clone())).collect()
        };
        let none = || spec([], [], SECONDS);
        let one = |real_servers| spec([(key(0), service(&wlc, real_servers, 1))], [], Drain::NONE);
        let bound = |prefix, label| spec([], vips(prefix, label), SECONDS);
        let weighing = |weight| spec(services(weight), [], SECONDS);
        let served = || spec(services(1), vips(32, None), SECONDS);
        let undrained = |desired: Desired| Desired {
            services: desired
                .services
                .into_iter()
                .map(|(key, mut named)| {
                    named.drain = Drain::NONE;
                    (key, named)
                })
                .collect(),
            drain: Drain::NONE,
            ..desired
        };
        let change = |before: Desired, after: Desired| Ok(pass(host(&before), before, after));
        match self {
            Self::Add => change(none(), weighing(1)),
            Self::AddRealServers => change(one(0..1), one(0..objects)),
            Self::AddPorts | Self::LeavePorts => {
                let all = all().map(|it| (on_port(it), service(&wlc, 0..1, 1)));
                let vip = [(binding(0, 32), Vip::default())];
                match self {
                    Self::AddPorts => change(none(), spec(all, vip, SECONDS)),
                    _ => change(spec(all, vip, SECONDS), none()),
                }
            }
            Self::AddBesideVips => {
                let after = all().map(|it| (key(it), service(&wlc, it..it + 2, 1)));
                change(served(), spec(after, vips(32, None), SECONDS))
            }
            Self::Edit => change(weighing(1), weighing(2)),
            Self::EditServices => {
                let after = all().map(|it| (key(it), service(&wrr, it..it + 1, 1)));
                change(weighing(1), spec(after, [], SECONDS))
            }
            Self::Drain => {
                let before = all().map(|it| (key(it), service(&wlc, it..it + 2, 1)));
                change(spec(before, [], SECONDS), weighing(1))
            }
            Self::Leave => change(served(), none()),
            Self::LeaveMarked => {
                let before = all().map(|it| (marked(it), service(&wlc, it..it + 1, 1)));
                change(spec(before, vips(32, None), SECONDS), none())
            }
            Self::Delete => change(undrained(weighing(1)), undrained(none())),
            Self::DeleteRealServers => change(one(0..objects), one(0..1)),
            Self::Bind => change(none(), bound(32, None)),
            Self::Unbind => change(bound(32, None), none()),
            Self::Relabel => change(bound(32, Some("eth0:1")), bound(32, Some("eth0:2"))),
            Self::Resize => change(bound(24, None), bound(32, None)),
            Self::AddHostObjects => change(none(), with_host_objects(served(), objects)),
            Self::DeleteHostObjects => {
                change(undrained(with_host_objects(served(), objects)), undrained(none()))
            }
            Self::Undo => {
                let mut kernel = host(&none());
                kernel.faults.insert(2 * objects - 1, Fault::Refuse(Errno::NOMEM));
                Ok(pass(kernel, none(), weighing(1)))
            }
            Self::UndoRealServers => {
                let mut kernel = host(&none());
                kernel.faults.insert(objects, Fault::Refuse(Errno::NOMEM));
                Ok(pass(kernel, none(), one(0..objects)))
            }
            Self::UndoBind => {
                let mut kernel = host(&none());
                kernel.faults.insert(objects - 1, Fault::Refuse(Errno::NOMEM));
                Ok(pass(kernel, none(), bound(32, None)))
            }
            Self::HoldBack => {
                let (kernel, after) = (host(&served()), none());
                let steps = steps(&kernel, &after);
                let objects: BTreeSet<_> = steps.iter().step_by(2).map(Op::object).collect();
                Ok(Box::new(move || {
                    black_box(hold_back(steps, &kernel.live, &objects));
                    Ok(())
                }))
            }
            Self::Target => {
                let (kernel, after) = (host(&served()), spec(services(2), vips(32, None), SECONDS));
                let names: Vec<String> = all().step_by(2).map(|it| format!("s{it}")).collect();
                Ok(Box::new(move || {
                    let selection = ServiceSelection::new(&names, &after, None);
                    let selection = selection.map_err(|error| failed(&error.selector))?;
                    let record = selection.narrow_record(&PriorState::default());
                    let live = selection.narrow_live(kernel.live, &record.real_server);
                    let desired = selection.narrow_desired(after);
                    black_box(plan(Inputs::new(&desired, &live, &record)));
                    Ok(())
                }))
            }
            Self::Saved | Self::Stale => {
                let (kernel, after) = (host(&served()), none());
                let saved = steps(&kernel, &after);
                let fresh = match self {
                    Self::Stale => {
                        steps(&host(&spec(services(2), vips(32, None), SECONDS)), &after)
                    }
                    _ => saved.clone(),
                };
                Ok(Box::new(move || {
                    black_box(staleness_diff(&saved, &fresh, &after, None));
                    Ok(())
                }))
            }
            Self::Text | Self::Json => {
                let (kernel, after) = (host(&served()), none());
                let record = PriorState::default();
                let inputs = Inputs {
                    statistics: Some(&kernel.statistics),
                    ..Inputs::new(&after, &kernel.live, &record)
                };
                let plan = plan(inputs);
                Ok(Box::new(move || {
                    if self == Self::Json {
                        let text = serde_json::to_string_pretty(&render::json(&plan, &after));
                        black_box(text.map_err(|error| failed(&error.to_string()))?);
                        return Ok(());
                    }
                    let labels = Labels::new(&after);
                    for op in &plan.steps {
                        black_box(Line { op, labels: &labels }.to_string());
                    }
                    black_box(render::summary(&plan));
                    Ok(())
                }))
            }
        }
    }
}

/// Plans and executes the change of a host to that spec, with its journal.
fn pass(mut kernel: FakeKernel, before: Desired, after: Desired) -> Operation {
    Box::new(move || {
        let folder = std::env::temp_dir().join(format!("evenkeel-growth-{}", std::process::id()));
        let state = StateDir::new(&folder, "growth");
        let mut journal = Journal::default();
        journal.record.governed_by(&before);
        journal.record.applied = true;
        journal.addresses = before.vips.keys().cloned().collect();
        journal.host_objects = before.host_objects.keys().cloned().collect();
        let live = kernel.live.clone();
        let inputs = Inputs {
            last: Some(&before),
            statistics: Some(&kernel.statistics),
            ..Inputs::new(&after, &live, &journal.record)
        };
        let steps = plan(inputs).steps;
        let pass = Pass { last: Some(&before), ..Pass::new(&after, live, steps) };
        let options = ApplyOptions {
            wait: false,
            on_failure: OnFailure::Rollback,
            ..ApplyOptions::default()
        };
        let done =
            execute_journalled(&mut kernel, pass, options, &mut StoppedClock, &state, &mut journal);
        let removed = std::fs::remove_dir_all(&folder);
        let report = done.map_err(|error| failed(&error.to_string()))?;
        removed.map_err(|error| failed(&error.to_string()))?;
        if report.is_success() != kernel.faults.is_empty() {
            return Err(failed(&format!("{report:?}")));
        }
        if let Some(rollback) = &report.rollback
            && !rollback.is_clean()
        {
            return Err(failed(&format!("{rollback:?}")));
        }
        Ok(())
    })
}

/// A context in which no time passes. valgrind cannot run the function of the kernel that reads a clock.
struct StoppedClock;

impl ExecutionContext for StoppedClock {
    fn now(&self) -> ClockReading {
        ClockReading { wall: Duration::from_secs(1_800_000_000), uptime: None }
    }

    fn pause(&mut self, _: Duration) {}

    fn is_interrupted(&self) -> bool {
        false
    }

    fn draining(&mut self, _: &[DrainProgress]) {}
}

fn steps(kernel: &FakeKernel, after: &Desired) -> Vec<Op> {
    plan(Inputs::new(after, &kernel.live, &PriorState::default())).steps
}

fn scheduler(name: &str) -> Result<Scheduler, Error> {
    Scheduler::new(name).ok_or_else(|| failed(name))
}

fn failed(text: &str) -> Error {
    Error::Claim(text.to_owned())
}
