//! Tests the prompt of an apply on a terminal.

use super::*;

const SPEC: &str = "version: 1
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

#[test]
fn on_a_terminal_apply_prompts_and_accepts_only_yes() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", SPEC);
    for typed in ["n\n", "\n", "maybe\n", "\x04"] {
        let answer = on_a_terminal(&fixture, "apply spec.yaml", typed);
        assert_eq!(answer.status, 3, "{answer:?}");
        assert!(answer.stdout.contains("Apply this plan? [y/N]"), "{answer:?}");
        assert!(answer.stdout.contains("declined; nothing was changed"), "{answer:?}");
        assert!(ipvsadm::save().is_empty());
    }
    let answer = on_a_terminal(&fixture, "apply spec.yaml", "y\n");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(ipvsadm::save().len(), 2);
    let answer = on_a_terminal(&fixture, "apply spec.yaml", "");
    assert_eq!(answer.status, 0, "in sync, nothing is asked: {answer:?}");
}
