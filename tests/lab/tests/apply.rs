//! A spec put in force by the libraries, without the program.

use std::collections::BTreeSet;

use evenkeel_engine::{HostKernel, Kernel, Pass, Sysctls, execute};
use evenkeel_plan::{Inputs, Record, plan};
use evenkeel_spec::{Source, load};

/// A whole pass over this namespace, after which nothing is left to do. The keys are those of a
/// spec that governs all of it.
pub(crate) fn apply(keys: &str) {
    let text = format!("version: 1\nscope: all\n{keys}");
    let loaded = load(&[Source::new("spec.yaml", &*text)]);
    let desired = loaded.unwrap_or_else(|problems| panic!("{text}: {problems}")).desired;
    let mut kernel = HostKernel::connect(BTreeSet::new()).unwrap();
    let record = &Record::of_a_snapshot();
    let live = kernel.observe(&Sysctls::new()).unwrap();
    let steps = plan(Inputs { desired: &desired, live: &live, record }).steps;
    let pass = Pass { desired: &desired, record, live, steps };
    let report = execute(&mut kernel, pass).unwrap();
    assert!(report.is_success(), "{text}: {report:?}");
    let live = kernel.observe(&Sysctls::new()).unwrap();
    assert_eq!(plan(Inputs { desired: &desired, live: &live, record }).steps, [], "{text}");
}
