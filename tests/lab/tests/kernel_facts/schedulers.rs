//! P23, P24, P42, P47 and P50: whom schedulers choose, and what that depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};

use evenkeel_ipvs::{flags, forward, protocol};

use super::director::{Director, choices_of, connect, is_taken, scheduled, server, visit, visitor};
use super::*;

/// Enough to see that order matters to mh, too: there it decides about few of them.
const CLIENTS: u16 = 500;

fn weighted(number: u8, weight: u32) -> Destination {
    Destination { weight, ..server(number) }
}

fn with_flags(scheduler: &str, flags: u32) -> Service {
    Service { flags, ..scheduled(scheduler) }
}

/// What the clients are given by a service of that scheduler that got its servers in that order.
fn given(scheduler: &str, servers: impl IntoIterator<Item = u8>) -> BTreeMap<u16, u8> {
    drop(Director::new(scheduled(scheduler), servers.into_iter().map(server)));
    choices_of(CLIENTS)
}

/// The opposite order moves every client of `sh` (four servers of one weight), and of `mh` a few: seen
/// were 5 of 500.
#[test]
fn p23_sh_and_mh_choose_by_the_order_in_which_real_servers_were_added() {
    for (scheduler, some) in [("sh", CLIENTS..=CLIENTS), ("mh", 1..=CLIENTS / 20)] {
        let forwards = given(scheduler, 1..=4);
        assert_eq!(forwards.len(), usize::from(CLIENTS), "{scheduler}");
        assert_eq!(given(scheduler, 1..=4), forwards, "{scheduler}: the same history");
        let backwards = given(scheduler, (1..=4).rev());
        let moved = forwards.iter().filter(|(client, it)| backwards[client] != **it).count();
        let moved = u16::try_from(moved).unwrap();
        assert!(some.contains(&moved), "{scheduler}: the opposite one: {moved}");
        // The same set in the same order of addition, by way of a detour.
        let mut director = Director::new(scheduled(scheduler), [3, 1, 2].map(server));
        let key = scheduled(scheduler).key;
        director.done([Command::DeleteDestination(key, server(3).key())]);
        director.done([3, 4].map(|number| Command::NewDestination(key, server(number))));
        assert_eq!(choices_of(CLIENTS), forwards, "{scheduler}: re-added");
    }
}

/// Whom the clients are given when the third of four servers gets weight 0 before they come.
fn given_with_one_at_rest(service: Service) -> BTreeMap<u16, u8> {
    let mut director = Director::new(service, (1..=4).map(server));
    director.done([Command::SetDestination(service.key, weighted(3, 0))]);
    choices_of(CLIENTS)
}

#[test]
fn p23_weight_0_moves_no_client_between_the_others_and_refuses_its_own() {
    for scheduler in ["sh", "mh"] {
        let before = given(scheduler, 1..=4);
        let others: BTreeMap<u16, u8> =
            before.iter().filter(|(_, it)| **it != 3).map(|(a, b)| (*a, *b)).collect();
        assert!(others.len() < before.len(), "{scheduler}");
        assert_eq!(given_with_one_at_rest(scheduled(scheduler)), others, "{scheduler}");
        let fallback = given_with_one_at_rest(with_flags(scheduler, flags::SCHED1));
        assert_eq!(fallback.len(), usize::from(CLIENTS), "{scheduler}: all are served");
        assert!(others.iter().all(|(client, it)| fallback[client] == *it), "{scheduler}");
    }
}

/// How many clients are refused once one of two real servers got weight 0.
fn refused(service: Service, rested: u8) -> usize {
    let mut director = Director::new(service, [1, 2].map(server));
    director.done([Command::SetDestination(service.key, weighted(rested, 0))]);
    usize::from(CLIENTS) - choices_of(CLIENTS).len()
}

#[test]
fn p47_a_real_server_at_rest_costs_sh_and_mh_its_clients_unless_they_fall_back() {
    for scheduler in ["sh", "mh"] {
        let plainly = [1, 2].map(|rested| refused(scheduled(scheduler), rested));
        assert!(plainly.iter().all(|it| *it > 0), "{scheduler}: {plainly:?}");
        assert_eq!(plainly.iter().sum::<usize>(), usize::from(CLIENTS), "{scheduler}");
        assert_eq!(refused(with_flags(scheduler, flags::SCHED1), 2), 0, "{scheduler}");
    }
}

/// `mh` goes by the last weight that was not 0, and this one never had any.
#[test]
fn p47_a_real_server_that_is_added_at_weight_0_costs_sh_its_clients_and_mh_none() {
    for (scheduler, is_missed) in [("sh", true), ("mh", false)] {
        drop(Director::new(scheduled(scheduler), [weighted(1, 1), weighted(2, 0)]));
        assert_eq!(choices_of(CLIENTS).len() < CLIENTS.into(), is_missed, "{scheduler}");
    }
}

#[test]
fn p47_dh_refuses_all_clients_or_none() {
    let refusals = [1, 2].map(|rested| refused(scheduled("dh"), rested));
    // The VIP belongs to one of the two, whichever it is.
    assert_eq!(BTreeSet::from(refusals), BTreeSet::from([0, CLIENTS.into()]));
}

/// How twenty connections are shared by two servers of those weights.
fn shared(scheduler: &str, weights: [u32; 2]) -> [u32; 2] {
    let [one, two] = weights;
    let mut director = Director::new(scheduled(scheduler), [weighted(1, one), weighted(2, two)]);
    for number in 1..=20 {
        assert!(visit(number), "{scheduler}");
    }
    director.counts().try_into().unwrap()
}

/// Settled: `rr` and `lc` look at a weight only for whether it is 0; so does `dh` (P47).
#[test]
fn p24_rr_and_lc_take_a_weight_for_on_or_off_and_wrr_and_wlc_for_a_share() {
    for scheduler in ["rr", "lc"] {
        assert_eq!(shared(scheduler, [9, 1]), [10, 10], "{scheduler}");
        assert_eq!(shared(scheduler, [9, 0]), [20, 0], "{scheduler}");
    }
    assert_eq!(shared("wrr", [9, 1]), [18, 2]);
    for scheduler in ["wlc", "sed"] {
        let [heavy, light] = shared(scheduler, [9, 1]);
        assert!(heavy >= 3 * light, "{scheduler}: {heavy} and {light}");
    }
}

#[test]
fn p24_fo_gives_everything_to_the_highest_weight() {
    let service = scheduled("fo");
    let mut director = Director::new(service, [weighted(1, 5), weighted(2, 9), weighted(3, 1)]);
    assert!((1..=5).all(visit));
    assert_eq!(director.counts(), [0, 5, 0]);
    director.done([Command::SetDestination(service.key, weighted(2, 4))]);
    assert!((6..=8).all(visit));
    assert_eq!(director.counts(), [3, 5, 0]);
}

/// The weight is what may be exceeded by one: seen as in `ip_vs_ovf.c`, which passes over a real server
/// only when it has more active connections than its weight.
#[test]
fn p24_ovf_takes_a_weight_for_a_number_of_active_connections() {
    let service = service("192.0.2.1:80", protocol::TCP, "ovf");
    let server = |number: u8, weight| Destination {
        weight,
        ..destination(&format!("127.0.0.{number}:80"), forward::MASQ)
    };
    let mut director = Director::new(service, [server(1, 2), server(2, 1)]);
    let _listening =
        [1, 2].map(|number| TcpListener::bind((Ipv4Addr::new(127, 0, 0, number), 80)).unwrap());
    let mut open = Vec::new();
    for active in [[1, 0], [2, 0], [3, 0], [3, 1], [3, 2]] {
        open.push(connect(0).unwrap());
        let entries = director.client.destinations(&service.key).unwrap();
        let counted: Vec<u32> = entries.iter().rev().map(|it| it.connections.active).collect();
        assert_eq!(counted, active);
    }
    assert!(connect(0).is_err(), "no real server has room");
}

/// The faster way to a large table of `mh`, by its outcome; what it saves is time, which is measured
/// and not tested.
#[test]
fn p42_a_service_that_becomes_mh_when_it_is_complete_chooses_as_one_that_always_was() {
    let always = given("mh", 1..=4);
    let mut director = Director::new(scheduled("rr"), (1..=4).map(server));
    director.done([Command::SetService(scheduled("mh"))]);
    assert_eq!(choices_of(CLIENTS), always);
}

/// That new clients are refused during the change shows on several processors only. Around it,
/// nothing is lost.
#[test]
fn p50_a_change_of_the_scheduler_keeps_connections_and_takes_new_ones_when_it_is_done() {
    let mut director = Director::new(scheduled("rr"), [1, 2].map(server));
    let open = [1, 2].map(visitor);
    assert!(open.iter().all(is_taken));
    for scheduler in ["mh", "wlc", "sh", "rr"] {
        director.done([Command::SetService(scheduled(scheduler))]);
        assert!(open.iter().all(is_taken), "{scheduler}");
        assert_eq!(director.counts(), [1, 1], "{scheduler}");
    }
    assert!(visit(3));
    assert_eq!(director.counts().iter().sum::<u32>(), 3);
}
