//! Reconfigurations under load: `evenkeel apply` affects neither clients that send requests without
//! pause nor downloads that take longer than any change. Results of `ipvsadm-restore` are printed
//! for comparison.

use std::ops::RangeInclusive;

use evenkeel_lab::net::Forward;
use evenkeel_lab::net::load::{Failure, LoadStats};
use evenkeel_lab_tests::property::cases;
use evenkeel_lab_tests::say;

use changes::{Schedulers, seed, setups};
use cluster::Kind;
use run::{Loaded, Run, Way};

mod changes;
mod cluster;
mod run;

/// The minimum of requests for each reconfiguration; fewer prove nothing.
const REQUESTS: u64 = 20;
/// From this many reconfigurations on, the run is a measurement, with longer downloads and every
/// method.
const FULL: u32 = 100;

/// Enough for 258,048 connections of four clients.
const ALL_PORTS: RangeInclusive<u16> = 1024..=u16::MAX;

/// Runs all methods and checks that evenkeel loses nothing.
///
/// On several processors, changes of a scheduler are tested separately: the kernel itself leaves
/// the service without one for a while, in which it refuses clients, whichever program makes the
/// change.
fn check(name: &str, kind: Kind, usual: u32) {
    check_with(name, kind, ALL_PORTS, usual);
}

/// Does the same with clients that have only these ports, and reuse each soon.
fn check_with(name: &str, kind: Kind, ports: RangeInclusive<u16>, usual: u32) {
    let (count, seed) = (cases(usual), seed());
    let processors = std::thread::available_parallelism().unwrap().get();
    let is_full = count >= FULL;
    let seconds = if is_full { 3 } else { 1 };
    say(&format!(
        "\n{name}: {count} re-configurations, processors: {processors}, EVENKEEL_LAB_SEED={seed}"
    ));
    say(&heading());
    let promised = if processors > 1 { Schedulers::Stay } else { Schedulers::Change };
    let setups_of = |schedulers| setups(seed, count, schedulers);
    let run = |way: Way, schedulers| {
        let run = way.run(&Loaded { kind, seconds, ports: ports.clone() }, &setups_of(schedulers));
        say(&row(&run));
        run
    };
    let applied = run(Way::Apply, promised);
    if std::env::var_os("EVENKEEL_LAB_ALONE").is_none() {
        run(Way::Restore { expire_nodest_conn: "0" }, promised);
        if is_full {
            run(Way::Restore { expire_nodest_conn: "1" }, promised);
        }
    }
    if processors > 1 {
        say("with changes of schedulers:");
        say(&run(Way::Apply, Schedulers::Change).story());
    }
    let failures = applied.measured.requests.failures() + applied.measured.downloads.failures();
    assert_eq!(failures, 0, "{}", applied.story());
    let done = applied.measured.requests.done;
    assert!(done >= REQUESTS * u64::from(count), "only {done} requests were made");
    assert!(applied.measured.downloads.done >= 20);
}

fn heading() -> String {
    let failures: String = Failure::ALL.iter().map(|failure| format!("{failure:>10}")).collect();
    format!(
        "{:<34}{:>9}{failures}{:>6}{:>11}{:>9}{:>8}{:>9}{:>9}",
        "", "requests", "late", "downloads", "refused", "broken", "seconds", "each"
    )
}

fn row(run: &Run) -> String {
    let way = match run.way {
        Way::Apply => "evenkeel apply".to_owned(),
        Way::Restore { expire_nodest_conn } => {
            format!("ipvsadm-restore, expire_nodest={expire_nodest_conn}")
        }
    };
    let (requests, downloads) = (&run.measured.requests, &run.measured.downloads);
    let of = |stats: &LoadStats, failure| stats.failed.get(&failure).copied().unwrap_or(0);
    let failures = Failure::ALL.into_iter();
    let failures: String =
        failures.map(|failure| format!("{:>10}", of(requests, failure))).collect();
    let refused = of(downloads, Failure::Refused);
    format!(
        "{way:<34}{:>9}{failures}{:>6}{:>11}{refused:>9}{:>8}{:>9.1}{:>6} ms",
        requests.done,
        requests.late,
        downloads.done,
        downloads.failures() - refused,
        run.took.as_secs_f64(),
        run.mean().as_millis(),
    )
}

#[test]
fn direct_routing_loses_nothing() {
    check("DR", Kind { forward: Forward::Dr, is_ipv6: false }, 12);
}

#[test]
fn address_translation_loses_nothing() {
    check("NAT", Kind { forward: Forward::Nat, is_ipv6: false }, 12);
}

#[test]
fn tunnels_lose_nothing() {
    check("TUN", Kind { forward: Forward::Tun, is_ipv6: false }, 8);
}

#[test]
fn direct_routing_of_ipv6_loses_nothing() {
    check("DR, IPv6", Kind { forward: Forward::Dr, is_ipv6: true }, 8);
}

/// In DR the director does not see the end of a connection. A reused port matches the entry of the
/// previous connection, whose real server may have been drained or deleted since.
#[test]
fn direct_routing_with_reused_ports_loses_nothing() {
    check_with("DR, 400 ports", Kind { forward: Forward::Dr, is_ipv6: false }, 2000..=2399, 8);
}
