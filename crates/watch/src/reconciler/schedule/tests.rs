use super::*;

const INTERVAL: Duration = Duration::from_secs(30);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A schedule after a pass without a problem that ended at the returned time.
fn schedule() -> (Schedule, Duration) {
    let mut schedule = Schedule::new(INTERVAL);
    let now = schedule.clock.now();
    schedule.after_pass(&end(now));
    (schedule, now)
}

fn end(at: Duration) -> PassEnd {
    PassEnd {
        at,
        took: MILLISECOND,
        problem: None,
        needs_follow_up: false,
        is_draining: false,
        left: None,
        health: None,
        failed_object: None,
        conflict: None,
    }
}

#[test]
fn before_the_first_pass_the_loop_does_not_sleep() {
    assert_eq!(Schedule::new(INTERVAL).wait(None), Duration::ZERO);
}

#[test]
fn the_next_deadline_is_the_earliest_timer() {
    let (mut schedule, now) = schedule();
    let resync = schedule.next(None);
    assert!(resync > now + INTERVAL / 2 && resync <= now + INTERVAL);
    assert_eq!(schedule.wait(None), MAX_SLEEP, "a longer sleep looks like a stuck loop");
    schedule.sample_at(now + Duration::from_secs(5));
    schedule.after_pass(&PassEnd { is_draining: true, ..end(now) });
    assert_eq!(schedule.next(None), now + DRAIN);
    // What stays on a real server is removed at its time.
    let left = Some(Duration::from_secs(3));
    schedule.after_pass(&PassEnd { left, ..end(now) });
    assert_eq!(schedule.next(None), now + Duration::from_secs(3));
    assert_eq!(schedule.take_due(now + INTERVAL).trigger(true), Some(Trigger::Drain));
    schedule.after_pass(&PassEnd { left, is_draining: true, ..end(now) });
    assert_eq!(schedule.next(None), now + DRAIN);
    schedule.on_addresses(now, true);
    assert_eq!(schedule.next(None), now);
}

#[test]
fn the_end_of_a_pause_is_a_deadline() {
    let (schedule, now) = schedule();
    let wall = schedule.clock.wall();
    let next = schedule.next(Some(wall + 3));
    assert!(next > now && next <= now + Duration::from_secs(4), "{next:?}");
    assert!(schedule.next(Some(wall + 3_600)) > now + INTERVAL / 2);
    assert_eq!(schedule.wait(Some(0)), Duration::ZERO, "it is over");
}

#[test]
fn one_pass_serves_all_due_timers_with_the_most_specific_trigger() {
    let (mut schedule, now) = schedule();
    schedule.after_pass(&PassEnd { is_draining: true, needs_follow_up: true, ..end(now) });
    schedule.on_addresses(now, true);
    assert_eq!(schedule.take_due(now + DRAIN).trigger(true), Some(Trigger::Address));
    assert_eq!(schedule.take_due(now + DRAIN).trigger(false), None, "they were reset");
    schedule.after_pass(&PassEnd { is_draining: true, needs_follow_up: true, ..end(now) });
    assert_eq!(schedule.take_due(now).trigger(true), Some(Trigger::Retry));
    assert_eq!(schedule.take_due(now).trigger(true), Some(Trigger::Resync));
    assert_eq!(schedule.take_due(now + DRAIN).trigger(true), Some(Trigger::Drain));
}

#[test]
fn a_slow_pass_delays_the_next_one_for_addresses_but_not_for_a_removed_vip() {
    let (mut schedule, now) = schedule();
    for (took, pause) in [(0, 20), (5, 45), (1_000, 80)] {
        schedule.after_pass(&PassEnd { took: MILLISECOND * took, ..end(now) });
        schedule.on_addresses(now, false);
        assert_eq!(schedule.address, Some(now + MILLISECOND * pause), "{took}");
        schedule.on_addresses(now, true);
        assert_eq!(schedule.address, Some(now), "{took}");
    }
}

#[test]
fn an_address_event_is_served_by_the_next_pass_that_can_be_made() {
    let (mut schedule, now) = schedule();
    schedule.on_addresses(now, true);
    schedule.after_pass(&PassEnd { problem: Some(PassProblem::Failed(1)), ..end(now) });
    assert_eq!(schedule.address, Some(schedule.addresses_from));
    schedule.after_pass(&end(now));
    assert_eq!(schedule.address, None);
}

#[test]
fn a_failed_pass_is_retried_later_each_time_and_one_without_the_lock_soon() {
    let (mut schedule, now) = schedule();
    let mut retry = |problem| {
        schedule.after_pass(&PassEnd { problem: Some(problem), ..end(now) });
        schedule.retry.expect("it is retried") - now
    };
    assert_eq!(retry(PassProblem::Locked), LOCK);
    assert!(retry(PassProblem::Failed(1)) <= Duration::from_secs(1));
    assert!(retry(PassProblem::Failed(4)) > Duration::from_secs(4));
}

#[test]
fn a_retry_is_due_with_the_next_failed_object_or_conflict() {
    let (mut schedule, now) = schedule();
    let second = Duration::from_secs(1);
    let cases = [
        (None, None, None),
        (Some(now), None, Some(now + LOCK)),
        (Some(now + second), Some(now + second * 2), Some(now + second)),
        (Some(now + second * 3), Some(now + second * 2), Some(now + second * 2)),
    ];
    for (failed_object, conflict, expected) in cases {
        schedule.after_pass(&PassEnd { failed_object, conflict, ..end(now) });
        assert_eq!(schedule.retry, expected);
    }
}

#[test]
fn a_sample_of_the_source_is_never_postponed() {
    let (mut schedule, now) = schedule();
    schedule.sample_at(now + MILLISECOND);
    schedule.sample_at(now + DRAIN);
    assert!(!schedule.take_debounce(now));
    assert!(schedule.take_debounce(now + MILLISECOND));
    assert!(!schedule.take_debounce(now + DRAIN));
}

#[test]
fn other_programs_are_searched_for_once_an_interval_unless_a_conflict_begins() {
    let (mut schedule, _) = schedule();
    assert!(schedule.take_known_writers(false, false));
    assert!(!schedule.take_known_writers(false, false));
    assert!(schedule.take_known_writers(false, true));
}
