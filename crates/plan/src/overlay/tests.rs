//! Tests overlays: on small states what each means, on arbitrary ones their laws.

mod health;

use evenkeel_model::arbitrary::{Pair, pair, with_ignored_members};
use evenkeel_model::{
    Desired, Drain, Ignore, IgnoredField, Live, Overlay, OverlayCause, OverlayEffect, Overlays,
    Override, RealServerKey, Service, ServiceKey,
};
use proptest::prelude::*;

use super::{OverlaidServer, OverlayOrigin, overridden, overrides_to_overlays};
use crate::test_fixtures::{at, on, scheduled_by, spec, weighing};
use crate::{Cause, Inputs, Op, Plan, PriorState, plan, render, simulate};

const UNTIL: u64 = 1_767_276_000;

fn weights(weights: &[u32]) -> Service {
    let all = weights.iter().zip(1..);
    let real_servers = all.map(|(weight, last)| (at(last), weighing(*weight))).collect();
    Service { config: scheduled_by("wrr"), real_servers }
}

fn host(services: impl IntoIterator<Item = (ServiceKey, Service)>) -> Live {
    Live { services: services.into_iter().collect(), ..Live::default() }
}

fn asked(target: &str, effect: OverlayEffect) -> Override {
    let target = target.parse().expect(target);
    let (by, reason) = ("root".into(), "maintenance".into());
    Override { target, effect, since: UNTIL - 7_200, until: Some(UNTIL), by, reason }
}

fn overlay(effect: OverlayEffect) -> Overlay {
    let cause = OverlayCause::Override { by: "root".into() };
    Overlay { effect, cause, reason: "".into(), since: 0, until: None }
}

fn planned(desired: &Desired, live: &Live, overlays: &Overlays, record: &PriorState) -> Plan {
    let last = Some(desired);
    plan(Inputs { overlays, last, ..Inputs::new(desired, live, record) })
}

/// The steps, the causes and the held real servers as text.
fn lines(desired: &Desired, plan: &Plan) -> Vec<String> {
    let labels = render::Labels::new(desired);
    let steps = plan.steps.iter().enumerate().map(|(place, op)| {
        format!(
            "{}{}",
            render::Line { op, labels: &labels },
            render::Remark::new(plan, place, false)
        )
    });
    steps.chain(render::held(plan, desired.into())).collect()
}

fn ignoring(mut desired: Desired, field: IgnoredField) -> Desired {
    let ignore: Ignore = [field].into_iter().collect();
    desired.services.values_mut().for_each(|named| named.ignore = ignore);
    desired
}

#[test]
fn each_effect_is_planned_and_shown() {
    let desired = spec([(on(1), weights(&[5, 3]))]);
    let live = host([(on(1), weights(&[5, 3]))]);
    let of = "real server 198.51.100.1:80 of web/192.0.2.1:80/tcp";
    let who = "override of root, maintenance, until 2026-01-01 14:00:00 UTC";
    for (effect, expected) in [
        (
            OverlayEffect::Weight(0),
            vec![
                format!(
                    "~ edit {of}: weight 5 -> 0 # override; existing connections stay, new ones go elsewhere"
                ),
                format!("= {of}: weight 0 (spec 5): {who}"),
            ],
        ),
        (
            OverlayEffect::Weight(7),
            vec![
                format!("~ edit {of}: weight 5 -> 7 # override"),
                format!("= {of}: weight 7 (spec 5): {who}"),
            ],
        ),
        (OverlayEffect::AsSpec, vec![format!("= {of}: weight 5, as in the spec: {who}")]),
    ] {
        let overlays = overrides_to_overlays(&[asked("198.51.100.1", effect)], &desired);
        let plan = planned(&desired, &live, &overlays, &PriorState::for_snapshot());
        let lines = lines(&desired, &plan);
        assert_eq!(lines.last(), expected.last());
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        assert!(lines[0].starts_with(expected[0].split(';').next().expect("a line")), "{lines:?}");
        assert_eq!(plan.refusals, []);
        let after = simulate(&live, &plan.steps);
        let plan = planned(&desired, &after, &overlays, &PriorState::for_snapshot());
        assert!(plan.is_in_sync() && plan.held.len() == 1, "{plan:?}");
        assert!(render::summary(&plan).starts_with("In sync; held: 1 real server; unchanged: "));
    }
}

#[test]
fn the_last_real_server_can_be_taken_out_without_a_guard_and_without_a_drain() {
    let mut desired = spec([(on(1), weights(&[5]))]);
    desired.services.values_mut().for_each(|named| named.drain = Drain(30));
    let live = host([(on(1), weights(&[5]))]);
    let out = [asked("web/198.51.100.1:80", OverlayEffect::Out)];
    let overlays = overrides_to_overlays(&out, &desired);
    let plan = planned(&desired, &live, &overlays, &PriorState::for_snapshot());
    assert!(matches!(plan.steps[..], [Op::DeleteRealServer { .. }]), "{:?}", plan.steps);
    assert_eq!((&plan.refusals[..], &plan.causes[..]), (&[][..], &[Cause::Override][..]));
    let held = "= real server 198.51.100.1:80 of web/192.0.2.1:80/tcp: out (spec: weight 5): override of \
                root, maintenance, until 2026-01-01 14:00:00 UTC";
    assert_eq!(lines(&desired, &plan).last().map(String::as_str), Some(held));
    let warnings = crate::test_fixtures::warnings(&plan);
    assert!(warnings.iter().any(|it| it.contains("web/192.0.2.1:80/tcp")), "{warnings:?}");
    // A commit that takes out the same is refused all the same.
    let commit = spec([(on(1), weights(&[]))]);
    let plan = planned(&commit, &live, &overlays, &PriorState::for_snapshot());
    assert_eq!(plan.refusals.len(), 1, "{:?}", plan.refusals);
    assert_eq!(plan.held, [], "it is not listed");
}

#[test]
fn a_drift_under_an_overlay_is_drift_and_its_end_is_not() {
    let desired = spec([(on(1), weights(&[5, 3]))]);
    let overlays =
        overrides_to_overlays(&[asked("198.51.100.1", OverlayEffect::Weight(0))], &desired);
    let live = host([(on(1), weights(&[5, 3]))]);
    let mut record = PriorState::for_snapshot();
    assert_eq!(planned(&desired, &live, &overlays, &record).causes, [Cause::Override]);
    record.begin_overlays(&desired, &overlays, &live);
    let before = OverlaidServer {
        effect: OverlayEffect::Weight(0),
        before: Some(5),
        origin: OverlayOrigin::Operator,
    };
    assert_eq!(record.overlaid.0, [((on(1), at(1)), before)].into());
    assert_eq!(planned(&desired, &live, &overlays, &record).causes, [Cause::Drift]);
    let live = host([(on(1), weights(&[0, 3]))]);
    let none = Overlays::none();
    assert_eq!(planned(&desired, &live, none, &record).causes, [Cause::Override]);
    record.settle_overlays(&desired, none, &live);
    assert!(record.overlaid.is_empty());
    assert_eq!(planned(&desired, &live, none, &record).causes, [Cause::Drift]);
}

#[test]
fn an_ignored_weight_comes_back_after_an_overlay() {
    let desired = ignoring(spec([(on(1), weights(&[1, 1]))]), IgnoredField::Weight);
    // A health checker set it to 9.
    let live = host([(on(1), weights(&[9, 1]))]);
    for effect in [OverlayEffect::Weight(0), OverlayEffect::AsSpec, OverlayEffect::Out] {
        let overlays = overrides_to_overlays(&[asked("198.51.100.1", effect)], &desired);
        let mut record = PriorState::for_snapshot();
        let steps = planned(&desired, &live, &overlays, &record).steps;
        record.begin_overlays(&desired, &overlays, &live);
        let held = simulate(&live, &steps);
        let now = held.services[&on(1)].real_servers.get(&at(1)).map(|it| it.weight);
        assert_eq!(now, effect.weight(1));
        assert!(planned(&desired, &held, &overlays, &record).is_in_sync());
        let steps = planned(&desired, &held, Overlays::none(), &record).steps;
        let after = simulate(&held, &steps);
        let now = after.services[&on(1)].real_servers.get(&at(1)).map(|it| it.weight);
        assert_eq!(now, Some(9), "{effect:?}");
    }
    // What the health checker set during the override stays after it.
    let overlays =
        overrides_to_overlays(&[asked("198.51.100.1", OverlayEffect::Weight(0))], &desired);
    let mut record = PriorState::for_snapshot();
    record.begin_overlays(&desired, &overlays, &live);
    let live = host([(on(1), weights(&[4, 1]))]);
    assert!(planned(&desired, &live, Overlays::none(), &record).is_in_sync());
}

#[test]
fn a_real_server_of_another_program_gets_no_weight_instead_of_being_taken_out() {
    let desired = ignoring(spec([(on(1), weights(&[5, 3]))]), IgnoredField::RealServers);
    let live = host([(on(1), weights(&[5, 3]))]);
    let overlays = overrides_to_overlays(&[asked("198.51.100.1", OverlayEffect::Out)], &desired);
    let plan = planned(&desired, &live, &overlays, &PriorState::for_snapshot());
    let after = simulate(&live, &plan.steps);
    assert_eq!(after.services[&on(1)], weights(&[0, 3]));
    let gone = host([(on(1), weights(&[]))]);
    assert!(planned(&desired, &gone, &overlays, &PriorState::for_snapshot()).is_in_sync());
}

#[test]
fn a_later_override_is_above_an_earlier_one() {
    let desired = spec([(on(1), weights(&[5])), (on(2), weights(&[5]))]);
    let all = [
        asked("198.51.100.1", OverlayEffect::Weight(0)),
        asked("192.0.2.2:80/tcp/198.51.100.1", OverlayEffect::AsSpec),
        asked("198.51.100.9", OverlayEffect::Out),
    ];
    let overlays = overrides_to_overlays(&all, &desired);
    let effects: Vec<_> = overlays.iter().map(|(_, it)| it.effect).collect();
    assert_eq!(effects, [OverlayEffect::Weight(0), OverlayEffect::AsSpec]);
    let [first, second, _] = all;
    let overlays = overrides_to_overlays(&[second, first], &desired);
    assert!(overlays.iter().all(|(_, it)| it.effect == OverlayEffect::Weight(0)));
}

#[test]
fn a_target_without_a_real_server_or_with_several_lists_what_there_is() {
    let two = |last: u8| {
        let mut service = weights(&[1]);
        let other = RealServerKey { port: 81, ..at(1) };
        service.real_servers.insert(other, weighing(last.into()));
        service
    };
    let desired = spec([(on(1), two(1)), (on(2), weights(&[1]))]);
    let found = |target: &str| overridden(&target.parse().expect(target), &desired);
    for (target, count) in [
        ("198.51.100.1", 3),
        ("198.51.100.1:80", 2),
        ("web/198.51.100.1:80", 2),
        ("192.0.2.2:80/tcp/198.51.100.1", 1),
        ("web/192.0.2.1:80/tcp/198.51.100.1:81", 1),
    ] {
        assert_eq!(found(target).map(|it| it.len()), Ok(count), "{target}");
    }
    for (target, message) in [
        ("wbe/198.51.100.1", "no service of this host is called `wbe`; there is `web`"),
        (
            "web/198.51.100.7:80",
            "no real server of `web` is called `198.51.100.7:80`; there is `198.51.100.1:80`, \
             `198.51.100.1:81`",
        ),
        (
            "[2001:db8::1]",
            "no real server of this host is called `[2001:db8::1]`; there is `198.51.100.1:80`, \
             `198.51.100.1:81`",
        ),
        (
            "web/198.51.100.1",
            "`web/198.51.100.1` is ambiguous; name one of `198.51.100.1:80`, `198.51.100.1:81`",
        ),
    ] {
        assert_eq!(found(target).expect_err(target).to_string(), message);
    }
}

#[test]
fn a_plan_as_json_lists_what_is_held() {
    let desired = spec([(on(1), weights(&[5]))]);
    let live = host([(on(1), weights(&[0]))]);
    let overlays =
        overrides_to_overlays(&[asked("198.51.100.1", OverlayEffect::Weight(0))], &desired);
    let plan = planned(&desired, &live, &overlays, &PriorState::for_snapshot());
    let document = render::json(&plan, &desired);
    assert_eq!(document["in_sync"], true);
    let held = &document["held"][0];
    assert_eq!((&held["weight"], &held["spec_weight"]), (&0.into(), &5.into()));
    assert_eq!((&held["cause"], &held["by"]), (&"override".into(), &"root".into()));
    assert_eq!((&held["until"], &held["reason"]), (&UNTIL.into(), &"maintenance".into()));
    let none = planned(&desired, &live, Overlays::none(), &PriorState::for_snapshot());
    assert_eq!(render::json(&none, &desired).get("held"), None);
}

/// Overlays of some real servers that the host or the spec has, by the bits of `which`, and of one that none has.
fn some_overlays(pair: &Pair, which: &[u8]) -> Overlays {
    let mut overlays = Overlays::default();
    let desired = pair.desired.services.iter().map(|(key, named)| (key, &named.service));
    let all = desired
        .chain(&pair.live.services)
        .flat_map(|(key, service)| service.real_servers.iter().map(|(server, _)| (*key, *server)));
    for ((service, key), choice) in all.zip(which.iter().cycle()) {
        let effect = match choice % 8 {
            0 => OverlayEffect::Out,
            1 => OverlayEffect::Weight(0),
            2 => OverlayEffect::Weight(u32::from(*choice)),
            3 => OverlayEffect::AsSpec,
            _ => continue,
        };
        overlays.insert(service, key, overlay(effect));
    }
    overlays.insert(on(250), at(250), overlay(OverlayEffect::Weight(9)));
    overlays
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_executed_plan_is_in_sync_under_the_same_overlays_and_undone_without(
        pair in prop_oneof![pair(5), with_ignored_members(5)],
        which in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let Pair { desired, live, .. } = &pair;
        let overlays = some_overlays(&pair, &which);
        let mut record = PriorState::for_snapshot();
        let first = planned(desired, live, &overlays, &record);
        prop_assert_eq!(&first, &planned(desired, live, &overlays, &record), "the same inputs");
        record.begin_overlays(desired, &overlays, live);
        let held = simulate(live, &first.steps);
        prop_assert!(planned(desired, &held, &overlays, &record).is_in_sync());
        for (key, named) in &desired.services {
            for (server, overlay) in overlays.of_service(*key) {
                let Some(listed) = named.service.real_servers.get(server) else { continue };
                let is_theirs = named.ignore.contains(IgnoredField::RealServers);
                let now = held.services[key].real_servers.get(server).map(|it| it.weight);
                let expected = overlay.effect.weight(listed.weight);
                prop_assert!(now == expected || is_theirs, "{now:?} {expected:?}");
            }
        }
        // At their end the host is as if there had been none, but for what other programs decide.
        let back = planned(desired, &held, Overlays::none(), &record);
        let after = simulate(&held, &back.steps);
        let without = simulate(live, &planned(desired, live, Overlays::none(), &PriorState::for_snapshot()).steps);
        for (key, named) in &desired.services {
            if named.ignore.iter().next().is_none() {
                prop_assert_eq!(&after.services[key], &without.services[key]);
            }
        }
    }

    #[test]
    fn overlays_touch_nothing_but_the_listed_real_servers_that_they_name(
        pair in pair(5),
        which in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let Pair { desired, live, .. } = &pair;
        let overlays = some_overlays(&pair, &which);
        let record = PriorState::for_snapshot();
        let without = planned(desired, live, Overlays::none(), &record);
        let with = planned(desired, live, &overlays, &record);
        let is_named = |op: &Op| match op.object() {
            crate::Object::RealServer(service, key) => {
                let named = desired.services.get(&service);
                overlays.get(&service, &key).is_some()
                    && named.is_some_and(|it| it.service.real_servers.get(&key).is_some())
            }
            _ => false,
        };
        let others = |plan: &Plan| -> Vec<Op> {
            plan.steps.iter().filter(|op| !is_named(op)).cloned().collect()
        };
        prop_assert_eq!(others(&with), others(&without));
        prop_assert_eq!(&with.refusals, &without.refusals, "guards judge the spec");
        prop_assert_eq!(with.out_of_scope, without.out_of_scope);
        for op in with.steps.iter().filter(|op| is_named(op)) {
            prop_assert!(op.service().is_some_and(|key| desired.governs(&key)));
        }
    }

    #[test]
    fn without_overlays_of_listed_real_servers_a_plan_is_the_same_to_the_byte(pair in pair(5)) {
        let Pair { desired, live, .. } = &pair;
        let record = PriorState::for_snapshot();
        let mut foreign = Overlays::default();
        foreign.insert(on(250), at(250), overlay(OverlayEffect::Out));
        let (with, without) = (planned(desired, live, &foreign, &record), planned(desired, live, Overlays::none(), &record));
        prop_assert_eq!(&with, &without);
        prop_assert_eq!(lines(desired, &with), lines(desired, &without));
        prop_assert_eq!(render::json(&with, desired).to_string(), render::json(&without, desired).to_string());
    }
}
