//! Tests passes while another program changes the table after the plan is made and before it is
//! applied.

use evenkeel_engine::{KernelError, Outcome, Replies};
use evenkeel_lab_tests::run;
use evenkeel_plan::Op;

use super::*;
use crate::hooked_kernel::{HookedKernel, Hooks};

/// Commands of another program, which run just before the first write to the kernel.
struct Disturbance(Option<&'static str>);

impl Hooks for Disturbance {
    fn execute(&mut self, kernel: &mut HostKernel, ops: &[Op]) -> Result<Replies, KernelError> {
        for command in self.0.take().unwrap_or_default().lines() {
            run(command);
        }
        kernel.execute(ops)
    }
}

fn disturbed(kernel: HostKernel, commands: &'static str) -> HookedKernel<Disturbance> {
    HookedKernel { kernel, hooks: Disturbance(Some(commands)) }
}

/// Applies to a table while another program runs these commands, asserts that the spec prevails,
/// and returns the outcomes.
fn prevails(before: &str, desired: &Desired, meanwhile: &'static str) -> Vec<Outcome> {
    let mut kernel = disturbed(host_with(before), meanwhile);
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
fn an_object_that_another_program_adds_first_gets_the_values_of_the_spec() {
    let outcomes = prevails(
        "",
        &web("wrr", 5),
        "ipvsadm -A -t 192.0.2.1:80 -s rr -p 100
         ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 3 -x 7",
    );
    // The service and one real server exist already; both are edited in a second round.
    let [exists, applied] = [Outcome::AlreadyInPlace, Outcome::Applied];
    assert_eq!(outcomes, [exists.clone(), exists, applied.clone(), applied.clone(), applied]);
}

#[test]
fn an_object_that_another_program_adds_first_with_the_same_values_is_in_place() {
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
fn deleting_an_object_that_another_program_deleted_is_no_failure() {
    let outcomes = prevails(WEB, &spec([]), "ipvsadm -D -t 192.0.2.1:80");
    assert_eq!(outcomes, [Outcome::AlreadyInPlace]);
    let one = spec([(tcp("192.0.2.1:80"), service(config("wrr"), [("198.51.100.2:80", dr(1))]))]);
    let outcomes = prevails(WEB, &one, "ipvsadm -d -t 192.0.2.1:80 -r 198.51.100.1:80");
    assert_eq!(outcomes, [Outcome::AlreadyInPlace]);
}

#[test]
fn a_vip_that_another_program_binds_first_belongs_to_it() {
    let mut kernel = disturbed(host_with(""), "ip addr add 192.0.2.1/32 dev d0");
    run("ip link add d0 up type dummy");
    let vip = evenkeel_model::Binding::host([192, 0, 2, 1].into(), "d0");
    let desired = Desired { vips: [(vip, Default::default())].into(), ..spec([]) };
    let report = apply(&mut kernel, &desired);
    assert!(report.is_success(), "{report:?}");
    assert_eq!(report.iter().next().unwrap().outcome, &Outcome::AlreadyInPlace);
    assert!(apply(&mut kernel, &spec([])).is_empty(), "it is not unbound");
}
