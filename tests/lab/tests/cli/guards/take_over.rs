//! Tests the guard `take-over`: the first apply in a namespace deletes no unlisted object.

use super::*;

#[test]
fn the_first_apply_deletes_no_unlisted_service_and_a_later_one_does() {
    let fixture = Fixture::expiring(FOREIGN_SERVICE);
    fixture.write("spec.yaml", spec("", 1));
    assert_holds(
        &fixture,
        "take-over",
        "nothing was applied here before, and the spec has no `scope`, so it governs the whole \
         table: this plan would delete 1 live object that it does not list (service \
         203.0.113.1:80/tcp); list them, or narrow `scope` to what is the spec's own",
    );
    yields(&fixture, "take-over");
    assert_eq!(services(), 1);
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    let plan = fixture.evenkeel("plan spec.yaml");
    assert_eq!((plan.status, &*plan.stderr), (0, ""), "an apply is on record");
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn a_first_apply_that_finds_everything_in_place_is_recorded_too() {
    let fixture =
        Fixture::expiring("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n");
    fixture.apply(&spec("", 1));
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn the_first_apply_deletes_no_unlisted_service_whatever_scope_the_spec_has() {
    for scope in ["all", "{ vips: [192.0.2.0/24, 203.0.113.1] }"] {
        let fixture = Fixture::expiring(FOREIGN_SERVICE);
        fixture.write("spec.yaml", spec(&format!("scope: {scope}\n"), 1));
        assert_eq!(refusals(&fixture, "").len(), 1, "{scope}");
        yields(&fixture, "take-over");
        assert_eq!(services(), 1, "{scope}");
    }
    for scope in ["{ vips: [192.0.2.0/24] }", "{ services: [192.0.2.1:80/tcp] }"] {
        let fixture = Fixture::expiring(FOREIGN_SERVICE);
        fixture.apply(&spec(&format!("scope: {scope}\n"), 1));
        assert_eq!(services(), 2, "{scope}");
    }
}
