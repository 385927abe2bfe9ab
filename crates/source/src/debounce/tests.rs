use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Returns a debounce whose files were read as "old", and the time of that reading.
fn stable() -> (Debounce<&'static str>, Instant) {
    let start = Instant::now();
    let mut debounce = Debounce::new(ms(100), ms(10_000));
    debounce.sample(start, &"old", Writer::Closed);
    assert_eq!(debounce.sample(start + ms(100), &"old", Writer::Closed), Stability::Read);
    assert!(debounce.accept_read(&"old"));
    (debounce, start + ms(100))
}

#[test]
fn the_first_files_are_read_once_they_are_stable() {
    let start = Instant::now();
    let mut debounce = Debounce::new(ms(100), ms(10_000));
    assert_eq!(
        debounce.sample(start, &"first", Writer::Closed),
        Stability::WaitUntil(start + ms(100))
    );
    assert_eq!(
        debounce.sample(start + ms(99), &"first", Writer::Closed),
        Stability::WaitUntil(start + ms(100))
    );
    assert_eq!(debounce.sample(start + ms(100), &"first", Writer::Closed), Stability::Read);
    assert!(debounce.accept_read(&"first"));
    assert_eq!(debounce.sample(start + ms(200), &"first", Writer::Closed), Stability::Idle);
}

#[test]
fn files_that_are_as_last_read_are_not_read_again() {
    let (mut debounce, start) = stable();
    assert_eq!(debounce.sample(start + ms(5_000), &"old", Writer::Closed), Stability::Idle);
    assert_eq!(debounce.unstable_since(), None);
}

#[test]
fn each_change_restarts_the_quiet_time() {
    let (mut debounce, start) = stable();
    debounce.sample(start + ms(10), &"half", Writer::Closed);
    assert_eq!(
        debounce.sample(start + ms(100), &"whole", Writer::Closed),
        Stability::WaitUntil(start + ms(200))
    );
    assert_eq!(
        debounce.sample(start + ms(199), &"whole", Writer::Closed),
        Stability::WaitUntil(start + ms(200))
    );
    assert_eq!(debounce.sample(start + ms(200), &"whole", Writer::Closed), Stability::Read);
}

#[test]
fn a_change_that_is_reverted_is_not_read() {
    let (mut debounce, start) = stable();
    debounce.sample(start + ms(10), &"new", Writer::Closed);
    assert_eq!(debounce.sample(start + ms(20), &"old", Writer::Closed), Stability::Idle);
    assert_eq!(debounce.unstable_since(), None);
}

#[test]
fn files_that_changed_while_they_were_read_are_read_again() {
    let (mut debounce, start) = stable();
    debounce.sample(start + ms(10), &"new", Writer::Closed);
    assert_eq!(debounce.sample(start + ms(110), &"new", Writer::Closed), Stability::Read);
    assert!(!debounce.accept_read(&"newer"));
    assert_eq!(
        debounce.sample(start + ms(111), &"newer", Writer::Closed),
        Stability::WaitUntil(start + ms(211))
    );
    assert_eq!(debounce.sample(start + ms(211), &"newer", Writer::Closed), Stability::Read);
    assert!(debounce.accept_read(&"newer"));
}

#[test]
fn a_change_that_was_not_read_remains_to_be_read() {
    let (mut debounce, start) = stable();
    debounce.sample(start + ms(10), &"new", Writer::Closed);
    assert_eq!(debounce.sample(start + ms(110), &"new", Writer::Closed), Stability::Read);
    assert_eq!(debounce.sample(start + ms(120), &"new", Writer::Closed), Stability::Read);
}

/// Takes a sample every 50 ms, each with another state, from `from` on and until the files are to be
/// read. Returns that time.
fn touch_until_read(debounce: &mut Debounce<u64>, start: Instant, from: u64) -> u64 {
    (from..from + 60_000)
        .step_by(50)
        .find(|now| {
            let verdict = debounce.sample(start + ms(*now), now, Writer::Closed);
            assert_ne!(verdict, Stability::Read, "not stable");
            verdict == Stability::ReadAnyway
        })
        .expect("they are read")
}

#[test]
fn a_file_that_never_becomes_stable_is_read_after_each_limit() {
    let start = Instant::now();
    let mut debounce = Debounce::new(ms(100), ms(10_000));
    assert_eq!(touch_until_read(&mut debounce, start, 0), 10_000);
    assert!(debounce.accept_read(&10_000));
    assert_eq!(touch_until_read(&mut debounce, start, 10_050), 20_000);
    assert!(debounce.accept_read(&20_000));
    assert_eq!(debounce.unstable_since(), Some(start), "it did not become stable");
}

#[test]
fn files_read_within_the_quiet_time_of_a_change_are_read_again_when_stable() {
    let start = Instant::now();
    let mut debounce = Debounce::new(ms(100), ms(10_000));
    assert_eq!(touch_until_read(&mut debounce, start, 0), 10_000);
    assert!(debounce.accept_read(&10_000));
    let sample =
        |debounce: &mut Debounce<u64>, at| debounce.sample(start + ms(at), &10_000, Writer::Closed);
    assert_eq!(sample(&mut debounce, 10_025), Stability::WaitUntil(start + ms(10_100)));
    assert_eq!(sample(&mut debounce, 10_100), Stability::Read);
    assert!(debounce.accept_read(&10_000));
    assert_eq!(debounce.unstable_since(), None);
    assert_eq!(sample(&mut debounce, 10_200), Stability::Idle);
}

#[test]
fn files_that_return_to_the_state_read_before_the_limit_are_read_again() {
    let start = Instant::now();
    let mut debounce = Debounce::new(ms(100), ms(10_000));
    let sample = |debounce: &mut Debounce<u64>, at, state: u64| {
        debounce.sample(start + ms(at), &state, Writer::Closed)
    };
    sample(&mut debounce, 0, 7);
    assert_eq!(sample(&mut debounce, 100, 7), Stability::Read);
    assert!(debounce.accept_read(&7));
    assert_eq!(touch_until_read(&mut debounce, start, 1_000), 11_000);
    assert!(debounce.accept_read(&11_000));
    assert_eq!(sample(&mut debounce, 11_050, 7), Stability::WaitUntil(start + ms(11_150)));
    assert_eq!(sample(&mut debounce, 11_150, 7), Stability::Read);
}

#[test]
fn a_reading_after_the_limit_during_which_files_changed_is_tried_again_after_the_quiet_time() {
    let start = Instant::now();
    let mut debounce = Debounce::new(ms(100), ms(10_000));
    assert_eq!(touch_until_read(&mut debounce, start, 0), 10_000);
    assert!(!debounce.accept_read(&10_001));
    assert_eq!(touch_until_read(&mut debounce, start, 10_050), 10_100);
    assert!(debounce.accept_read(&10_100));
    assert_eq!(touch_until_read(&mut debounce, start, 10_150), 20_100);
}

#[test]
fn files_are_not_read_while_a_writer_has_one_open_even_if_they_are_quiet() {
    let (mut debounce, start) = stable();
    let limit = Stability::WaitUntil(start + ms(10_010));
    for at in [10, 60, 110, 400, 3_000, 10_009] {
        assert_eq!(debounce.sample(start + ms(at), &"half", Writer::Open), limit);
    }
}

#[test]
fn files_that_are_quiet_are_read_as_soon_as_the_writer_closes() {
    let (mut debounce, start) = stable();
    debounce.sample(start + ms(10), &"half", Writer::Open);
    debounce.sample(start + ms(310), &"whole", Writer::Open);
    let quiet = Stability::WaitUntil(start + ms(410));
    assert_eq!(debounce.sample(start + ms(320), &"whole", Writer::Closed), quiet);
    assert_eq!(debounce.sample(start + ms(410), &"whole", Writer::Closed), Stability::Read);
    assert!(debounce.accept_read(&"whole"));
    debounce.sample(start + ms(1_000), &"more", Writer::Open);
    assert_eq!(debounce.sample(start + ms(2_000), &"more", Writer::Closed), Stability::Read);
}

#[test]
fn a_file_that_stays_open_is_read_once_after_the_limit() {
    let (mut debounce, start) = stable();
    debounce.sample(start + ms(10), &"new", Writer::Open);
    assert_eq!(debounce.sample(start + ms(10_010), &"new", Writer::Open), Stability::ReadAnyway);
    assert!(debounce.accept_read(&"new"));
    assert_eq!(debounce.sample(start + ms(10_100), &"new", Writer::Open), Stability::Idle);
    assert_eq!(debounce.unstable_since(), None);
    // The next change has a limit of its own.
    let limit = Stability::WaitUntil(start + ms(22_000));
    assert_eq!(debounce.sample(start + ms(12_000), &"newer", Writer::Open), limit);
}

#[test]
fn a_sample_follows_an_event_at_once_but_not_twice_in_a_moment() {
    let (mut debounce, start) = stable();
    assert_eq!(debounce.next_sample(start + ms(1_000)), start + ms(1_000));
    debounce.sample(start + ms(1_000), &"new", Writer::Closed);
    assert_eq!(debounce.next_sample(start + ms(1_001)), start + ms(1_025));
    assert_eq!(debounce.next_sample(start + ms(1_080)), start + ms(1_080));
}

/// Changes: milliseconds since the previous one, and whether it causes an event.
fn changes() -> impl Strategy<Value = Vec<(u64, bool)>> {
    let gap = prop_oneof![4 => 0_u64..40, 2 => 40_u64..140, 1 => 140_u64..700];
    vec((gap, any::<bool>()), 1..30)
}

/// A change: milliseconds since the previous one, and for how long its writer then still has the file
/// open.
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
        let mut debounce = Debounce::new(ms(100), ms(10_000));
        let mut times = changes.iter().scan(0, |at, (gap, is_event)| {
            *at += gap;
            Some((*at, *is_event))
        }).peekable();
        let end = changes.iter().map(|(gap, _)| gap).sum::<u64>() + 2 * resync + 200;

        let (mut version, mut changed_at, mut last_is_event) = (0_usize, 0, true);
        let mut next_sample = Some(start);
        let mut reads = Vec::new();
        for now in 0..=end {
            let instant = start + ms(now);
            while let Some((_, is_event)) = times.next_if(|(at, _)| *at == now) {
                (version, changed_at, last_is_event) = (version + 1, now, is_event);
                if is_event {
                    let at = debounce.next_sample(instant);
                    next_sample = Some(next_sample.map_or(at, |due| due.min(at)));
                }
            }
            if now % resync != 0 && next_sample.is_none_or(|due| instant < due) {
                continue;
            }
            next_sample = None;
            match debounce.sample(instant, &version, Writer::Closed) {
                Stability::Idle => {}
                Stability::WaitUntil(at) => next_sample = Some(at),
                Stability::ReadAnyway => prop_assert!(now >= 10_000, "read at {now}"),
                Stability::Read => {
                    prop_assert!(now - changed_at >= 100, "changed {changed_at}, read {now}");
                    prop_assert_ne!(reads.last().map(|(_, read)| *read), Some(version));
                    prop_assert!(debounce.accept_read(&version));
                    reads.push((now, version));
                }
            }
        }
        let (read_at, read) = *reads.last().expect("something was read");
        prop_assert_eq!(read, version);
        prop_assert_eq!(debounce.unstable_since(), None);
        let longest = if last_is_event { 125 } else { resync + 100 };
        prop_assert!(read_at - changed_at <= longest, "changed {changed_at}, read {read_at}");
    }

    #[test]
    fn nothing_is_read_under_a_writer_before_the_limit_and_everything_is_read_in_time(
        writes in writes(),
    ) {
        const LIMIT: u64 = 1_000;
        let start = Instant::now();
        let mut debounce = Debounce::new(ms(100), ms(LIMIT));
        let end = writes.iter().map(|write| write.gap + write.open_for).sum::<u64>() + 2 * LIMIT;
        let mut events = writes.iter().scan(0, |at, write| {
            *at += write.gap;
            Some((*at, *at + write.open_for))
        }).peekable();

        let (mut version, mut changed_at, mut closed_at) = (0_usize, 0, 0);
        let (mut read, mut first_read_at, mut last_read_at) = (None, 0, 0);
        let mut unread_since = Some(0);
        let mut next_sample = Some(start);
        for now in 0..=end {
            let instant = start + ms(now);
            let mut is_event = now == closed_at;
            while let Some((_, close)) = events.next_if(|(at, _)| *at == now) {
                (version, changed_at, closed_at) = (version + 1, now, closed_at.max(close));
                unread_since.get_or_insert(now);
                is_event = true;
            }
            if is_event {
                let at = debounce.next_sample(instant);
                next_sample = Some(next_sample.map_or(at, |due| due.min(at)));
            }
            let unread_for = unread_since.map_or(0, |since| now - since);
            prop_assert!(unread_for <= LIMIT + 25, "unread for {unread_for} ms at {now}");
            if next_sample.take_if(|due| *due <= instant).is_none() {
                continue;
            }
            let writer = if now < closed_at { Writer::Open } else { Writer::Closed };
            let verdict = debounce.sample(instant, &version, writer);
            match verdict {
                Stability::Idle => {}
                Stability::WaitUntil(at) => next_sample = Some(at),
                Stability::Read | Stability::ReadAnyway => {
                    if verdict == Stability::Read {
                        prop_assert!(writer == Writer::Closed && now - changed_at >= 100);
                    } else {
                        next_sample = Some(instant + ms(25));
                    }
                    prop_assert!(debounce.accept_read(&version));
                    if read != Some(version) {
                        first_read_at = now;
                    }
                    (read, last_read_at, unread_since) = (Some(version), now, None);
                }
            }
        }
        prop_assert_eq!(read, Some(version));
        prop_assert_eq!(debounce.unstable_since(), None);
        let stable_at = closed_at.max(changed_at + 100);
        // A change may be detected 25 ms late. If the limit ends just before evenkeel would consider the
        // state stable, it is read then, and once more with the sample 25 ms later.
        prop_assert!(first_read_at <= stable_at + 25, "stable {stable_at}, read {first_read_at}");
        prop_assert!(last_read_at <= stable_at + 50, "stable {stable_at}, read {last_read_at}");
    }
}
