//! Tests the daemon with a spec whose scope no longer covers what evenkeel made.

use super::*;

/// Two services on VIPs in the scope.
const WHOLE: &str = "version: 1
scope: { vips: [192.0.2.0/24] }
guards: { mass_delete: off }
vips: [ { address: 192.0.2.1, interface: eth0 }, { address: 192.0.2.2, interface: eth0 } ]
services:
  - { name: one, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 } ] }
  - { name: two, vip: 192.0.2.2, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.2 } ] }
";

fn narrowed(answer: &str) -> String {
    format!(
        "version: 1
scope: {{ vips: [192.0.2.1]{answer} }}
guards: {{ mass_delete: off }}
vips: [ {{ address: 192.0.2.1, interface: eth0 }} ]
services:
  - {{ name: one, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ {{ address: 10.0.0.1 }} ] }}
"
    )
}

fn is_bound(address: &str) -> bool {
    run("ip -o addr show dev eth0").contains(&format!(" {address}/32 "))
}

#[test]
fn a_narrower_scope_is_held_and_the_active_spec_is_enforced_meanwhile() {
    let host = Host::new();
    let _daemon = host.watching(WHOLE, "--interval 1s");
    host.write("spec.yaml", narrowed(""));
    host.wait_for_state("held");
    let (_, stdout, _) = host.evenkeel("status");
    assert!(stdout.contains("guard left-scope"), "{stdout}");
    run("ip addr del 192.0.2.2/32 dev eth0");
    assert!(within(Duration::from_secs(3), || is_bound("192.0.2.2")));
    host.write("spec.yaml", narrowed(", left: remove"));
    host.wait_for_state("ok");
    assert!(within(REPORTED, || !is_bound("192.0.2.2") && !table().contains("C0000202")));
    assert!(is_bound("192.0.2.1"));
}

#[test]
fn what_is_kept_is_not_repaired_any_more() {
    for answer in [", left: keep", ""] {
        let host = Host::new();
        let daemon = host.watching(WHOLE, "--interval 1s");
        host.write("spec.yaml", narrowed(answer));
        if answer.is_empty() {
            host.wait_for_state("held");
            let id = host.status()["spec"]["held"]["id"].as_str().unwrap().to_owned();
            let (code, stdout, stderr) = host.evenkeel(&format!("approve {id}"));
            assert_eq!(code, 0, "{stdout}{stderr}");
        }
        assert!(within(Duration::from_secs(10), || daemon.log().contains("generation=2")));
        host.wait_for_state("ok");
        assert!(is_bound("192.0.2.2") && table().contains("C0000202"));
        run("ip addr del 192.0.2.2/32 dev eth0");
        std::thread::sleep(Duration::from_secs(2));
        assert!(!is_bound("192.0.2.2"));
        host.wait_for_state("ok");
        run("ip addr add 192.0.2.2/32 dev eth0");
        // Neither a new daemon nor a teardown touches it.
        drop(daemon);
        let daemon = host.watch("specs/spec.yaml", "--interval 1s");
        host.wait_for_state("ok");
        drop(daemon);
        assert_eq!(host.evenkeel("teardown --yes").0, 0);
        assert!(is_bound("192.0.2.2") && table().contains("C0000202"));
        assert!(!is_bound("192.0.2.1") && !table().contains("C0000201"));
    }
}
