//! The host of a command: its network namespace, journal and kernel.

use std::collections::BTreeSet;
use std::path::Path;

use evenkeel_engine::{HostKernel, IpvsUse, StateDir};
use evenkeel_host::{Namespace, reserve_descriptors};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{HostRoles, Live, Owner};
use evenkeel_source::{HostRequest, Macs, macs_of};
use evenkeel_workflow::{Access, Event, EventSink, HealthMode, Host, Session};

use crate::args::GlobalArgs;
use crate::error::Error;
use crate::output::Output;

/// The most descriptors that a command has open at the same time, with as many for a rollback.
const DESCRIPTORS: u64 = 64;

/// Enters the network namespace of `--netns`, and returns its host. Reserves what a command opens that changes
/// it, so that none ends half-way because of that.
pub(crate) fn host(
    global: &GlobalArgs,
    ipvs_use: IpvsUse,
) -> Result<Host<'static, HostKernel>, Error> {
    reserve_descriptors(DESCRIPTORS)?;
    let state = state_dir(global)?;
    let connect = move |addresses| HostKernel::connect_for(ipvs_use, addresses);
    Ok(Host { state, connect: Box::new(connect), health: HealthMode::default() })
}

/// Whether a host with these roles needs IPVS in its kernel: only directors do.
pub(crate) fn ipvs_use(roles: &HostRoles) -> IpvsUse {
    if roles.is_director() { IpvsUse::Required } else { IpvsUse::IfPresent }
}

/// As [`ipvs_use`], for commands without a spec: by the journal.
pub(crate) fn recorded_ipvs_use(global: &GlobalArgs) -> Result<IpvsUse, Error> {
    Ok(match this_host(global)? {
        HostRequest::ThisHost { former: Some(_), .. } => IpvsUse::IfPresent,
        HostRequest::ThisHost { .. } | HostRequest::Snapshot { .. } | HostRequest::AnyHost => {
            IpvsUse::Required
        }
    })
}

/// Opens the host for reading, and prints the events.
pub(crate) fn open_for_reading(
    global: &GlobalArgs,
    ipvs_use: IpvsUse,
    output: &mut Output,
) -> Result<Session<HostKernel>, Error> {
    let mut events = EventLog::default();
    let session = host(global, ipvs_use)?.open(Access::Read, &mut events);
    events.print(output);
    Ok(session?)
}

/// The events of a use case, which are printed when it no longer holds the lock.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    events: Vec<Event>,
    /// The texts that were printed: a review and the use case after it emit the same events.
    printed: BTreeSet<String>,
}

impl EventSink for EventLog {
    fn emit(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl EventLog {
    /// Prints the events that were not printed before.
    pub(crate) fn print(&mut self, output: &mut Output) {
        for event in self.events.drain(..) {
            let text = event.to_string();
            if !self.printed.contains(&text) {
                output.event(&event, &text);
                self.printed.insert(text);
            }
        }
    }
}

/// The host that an owner's command loads a spec for: this one, in the network namespace of `--netns`.
pub(crate) fn this_host(global: &GlobalArgs) -> Result<HostRequest, Error> {
    // What is wrong with the journal is reported when the host is opened.
    let (former, macs) = match state_dir(global)?.read(false) {
        Ok((journal, _)) => {
            let macs = journal.applied_parameters().map(macs_of).unwrap_or_default();
            (journal.former_role(), macs)
        }
        Err(_) => (None, Macs::new()),
    };
    Ok(HostRequest::ThisHost { role: global.role, former, macs })
}

/// Enters the network namespace of `--netns`, and returns the directory of its journal.
pub(crate) fn state_dir(global: &GlobalArgs) -> Result<StateDir, Error> {
    enter(global)?;
    let state = StateDir::of(&global.state_dir, namespace()?);
    Ok(match &global.owner {
        Some(owner) => state.of_owner(owner),
        None => state,
    })
}

/// Enters the network namespace of `--netns`, if there is one.
pub(crate) fn enter(global: &GlobalArgs) -> Result<(), Error> {
    match &global.netns {
        Some(name) => Namespace::enter(name).map_err(Error::Namespace),
        None => Ok(()),
    }
}

/// The network namespace of this thread.
pub(crate) fn namespace() -> Result<Namespace, Error> {
    Namespace::current().map_err(Error::Namespace)
}

/// The host of a snapshot; this one, where it records no addresses of its own, as `none` does.
pub(crate) fn of_snapshot(live: &Live, global: &GlobalArgs) -> HostRequest {
    let has_own = live.addresses.values().any(|owner| *owner == Owner::Other);
    match has_own {
        true => HostRequest::Snapshot { role: global.role, addresses: live.addresses.clone() },
        false => HostRequest::ThisHost { role: global.role, former: None, macs: Macs::new() },
    }
}

/// The live state of `--live FILE`: a snapshot with its counters; `none` is an empty host.
pub(crate) fn from_file(path: &Path, output: &Output) -> Result<(Live, Option<Statistics>), Error> {
    if path == Path::new("none") {
        return Ok((Live::default(), None));
    }
    let snapshot = crate::input::snapshot(path, output)?;
    let statistics = snapshot.statistics().cloned();
    Ok((snapshot.into_live(), statistics))
}
