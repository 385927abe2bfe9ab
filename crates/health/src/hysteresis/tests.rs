use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::outcome::Fault;
use evenkeel_model::check::{Flap, Kind};

fn check(rise: u32, fall: u32) -> Check {
    Check {
        rise: NonZeroU32::new(rise).unwrap(),
        fall: NonZeroU32::new(fall).unwrap(),
        ..Check::new(Kind::Icmp)
    }
}

fn flapping(changes: u32) -> Check {
    let flap = Flap {
        changes: NonZeroU32::new(changes).unwrap(),
        within: Duration::from_secs(100),
        hold: Duration::from_secs(50),
    };
    Check { flap: Some(flap), ..check(1, 1) }
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn failed() -> Outcome {
    Failure::Refused.into()
}

fn unknown() -> Outcome {
    Fault::Descriptors.into()
}

/// `p`, `f` and `u`, one a second; the verdict after each as `U` or `D`.
fn verdicts(state: &mut Hysteresis, check: &Check, from: u64, results: &str) -> String {
    (from..)
        .zip(results.chars())
        .map(|(second, result)| {
            let outcome = match result {
                'p' => Outcome::Passed,
                'f' => failed(),
                _ => unknown(),
            };
            let before = state.verdict();
            let transition = state.record(check, at(second), &outcome);
            assert_eq!(transition.is_some(), before != state.verdict());
            assert!(transition.is_none_or(|it| it.at == at(second) && it.to == state.verdict()));
            match state.verdict() {
                Verdict::Up => 'U',
                Verdict::Down => 'D',
            }
        })
        .collect()
}

#[test]
fn so_many_in_a_row_decide() {
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    let check = check(2, 3);
    assert_eq!(verdicts(&mut state, &check, 1, "pffpfff"), "UUUUUUD");
    assert_eq!(state.since(), at(7));
    assert_eq!(verdicts(&mut state, &check, 8, "pfpp"), "DDDU");
    assert_eq!(state.since(), at(11));
}

#[test]
fn what_is_unknown_counts_as_nothing() {
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    let check = check(2, 3);
    assert_eq!(verdicts(&mut state, &check, 1, "puuuuuuu"), "UUUUUUUU");
    assert_eq!(verdicts(&mut state, &check, 9, "fufuf"), "UUUUD");
    assert_eq!(verdicts(&mut state, &check, 20, "upup"), "DDDU");
}

#[test]
fn a_new_server_is_down_until_a_pass() {
    let check = check(2, 3);
    let mut state = Hysteresis::assumed(Verdict::Down, at(0));
    assert_eq!(verdicts(&mut state, &check, 1, "up"), "DU");
    // After a failure of its own, it needs as many as any other.
    let mut state = Hysteresis::assumed(Verdict::Down, at(0));
    assert_eq!(verdicts(&mut state, &check, 1, "fpp"), "DDU");
}

#[test]
fn what_is_assumed_up_goes_down_as_any_other() {
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    assert_eq!(verdicts(&mut state, &check(2, 3), 1, "fff"), "UUD");
}

#[test]
fn a_changed_check_keeps_its_verdict_until_its_results() {
    let check = check(3, 2);
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    verdicts(&mut state, &check, 1, "pff");
    let mut changed = state.carried();
    assert_eq!((changed.verdict(), changed.since()), (Verdict::Down, at(3)));
    assert_eq!((changed.basis(), changed.pace()), (Basis::Carried, Pace::Fast));
    assert_eq!(verdicts(&mut changed, &check, 4, "up"), "DU");
    let mut changed = changed.carried();
    assert_eq!(verdicts(&mut changed, &check, 9, "uff"), "UUD");
}

#[test]
fn probes_are_fast_while_the_verdict_is_open() {
    let check = check(2, 2);
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    let mut paces = String::new();
    for (second, result) in (1..).zip("pfuffupupp".chars()) {
        verdicts(&mut state, &check, second, &result.to_string());
        paces.push(match state.pace() {
            Pace::Fast => '!',
            Pace::Normal => '.',
        });
    }
    // p: decided. f u: open. f f: down. u: nothing. p u: open. p: up. p.
    assert_eq!(paces, ".!!...!!..");
}

#[test]
fn a_flapping_target_is_held_down_from_its_last_rise() {
    let check = flapping(4);
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    assert_eq!(verdicts(&mut state, &check, 1, "pfpfp"), "UDUDD");
    assert_eq!(state.held_until(), Some(at(55)));
    assert_eq!(state.pace(), Pace::Normal);
    assert_eq!(verdicts(&mut state, &check, 6, "pfp"), "DDD");
    assert_eq!(state.release(&check, at(54)), None);
    let transition = state.release(&check, at(55)).unwrap();
    assert_eq!((transition.to, transition.at), (Verdict::Up, at(55)));
    // The count begins anew.
    assert_eq!(verdicts(&mut state, &check, 56, "fpf"), "DUD");
    assert_eq!(state.held_until(), None);
}

#[test]
fn a_target_that_fails_at_the_end_of_its_hold_stays_down() {
    let check = flapping(2);
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    assert_eq!(verdicts(&mut state, &check, 1, "fp"), "DD");
    assert_eq!(verdicts(&mut state, &check, 10, "f"), "D");
    assert_eq!(state.release(&check, at(52)), None);
    assert_eq!((state.verdict(), state.held_until()), (Verdict::Down, None));
    assert_eq!(verdicts(&mut state, &check, 60, "p"), "U");
}

#[test]
fn a_pass_ends_an_old_hold_too() {
    let check = flapping(2);
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    assert_eq!(verdicts(&mut state, &check, 1, "fp"), "DD");
    assert_eq!(verdicts(&mut state, &check, 52, "p"), "U");
}

#[test]
fn changes_long_ago_are_forgotten() {
    let check = flapping(3);
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    assert_eq!(verdicts(&mut state, &check, 1, "fp"), "DU");
    assert_eq!(verdicts(&mut state, &check, 102, "fp"), "DU");
    assert_eq!(verdicts(&mut state, &check, 110, "fp"), "DD");
}

#[test]
fn the_state_survives_being_stored() {
    let check = flapping(2);
    let mut state = Hysteresis::assumed(Verdict::Up, at(0));
    verdicts(&mut state, &check, 1, "pfp");
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<Hysteresis>(&text).unwrap(), state);
}

/// The verdict by the whole history: of the newest run of results that is long enough to decide.
fn model(first: Verdict, check: &Check, history: &[Outcome]) -> Verdict {
    let known: Vec<bool> = history
        .iter()
        .filter(|it| !matches!(it, Outcome::Unknown(_)))
        .map(Outcome::is_pass)
        .collect();
    for end in (1..=known.len()).rev() {
        let all = |count: u32, wanted: bool| {
            let count = count as usize;
            end >= count && known[end - count..end].iter().all(|it| *it == wanted)
        };
        if all(check.fall.get(), false) {
            return Verdict::Down;
        }
        if all(check.rise.get(), true) {
            return Verdict::Up;
        }
    }
    match known.first() {
        Some(true) => Verdict::Up,
        _ => first,
    }
}

fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
    let one = prop_oneof![
        4 => Just(Outcome::Passed),
        4 => Just(failed()),
        1 => Just(unknown()),
    ];
    proptest::collection::vec(one, 0..60)
}

proptest! {
    #[test]
    fn the_verdict_is_that_of_the_model(
        rise in 1..5_u32, fall in 1..5_u32, up: bool, results in outcomes(),
    ) {
        let first = if up { Verdict::Up } else { Verdict::Down };
        let check = check(rise, fall);
        let mut state = Hysteresis::assumed(first, at(0));
        for (index, outcome) in results.iter().enumerate() {
            state.record(&check, at(index as u64 + 1), outcome);
            prop_assert_eq!(state.verdict(), model(first, &check, &results[..=index]));
        }
    }

    #[test]
    fn a_restart_at_any_point_changes_nothing(
        rise in 1..4_u32, fall in 1..4_u32, results in outcomes(), cut in 0..60_usize,
    ) {
        let check = Check { flap: flapping(4).flap, ..check(rise, fall) };
        let mut whole = Hysteresis::assumed(Verdict::Up, at(0));
        let mut restarted = whole.clone();
        for (index, outcome) in results.iter().enumerate() {
            if index == cut {
                let text = serde_json::to_string(&restarted).unwrap();
                restarted = serde_json::from_str(&text).unwrap();
            }
            let now = at(index as u64 * 2);
            prop_assert_eq!(whole.record(&check, now, outcome), restarted.record(&check, now, outcome));
        }
        prop_assert_eq!(whole, restarted);
    }

    #[test]
    fn a_flapping_target_changes_no_more_often_than_allowed(
        changes in 2..6_u32, results in outcomes(),
    ) {
        let check = flapping(changes);
        let mut state = Hysteresis::assumed(Verdict::Up, at(0));
        let mut seen = Vec::new();
        for (index, outcome) in results.iter().enumerate() {
            let now = at(index as u64);
            seen.extend(state.release(&check, now));
            seen.extend(state.record(&check, now, outcome));
        }
        // Failures always count; every run of `changes` transitions that ends with a rise took longer
        // than the hold.
        for window in seen.windows(changes as usize) {
            let last = window.last().unwrap();
            if last.to == Verdict::Up {
                prop_assert!(last.at.since(window[0].at) >= Duration::from_secs(50));
            }
        }
    }
}
