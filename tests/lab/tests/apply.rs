//! Applies specs with the libraries, without the program.

use evenkeel_engine::{
    ApplyOptions, HostKernel, Journalled, Kernel, NoopContext, Pass, ReadRequest, execute,
};
use evenkeel_model::{Desired, Live};
use evenkeel_plan::{Inputs, Op, PriorState, plan};
use evenkeel_spec::{Loaded, Source, load};
use proptest::prelude::*;

/// The result of a property in one case.
pub(crate) type Tested<T = ()> = Result<T, TestCaseError>;

/// Applies these keys as a spec whose scope is this whole namespace.
pub(crate) fn apply(keys: &str) {
    let text = format!("version: 1\nscope: all\n{keys}");
    let applied = read(&text).and_then(|loaded| apply_completely(&loaded.desired));
    applied.unwrap_or_else(|error| panic!("{error}\n{text}"));
}

pub(crate) fn read(text: &str) -> Tested<Loaded> {
    let loaded = load(&[Source::new("spec.yaml", text)]);
    loaded.map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))
}

/// Runs a whole pass over this namespace and asserts that nothing is left to do.
pub(crate) fn apply_completely(desired: &Desired) -> Tested {
    let mut kernel = HostKernel::connect(Journalled::default()).unwrap();
    let live = observe(desired);
    let steps = steps(desired, &live);
    let pass = Pass::new(desired, live, steps);
    let report = execute(&mut kernel, pass, ApplyOptions::default(), &mut NoopContext);
    prop_assert!(report.is_success(), "{report:#?}");
    prop_assert_eq!(self::steps(desired, &observe(desired)), []);
    Ok(())
}

/// Reads this namespace, with the sysctls that a spec names.
pub(crate) fn observe(named: &Desired) -> Live {
    let sysctls: ReadRequest = named.sysctls.keys().cloned().collect();
    HostKernel::connect(Journalled::default()).unwrap().observe(&sysctls).unwrap()
}

pub(crate) fn steps(desired: &Desired, live: &Live) -> Vec<Op> {
    plan(Inputs::new(desired, live, &PriorState::for_snapshot())).steps
}
