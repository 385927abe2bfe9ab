//! Runs all disturbances at once, for a long time: the spec changes several times a second, other
//! programs change the table and unbind the VIP, a client scrapes, and the daemon is killed
//! repeatedly. In the second half it is no longer killed, and must not grow.
//!
//! `EVENKEEL_SOAK_SECONDS` sets the duration; `cargo xtask soak` passes it. Among the other tests
//! it takes a few seconds, which checks that the test itself works.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::dice::TestRng;
use evenkeel_lab_tests::endpoint::{get, status};
use evenkeel_lab_tests::say;

use crate::disturbed::fixture::Fixture;
use crate::disturbed::leaks::{Counted, Samples};
use crate::disturbed::specs::{Kind, Writer};
use crate::disturbed::wanted::Wanted;
use crate::disturbed::{Run, seed};

mod chaos;
mod versions;

/// Long enough to kill the daemon a few times and then to leave it running.
const USUAL: Duration = Duration::from_secs(8);

/// From this length on the run is a soak: with all kills, and with a check of memory, which still
/// grows in a program that has just started.
const FULL: Duration = Duration::from_secs(60);

/// The longest time until the host converges at the end.
const CONVERGED: Duration = Duration::from_secs(10);

/// The result of a version that stayed long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SpecOutcome {
    Enforced,
    Bad,
    Held,
    Missed,
}

/// All counters.
#[derive(Debug, Default)]
struct OutcomeCounts {
    written: BTreeMap<Kind, usize>,
    /// In the second half.
    outcomes: BTreeMap<SpecOutcome, usize>,
    /// The times from the last byte of a version until it was enforced or reported.
    took: Vec<Duration>,
    breaks: usize,
    taken: usize,
    /// In the second half: the times that the VIP was missing.
    away: Vec<Duration>,
    scrapes: usize,
    kills: usize,
}

/// The state that all threads share.
#[derive(Debug, Default)]
struct Shared {
    run: Run,
    /// The daemon is no longer killed.
    is_alone: AtomicBool,
    counts: Mutex<OutcomeCounts>,
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, OutcomeCounts> {
        self.counts.lock().unwrap()
    }
}

#[test]
fn a_host_under_all_disturbances_at_once_converges_and_nothing_leaks() {
    let length = std::env::var("EVENKEEL_SOAK_SECONDS").ok();
    let length = length.map_or(USUAL, |text| Duration::from_secs(text.parse().unwrap()));
    let seed = seed();
    say(&format!("soaked for {} s, EVENKEEL_LAB_SEED={seed}", length.as_secs()));
    let rng = |number: u64| TestRng::new(seed.wrapping_add(number));

    let fixture = Fixture::new();
    let shared = Shared::default();
    let mut writer = Writer::new(rng(0), &[]);
    fixture.replace(&writer.good());
    let (mut daemon, samples) = scope(|threads| {
        let _ending = shared.run.ending();
        let (shared, fixture, writer) = (&shared, &fixture, &mut writer);
        let mut daemon = fixture.watch();
        threads.spawn(move || versions::write(shared, fixture, writer, rng(1), length));
        threads.spawn(move || chaos::break_table(shared, rng(2)));
        threads.spawn(move || chaos::take_vip(shared, rng(3)));
        threads.spawn(move || chaos::scrape(shared));
        kill_again_and_again(shared, fixture, &mut daemon, length);
        shared.is_alone.store(true, Ordering::SeqCst);
        let samples = leave_alone(shared, &mut daemon, length / 2);
        (daemon, samples)
    });
    let last = writer.good();
    fixture.replace(&last);
    let converged = converge(&shared, &fixture, &last);
    finish(&shared, &fixture, length, converged, &samples);
    let failures = shared.run.failures();
    if !failures.is_empty() {
        say(&format!("the end of the daemon's log:\n{}", fixture.end_of_log()));
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(failures.is_empty(), "{} failures, the first: {}", failures.len(), failures[0]);
}

/// Runs the first half.
fn kill_again_and_again(shared: &Shared, fixture: &Fixture, daemon: &mut Child, length: Duration) {
    let begin = Instant::now();
    let kills = if length < FULL { 3 } else { 20 };
    for number in 1..=kills {
        // The time after the last kill belongs to the first half too: the daemon starts, and
        // allocates its usual memory.
        let at = length * 3 / 8 * number / kills;
        sleep(at.saturating_sub(begin.elapsed()));
        if let Some(status) = daemon.try_wait().unwrap() {
            shared.run.fail(format!("the daemon ended by itself: {status}"));
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        if let Some(harm) = fixture.harmed() {
            shared.run.fail(format!("other programs' objects at restart {number}: {harm}"));
        }
        *daemon = fixture.watch();
        shared.counts().kills += 1;
    }
    sleep((length / 2).saturating_sub(begin.elapsed()));
}

/// Runs the second half.
fn leave_alone(shared: &Shared, daemon: &mut Child, length: Duration) -> Samples {
    let begin = Instant::now();
    let mut samples = Samples::default();
    let pause = (length / 40).min(Duration::from_secs(5));
    while begin.elapsed() < length {
        samples.take(daemon.id(), Counted::All);
        sleep(pause);
    }
    if let Some(status) = daemon.try_wait().unwrap() {
        shared.run.fail(format!("the daemon ended by itself: {status}"));
    }
    samples
}

/// Waits until the daemon, `ipvsadm` and `evenkeel plan` agree that the host matches that spec, and
/// returns how long it took.
fn converge(shared: &Shared, fixture: &Fixture, text: &str) -> Duration {
    let begin = Instant::now();
    let wanted = Wanted::by(text);
    loop {
        let status = status().unwrap_or_default();
        let differences = wanted.differences();
        let plan = fixture.plan();
        let is_ok =
            status["state"] == "ok" && status["reasons"].as_array().is_some_and(Vec::is_empty);
        if is_ok && differences.is_empty() && plan.is_ok() {
            return begin.elapsed();
        }
        if begin.elapsed() > CONVERGED {
            shared.run.fail(format!(
                "not converged after {CONVERGED:?}: {differences:?}, plan {plan:?}, status {status:#}"
            ));
            return begin.elapsed();
        }
        sleep(Duration::from_millis(100));
    }
}

/// Checks the final state, and prints all results.
fn finish(
    shared: &Shared,
    fixture: &Fixture,
    length: Duration,
    converged: Duration,
    samples: &Samples,
) {
    if let Some(harm) = fixture.harmed() {
        shared.run.fail(format!("other programs' objects at the end: {harm}"));
    }
    for line in fixture.alarms() {
        shared.run.fail(format!("an alarm in the daemon's log: {line}"));
    }
    for change in samples.changes() {
        if change.is_leak() && (length >= FULL || change.name == "descriptors") {
            shared.run.fail(format!("a leak in {} samples: {change:?}", samples.len()));
        }
    }
    let mut counts = shared.counts();
    let OutcomeCounts { written, outcomes, took, breaks, taken, away, scrapes, kills } =
        &mut *counts;
    let all: usize = written.values().sum();
    say(&format!("\n{:<44}{all:>8}", "versions of the spec written"));
    for (kind, number) in written.iter() {
        say(&format!("  {:<42}{number:>8}", format!("{kind:?}")));
    }
    let number: usize = outcomes.values().sum();
    say(&format!("{:<44}{number:>8}", "versions that stood, in the second half"));
    for became in [SpecOutcome::Enforced, SpecOutcome::Bad, SpecOutcome::Held, SpecOutcome::Missed]
    {
        let number = outcomes.get(&became).copied().unwrap_or(0);
        say(&format!("  {:<42}{number:>8}", format!("{became:?}")));
    }
    say(&format!("  {:<42}{}", "until enforced or reported", spread(took)));
    say(&format!("{:<44}{breaks:>8}", "breaks of the table"));
    say(&format!("{:<44}{taken:>8}", "takings of the VIP"));
    say(&format!("  {:<42}{}", "away, in the second half", spread(away)));
    say(&format!("{:<44}{scrapes:>8}", "scrapes"));
    say(&format!("{:<44}{kills:>8}", "kills"));
    let [took, away] = [took.len(), away.len()];
    drop(counts);
    match get("/metrics") {
        Some((200, metrics)) => say_counters(&metrics),
        answer => shared.run.fail(format!("no metrics at the end: {answer:?}")),
    }
    say("held, medians of the second half's quarters");
    for change in samples.changes() {
        let medians = change.quarters.map(|median| format!(" {median:>7}")).concat();
        say(&format!("  {:<42}{medians}", change.name));
    }
    say(&format!("{:<44}{:>5.1} s", "converged at the end after", converged.as_secs_f64()));
    if took == 0 || away == 0 {
        shared.run.fail("in the second half no version stood, or no VIP was taken".to_owned());
    }
}

/// Prints the daemon's counters since its last start.
fn say_counters(metrics: &str) {
    say("since the last start, by the daemon's own count");
    for name in ["evenkeel_passes_total", "evenkeel_spec_loads_total", "evenkeel_drift_total"] {
        for line in metrics.lines().filter(|line| line.starts_with(name)) {
            let (labels, number) = line.rsplit_once(' ').unwrap();
            say(&format!("  {labels:<62}{number:>8}"));
        }
    }
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3;
    let last = times.len().saturating_sub(1);
    format!("{:>5.0} ms median, {:.0} ms worst of {}", at(times.len() / 2), at(last), times.len())
}
