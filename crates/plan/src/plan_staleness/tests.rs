//! Laws of stale plans.

use evenkeel_model::arbitrary::pair;
use evenkeel_model::{
    Binding, Drain, Forward, Live, NamedService, Owner, Persistence, Protocol, RealServerKey,
    Scheduler, ServiceConfig, Vip,
};
use proptest::prelude::*;

use super::*;
use crate::{Inputs, PriorState, plan, simulate};

const WEB: ServiceKey = ServiceKey::Address {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    port: 80,
    protocol: Protocol::Tcp,
};

fn at(last: u8) -> RealServerKey {
    RealServerKey { address: [10, 0, 0, last].into(), port: 80 }
}

fn weighing(weight: u32) -> RealServer {
    RealServer::new(Forward::Dr, weight)
}

fn service(weights: &[(u8, u32)]) -> Service {
    let config = ServiceConfig::new(Scheduler::wlc());
    let real_servers = weights.iter().map(|(last, weight)| (at(*last), weighing(*weight)));
    Service { config, real_servers: real_servers.collect() }
}

fn asking(weights: &[(u8, u32)], ignore: &[IgnoredField], drain: u32) -> Desired {
    let named = NamedService {
        ignore: ignore.iter().copied().collect(),
        drain: Drain(drain),
        ..NamedService::new("web", service(weights))
    };
    Desired { services: [(WEB, named)].into(), drain: Drain(drain), ..Desired::default() }
}

fn having(weights: &[(u8, u32)]) -> Live {
    Live { services: [(WEB, service(weights))].into(), ..Live::default() }
}

/// The difference between the plans for the earlier and the present host.
fn between(desired: &Desired, then: &Live, now: &Live, last: Option<&Desired>) -> Option<String> {
    let record = PriorState::for_snapshot();
    let steps = |live| plan(Inputs { last, ..Inputs::new(desired, live, &record) }).steps;
    assert_ne!(steps(then), [], "there is something to do");
    staleness_diff(&steps(then), &steps(now), desired, last)
}

#[test]
fn a_change_of_a_value_that_the_plan_edits_makes_it_stale() {
    let desired = asking(&[(1, 5), (2, 5)], &[], 0);
    let then = having(&[(1, 1), (2, 5)]);
    assert_eq!(between(&desired, &then, &then, None), None);
    let label = "web/192.0.2.1:80/tcp";
    let now = having(&[(1, 2), (2, 5)]);
    let diff = format!(
        "--- the saved plan\n+++ a fresh plan\n@@ -1 +1 @@\n\
         -~ edit real server 10.0.0.1:80 of {label}: weight 1 -> 5\n\
         +~ edit real server 10.0.0.1:80 of {label}: weight 2 -> 5\n"
    );
    assert_eq!(between(&desired, &then, &now, None), Some(diff));
    let now = having(&[(1, 1), (2, 4)]);
    assert!(between(&desired, &then, &now, None).is_some(), "a further step");
    let now = having(&[(1, 5), (2, 5)]);
    assert!(between(&desired, &then, &now, None).is_some(), "no step is left");
}

#[test]
fn a_field_that_the_spec_ignores_does_not_count() {
    let mut desired = asking(&[(1, 5)], &[IgnoredField::Weight], 0);
    if let Some(named) = desired.services.get_mut(&WEB) {
        named.service.real_servers.for_each_mut(|_, it| it.upper_threshold = 100);
    }
    let (then, now) = (having(&[(1, 1), (2, 1)]), having(&[(1, 7), (2, 8)]));
    assert_eq!(between(&desired, &then, &now, None), None, "edited and deleted");
    if let Some(named) = desired.services.get_mut(&WEB) {
        named.ignore = Ignore::NOTHING;
    }
    assert!(between(&desired, &then, &now, None).is_some());
}

#[test]
fn fields_that_the_last_spec_ignored_do_not_count_for_a_removed_service() {
    let last = asking(&[(1, 1)], &[IgnoredField::Weight, IgnoredField::Persistence], 0);
    let desired = Desired { drain: Drain::NONE, ..Desired::default() };
    let then = having(&[(1, 1)]);
    let mut now = having(&[(1, 9)]);
    if let Some(service) = now.services.get_mut(&WEB) {
        let netmask = evenkeel_model::Netmask::V6(64);
        service.config.persistence = Some(Persistence { timeout: 9, netmask });
    }
    assert_eq!(between(&desired, &then, &now, Some(&last)), None);
    assert!(between(&desired, &then, &now, None).is_some());
}

#[test]
fn a_drain_that_was_started_meanwhile_does_not_count() {
    let desired = asking(&[(1, 1)], &[], 60);
    let then = having(&[(1, 1), (2, 3)]);
    assert_eq!(between(&desired, &then, &having(&[(1, 1), (2, 0)]), None), None);
    assert!(between(&desired, &then, &having(&[(1, 1), (2, 4)]), None).is_some());
    assert!(between(&desired, &then, &having(&[(1, 1)]), None).is_some(), "it has ended");
    let begun = having(&[(1, 1), (2, 0)]);
    assert!(between(&desired, &begun, &then, None).is_some(), "another program ended it");

    let nothing = Desired { drain: Drain(60), ..Desired::default() };
    assert_eq!(between(&nothing, &then, &having(&[(1, 0), (2, 0)]), None), None);
}

#[test]
fn real_servers_deleted_with_a_service_count_and_are_shown() {
    let desired = Desired { drain: Drain::NONE, ..Desired::default() };
    let (then, now) = (having(&[(1, 1), (2, 1)]), having(&[(1, 1), (2, 9)]));
    let diff = between(&desired, &then, &now, None).expect("it is stale");
    assert!(diff.contains("\n-    real server 10.0.0.2:80 of 192.0.2.1:80/tcp: "), "{diff}");
    assert!(diff.contains("\n+    real server 10.0.0.2:80 of 192.0.2.1:80/tcp: "), "{diff}");
    let mut now = then.clone();
    if let Some(service) = now.services.get_mut(&WEB) {
        service.config.scheduler = Scheduler::none();
    }
    let diff = between(&desired, &then, &now, None).expect("it is stale");
    assert!(diff.contains("\n+    service 192.0.2.1:80/tcp: scheduler none"), "{diff}");
}

#[test]
fn a_timeout_that_the_spec_does_not_name_and_a_module_do_not_count() {
    let mut desired = asking(&[(1, 1)], &[], 0);
    desired.timeouts.tcp = Some(100);
    let live = |tcp, udp, modules: &[&str]| Live {
        timeouts: Some(Timeouts { tcp, udp, ..Timeouts::INITIAL }),
        modules: Some(modules.iter().map(|name| (*name).into()).collect()),
        ..Live::default()
    };
    let then = live(900, 300, &[]);
    assert_eq!(between(&desired, &then, &live(900, 50, &["ip_vs_wlc"]), None), None);
    assert!(between(&desired, &then, &live(901, 300, &[]), None).is_some());
    desired.timeouts.udp = Some(300);
    assert!(between(&desired, &then, &live(900, 50, &[]), None).is_some());
}

#[test]
fn a_vip_that_was_bound_meanwhile_makes_it_stale() {
    let mut desired = asking(&[(1, 1)], &[], 0);
    let vip = Binding::host([192, 0, 2, 1].into(), "eth0");
    desired.vips.insert(vip.clone(), Vip::default());
    let mut now = Live::default();
    now.addresses.insert(vip, Owner::Other);
    let diff = between(&desired, &Live::default(), &now, None).expect("it is stale");
    assert!(diff.contains("-+ bind vip 192.0.2.1/32 on eth0\n"), "{diff}");
}

proptest! {
    #[test]
    fn a_plan_is_valid_for_an_unchanged_host_and_stale_once_executed(pair in pair(6)) {
        let record = PriorState::for_snapshot();
        let steps = |live: &Live| plan(Inputs::new(&pair.desired, live, &record)).steps;
        let saved = steps(&pair.live);
        prop_assert_eq!(staleness_diff(&saved, &steps(&pair.live), &pair.desired, None), None);
        let after = simulate(&pair.live, &saved);
        let is_stale = staleness_diff(&saved, &steps(&after), &pair.desired, None).is_some();
        prop_assert_eq!(is_stale, saved.iter().any(is_compared));
    }

    #[test]
    fn a_stale_plan_always_has_a_visible_difference(one in pair(4), other in pair(4)) {
        let record = PriorState::for_snapshot();
        let steps = |live: &Live| plan(Inputs::new(&one.desired, live, &record)).steps;
        let (saved, fresh) = (steps(&one.live), steps(&other.live));
        if let Some(diff) = staleness_diff(&saved, &fresh, &one.desired, None) {
            let signs = diff.lines().skip(2).filter(|line| line.starts_with(['-', '+']));
            prop_assert!(signs.count() > 0, "{}", diff);
        }
    }
}
