//! Tests the lock: one writer at a time in a network namespace, and reports of its holder.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use evenkeel_lab_tests::{enter_namespace, fresh_namespace, this_namespace};

use super::*;

const SPEC: &str = "version: 1
scope: all
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 10m, real_servers: [ { address: 10.0.0.1 } ] }
...
";

/// An apply that waits for the drain of a real server, and holds the lock meanwhile.
struct Draining {
    apply: Child,
    connection: TcpStream,
    /// Closing it would end the connection.
    _server: TcpListener,
}

impl Draining {
    /// Starts it behind this command.
    fn start(fixture: &Fixture, before: &str) -> Self {
        let _server = TcpListener::bind("0.0.0.0:80").unwrap();
        fixture.apply(&SPEC.replace("10.0.0.1", "127.0.0.1"));
        let connection = TcpStream::connect("192.0.2.1:80").unwrap();
        rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).unwrap();
        fixture.write("spec.yaml", SPEC);
        // Another user must be able to execute the program and to write the journal.
        let (program, state) = (fixture.path().join("evenkeel"), fixture.path().join("state"));
        if !program.exists() {
            std::fs::copy(super::program(), &program).unwrap();
        }
        run(&format!("chmod -R 777 {}", fixture.path().display()));
        let mut words = before.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        words.extend([program.into(), "apply".into(), "--yes".into(), "spec.yaml".into()]);
        words.extend(["--state-dir".into(), state.into()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(fixture.path()).stderr(Stdio::piped());
        let mut apply = command.stdout(Stdio::null()).spawn().unwrap();
        let mut shown = String::new();
        BufReader::new(apply.stderr.as_mut().unwrap()).read_line(&mut shown).unwrap();
        assert!(shown.starts_with("draining real server 127.0.0.1:80"), "{shown}");
        Self { apply, connection, _server }
    }

    /// Ends the connection, so that the drain ends, and returns the exit status.
    fn finish(self) -> i32 {
        let Self { apply, connection, _server } = self;
        drop(connection);
        let output = apply.wait_with_output().unwrap();
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
    let first = Draining::start(&fixture, "");
    // Another state directory and overridden guards make no difference.
    let second = Fixture::here();
    let nothing = "version: 1\nscope: all\ndefaults: { drain: 0s }\nservices: []\n...\n";
    second.write("spec.yaml", nothing);
    let answer = second.evenkeel("apply --yes --allow empty,take-over spec.yaml");
    let pid = holder(&answer);
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let line = String::from_utf8(line).unwrap().replace('\0', " ");
    assert!(answer.stderr.contains(&format!("process {pid} of user 0 (`{}", &line[..20])));
    assert!(answer.stderr.contains("apply --yes spec.yaml"), "{answer:?}");
    assert!(answer.stderr.contains("hint: nothing was changed"), "{answer:?}");
    assert!(!second.path().join("state").exists(), "not even a journal");
    // Commands that only read are not blocked.
    for command in ["plan spec.yaml", "show", "snapshot"] {
        assert_eq!(second.evenkeel(command).status, 0, "{command}");
    }
    assert_eq!(first.finish(), 0);
    assert_eq!(ipvsadm::save().len(), 2);
    fixture.assert_in_sync("spec.yaml");
    second.done("apply --yes --allow empty,take-over spec.yaml");
    assert_eq!(ipvsadm::save(), BTreeSet::new());
}

#[test]
fn each_namespace_has_its_own_lock() {
    let one = Fixture::new("");
    let here = this_namespace();
    let first = Draining::start(&one, "");
    fresh_namespace();
    run("ip link add eth0 up type dummy");
    let two = Fixture::here();
    two.apply(SPEC);
    // A writer in the other namespace enters the one in which an apply runs.
    enter_namespace(&here);
    holder(&two.evenkeel("apply --yes spec.yaml"));
    assert_eq!(first.finish(), 0);
}

#[test]
fn a_killed_apply_leaves_no_lock() {
    let fixture = Fixture::new("");
    let Draining { mut apply, connection, _server } = Draining::start(&fixture, "");
    let pid = holder(&fixture.evenkeel("apply --yes spec.yaml"));
    run(&format!("kill -KILL {pid}"));
    apply.wait().unwrap();
    drop(connection);
    fixture.done("apply --yes spec.yaml");
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_holder_of_an_ordinary_user_with_the_capability_is_named() {
    let fixture = Fixture::new("");
    let first = Draining::start(
        &fixture,
        "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+net_admin,+net_raw \
         --ambient-caps=+net_admin,+net_raw",
    );
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    holder(&answer);
    assert!(answer.stderr.contains("of user 65534"), "{answer:?}");
    assert_eq!(first.finish(), 0);
}

#[test]
fn a_holder_in_another_pid_namespace_is_reported_as_far_as_known() {
    let fixture = Fixture::new("");
    let first = Draining::start(&fixture, "");
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc"]).arg(program());
    inside.args(["apply", "--yes", "spec.yaml"]);
    let answer = fixture.output(inside);
    assert_eq!(answer.status, 75, "{answer:?}");
    assert!(answer.stderr.contains("a process of user 0 in another pid namespace"), "{answer:?}");
    assert_eq!(first.finish(), 0);
}
