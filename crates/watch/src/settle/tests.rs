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
    let mut settle = Settle::new(ms(100), ms(10_000));
    settle.look(start, &"old", Writer::Closed);
    assert_eq!(settle.look(start + ms(100), &"old", Writer::Closed), Verdict::Read);
    assert!(settle.was_read(&"old"));
    (settle, start + ms(100))
}

#[test]
fn the_first_files_are_read_once_they_are_seen_to_be_at_rest() {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100), ms(10_000));
    assert_eq!(settle.look(start, &"first", Writer::Closed), Verdict::WaitUntil(start + ms(100)));
    assert_eq!(
        settle.look(start + ms(99), &"first", Writer::Closed),
        Verdict::WaitUntil(start + ms(100))
    );
    assert_eq!(settle.look(start + ms(100), &"first", Writer::Closed), Verdict::Read);
    assert!(settle.was_read(&"first"));
    assert_eq!(settle.look(start + ms(200), &"first", Writer::Closed), Verdict::Idle);
}

#[test]
fn files_that_are_as_they_were_read_are_left_alone() {
    let (mut settle, start) = at_rest();
    assert_eq!(settle.look(start + ms(5_000), &"old", Writer::Closed), Verdict::Idle);
    assert_eq!(settle.restless_since(), None);
}

#[test]
fn each_change_begins_the_quiet_time_anew() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"half", Writer::Closed);
    assert_eq!(
        settle.look(start + ms(100), &"whole", Writer::Closed),
        Verdict::WaitUntil(start + ms(200))
    );
    assert_eq!(
        settle.look(start + ms(199), &"whole", Writer::Closed),
        Verdict::WaitUntil(start + ms(200))
    );
    assert_eq!(settle.look(start + ms(200), &"whole", Writer::Closed), Verdict::Read);
}

#[test]
fn a_change_that_is_taken_back_is_not_read() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"new", Writer::Closed);
    assert_eq!(settle.look(start + ms(20), &"old", Writer::Closed), Verdict::Idle);
    assert_eq!(settle.restless_since(), None);
}

#[test]
fn what_changed_while_it_was_read_is_read_again() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"new", Writer::Closed);
    assert_eq!(settle.look(start + ms(110), &"new", Writer::Closed), Verdict::Read);
    assert!(!settle.was_read(&"newer"));
    assert_eq!(
        settle.look(start + ms(111), &"newer", Writer::Closed),
        Verdict::WaitUntil(start + ms(211))
    );
    assert_eq!(settle.look(start + ms(211), &"newer", Writer::Closed), Verdict::Read);
    assert!(settle.was_read(&"newer"));
}

#[test]
fn what_was_not_read_stays_to_be_read() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"new", Writer::Closed);
    assert_eq!(settle.look(start + ms(110), &"new", Writer::Closed), Verdict::Read);
    assert_eq!(settle.look(start + ms(120), &"new", Writer::Closed), Verdict::Read);
}

/// Looks every 50 ms at files of which each look sees another state, from `from` on and until they
/// are to be read. Returns that time.
fn touch_until_read(settle: &mut Settle<u64>, start: Instant, from: u64) -> u64 {
    (from..from + 60_000)
        .step_by(50)
        .find(|now| {
            let verdict = settle.look(start + ms(*now), now, Writer::Closed);
            assert_ne!(verdict, Verdict::Read, "not at rest");
            verdict == Verdict::ReadAnyway
        })
        .expect("they are read")
}

#[test]
fn a_file_that_never_rests_is_read_after_the_limit_and_again_after_each_further_one() {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100), ms(10_000));
    assert_eq!(touch_until_read(&mut settle, start, 0), 10_000);
    assert!(settle.was_read(&10_000));
    assert_eq!(touch_until_read(&mut settle, start, 10_050), 20_000);
    assert!(settle.was_read(&20_000));
    assert_eq!(settle.restless_since(), Some(start), "it did not come to rest");
}

#[test]
fn what_was_read_within_the_quiet_time_of_its_last_change_is_read_again_at_rest() {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100), ms(10_000));
    assert_eq!(touch_until_read(&mut settle, start, 0), 10_000);
    assert!(settle.was_read(&10_000));
    let look = |settle: &mut Settle<u64>, at| settle.look(start + ms(at), &10_000, Writer::Closed);
    assert_eq!(look(&mut settle, 10_025), Verdict::WaitUntil(start + ms(10_100)));
    assert_eq!(look(&mut settle, 10_100), Verdict::Read);
    assert!(settle.was_read(&10_000));
    assert_eq!(settle.restless_since(), None);
    assert_eq!(look(&mut settle, 10_200), Verdict::Idle);
}

#[test]
fn files_that_go_back_to_what_was_read_before_the_limit_are_read_again() {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100), ms(10_000));
    let look = |settle: &mut Settle<u64>, at, state: u64| {
        settle.look(start + ms(at), &state, Writer::Closed)
    };
    look(&mut settle, 0, 7);
    assert_eq!(look(&mut settle, 100, 7), Verdict::Read);
    assert!(settle.was_read(&7));
    assert_eq!(touch_until_read(&mut settle, start, 1_000), 11_000);
    assert!(settle.was_read(&11_000));
    assert_eq!(look(&mut settle, 11_050, 7), Verdict::WaitUntil(start + ms(11_150)));
    assert_eq!(look(&mut settle, 11_150, 7), Verdict::Read);
}

#[test]
fn a_reading_after_the_limit_during_which_files_changed_is_tried_again_after_the_quiet_time() {
    let start = Instant::now();
    let mut settle = Settle::new(ms(100), ms(10_000));
    assert_eq!(touch_until_read(&mut settle, start, 0), 10_000);
    assert!(!settle.was_read(&10_001));
    assert_eq!(touch_until_read(&mut settle, start, 10_050), 10_100);
    assert!(settle.was_read(&10_100));
    assert_eq!(touch_until_read(&mut settle, start, 10_150), 20_100);
}

#[test]
fn files_are_not_read_while_a_writer_has_one_open_however_long_they_are_quiet() {
    let (mut settle, start) = at_rest();
    let limit = Verdict::WaitUntil(start + ms(10_010));
    for at in [10, 60, 110, 400, 3_000, 10_009] {
        assert_eq!(settle.look(start + ms(at), &"half", Writer::Open), limit);
    }
}

#[test]
fn files_that_are_quiet_are_read_as_soon_as_the_writer_closes() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"half", Writer::Open);
    settle.look(start + ms(310), &"whole", Writer::Open);
    let quiet = Verdict::WaitUntil(start + ms(410));
    assert_eq!(settle.look(start + ms(320), &"whole", Writer::Closed), quiet);
    assert_eq!(settle.look(start + ms(410), &"whole", Writer::Closed), Verdict::Read);
    assert!(settle.was_read(&"whole"));
    settle.look(start + ms(1_000), &"more", Writer::Open);
    assert_eq!(settle.look(start + ms(2_000), &"more", Writer::Closed), Verdict::Read);
}

#[test]
fn a_file_that_stays_open_is_read_after_the_limit_and_is_then_known() {
    let (mut settle, start) = at_rest();
    settle.look(start + ms(10), &"new", Writer::Open);
    assert_eq!(settle.look(start + ms(10_010), &"new", Writer::Open), Verdict::ReadAnyway);
    assert!(settle.was_read(&"new"));
    assert_eq!(settle.look(start + ms(10_100), &"new", Writer::Open), Verdict::Idle);
    assert_eq!(settle.restless_since(), None);
    // The next change has a limit of its own.
    let limit = Verdict::WaitUntil(start + ms(22_000));
    assert_eq!(settle.look(start + ms(12_000), &"newer", Writer::Open), limit);
}

#[test]
fn what_is_heard_is_looked_at_at_once_but_not_twice_in_a_moment() {
    let (mut settle, start) = at_rest();
    assert_eq!(settle.heard(start + ms(1_000)), start + ms(1_000));
    settle.look(start + ms(1_000), &"new", Writer::Closed);
    assert_eq!(settle.heard(start + ms(1_001)), start + ms(1_025));
    assert_eq!(settle.heard(start + ms(1_080)), start + ms(1_080));
}

/// A change that comes so many milliseconds after the one before it, and whether it is heard of.
fn changes() -> impl Strategy<Value = Vec<(u64, bool)>> {
    let gap = prop_oneof![4 => 0_u64..40, 2 => 40_u64..140, 1 => 140_u64..700];
    vec((gap, any::<bool>()), 1..30)
}

/// A change that comes so many milliseconds after the one before it, and for how long its writer
/// then still has the file open.
#[derive(Debug, Clone)]
struct Write {
    gap: u64,
    open_for: u64,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let gap = prop_oneof![4 => 0_u64..40, 2 => 40_u64..140, 1 => 140_u64..700];
    let open_for = prop_oneof![3 => Just(0_u64), 2 => 0_u64..400, 1 => 400_u64..3_000];
    let write = (gap, open_for).prop_map(|(gap, open_for)| Write { gap, open_for });
    vec(write, 1..60)
}

proptest! {
    #[test]
    fn the_last_state_is_read_last_and_nothing_within_the_quiet_time_of_a_change(
        changes in changes(), resync in 50_u64..1_000,
    ) {
        let start = Instant::now();
        let mut settle = Settle::new(ms(100), ms(10_000));
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
            match settle.look(instant, &version, Writer::Closed) {
                Verdict::Idle => {}
                Verdict::WaitUntil(at) => next_look = Some(at),
                Verdict::ReadAnyway => prop_assert!(now >= 10_000, "read at {now}"),
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

    #[test]
    fn nothing_is_read_under_a_writer_before_the_limit_and_everything_is_read_in_time(
        writes in writes(),
    ) {
        const LIMIT: u64 = 1_000;
        let start = Instant::now();
        let mut settle = Settle::new(ms(100), ms(LIMIT));
        let end = writes.iter().map(|write| write.gap + write.open_for).sum::<u64>() + 2 * LIMIT;
        let mut events = writes.iter().scan(0, |at, write| {
            *at += write.gap;
            Some((*at, *at + write.open_for))
        }).peekable();

        let (mut version, mut changed_at, mut closed_at) = (0_usize, 0, 0);
        let (mut read, mut read_at, mut unread_since) = (None, 0, Some(0));
        let mut next_look = Some(start);
        for now in 0..=end {
            let instant = start + ms(now);
            let mut is_heard = now == closed_at;
            while let Some((_, close)) = events.next_if(|(at, _)| *at == now) {
                (version, changed_at, closed_at) = (version + 1, now, closed_at.max(close));
                unread_since.get_or_insert(now);
                is_heard = true;
            }
            if is_heard {
                let at = settle.heard(instant);
                next_look = Some(next_look.map_or(at, |due| due.min(at)));
            }
            let unread_for = unread_since.map_or(0, |since| now - since);
            prop_assert!(unread_for <= LIMIT + 25, "unread for {unread_for} ms at {now}");
            if next_look.take_if(|due| *due <= instant).is_none() {
                continue;
            }
            let writer = if now < closed_at { Writer::Open } else { Writer::Closed };
            let verdict = settle.look(instant, &version, writer);
            match verdict {
                Verdict::Idle => {}
                Verdict::WaitUntil(at) => next_look = Some(at),
                Verdict::Read | Verdict::ReadAnyway => {
                    if verdict == Verdict::Read {
                        prop_assert!(writer == Writer::Closed && now - changed_at >= 100);
                    } else {
                        next_look = Some(instant + ms(25));
                    }
                    prop_assert!(settle.was_read(&version));
                    (read, read_at, unread_since) = (Some(version), now, None);
                }
            }
        }
        prop_assert_eq!(read, Some(version));
        prop_assert_eq!(settle.restless_since(), None);
        let at_rest_at = closed_at.max(changed_at + 100);
        prop_assert!(read_at <= at_rest_at + 25, "at rest {at_rest_at}, read {read_at}");
    }
}
