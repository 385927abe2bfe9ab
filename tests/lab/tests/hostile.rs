//! Measures how long VIPs are missing while everything that is hostile to a daemon happens at once: full disk, log
//! that is not read or closed, few descriptors, squatters, clock steps, flaps of links, storms of addresses, foreign
//! edits, SIGHUP, SIGSTOP, idle clients, and specs that are written again and again.
//!
//! A program that does nothing but bind addresses again (`floor/rebind.c`) runs beside the daemon. VIPs are taken from
//! both by turns, in the same way, and the kernel's events show how long each was missing.
//!
//! `EVENKEEL_HOSTILE_SECONDS` sets the duration; `cargo xtask hostile` passes it. Among the other tests it takes a few
//! seconds, which checks that the test itself works, and the daemon's debug build is held to no time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::dice::TestRng;
use evenkeel_lab_tests::disk::SmallDisk;
use evenkeel_lab_tests::endpoint::{get, status};
use evenkeel_lab_tests::say;
use serde_json::Value;

use crate::disturbed::fixture::{Fixture, is_alarm};
use crate::disturbed::leaks::{Counted, Samples, descriptors};
use crate::disturbed::specs::Writer;
use crate::disturbed::wanted::Wanted;
use crate::disturbed::{Run, seed};
use daemon::Daemon;
use floor::Floor;
use ledger::{Ledger, Owner};
use network::Links;
use report::Results;
use timeline::{Disturbance, Timeline};

mod daemon;
mod disturbances;
mod floor;
mod ledger;
mod network;
mod outages;
mod report;
mod timeline;

/// Long enough for some of each disturbance.
const USUAL: Duration = Duration::from_secs(10);

/// The factor for the pauses of a short run.
const SHORT_PACE: f64 = 0.2;

/// From this length on the run is judged by its times and by memory.
const FULL: Duration = Duration::from_secs(5 * 60);

/// The longest time until the host converges at the end of a full run, and of another one.
const CONVERGED: Duration = Duration::from_secs(1);
const CONVERGED_SHORT: Duration = Duration::from_secs(10);

/// How long to wait for a start, and at the end for what is not there in time; a guest whose host is busy is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many KiB the disk of the state directory has.
const DISK: u32 = 1024;

/// What all disturbances share.
struct Host<'a> {
    run: &'a Run,
    timeline: &'a Timeline,
    fixture: &'a Fixture,
    daemon: &'a Daemon,
    ledger: &'a Ledger,
    /// The factor for all pauses: short runs are faster.
    pace: f64,
    counts: Mutex<BTreeMap<&'static str, usize>>,
}

impl Host<'_> {
    /// Waits for so many milliseconds of a full run; returns whether the run continues.
    fn pause(&self, rng: &mut TestRng, milliseconds: RangeInclusive<usize>) -> bool {
        let time =
            Duration::from_millis(rng.between(*milliseconds.start(), *milliseconds.end()) as u64);
        self.run.pause(time.mul_f64(self.pace))
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }

    /// Checks that no VIP is in conflict, which would be left missing.
    fn check_conflicts(&self, status: &str) {
        let Ok(status) = serde_json::from_str::<Value>(status) else {
            return self.run.fail(format!("not a status: {status}"));
        };
        let conflicts = status["conflicts"].as_array().into_iter().flatten();
        let objects = conflicts.filter_map(|conflict| conflict["object"].as_str());
        for object in objects.filter(|object| object.starts_with("vip ")) {
            self.run.fail(format!("a conflict: {object}"));
        }
    }
}

#[test]
fn vips_come_back_and_the_host_converges_whatever_happens_at_once() {
    let length = std::env::var("EVENKEEL_HOSTILE_SECONDS").ok();
    let length = length.map_or(USUAL, |text| Duration::from_secs(text.parse().unwrap()));
    let seed = seed();
    say(&format!("hostile for {} s, EVENKEEL_LAB_SEED={seed}", length.as_secs()));
    let rng = |number: u64| TestRng::new(seed.wrapping_add(number));

    let fixture = Fixture::new();
    let disk = SmallDisk::mount(fixture.path("state"), DISK);
    let links = Links::create();
    let (ledger, recorder) = Ledger::begin(links.owners(), links.foreign().into());
    let mut floor = Floor::start("floor0", &network::vips(Owner::Floor));
    let mut writer = Writer::new(rng(0), &network::vips(Owner::Evenkeel));
    fixture.replace(&writer.good());
    let daemon = Daemon::start(&fixture);
    wait_until_bound(&ledger);
    wait_until_complete();

    let (run, timeline) = (Run::default(), Timeline::default());
    let pace = if length < FULL / 5 { SHORT_PACE } else { 1.0 };
    let counts = Mutex::default();
    let host = Host {
        run: &run,
        timeline: &timeline,
        fixture: &fixture,
        daemon: &daemon,
        ledger: &ledger,
        pace,
        counts,
    };
    let (begin, idle_before) = (Instant::now(), idle_time());
    let descriptors_before = descriptors(daemon.pid(), Counted::All);
    let samples = scope(|threads| {
        let _ending = run.ending();
        let (host, disk, writer) = (&host, &disk, &mut writer);
        threads.spawn(move || network::take_vips(host, rng(1), links));
        threads.spawn(move || network::storm(host, rng(2), links));
        threads.spawn(move || network::flap(host, rng(3), links));
        threads.spawn(move || disturbances::fill_disk(host, rng(4), disk));
        threads.spawn(move || disturbances::hold_log(host, rng(5)));
        threads.spawn(move || disturbances::limit_descriptors(host, rng(6)));
        threads.spawn(move || disturbances::squat(host, rng(7)));
        threads.spawn(move || disturbances::step_clock(host, rng(8)));
        threads.spawn(move || disturbances::stop(host, rng(9)));
        threads.spawn(move || disturbances::reload(host, rng(10)));
        threads.spawn(move || disturbances::rewrite(host, rng(11), writer));
        threads.spawn(move || disturbances::edit_table(host, rng(12)));
        threads.spawn(move || disturbances::idle(host, rng(13)));
        threads.spawn(move || disturbances::scrape(host, rng(14)));
        close_logs(host, length)
    });
    let idle = (idle_time() - idle_before) / begin.elapsed().as_secs_f64();
    let last = writer.good();
    fixture.replace(&last);
    let converged = converge(&host, &last, length);
    let results = Results { length, converged, samples, idle, descriptors_before };
    finish(&host, &results, &mut floor);
    drop((floor, recorder));
    let failures = run.failures();
    if !failures.is_empty() {
        say("the end of the daemon's log");
        let lines = daemon.log.lines();
        lines[lines.len().saturating_sub(60)..].iter().for_each(|line| say(&line.text));
    }
    assert!(failures.is_empty(), "{} failures, the first: {}", failures.len(), failures[0]);
}

/// Returns how many seconds the processors have been idle.
fn idle_time() -> f64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    uptime.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn wait_until_bound(ledger: &Ledger) {
    let begin = Instant::now();
    while !ledger.absent().is_empty() {
        assert!(begin.elapsed() < PATIENCE, "not bound at the start: {:?}", ledger.absent());
        sleep(Duration::from_millis(20));
    }
}

/// Waits for the first pass and requests the metrics, so that the daemon has opened all that it keeps open.
fn wait_until_complete() {
    let begin = Instant::now();
    while status().is_none_or(|status| status["state"] != "ok") || get("/metrics").is_none() {
        assert!(
            begin.elapsed() < PATIENCE,
            "not ok at the start: {:#}",
            status().unwrap_or_default()
        );
        sleep(Duration::from_millis(20));
    }
}

/// Closes the daemon's log and starts it again a while later, twice in the first half, and closes the log of the
/// last one near the end. Returns samples of the last one, from the second half.
fn close_logs(host: &Host<'_>, length: Duration) -> Samples {
    let begin = Instant::now();
    let reaches = |twelfths: u32| {
        let look = (length / 40).min(Duration::from_secs(5));
        let left = move || (length * twelfths / 12).saturating_sub(begin.elapsed());
        std::iter::from_fn(move || (!left().is_zero()).then(|| sleep(left().min(look))))
    };
    for closed_at in [1, 3] {
        reaches(closed_at).for_each(drop);
        let closed = host.timeline.during(Disturbance::LogClosed);
        host.daemon.close_log();
        reaches(closed_at + 1).for_each(drop);
        drop(closed);
        restart(host);
    }
    reaches(6).for_each(drop);
    let mut samples = Samples::default();
    let mut sample = |()| {
        samples.take(host.daemon.pid(), Counted::WithoutSockets);
        if let Some(harm) = host.fixture.harmed() {
            host.run.fail(format!("other programs' objects: {harm}"));
        }
    };
    reaches(11).for_each(&mut sample);
    let _closed = host.timeline.during(Disturbance::LogClosed);
    host.daemon.close_log();
    reaches(12).for_each(&mut sample);
    samples
}

fn restart(host: &Host<'_>) {
    let _during = host.timeline.during(Disturbance::Restart);
    let wait = || {
        let begin = Instant::now();
        // It has made a pass then.
        let is_up = || status().is_some_and(|status| status["state"] != "starting");
        while !is_up() {
            if begin.elapsed() > PATIENCE {
                return host.run.fail(format!("no status {PATIENCE:?} after a restart"));
            }
            sleep(Duration::from_millis(20));
        }
    };
    if let Some(ended) = host.daemon.restart(host.fixture, wait) {
        host.run.fail(format!("the daemon ended on SIGTERM with {ended}"));
    }
}

/// Waits until `ipvsadm`, `ip` and `evenkeel plan` agree that the host matches that spec, and then until the daemon
/// reports it. Returns how long the first took.
fn converge(host: &Host<'_>, text: &str, length: Duration) -> Duration {
    let begin = Instant::now();
    let limit = if length < FULL { CONVERGED_SHORT } else { CONVERGED };
    let wanted = Wanted::by(text);
    let converged = loop {
        let differences = wanted.differences();
        let elapsed = begin.elapsed();
        let plan = if differences.is_empty() { host.fixture.plan() } else { Ok(()) };
        if differences.is_empty() && plan.is_ok() {
            break elapsed;
        }
        if elapsed > PATIENCE {
            host.run
                .fail(format!("not converged after {PATIENCE:?}: {differences:?}, plan {plan:?}"));
            break elapsed;
        }
    };
    if converged > limit {
        host.run.fail(format!("converged after {converged:?}, and not within {limit:?}"));
    }
    loop {
        let status = status().unwrap_or_default();
        if status["state"] == "ok" {
            return converged;
        }
        if begin.elapsed() > PATIENCE {
            host.run.fail(format!("not ok at the end: {status:#}"));
            return converged;
        }
        sleep(Duration::from_millis(50));
    }
}

/// Checks the end, and prints all results.
fn finish(host: &Host<'_>, results: &Results, floor: &mut Floor) {
    if let Some(harm) = host.fixture.harmed() {
        host.run.fail(format!("other programs' objects at the end: {harm}"));
    }
    if let Some(ended) = host.daemon.has_ended() {
        host.run.fail(format!("the daemon ended by itself: {ended}"));
    }
    if let Some(ended) = floor.has_ended() {
        host.run.fail(format!("the floor ended by itself: {ended}"));
    }
    let alarms: Vec<_> =
        host.daemon.log.lines().iter().filter(|line| is_alarm(&line.text)).cloned().collect();
    for line in alarms {
        host.run.fail(format!("an alarm in the daemon's log: {}", line.text));
    }
    for fault in host.ledger.faults() {
        host.run.fail(fault);
    }
    let begin = Instant::now();
    while !host.ledger.absent().is_empty() && begin.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20));
    }
    let absent = host.ledger.absent();
    if !absent.is_empty() {
        host.run.fail(format!("missing at the end: {absent:?}"));
    }
    match status() {
        Some(status) => host.check_conflicts(&status.to_string()),
        None => host.run.fail("no status at the end".to_owned()),
    }
    results.print(host);
    results.check(host);
}
