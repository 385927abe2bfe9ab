//! Tests signals, the service manager's protocol, and sudden ends.

use std::os::unix::net::UnixDatagram;

use super::*;

/// Receives the messages of a daemon to its service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }

    /// Waits for a message with that line.
    #[track_caller]
    fn wait_for(&self, line: &str) -> String {
        let mut received = Vec::new();
        loop {
            let mut bytes = [0; 4096];
            let length =
                self.0.recv(&mut bytes).unwrap_or_else(|_| panic!("no {line}: {received:?}"));
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if text.lines().any(|it| it.starts_with(line)) {
                return text;
            }
            received.push(text);
        }
    }
}

#[test]
fn the_service_manager_is_notified_of_ready_state_reload_liveness_and_end() {
    let host = Host::new();
    host.write("spec.yaml", spec("10.0.0.10"));
    let manager = Manager::at(&host.path("notify"));
    let mut command = host.command("watch");
    command.arg(host.path("specs/spec.yaml")).args(["--listen", "none"]);
    command.env("NOTIFY_SOCKET", host.path("notify")).env("WATCHDOG_USEC", "1000000");
    let mut daemon = Daemon::start(command, &host.path("log"));
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=ok"), "{ready}");
    assert!(table().contains("0A00000A"), "ready means that the spec is in force");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    daemon.signal(Signal::SIGHUP);
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1");
    host.write("spec.yaml", "version: 1\nservices: [");
    let status = manager.wait_for("STATUS=degraded");
    assert!(status.contains("the spec is invalid"), "{status}");
    let before = table();
    daemon.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(daemon.ended().code(), Some(0), "{}", daemon.log());
    assert_eq!(table(), before);
}

#[test]
fn the_table_is_unchanged_however_the_daemon_ends() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let host = Host::new();
        let mut daemon = host.watching(&spec("10.0.0.10"), "");
        let before = table();
        daemon.signal(signal);
        let status = daemon.ended();
        assert_eq!(status.code() == Some(0), signal != Signal::SIGKILL, "{status:?}");
        assert_eq!(table(), before);
        // The next daemon has nothing to do.
        let _daemon = host.watch("specs/spec.yaml", "");
        host.wait_for_state("ok");
        assert_eq!(host.status()["last_pass"]["result"], "in_sync");
    }
}

#[test]
fn sighup_reloads_the_spec_and_retries_failed_steps() {
    let host = Host::new();
    let text = spec("10.0.0.10") + "vips: [ { address: 192.0.2.1, interface: eth7 } ]\n";
    host.write("spec.yaml", &text);
    let daemon = host.watch("specs/spec.yaml", "--interval 1h -v");
    host.wait_for_state("degraded");
    assert!(host.reasons().contains("interface eth7 does not exist"), "{}", host.reasons());
    assert!(table().contains("0A00000A"), "the rest is done");
    run("ip link add eth7 type dummy");
    host.wait_for_state("ok");
    daemon.signal(Signal::SIGHUP);
    // Another pass soon replaces it as the last one, as the kernel still adds addresses to a new
    // interface.
    assert!(within(Duration::from_secs(2), || daemon.log().contains("trigger=\"signal\"")));
    host.wait_for_state("ok");
}

#[test]
fn after_a_restart_with_a_bad_file_the_last_good_spec_is_enforced() {
    let host = Host::new();
    let mut daemon = host.watching(&spec("10.0.0.10"), "");
    let before = table();
    daemon.signal(Signal::SIGKILL);
    daemon.ended();
    host.write("spec.yaml", "version: 1\nservices: [");
    run("ipvsadm -D -t 192.0.2.1:80");
    let _daemon = host.watch("specs/spec.yaml", "");
    host.wait_for_state("degraded");
    assert_eq!(table(), before);
    assert!(host.reasons().contains("the last valid one stays active"), "{}", host.reasons());
}

#[test]
fn a_daemon_that_may_not_open_what_a_pass_needs_says_so_and_ends() {
    let host = Host::new();
    host.write("spec.yaml", spec("10.0.0.10"));
    let started = |limits: &str| {
        let line = format!("{limits}; exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &line]).arg(program()).arg("watch");
        command.arg("--state-dir").arg(host.path("state")).arg(host.path("specs/spec.yaml"));
        command.args(["--listen", "none", "--interval", "1s"]);
        Daemon::start(command, &host.path("log"))
    };
    for limit in [8, 12, 20, 64, 255] {
        let mut daemon = started(&format!("ulimit -n {limit}"));
        assert_eq!(daemon.ended().code(), Some(1), "{}", daemon.log());
        let words = format!("may have {limit} files and sockets open, and needs 256");
        let log = daemon.log();
        assert!(log.contains(&words) && log.contains("LimitNOFILE="), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
    // A limit that the process may raise is raised.
    let begin = Instant::now();
    let _daemon = started("ulimit -S -n 20");
    host.wait_for_state("ok");
    say(&format!("started with a low soft limit after {:?}", begin.elapsed()));
    assert!(table().contains("0A00000A"), "{}", table());
}

#[test]
fn an_apply_that_may_not_open_what_it_needs_changes_nothing() {
    let host = Host::new();
    host.write("spec.yaml", spec("10.0.0.10"));
    let line = "ulimit -n 20; exec \"$0\" \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", line]).arg(program()).args(["apply", "--yes", "--state-dir"]);
    command.arg(host.path("state")).arg(host.path("specs/spec.yaml"));
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), table()), (Some(1), String::new()), "{stderr}");
    assert!(stderr.contains("may have 20 files and sockets open, and needs 64"), "{stderr}");
}

#[test]
fn a_log_that_cannot_be_written_or_is_not_read_delays_no_repair() {
    for log in ["a full disk", "a reader that has gone", "a reader that does not read"] {
        let host = Host::new();
        host.write("spec.yaml", spec("10.0.0.10"));
        let (reader, writer) = std::io::pipe().unwrap();
        let (stderr, reader) = match log {
            "a full disk" => (Stdio::from(File::create("/dev/full").unwrap()), None),
            "a reader that has gone" => {
                drop(reader);
                (Stdio::from(writer), None)
            }
            _ => {
                // As much as a pipe holds.
                (&writer).write_all(&[b'\n'; 64 << 10]).unwrap();
                (Stdio::from(writer), Some(reader))
            }
        };
        let mut command = host.command("watch");
        command.arg(host.path("specs/spec.yaml")).args(["--listen", "none", "--interval", "1s"]);
        command.arg("-vvv").stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        File::create(host.path("log")).unwrap();
        let mut daemon = Daemon { child: command.spawn().unwrap(), log: host.path("log") };
        drop(command);
        host.wait_for_state("ok");
        let before = table();
        for _ in 0..3 {
            run("ipvsadm -C");
            assert!(within(Duration::from_secs(4), || table() == before), "{log}: {}", table());
        }
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.ended().code(), Some(0), "{log}");
        drop(reader);
    }
}
