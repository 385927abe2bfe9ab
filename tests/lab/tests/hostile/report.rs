//! Prints and judges the results of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_lab_tests::say;

use super::ledger::{Outage, Owner};
use super::outages::{Durations, histogram, in_ms, measured};
use super::timeline::{Disturbance, Span};
use super::{FULL, Host};
use crate::disturbed::leaks::{Counted, Samples, descriptors};

/// The longest that evenkeel's 99th percentile and its worst outage may be.
const P99: Duration = Duration::from_millis(100);
const WORST: Duration = Duration::from_millis(250);

/// How many times as long as the floor's 99th percentile evenkeel's may be.
const RATIO: u32 = 3;

/// With a longer 99th percentile of the floor the machine is saturated, and the run shows little.
const SATURATED: Duration = Duration::from_millis(30);

/// As many losses are measured at least as 2,000 in half an hour.
const LOSSES: u128 = 2_000;
const IN: Duration = Duration::from_secs(30 * 60);

/// How many of the longest outages are printed, and how many lines of the log for each.
const LONGEST: usize = 10;
const LINES: usize = 12;

/// The words of the log lines that are printed, beside the line of the VIP that was bound.
const PRINTED: [&str; 6] = [" pass ", "SIGHUP", "activated", " state", " WARN ", " ERROR "];

/// What a run results in beside what its host shows.
pub(super) struct Results {
    pub(super) length: Duration,
    pub(super) converged: Duration,
    /// Of the last daemon, in the second half.
    pub(super) samples: Samples,
    /// The share of the time in which the processor was idle. A guest whose host is busy has little of it.
    pub(super) idle: f64,
    /// The descriptors of the first daemon before all disturbances.
    pub(super) descriptors_before: Option<u64>,
}

impl Results {
    pub(super) fn print(&self, host: &Host<'_>) {
        let all = host.ledger.outages();
        let outages = measured(&all, host.timeline);
        let [evenkeel, floor] = both(&outages);
        say(&format!("\n{:<44}{:>8}{:>8}", "outages of VIPs", "evenkeel", "floor"));
        histogram(&evenkeel, &floor).iter().for_each(|row| say(row));
        let row = |label: &str, value: &dyn Fn(&Durations) -> String| {
            say(&format!("{label:<44}{:>8}{:>8}", value(&evenkeel), value(&floor)));
        };
        row("measured", &|it| it.len().to_string());
        row("median, ms", &|it| in_ms(it.percentile(50)));
        row("99th percentile, ms", &|it| in_ms(it.percentile(99)));
        row("worst, ms", &|it| in_ms(it.worst()));
        let left_out = all.len() - outages.len();
        say(&format!("{:<44}{left_out:>8}", "left out, as the daemon was stopped"));
        self.print_disturbances(host, &outages);
        print_passes(host);
        print_longest(host, &outages);
        say("\ncounts");
        for (what, number) in &*host.counts.lock().unwrap() {
            say(&format!("  {what:<42}{number:>8}"));
        }
        say(&format!("  {:<42}{:>8}", "events about other addresses", host.ledger.other_events()));
        say(&format!("{:<44}{:>6.0} %", "the processor was idle", self.idle * 100.0));
        say("held by the last daemon, medians of the second half's quarters");
        for change in self.samples.changes() {
            let medians = change.quarters.map(|median| format!(" {median:>7}")).concat();
            say(&format!("  {:<42}{medians}", change.name));
        }
        say(&format!(
            "{:<44}{:>6.2} s",
            "converged at the end after",
            self.converged.as_secs_f64()
        ));
    }

    /// Prints the outages during each kind of disturbance. As several are under way at any time, it is the
    /// difference to the other kinds that is meaningful.
    fn print_disturbances(&self, host: &Host<'_>, outages: &[Outage]) {
        say(&format!(
            "\n{:<26}{:>6}{:>9}{:>9}{:>9}{:>9}{:>11}",
            "during", "times", "outages", "median", "p99", "worst", "floor p99"
        ));
        let row = |label: &str, times: usize, outages: &[&Outage]| {
            let [evenkeel, floor] = both(outages.iter().copied());
            say(&format!(
                "{label:<26}{times:>6}{:>9}{:>9}{:>9}{:>9}{:>11}",
                evenkeel.len(),
                in_ms(evenkeel.percentile(50)),
                in_ms(evenkeel.percentile(99)),
                in_ms(evenkeel.worst()),
                in_ms(floor.percentile(99))
            ));
        };
        let kinds: Vec<(&Outage, Vec<Span>)> =
            outages.iter().map(|it| (it, host.timeline.overlapping(it.begin, it.end))).collect();
        for what in Disturbance::ALL {
            let during =
                kinds.iter().filter(|(_, spans)| spans.iter().any(|span| span.what == what));
            let during: Vec<&Outage> = during.map(|(outage, _)| *outage).collect();
            row(&what.to_string(), host.timeline.count(what), &during);
        }
        let alone: Vec<&Outage> =
            kinds.iter().filter(|(_, spans)| spans.is_empty()).map(|(outage, _)| *outage).collect();
        row("none of these", 0, &alone);
    }

    pub(super) fn check(&self, host: &Host<'_>) {
        let outages = measured(&host.ledger.outages(), host.timeline);
        let [evenkeel, floor] = both(&outages);
        if evenkeel.len() == 0 || floor.len() == 0 {
            host.run.fail("no loss of a VIP was measured".to_owned());
        }
        self.check_leaks(host);
        if self.length < FULL {
            return;
        }
        let number = evenkeel.len() as u128;
        if number * IN.as_millis() < LOSSES * self.length.as_millis() {
            host.run.fail(format!("too few losses were measured: {number} in {:?}", self.length));
        }
        for what in Disturbance::ALL {
            if host.timeline.count(what) == 0 {
                host.run.fail(format!("there was no {what}"));
            }
        }
        let [p99, floor_p99] = [evenkeel.percentile(99), floor.percentile(99)];
        if floor_p99 > SATURATED {
            say(&format!(
                "NOTE: the machine is saturated: the floor's 99th percentile is {floor_p99:?}"
            ));
        }
        if p99 > P99 {
            host.run.fail(format!("the 99th percentile is {p99:?}, and may be {P99:?}"));
        }
        if p99 > floor_p99 * RATIO {
            host.run.fail(format!(
                "the 99th percentile is {p99:?}, and may be {RATIO} times the floor's {floor_p99:?}"
            ));
        }
        if evenkeel.worst() > WORST {
            host.run.fail(format!(
                "the worst outage took {:?}, and may take {WORST:?}",
                evenkeel.worst()
            ));
        }
    }

    fn check_leaks(&self, host: &Host<'_>) {
        for change in self.samples.changes() {
            if change.is_leak() && self.length >= FULL {
                host.run.fail(format!("a leak in {} samples: {change:?}", self.samples.len()));
            }
        }
        // The clients have gone; the daemon may still be closing the last ones, and serves one that asked.
        let open = || descriptors(host.daemon.pid(), Counted::All);
        for _ in 0..50 {
            if open() <= self.descriptors_before.map(|before| before + 1) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        host.run.fail(format!(
            "{:?} descriptors at the end, {:?} at the start",
            open(),
            self.descriptors_before
        ));
    }
}

fn both<'a>(outages: impl IntoIterator<Item = &'a Outage> + Clone) -> [Durations; 2] {
    [Owner::Evenkeel, Owner::Floor].map(|owner| Durations::of(owner, outages.clone()))
}

/// Prints evenkeel's longest outages with what happened at the time, relative to the begin of each.
fn print_longest(host: &Host<'_>, outages: &[Outage]) {
    let mut longest: Vec<&Outage> =
        outages.iter().filter(|it| it.owner == Owner::Evenkeel).collect();
    longest.sort_unstable_by_key(|it| std::cmp::Reverse(it.duration()));
    say("\nthe longest outages, with times in ms from their begin");
    for outage in longest.into_iter().take(LONGEST) {
        say(&format!("{:>8} ms {}", in_ms(outage.duration()), outage.address));
        let since = |at: std::time::Instant| match at.checked_duration_since(outage.begin) {
            Some(after) => format!("{}", after.as_millis()),
            None => format!("-{}", (outage.begin - at).as_millis()),
        };
        for Span { what, begin, end } in host.timeline.overlapping(outage.begin, outage.end) {
            say(&format!(
                "    {what:<26}from {} to {}",
                since(begin),
                end.map_or("…".to_owned(), since)
            ));
        }
        let before = outage.begin.checked_sub(Duration::from_millis(100)).unwrap_or(outage.begin);
        let lines = host.daemon.log.between(before, outage.end + Duration::from_millis(20));
        let bound = format!("bound vip={} ", outage.address);
        let is_told =
            |text: &str| PRINTED.iter().any(|word| text.contains(word)) || text.contains(&bound);
        for line in lines.iter().filter(|line| is_told(&line.text)).take(LINES) {
            say(&format!("    log {:>6}  {}", since(line.at), line.text));
        }
    }
}

/// Prints how many passes the daemon made by each trigger, and how long they took, as far as its log was read.
fn print_passes(host: &Host<'_>) {
    let mut passes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in &*host.daemon.log.lines() {
        let value = |name: &str| line.text.split_once(name)?.1.split([' ', '"']).next();
        let took = value(" milliseconds=").and_then(|value| value.parse().ok());
        if let (Some(trigger), Some(took)) = (value(" pass trigger=\""), took) {
            passes.entry(trigger.to_owned()).or_default().push(took);
        }
    }
    say(&format!(
        "\n{:<26}{:>6}{:>9}{:>9}",
        "passes by trigger, in ms", "times", "median", "worst"
    ));
    for (trigger, mut times) in passes {
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        say(&format!("{trigger:<26}{:>6}{median:>9}{worst:>9}", times.len()));
    }
}
