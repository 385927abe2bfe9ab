//! P23, P24, P42, P47 and P50: which real server a scheduler chooses, and what the choice depends
//! on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};

use evenkeel_ipvs::{flags, forward, protocol};

use super::director::{Director, choices_of, connect, is_taken, scheduled, server, visit, visitor};
use super::*;

/// Enough to see that the order matters to mh, too, for which it decides about few clients.
const CLIENTS: u16 = 500;

fn weighted(number: u8, weight: u32) -> Destination {
    Destination { weight, ..server(number) }
}

fn with_flags(scheduler: &str, flags: u32) -> Service {
    Service { flags, ..scheduled(scheduler) }
}

/// Returns the real server of each client, for a service with that scheduler and real servers added
/// in that order.
fn given(scheduler: &str, servers: impl IntoIterator<Item = u8>) -> BTreeMap<u16, u8> {
    drop(Director::new(scheduled(scheduler), servers.into_iter().map(server)));
    choices_of(CLIENTS)
}

/// The opposite order moves every client of `sh` (four servers of one weight), and a few of `mh`: 5
/// of 500 were observed.
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
        // The same set in the same order of addition, after other changes.
        let mut director = Director::new(scheduled(scheduler), [3, 1, 2].map(server));
        let key = scheduled(scheduler).key;
        director.done([Command::DeleteDestination(key, server(3).key())]);
        director.done([3, 4].map(|number| Command::NewDestination(key, server(number))));
        assert_eq!(choices_of(CLIENTS), forwards, "{scheduler}: re-added");
    }
}

/// Returns the real server of each client if the third of four servers gets weight 0 first.
fn assignments_with_one_at_weight_0(service: Service) -> BTreeMap<u16, u8> {
    let mut director = Director::new(service, (1..=4).map(server));
    director.done([Command::SetDestination(service.key, weighted(3, 0))]);
    choices_of(CLIENTS)
}

#[test]
fn p23_weight_0_refuses_the_clients_of_its_server_and_moves_no_others() {
    for scheduler in ["sh", "mh"] {
        let before = given(scheduler, 1..=4);
        let others: BTreeMap<u16, u8> =
            before.iter().filter(|(_, it)| **it != 3).map(|(a, b)| (*a, *b)).collect();
        assert!(others.len() < before.len(), "{scheduler}");
        assert_eq!(assignments_with_one_at_weight_0(scheduled(scheduler)), others, "{scheduler}");
        let fallback = assignments_with_one_at_weight_0(with_flags(scheduler, flags::SCHED1));
        assert_eq!(fallback.len(), usize::from(CLIENTS), "{scheduler}: all are served");
        assert!(others.iter().all(|(client, it)| fallback[client] == *it), "{scheduler}");
    }
}

/// Returns how many clients are refused after one of two real servers got weight 0.
fn refused(service: Service, rested: u8) -> usize {
    let mut director = Director::new(service, [1, 2].map(server));
    director.done([Command::SetDestination(service.key, weighted(rested, 0))]);
    usize::from(CLIENTS) - choices_of(CLIENTS).len()
}

#[test]
fn p47_with_sh_and_mh_the_clients_of_a_real_server_of_weight_0_are_refused_without_fallback() {
    for scheduler in ["sh", "mh"] {
        let plainly = [1, 2].map(|rested| refused(scheduled(scheduler), rested));
        assert!(plainly.iter().all(|it| *it > 0), "{scheduler}: {plainly:?}");
        assert_eq!(plainly.iter().sum::<usize>(), usize::from(CLIENTS), "{scheduler}");
        assert_eq!(refused(with_flags(scheduler, flags::SCHED1), 2), 0, "{scheduler}");
    }
}

/// `mh` uses the last weight that was not 0, and this server never had any.
#[test]
fn p47_adding_a_real_server_at_weight_0_refuses_clients_with_sh_and_none_with_mh() {
    for (scheduler, is_missed) in [("sh", true), ("mh", false)] {
        drop(Director::new(scheduled(scheduler), [weighted(1, 1), weighted(2, 0)]));
        assert_eq!(choices_of(CLIENTS).len() < CLIENTS.into(), is_missed, "{scheduler}");
    }
}

#[test]
fn p47_dh_refuses_all_clients_or_none() {
    let refusals = [1, 2].map(|rested| refused(scheduled("dh"), rested));
    // The VIP is hashed to one of the two.
    assert_eq!(BTreeSet::from(refusals), BTreeSet::from([0, CLIENTS.into()]));
}

/// Returns how two servers of these weights share twenty connections.
fn shared(scheduler: &str, weights: [u32; 2]) -> [u32; 2] {
    let [one, two] = weights;
    let mut director = Director::new(scheduled(scheduler), [weighted(1, one), weighted(2, two)]);
    for number in 1..=20 {
        assert!(visit(number), "{scheduler}");
    }
    director.counts().try_into().unwrap()
}

/// Verified: `rr` and `lc` only check whether a weight is 0; so does `dh` (P47).
#[test]
fn p24_rr_and_lc_treat_a_weight_as_on_or_off_and_wrr_and_wlc_as_a_share() {
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

/// The weight may be exceeded by one connection: `ip_vs_ovf.c` skips a real server only if it has
/// more active connections than its weight.
#[test]
fn p24_ovf_treats_a_weight_as_a_number_of_active_connections() {
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

/// This is the faster way to create a large `mh` table; the test checks the result. The time saved
/// is measured and not tested.
#[test]
fn p42_a_complete_service_switched_to_mh_chooses_like_one_that_always_was_mh() {
    let always = given("mh", 1..=4);
    let mut director = Director::new(scheduled("rr"), (1..=4).map(server));
    director.done([Command::SetService(scheduled("mh"))]);
    assert_eq!(choices_of(CLIENTS), always);
}

/// New clients are refused during the change on several processors only. Before and after it, none
/// is lost.
#[test]
fn p50_a_change_of_the_scheduler_keeps_connections_and_accepts_new_ones_afterwards() {
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
