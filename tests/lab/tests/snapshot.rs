//! A snapshot loses nothing: it plans empty where it was taken, and makes an empty host the same.

use std::collections::BTreeSet;

use evenkeel_engine::{HostKernel, Kernel, Pass, Sysctls, execute};
use evenkeel_model::{Desired, Live, Scope};
use evenkeel_plan::{Inputs, Op, Record, plan};
use evenkeel_spec::{Source, WriteInput, load, write};
use proptest::prelude::*;

mod others;
mod specs;

/// How many cases, unless `EVENKEEL_LAB_CASES` says: each makes two or three namespaces.
const CASES: u32 = 50;

type Tested<T = ()> = Result<T, TestCaseError>;

/// A desired state that governs the whole table and is silent about all else.
fn everything() -> Desired {
    Desired { scope: Scope::All, ..Desired::default() }
}

fn loaded(text: &str) -> Tested<evenkeel_spec::Loaded> {
    let loaded = load(&[Source::new("snapshot.yaml", text)]);
    loaded.map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))
}

/// This namespace, with the sysctls that a spec names.
fn observe(named: &Desired) -> Live {
    let sysctls: Sysctls = named.sysctls.keys().cloned().collect();
    HostKernel::connect(BTreeSet::new()).unwrap().observe(&sysctls).unwrap()
}

fn steps(desired: &Desired, live: &Live) -> Vec<Op> {
    plan(Inputs { desired, live, record: &Record::of_a_snapshot() }).steps
}

/// A whole pass over this namespace, after which nothing is left to do.
fn apply(desired: &Desired) -> Tested {
    let mut kernel = HostKernel::connect(BTreeSet::new()).unwrap();
    let live = observe(desired);
    let steps = steps(desired, &live);
    let record = &Record::of_a_snapshot();
    let report = execute(&mut kernel, Pass { desired, record, live, steps }).unwrap();
    prop_assert!(report.is_success(), "{report:#?}");
    prop_assert_eq!(self::steps(desired, &observe(desired)), []);
    Ok(())
}

/// The text of a snapshot of this namespace.
fn snapshot(named: &Desired, pooled: bool) -> String {
    let live = observe(named);
    let mut input = WriteInput::of_live(&live, named);
    if pooled {
        input = input.pooled();
    }
    input.observe(&live);
    write(&input)
}

/// Asserts that a snapshot of this namespace plans empty here, and against itself.
fn assert_plans_empty(text: &str) -> Tested<Desired> {
    let loaded = loaded(text)?;
    let desired = loaded.desired.clone();
    prop_assert_eq!(steps(&desired, &observe(&desired)), [], "{}", text);
    prop_assert_eq!(steps(&desired, &loaded.into_live()), [], "against itself: {}", text);
    Ok(desired)
}
