//! Statistics of outages.

use std::time::Duration;

use super::ledger::{Outage, Owner};
use super::timeline::Timeline;

/// The upper bounds of the histogram's rows, in microseconds; the last row has none.
const BUCKETS: [u64; 15] = [
    125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 100_000, 175_000, 250_000,
    500_000, 1_000_000,
];

/// The durations of the outages of one owner, sorted.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations(Vec<Duration>);

impl Outage {
    pub(super) fn duration(&self) -> Duration {
        self.end.saturating_duration_since(self.begin)
    }
}

/// Returns the outages of all owners during which the daemon was there all the time. Those of the floor are left out
/// at the same times as evenkeel's, so that both were measured under the same load.
pub(super) fn measured(all: &[Outage], timeline: &Timeline) -> Vec<Outage> {
    all.iter().filter(|it| !timeline.is_absent(it.begin, it.end)).copied().collect()
}

impl Durations {
    pub(super) fn of<'a>(owner: Owner, outages: impl IntoIterator<Item = &'a Outage>) -> Self {
        let outages = outages.into_iter().filter(|it| it.owner == owner);
        let mut all: Vec<Duration> = outages.map(Outage::duration).collect();
        all.sort_unstable();
        Self(all)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the least duration that is not exceeded by this share of them; zero if there are none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(super) fn worst(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// Returns how many there are for each row of a histogram.
    fn buckets(&self) -> [usize; BUCKETS.len() + 1] {
        let mut numbers = [0; BUCKETS.len() + 1];
        for duration in &self.0 {
            let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            numbers[BUCKETS.partition_point(|bound| *bound < micros)] += 1;
        }
        numbers
    }
}

/// Returns the rows of a histogram with a column for each owner.
pub(super) fn histogram(evenkeel: &Durations, floor: &Durations) -> Vec<String> {
    let bounds = BUCKETS
        .map(|bound| format!("up to {} ms", Duration::from_micros(bound).as_secs_f64() * 1e3));
    let labels = bounds.into_iter().chain(["longer".to_owned()]);
    let rows = labels.zip(evenkeel.buckets().into_iter().zip(floor.buckets()));
    let rows = rows.filter(|(_, (evenkeel, floor))| evenkeel + floor > 0);
    rows.map(|(label, (evenkeel, floor))| format!("{label:<44}{evenkeel:>8}{floor:>8}")).collect()
}

/// Returns milliseconds with three digits that count.
pub(super) fn in_ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

#[test]
fn percentiles_and_buckets_are_those_of_the_durations() {
    let ms = |numbers: std::ops::RangeInclusive<u64>| {
        Durations(numbers.map(Duration::from_millis).collect())
    };
    let hundred = ms(1..=100);
    assert_eq!(hundred.percentile(50), Duration::from_millis(50));
    assert_eq!(hundred.percentile(99), Duration::from_millis(99));
    assert_eq!(ms(1..=200).percentile(99), Duration::from_millis(198));
    assert_eq!(ms(1..=3).percentile(99), Duration::from_millis(3));
    assert_eq!(
        (hundred.worst(), Durations::default().percentile(99)),
        (Duration::from_millis(100), Duration::ZERO)
    );
    let buckets = hundred.buckets();
    assert_eq!((buckets[3], buckets[4], buckets[10], buckets[11]), (1, 1, 36, 0));
    assert_eq!(buckets.iter().sum::<usize>(), 100);
    assert_eq!(
        histogram(&ms(2_000..=2_000), &hundred).last().unwrap().split_whitespace().last(),
        Some("0")
    );
}
