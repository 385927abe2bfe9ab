//! Tests `unbind-in-use` for sessions of programs on the host.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Family, Guards, LocalSession, LocalSessions, Protocol, RealServerPart, Vip};

use super::*;
use crate::{Draining, Op, Warning, interrupted_addresses};

fn session(local: &str, remote: &str) -> LocalSession {
    let [local, remote] = [local, remote].map(|it| it.parse().expect("an address and a port"));
    LocalSession { protocol: Protocol::Tcp, local, remote }
}

fn sessions(all: impl IntoIterator<Item = LocalSession>) -> LocalSessions {
    LocalSessions { sessions: all.into_iter().collect(), unread: BTreeMap::new() }
}

/// An ssh to 192.0.2.2.
fn ssh() -> LocalSession {
    session("192.0.2.2:22", "198.51.100.7:40000")
}

/// The refusal of a plan with these sessions.
fn refusal_with(
    desired: &Desired,
    live: &Live,
    record: &PriorState,
    sessions: &LocalSessions,
) -> Option<String> {
    let inputs = Inputs::new(desired, live, record);
    refused(&plan(Inputs { sessions: Some(sessions), ..inputs })).map(|(guard, message)| {
        assert_eq!(guard, Guard::UnbindInUse);
        message
    })
}

/// Another service keeps the spec from being empty.
fn kept() -> (ServiceKey, Service) {
    (on(9), weighing(&[1]))
}

#[test]
fn a_vip_with_sessions_of_programs_is_kept() {
    let live = bound(host([kept()]), [vip(1), vip(2)]);
    let wanted = spec([kept()], Drain::NONE);
    let record = PriorState::for_snapshot();
    let with = |all: &[LocalSession]| {
        refusal_with(&wanted, &live, &record, &sessions(all.iter().copied()))
    };
    let udp = LocalSession { protocol: Protocol::Udp, ..session("192.0.2.2:53", "10.0.0.1:9") };
    let words = "unbinding 192.0.2.2 would break 2 connections of programs on this host, at ports 22/tcp and \
                 53/udp (unbind_in_use: 0); end them, or keep the VIP under `vips` until they have ended";
    assert_eq!(with(&[ssh(), udp]).as_deref(), Some(words));
    // Another address, as the other end: packets to it are not the host's.
    assert_eq!(with(&[session("192.0.2.7:22", "192.0.2.2:40000")]), None);
    let ends = [session("192.0.2.2:22", "192.0.2.2:9"), session("192.0.2.2:9", "192.0.2.2:22")];
    let message = with(&ends).expect("it is refused");
    assert!(message.contains("1 connection of a program on this host"), "both ends: {message}");

    let mut stays = wanted.clone();
    stays.vips.insert(vip(2), Vip::default());
    assert_eq!(refusal_with(&stays, &live, &record, &sessions([ssh()])), None);
    let allowing = |number| {
        let guards = Guards { unbind_in_use: number, ..Guards::default() };
        let wanted = Desired { guards, ..wanted.clone() };
        refusal_with(&wanted, &live, &record, &sessions([ssh(), udp]))
    };
    assert!(allowing(1).is_some());
    assert_eq!(allowing(2), None);
    let mut moved = wanted.clone();
    moved.elsewhere.vips.insert(vip(2).address);
    assert_eq!(refusal_with(&moved, &live, &record, &sessions([ssh()])), None);
}

/// On a director IPVS counts them, and a real server waits for the drain.
#[test]
fn sessions_of_services_are_no_sessions_of_programs() {
    let record = PriorState::for_snapshot();
    let wanted = spec([kept()], Drain(30));
    let local_node = session("192.0.2.2:80", "198.51.100.7:40000");
    let client_here = session("192.0.2.2:40000", "192.0.2.2:80");
    let found = bound(host([kept(), (on(2), weighing(&[1]))]), [vip(2)]);
    let all = sessions([local_node, client_here]);
    assert_eq!(refusal_with(&wanted, &found, &record, &all), None);
    assert!(refusal_with(&wanted, &found, &record, &sessions([ssh()])).is_some());

    // A real server: the port of the service, which has no entry in its table.
    let live = bound(host([kept()]), [vip(2)]);
    let mut last = wanted.clone();
    last.real_server.insert(on(2), RealServerPart::default());
    let inputs = Inputs { last: Some(&last), ..Inputs::new(&wanted, &live, &record) };
    let refused_for =
        |all: &LocalSessions| refused(&plan(Inputs { sessions: Some(all), ..inputs })).is_some();
    assert!(!refused_for(&sessions([local_node])));
    assert!(refused_for(&sessions([ssh()])));

    // The ports of a fwmark service with a real server on this host are not known.
    let mark = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 7 };
    let here = at(1).address;
    let mut marked = bound(host([kept(), (mark, weighing(&[1]))]), [vip(2)]);
    let wanted = spec([kept(), (mark, weighing(&[1]))], Drain(30));
    assert!(refusal_with(&wanted, &marked, &record, &sessions([ssh()])).is_some());
    marked.addresses.insert(Binding::host(here, "eth9"), Owner::Other);
    assert_eq!(refusal_with(&wanted, &marked, &record, &sessions([ssh()])), None);
}

#[test]
fn a_removal_that_was_judged_when_its_drain_began_is_not_judged_again() {
    let found = bound(host([kept(), (on(2), weighing(&[0]))]), [vip(2)]);
    let wanted = spec([kept()], Drain(30));
    let mut record = PriorState::for_snapshot();
    assert!(refusal_with(&wanted, &found, &record, &sessions([ssh()])).is_some());
    let begun = Draining { since: 0, weight: 1, limit: Drain(30), uptime: None };
    record.drains.0.insert((on(2), at(1)), begun);
    assert_eq!(refusal_with(&wanted, &found, &record, &sessions([ssh()])), None);
}

#[test]
fn a_label_is_not_changed_while_a_program_has_a_session() {
    let mut wanted = spec([kept()], Drain::NONE);
    let label = Some("eth0:1".into());
    wanted.vips.insert(vip(2), Vip { label, ..Vip::default() });
    let live = bound(host([kept()]), [vip(2)]);
    let record = PriorState::for_snapshot();
    let words = "changing the label of 192.0.2.2 unbinds it for a moment, which may break 1 connection of a \
                 program on this host, at port 22/tcp (unbind_in_use: 0); wait until the connections have \
                 ended, or keep its present label";
    let message = refusal_with(&wanted, &live, &record, &sessions([ssh()]));
    assert_eq!(message.as_deref(), Some(words));
}

#[test]
fn sessions_that_cannot_be_read_are_warned_of_where_a_vip_goes() {
    let live = bound(host([kept()]), [vip(2)]);
    let record = PriorState::for_snapshot();
    let unread = LocalSessions {
        sessions: BTreeSet::new(),
        unread: BTreeMap::from([
            (Protocol::Tcp, "no diagnostics".to_owned()),
            (Protocol::Udp, "no diagnostics".to_owned()),
        ]),
    };
    let warned = |desired: &Desired| {
        let inputs = Inputs::new(desired, &live, &record);
        plan(Inputs { sessions: Some(&unread), ..inputs }).warnings
    };
    let mut wanted = spec([kept()], Drain::NONE);
    let vips = BTreeSet::from([vip(2).address]);
    let warning = Warning::SessionsUnread { vips, why: "no diagnostics".to_owned() };
    assert_eq!(warned(&wanted), [warning]);
    wanted.vips.insert(vip(2), Vip::default());
    assert_eq!(warned(&wanted), []);
}

#[test]
fn the_addresses_to_be_read_are_those_that_leave_the_host() {
    let live = bound(host([]), [vip(1), vip(2), Binding { prefix: 24, ..vip(2) }]);
    let unbind = |binding| Op::Unbind { binding, label: None };
    let read = |ops: &[Op]| interrupted_addresses(&live, ops);
    assert_eq!(read(&[unbind(vip(1)), unbind(vip(2))]), BTreeSet::from([vip(1).address]));
    assert_eq!(read(&[]), BTreeSet::new());
}
