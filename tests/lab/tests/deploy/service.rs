//! Runs the units under a real systemd, which is process 1 of a container of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, install_program, run};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{deploy, units};

mod checks;
mod confirm;

/// An upper bound for each wait; only an emulated machine comes near it.
const PATIENCE: Duration = Duration::from_secs(120);

/// CAP_NET_ADMIN and CAP_NET_RAW (linux/capability.h).
const CAPABILITIES: u64 = 1 << 12 | 1 << 13;

/// The user of programs that check.
const CHECKS_USER: &str = "evenkeel-checks:x:4711:4711::/:/usr/sbin/nologin\n";

/// Another host on the director's link.
const PEER: &str = "evenkeel-peer";

/// A director whose services systemd runs, in a network namespace of its own, and a neighbouring
/// host that accepts announcements.
struct Director {
    folder: TempDir,
    systemd: Child,
}

impl Director {
    /// Creates it with this spec and these additional settings of `evenkeel.service`.
    fn new(spec: &str, more: &str) -> Self {
        install_program();
        fresh_namespace();
        run(&format!("ip netns add {PEER}"));
        run(&format!("ip link add eth0 type veth peer name eth1 netns {PEER}"));
        run("ip addr add 192.0.2.9/24 dev eth0");
        run("ip link set eth0 up");
        run(&format!("ip -n {PEER} addr add 192.0.2.8/24 dev eth1"));
        run(&format!("ip -n {PEER} link set eth1 up"));
        run(&format!("ip netns exec {PEER} sysctl -qw net.ipv4.conf.eth1.arp_accept=1"));
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["units", "spec", "state"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        fs::write(folder.path().join("spec/spec.yaml"), spec).expect("a spec");
        let users = fs::read_to_string("/etc/passwd").expect("the users") + CHECKS_USER;
        fs::write(folder.path().join("passwd"), users).expect("a file");
        let log = folder.path().join("log");
        for unit in units() {
            let name = unit.file_name().expect("a name").to_string_lossy().into_owned();
            let place = folder.path().join("units").join(&name);
            fs::copy(&unit, &place).expect("a copy");
            let beside = folder.path().join("units").join(format!("{name}.d"));
            fs::create_dir(&beside).expect("a folder");
            let is_daemon = unit == deploy().join("evenkeel.service");
            // The rest of a system's start takes long and is not needed.
            let log = log.display();
            let text = format!(
                "[Unit]\nDefaultDependencies=no\n[Service]\nStandardOutput=append:{log}\n\
                 StandardError=append:{log}\n{}",
                if is_daemon { more } else { "" }
            );
            fs::write(beside.join("lab.conf"), text).expect("a file");
        }
        let target = "[Unit]\nDescription=the lab\nDefaultDependencies=no\n";
        fs::write(folder.path().join("units/lab.target"), target).expect("a file");
        let systemd = boot(folder.path());
        let director = Self { folder, systemd };
        director.wait_for("systemd", |it| {
            it.systemctl("is-system-running").is_ok_and(|words| words == "running")
        });
        director
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.systemd.id().to_string(), "--pid", "--mount", program]);
        command
    }

    /// Runs `systemctl` and returns its output; on failure stdout and stderr.
    fn systemctl(&self, arguments: &str) -> Result<String, String> {
        let mut command = self.inside("systemctl");
        let ended = command.args(arguments.split(' ')).output().expect("it runs");
        let words =
            [ended.stdout, ended.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        let words = words.concat().trim_end().to_owned();
        if ended.status.success() { Ok(words) } else { Err(words) }
    }

    /// Runs `systemctl` and asserts success.
    #[track_caller]
    fn done(&self, arguments: &str) {
        if let Err(words) = self.systemctl(arguments) {
            panic!("{arguments}: {words}\n{}", self.log());
        }
    }

    /// Returns a property of the daemon's unit.
    fn property(&self, name: &str) -> String {
        self.systemctl(&format!("show --value --property={name} evenkeel.service"))
            .expect("a value")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the id of the daemon's process in the lab's process namespace.
    fn daemon(&self) -> u32 {
        let daemons =
            processes().into_iter().filter(|(_, line)| line.contains("evenkeel\0watch\0"));
        let daemons: Vec<_> = daemons.map(|(pid, _)| pid).collect();
        assert_eq!(daemons.len(), 1, "{}", self.log());
        daemons[0]
    }

    /// Returns the hardware address that the neighbouring host has for an address.
    fn neighbour(&self, address: &str) -> String {
        run(&format!("ip -n {PEER} neigh show {address} dev eth1"))
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        // Its whole container ends with process 1.
        let _ = self.systemd.kill();
        let _ = self.systemd.wait();
        run(&format!("ip netns del {PEER}"));
    }
}

/// Starts systemd as process 1, with a host name of its own, which it sets, and directories of its own where it
/// and the units write or read. What a system starts before transient units is left out: it would clear `/tmp`.
fn boot(folder: &Path) -> Child {
    const SCRIPT: &str = "set -e
        mount -t cgroup2 none /sys/fs/cgroup
        mount -t tmpfs none /run
        mkdir -p /run/systemd/system /etc/evenkeel /var/lib/evenkeel
        cp -r \"$1\"/units/. /run/systemd/system
        for unit in /usr/lib/systemd/system/sysinit.target.wants/*; do
            ln -s /dev/null /run/systemd/system/${unit##*/}
        done
        mount --bind \"$1\"/spec /etc/evenkeel
        mount --bind \"$1\"/state /var/lib/evenkeel
        mount --bind \"$1\"/passwd /etc/passwd
        exec /usr/lib/systemd/systemd --system --unit=lab.target --log-target=null --show-status=no";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--cgroup", "--uts", "--mount-proc", "sh", "-c", SCRIPT, "sh"])
        .arg(folder);
    command.env("container", "lab").stdin(Stdio::null()).stdout(Stdio::null());
    // In a thread that ends, since all its later children would be in that container too.
    let booted = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWPID).expect("a pid namespace");
        command.spawn().expect("it runs")
    });
    booted.join().expect("systemd")
}

/// Returns every process with its command line.
fn processes() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let lines = numbers.filter_map(|pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).into_owned()))
    });
    lines.collect()
}

const SPEC: &str = "version: 1
vips: [{ address: 192.0.2.1, interface: eth0 }]
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: wrr
    forward: dr
    real_servers: [{ address: 192.0.2.11 }]
";

const TABLE: &str = "-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 192.0.2.11:80 -g -w 1\n";

#[track_caller]
fn is_as_the_spec_asks(director: &Director) {
    assert_eq!(run("ipvsadm -Sn"), TABLE, "{}", director.log());
    assert!(run("ip -o addr show dev eth0").contains(" 192.0.2.1/32 "), "{}", director.log());
    assert_eq!(run("sysctl -n net.ipv4.vs.expire_nodest_conn"), "1\n", "{}", director.log());
    // The neighbouring host has never asked for the VIP, and knows it from the announcement.
    let link = run("ip -o link show dev eth0");
    let mac = link.split(" link/ether ").nth(1).and_then(|rest| rest.split(' ').next());
    let mac = mac.expect(&link);
    director.wait_for("an announcement", |it| it.neighbour("192.0.2.1").contains(mac));
}

#[test]
fn the_daemon_does_all_its_work_under_the_restrictions_of_its_unit() {
    let director = Director::new(SPEC, "");
    director.done("start evenkeel.service");
    is_as_the_spec_asks(&director);
    assert!(
        director.property("StatusText").starts_with("ok"),
        "{}",
        director.property("StatusText")
    );

    let daemon = director.daemon();
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).expect("its status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.expect(name).to_owned()
    };
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(CAPABILITIES), "{set}");
    }
    assert_eq!((&*field("NoNewPrivs"), &*field("Seccomp")), ("1", "2"));
    let mounts = fs::read_to_string(format!("/proc/{daemon}/mountinfo")).expect("its mounts");
    let is_writable = |place: &str| {
        let line = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
        line.expect(place).split(' ').nth(5).expect(place).starts_with("rw")
    };
    for (place, expected) in [
        ("/", false),
        ("/proc/sys", false),
        ("/proc/sys/net", true),
        ("/var/lib/evenkeel", true),
        ("/sys", false),
    ] {
        assert_eq!(is_writable(place), expected, "{place}\n{mounts}");
    }
}

#[test]
fn a_reload_activates_the_new_spec_and_a_stop_leaves_the_host_unchanged() {
    let director = Director::new(SPEC, "");
    director.done("start evenkeel.service");
    let daemon = director.daemon();
    fs::write(director.path("spec/spec.yaml"), SPEC.replace("wrr", "lc")).expect("a spec");
    director.done("reload evenkeel.service");
    let table = TABLE.replace("wrr", "lc");
    director.wait_for("the new spec", |_| run("ipvsadm -Sn") == table);
    director.wait_for("the end of the reload", |it| it.property("ActiveState") == "active");
    assert_eq!(director.daemon(), daemon);

    fs::write(director.path("spec/spec.yaml"), "version: 1\nservices: nonsense\n").expect("a spec");
    director.wait_for("the words", |it| it.property("StatusText").starts_with("degraded"));
    director.done("stop evenkeel.service");
    assert_eq!(director.property("Result"), "success");
    assert_eq!(run("ipvsadm -Sn"), table);
    assert!(run("ip -o addr show dev eth0").contains(" 192.0.2.1/32 "));
    assert!(processes().iter().all(|(_, line)| !line.contains("evenkeel\0watch\0")));
}

#[test]
fn a_daemon_that_hangs_or_dies_is_restarted() {
    let more = "WatchdogSec=2s\nTimeoutAbortSec=1s\nRestartSec=100ms\n";
    let director = Director::new(SPEC, more);
    director.done("start evenkeel.service");
    let first = director.daemon();
    // It reports liveness for longer than the watchdog's timeout.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((director.daemon(), &*director.property("NRestarts")), (first, "0"));

    let signal = |pid: u32, signal| {
        kill(Pid::from_raw(pid.try_into().expect("a number")), signal).expect("it is sent");
    };
    signal(first, Signal::SIGSTOP);
    director.wait_for("the watchdog", |it| {
        it.property("NRestarts") == "1" && it.property("ActiveState") == "active"
    });
    signal(director.daemon(), Signal::SIGKILL);
    run("ipvsadm -C");
    director.wait_for("the next", |it| {
        it.property("NRestarts") == "2" && it.property("ActiveState") == "active"
    });
    is_as_the_spec_asks(&director);
}

#[test]
fn without_a_daemon_the_spec_is_applied_under_the_same_restrictions() {
    let director = Director::new(SPEC, "");
    director.done("start evenkeel-apply.service");
    is_as_the_spec_asks(&director);
    run("ipvsadm -C");
    director.done("reload evenkeel-apply.service");
    is_as_the_spec_asks(&director);
    // The two units are alternatives.
    director.done("start evenkeel.service");
    assert!(director.systemctl("is-active evenkeel-apply.service").is_err());
    director.done("stop evenkeel.service");
    is_as_the_spec_asks(&director);
}
