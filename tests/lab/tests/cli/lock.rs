//! Tests the lock: one writer at a time in a network namespace, and reports of its holder.

use std::io::Read;
use std::process::{Child, Stdio};

use evenkeel_lab_tests::{enter_namespace, fresh_namespace, this_namespace};

use super::*;

const SPEC: &str = "version: 1
scope: all
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 } ] }
";

/// An apply on a terminal that waits at its prompt and holds the lock.
struct Asking(Child);

impl Asking {
    /// Starts it behind this command.
    fn start(fixture: &Fixture, before: &str) -> Self {
        fixture.write("spec.yaml", SPEC);
        let mut command = Command::new("script");
        let state = fixture.path().join("state");
        let (program, state) = (fixture.path().join("evenkeel"), state.display());
        if !program.exists() {
            std::fs::copy(super::program(), &program).unwrap();
        }
        let line = format!("{before} {} apply spec.yaml --state-dir {state}", program.display());
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.current_dir(fixture.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut shown = Vec::new();
        let stdout = child.stdout.as_mut().unwrap();
        while !shown.ends_with(b"[y/N]") {
            let mut byte = [0];
            let read = stdout.read(&mut byte).unwrap();
            assert_eq!(read, 1, "{}", String::from_utf8_lossy(&shown));
            shown.push(byte[0]);
        }
        Self(child)
    }

    /// Answers yes, and returns the exit status.
    fn agree(mut self) -> i32 {
        std::io::Write::write_all(&mut self.0.stdin.take().unwrap(), b"y\n").unwrap();
        let output = self.0.wait_with_output().unwrap();
        output.status.code().unwrap()
    }
}

/// Returns the process that a refusal names.
fn holder(answer: &Answer) -> u32 {
    assert_eq!((answer.status, &*answer.stdout), (75, ""), "{answer:?}");
    let (_, named) = answer.stderr.split_once("process ").unwrap_or_else(|| panic!("{answer:?}"));
    let rest = named.split_once("process ").map_or(named, |(_, rest)| rest);
    rest.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{answer:?}"))
}

#[test]
fn a_second_apply_is_refused_with_the_lock_holder_and_changes_nothing() {
    let fixture = Fixture::new("");
    let first = Asking::start(&fixture, "");
    // Another state directory and overridden guards make no difference.
    let second = Fixture::here();
    let nothing = "version: 1\nscope: all\ndefaults: { drain: 0s }\nservices: []\n";
    second.write("spec.yaml", nothing);
    let answer = second.evenkeel("apply --yes --allow empty,take-over spec.yaml");
    let pid = holder(&answer);
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let line = String::from_utf8(line).unwrap().replace('\0', " ");
    assert!(answer.stderr.contains(&format!("process {pid} of user 0 (`{}", &line[..20])));
    assert!(answer.stderr.contains("apply spec.yaml"), "{answer:?}");
    assert!(answer.stderr.contains("hint: nothing was changed"), "{answer:?}");
    assert!(!second.path().join("state").exists(), "not even a journal");
    // Commands that only read are not blocked.
    for command in ["plan spec.yaml", "show", "snapshot"] {
        assert_eq!(second.evenkeel(command).status, 0, "{command}");
    }
    assert_eq!(first.agree(), 0);
    assert_eq!(ipvsadm::save().len(), 2);
    fixture.assert_in_sync("spec.yaml");
    second.done("apply --yes --allow empty,take-over spec.yaml");
    assert_eq!(ipvsadm::save(), BTreeSet::new());
}

#[test]
fn each_namespace_has_its_own_lock() {
    let one = Fixture::new("");
    let here = this_namespace();
    let first = Asking::start(&one, "");
    fresh_namespace();
    let two = Fixture::here();
    two.apply(SPEC);
    // A writer in the other namespace enters the one in which an apply runs.
    enter_namespace(&here);
    holder(&two.evenkeel("apply --yes spec.yaml"));
    assert_eq!(first.agree(), 0);
}

#[test]
fn a_killed_apply_leaves_no_lock() {
    let fixture = Fixture::new("");
    let mut first = Asking::start(&fixture, "");
    let pid = holder(&fixture.evenkeel("apply --yes spec.yaml"));
    run(&format!("kill -KILL {pid}"));
    first.0.wait().unwrap();
    fixture.done("apply --yes spec.yaml");
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_holder_of_another_ordinary_user_is_called_untrusted() {
    let fixture = Fixture::new("");
    // The other user must be able to write here. The lock is taken before the first request to the
    // kernel.
    run(&format!("chmod 777 {}", fixture.path().display()));
    let first = Asking::start(
        &fixture,
        "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+net_admin \
         --ambient-caps=+net_admin",
    );
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    holder(&answer);
    for word in ["of user 65534", "neither root nor the current user"] {
        assert!(answer.stderr.contains(word), "{word}: {answer:?}");
    }
    assert_eq!(first.agree(), 0);
}

#[test]
fn a_holder_in_another_pid_namespace_is_reported_as_far_as_known() {
    let fixture = Fixture::new("");
    let first = Asking::start(&fixture, "");
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc"]).arg(program());
    inside.args(["apply", "--yes", "spec.yaml"]);
    let answer = fixture.output(inside);
    assert_eq!(answer.status, 75, "{answer:?}");
    assert!(answer.stderr.contains("a process of user 0 in another pid namespace"), "{answer:?}");
    assert_eq!(first.agree(), 0);
}
