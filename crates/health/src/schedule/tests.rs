use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use evenkeel_model::check::Kind;

const MS: Duration = Duration::from_millis(1);

fn check() -> Check {
    Check { interval: 2000 * MS, fast: 500 * MS, ..Check::new(Kind::Icmp) }
}

fn ids(count: u64) -> Vec<CheckId> {
    (0..count).map(CheckId::made).collect()
}

fn at(millis: u32) -> Moment {
    Moment(MS * millis)
}

/// Starts whatever is due, each millisecond from one to another, and ends it after `takes`.
fn play(
    schedule: &mut Schedule,
    from: u32,
    to: u32,
    takes: u32,
    pace: Pace,
) -> Vec<(CheckId, u32, Duration)> {
    let mut starts = Vec::new();
    let mut ends: BTreeSet<(u32, CheckId)> = BTreeSet::new();
    for now in from..to {
        while ends.first().is_some_and(|(end, _)| *end <= now) {
            let (_, id) = ends.pop_first().unwrap();
            assert!(schedule.finished(id, pace, at(now)));
        }
        while let Some(due) = schedule.start(at(now)) {
            starts.push((due.id, now, due.late));
            ends.insert((now + takes, due.id));
        }
    }
    starts
}

#[test]
fn starts_follow_each_other_by_the_interval() {
    let mut schedule = Schedule::new(100);
    let id = CheckId::made(1);
    schedule.add(id, &check(), at(0));
    let starts = play(&mut schedule, 0, 60_000, 300, Pace::Normal);
    assert!(starts[0].1 < 1000);
    assert!((30..=33).contains(&starts.len()), "{}", starts.len());
    for pair in starts[1..].windows(2) {
        let apart = pair[1].1 - pair[0].1;
        assert!((1799..=2001).contains(&apart), "{apart} ms");
    }
    assert!(starts.iter().all(|it| it.2 < PUNCTUAL));
}

#[test]
fn without_jitter_they_are_exact() {
    let mut schedule = Schedule::new(100);
    let exact = Check { jitter: 0, ..check() };
    schedule.add(CheckId::made(1), &exact, at(0));
    let starts = play(&mut schedule, 0, 60_000, 300, Pace::Normal);
    assert!(starts[1..].windows(2).all(|pair| pair[1].1 - pair[0].1 == 2000));
}

#[test]
fn an_open_verdict_is_probed_by_the_fast_interval() {
    let mut schedule = Schedule::new(100);
    schedule.add(CheckId::made(1), &check(), at(0));
    let starts = play(&mut schedule, 0, 10_000, 100, Pace::Fast);
    assert!(starts.windows(2).all(|pair| pair[1].1 - pair[0].1 == 500));
    // A probe that takes longer than that is followed at once.
    let mut schedule = Schedule::new(100);
    schedule.add(CheckId::made(1), &check(), at(0));
    let starts = play(&mut schedule, 0, 10_000, 1000, Pace::Fast);
    assert!(starts.windows(2).all(|pair| pair[1].1 - pair[0].1 == 1000));
}

#[test]
fn probes_are_spread_over_the_interval() {
    let mut schedule = Schedule::new(10_000);
    for id in ids(2000) {
        schedule.add(id, &check(), at(0));
    }
    let starts = play(&mut schedule, 0, 12_000, 5, Pace::Normal);
    let mut each_tenth = [0_u32; 120];
    for (_, now, _) in &starts {
        each_tenth[(*now / 100) as usize] += 1;
    }
    // 105 are due in each tenth of a second.
    let busiest = each_tenth[20..].iter().max().unwrap();
    let calmest = each_tenth[20..].iter().min().unwrap();
    assert!((60..150).contains(busiest) && *calmest > 55, "{each_tenth:?}");
}

#[test]
fn checks_that_stay_keep_their_phase() {
    let mut one = Schedule::new(100);
    let mut other = Schedule::new(100);
    let id = CheckId::made(7);
    one.add(id, &check(), at(0));
    other.add(id, &check(), at(0));
    let mut starts = play(&mut one, 0, 30_000, 10, Pace::Normal);
    let mut changed = play(&mut other, 0, 10_000, 10, Pace::Normal);
    for more in ids(5) {
        other.add(more, &check(), at(10_000));
    }
    other.add(id, &check(), at(10_000));
    changed.extend(play(&mut other, 10_000, 30_000, 10, Pace::Normal));
    let of = |starts: &mut Vec<(CheckId, u32, Duration)>| {
        starts.retain(|it| it.0 == id);
        starts.iter().map(|it| it.1).collect::<Vec<_>>()
    };
    assert_eq!(of(&mut starts), of(&mut changed));
    // The grid is fixed in time: a restart has the same one.
    let mut restarted = Schedule::new(100);
    restarted.add(id, &check(), at(12_345));
    let again = play(&mut restarted, 12_345, 30_000, 10, Pace::Normal);
    assert_eq!(again.last().unwrap().1, starts.last().unwrap().1);
}

#[test]
fn a_late_event_loop_makes_late_checks_and_skips_what_has_passed() {
    let mut schedule = Schedule::new(100);
    for id in ids(50) {
        schedule.add(id, &check(), at(0));
    }
    play(&mut schedule, 0, 4000, 10, Pace::Normal);
    // Nothing is served for eleven seconds.
    let starts = play(&mut schedule, 15_000, 17_300, 10, Pace::Normal);
    let first: Vec<_> = starts.iter().filter(|it| it.1 == 15_000).collect();
    assert!(first.len() >= 48 && first.iter().all(|it| it.2 > 8 * 1000 * MS));
    let mut count: HashMap<CheckId, u32> = HashMap::new();
    starts.iter().for_each(|it| *count.entry(it.0).or_default() += 1);
    assert!(count.values().all(|it| (1..=3).contains(it)), "{count:?}");
}

#[test]
fn a_thousand_checks_share_few_places_and_all_have_their_turn() {
    let mut schedule = Schedule::new(64);
    for id in ids(1000) {
        schedule.add(id, &check(), at(0));
    }
    // All targets are dark: each probe takes its whole second. 64 a second are possible, 500 wanted.
    let starts = play(&mut schedule, 0, 40_000, 1000, Pace::Normal);
    assert_eq!(schedule.running(), 64);
    assert_eq!(schedule.next(), None);
    let mut count: HashMap<CheckId, u32> = HashMap::new();
    starts.iter().for_each(|it| *count.entry(it.0).or_default() += 1);
    assert_eq!(count.len(), 1000);
    assert!(count.values().all(|it| (2..=3).contains(it)), "{:?}", count.values().max());
}

#[test]
fn a_removed_check_that_runs_keeps_its_place_and_counts_no_more() {
    let mut schedule = Schedule::new(1);
    let (one, other) = (CheckId::made(1), CheckId::made(2));
    schedule.add(one, &check(), at(0));
    assert_eq!(schedule.start(at(2000)).unwrap().id, one);
    schedule.remove(one);
    assert!(!schedule.contains(one));
    schedule.add(other, &check(), at(2000));
    assert_eq!(schedule.start(at(4000)), None);
    assert!(!schedule.finished(one, Pace::Normal, at(4000)));
    assert_eq!(schedule.start(at(4000)).unwrap().id, other);
    assert!(schedule.finished(other, Pace::Normal, at(4010)));
    schedule.remove(other);
    assert_eq!(schedule.next(), None);
}

#[test]
fn one_that_is_hurried_starts_now() {
    let mut schedule = Schedule::new(9);
    let id = CheckId::made(1);
    schedule.add(id, &check(), at(0));
    schedule.start(at(1000)).unwrap();
    schedule.hurry(id, at(1001));
    schedule.finished(id, Pace::Normal, at(1010));
    schedule.hurry(id, at(1020));
    assert_eq!(schedule.next(), Some(at(1020)));
    assert_eq!(schedule.start(at(1020)), Some(Due { id, late: Duration::ZERO }));
}

/// What happens to a schedule.
#[derive(Debug, Clone)]
enum Step {
    Add(u64),
    Remove(u64),
    Start,
    Finish(usize, bool),
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        (0..6_u64).prop_map(Step::Add),
        (0..6_u64).prop_map(Step::Remove),
        Just(Step::Start),
        (0..4_usize, any::<bool>()).prop_map(|(which, fast)| Step::Finish(which, fast)),
        (0..3000_u32).prop_map(Step::Wait),
    ];
    proptest::collection::vec(one, 0..100)
}

proptest! {
    #[test]
    fn no_check_runs_twice_or_is_lost(limit in 1..4_usize, steps in steps()) {
        let mut schedule = Schedule::new(limit);
        let mut wanted = BTreeSet::new();
        let mut running: Vec<CheckId> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Add(number) => {
                    schedule.add(CheckId::made(number), &check(), at(now));
                    wanted.insert(CheckId::made(number));
                }
                Step::Remove(number) => {
                    schedule.remove(CheckId::made(number));
                    wanted.remove(&CheckId::made(number));
                }
                Step::Start => if let Some(due) = schedule.start(at(now)) {
                    prop_assert!(!running.contains(&due.id));
                    prop_assert!(wanted.contains(&due.id));
                    running.push(due.id);
                },
                Step::Finish(which, fast) => if which < running.len() {
                    let id = running.remove(which);
                    let pace = if fast { Pace::Fast } else { Pace::Normal };
                    prop_assert_eq!(schedule.finished(id, pace, at(now)), wanted.contains(&id));
                },
                Step::Wait(millis) => now += millis,
            }
            prop_assert_eq!(schedule.running(), running.len());
            prop_assert!(running.len() <= limit);
            // Each one that is wanted and does not run has a time, within its interval and jitter.
            for id in &wanted {
                prop_assert!(schedule.contains(*id));
                if !running.contains(id) {
                    let slot = &schedule.slots[id];
                    prop_assert!(schedule.due.contains(&(slot.scheduled, *id)));
                    prop_assert!(slot.scheduled <= at(now) + check().interval * 2);
                }
            }
        }
    }
}
