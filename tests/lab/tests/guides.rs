//! Tests the classic guides: each cluster is set up twice, once by the guide's own commands and once
//! by `evenkeel apply` of one spec on every host. Both have the same addresses, routes, sysctls and
//! table, except for listed differences, and both carry traffic as the guide says.
//!
//! | guide | about | here |
//! |---|---|---|
//! | G1 | direct routing behind a router; the same with ARP rules on the real servers, and with a static entry on the router | `g1`, `g1_arptables`, `g1_entry` |
//! | G2 | direct routing on one network, weights, no port mapping | `g2` |
//! | G3 | direct routing, NAT, full NAT and tunnels side by side | `g3_dr`, `g3_nat`, `g3_full_nat`, `g3_tun` |
//! | G4 | what direct routing needs | `g4` |
//! | G5 | several network interfaces on one network, or on a public and a private one | `g5`, `g5_stolen` |
//!
//! `doctor` misconfigures each of them, `arp` shows what the real servers' part of direct routing is for.

mod arp;
mod doctor;
mod g1;
mod g1_arptables;
mod g1_entry;
mod g2;
mod g3_dr;
mod g3_full_nat;
mod g3_nat;
mod g3_tun;
mod g4;
mod g5;
mod g5_stolen;
mod site;
mod state;
pub(crate) mod wire;

use site::{Guide, HostCommands, Site, Way};
use state::{Difference, State, assert_agree};
use wire::Wire;

/// Asserts that two real servers answer in turn.
fn assert_alternating(answers: &[String]) {
    let [first, second, ..] = answers else { panic!("two answers of {answers:?}") };
    let mut names = [first.as_str(), second.as_str()];
    names.sort_unstable();
    assert_eq!(names, ["rs1", "rs2"], "{answers:?}");
    for pair in answers.windows(3) {
        assert_eq!(pair[0], pair[2], "{answers:?}");
    }
}

/// Returns the number of answers of `rs1`.
fn of_rs1(answers: &[String]) -> usize {
    answers.iter().filter(|name| *name == "rs1").count()
}

/// Sets both clusters up, tests them with `check`, and compares their states at its end.
fn compare(guide: &Guide, check: impl Fn(&Site), differences: &[Difference]) {
    let [by_hand, by_evenkeel] = [Way::Commands, Way::Evenkeel].map(|way| {
        let site = Site::build(guide, way);
        site.set_up();
        check(&site);
        if way == Way::Evenkeel {
            site.assert_in_sync();
        }
        site.state()
    });
    assert_agree(&by_hand, &by_evenkeel, differences);
}

/// Sets both clusters up and takes the real servers' part away again, by a script of the guide and by
/// `evenkeel teardown`. Returns the real servers' states before and after, of either way.
fn stop_real_servers(guide: &Guide, script: &str) -> [BeforeAndAfter; 2] {
    [Way::Commands, Way::Evenkeel].map(|way| {
        let site = Site::build(guide, way);
        let of_real_servers =
            || site.state().into_iter().filter(|line| line.starts_with("rs")).collect();
        let before = of_real_servers();
        site.set_up();
        for host in ["rs1", "rs2"] {
            match way {
                Way::Commands => drop(site.run(host, script)),
                Way::Evenkeel => site.tear_down(host),
            }
        }
        BeforeAndAfter { before, after: of_real_servers() }
    })
}

struct BeforeAndAfter {
    before: State,
    after: State,
}
