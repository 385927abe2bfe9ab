//! Injects a fault at every step of many plans: nothing is lost, and the report is correct.

use super::tests::{apply, check_with, plan_of};
use super::*;
use crate::fake_kernel::{FakeKernel, Fault};
use evenkeel_model::arbitrary::{Pair, populated};
use evenkeel_plan::Object;
use proptest::prelude::*;
use rustix::io::Errno;
use std::cell::Cell;

const FAULTS: [Fault; 10] = [
    Fault::Refuse(Errno::EXIST),
    Fault::Refuse(Errno::NOENT),
    Fault::Refuse(Errno::SRCH),
    Fault::Refuse(Errno::INVAL),
    Fault::Refuse(Errno::NOMEM),
    Fault::Refuse(Errno::NOBUFS),
    Fault::Refuse(Errno::PERM),
    Fault::Unschedule,
    Fault::LoseReply,
    Fault::Vanish,
];

/// Whether the live state is as the spec asks.
fn is_desired(live: &Live, desired: &Desired) -> bool {
    plan_of(desired, live).is_in_sync()
}

/// The value of an object, for comparison.
fn value(live: &Live, object: &Object) -> String {
    match object {
        Object::Service(key) => format!("{:?}", live.services.get(key).map(|it| &it.config)),
        Object::RealServer(service, key) => {
            let service = live.services.get(service);
            format!("{:?}", service.and_then(|it| it.real_servers.get(key)))
        }
        Object::Vip(binding) => {
            format!("{:?} {:?}", live.addresses.get(binding), live.labels.get(binding))
        }
        Object::Host(object) => format!("{:?}", live.host_objects.get(object)),
        Object::Sysctl(key) => format!("{:?}", live.sysctls.get(key)),
        Object::Timeouts => format!("{:?}", live.timeouts),
        Object::Sync(state) => format!("{:?}", live.sync.get(state)),
        Object::Dummy(name) => format!("{:?}", live.links.as_ref().and_then(|it| it.get(name))),
        Object::Module(_) => String::new(),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that counts its cases says how many")]
fn after_a_failure_of_any_step_the_state_is_the_one_before_or_the_desired_one() {
    let cases = Cell::new(0_u32);
    check_with(200, populated(6), |pair| {
        let Pair { desired, live: before, .. } = pair;
        let steps = plan_of(&desired, &before).steps;
        let sent = steps.iter().filter(|op| !is_already_draining(op)).count();
        for failing in 0..sent {
            for fault in FAULTS {
                cases.set(cases.get() + 1);
                let mut kernel = FakeKernel::new(before.clone());
                kernel.faults.insert(failing, fault);
                let report = apply(&mut kernel, &desired);
                // The kernel is reachable again for the next apply.
                let lost_kernel = std::mem::take(&mut kernel.is_unreachable);
                if report.is_success() {
                    prop_assert!(
                        is_desired(&kernel.live, &desired),
                        "{fault:?} at {failing}: reported as done, but is not"
                    );
                } else if lost_kernel {
                    prop_assert!(report.error.is_some(), "{fault:?} at {failing}");
                } else {
                    prop_assert_eq!(&kernel.live, &before, "{:?} at {}", fault, failing);
                    let clean = report.rollback.as_ref().is_none_or(crate::Rollback::is_clean);
                    prop_assert!(clean, "{fault:?} at {failing}: {report:?}");
                    prop_assert_eq!(report.count("failed"), 1);
                }
                for done in report.iter() {
                    let object = done.op.object();
                    let now = value(&kernel.live, &object);
                    match done.outcome {
                        Outcome::Undone | Outcome::Failed(_) => {
                            prop_assert_eq!(now, value(&before, &object), "{:?}", done);
                        }
                        Outcome::Applied if report.is_success() => {
                            let wanted = evenkeel_plan::simulate(&before, &steps);
                            prop_assert_eq!(now, value(&wanted, &object), "{:?}", done);
                        }
                        _ => {}
                    }
                }
                kernel.faults.clear();
                let report = apply(&mut kernel, &desired);
                prop_assert!(report.is_success(), "the next apply: {report:?}");
                prop_assert!(is_desired(&kernel.live, &desired));
            }
        }
        Ok(())
    });
    println!("fault sweep: {} cases of 200 plans, none lost", cases.get());
    assert!(cases.get() > 10_000, "only {} cases", cases.get());
}

#[test]
fn with_keep_a_failure_leaves_what_was_applied_and_deletes_nothing() {
    check_with(300, populated(6), |pair| {
        let Pair { desired, live, .. } = pair;
        let steps = plan_of(&desired, &live).steps;
        for failing in 0..steps.iter().filter(|op| !is_already_draining(op)).count() {
            let mut kernel = FakeKernel::new(live.clone());
            kernel.faults.insert(failing, Fault::Refuse(Errno::NOMEM));
            let options = ApplyOptions { on_failure: OnFailure::Keep, ..ApplyOptions::default() };
            let pass = super::tests::pass(&desired, live.clone(), steps.clone());
            let report = execute(&mut kernel, pass, options, &mut crate::NoopContext);
            prop_assert!(report.rollback.is_none());
            if !report.is_success() {
                prop_assert_eq!(report.count("failed"), 1);
                prop_assert_eq!(report.count("undone"), 0);
            }
            let report = apply(&mut kernel, &desired);
            prop_assert!(report.is_success());
        }
        Ok(())
    });
}

#[test]
fn a_failed_rollback_reports_exactly_what_differs_from_before() {
    check_with(300, populated(6), |pair| {
        let Pair { desired, live, .. } = pair;
        let steps = plan_of(&desired, &live).steps;
        let sent = steps.iter().filter(|op| !is_already_draining(op)).count();
        let Some(last) = sent.checked_sub(1).filter(|last| *last > 0) else {
            return Ok(());
        };
        let mut kernel = FakeKernel::new(live.clone());
        // The last step fails, and so does every operation after it.
        for number in last..last + 1_000 {
            kernel.faults.insert(number, Fault::Refuse(Errno::NOMEM));
        }
        let report = apply(&mut kernel, &desired);
        prop_assert!(!report.is_success());
        let rollback = report.rollback.expect("something was applied");
        prop_assert!(!rollback.is_clean());
        prop_assert!(!rollback.refused.is_empty());
        let simulated = evenkeel_plan::simulate(&kernel.live, &rollback.remaining);
        prop_assert_eq!(&simulated, &live);
        Ok(())
    });
}
