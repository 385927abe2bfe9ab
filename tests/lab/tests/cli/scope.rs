//! Objects out of the spec's scope survive every command.

use super::*;

const FOREIGN_SERVICES: &str = "-A -t 198.51.100.1:80 -s rr
    -a -t 198.51.100.1:80 -r 10.0.0.9:80 -g -w 7
    -A -f 5 -s wlc
    -a -f 5 -r 10.0.0.9:0 -i -w 1 --tun-type ipip
    ";

const SPEC: &str = "version: 1
scope: { vips: [192.0.2.0/24], fwmarks: [1-4] }
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: 192.0.2.2, interface: eth0 } # bound by another program already
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

const EMPTIED: &str = "version: 1
scope: { vips: [192.0.2.0/24], fwmarks: [1-4] }
services: []
";

const FOREIGN: &str = "192.0.2.2/24 eth0
    192.0.2.3/32 eth0
    198.51.100.1/32 eth0
    2001:db8::3/128 eth0";

#[test]
fn a_service_out_of_scope_and_an_address_of_others_survive_every_command() {
    let fixture = Fixture::new(FOREIGN_SERVICES);
    for address in ["192.0.2.2/24", "192.0.2.3/32", "198.51.100.1/32", "2001:db8::3/128"] {
        run(&format!("ip addr add {address} dev eth0"));
    }
    assert_eq!(addresses(), lines(FOREIGN));
    fixture.write("spec.yaml", SPEC);
    fixture.write("emptied.yaml", EMPTIED);
    let ours = "-A -t 192.0.2.1:80 -s wlc
        -a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1";
    for (command, status, is_applied) in [
        ("validate spec.yaml", 0, false),
        ("plan spec.yaml", 0, false),
        ("plan emptied.yaml", 0, false),
        ("show", 0, false),
        ("show spec.yaml", 0, false),
        ("snapshot", 0, false),
        ("snapshot --names spec.yaml", 0, false),
        ("apply --yes spec.yaml", 0, true),
        ("apply --yes spec.yaml", 0, true),
        ("plan emptied.yaml", 0, true),
        ("apply --yes emptied.yaml", 3, true),
        ("apply --yes --allow empty emptied.yaml", 0, false),
        ("apply --yes --allow empty,take-over,mass-delete emptied.yaml", 0, false),
        ("apply --yes spec.yaml", 0, true),
    ] {
        let answer = fixture.evenkeel(command);
        assert_eq!(answer.status, status, "{command}: {answer:?}");
        let (table, bound) = if is_applied { (ours, "192.0.2.1/32 eth0") } else { ("", "") };
        assert_eq!(ipvsadm::save(), lines(&format!("{FOREIGN_SERVICES}\n{table}")), "{command}");
        assert_eq!(addresses(), lines(&format!("{FOREIGN}\n{bound}")), "{command}");
    }
}

#[test]
fn objects_out_of_scope_are_shown_as_a_count_only() {
    let fixture = Fixture::new(FOREIGN_SERVICES);
    fixture.write("spec.yaml", SPEC);
    let plan = fixture.done("plan spec.yaml");
    assert!(plan.ends_with("; out of scope: 2 services.\n"), "{plan}");
    assert!(!plan.contains("198.51.100.1"), "{plan}");
    let diff = fixture.done("plan spec.yaml --output diff");
    assert!(!diff.contains("198.51.100.1"), "{diff}");
}

#[test]
fn an_address_is_unbound_only_if_evenkeel_bound_it() {
    let fixture = Fixture::new("");
    fixture.apply(&SPEC.replace(" # bound by another program already", ""));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0\n192.0.2.2/32 eth0"));
    run("ip addr add 192.0.2.7/32 dev eth0");
    fixture.apply(&SPEC.replace("192.0.2.2,", "192.0.2.4,"));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0\n192.0.2.4/32 eth0\n192.0.2.7/32 eth0"));
}

#[test]
fn an_address_bound_by_evenkeel_is_recognised_without_the_journal() {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    std::fs::remove_dir_all(fixture.path().join("state")).unwrap();
    fixture.apply(&SPEC.replace("  - { address: 192.0.2.2, interface: eth0 }", ""));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0"));
}
