//! Applies specs that were not written completely, without a prompt: nothing is changed.
//!
//! Unit tests beside the texts cut them at every byte, without a kernel. Here the program runs on
//! some hundred prefixes of them, or on all if `EVENKEEL_LAB_CASES` is as large as the texts are
//! long.

use std::io::Write;
use std::process::Stdio;

use evenkeel_lab_tests::nlmon::Capture;
use evenkeel_lab_tests::property::cases;

use super::*;

const SERVICES_FIRST: &str =
    include_str!("../../../../crates/cli/tests/cli/cut_off/services_first.yaml");
const SERVICES_LAST: &str =
    include_str!("../../../../crates/cli/tests/cli/cut_off/services_last.yaml");

/// Services of other programs, out of both specs' scope, listed behind the services of one.
const FOREIGN_SERVICES: &str = "-A -t 198.51.100.1:80 -s rr
    -a -t 198.51.100.1:80 -r 10.0.0.99:80 -g -w 77
    -A -f 20 -s wlc
    ";

const SYSCTLS: [&str; 2] = ["expire_nodest_conn", "amemthresh"];

fn sysctls() -> [String; 2] {
    SYSCTLS.map(|name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/vs/{name}")).unwrap())
}

fn timeouts() -> String {
    run("ipvsadm --list --timeout")
}

/// Runs the program with this text on its standard input.
fn reading(fixture: &Fixture, arguments: &str, input: &str) -> Answer {
    let mut command = Command::new(program());
    command.args(arguments.split_whitespace()).arg("--state-dir").arg(fixture.path().join("state"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// A host with an applied spec, and the results of later applies.
struct Applied {
    fixture: Fixture,
    capture: Capture,
    /// Status 65: not a valid spec.
    bad: usize,
    /// Status 3, refused by the guard `cut-off` among others.
    refused: usize,
    /// Status 0, with nothing to do.
    in_sync: usize,
}

impl Applied {
    /// Applies this spec on a host with services of other programs.
    fn new(apply: impl FnOnce(&Fixture) -> Answer) -> Self {
        let fixture = Fixture::new(FOREIGN_SERVICES);
        run("ip addr add 198.51.100.1/32 dev eth0");
        let answer = apply(&fixture);
        assert_eq!(answer.status, 0, "{answer:?}");
        Self { capture: Capture::start(), fixture, bad: 0, refused: 0, in_sync: 0 }
    }

    /// Applies, and asserts that no change is requested from the kernel.
    fn changes_nothing(&mut self, apply: impl FnOnce(&Fixture) -> Answer) {
        let before = sysctls();
        let answer = apply(&self.fixture);
        match answer.status {
            65 => self.bad += 1,
            3 if answer.stderr.contains("refused: guard cut-off: ") => self.refused += 1,
            0 if answer.stdout.starts_with("In sync; ") => self.in_sync += 1,
            _ => panic!("{answer:?}"),
        }
        assert_eq!(self.capture.changes(), [], "{answer:?}");
        assert_eq!(sysctls(), before, "{answer:?}");
    }

    /// Runs `check` at each position of a text, or at every `step`th.
    #[expect(clippy::print_stdout, reason = "a test that counts its cases says how many")]
    fn at_places(&mut self, text: &str, usual: usize, apply: impl Fn(&Fixture, &str) -> Answer) {
        let step = if cases(0) as usize >= text.len() { 1 } else { usual };
        let before = (everything(), timeouts());
        // Without the end of its last line it requests the same state.
        for end in (0..text.len() - 1).step_by(step).chain([text.len() - 1]) {
            self.changes_nothing(|fixture| apply(fixture, &text[..end]));
        }
        assert_eq!((everything(), timeouts()), before);
        let Self { bad, refused, in_sync, .. } = self;
        println!(
            "{} bytes, each {step}: {bad} bad, {refused} refused, {in_sync} in sync",
            text.len()
        );
    }

    /// Asserts that the whole text still requests no change.
    fn ends(self, apply: impl FnOnce(&Fixture) -> Answer) {
        let Self { fixture, mut capture, bad, refused, in_sync } = self;
        assert!(bad > 0 && refused > 0 && in_sync > 0, "{bad} {refused} {in_sync}");
        let answer = apply(&fixture);
        assert!(answer.status == 0 && answer.stdout.starts_with("In sync; "), "{answer:?}");
        assert_eq!(capture.changes(), []);
    }
}

fn file(fixture: &Fixture, text: &str) -> Answer {
    fixture.write("spec.yaml", text);
    fixture.evenkeel("apply --yes spec.yaml")
}

fn stdin(fixture: &Fixture, text: &str) -> Answer {
    reading(fixture, "apply --yes -", text)
}

#[test]
fn a_truncated_file_changes_nothing() {
    for text in [SERVICES_FIRST, SERVICES_LAST] {
        let mut applied = Applied::new(|fixture| file(fixture, text));
        applied.at_places(text, 29, file);
        applied.ends(|fixture| file(fixture, text));
    }
}

#[test]
fn a_truncated_standard_input_changes_nothing() {
    let mut applied = Applied::new(|fixture| stdin(fixture, SERVICES_LAST));
    applied.at_places(SERVICES_LAST, 23, stdin);
    applied.ends(|fixture| stdin(fixture, SERVICES_LAST));
}

#[test]
fn a_directory_with_a_truncated_file_changes_nothing() {
    let at = SERVICES_LAST.find("  - name: marked").unwrap();
    let (one, other) = SERVICES_LAST.split_at(at);
    let other = format!("version: 1\nservices:\n{other}");
    let whole = [("spec.d/one.yaml", one), ("spec.d/other.yaml", &other)];
    let apply = |fixture: &Fixture, changed: &str, text: &str| {
        for (name, whole) in whole {
            fixture.write(name, if name == changed { text } else { whole });
        }
        fixture.evenkeel("apply --yes spec.d")
    };
    let mut applied = Applied::new(|fixture| {
        std::fs::create_dir(fixture.path().join("spec.d")).unwrap();
        apply(fixture, "", "")
    });
    for (name, text) in whole {
        applied.at_places(text, 17, |fixture, text| apply(fixture, name, text));
    }
    // A file that is missing completely looks the same as an empty one.
    applied.ends(|fixture| apply(fixture, "", ""));
}

#[test]
fn an_empty_text_changes_nothing_on_any_host() {
    let empty = ["", "\n", "\n\n", "---\n", "--- {}\n", "null\n", "# nothing\n", "version: 1\n"];
    for first in [None, Some(SERVICES_FIRST)] {
        let fixture = Fixture::new(FOREIGN_SERVICES);
        if let Some(text) = first {
            assert_eq!(file(&fixture, text).status, 0);
        }
        let before = (everything(), sysctls(), timeouts());
        for text in empty {
            for answer in [stdin(&fixture, text), file(&fixture, text)] {
                assert!(matches!(answer.status, 3 | 65), "{text:?}: {answer:?}");
                assert_eq!(answer.stdout, "");
            }
        }
        assert_eq!((everything(), sysctls(), timeouts()), before);
    }
}
