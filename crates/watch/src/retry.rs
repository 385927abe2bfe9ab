//! Objects on which a step failed: each is tried again when its time has come, and the rest goes on
//! without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::Desired;
use evenkeel_plan::Object;
use tracing::warn;

use crate::backoff::delay;
use crate::clock::Clock;
use crate::status;

/// How often an object is tried at once where something gives reason to.
const MAX_IMMEDIATE_RETRIES: u32 = 5;

/// The objects that fail. Times count from the same beginning as the caller's.
#[derive(Debug, Default)]
pub(crate) struct RetryQueue(BTreeMap<Object, Failure>);

#[derive(Debug)]
struct Failure {
    error: String,
    attempts: u32,
    next: Duration,
}

impl RetryQueue {
    /// A step on that object failed, or is known to fail.
    pub(crate) fn failed(&mut self, object: Object, error: String, now: Duration) {
        let failure = self.0.entry(object.clone()).or_insert_with(|| Failure {
            error: String::new(),
            attempts: 0,
            next: now,
        });
        failure.attempts = failure.attempts.saturating_add(1);
        failure.next = now + delay(failure.attempts);
        // Said when it is news, and now and then while it goes on.
        if failure.error != error || failure.attempts.is_power_of_two() {
            let seconds = (failure.next - now).as_secs_f32().ceil();
            let object = object.to_string();
            warn!(object, error, attempts = failure.attempts, retry_in_s = seconds, "failed");
        }
        failure.error = error;
    }

    /// Only objects that a plan still has steps for can fail; the others are mended.
    pub(crate) fn retain(&mut self, planned: &BTreeSet<Object>) {
        self.0.retain(|object, _| planned.contains(object));
    }

    /// That object is as it should be.
    pub(crate) fn succeeded(&mut self, object: &Object) {
        self.0.remove(object);
    }

    /// The objects whose time has not come.
    pub(crate) fn waiting(&self, now: Duration) -> impl Iterator<Item = &Object> {
        self.0.iter().filter(move |(_, failure)| failure.next > now).map(|(object, _)| object)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Something else is asked for.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// When the next one is to be tried that waits.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.values().map(|failure| failure.next).min()
    }

    /// That object is to be tried at once, unless that was in vain a few times.
    pub(crate) fn retry(&mut self, object: &Object) {
        if let Some(failure) =
            self.0.get_mut(object).filter(|it| it.attempts <= MAX_IMMEDIATE_RETRIES)
        {
            failure.next = Duration::ZERO;
        }
    }

    /// All are to be tried at once: something is different now.
    pub(crate) fn retry_all(&mut self) {
        for failure in self.0.values_mut() {
            failure.next = Duration::ZERO;
        }
    }

    pub(crate) fn status(&self, desired: &Desired, clock: &Clock) -> Vec<status::FailingObject> {
        let entries = self.0.iter().map(|(object, failure)| status::FailingObject {
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
    fn what_failed_waits_for_its_time_and_no_longer() {
        let mut failing = RetryQueue::default();
        failing.failed(object("a"), "no".to_owned(), NOW);
        assert_eq!(failing.waiting(NOW).collect::<Vec<_>>(), [&object("a")]);
        let next = failing.next().expect("it is tried again");
        assert!(next > NOW && next <= NOW + Duration::from_secs(1));
        assert_eq!(failing.waiting(next).count(), 0);
    }

    #[test]
    fn what_fails_again_waits_longer_and_what_is_mended_begins_anew() {
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
    fn what_no_plan_has_a_step_for_is_forgotten() {
        let mut failing = RetryQueue::default();
        for name in ["a", "b"] {
            failing.failed(object(name), "no".to_owned(), NOW);
        }
        failing.retain(&BTreeSet::from([object("b")]));
        let left = failing.status(&Desired::default(), &Clock::new());
        assert_eq!((left.len(), &*left[0].object), (1, "sysctl b"));
    }

    #[test]
    fn what_there_is_reason_to_try_at_once_is_tried_so_a_few_times_only() {
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
    fn all_are_tried_at_once_when_something_is_different() {
        let mut failing = RetryQueue::default();
        failing.failed(object("a"), "no".to_owned(), NOW);
        failing.retry_all();
        assert_eq!(failing.waiting(NOW).count(), 0);
    }
}
