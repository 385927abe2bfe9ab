use std::net::SocketAddr;
use std::time::Duration;

use crate::checker::Checkers;
use crate::checker::test_servers::{LOOPBACKS, environment, made, patient, quick};
use crate::outcome::{Fault, Outcome, Stage};
use evenkeel_model::check::{Check, Kind};

use super::*;

#[expect(clippy::print_stdout, reason = "it shows why a test was skipped")]
fn skip() {
    println!(
        "skipped: neither raw sockets (CAP_NET_RAW) nor ping sockets \
         (net.ipv4.ping_group_range) are permitted"
    );
}

/// The outcome of an echo; `None` where this process may send none at all.
fn echoed(address: IpAddr, check: &Check) -> Option<Outcome> {
    match made(SocketAddr::new(address, 0), check) {
        Outcome::Unknown(Fault::NotPermitted) => {
            skip();
            None
        }
        outcome => Some(outcome),
    }
}

#[test]
fn a_host_answers() {
    for loopback in LOOPBACKS {
        let Some(outcome) = echoed(loopback, &patient(Kind::Icmp)) else { return };
        assert_eq!(outcome, Outcome::Passed);
    }
}

#[test]
fn the_source_is_that_of_the_check() {
    let from = |source: &str| Check { source: source.parse().ok(), ..patient(Kind::Icmp) };
    let Some(outcome) = echoed(LOOPBACKS[0], &from("127.0.0.9")) else { return };
    assert_eq!(outcome, Outcome::Passed);
    assert_eq!(echoed(LOOPBACKS[0], &from("192.0.2.77")), Some(Fault::Source.into()));
}

#[test]
fn a_host_that_does_not_answer_fails_and_others_are_not_held_up() {
    // Loopback answers no echo to a broadcast address.
    let silent: IpAddr = "127.255.255.255".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let checkers = Checkers::new(environment());
        let check = quick(Kind::Icmp);
        let probe = |address: IpAddr| {
            let (checkers, check) = (checkers.clone(), check.clone());
            tokio::spawn(async move {
                checkers.probe(SocketAddr::new(address, 0).into(), &check).await.outcome
            })
        };
        let dark = probe(silent);
        let many: Vec<_> = (1..=100_u8).map(|it| probe([127, 0, 1, it].into())).collect();
        for one in many {
            match one.await.unwrap() {
                Outcome::Unknown(Fault::NotPermitted) => return,
                outcome => assert_eq!(outcome, Outcome::Passed),
            }
        }
        match dark.await.unwrap() {
            Outcome::Failed(Failure::Timeout { stage: Stage::Reply, after }) => {
                assert_eq!(after, Duration::from_millis(200));
            }
            // Where the kernel refuses to send to it.
            Outcome::Unknown(Fault::NotPermitted) => {}
            outcome => panic!("{outcome:?}"),
        }
        // Only one socket is opened, and none stays.
        let sockets = checkers.icmp.0.lock().unwrap();
        assert_eq!(sockets.len(), 1);
        assert!(sockets.values().all(|it| it.strong_count() == 0));
    });
}
