//! Re-configurations under load: clients that ask without pause, and downloads that take longer than
//! any change, notice nothing of `evenkeel apply`. The same with `ipvsadm-restore` is printed beside
//! it, for comparison.

use evenkeel_lab::net::Forward;
use evenkeel_lab::net::load::{Failure, Tally};
use evenkeel_lab_tests::property::cases;

use changes::{Schedulers, seed, setups};
use cluster::Kind;
use run::{Run, Way};

mod changes;
mod cluster;
mod run;

/// At least so many requests are made for each re-configuration; with fewer nothing is shown.
const REQUESTS: u64 = 20;
/// From so many re-configurations on it is a measurement, with longer downloads and every way.
const FULL: u32 = 100;

/// Runs all ways and holds evenkeel to its promise.
fn check(name: &str, kind: Kind, usual: u32) {
    let (count, seed) = (cases(usual), seed());
    let is_full = count >= FULL;
    let seconds = if is_full { 3 } else { 1 };
    let setups = setups(seed, count, Schedulers::Change);
    println!("{name}: {count} re-configurations, EVENKEEL_LAB_SEED={seed}");
    println!("{}", heading());
    let run = |way: Way| {
        let run = way.run(kind, seconds, &setups);
        println!("{}", row(&run));
        run
    };
    let applied = run(Way::Apply);
    run(Way::Restore { expire_nodest_conn: "0" });
    if is_full {
        run(Way::Restore { expire_nodest_conn: "1" });
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
    let of = |tally: &Tally, failure| tally.failed.get(&failure).copied().unwrap_or(0);
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
    check("DR", Kind { forward: Forward::Dr, is_ipv6: false }, 20);
}

#[test]
fn address_translation_loses_nothing() {
    check("NAT", Kind { forward: Forward::Nat, is_ipv6: false }, 20);
}

#[test]
fn tunnels_lose_nothing() {
    check("TUN", Kind { forward: Forward::Tun, is_ipv6: false }, 8);
}

#[test]
fn direct_routing_of_ipv6_loses_nothing() {
    check("DR, IPv6", Kind { forward: Forward::Dr, is_ipv6: true }, 8);
}
