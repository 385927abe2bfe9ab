//! Truncates the last applied spec at every byte and asserts that no truncated spec changes
//! anything. The lab tests the program with the same texts on a real kernel.

use evenkeel_model::{Desired, Live};
use evenkeel_plan::{Guard, Inputs, Plan, PriorState, cut_off, plan, simulate};
use evenkeel_spec::{Source, load};

const SERVICES_FIRST: &str = include_str!("cut_off/services_first.yaml");
const SERVICES_LAST: &str = include_str!("cut_off/services_last.yaml");

/// A host on which a spec of some texts was applied.
struct Applied<'a> {
    texts: &'a [&'a str],
    last: Desired,
    live: Live,
    record: PriorState,
}

/// Counts truncated specs by their result.
#[derive(Debug, Default, PartialEq, Eq)]
struct Endings {
    /// Invalid specs.
    bad: usize,
    /// Valid specs that request something else and are refused.
    refused: usize,
    /// Valid specs that request the same state.
    in_sync: usize,
}

impl<'a> Applied<'a> {
    fn new(texts: &'a [&'a str]) -> Self {
        let last = load(&sources(texts)).expect("it is good").desired;
        let before = Live::default();
        let steps = plan(Inputs::new(&last, &before, &PriorState::default())).steps;
        let live = simulate(&before, &steps);
        let record = PriorState { applied: true, timeouts: last.timeouts, ..PriorState::default() };
        let applied = Self { texts, last, live, record };
        assert!(applied.plan(texts).expect("it is good").is_in_sync());
        applied
    }

    /// Returns the plan for other texts, or `None` if they are not a valid spec.
    fn plan(&self, texts: &[&str]) -> Option<Plan> {
        let sources = sources(texts);
        let desired = load(&sources).ok()?.desired;
        let named: Vec<(&str, &[u8])> =
            sources.iter().map(|source| (&*source.name, &*source.text)).collect();
        let before = self::sources(self.texts);
        let before: Vec<(&str, &[u8])> =
            before.iter().map(|source| (&*source.name, &*source.text)).collect();
        Some(plan(Inputs {
            last: Some(&self.last),
            cut_off: cut_off(&named, &before).as_ref(),
            ..Inputs::new(&desired, &self.live, &self.record)
        }))
    }

    /// Truncates one of the texts at every byte.
    fn cut(&self, which: usize) -> Endings {
        let mut endings = Endings::default();
        let mut texts = self.texts.to_vec();
        for end in 0..self.texts[which].len() {
            texts[which] = &self.texts[which][..end];
            match self.plan(&texts) {
                None => endings.bad += 1,
                Some(plan) if plan.is_in_sync() => endings.in_sync += 1,
                Some(plan) => {
                    // This guard refuses the plan even if all others are overridden.
                    let others = Guard::ALL.into_iter().filter(|guard| *guard != Guard::CutOff);
                    let others: Vec<Guard> = others.collect();
                    let rest = &texts[which][texts[which].rfind('\n').unwrap_or(0)..];
                    assert_eq!(plan.refused(&others).count(), 1, "at {end}: {rest:?}");
                    endings.refused += 1;
                }
            }
        }
        endings
    }
}

fn sources(texts: &[&str]) -> Vec<Source> {
    let named = |(number, text): (usize, &&str)| Source::new(number.to_string(), *text);
    texts.iter().enumerate().map(named).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that counts its cases says how many")]
fn a_spec_truncated_at_any_byte_changes_nothing() {
    for text in [SERVICES_FIRST, SERVICES_LAST] {
        let endings = Applied::new(&[text]).cut(0);
        println!("{} bytes: {endings:?}", text.len());
        let Endings { bad, refused, in_sync } = endings;
        assert_eq!(bad + refused + in_sync, text.len());
        assert!(bad > 100 && refused > 20 && in_sync > 0, "each of them is put to the test");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that counts its cases says how many")]
fn a_spec_with_one_truncated_file_changes_nothing() {
    let at = SERVICES_LAST.find("  - name: marked").expect("it is there");
    let (one, other) = SERVICES_LAST.split_at(at);
    let other = format!("version: 1\nservices:\n{other}");
    let texts = [one, &other];
    let applied = Applied::new(&texts);
    for (which, text) in texts.iter().enumerate() {
        let Endings { bad, refused, in_sync } = applied.cut(which);
        println!("text {which}: {bad} bad, {refused} refused, {in_sync} in sync");
        assert_eq!(bad + refused + in_sync, text.len());
        assert!(refused > 20);
    }
}
