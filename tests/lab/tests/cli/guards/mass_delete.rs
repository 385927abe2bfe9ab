//! Tests the guard `mass-delete` and its thresholds.

use super::*;

#[test]
fn a_spec_of_the_same_size_for_another_cluster_is_a_mass_deletion() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("scope: all\n", 6));
    fixture
        .write("spec.yaml", spec("scope: all\n", 6).replace("vip: 192.0.2.", "vip: 198.51.100."));
    let message = "mass-delete: 0 of 6 live services would be left (mass_delete: 50%)";
    assert_eq!(refusals(&fixture, "--allow missing-file"), [message]);
    assert_eq!(refusals(&fixture, "").len(), 2, "it lists other addresses, too");
    // Replacing all real servers is not refused.
    fixture.write("spec.yaml", spec("scope: all\n", 6).replace("10.0.0.1 ", "10.0.0.77 "));
    fixture.done("apply --yes spec.yaml");
}

#[test]
fn a_spec_cannot_loosen_the_guard_that_judges_it() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("scope: all\n", 5));
    fixture.write("spec.yaml", spec("scope: all\nguards: { mass_delete: off }\n", 1));
    let message = "1 of 5 live services would be left (mass_delete: 50%, from the spec in \
                   force; off, from this spec, applies from the next one on)";
    assert_eq!(refusals(&fixture, ""), [format!("mass-delete: {message}")]);
    let loose = |services| spec("scope: all\nguards: { mass_delete: off }\n", services);
    fixture.write("spec.yaml", loose(5));
    applies_looser_guards(&fixture);
    fixture.apply(&loose(1));
    assert_eq!(services(), 1);
}

#[test]
fn a_spec_with_less_than_half_is_refused_until_it_is_allowed() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("", 5));
    fixture.write("spec.yaml", spec("", 2));
    let message = "2 of 5 live services would be left (mass_delete: 50%)";
    assert_holds(&fixture, "mass-delete", message);
    yields(&fixture, "mass-delete");
    assert_eq!(services(), 2);
    fixture.apply(&spec("", 1));
    assert_eq!(services(), 1, "so few services are below the threshold");
}

#[test]
fn the_spec_sets_the_thresholds_of_a_mass_deletion() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("", 5));
    let falls = |guards: &str, services| {
        fixture.write("spec.yaml", spec(&format!("guards: {{ {guards} }}\n"), services));
    };
    falls("mass_delete: 90%", 4);
    let message = "4 of 5 live services would be left (mass_delete: 90%)";
    assert_holds(&fixture, "mass-delete", message);
    falls("mass_delete: 80%", 4);
    fixture.done("apply --yes spec.yaml");
    // Looser thresholds apply from the next spec on.
    falls("mass_delete: 40%, mass_delete_from: 5", 1);
    assert_eq!(fixture.evenkeel("apply --yes spec.yaml").status, 3);
    falls("mass_delete: 40%, mass_delete_from: 5", 4);
    applies_looser_guards(&fixture);
    falls("mass_delete: 40%, mass_delete_from: 5", 1);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);

    fixture.apply(&spec("", 3));
    falls("mass_delete_from: 3", 1);
    let message = "1 of 3 live services would be left (mass_delete: 50%)";
    assert_holds(&fixture, "mass-delete", message);
    falls("mass_delete_from: 3, mass_delete: off", 3);
    applies_looser_guards(&fixture);
    falls("mass_delete_from: 3, mass_delete: off", 1);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}
