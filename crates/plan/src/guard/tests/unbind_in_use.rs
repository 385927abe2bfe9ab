//! Tests the guard `unbind-in-use`.

use std::collections::BTreeMap;

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics};
use evenkeel_model::{Family, Guards, Vip};

use super::*;

pub(super) fn connected(services: impl IntoIterator<Item = (ServiceKey, u32)>) -> Statistics {
    let counted = |active_connections| ServiceStatistics {
        real_servers: BTreeMap::from([(
            at(1),
            RealServerStatistics { active_connections, ..RealServerStatistics::default() },
        )]),
        ..ServiceStatistics::default()
    };
    Statistics { services: services.into_iter().map(|(key, it)| (key, counted(it))).collect() }
}

#[test]
fn a_vip_stays_while_a_service_on_it_stays_or_is_added() {
    let found = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(1), vip(2)]);
    let mut wanted = spec([(on(1), weighing(&[1])), (on(2), weighing(&[1]))], Drain::NONE);
    wanted.vips.insert(vip(1), Vip::default());
    let message = "unbinding 192.0.2.2 takes it from this host, but web/192.0.2.2:80/tcp needs it; \
                   keep the VIP under `vips`, or remove its services from the spec";
    let plan = planned(&wanted, &found);
    assert_eq!(refused(&plan), Some((Guard::UnbindInUse, message.to_owned())));

    // On another interface, or with another prefix length, the VIP stays on the host.
    for place in [Binding::host([192, 0, 2, 2].into(), "eth1"), Binding { prefix: 24, ..vip(2) }] {
        let mut wanted = wanted.clone();
        wanted.vips.insert(place, Vip::default());
        assert_eq!(refused(&planned(&wanted, &found)), None);
    }
    let mut elsewhere = found.clone();
    elsewhere.addresses.insert(Binding::host([192, 0, 2, 2].into(), "lo"), Owner::Other);
    assert_eq!(refused(&planned(&wanted, &elsewhere)), None);

    // A new service needs it as much.
    let empty = bound(host([(on(1), weighing(&[1]))]), [vip(1), vip(2)]);
    assert_eq!(refused(&planned(&wanted, &empty)), Some((Guard::UnbindInUse, message.to_owned())));
    wanted.services.remove(&on(2));
    assert_eq!(refused(&planned(&wanted, &found)), None, "it is unbound with its service");
}

fn mark(family: Family) -> ServiceKey {
    ServiceKey::Fwmark { family, fwmark: 7 }
}

#[test]
fn a_vip_without_its_own_service_stays_while_fwmark_services_have_connections() {
    let found = bound(host([(mark(Family::Ipv4), weighing(&[1]))]), [vip(2)]);
    let counted = connected([(mark(Family::Ipv4), 17)]);
    let idle = connected([(mark(Family::Ipv4), 0)]);
    let record = PriorState::for_snapshot();
    let unbinding =
        |found: &Live, drain, stays: bool, statistics| -> (Option<String>, Vec<String>) {
            let services = stays.then(|| (mark(Family::Ipv4), weighing(&[1])));
            let mut wanted = spec(services, drain);
            wanted.services.extend(spec([(on(9), weighing(&[1]))], drain).services);
            let plan = plan(Inputs { statistics, ..Inputs::new(&wanted, found, &record) });
            (refused(&plan).map(|(_, message)| message), warnings(&plan))
        };
    let message = "unbinding 192.0.2.2, which has no service of its own, could break up to 17 \
                   connections to web/fwmark-7/ipv4 (unbind_in_use: 0); keep the VIP under `vips` \
                   until the connections have ended";
    let refusal = |drain, stays, statistics| unbinding(&found, drain, stays, statistics).0;
    assert_eq!(refusal(Drain(30), true, Some(&counted)).as_deref(), Some(message));
    assert!(refusal(Drain::NONE, false, Some(&counted)).is_some());
    assert_eq!(refusal(Drain(30), false, Some(&counted)), None, "they have time to end");
    assert_eq!(refusal(Drain(30), true, Some(&idle)), None);
    assert_eq!(refusal(Drain(30), true, None), None, "not counted");

    // Packets of the other family use other addresses.
    let other = bound(host([(mark(Family::Ipv6), weighing(&[1]))]), [vip(2)]);
    let counted_there = connected([(mark(Family::Ipv6), 17)]);
    let mut wanted = spec([(mark(Family::Ipv6), weighing(&[1]))], Drain::NONE);
    wanted.guards.unbind_in_use = 0;
    let statistics = Some(&counted_there);
    let elsewhere = plan(Inputs { statistics, ..Inputs::new(&wanted, &other, &record) });
    assert_eq!(refused(&elsewhere), None);

    // The VIP may exist for its own service alone: a warning, and no refusal.
    let mut both = found.clone();
    both.services.insert(on(2), weighing(&[]));
    let (refusal, warnings) = unbinding(&both, Drain(30), true, Some(&counted));
    assert_eq!(refusal, None);
    let warning = "17 connections to web/fwmark-7/ipv4: those that use 192.0.2.2 break when \
                   it is unbound";
    assert_eq!(warnings, [warning]);
    assert_eq!(unbinding(&both, Drain(30), true, None).1, Vec::<String>::new());
}

#[test]
fn a_vip_may_be_unbound_after_drains_but_not_with_open_connections() {
    let found = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(2)]);
    let (counted, idle) = (connected([(on(1), 5), (on(2), 17)]), connected([(on(2), 0)]));
    let record = PriorState::for_snapshot();
    let unbinding = |drain, allowed, statistics| -> Option<String> {
        let mut wanted = spec([(on(1), weighing(&[1]))], drain);
        wanted.guards.unbind_in_use = allowed;
        let plan = plan(Inputs { statistics, ..Inputs::new(&wanted, &found, &record) });
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::UnbindInUse);
            message
        })
    };
    assert_eq!(
        unbinding(Drain::NONE, 0, Some(&counted)),
        Some(
            "unbinding 192.0.2.2 would break 17 connections to 192.0.2.2:80/tcp (unbind_in_use: \
             0); give the service a `drain` and apply that before you remove it"
                .to_owned()
        )
    );
    assert!(unbinding(Drain::NONE, 16, Some(&counted)).is_some());
    assert_eq!(unbinding(Drain::NONE, 17, Some(&counted)), None);
    assert_eq!(unbinding(Drain(30), 0, Some(&counted)), None);
    assert_eq!(unbinding(Drain::NONE, 0, Some(&idle)), None);
    assert_eq!(unbinding(Drain::NONE, 0, None), None, "not counted");
}

#[test]
fn a_label_is_changed_only_while_few_enough_connections_use_the_vip() {
    let relabelled = |guards| {
        let mut wanted = Desired { guards, ..spec([(on(1), weighing(&[1]))], Drain::NONE) };
        let label = Some("eth0:1".into());
        wanted.vips.insert(vip(1), Vip { label, ..Vip::default() });
        wanted
    };
    let found = bound(host([(on(1), weighing(&[1]))]), [vip(1)]);
    let planned = |guards: Guards, live: &Live, number| {
        let (wanted, record) = (relabelled(guards), PriorState::for_snapshot());
        let statistics = connected([(on(1), number)]);
        let inputs = Inputs::new(&wanted, live, &record);
        plan(Inputs { statistics: Some(&statistics), ..inputs })
    };
    let usual = Guards::default();
    assert_eq!(refused(&planned(usual, &found, 0)), None);
    let plan = planned(usual, &found, 3);
    let (guard, message) = refused(&plan).expect("it is refused");
    assert_eq!(guard, Guard::UnbindInUse);
    let words = "changing the label of 192.0.2.1 unbinds it for a moment, which may break \
                 3 connections to web/192.0.2.1:80/tcp (unbind_in_use: 0)";
    assert!(message.starts_with(words), "{message}");
    let impact = plan.impacts.get(&0).expect("it has an impact");
    let words = "3 connections may break: their packets reach no service until it is bound again";
    assert_eq!((impact.to_string().as_str(), impact.is_notable()), (words, true));
    assert_eq!(refused(&planned(Guards { unbind_in_use: 3, ..usual }, &found, 3)), None);
    // The address stays on the host through another interface.
    let elsewhere = Binding::host([192, 0, 2, 1].into(), "lo");
    let mut both = found;
    both.addresses.insert(elsewhere, Owner::Other);
    assert_eq!(refused(&planned(usual, &both, 3)), None);
}
