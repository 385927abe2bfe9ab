//! Tracks objects on which a step failed: each is retried with back-off while the rest proceeds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_control::FailingObject;
use evenkeel_model::Desired;
use evenkeel_plan::Object;
use tracing::warn;

use super::backoff::delay;
use crate::clock::DaemonClock;

/// After how many failures an object is no longer retried at once when an event suggests it.
const MAX_IMMEDIATE_RETRIES: u32 = 5;

/// The failing objects. All times are of the caller's monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct RetryQueue(BTreeMap<Object, Failure>);

#[derive(Debug)]
struct Failure {
    error: String,
    attempts: u32,
    next: Duration,
}

impl RetryQueue {
    /// Records that a step on this object failed, or is known to fail.
    pub(crate) fn failed(&mut self, object: Object, error: String, now: Duration) {
        let failure = self.0.entry(object.clone()).or_insert_with(|| Failure {
            error: String::new(),
            attempts: 0,
            next: now,
        });
        failure.attempts = failure.attempts.saturating_add(1);
        failure.next = now + delay(failure.attempts);
        // Logged when the error is new, and less and less often while it persists.
        if failure.error != error || failure.attempts.is_power_of_two() {
            let seconds = (failure.next - now).as_secs_f32().ceil();
            let object = object.to_string();
            warn!(object, error, attempts = failure.attempts, retry_in_s = seconds, "failed");
        }
        failure.error = error;
    }

    /// Keeps only the objects that a plan still has steps for; the others have recovered.
    pub(crate) fn retain(&mut self, planned: &BTreeSet<Object>) {
        self.0.retain(|object, _| planned.contains(object));
    }

    /// Removes an object that is as desired now.
    pub(crate) fn succeeded(&mut self, object: &Object) {
        self.0.remove(object);
    }

    /// Returns the objects that are still backing off.
    pub(crate) fn waiting(&self, now: Duration) -> impl Iterator<Item = &Object> {
        self.0.iter().filter(move |(_, failure)| failure.next > now).map(|(object, _)| object)
    }

    /// Whether the object is failing.
    pub(crate) fn has(&self, object: &Object) -> bool {
        self.0.contains_key(object)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all objects, because a new spec is active.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns when the next object is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.values().map(|failure| failure.next).min()
    }

    /// Makes the object due at once, unless it has failed several times already.
    pub(crate) fn retry(&mut self, object: &Object) {
        if let Some(failure) =
            self.0.get_mut(object).filter(|it| it.attempts <= MAX_IMMEDIATE_RETRIES)
        {
            failure.next = Duration::ZERO;
        }
    }

    /// Makes all objects due at once, because the circumstances have changed.
    pub(crate) fn retry_all(&mut self) {
        for failure in self.0.values_mut() {
            failure.next = Duration::ZERO;
        }
    }

    pub(crate) fn status(&self, desired: &Desired, clock: &DaemonClock) -> Vec<FailingObject> {
        let entries = self.0.iter().map(|(object, failure)| FailingObject {
            object: object.named(desired).to_string(),
            error: failure.error.clone(),
            attempts: failure.attempts,
            next: clock.wall_at(failure.next),
        });
        entries.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn object(name: &str) -> Object {
        Object::Sysctl(name.into())
    }

    #[test]
    fn a_failed_object_backs_off_and_is_then_due() {
        let mut failing = RetryQueue::default();
        failing.failed(object("a"), "no".to_owned(), NOW);
        assert_eq!(failing.waiting(NOW).collect::<Vec<_>>(), [&object("a")]);
        let next = failing.next().expect("it is retried");
        assert!(next > NOW && next <= NOW + Duration::from_secs(1));
        assert_eq!(failing.waiting(next).count(), 0);
    }

    #[test]
    fn the_delay_grows_with_each_failure_and_starts_over_after_a_success() {
        let mut failing = RetryQueue::default();
        for _ in 0..4 {
            failing.failed(object("a"), "no".to_owned(), NOW);
        }
        assert!(failing.next().is_some_and(|next| next > NOW + Duration::from_secs(4)));
        failing.succeeded(&object("a"));
        failing.failed(object("a"), "no".to_owned(), NOW);
        assert!(failing.next().is_some_and(|next| next <= NOW + Duration::from_secs(1)));
    }

    #[test]
    fn an_object_without_a_planned_step_is_forgotten() {
        let mut failing = RetryQueue::default();
        for name in ["a", "b"] {
            failing.failed(object(name), "no".to_owned(), NOW);
        }
        failing.retain(&BTreeSet::from([object("b")]));
        let left = failing.status(&Desired::default(), &DaemonClock::new());
        assert_eq!((left.len(), &*left[0].object), (1, "sysctl b"));
    }

    #[test]
    fn an_object_is_retried_at_once_only_a_few_times() {
        let mut failing = RetryQueue::default();
        for number in 1..=MAX_IMMEDIATE_RETRIES + 1 {
            failing.failed(object("a"), "no".to_owned(), NOW);
            failing.retry(&object("a"));
            failing.retry(&object("b"));
            assert_eq!(
                failing.waiting(NOW).count(),
                usize::from(number > MAX_IMMEDIATE_RETRIES),
                "{number}"
            );
        }
    }

    #[test]
    fn retry_all_makes_every_object_due() {
        let mut failing = RetryQueue::default();
        failing.failed(object("a"), "no".to_owned(), NOW);
        failing.retry_all();
        assert_eq!(failing.waiting(NOW).count(), 0);
    }
}
