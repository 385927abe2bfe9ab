//! Tests the guard `wider-scope`: a spec with a lost or wider scope deletes no services of other
//! programs.

use super::*;

#[test]
fn a_snapshot_governs_listed_objects_and_none_added_later() {
    let fixture = Fixture::expiring(FOREIGN_SERVICE);
    let snapshot = fixture.done("snapshot");
    assert!(snapshot.contains("scope:\n  services:\n    - 203.0.113.1:80/tcp\n"), "{snapshot}");
    fixture.apply(&snapshot);
    run("ipvsadm -A -u 198.51.100.7:53");
    fixture.assert_in_sync("spec.yaml");
    // The scope is lost: services that the snapshot did not list still belong to others.
    fixture.write("spec.yaml", spec("", 1));
    let refused = refusals(&fixture, "");
    assert!(refused[0].starts_with("wider-scope: the spec has no `scope`"), "{refused:?}");
    assert_eq!(services(), 2);
}

#[test]
fn a_single_service_is_governed_and_its_neighbour_on_the_same_vip_is_not() {
    let rules = "-A -t 10.20.30.99:80 -s rr\n-A -u 10.20.30.99:53 -s rr\n";
    let fixture = Fixture::expiring(rules);
    let head = "version: 1\nscope: { services: [10.20.30.99:80/tcp] }\nvips: [ { address: 10.20.30.99, interface: eth0 } ]\nservices:\n";
    let web =
        "  - { name: web, vip: 10.20.30.99, port: 80, real_servers: [ { address: 10.0.0.1 } ] }\n";
    fixture.apply(&format!("{head}{web}"));
    assert_eq!(services(), 2);
    fixture.assert_in_sync("spec.yaml");
    fixture.write("spec.yaml", format!("{head}{}", web.replace("port: 80", "port: 81")));
    assert_eq!(fixture.evenkeel("apply --yes spec.yaml").status, 65, "outside its own scope");
}

#[test]
fn a_lost_scope_deletes_no_services_of_other_programs() {
    let fixture = Fixture::expiring(FOREIGN_SERVICE);
    std::fs::create_dir(fixture.path().join("conf")).unwrap();
    fixture.write("conf/00-scope.yaml", "version: 1\nscope: { vips: [192.0.2.0/24] }\n");
    fixture.write("conf/10-team.yaml", spec("", 5));
    fixture.done("apply --yes conf");
    let before = everything();
    std::fs::rename(
        fixture.path().join("conf/00-scope.yaml"),
        fixture.path().join("conf/00-scope.bak"),
    )
    .unwrap();
    let plan = fixture.evenkeel("plan conf");
    let line = "~ edit scope: vips 192.0.2.0/24 -> the whole table, as no `scope` is written, \
                which newly covers 1 live service\n";
    assert!(plan.stdout.starts_with(line), "{plan:?}");
    let answer = fixture.evenkeel("apply --yes conf");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("refused: guard wider-scope: "), "{answer:?}");
    assert_eq!(everything(), before);
    // A wider scope that changes nothing passes, and is the scope in force from then on.
    fixture.write(
        "conf/00-scope.yaml",
        "version: 1\nscope: { vips: [192.0.2.0/24, 198.51.100.0/24] }\n",
    );
    let plan = fixture.evenkeel("plan --detailed-exitcode conf");
    assert_eq!((plan.status, &*plan.stderr), (2, ""), "{plan:?}");
    fixture.done("apply --yes conf");
    fixture.assert_in_sync("conf");
}
