use evenkeel_model::{Binding, Drain, Live, NamedService, Owner, Scope, Service, SyncDaemon};

use super::*;
use crate::test_fixtures::{self, at, on, sync_daemon, warnings};
use crate::{Plan, PriorState, plan};

mod cut_off;
mod elsewhere;
mod empty;
mod left_scope;
mod mass_delete;
mod missing_file;
mod no_server;
mod sessions;
mod take_over;
mod unbind_in_use;
mod unjudged;
mod wider_scope;

/// Returns a service whose real servers have these weights.
fn weighing(weights: &[u32]) -> Service {
    let real_servers = (1..).map(at).zip(weights.iter().copied().map(test_fixtures::weighing));
    Service { config: test_fixtures::scheduled_by("wlc"), real_servers: real_servers.collect() }
}

fn spec(services: impl IntoIterator<Item = (ServiceKey, Service)>, drain: Drain) -> Desired {
    let named = |service| NamedService { drain, ..NamedService::new("web", service) };
    Desired {
        scope: Scope::All,
        services: services.into_iter().map(|(key, service)| (key, named(service))).collect(),
        drain,
        ..Desired::default()
    }
}

fn host(services: impl IntoIterator<Item = (ServiceKey, Service)>) -> Live {
    Live { services: services.into_iter().collect(), ..Live::default() }
}

fn planned(desired: &Desired, live: &Live) -> Plan {
    plan(Inputs::new(desired, live, &PriorState::for_snapshot()))
}

fn daemon() -> SyncDaemon {
    sync_daemon("eth1", 1)
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

fn bound(live: Live, vips: impl IntoIterator<Item = Binding>) -> Live {
    let addresses = vips.into_iter().map(|vip| (vip, Owner::Evenkeel)).collect();
    Live { addresses, ..live }
}

/// Returns the only refusal: its guard and its message. Only the name of that guard lifts it.
fn refused(plan: &Plan) -> Option<(Guard, String)> {
    let [refusal] = &plan.refusals[..] else {
        assert_eq!(plan.refusals, []);
        return None;
    };
    for guard in Guard::ALL {
        assert_eq!(plan.refused(&[guard]).count(), usize::from(guard != refusal.guard));
    }
    assert_eq!(plan.refused(&[]).count(), 1);
    Some((refusal.guard, refusal.to_string()))
}

#[test]
fn every_guard_is_found_by_its_name() {
    for guard in Guard::ALL {
        assert_eq!(guard.name().parse(), Ok(guard));
        assert_eq!(serde_json::to_value(guard).expect("a word"), guard.name());
    }
    let unknown = "mass_delete".parse::<Guard>().expect_err("there is none");
    assert_eq!(
        unknown.to_string(),
        "there is no guard `mass_delete`; the guards are empty, cut-off, take-over, mass-delete, \
         wider-scope, left-scope, missing-file, no-server, unbind-in-use"
    );
}
