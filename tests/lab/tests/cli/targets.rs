//! Tests plans and applies for single services.

use super::*;

const SPEC: &str = "version: 1
scope: all
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: 192.0.2.2, interface: eth0 }
sysctls: { net.ipv4.vs.drop_entry: 1 }
defaults: { drain: 0s }
services:
  - { name: web, vip: 192.0.2.1, ports: [80, 443], real_servers: [ { address: 10.0.0.1 } ] }
  - { name: api, vip: 192.0.2.2, port: 80, real_servers: [ { address: 10.0.0.2 } ] }
  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, real_servers: [ { address: 10.0.0.3 } ] }
";

const WEB: &str = "-A -t 192.0.2.1:80 -s wlc
    -a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
    -A -t 192.0.2.1:443 -s wlc
    -a -t 192.0.2.1:443 -r 10.0.0.1:443 -g -w 1";
const API: &str = "-A -t 192.0.2.2:80 -s wlc
    -a -t 192.0.2.2:80 -r 10.0.0.2:80 -g -w 1";
const DNS: &str = "-A -u 192.0.2.1:53 -s wlc
    -a -u 192.0.2.1:53 -r 10.0.0.3:53 -g -w 1";
const FOREIGN_SERVICE: &str = "-A -t 203.0.113.1:80 -s rr
    -a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1";

fn assert_table(parts: &[&str]) {
    assert_eq!(ipvsadm::save(), lines(&parts.join("\n")));
}

fn drop_entry() -> String {
    run("cat /proc/sys/net/ipv4/vs/drop_entry").trim().to_owned()
}

#[test]
fn a_targeted_apply_changes_its_service_and_nothing_else() {
    let fixture = Fixture::new(&format!("{FOREIGN_SERVICE}\n"));
    fixture.write("spec.yaml", SPEC);
    let plan = fixture.done("plan spec.yaml --target web");
    assert!(plan.contains("Plan: 4 to add, 0 to edit, 0 to delete, 1 to bind"), "{plan}");
    fixture.done("apply --yes spec.yaml --target web");
    assert_table(&[FOREIGN_SERVICE, WEB]);
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0"));
    assert_eq!(drop_entry(), "0");
    assert!(fixture.done("plan spec.yaml --target web").starts_with("In sync; "));

    fixture.done("apply --yes spec.yaml --target api/192.0.2.2:80/tcp --target 192.0.2.1:53/udp");
    assert_table(&[FOREIGN_SERVICE, WEB, API, DNS]);
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0\n192.0.2.2/32 eth0"));
    let rest = fixture.evenkeel("plan spec.yaml");
    // No whole spec was applied yet.
    assert!(rest.stderr.contains("without --allow take-over"), "{rest:?}");
    let rest = rest.stdout;
    assert!(rest.contains("- delete service 203.0.113.1:80/tcp"), "{rest}");
    assert!(rest.contains("Plan: 0 to add, 1 to edit, 1 to delete; "), "{rest}");
}

#[test]
fn drift_of_other_services_is_not_repaired() {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    run("ipvsadm -e -u 192.0.2.1:53 -r 10.0.0.3:53 -g -w 9");
    run("ipvsadm -D -t 192.0.2.2:80");
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 9");
    run("ip addr del 192.0.2.2/32 dev eth0");
    run("sysctl -qw net.ipv4.vs.drop_entry=0");
    fixture.done("apply --yes spec.yaml --target web");
    assert_table(&[WEB, &DNS.replace("-w 1", "-w 9")]);
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0"));
    assert_eq!(drop_entry(), "0");
}

#[test]
fn a_removed_service_keeps_its_old_name_and_its_vip_is_unbound_with_the_last_service_on_it() {
    let fixture = Fixture::new("");
    fixture.apply(SPEC);
    let without = |name: &str, spec: &str| -> String {
        let start = format!("  - {{ name: {name}, ");
        spec.lines().filter(|line| !line.starts_with(&start)).map(|it| format!("{it}\n")).collect()
    };
    let left = without("dns", &without("web", SPEC));
    let left = left.replace("  - { address: 192.0.2.1, interface: eth0 }\n", "");
    fixture.write("spec.yaml", &left);
    fixture.done("apply --yes spec.yaml --target web");
    assert_table(&[API, DNS]);
    let both = "192.0.2.1/32 eth0\n192.0.2.2/32 eth0";
    assert_eq!(addresses(), lines(both), "dns is still there");
    fixture.done("apply --yes spec.yaml --target dns");
    assert_table(&[API]);
    assert_eq!(addresses(), lines("192.0.2.2/32 eth0"));
    // The last applied spec is still the whole one, so the names are still known.
    assert!(fixture.done("plan spec.yaml --target web").starts_with("In sync; "));
    fixture.done("apply --yes spec.yaml");
    assert_eq!(
        fixture.evenkeel("plan spec.yaml --target web").status,
        64,
        "its service no longer exists"
    );
}

#[test]
fn an_unknown_target_is_reported_with_similar_names() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC);
    for command in ["plan spec.yaml", "apply --yes spec.yaml", "plan spec.yaml --live none"] {
        let answer = fixture.evenkeel(&format!("{command} --target wbe"));
        assert_eq!((answer.status, &*answer.stdout), (64, ""), "{answer:?}");
        assert!(
            answer.stderr.contains("no service of this host is called `wbe`; there is `web`"),
            "{answer:?}"
        );
    }
    assert_table(&[""]);
    let plan = fixture.done("plan spec.yaml --live none --target api");
    assert!(plan.contains("Plan: 2 to add, 0 to edit, 0 to delete, 1 to bind"), "{plan}");
}

#[test]
fn guards_judge_a_targeted_apply() {
    let fixture = Fixture::new("");
    let services =
        |weight: u8| SPEC.replace("10.0.0.2 }", &format!("10.0.0.2, weight: {weight} }}"));
    fixture.apply(&services(1));
    fixture.write("spec.yaml", services(0));
    let answer = fixture.evenkeel("apply --yes spec.yaml --target api");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("guard no-server"), "{answer:?}");
    fixture.done("apply --yes spec.yaml --target web");
    fixture.done("apply --yes spec.yaml --target api --allow no-server");
    assert_table(&[WEB, DNS, &API.replace("-w 1", "-w 0")]);
}

#[test]
fn a_saved_plan_for_a_target_is_applied_to_it_alone() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC);
    assert_eq!(fixture.evenkeel("plan spec.yaml --target api --out plan").status, 0);
    // It does not depend on the other services.
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    fixture.done("apply --plan plan");
    assert_table(&[FOREIGN_SERVICE, API]);
}

#[test]
fn partial_applies_are_recorded() {
    let fixture = Fixture::expiring("");
    let two = SPEC.replace("[ { address: 10.0.0.2 } ]", "[ { address: 10.0.0.2, weight: 5 } ]");
    fixture.apply(SPEC);
    fixture.write("two.yaml", &two);
    fixture.done("apply --yes two.yaml --target api");
    // The spec differs from the one applied there; the host is unchanged since.
    let plan = fixture.done("plan spec.yaml");
    assert!(plan.contains("weight 5 -> 1") && !plan.contains("# drift"), "{plan}");
    run("ipvsadm -e -t 192.0.2.2:80 -r 10.0.0.2:80 -g -w 9");
    let plan = fixture.done("plan two.yaml --target api");
    assert!(plan.contains("weight 9 -> 5 # drift"), "{plan}");
}

#[test]
fn a_teardown_deletes_services_that_only_a_targeted_apply_added() {
    let fixture = Fixture::expiring(&format!("{FOREIGN_SERVICE}\n"));
    fixture.write("spec.yaml", SPEC);
    fixture.done("apply --yes spec.yaml --target api");
    assert_table(&[FOREIGN_SERVICE, API]);
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stdout.contains("- delete service api/192.0.2.2:80/tcp"), "{answer:?}");
    assert_table(&[FOREIGN_SERVICE]);
    assert_eq!(addresses(), BTreeSet::new());
}
