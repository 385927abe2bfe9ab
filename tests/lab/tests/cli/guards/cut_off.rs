//! Tests the guards `empty` and `cut-off`: specs that may not have been written completely.

use super::*;

#[test]
fn an_empty_spec_is_refused_until_it_is_allowed() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("scope: all\n", 1));
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    fixture.write("spec.yaml", spec("scope: all\n", 0));
    assert_holds(
        &fixture,
        "empty",
        "the spec lists no service and no VIP, so everything in its scope would be deleted; a \
         truncated file looks the same",
    );
    yields(&fixture, "empty");
    assert_eq!(services(), 0);
}

#[test]
fn a_truncated_spec_is_refused_until_it_is_allowed() {
    let fixture = Fixture::expiring("");
    let whole = "version: 1
scope: all
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    real_servers:
      - address: 10.0.0.1
        weight: 10
";
    let without_end = whole.replace("weight: 10\n", "weight: 20");
    let (cut, length) = (&whole[..whole.len() - 2], whole.len());
    let first = format!(
        "spec.yaml is the first {} of {length} bytes of a file of the spec in force, and may not have been written in full; if it is complete, end it with a line `...`, which marks it as complete",
        cut.len()
    );
    let ended = format!(
        "spec.yaml, {} bytes, does not end with a newline as the spec in force does, and may not \
         have been written in full; if it is complete, end its last line with a newline, \
         or end it with a line `...`",
        without_end.len()
    );
    for (text, weight, message) in [(cut, 1, first), (&without_end, 20, ended)] {
        fixture.apply(whole);
        fixture.write("spec.yaml", text);
        assert_holds(&fixture, "cut-off", &message);
        let answer = yields(&fixture, "cut-off");
        assert!(answer.contains(&format!("weight 10 -> {weight}: applied")), "{answer}");
    }
    // The missing part is a comment only.
    fixture.apply(&format!("{whole}# and nothing else\n"));
    fixture.write("spec.yaml", whole);
    assert!(fixture.done("apply --yes spec.yaml").starts_with("In sync; "));
}

#[test]
fn an_end_mark_states_that_a_file_is_complete() {
    let fixture = Fixture::expiring("");
    let (two, one) = (spec("scope: all\n", 2), spec("scope: all\n", 1));
    let first: String = two.lines().take(4).map(|line| format!("{line}\n")).collect();
    fixture.apply(&format!("{two}...\n"));
    // A prefix of the spec with an end mark is certainly complete.
    fixture.write("spec.yaml", format!("{first}...\n"));
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
    // Without the mark it is incomplete, whatever else changed.
    fixture.write("spec.yaml", &two);
    let refused = refusals(&fixture, "");
    assert!(refused[0].starts_with("cut-off: spec.yaml is incomplete: "), "{refused:?}");
    fixture.write("spec.yaml", format!("{one}...\n"));
    fixture.done("apply --yes spec.yaml");
}
