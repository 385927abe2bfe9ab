use std::collections::BTreeMap;

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics};
use evenkeel_model::{
    Binding, Drain, Family, Guards, IgnoredField, Live, Named, Owner, Service, Vip,
};

use super::*;
use crate::sample::{self, at, on};
use crate::{Draining, Drains, Plan, Record, plan};

/// A service whose real servers have those weights.
fn weighing(weights: &[u32]) -> Service {
    let real_servers = (1..).map(at).zip(weights.iter().copied().map(sample::weighing));
    Service { config: sample::scheduled_by("wlc"), real_servers: real_servers.collect() }
}

fn spec(services: impl IntoIterator<Item = (ServiceKey, Service)>, drain: Drain) -> Desired {
    let named = |service| Named { drain, ..Named::new("web", service) };
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
    plan(Inputs::new(desired, live, &Record::of_a_snapshot()))
}

/// The one guard that refuses, and its sentence. It yields to its name, and to no other.
fn refused(plan: &Plan) -> Option<(Guard, &str)> {
    let [refusal] = &plan.refusals[..] else {
        assert_eq!(plan.refusals, []);
        return None;
    };
    for guard in Guard::ALL {
        assert_eq!(plan.refused(&[guard]).count(), usize::from(guard != refusal.guard));
    }
    assert_eq!(plan.refused(&[]).count(), 1);
    Some((refusal.guard, &refusal.message))
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
         no-server, unbind-in-use"
    );
}

#[test]
fn an_empty_spec_is_refused_even_where_there_is_nothing_to_delete() {
    let plan = planned(&spec([], Drain::NONE), &Live::default());
    assert_eq!(refused(&plan).map(|(guard, _)| guard), Some(Guard::Empty));
    let plan = planned(&spec([(on(1), weighing(&[]))], Drain::NONE), &Live::default());
    assert_eq!(refused(&plan), None);
}

#[test]
fn the_first_apply_without_a_scope_refuses_to_delete_what_it_finds() {
    let mut wanted = spec([(on(1), weighing(&[]))], Drain::NONE);
    wanted.scope = Scope::Implied;
    let strangers = |number: u8| host((2..2 + number).map(|last| (on(last), weighing(&[]))));
    let first = |desired: &Desired, live: &Live| -> Option<String> {
        let plan = plan(Inputs::new(desired, live, &Record::default()));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::TakeOver);
            message.to_owned()
        })
    };
    let advice = "; write `scope: all` if the whole table is the spec's, or list under `scope` \
                  what is";
    assert_eq!(
        first(&wanted, &strangers(1)),
        Some(format!(
            "this is the first apply here and the spec has no `scope`, so it would delete 1 live \
             service it does not list (192.0.2.2:80/tcp){advice}"
        ))
    );
    wanted.guards.mass_delete = 0;
    assert_eq!(
        first(&wanted, &strangers(5)),
        Some(format!(
            "this is the first apply here and the spec has no `scope`, so it would delete 5 live \
             services it does not list (192.0.2.2:80/tcp, 192.0.2.3:80/tcp, 192.0.2.4:80/tcp and \
             2 more){advice}"
        ))
    );
    assert_eq!(refused(&planned(&wanted, &strangers(1))), None);
    assert_eq!(first(&wanted, &Live::default()), None);
    wanted.scope = Scope::All;
    assert_eq!(first(&wanted, &strangers(1)), None);
}

#[test]
fn a_mass_deletion_leaves_fewer_than_the_share_of_as_many_as_the_spec_says() {
    let many = |number: u8| (0..number).map(|last| (on(last), weighing(&[])));
    let falls = |guards: Guards, from: u8, to: u8| -> Option<String> {
        let wanted = Desired { guards, ..spec(many(to), Drain::NONE) };
        let plan = planned(&wanted, &host(many(from)));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::MassDelete);
            message.to_owned()
        })
    };
    let usual = Guards::default();
    assert_eq!(falls(usual, 3, 1), None);
    assert_eq!(falls(usual, 4, 2), None);
    assert_eq!(
        falls(usual, 4, 1),
        Some("services fall from 4 to 1: fewer than half would be left".to_owned())
    );
    assert_eq!(
        falls(usual, 5, 2),
        Some("services fall from 5 to 2: fewer than half would be left".to_owned())
    );
    let strict = Guards { mass_delete: 90, mass_delete_from: 10, ..usual };
    assert_eq!(falls(strict, 9, 1), None);
    assert_eq!(falls(strict, 10, 9), None);
    assert_eq!(
        falls(strict, 10, 8),
        Some("services fall from 10 to 8: fewer than 90% would be left".to_owned())
    );
    let off = Guards { mass_delete: 0, mass_delete_from: 1, ..usual };
    assert_eq!(falls(off, 100, 1), None);
    let every = Guards { mass_delete: 100, mass_delete_from: 1, ..usual };
    assert_eq!(falls(every, 2, 2), None);
    assert!(falls(every, 2, 1).is_some());
}

#[test]
fn the_real_servers_of_one_service_can_be_a_mass_deletion_by_themselves() {
    let found = host([(on(1), weighing(&[1, 1, 1, 1]))]);
    let plan = planned(&spec([(on(1), weighing(&[1]))], Drain::NONE), &found);
    let message = "real servers fall from 4 to 1: fewer than half would be left";
    assert_eq!(refused(&plan), Some((Guard::MassDelete, message)));
}

#[test]
fn what_is_out_of_scope_does_not_count_as_a_mass_deletion() {
    let mut wanted = spec([(on(1), weighing(&[]))], Drain::NONE);
    wanted.scope =
        Scope::Limited { vips: vec!["192.0.2.1/32".parse().expect("a net")], fwmarks: vec![] };
    let found = host((1..=5).map(|last| (on(last), weighing(&[]))));
    assert_eq!(refused(&planned(&wanted, &found)), None);
}

#[test]
fn what_drains_already_was_decided_on_before() {
    let found = host((1..=5).map(|last| (on(last), weighing(&[0]))));
    let wanted = spec([(on(1), weighing(&[0]))], Drain(30));
    assert!(refused(&planned(&wanted, &found)).is_some());
    let draining = Draining { since: 1, weight: 1, limit: Drain::default(), uptime: None };
    let drains = (2..=5).map(|last| ((on(last), at(1)), draining)).collect();
    let record = Record { drains: Drains(drains), ..Record::of_a_snapshot() };
    let plan = plan(Inputs::new(&wanted, &found, &record));
    assert_eq!((refused(&plan), plan.steps.len()), (None, 8));
}

#[test]
fn a_spec_that_was_cut_off_changes_nothing() {
    let (wanted, found) = (spec([(on(1), weighing(&[1]))], Drain::NONE), host([]));
    let record = Record::of_a_snapshot();
    let cut = |live: &Live, of| -> Plan {
        let cut_off = CutOff { name: "web.yaml".to_owned(), length: 412, of };
        plan(Inputs { cut_off: Some(&cut_off), ..Inputs::new(&wanted, live, &record) })
    };
    let message = "web.yaml is the first 412 of 1830 bytes of the last applied spec: it may not have \
                   been written in full; look at its end and write it again";
    assert_eq!(refused(&cut(&found, Some(1830))), Some((Guard::CutOff, message)));
    let message = "web.yaml, 412 bytes, has no end of line at its end, as the last applied spec had: it \
                   may not have been written in full; look at its end and write it again";
    assert_eq!(refused(&cut(&found, None)), Some((Guard::CutOff, message)));
    let same = host([(on(1), weighing(&[1]))]);
    assert_eq!(refused(&cut(&same, None)), None, "nothing would change");
}

#[test]
fn a_text_is_cut_off_at_every_byte_but_where_only_empty_lines_are_missing() {
    let whole = "version: 1\nservices:\n  - { name: a, weight: 10 }\n\n";
    let texts = |text: &'static str| [("spec.yaml", text.as_bytes())];
    for end in 0..whole.len() - 1 {
        let cut = cut_off(&texts(&whole[..end]), &[whole.as_bytes()]);
        let expected = CutOff { name: "spec.yaml".to_owned(), length: end, of: Some(whole.len()) };
        assert_eq!(cut, Some(expected), "{:?}", &whole[..end]);
    }
    for same in [&whole[..whole.len() - 1], whole] {
        assert_eq!(cut_off(&texts(same), &[whole.as_bytes()]), None);
    }
    assert_eq!(cut_off(&texts("version: 1\n"), &[]), None, "nothing is known");
}

#[test]
fn an_edited_text_is_cut_off_where_it_lost_the_end_of_its_last_line() {
    let ended: &[&[u8]] = &[b"a: 1\n", b"b: 2\n"];
    let texts = |text: &'static [u8]| [("a", b"a: 1\n".as_slice()), ("b", text)];
    let edited = CutOff { name: "b".to_owned(), length: 4, of: None };
    assert_eq!(cut_off(&texts(b"b: 3"), ended), Some(edited));
    assert_eq!(cut_off(&texts(b"b: 3\n"), ended), None);
    assert_eq!(cut_off(&texts(b"b: 3\r\n"), ended), None);
    let unended: &[&[u8]] = &[b"a: 1\n", b"b: 2"];
    assert_eq!(cut_off(&texts(b"b: 3"), unended), None, "it never had one");
    assert_eq!(cut_off(&texts(b"b: 2"), unended), None, "it is the same");
}

#[test]
fn a_new_text_that_begins_like_another_is_not_cut_off() {
    let last: &[&[u8]] = &[b"version: 1\nservices: []\n"];
    let beside = [("0", b"version: 1\n".as_slice()), ("1", last[0])];
    assert_eq!(cut_off(&beside, last), None);
    let alone = [("0", b"version: 1\n".as_slice()), ("1", b"services: []\n")];
    let begun = CutOff { name: "0".to_owned(), length: 11, of: Some(24) };
    assert_eq!(cut_off(&alone, last), Some(begun));
}

#[test]
fn a_service_that_stays_keeps_a_real_server_of_a_positive_weight() {
    let bare = |live: &[u32], desired: &[u32], drain| -> Option<String> {
        let wanted = spec([(on(1), weighing(desired))], drain);
        let plan = planned(&wanted, &host([(on(1), weighing(live))]));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::NoServer);
            message.to_owned()
        })
    };
    let message = |number| {
        Some(format!(
            "web/192.0.2.1:80/tcp would keep no real server of a positive weight, of {number} now, \
             and refuse all clients; list one with a weight, or take it out of the spec"
        ))
    };
    for drain in [Drain::NONE, Drain(30)] {
        assert_eq!(bare(&[1, 2], &[], drain), message(2), "deleted");
        assert_eq!(bare(&[1, 0], &[0, 0], drain), message(1), "set to 0");
        assert_eq!(bare(&[5, 0], &[0, 0, 0], drain), message(1), "and one added that takes none");
        assert_eq!(bare(&[5, 0], &[0, 1], drain), None);
        assert_eq!(bare(&[5], &[0, 1], drain), None);
        assert_eq!(bare(&[0, 0], &[0], drain), None, "it had none before");
        assert_eq!(bare(&[0, 0], &[], drain), None, "it had none before");
    }
}

#[test]
fn weights_that_are_left_to_someone_else_count_as_they_are() {
    let mut wanted = spec([(on(1), weighing(&[7]))], Drain::NONE);
    for named in wanted.services.values_mut() {
        named.ignore = [IgnoredField::Weight].into_iter().collect();
    }
    // The second one leaves, and a health checker has set the first to 0.
    let plan = planned(&wanted, &host([(on(1), weighing(&[0, 1]))]));
    assert_eq!(refused(&plan).map(|(guard, _)| guard), Some(Guard::NoServer));
    let plan = planned(&wanted, &host([(on(1), weighing(&[3, 1]))]));
    assert_eq!(refused(&plan), None);
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

fn bound(live: Live, vips: impl IntoIterator<Item = Binding>) -> Live {
    let addresses = vips.into_iter().map(|vip| (vip, Owner::Evenkeel)).collect();
    Live { addresses, ..live }
}

fn connected(services: impl IntoIterator<Item = (ServiceKey, u32)>) -> Statistics {
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
fn a_vip_stays_where_a_service_on_it_stays_or_comes() {
    let found = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(1), vip(2)]);
    let mut wanted = spec([(on(1), weighing(&[1])), (on(2), weighing(&[1]))], Drain::NONE);
    wanted.vips.insert(vip(1), Vip::default());
    let message = "unbinding 192.0.2.2 takes it from this host, but web/192.0.2.2:80/tcp needs it; \
                   keep it under `vips`, or take what is on it out";
    let plan = planned(&wanted, &found);
    assert_eq!(refused(&plan), Some((Guard::UnbindInUse, message)));

    // On another interface, or with another prefix length, it is still there.
    for place in [Binding::host([192, 0, 2, 2].into(), "eth1"), Binding { prefix: 24, ..vip(2) }] {
        let mut wanted = wanted.clone();
        wanted.vips.insert(place, Vip::default());
        assert_eq!(refused(&planned(&wanted, &found)), None);
    }
    let mut elsewhere = found.clone();
    elsewhere.addresses.insert(Binding::host([192, 0, 2, 2].into(), "lo"), Owner::Other);
    assert_eq!(refused(&planned(&wanted, &elsewhere)), None);

    // One that comes needs it as much.
    let empty = bound(host([(on(1), weighing(&[1]))]), [vip(1), vip(2)]);
    assert_eq!(refused(&planned(&wanted, &empty)), Some((Guard::UnbindInUse, message)));
    wanted.services.remove(&on(2));
    assert_eq!(refused(&planned(&wanted, &found)), None, "it goes with its service");
}

fn mark(family: Family) -> ServiceKey {
    ServiceKey::Fwmark { family, fwmark: 7 }
}

#[test]
fn a_vip_without_a_service_of_its_own_stays_while_fwmark_services_have_connections() {
    let found = bound(host([(mark(Family::Ipv4), weighing(&[1]))]), [vip(2)]);
    let counted = connected([(mark(Family::Ipv4), 17)]);
    let idle = connected([(mark(Family::Ipv4), 0)]);
    let record = Record::of_a_snapshot();
    let unbinding =
        |found: &Live, drain, stays: bool, statistics| -> (Option<String>, Vec<String>) {
            let services = stays.then(|| (mark(Family::Ipv4), weighing(&[1])));
            let mut wanted = spec(services, drain);
            wanted.services.extend(spec([(on(9), weighing(&[]))], drain).services);
            let plan = plan(Inputs { statistics, ..Inputs::new(&wanted, found, &record) });
            (refused(&plan).map(|(_, message)| message.to_owned()), plan.warnings)
        };
    let message = "unbinding 192.0.2.2, on which is no service of its own, would break those of 17 \
                   connections to web/fwmark-7/ipv4 that come in by it, where 0 may break; keep it \
                   under `vips` until they have ended";
    let refusal = |drain, stays, statistics| unbinding(&found, drain, stays, statistics).0;
    assert_eq!(refusal(Drain(30), true, Some(&counted)).as_deref(), Some(message));
    assert!(refusal(Drain::NONE, false, Some(&counted)).is_some());
    assert_eq!(refusal(Drain(30), false, Some(&counted)), None, "they are given time to end");
    assert_eq!(refusal(Drain(30), true, Some(&idle)), None);
    assert_eq!(refusal(Drain(30), true, None), None, "nobody counted");

    // Those of the other family come in elsewhere.
    let other = bound(host([(mark(Family::Ipv6), weighing(&[1]))]), [vip(2)]);
    let counted_there = connected([(mark(Family::Ipv6), 17)]);
    let mut wanted = spec([(mark(Family::Ipv6), weighing(&[1]))], Drain::NONE);
    wanted.guards.unbind_in_use = 0;
    let statistics = Some(&counted_there);
    let elsewhere = plan(Inputs { statistics, ..Inputs::new(&wanted, &other, &record) });
    assert_eq!(refused(&elsewhere), None);

    // With a service of its own the VIP may be there for that alone: a word, and no refusal.
    let mut both = found.clone();
    both.services.insert(on(2), weighing(&[]));
    let (refusal, warnings) = unbinding(&both, Drain(30), true, Some(&counted));
    assert_eq!(refusal, None);
    let warning = "17 connections to web/fwmark-7/ipv4: those that come in by 192.0.2.2 break when \
                   it is unbound";
    assert_eq!(warnings, [warning]);
    assert_eq!(unbinding(&both, Drain(30), true, None).1, Vec::<String>::new());
}

#[test]
fn a_vip_without_its_drained_services_may_go_and_with_open_connections_may_not() {
    let found = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(2)]);
    let (counted, idle) = (connected([(on(1), 5), (on(2), 17)]), connected([(on(2), 0)]));
    let record = Record::of_a_snapshot();
    let unbinding = |drain, allowed, statistics| -> Option<String> {
        let mut wanted = spec([(on(1), weighing(&[1]))], drain);
        wanted.guards.unbind_in_use = allowed;
        let plan = plan(Inputs { statistics, ..Inputs::new(&wanted, &found, &record) });
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::UnbindInUse);
            message.to_owned()
        })
    };
    assert_eq!(
        unbinding(Drain::NONE, 0, Some(&counted)),
        Some(
            "unbinding 192.0.2.2 would break 17 connections to 192.0.2.2:80/tcp, where 0 may \
             break; give the service a `drain` and apply that before you take it out"
                .to_owned()
        )
    );
    assert!(unbinding(Drain::NONE, 16, Some(&counted)).is_some());
    assert_eq!(unbinding(Drain::NONE, 17, Some(&counted)), None);
    assert_eq!(unbinding(Drain(30), 0, Some(&counted)), None);
    assert_eq!(unbinding(Drain::NONE, 0, Some(&idle)), None);
    assert_eq!(unbinding(Drain::NONE, 0, None), None, "nobody counted");
}
