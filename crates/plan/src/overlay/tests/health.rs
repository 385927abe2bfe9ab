//! Overlays of health checks: what is down, slow starts, floors, fallback pools and VIPs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::check::{Check, Kind};
use evenkeel_model::{
    Binding, Checks, Fallback, HealthFacts, HealthPolicy, OnFailure, Owner, Quorum, QuorumSize,
    ServerHealth, ServiceHealth, Verdict, Vip, VipWithoutQuorum, WhenNone,
};

use super::*;
use crate::Warning;
use crate::overlay::{OverlayInputs, lay_overlays, next_overlay_change};

const NOON: u64 = 1_767_268_800;

fn policy() -> HealthPolicy {
    HealthPolicy::default()
}

fn checks(keys: impl IntoIterator<Item = RealServerKey>) -> Checks {
    let check: Arc<[Check]> = [Check::new(Kind::Icmp)].into();
    keys.into_iter().map(|key| (key, check.clone())).collect()
}

/// One service with real servers of these weights, all checked.
fn checked(weights_of: &[u32], policy: HealthPolicy) -> Desired {
    let service = weights(weights_of);
    let keys: Vec<RealServerKey> = service.real_servers.iter().map(|(key, _)| *key).collect();
    let mut desired = spec([(on(1), service)]);
    let health = ServiceHealth { checks: checks(keys), policy, fallback: None };
    desired.services.get_mut(&on(1)).expect("it is listed").health = Some(Arc::new(health));
    desired
}

fn with_fallback(mut desired: Desired, weights: &[u32]) -> Desired {
    let named = desired.services.get_mut(&on(1)).expect("it is listed");
    let real_servers =
        weights.iter().zip(101..).map(|(weight, last)| (at(last), weighing(*weight)));
    let real_servers: evenkeel_model::RealServers = real_servers.collect();
    let keys: Vec<RealServerKey> = real_servers.iter().map(|(key, _)| *key).collect();
    let mut health = (**named.health.as_ref().expect("it is checked")).clone();
    health.fallback = Some(Fallback { pool: "sorry".into(), real_servers, checks: checks(keys) });
    named.health = Some(Arc::new(health));
    desired
}

fn up() -> ServerHealth {
    ServerHealth {
        verdict: Verdict::Up,
        age: Duration::from_secs(3_600),
        since: NOON - 3_600,
        risen: None,
        reason: "".into(),
        is_assumed: false,
        holds_connections: false,
    }
}

fn down(seconds: u64) -> ServerHealth {
    ServerHealth {
        verdict: Verdict::Down,
        age: Duration::from_secs(seconds),
        since: NOON - seconds,
        reason: "http 503".into(),
        ..up()
    }
}

fn facts(servers: impl IntoIterator<Item = (u8, ServerHealth)>) -> HealthFacts {
    let servers = servers.into_iter().map(|(last, health)| ((on(1), at(last)), health));
    HealthFacts { servers: servers.collect(), ..HealthFacts::default() }
}

fn laid(desired: &Desired, facts: &HealthFacts) -> Overlays {
    laid_on(desired, facts, &[], &Live::default())
}

fn laid_on(
    desired: &Desired,
    health: &HealthFacts,
    overrides: &[Override],
    live: &Live,
) -> Overlays {
    lay_overlays(OverlayInputs { desired, overrides, health, live }).overlays
}

/// The real servers with an overlay: their last byte, their weight, and its cause.
fn held(overlays: &Overlays) -> Vec<(u8, Option<u32>, &'static str)> {
    let last = |key: &RealServerKey| match key.address {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    let weight = |effect: OverlayEffect| match effect {
        OverlayEffect::Weight(weight) => Some(weight),
        OverlayEffect::Out => None,
        OverlayEffect::AsSpec => Some(u32::MAX),
    };
    overlays
        .iter()
        .map(|((_, key), it)| (last(key), weight(it.effect), it.cause.as_str()))
        .collect()
}

const SPEC: Option<u32> = Some(u32::MAX);

#[test]
fn what_is_down_gets_weight_0_and_is_removed_once_its_connections_hang() {
    let desired = checked(&[5, 5, 5], policy());
    let holding = ServerHealth { holds_connections: true, ..down(10) };
    let overlays = laid(&desired, &facts([(1, down(9)), (2, holding), (3, up())]));
    assert_eq!(held(&overlays), [(1, Some(0), "health"), (2, None, "health")]);
    // One without connections stays, for a removal costs its place in the list.
    let overlays = laid(&desired, &facts([(1, down(500)), (2, up()), (3, up())]));
    assert_eq!(held(&overlays), [(1, Some(0), "health")]);
    let remove = checked(&[5, 5], HealthPolicy { on_failure: OnFailure::Remove, ..policy() });
    let overlays = laid(&remove, &facts([(1, down(0)), (2, up())]));
    assert_eq!(held(&overlays), [(1, None, "health")]);
    // What is only assumed to be down is never removed.
    let assumed = ServerHealth { is_assumed: true, holds_connections: true, ..down(60) };
    let overlays = laid(&desired, &facts([(1, assumed), (2, up())]));
    assert_eq!(held(&overlays), [(1, Some(0), "health")]);
}

#[test]
fn a_weight_grows_in_steps_after_a_rise_and_only_then() {
    let slow = HealthPolicy { slow_start: Duration::from_secs(20), ..policy() };
    let desired = checked(&[100, 100], slow);
    let risen = |milliseconds| ServerHealth {
        age: Duration::from_millis(milliseconds),
        risen: Some(Duration::from_millis(milliseconds)),
        ..up()
    };
    let weight =
        |milliseconds| held(&laid(&desired, &facts([(1, risen(milliseconds)), (2, up())])));
    assert_eq!(weight(0), [(1, Some(1), "slow_start")]);
    assert_eq!(weight(999), [(1, Some(1), "slow_start")]);
    assert_eq!(weight(1_000), [(1, Some(5), "slow_start")]);
    assert_eq!(weight(10_500), [(1, Some(50), "slow_start")]);
    assert_eq!(weight(19_999), [(1, Some(95), "slow_start")]);
    assert_eq!(weight(20_000), []);
    let next = |milliseconds| {
        next_overlay_change(&desired, &facts([(1, risen(milliseconds))])).map(|it| it.as_millis())
    };
    assert_eq!((next(0), next(999), next(1_000)), (Some(1_000), Some(1), Some(1_000)));
    assert_eq!((next(19_500), next(20_000)), (Some(500), None));
}

#[test]
fn max_out_keeps_those_in_use_that_failed_last() {
    let half = HealthPolicy { max_out: 50, ..policy() };
    let desired = checked(&[1, 1, 1, 1], half);
    let overlays = laid(&desired, &facts([(1, down(30)), (2, down(10)), (3, down(20)), (4, up())]));
    let expected = [(1, Some(0), "health"), (2, SPEC, "max_out"), (3, Some(0), "health")];
    assert_eq!(held(&overlays), expected);
    // What an operator took out does not come back, and brings nothing back that is down.
    let drain = asked("198.51.100.2", OverlayEffect::Weight(0));
    let overlays = laid_on(
        &desired,
        &facts([(1, down(30)), (2, down(10)), (3, down(20)), (4, up())]),
        &[drain],
        &Live::default(),
    );
    let expected = [(1, Some(0), "health"), (2, Some(0), "override"), (3, Some(0), "health")];
    assert_eq!(held(&overlays), expected);
}

#[test]
fn if_none_is_left_those_that_failed_last_stay_unless_the_spec_refuses() {
    let all_down = facts([(1, down(900)), (2, down(2)), (3, down(3))]);
    let keep = checked(&[1, 2, 3], policy());
    let expected = [(1, Some(0), "health"), (2, SPEC, "when_none"), (3, SPEC, "when_none")];
    assert_eq!(held(&laid(&keep, &all_down)), expected);
    let refuse = checked(&[1, 2, 3], HealthPolicy { when_none: WhenNone::Refuse, ..policy() });
    let out = [1, 2, 3].map(|last| (last, Some(0), "health"));
    assert_eq!(held(&laid(&refuse, &all_down)), out);
    // One that an operator enables is one.
    let enable = asked("198.51.100.1", OverlayEffect::AsSpec);
    let overlays = laid_on(&keep, &all_down, &[enable], &Live::default());
    let expected = [(1, SPEC, "override"), (2, Some(0), "health"), (3, Some(0), "health")];
    assert_eq!(held(&overlays), expected);
}

#[test]
fn an_override_is_above_health() {
    let desired = checked(&[5, 5], policy());
    let one_down = facts([(1, down(5)), (2, up())]);
    for (effect, weight) in [
        (OverlayEffect::AsSpec, SPEC),
        (OverlayEffect::Weight(3), Some(3)),
        (OverlayEffect::Out, None),
    ] {
        let overlays =
            laid_on(&desired, &one_down, &[asked("198.51.100.1", effect)], &Live::default());
        assert_eq!(held(&overlays), [(1, weight, "override")]);
    }
}

#[test]
fn a_fallback_pool_serves_alone_while_the_quorum_is_lost() {
    let quorum = Quorum { size: QuorumSize::Servers(2), hysteresis: 0 };
    let desired = with_fallback(checked(&[1, 1, 1], HealthPolicy { quorum, ..policy() }), &[7, 9]);
    let lost =
        |first, second| facts([(1, down(5)), (2, down(6)), (3, up()), (101, first), (102, second)]);
    let overlays = laid(&desired, &lost(up(), down(1)));
    let expected = [
        (1, Some(0), "health"),
        (2, Some(0), "health"),
        (3, Some(0), "quorum"),
        (101, Some(7), "fallback"),
    ];
    assert_eq!(held(&overlays), expected);
    // It serves, too, where operators took all out; and not where one that an operator enabled is in use.
    let all_up = facts([(1, up()), (2, up()), (3, up()), (101, up()), (102, down(1))]);
    let drained =
        [1, 2, 3].map(|last| asked(&format!("198.51.100.{last}"), OverlayEffect::Weight(0)));
    let overlays = laid_on(&desired, &all_up, &drained, &Live::default());
    assert_eq!(held(&overlays).last(), Some(&(101, Some(7), "fallback")));
    let enabled = asked("198.51.100.3", OverlayEffect::AsSpec);
    let overlays =
        laid_on(&desired, &all_up, &[&drained[..2], &[enabled]].concat(), &Live::default());
    assert_eq!(overlays.get(&on(1), &at(101)), None);
    // A fallback pool that is down itself replaces nothing.
    let overlays = laid(&desired, &lost(down(1), down(1)));
    assert_eq!(held(&overlays), [(1, Some(0), "health"), (2, Some(0), "health")]);
    // While the first results are awaited, nothing is lost yet.
    let mut starting = lost(up(), up());
    starting.starting.insert(on(1));
    assert_eq!(held(&laid(&desired, &starting)), [(1, Some(0), "health"), (2, Some(0), "health")]);
}

#[test]
fn a_plan_adds_and_removes_a_fallback_pool_that_no_guard_judges() {
    let desired = with_fallback(checked(&[1, 1], policy()), &[1; 9]);
    let fallback_up = (101..110).map(|last| (last, up()));
    let all_down = facts([(1, down(5)), (2, down(6))].into_iter().chain(fallback_up.clone()));
    let live = host([(on(1), weights(&[1, 1]))]);
    let mut record = PriorState { applied: true, ..PriorState::for_snapshot() };
    let overlays = laid(&desired, &all_down);
    let begun = planned(&desired, &live, &overlays, &record);
    assert_eq!(begun.refusals, []);
    assert!(begun.causes.iter().all(|cause| *cause == Cause::Health), "{:?}", begun.causes);
    record.begin_overlays(&desired, &overlays, &live);
    let during = simulate(&live, &begun.steps);
    let weights_of = |live: &Live| -> Vec<(RealServerKey, u32)> {
        let servers = live.services[&on(1)].real_servers.iter();
        servers.filter(|(_, it)| it.weight > 0).map(|(key, it)| (*key, it.weight)).collect()
    };
    assert_eq!(weights_of(&during).len(), 9);
    assert!(planned(&desired, &during, &overlays, &record).is_in_sync());
    let again = facts([(1, up()), (2, up())].into_iter().chain(fallback_up));
    let overlays = laid(&desired, &again);
    let ended = planned(&desired, &during, &overlays, &record);
    assert_eq!(ended.refusals, [], "nine of eleven real servers leave");
    assert!(ended.causes.iter().all(|cause| *cause == Cause::Health), "{:?}", ended.causes);
    assert_eq!(simulate(&during, &ended.steps).services, live.services);
}

#[test]
fn a_vip_waits_for_first_results_and_is_given_up_without_quorum() {
    let vip = Binding::host([192, 0, 2, 1].into(), "eth0");
    let with_vip = |policy| {
        let mut desired = checked(&[1, 1], policy);
        desired.vips.insert(vip.clone(), Vip::default());
        desired
    };
    let all_down = facts([(1, down(5)), (2, down(6))]);
    let mut starting = all_down.clone();
    starting.starting.insert(on(1));
    let record = PriorState { applied: true, ..PriorState::for_snapshot() };
    let (nothing, mut bound) = (host([]), host([(on(1), weights(&[0, 0]))]));
    bound.addresses.insert(vip.clone(), Owner::Evenkeel);
    let is_bound = |desired: &Desired, facts: &HealthFacts, live: &Live| {
        let overlays = laid_on(desired, facts, &[], live);
        let plan = planned(desired, live, &overlays, &record);
        let warned = plan.warnings.iter().any(|it| matches!(it, Warning::VipWithheld { .. }));
        assert!(plan.causes.iter().zip(&plan.steps).all(|(cause, step)| {
            !matches!(step, Op::Unbind { .. }) || *cause == Cause::Health
        }));
        let after = simulate(live, &plan.steps);
        let is_bound = after.addresses.contains_key(&vip);
        assert_eq!(warned, !is_bound);
        is_bound
    };
    let keep = with_vip(policy());
    assert!(!is_bound(&keep, &starting, &nothing), "first results are awaited");
    assert!(is_bound(&keep, &starting, &bound), "what is bound stays");
    assert!(is_bound(&keep, &all_down, &nothing), "the time is over");
    let unbind = with_vip(HealthPolicy { vip: VipWithoutQuorum::Unbind, ..policy() });
    assert!(!is_bound(&unbind, &all_down, &bound));
    assert!(!is_bound(&unbind, &all_down, &nothing));
    assert!(is_bound(&unbind, &facts([(1, up()), (2, down(6))]), &nothing));
    // A fallback pool that serves keeps it.
    let with_pool = with_fallback(unbind, &[1]);
    let pool_up = facts([(1, down(5)), (2, down(6)), (101, up())]);
    assert!(is_bound(&with_pool, &pool_up, &nothing));
}

#[test]
fn a_host_that_is_held_by_health_is_in_sync_and_says_why() {
    let desired = checked(&[5, 5], policy());
    let overlays = laid(&desired, &facts([(1, down(600)), (2, up())]));
    let live = host([(on(1), weights(&[0, 5]))]);
    let mut record = PriorState { applied: true, ..PriorState::for_snapshot() };
    record.begin_overlays(&desired, &overlays, &live);
    let plan = planned(&desired, &live, &overlays, &record);
    assert!(plan.is_in_sync());
    let texts: Vec<String> = plan.held.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["weight 0 (spec 5): down since 2026-01-01 11:50:00 UTC: http 503"]);
    let document = render::json(&plan, &desired);
    assert_eq!(document["held"][0]["cause"], "health");
    // What another program sets meanwhile is drift.
    let raised = host([(on(1), weights(&[9, 5]))]);
    let plan = planned(&desired, &raised, &overlays, &record);
    assert_eq!((plan.steps.len(), &*plan.causes), (1, &[Cause::Drift][..]));
}

/// Arbitrary facts of the real servers of a service of six.
fn some_facts() -> impl Strategy<Value = Vec<(bool, u64, bool)>> {
    prop::collection::vec((any::<bool>(), 0..100_u64, any::<bool>()), 6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn health_never_takes_out_more_than_max_out_and_nothing_that_is_up(
        states in some_facts(),
        max_out in 0..=100_u8,
        keeps in any::<bool>(),
        drained in prop::collection::vec(any::<bool>(), 6),
        weights_of in prop::collection::vec(0..9_u32, 6),
    ) {
        let when_none = if keeps { WhenNone::Keep } else { WhenNone::Refuse };
        let desired = checked(&weights_of, HealthPolicy { max_out, when_none, ..policy() });
        let found = facts(states.iter().zip(1..).map(|((is_up, age, holds), last)| {
            let health = if *is_up { up() } else { down(*age) };
            (last, ServerHealth { holds_connections: *holds, ..health })
        }));
        let overrides: Vec<Override> = drained
            .iter()
            .zip(1..)
            .filter(|(is_drained, _)| **is_drained)
            .map(|(_, last)| asked(&format!("198.51.100.{last}"), OverlayEffect::Weight(0)))
            .collect();
        let overlays = laid_on(&desired, &found, &overrides, &Live::default());
        prop_assert_eq!(&overlays, &laid_on(&desired, &found, &overrides, &Live::default()));
        let members: BTreeSet<u8> = (1..=6)
            .filter(|last| !drained[usize::from(*last) - 1] && weights_of[usize::from(*last) - 1] > 0)
            .collect();
        let mut out = 0;
        for last in 1..=6_u8 {
            let place = usize::from(last) - 1;
            let overlay = overlays.get(&on(1), &at(last));
            if drained[place] {
                prop_assert_eq!(overlay.map(|it| it.cause.as_str()), Some("override"));
                continue;
            }
            match overlay {
                None => prop_assert!(states[place].0 || weights_of[place] == 0),
                Some(it) => {
                    prop_assert!(!states[place].0, "nothing that is up is held");
                    let is_out = it.effect.weight(1) != Some(1);
                    out += usize::from(is_out && members.contains(&last));
                }
            }
        }
        let all = weights_of.iter().filter(|weight| **weight > 0).count();
        prop_assert!(out * 100 <= all * usize::from(max_out));
        if keeps && !members.is_empty() {
            prop_assert!(out < members.len(), "one stays");
        }
    }

    #[test]
    fn a_plan_under_health_is_in_sync_once_it_is_executed(
        states in some_facts(),
        fallback in prop::collection::vec(any::<bool>(), 2),
        servers in 0..5_u32,
        live in prop::collection::vec(0..9_u32, 6),
    ) {
        let quorum = Quorum { size: QuorumSize::Servers(servers), hysteresis: 0 };
        let desired = with_fallback(
            checked(&[3; 6], HealthPolicy { quorum, vip: VipWithoutQuorum::Unbind, ..policy() }),
            &[1, 2],
        );
        let own = states.iter().zip(1..).map(|((is_up, age, holds), last)| {
            let health = if *is_up { up() } else { down(*age) };
            (last, ServerHealth { holds_connections: *holds, ..health })
        });
        let of_pool = fallback.iter().zip(101..).map(|(is_up, last)| {
            (last, if *is_up { up() } else { down(1) })
        });
        let found = facts(own.chain(of_pool));
        let live = host([(on(1), weights(&live))]);
        let overlays = laid_on(&desired, &found, &[], &live);
        let mut record = PriorState { applied: true, ..PriorState::for_snapshot() };
        let first = planned(&desired, &live, &overlays, &record);
        record.begin_overlays(&desired, &overlays, &live);
        let after = simulate(&live, &first.steps);
        prop_assert!(planned(&desired, &after, &overlays, &record).is_in_sync());
        for op in &first.steps {
            prop_assert_eq!(op.service(), Some(on(1)), "no overlay widens the scope");
        }
    }
}
