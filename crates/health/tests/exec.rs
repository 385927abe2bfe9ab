//! `exec` checks with real programs and the real supervisor.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_health::{
    Attempts, Environment, ExecEnvironment, Failure, Fault, Job, Outcome, Stage, run_round,
};
use evenkeel_model::Verdict;
use evenkeel_model::check::{Check, ExecOptions, Kind, Target};
use rustix::process::geteuid;
use tempfile::TempDir;

const SUPERVISOR: &str = env!("CARGO_BIN_EXE_evenkeel-check-supervisor");

/// A directory of programs, and one that they can write.
struct Host {
    directory: TempDir,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // As root, programs run as another user.
        set_mode(directory.path(), 0o755);
        let host = Self { directory };
        fs::create_dir(host.programs()).unwrap();
        set_mode(&host.programs(), 0o755);
        fs::create_dir(host.writable()).unwrap();
        set_mode(&host.writable(), 0o777);
        host
    }

    fn programs(&self) -> PathBuf {
        self.directory.path().join("checks.d")
    }

    fn writable(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn environment(&self) -> Environment {
        Environment {
            exec: ExecEnvironment {
                directory: self.programs(),
                owner: geteuid().as_raw(),
                default_user: "nobody".to_owned(),
                supervisor: vec![SUPERVISOR.into()],
            },
            ..Environment::of_host(vec![])
        }
    }

    fn write(&self, script: &str) {
        let path = self.programs().join("a");
        fs::write(&path, format!("#!/bin/sh\nOUT={}\n{script}\n", self.writable().display()))
            .unwrap();
        set_mode(&path, 0o755);
    }

    /// The outcome of a script with these arguments.
    fn run(&self, script: &str, arguments: &[&str], timeout: Duration) -> Outcome {
        self.write(script);
        // A busy machine may notice a short deadline late: that finds nothing out.
        loop {
            let jobs = vec![job(arguments, timeout)];
            let reports = run_round(self.environment(), jobs, 99, Attempts::Once);
            match reports.unwrap().remove(0).outcome {
                Outcome::Unknown(Fault::Late { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    fn patiently(&self, script: &str) -> Outcome {
        self.run(script, &[], Duration::from_secs(20))
    }

    fn written(&self, name: &str) -> String {
        fs::read_to_string(self.writable().join(name)).unwrap().trim().to_owned()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn job(arguments: &[&str], timeout: Duration) -> Job {
    let argv = ["a"].iter().chain(arguments).map(|it| (*it).to_owned()).collect();
    let check = Check { timeout, ..Check::new(Kind::Exec(ExecOptions { argv, user: None })) };
    let target = Target { address: IpAddr::V6(Ipv6Addr::LOCALHOST), port: 80 };
    Job { target, check, first: Verdict::Down }
}

fn runs(pid: &str) -> bool {
    // One that has ended and is not reaped by the process that started the tests counts as ended.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z "))
}

/// How many descriptors this process was given that every process it starts is given too.
fn passed_on() -> usize {
    let closes_on_exec = |info: &str| {
        let flags = info.lines().find_map(|it| it.strip_prefix("flags:")).unwrap().trim();
        u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0
    };
    let entries = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    entries
        .filter(|it| it.file_name().to_str().unwrap().parse::<u32>().unwrap() > 2)
        .filter(|it| fs::read_to_string(it.path()).is_ok_and(|it| !closes_on_exec(&it)))
        .count()
}

fn timeout_after(millis: u64) -> Outcome {
    let after = Duration::from_millis(millis);
    Failure::Timeout { stage: Stage::Program, after }.into()
}

#[test]
fn the_exit_status_decides() {
    let host = Host::new();
    assert_eq!(host.patiently("exit 0"), Outcome::Passed);
    let failure = Failure::Exit { code: 3, output: "no answer".to_owned() };
    assert_eq!(host.patiently("echo no answer >&2; exit 3"), failure.into());
    assert_eq!(host.patiently("kill -KILL $$"), Fault::Signal { signal: 9 }.into());
}

#[test]
fn a_program_gets_its_arguments_and_the_target_and_nothing_else() {
    let host = Host::new();
    let script = "echo \"$1|$2|$#\" >$OUT/arguments; env >$OUT/env; pwd >$OUT/pwd; cat >$OUT/stdin";
    // No shell reads them.
    let outcome = host.run(script, &["a b", "$(id); *"], Duration::from_secs(20));
    assert_eq!(outcome, Outcome::Passed);
    assert_eq!(host.written("arguments"), "a b|$(id); *|2");
    let variables = host.written("env");
    for line in ["EVENKEEL_ADDRESS=::1", "EVENKEEL_PORT=80", "EVENKEEL_TIMEOUT=20"] {
        assert!(variables.lines().any(|it| it == line), "{line} in {variables}");
    }
    assert!(!variables.contains("CARGO"), "{variables}");
    assert_eq!((host.written("pwd").as_str(), host.written("stdin").as_str()), ("/", ""));
}

#[test]
fn a_program_has_no_privileges_and_little_of_all_else() {
    let host = Host::new();
    let script = "cat /proc/self/status >$OUT/status; cat /proc/self/limits >$OUT/limits; \
                  ls /proc/self/fd >$OUT/fds";
    assert_eq!(host.patiently(script), Outcome::Passed);
    let status = host.written("status");
    let field = |name: &str| {
        let line = status.lines().find(|it| it.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set).trim_start_matches('0'), "", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert!(!field("Uid").split_whitespace().any(|it| it == "0"), "{}", field("Uid"));
    if geteuid().is_root() {
        assert_eq!(field("Groups"), "");
    }
    let limits = host.written("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|it| it.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(limit("Max core file size"), "0");
    assert_eq!(limit("Max open files"), "256");
    assert_eq!(limit("Max cpu time"), "22");
    assert_eq!(limit("Max file size"), (16 * 1024 * 1024).to_string());
    // Its own three, the one with which ls reads the directory, and what the runner of the tests passes on.
    let fds = host.written("fds");
    assert_eq!(fds.lines().count(), 4 + passed_on(), "{fds}");
}

#[test]
fn a_program_that_ignores_signals_and_forks_ends_at_the_deadline_with_all_it_started() {
    let host = Host::new();
    let script = "trap '' TERM INT HUP
        sleep 1000 & echo $! >$OUT/child
        setsid sh -c 'trap \"\" TERM; echo $$ >'$OUT'/session; sleep 1000' &
        (setsid sh -c 'echo $$ >'$OUT'/orphan; sleep 1000' &)
        echo $$ >$OUT/program
        while :; do sleep 1000; done";
    let begun = Instant::now();
    let outcome = host.run(script, &[], Duration::from_millis(1500));
    assert_eq!(outcome, timeout_after(1500));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for name in ["program", "child", "session", "orphan"] {
        assert!(!runs(&host.written(name)), "{name}");
    }
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    let host = Host::new();
    let script = "(setsid sh -c 'echo $$ >'$OUT'/orphan; sleep 1000' >/dev/null 2>&1 &)
        while ! [ -s $OUT/orphan ]; do :; done; exit 0";
    assert_eq!(host.patiently(script), Outcome::Passed);
    assert!(!runs(&host.written("orphan")));
    // Also if it holds the output open.
    let script = "sleep 1000 & echo $! >$OUT/child; exit 4";
    let failure = Failure::Exit { code: 4, output: String::new() };
    assert_eq!(host.patiently(script), failure.into());
    assert!(!runs(&host.written("child")));
}

#[test]
fn output_is_read_and_dropped_however_much_it_is() {
    let host = Host::new();
    let outcome = host.patiently("head -c 30000000 /dev/zero | tr '\\0' x; exit 5");
    let failure = Failure::Exit { code: 5, output: format!("{}...", "x".repeat(80)) };
    assert_eq!(outcome, failure.into());
    let outcome = host.run("exec cat /dev/zero", &[], Duration::from_millis(300));
    assert_eq!(outcome, timeout_after(300));
}

#[test]
fn what_cannot_run_says_nothing_of_the_target() {
    let host = Host::new();
    host.write("");
    let path = host.programs().join("a");
    fs::write(&path, "#!/nonexistent/interpreter\n").unwrap();
    let run = |environment: Environment| {
        let jobs = vec![job(&[], Duration::from_secs(20))];
        run_round(environment, jobs, 9, Attempts::Once).unwrap().remove(0).outcome
    };
    let outcome = run(host.environment());
    assert!(matches!(outcome, Outcome::Unknown(Fault::NoProcess { .. })), "{outcome:?}");
    let mut environment = host.environment();
    environment.exec.supervisor = vec!["/nonexistent".into()];
    let outcome = run(environment);
    assert!(matches!(outcome, Outcome::Unknown(Fault::NoProcess { .. })), "{outcome:?}");
    let mut environment = host.environment();
    environment.exec.supervisor = vec!["/bin/true".into()];
    let outcome = run(environment);
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    set_mode(&host.programs(), 0o777);
    let outcome = run(host.environment());
    assert!(matches!(outcome, Outcome::Unknown(Fault::Setup { .. })), "{outcome:?}");
}

#[test]
fn no_more_than_32_run_at_once_and_waiting_takes_no_time_of_a_check() {
    let host = Host::new();
    let counting = "touch $OUT/r$1; ls $OUT | grep -c ^r >$OUT/c$1; sleep 0.2; rm $OUT/r$1; exit 0";
    host.write(counting);
    let jobs = (0..40).map(|it| job(&[&it.to_string()], Duration::from_secs(9))).collect();
    let reports = run_round(host.environment(), jobs, 99, Attempts::Once).unwrap();
    assert!(reports.iter().all(|it| it.outcome.is_pass()), "{reports:?}");
    let most = (0..40).map(|it| host.written(&format!("c{it}")).parse::<u32>().unwrap()).max();
    assert!(most.unwrap() <= 32, "{most:?}");
}

#[test]
fn a_program_ends_with_whoever_waited_for_it() {
    let host = Host::new();
    host.write("echo $$ >$OUT/program; sleep 1000");
    let mut supervisor =
        Command::new(SUPERVISOR).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let order = serde_json::json!({
        "program": host.programs().join("a"),
        "arguments": [],
        "variables": [{"name": "PATH", "value": "/usr/bin:/bin"}],
        "identity": null,
        "timeout": {"secs": 100, "nanos": 0},
    });
    let mut lifeline = supervisor.stdin.take().unwrap();
    lifeline.write_all(format!("{order}\n").as_bytes()).unwrap();
    let begun = Instant::now();
    while fs::read_to_string(host.writable().join("program")).unwrap_or_default().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(5));
    }
    // As the kernel does when evenkeel is killed.
    drop(lifeline);
    let output = supervisor.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "\"Cancelled\"");
    assert!(!runs(&host.written("program")));
}

#[test]
fn something_that_is_no_order_ends_the_supervisor() {
    for text in ["", "\n", "{}\n", "{\"program\":"] {
        let mut supervisor =
            Command::new(SUPERVISOR).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        supervisor.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = supervisor.wait_with_output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{text:?}");
    }
}
