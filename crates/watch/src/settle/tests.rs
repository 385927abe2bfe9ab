use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A settle whose files were read as "old", and the time of that.
fn at_rest() -> (Settle<&'static str>, Instant) {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100));
    settle.look(start, &"old");
    assert!(settle.was_read(&"old"));
    (settle, start)
}

#[test]
fn the_first_files_are_read_once_they_are_seen_to_be_at_rest() {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100));
    assert_eq!(settle.look(start, &"first"), Verdict::WaitUntil(start + ms(100)));
    assert_eq!(settle.look(start + ms(99), &"first"), Verdict::WaitUntil(start + ms(100)));
    assert_eq!(settle.look(start + ms(100), &"first"), Verdict::Read);
    assert!(settle.was_read(&"first"));
    assert_eq!(settle.look(start + ms(200), &"first"), Verdict::Idle);
}

#[test]
fn files_that_are_as_they_were_read_are_left_alone() {
    let (mut settle, start) = at_rest();
    assert_eq!(settle.look(start + ms(5_000), &"old"), Verdict::Idle);
    assert_eq!(settle.restless_since(), None);
}

#[test]
fn each_change_begins_the_quiet_time_anew() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"half");
    assert_eq!(settle.look(start + ms(100), &"whole"), Verdict::WaitUntil(start + ms(200)));
    assert_eq!(settle.look(start + ms(199), &"whole"), Verdict::WaitUntil(start + ms(200)));
    assert_eq!(settle.look(start + ms(200), &"whole"), Verdict::Read);
}

#[test]
fn a_change_that_is_taken_back_is_not_read() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"new");
    assert_eq!(settle.look(start + ms(20), &"old"), Verdict::Idle);
    assert_eq!(settle.restless_since(), None);
}

#[test]
fn what_changed_while_it_was_read_is_read_again() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"new");
    assert_eq!(settle.look(start + ms(110), &"new"), Verdict::Read);
    assert!(!settle.was_read(&"newer"));
    assert_eq!(settle.look(start + ms(111), &"newer"), Verdict::WaitUntil(start + ms(211)));
    assert_eq!(settle.look(start + ms(211), &"newer"), Verdict::Read);
    assert!(settle.was_read(&"newer"));
}

#[test]
fn what_was_not_read_stays_to_be_read() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"new");
    assert_eq!(settle.look(start + ms(110), &"new"), Verdict::Read);
    assert_eq!(settle.look(start + ms(120), &"new"), Verdict::Read);
}

#[test]
fn a_file_that_never_rests_is_never_read_and_it_is_known_since_when() {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100));
    for step in 0..200 {
        let now = start + ms(99 * step);
        assert_eq!(settle.look(now, &step), Verdict::WaitUntil(now + ms(100)));
    }
    assert_eq!(settle.restless_since(), Some(start));
}

#[test]
fn what_is_heard_is_looked_at_at_once_but_not_twice_in_a_moment() {
    let (mut settle, start) = at_rest();
    assert_eq!(settle.heard(start + ms(1_000)), start + ms(1_000));
    settle.look(start + ms(1_000), &"new");
    assert_eq!(settle.heard(start + ms(1_001)), start + ms(1_025));
    assert_eq!(settle.heard(start + ms(1_080)), start + ms(1_080));
}

/// A change that comes so many milliseconds after the one before it, and whether it is heard of.
fn changes() -> impl Strategy<Value = Vec<(u64, bool)>> {
    let gap = prop_oneof![4 => 0_u64..40, 2 => 40_u64..140, 1 => 140_u64..700];
    vec((gap, any::<bool>()), 1..30)
}

proptest! {
    #[test]
    fn the_last_state_is_read_last_and_nothing_within_the_quiet_time_of_a_change(
        changes in changes(), resync in 50_u64..1_000,
    ) {
        let start = Instant::now();
        let mut settle = Settle::new(ms(100));
        let mut times = changes.iter().scan(0, |at, (gap, heard)| {
            *at += gap;
            Some((*at, *heard))
        }).peekable();
        let end = changes.iter().map(|(gap, _)| gap).sum::<u64>() + 2 * resync + 200;

        let (mut version, mut changed_at, mut heard_last) = (0_usize, 0, true);
        let mut next_look = Some(start);
        let mut reads = Vec::new();
        for now in 0..=end {
            let instant = start + ms(now);
            while let Some((_, heard)) = times.next_if(|(at, _)| *at == now) {
                (version, changed_at, heard_last) = (version + 1, now, heard);
                if heard {
                    let at = settle.heard(instant);
                    next_look = Some(next_look.map_or(at, |due| due.min(at)));
                }
            }
            if now % resync != 0 && next_look.is_none_or(|due| instant < due) {
                continue;
            }
            next_look = None;
            match settle.look(instant, &version) {
                Verdict::Idle => {}
                Verdict::WaitUntil(at) => next_look = Some(at),
                Verdict::Read => {
                    prop_assert!(now - changed_at >= 100, "changed {changed_at}, read {now}");
                    prop_assert_ne!(reads.last().map(|(_, read)| *read), Some(version));
                    prop_assert!(settle.was_read(&version));
                    reads.push((now, version));
                }
            }
        }
        let (read_at, read) = *reads.last().expect("something was read");
        prop_assert_eq!(read, version);
        prop_assert_eq!(settle.restless_since(), None);
        let longest = if heard_last { 125 } else { resync + 100 };
        prop_assert!(read_at - changed_at <= longest, "changed {changed_at}, read {read_at}");
    }
}
