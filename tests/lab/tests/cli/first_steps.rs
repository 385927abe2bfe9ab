//! Tests adoption as a new user does it: a table created by hand, a snapshot of it, one edit, and a
//! teardown.

use super::*;

/// A table maintained by hand: every protocol, both families and marks.
const BY_HAND: &str = "-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1
-A -t 192.0.2.1:443 -s wlc -p 300
-a -t 192.0.2.1:443 -r 10.0.0.1:8443 -m -w 1
-A -u 192.0.2.53:53 -s rr -o
-a -u 192.0.2.53:53 -r 10.0.0.3:53 -g -w 1
-A --sctp-service 192.0.2.1:2905 -s wlc
-a --sctp-service 192.0.2.1:2905 -r 10.0.0.4:2905 -g -w 1
-A -t [2001:db8::1]:80 -s sh -b sh-fallback
-a -t [2001:db8::1]:80 -r [2001:db8:1::1]:80 -g -w 2
-A -f 7 -s mh
-a -f 7 -r 10.0.0.5:0 -i -w 1 --tun-type ipip
-A -f 7 -6 -s lc
-a -f 7 -6 -r [2001:db8:1::2]:0 -g -w 1
";

/// Addresses bound by hand.
const ADDRESSES: [&str; 2] = ["192.0.2.1/24", "2001:db8::1/64"];

/// Creates a host with this table and these addresses; also returns the table as `ipvsadm -Sn`
/// prints it.
fn host() -> (Fixture, String) {
    let fixture = Fixture::new(BY_HAND);
    for address in ADDRESSES {
        run(&format!("ip address add {address} dev eth0"));
    }
    (fixture, run("ipvsadm -Sn"))
}

/// Runs `evenkeel snapshot > spec.yaml`, and returns the text.
fn snapshot(fixture: &Fixture) -> String {
    let text = fixture.done("snapshot");
    fixture.write("spec.yaml", &text);
    text
}

/// Gives the real server 10.0.0.1:80, the first of weight 3, another weight.
fn edit_one_weight(fixture: &Fixture, text: &str) {
    assert_eq!(text.matches("weight: 3").count(), 1, "{text}");
    fixture.write("spec.yaml", text.replace("weight: 3", "weight: 5"));
}

#[test]
fn a_table_made_by_hand_is_byte_for_byte_the_same_after_an_edit_and_a_teardown() {
    let (fixture, start) = host();
    let bound = addresses();
    let text = snapshot(&fixture);
    fixture.assert_in_sync("spec.yaml");
    edit_one_weight(&fixture, &text);
    let plan = fixture.done("plan spec.yaml");
    let (steps, counts) = plan.split_once("Plan: ").unwrap();
    assert_eq!(steps.lines().count(), 1, "{plan}");
    assert!(steps.starts_with("~ edit real server 10.0.0.1:80") && steps.contains("weight 3 -> 5"));
    assert!(counts.starts_with("0 to add, 1 to edit, 0 to delete"), "{plan}");
    assert_eq!(run("ipvsadm -Sn"), start, "a plan changes nothing");
    fixture.done("apply --yes spec.yaml");
    assert_eq!(run("ipvsadm -Sn"), start.replace("10.0.0.1:80 -g -w 3", "10.0.0.1:80 -g -w 5"));
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(run("ipvsadm -Sn"), start, "{answer:?}");
    assert_eq!(addresses(), bound);
    // A second teardown has nothing to undo, and the host can be adopted again.
    assert_eq!(fixture.evenkeel("teardown --yes").status, 0);
    assert_eq!(run("ipvsadm -Sn"), start);
    snapshot(&fixture);
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_snapshot_applied_as_it_is_and_torn_down_changes_nothing() {
    let (fixture, start) = host();
    snapshot(&fixture);
    assert!(fixture.done("apply --yes spec.yaml").starts_with("In sync; "));
    assert_eq!(fixture.evenkeel("teardown --yes").status, 0);
    assert_eq!(run("ipvsadm -Sn"), start);
}

#[test]
fn services_added_after_the_snapshot_are_not_governed() {
    let (fixture, start) = host();
    let text = snapshot(&fixture);
    run("ipvsadm -A -t 192.0.2.200:25 -s rr");
    run("ipvsadm -A -t 192.0.2.1:8080 -s rr");
    let with_unlisted = run("ipvsadm -Sn");
    assert!(fixture.done("apply --yes spec.yaml").starts_with("In sync; "));
    edit_one_weight(&fixture, &text);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(fixture.evenkeel("teardown --yes").status, 0);
    assert_eq!(run("ipvsadm -Sn"), with_unlisted);
    run("ipvsadm -D -t 192.0.2.200:25");
    run("ipvsadm -D -t 192.0.2.1:8080");
    assert_eq!(run("ipvsadm -Sn"), start);
}

#[test]
fn drift_of_an_adopted_object_is_repaired_and_a_teardown_still_leaves_it() {
    let (fixture, start) = host();
    let text = snapshot(&fixture);
    fixture.done("apply --yes spec.yaml");
    // Drift in an adopted object is repaired like any other.
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 9");
    fixture.done("apply --yes spec.yaml");
    assert_eq!(run("ipvsadm -Sn"), start);
    edit_one_weight(&fixture, &text);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(fixture.evenkeel("teardown --yes").status, 0);
    assert_eq!(run("ipvsadm -Sn"), start);
}
