//! Tests the central property of a pass on random pairs of tables.

use evenkeel_lab_tests::property::{self, check};
use evenkeel_model::arbitrary::{Pair, pair, with_ignored_members};
use evenkeel_plan::Op;
use proptest::prelude::*;

use super::*;

/// The number of pairs without `EVENKEEL_LAB_CASES`. Each takes a tenth of a second, most of it to
/// start programs.
const CASES: u32 = 40;

/// Returns the number of cases for a property.
pub(super) fn cases() -> u32 {
    property::cases(CASES)
}

/// The count has no exceptions: where the kernel would justify more than one message for an object,
/// such as adding a service with another scheduler first, evenkeel does not do that.
#[test]
fn a_pass_reaches_the_desired_table_with_one_message_for_each_object_that_differs() {
    check(cases(), &pair(6), |pair| {
        let Pair { desired, live, operations, same_services, same_real_servers, .. } = pair;
        let mut kernel = host_with("");
        create_table(&mut kernel, &live.services);
        let observed = kernel.observe(&ReadRequest::new()).unwrap();
        prop_assert_eq!(&observed.services, &live.services);

        let steps = plan_of(&desired, &observed).steps;
        let mut capture = Capture::start();
        let report = carry_out(&mut kernel, Pass::new(&desired, observed, steps));
        let changes = capture.changes();
        prop_assert!(report.is_success(), "{report:?}");
        prop_assert_eq!(changes.len(), operations, "{:?}", changes);
        for change in &changes {
            let is_equal = match &change.object {
                Object::Service(key) => same_services.contains(key),
                Object::Destination(key, real_server) => {
                    same_real_servers.contains(&(*key, *real_server))
                }
                Object::Address(_) | Object::Link | Object::Other(_) => true,
            };
            prop_assert!(!is_equal, "{change:?} on what is equal on both sides");
        }

        let wanted = table(&desired);
        prop_assert_eq!(ipvsadm::save(), ipvsadm::saved(&wanted));
        prop_assert_eq!(ipvsadm::listed_thresholds(), ipvsadm::thresholds(&wanted));
        let live = kernel.observe(&ReadRequest::new()).unwrap();
        prop_assert_eq!(&live.services, &wanted);
        prop_assert_eq!(plan_of(&desired, &live).steps, []);
        Ok(())
    });
}

#[test]
fn real_servers_of_another_program_stay() {
    check(cases(), &with_ignored_members(6), |pair| {
        let mut kernel = host_with("");
        create_table(&mut kernel, &pair.live.services);
        let observed = kernel.observe(&ReadRequest::new()).unwrap();
        let steps = plan_of(&pair.desired, &observed).steps;
        let report = carry_out(&mut kernel, Pass::new(&pair.desired, observed, steps));
        prop_assert!(report.is_success(), "{report:?}");
        let live = kernel.observe(&ReadRequest::new()).unwrap();
        prop_assert_eq!(pair.check_members(&live), Ok(()));
        prop_assert_eq!(plan_of(&pair.desired, &live).steps, []);
        Ok(())
    });
}

/// Writes a table with `ipvsadm`, and only the thresholds that `ipvsadm` cannot write by netlink.
fn create_table(kernel: &mut HostKernel, table: &Table) {
    ipvsadm::restore(table);
    let edits: Vec<Op> = ipvsadm::beyond(table)
        .map(|(service, key, after)| {
            let before = RealServer { upper_threshold: 0, lower_threshold: 0, ..after };
            Op::EditRealServer { service, key, before: before.into(), after }
        })
        .collect();
    let exceptions = kernel.execute(&edits).unwrap().exceptions;
    assert!(exceptions.is_empty(), "{exceptions:?}");
}
