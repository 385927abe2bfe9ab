//! What two owners ask for with the same value: the last one of them restores or removes it.

use evenkeel_lab_tests::run;

use super::{Listed, host_with, spec, sysctl};
use crate::cli::Fixture;

const FORWARD: &str = "net.ipv4.ip_forward";
const ETH0: &str = "net.ipv4.conf.eth0.forwarding";
const LO: &str = "net.ipv4.conf.lo.forwarding";

/// The orders in which both leave.
const ORDERS: [[&str; 2]; 2] = [["web", "dns"], ["dns", "web"]];

#[test]
fn a_sysctl_with_side_effects_stays_until_the_last_owner_leaves() {
    for order in ORDERS {
        let fixture = Fixture::new("");
        run(&format!("sysctl -qw {FORWARD}=0"));
        let values = || [FORWARD, ETH0, LO].map(sysctl);
        let before = values();
        assert_eq!(before, ["0", "0", "0"]);
        for (owner, half) in [("web", 1), ("dns", 2)] {
            let more = format!("sysctls: {{ {FORWARD}: 1 }}\n");
            fixture.write(&format!("{owner}.yaml"), spec(owner, half, &more));
            fixture.done(&format!("apply --yes {owner}.yaml"));
        }
        assert_eq!(values(), ["1", "1", "1"]);
        // It leaves the spec of the first.
        let half = if order[0] == "web" { 1 } else { 2 };
        fixture.write("spec.yaml", spec(order[0], half, ""));
        fixture.done("apply --yes spec.yaml");
        assert_eq!(values(), ["1", "1", "1"], "{order:?}");
        fixture.done(&format!("teardown --yes --owner {}", order[1]));
        assert_eq!(values(), before, "{order:?}");
        fixture.done("teardown --yes");
        assert_eq!(values(), before, "{order:?}");
    }
}

#[test]
fn what_one_sets_with_the_master_of_the_other_stays() {
    for order in ORDERS {
        let fixture = Fixture::new("");
        run(&format!("sysctl -qw {FORWARD}=0"));
        let values = || [FORWARD, ETH0, LO].map(sysctl);
        for (owner, half, key) in [("dns", 2, ETH0), ("web", 1, FORWARD)] {
            let more = format!("sysctls: {{ {key}: 1 }}\n");
            fixture.write(&format!("{owner}.yaml"), spec(owner, half, &more));
            fixture.done(&format!("apply --yes {owner}.yaml"));
        }
        fixture.done(&format!("teardown --yes --owner {}", order[0]));
        let left = if order[0] == "web" { ["0", "1", "0"] } else { ["1", "1", "1"] };
        assert_eq!(values(), left, "{order:?}");
        fixture.done("teardown --yes");
        assert_eq!(values(), ["0", "0", "0"], "{order:?}");
    }
    let fixture = host_with(&[("dns", 2, format!("sysctls: {{ {ETH0}: 0 }}\n"))]);
    fixture.write("web.yaml", spec("web", 1, &format!("sysctls: {{ {FORWARD}: 1 }}\n")));
    let answer = fixture.evenkeel("apply --yes web.yaml");
    assert_eq!(answer.status, 3, "{answer:?}");
    let words = format!("owner dns sets sysctl {ETH0} to 0, and this spec sets {FORWARD} to 1");
    assert!(answer.stderr.contains(&words), "{answer:?}");
}

#[test]
fn a_dummy_device_of_both_is_deleted_with_the_last_owner() {
    for order in ORDERS {
        let fixture = Fixture::new("");
        let before = Listed::now();
        for (owner, half) in [("web", 1), ("dns", 2)] {
            let text = spec(owner, half, "").replace("eth0 }", "vips, dummy: true }");
            fixture.write(&format!("{owner}.yaml"), text);
            fixture.done(&format!("apply --yes {owner}.yaml"));
        }
        let other = Listed::of_half(if order[0] == "web" { 2 } else { 1 });
        assert_eq!(other.addresses.len(), 2);
        fixture.done(&format!("teardown --yes --owner {}", order[0]));
        assert_eq!(Listed::of_half(if order[0] == "web" { 2 } else { 1 }), other, "{order:?}");
        fixture.done(&format!("teardown --yes --owner {}", order[1]));
        assert_eq!(Listed::now(), before, "{order:?}");
    }
}
