//! Bad input leaves the live table unchanged.

use super::*;

#[path = "../../../../crates/cli/tests/cli/bad_input/inputs.rs"]
mod inputs;

#[test]
fn no_bad_input_changes_anything() {
    let fixture = Fixture::new(
        "-A -t 198.51.100.7:25 -s wrr -p 300
        -a -t 198.51.100.7:25 -r 10.9.0.1:25 -g -w 5 -x 10 -y 5
        ",
    );
    run("ip addr add 198.51.100.7/32 dev eth0");
    let before = everything();
    for input in inputs::all() {
        fixture.write("bad.yaml", &input.bytes);
        let allow = "--allow empty,take-over,mass-delete";
        let answer = fixture.evenkeel(&format!("apply --yes {allow} bad.yaml"));
        assert_eq!((answer.status, &*answer.stdout), (65, ""), "{}: {answer:?}", input.title);
        let (message, _) = input.answer.split_once("; ").unwrap();
        let (_, message) = message.split_once(": ").unwrap();
        assert!(answer.stderr.contains(message), "{}: {}", input.title, answer.stderr);
        assert!(everything() == before, "{}", input.title);
    }
    for place in ["missing", "missing.yaml", "."] {
        let empty = fixture.path().join("empty");
        std::fs::create_dir_all(&empty).unwrap();
        let place = if place == "." { "empty" } else { place };
        let answer = fixture.evenkeel(&format!("apply --yes {place}"));
        assert_eq!(answer.status, 65, "{answer:?}");
        assert!(everything() == before, "{place}");
    }
    assert!(!fixture.path().join("state").exists(), "not even the journal is there");
}
