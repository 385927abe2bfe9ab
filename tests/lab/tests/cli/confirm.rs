//! Tests applies that are rolled back unless they are confirmed.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

const BEFORE: &str = "version: 1
scope: { vips: [192.0.2.0/24] }
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, scheduler: wrr, real_servers: [ { address: 10.0.0.1, weight: 3 }, { address: 10.0.0.2 } ] }
";

const AFTER: &str = "version: 1
scope: { vips: [192.0.2.0/24] }
vips: [ { address: 192.0.2.2, interface: eth0 } ]
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
services:
  - { name: web, vip: 192.0.2.1, port: 80, scheduler: rr, real_servers: [ { address: 10.0.0.1, weight: 9 }, { address: 10.0.0.3 } ] }
  - { name: new, vip: 192.0.2.2, port: 443, real_servers: [ { address: 10.0.0.4 } ] }
";

const FOREIGN_SERVICE: &str =
    "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1\n";

fn sysctl() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/vs/expire_nodest_conn").unwrap().trim().to_owned()
}

fn state() -> impl PartialEq + std::fmt::Debug {
    (ipvsadm::save(), addresses(), sysctl())
}

/// Applies the first spec and writes the second one.
fn prepared() -> Fixture {
    let fixture = Fixture::new(FOREIGN_SERVICE);
    fixture.apply(BEFORE);
    fixture.write("after.yaml", AFTER);
    fixture
}

fn apply(fixture: &Fixture, within: &str) {
    let answer = fixture
        .evenkeel(&format!("apply --yes after.yaml --allow unbind-in-use --confirm {within}"));
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("evenkeel confirm"), "{answer:?}");
    assert_eq!(sysctl(), "1");
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "{what} has not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the watchdog process of a pending apply of that fixture.
fn watchdog(fixture: &Fixture) -> Option<Pid> {
    let folder = fixture.path().display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains(" watchdog ") && line.contains(&folder)).then(|| Pid::from_raw(pid))
    });
    all.into_iter().next()
}

#[test]
fn an_unconfirmed_apply_is_rolled_back_and_the_next_command_says_so() {
    let fixture = prepared();
    let before = state();
    let begin = Instant::now();
    apply(&fixture, "5s");
    assert_ne!(state(), before);
    eventually("the rollback", || state() == before);
    assert!(begin.elapsed() >= Duration::from_secs(4), "{:?}", begin.elapsed());
    eventually("the end of the watchdog", || watchdog(&fixture).is_none());
    let plan = fixture.evenkeel("plan spec.yaml");
    assert_eq!(plan.status, 0, "{plan:?}");
    assert!(plan.stdout.starts_with("In sync; "), "{plan:?}");
    assert!(plan.stderr.contains("was not confirmed in time and was rolled back"), "{plan:?}");
    let late = fixture.evenkeel("confirm");
    assert_eq!(late.status, 3, "{late:?}");
    assert!(late.stderr.contains("no apply is waiting for confirmation"), "{late:?}");
    // Its spec never became the last applied one.
    let again = fixture.evenkeel("plan after.yaml");
    assert!(!again.stdout.contains("# drift"), "{again:?}");
}

#[test]
fn a_confirmed_apply_stays() {
    let fixture = prepared();
    apply(&fixture, "1h");
    // Its changes have the cause "spec changed", not drift.
    let plan = fixture.evenkeel("plan spec.yaml");
    assert!(plan.stdout.contains("-> ") && !plan.stdout.contains("# drift"), "{plan:?}");
    let after = state();
    let refused = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(refused.status, 3, "{refused:?}");
    assert!(refused.stderr.contains("waits for confirmation until"), "{refused:?}");
    let answer = fixture.done("confirm");
    assert_eq!(answer, "Confirmed: what was applied stays.\n");
    eventually("the end of the watchdog", || watchdog(&fixture).is_none());
    assert_eq!(state(), after);
    fixture.assert_in_sync("after.yaml");
    // The confirmed spec is the last applied one, so the damage made now is drift.
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1");
    let plan = fixture.done("plan after.yaml");
    assert!(plan.contains("# drift"), "{plan}");
    // A sysctl that it set is restored when it is removed from the spec.
    let answer = fixture.evenkeel("apply --yes spec.yaml --allow unbind-in-use");
    assert_eq!((answer.status, &*sysctl()), (0, "0"), "{answer:?}");
}

#[test]
fn an_aborted_apply_is_rolled_back_at_once() {
    let fixture = prepared();
    let before = state();
    apply(&fixture, "1h");
    let answer = fixture.done("confirm --abort");
    assert_eq!(answer, "Rolled back: everything that the apply touched is as it was before.\n");
    assert_eq!(state(), before);
    eventually("the end of the watchdog", || watchdog(&fixture).is_none());
    fixture.assert_in_sync("spec.yaml");
    assert!(fixture.evenkeel("apply --yes spec.yaml").status == 0);
}

#[test]
fn without_its_watchdog_it_can_be_confirmed_or_aborted_after_its_deadline() {
    for word in ["confirm", "confirm --abort"] {
        let fixture = prepared();
        apply(&fixture, "1s");
        kill(watchdog(&fixture).unwrap(), Signal::SIGKILL).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let plan = fixture.evenkeel("plan spec.yaml");
        assert!(plan.stderr.contains("its watchdog is not running"), "{plan:?}");
        assert_eq!(fixture.evenkeel(word).status, 0);
        assert_eq!(fixture.evenkeel("apply --yes after.yaml --allow unbind-in-use").status, 0);
    }
}

#[test]
fn without_its_watchdog_the_next_writer_rolls_it_back_after_its_deadline_and_refuses_before() {
    for command in
        ["apply --yes spec.yaml", "apply --yes after.yaml --allow unbind-in-use", "teardown --yes"]
    {
        let fixture = prepared();
        let before = state();
        apply(&fixture, "3s");
        kill(watchdog(&fixture).unwrap(), Signal::SIGKILL).unwrap();
        let early = fixture.evenkeel("apply --yes spec.yaml");
        assert_eq!(early.status, 3, "{early:?}");
        assert!(early.stderr.contains("its watchdog is not running"), "{early:?}");
        std::thread::sleep(Duration::from_secs(4));
        let answer = fixture.evenkeel(command);
        assert_eq!(answer.status, 0, "{command}: {answer:?}");
        assert!(answer.stderr.contains("was rolled back"), "{command}: {answer:?}");
        if command.ends_with("spec.yaml") {
            assert_eq!(state(), before);
        }
    }
}

/// The terminal closes as soon as the program that ran on it has ended.
#[test]
fn an_unconfirmed_apply_is_rolled_back_although_the_terminal_was_closed() {
    for _ in 0..3 {
        let fixture = prepared();
        let before = state();
        let apply = format!(
            "{} apply --yes after.yaml --allow unbind-in-use --confirm 2s --state-dir {}",
            program().display(),
            fixture.path().join("state").display()
        );
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &apply, "/dev/null"]).current_dir(fixture.path());
        let output = terminal.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_ne!(state(), before);
        eventually("the rollback", || state() == before);
    }
}

/// Starts an apply with a confirmation and kills it while it blocks on a full pipe, so that it
/// never finishes.
fn start(fixture: &Fixture) -> Child {
    let mut command = Command::new(program());
    command.args(["apply", "--yes", "after.yaml", "--allow", "unbind-in-use", "--confirm", "1h"]);
    command.arg("--state-dir").arg(fixture.path().join("state"));
    command.current_dir(fixture.path()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that counts says how many")]
fn an_apply_that_is_killed_half_way_is_rolled_back_by_its_watchdog() {
    let mut half_way = 0;
    for wait in (0..10).map(|number| number * 16) {
        let fixture = prepared();
        let before = state();
        let mut child = start(&fixture);
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        let pending = || {
            let plan = fixture.evenkeel("plan spec.yaml");
            plan.stderr.contains("--confirm did not finish")
        };
        half_way += usize::from(pending());
        if fixture.evenkeel("plan spec.yaml").stderr.contains("waits for confirmation until") {
            // This one finished.
            assert_eq!(fixture.evenkeel("confirm --abort").status, 0);
        }
        eventually("the rollback", || state() == before && !pending());
        eventually("the end of the watchdog", || watchdog(&fixture).is_none());
    }
    println!("killed half-way: {half_way} of 10");
}

#[test]
fn another_state_directory_can_neither_change_nor_confirm_anything_while_an_apply_is_pending() {
    let fixture = prepared();
    apply(&fixture, "1h");
    let after = state();
    let folder = fixture.path().join("state").display().to_string();
    let pid = watchdog(&fixture).unwrap();
    let elsewhere = |command: &str| {
        let mut elsewhere = Command::new(program());
        elsewhere.args(command.split_whitespace()).current_dir(fixture.path());
        elsewhere.arg("--state-dir").arg(fixture.path().join("elsewhere"));
        Answer::from(elsewhere.output().unwrap())
    };
    for command in [
        "apply --yes spec.yaml",
        "teardown --yes",
        "confirm",
        "confirm --abort",
        "apply --yes after.yaml --confirm 1h",
    ] {
        let answer = elsewhere(command);
        assert_eq!((answer.status, &*answer.stdout), (3, ""), "{command}: {answer:?}");
        for word in [&format!("process {pid} of user 0"), &*folder, "nothing was changed"] {
            assert!(answer.stderr.contains(word), "{command}: {word}: {answer:?}");
        }
    }
    assert_eq!(state(), after);
    // The watchdog may roll the apply back at its next check.
    fixture.done("confirm");
    let answer = elsewhere("apply --yes after.yaml --allow take-over");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(state(), after);
}

#[test]
fn an_unconfirmed_apply_is_rolled_back_although_the_journal_was_lost() {
    for damage in [None, Some("{\"version\":2,"), Some("no journal")] {
        let fixture = prepared();
        let before = state();
        apply(&fixture, "8s");
        let label = evenkeel_host::Namespace::current().unwrap().label();
        let journal = fixture.path().join("state").join(label).join("journal.json");
        // The watchdog has read the journal by then.
        std::thread::sleep(Duration::from_millis(500));
        match damage {
            None => std::fs::remove_file(&journal).unwrap(),
            Some(text) => std::fs::write(&journal, text).unwrap(),
        }
        let answer = fixture.evenkeel("apply --yes spec.yaml");
        assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
        assert!(answer.stderr.contains("that is not in this journal"), "{answer:?}");
        assert_ne!(state(), before, "its time is not over");
        eventually("the rollback", || state() == before);
        eventually("the end of the watchdog", || watchdog(&fixture).is_none());
        let plan = fixture.evenkeel("plan spec.yaml");
        assert!(plan.stdout.starts_with("In sync; "), "{plan:?}");
        assert!(plan.stderr.contains("was not confirmed in time and was rolled back"), "{plan:?}");
        assert_eq!(fixture.evenkeel("apply --yes spec.yaml").status, 0);
    }
}
