//! Beside another writer, which changes the table after a plan is made and before it is applied.

use std::collections::BTreeMap;
use std::hash::RandomState;

use evenkeel_control::{LockError, LockGuard};
use evenkeel_engine::{KernelError, Outcome, Replies, TableDigest};
use evenkeel_host::Capability;
use evenkeel_lab_tests::run;
use evenkeel_model::Binding;
use evenkeel_model::statistics::Statistics;
use evenkeel_plan::Op;

use super::*;

/// A kernel that someone else changes just before it is first written to.
struct Beside {
    kernel: HostKernel,
    rules: Option<&'static str>,
}

impl Kernel for Beside {
    type LockGuard = LockGuard;

    fn lock() -> Result<LockGuard, LockError> {
        HostKernel::lock()
    }

    fn try_lock() -> Result<Option<LockGuard>, LockError> {
        HostKernel::try_lock()
    }

    fn has_capability(&self, capability: Capability) -> bool {
        self.kernel.has_capability(capability)
    }

    fn silent_interfaces(&mut self) -> Result<BTreeSet<Box<str>>, KernelError> {
        self.kernel.silent_interfaces()
    }

    fn set_journalled(&mut self, bindings: BTreeSet<Binding>) {
        self.kernel.set_journalled(bindings);
    }

    fn observe(&mut self, sysctls: &Sysctls) -> Result<Live, KernelError> {
        self.kernel.observe(sysctls)
    }

    fn observe_with_statistics(
        &mut self,
        sysctls: &Sysctls,
    ) -> Result<(Live, Statistics), KernelError> {
        self.kernel.observe_with_statistics(sysctls)
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        self.kernel.services(keys)
    }

    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError> {
        self.kernel.services_with_statistics(keys)
    }

    fn read_namespace(&mut self, sysctls: &Sysctls, live: &mut Live) -> Result<(), KernelError> {
        self.kernel.read_namespace(sysctls, live)
    }

    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        for rule in self.rules.take().unwrap_or_default().lines() {
            run(rule);
        }
        self.kernel.execute(ops)
    }

    fn reannounce(&mut self, vips: &[&Binding]) -> Result<Vec<String>, KernelError> {
        self.kernel.reannounce(vips)
    }

    fn digest_table(&mut self, keys: &RandomState) -> Result<TableDigest, KernelError> {
        self.kernel.digest_table(keys)
    }
}

/// Applies to a table while someone else runs those commands, and asserts that the spec prevails.
fn prevails(before: &str, desired: &Desired, meanwhile: &'static str) -> Vec<Outcome> {
    let mut kernel = Beside { kernel: host_with(before), rules: Some(meanwhile) };
    let report = apply(&mut kernel, desired);
    assert!(report.is_success(), "{report:?}");
    assert_in_place(&mut kernel, desired);
    report.iter().map(|done| done.outcome.clone()).collect()
}

fn web(scheduler: &str, weight: u32) -> Desired {
    let real_servers = [("198.51.100.1:80", dr(weight)), ("198.51.100.2:80", dr(weight))];
    spec([(tcp("192.0.2.1:80"), service(config(scheduler), real_servers))])
}

const WEB: &str = "-A -t 192.0.2.1:80 -s wrr
                   -a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1
                   -a -t 192.0.2.1:80 -r 198.51.100.2:80 -g -w 1";

#[test]
fn what_another_program_adds_first_gets_the_values_of_the_spec() {
    let outcomes = prevails(
        "",
        &web("wrr", 5),
        "ipvsadm -A -t 192.0.2.1:80 -s rr -p 100
         ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 3 -x 7",
    );
    // The service and one real server are there already, and then both are edited.
    let [exists, applied] = [Outcome::AlreadyInPlace, Outcome::Applied];
    assert_eq!(outcomes, [exists.clone(), exists, applied.clone(), applied.clone(), applied]);
}

#[test]
fn what_another_program_adds_first_with_the_same_values_is_in_place() {
    let outcomes = prevails("", &web("wrr", 1), "ipvsadm -A -t 192.0.2.1:80 -s wrr");
    assert_eq!(outcomes, [Outcome::AlreadyInPlace, Outcome::Applied, Outcome::Applied]);
}

#[test]
fn a_real_server_that_another_program_deletes_first_is_added_again() {
    prevails(WEB, &web("wrr", 5), "ipvsadm -d -t 192.0.2.1:80 -r 198.51.100.1:80");
}

#[test]
fn a_service_that_another_program_deletes_first_is_added_again() {
    prevails(WEB, &web("rr", 5), "ipvsadm -D -t 192.0.2.1:80");
}

#[test]
fn deleting_what_another_program_deleted_is_no_failure() {
    let outcomes = prevails(WEB, &spec([]), "ipvsadm -D -t 192.0.2.1:80");
    assert_eq!(outcomes, [Outcome::AlreadyInPlace]);
    let one = spec([(tcp("192.0.2.1:80"), service(config("wrr"), [("198.51.100.2:80", dr(1))]))]);
    let outcomes = prevails(WEB, &one, "ipvsadm -d -t 192.0.2.1:80 -r 198.51.100.1:80");
    assert_eq!(outcomes, [Outcome::AlreadyInPlace]);
}

#[test]
fn a_vip_that_another_program_binds_first_is_theirs() {
    let mut kernel =
        Beside { kernel: host_with(""), rules: Some("ip addr add 192.0.2.1/32 dev d0") };
    run("ip link add d0 up type dummy");
    let vip = evenkeel_model::Binding::host([192, 0, 2, 1].into(), "d0");
    let desired = Desired { vips: [(vip, Default::default())].into(), ..spec([]) };
    let report = apply(&mut kernel, &desired);
    assert!(report.is_success(), "{report:?}");
    assert_eq!(report.iter().next().unwrap().outcome, &Outcome::AlreadyInPlace);
    assert!(apply(&mut kernel, &spec([])).is_empty(), "it is not unbound");
}
