//! Resyncs of a large table, which begin with a cheap probe.

use std::fmt::Write as _;

use evenkeel_control::{State, Trigger};
use evenkeel_model::Live;

use super::fixture::{Fixture, set_weight};
use crate::reconciler::host::SMALL;

/// A fixture with more services than are read completely each time. The last one has a threshold,
/// which `/proc/net/ip_vs` does not show.
fn large_table() -> Fixture {
    let mut spec = String::from("version: 1\nscope: all\nservices:\n");
    for number in 0..=SMALL {
        let limit = if number == SMALL { ", upper_threshold: 7" } else { "" };
        writeln!(
            spec,
            "  - {{ name: s{number}, vip: 192.0.2.1, port: {}, real_servers: \
             [ {{ address: 10.0.0.{}, weight: 3{limit} }} ] }}",
            1_000 + number,
            1 + number,
        )
        .expect("a String takes it");
    }
    let mut fixture = Fixture::new(&spec);
    // The pass that finds it in sync takes the baseline.
    fixture.pass(Trigger::Signal);
    fixture.assert_state(State::Ok, "");
    fixture
}

/// Resyncs, and returns how often the kernel was read completely.
fn complete_reads(fixture: &mut Fixture) -> usize {
    let before = fixture.kernel.get().complete_reads;
    fixture.pass(Trigger::Resync);
    fixture.kernel.get().complete_reads - before
}

#[test]
fn an_unchanged_large_table_is_probed_and_not_read_completely() {
    let mut fixture = large_table();
    assert_eq!(complete_reads(&mut fixture), 0);
    assert_eq!(complete_reads(&mut fixture), 0);
}

#[test]
fn a_probe_detects_drift_and_the_pass_repairs_it() {
    let last = format!("10.0.0.{}", 1 + SMALL);
    let changes: [&dyn Fn(&mut Live); 4] = [
        &|live| set_weight(live, "10.0.0.5", 9),
        &|live| drop(live.services.pop_first()),
        &|live| {
            live.sysctls
                .insert("net.ipv4.vs.expire_nodest_conn".into(), "1".into())
                .map_or((), drop)
        },
        &|live| {
            for service in live.services.values_mut() {
                service.real_servers.for_each_mut(|key, it| {
                    if key.address.to_string() == last {
                        it.upper_threshold = 9;
                    }
                });
            }
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut fixture = large_table();
        let before = fixture.live();
        change(&mut fixture.kernel.get().live);
        assert!(complete_reads(&mut fixture) > 0, "change {number}");
        assert_eq!(fixture.live().services, before.services, "change {number}");
    }
}
