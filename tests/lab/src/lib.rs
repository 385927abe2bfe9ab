//! Shared parts of the lab tests.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

pub mod clock;
pub mod descriptors;
pub mod dice;
pub mod disk;
pub mod endpoint;
pub mod frames;
pub mod ipvsadm;
pub mod modules;
pub mod netns;
pub mod nlmon;
pub mod packet_rules;
pub mod property;
pub mod route_socket;
pub mod sysctls;

/// Returns the path of the evenkeel program under test.
///
/// # Panics
/// Panics if `EVENKEEL_BIN` is not set; `cargo xtask` sets it.
pub fn program() -> PathBuf {
    variable("EVENKEEL_BIN").into()
}

/// Provides the program where units and users expect it, in the guest's own root. It is bound rather than
/// linked: units see neither `/home` nor `/tmp`, where it may have been built.
///
/// # Panics
/// Panics without the privilege to do so.
pub fn install_program() {
    let place = Path::new("/usr/bin/evenkeel");
    if !place.exists() {
        std::fs::write(place, "").expect("a place");
        run(&format!("mount --bind {} {}", program().display(), place.display()));
    }
}

/// Returns the project's directory, with its examples and units.
///
/// # Panics
/// Panics if `EVENKEEL_ROOT` is not set.
pub fn root() -> PathBuf {
    variable("EVENKEEL_ROOT").into()
}

fn variable(name: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is set by `cargo xtask`"))
}

/// Whether the kernel runs on an emulated machine, on which everything takes many times as long: it is not
/// User-Mode Linux.
///
/// # Panics
/// Panics if `/proc` is not mounted.
#[must_use]
pub fn is_emulated() -> bool {
    let processors = std::fs::read_to_string("/proc/cpuinfo").expect("the processors");
    !processors.contains("User Mode Linux")
}

/// Prints even if the test passes, for measurements.
///
/// # Panics
/// Panics if standard output is closed.
pub fn say(text: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{text}").expect("stdout is open");
}

/// Moves the calling thread, and the programs it starts from now on, into a new network namespace
/// with `lo` up.
///
/// # Panics
/// Panics without the privilege to do so: the tests run as root, inside the lab.
pub fn fresh_namespace() {
    bare_namespace();
    run("ip link set lo up");
}

/// Does the same as [`fresh_namespace`], and adds an interface `eth0` with addresses, so that VIPs
/// can be bound to it and sync daemons can use it.
///
/// # Panics
/// As [`fresh_namespace`].
pub fn fresh_host() {
    bare_namespace();
    // The address that the kernel generates cannot be used immediately.
    let commands = "link set lo up
        link add eth0 type dummy
        link set eth0 addrgenmode none
        link set eth0 up
        address add 203.0.113.1/24 dev eth0
        address add fe80::1/64 dev eth0 nodad";
    run_with("ip -batch -", commands);
    // The kernel creates the route of an IPv6 address some time after the address.
    let routes = || std::fs::read_to_string("/proc/thread-self/net/ipv6_route").expect("routes");
    for _ in 0..5_000 {
        if routes().lines().any(|line| line.starts_with("fe800000000000000000000000000001 80")) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("fe80::1 on eth0 is of no use:\n{}", routes());
}

/// Does the same as [`fresh_namespace`], but leaves `lo` down as the kernel creates it.
///
/// # Panics
/// As [`fresh_namespace`].
pub fn bare_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
}

/// Returns the calling thread's network namespace, which exists while the file is open. See
/// [`enter_namespace`].
///
/// # Panics
/// Panics if `/proc` is not mounted.
#[must_use]
pub fn this_namespace() -> File {
    File::open("/proc/thread-self/ns/net").expect("the thread's network namespace")
}

/// Moves the calling thread back into a namespace that it or another thread created.
///
/// # Panics
/// Panics without the privilege to do so.
pub fn enter_namespace(namespace: &File) {
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("the other network namespace");
}

/// Runs a program with its arguments, split at spaces, and returns its standard output.
///
/// # Panics
/// Panics if it cannot be started or fails, with its standard error.
pub fn run(command: &str) -> String {
    run_with(command, "")
}

/// Runs a program as [`run`] does, with a text on its standard input.
///
/// # Panics
/// As [`run`].
pub fn run_with(command: &str, input: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a program");
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    // A program that ends without reading all of it reports the reason itself.
    let _cut = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
