//! Tests the daemon's commands, and other programs beside it.

use evenkeel_lab_tests::modules;

use super::*;
use crate::local_traffic::{add_to_lo, send_datagrams};

const HELD: &str = "version: 1\nscope: all\nservices:\n  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, \
                    real_servers: [ { address: 10.0.0.1, weight: 0 } ] }\n";

#[test]
fn without_a_daemon_status_reports_that_and_the_others_refuse() {
    let host = Host::new();
    let (code, stdout, _) = host.evenkeel("status");
    assert_eq!(code, 10);
    assert!(stdout.starts_with("not running"), "{stdout}");
    assert_eq!(host.status()["state"], "not_running");
    for command in ["approve 1234", "pause", "resume"] {
        let (code, _, stderr) = host.evenkeel(command);
        assert_eq!(code, 1, "{command}");
        assert!(stderr.contains("no daemon runs"), "{command}: {stderr}");
    }
}

#[test]
fn a_held_plan_is_approved_by_its_id() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    let before = table();
    host.write("spec.yaml", HELD);
    host.wait_for_state("held");
    let (_, stdout, _) = host.evenkeel("status");
    assert!(stdout.starts_with("held") && stdout.contains("guard no-server"), "{stdout}");
    run("ipvsadm -D -t 192.0.2.1:80");
    // The last good spec is enforced nevertheless.
    let (code, _, stderr) = host.evenkeel("approve 00000000");
    assert_eq!(code, 3, "{stderr}");
    assert!(within(Duration::from_secs(2), || table() == before), "{}", table());
    let id = host.status()["spec"]["held"]["id"].as_str().unwrap().to_owned();
    let (code, stdout, stderr) = host.evenkeel(&format!("approve {id}"));
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(table().contains("Route 0") && !table().contains("0A00000A"), "{}", table());
    host.wait_for_state("ok");
}

#[test]
fn a_pause_leaves_manual_work_alone_until_it_ends() {
    let host = Host::new();
    let mut daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    let before = table();
    let (code, stdout, _) = host.evenkeel("pause 4s");
    assert_eq!(code, 0, "{stdout}");
    let begin = Instant::now();
    run("ipvsadm -D -t 192.0.2.1:80");
    // A restarted daemon does not undo it either.
    daemon.signal(Signal::SIGKILL);
    assert!(is_signal(daemon.ended()));
    let _daemon = host.watch("specs/spec.yaml", "--interval 1s");
    host.wait_for_state("paused");
    while begin.elapsed() < Duration::from_secs(3) {
        assert_eq!(table(), "");
    }
    assert!(within(Duration::from_secs(3), || table() == before), "{}", table());
    host.wait_for_state("ok");
    assert_eq!(host.evenkeel("pause").0, 0);
    run("ipvsadm -D -t 192.0.2.1:80");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((table(), &*host.status()["state"].to_string()), (String::new(), "\"paused\""));
    assert_eq!(host.evenkeel("resume").0, 0);
    assert_eq!(table(), before);
}

#[test]
fn observe_mode_changes_nothing() {
    let host = Host::new();
    host.write("spec.yaml", spec("10.0.0.10"));
    let _daemon = host.watch("specs/spec.yaml", "--observe --interval 1s");
    host.wait_for_state("drifted");
    let (_, stdout, _) = host.evenkeel("status");
    assert!(stdout.contains("+ add service web/192.0.2.1:80/tcp"), "{stdout}");
    assert_eq!(table(), "");
    assert!(!host.path("state").join("init").exists());
    let (code, stdout, stderr) = host.evenkeel("apply --yes specs/spec.yaml");
    assert_eq!(code, 0, "{stdout}{stderr}");
    host.wait_for_state("ok");
}

#[test]
fn beside_a_daemon_only_its_own_spec_is_applied() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    host.write("other.yaml", spec("10.0.0.11"));
    let before = table();
    for command in [
        "apply --yes specs/other.yaml",
        "apply --yes specs/spec.yaml --confirm 1m",
        "teardown --yes",
    ] {
        let (code, stdout, stderr) = host.evenkeel(command);
        assert_eq!((code, &*stdout), (3, ""), "{command}: {stderr}");
        assert!(stderr.contains("evenkeel watch") && stderr.contains("spec.yaml"), "{stderr}");
        assert_eq!(table(), before);
    }
    let (code, stdout, stderr) = host.evenkeel("apply --yes specs/spec.yaml");
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, _, stderr) = host.evenkeel("watch specs/spec.yaml --listen none");
    assert_eq!(code, 75, "{stderr}");
}

#[test]
fn a_user_other_than_root_is_refused() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    let program = host.path("evenkeel");
    std::fs::copy(super::program(), &program).unwrap();
    run(&format!("chmod 755 {} {}", host.folder.path().display(), program.display()));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).arg("status");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("only root"), "{stderr}");
}

#[test]
fn a_drain_continues_beside_other_changes() {
    let host = Host::new();
    let servers: Vec<std::net::TcpListener> = (1..=2)
        .map(|it| std::net::TcpListener::bind((format!("127.0.0.{it}"), 80)).unwrap())
        .collect();
    let of = |list: &[u8]| {
        let all: Vec<String> =
            list.iter().map(|it| format!("{{ address: 127.0.0.{it} }}")).collect();
        draining("1h", &all.join(", "))
    };
    let daemon = host.watching(&of(&[1]), "--interval 1s");
    let open = std::net::TcpStream::connect("192.0.2.1:80").unwrap();
    host.write("spec.yaml", of(&[2]));
    assert!(within(Duration::from_secs(3), || host.status()["draining"] == 1));
    assert!(table().contains("7F000001:0050 Masq 0"), "{}", table());
    // Meanwhile another change is made, and drift is repaired.
    host.write("spec.yaml", of(&[2, 3]));
    assert!(within(ENFORCED, || table().contains("7F000003")), "{}", table());
    run("ipvsadm -e -t 192.0.2.1:80 -r 127.0.0.2 -m -w 9");
    assert!(within(Duration::from_secs(2), || table().contains("7F000002:0050 Masq 1")));
    assert_eq!(host.status()["draining"], 1);
    let (code, stdout, _) = host.evenkeel("status");
    assert_eq!(code, 0);
    let mut rows = stdout.lines().skip_while(|line| !line.starts_with("draining"));
    assert_eq!(rows.next(), Some("draining      1 real server"), "{stdout}");
    let row = rows.next().unwrap().trim();
    let left = row.strip_prefix("real server 127.0.0.1:80 of web/192.0.2.1:80/tcp: ").unwrap();
    let (left, end) = left.split_once(" left, until ").unwrap();
    assert!(left.starts_with("1h") || left.starts_with("59m"), "{stdout}");
    assert!(end.ends_with(" UTC"), "{stdout}");
    // As long as nothing changes, nothing is logged.
    let before = daemon.log();
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(daemon.log(), before);
    drop(open);
    drop(servers);
    assert!(within(Duration::from_secs(5), || !table().contains("7F000001")), "{}", table());
    host.wait_for_state("ok");
}

#[test]
fn an_apply_that_waits_for_drains_lets_the_daemon_continue() {
    let host = Host::new();
    let text = draining("1h", "{ address: 127.0.0.1 }");
    let _server = std::net::TcpListener::bind("127.0.0.1:80").unwrap();
    let daemon = host.watching(&text, "--interval 1s");
    let mut applies = Vec::new();
    for end in ["the drain", "the daemon"] {
        let open = std::net::TcpStream::connect("192.0.2.1:80").unwrap();
        // The daemon or the apply, whichever is faster, starts the drain.
        host.write("spec.yaml", text.replace("127.0.0.1 }", "127.0.0.2 }"));
        let mut command = host.command("apply");
        command.args(["--yes", "specs/spec.yaml"]).current_dir(host.folder.path());
        let mut apply = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        assert!(within(Duration::from_secs(3), || host.status()["draining"] == 1));
        // The apply holds no lock: a VIP that is lost meanwhile is restored immediately.
        std::thread::sleep(Duration::from_millis(300));
        assert!(apply.try_wait().unwrap().is_none(), "it waits");
        run("ip address delete 192.0.2.1/32 dev eth0");
        let is_back = || run("ip -o address show dev eth0").contains(" 192.0.2.1/32 ");
        assert!(within(Duration::from_millis(500), is_back));
        if end == "the drain" {
            drop(open);
        } else {
            daemon.signal(Signal::SIGTERM);
        }
        let output = apply.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        applies.push((output.status.code(), stderr));
        host.write("spec.yaml", &text);
        if end == "the drain" {
            assert!(!table().contains("7F000001"), "{}", table());
            assert!(within(ENFORCED, || table().contains("7F000001")), "{}", table());
            host.wait_for_state("ok");
        }
    }
    assert_eq!(applies[0].0, Some(0), "{applies:?}");
    assert!(applies[0].1.ends_with("drained\n"), "{applies:?}");
    assert_eq!(applies[1].0, Some(1), "{applies:?}");
    assert!(applies[1].1.contains("run apply again to finish"), "{applies:?}");
}

#[test]
fn a_scheduler_that_cannot_be_loaded_affects_its_service_only_and_is_reported() {
    let host = Host::new();
    let more = "  - { name: odd, vip: 192.0.2.1, port: 81, scheduler: sed, drain: 0s, real_servers: [ { address: 10.0.0.9 } ] }\n";
    host.write("spec.yaml", spec("10.0.0.10") + more);
    run("modprobe ip_vs_wlc");
    modules::unload("ip_vs_sed");
    modules::without_modprobe(|| {
        let _daemon = host.watch_with("-all,+net_admin,+net_raw");
        host.wait_for_state("degraded");
        assert!(within(ENFORCED, || table().contains("0A00000A")), "{}", table());
        let reasons = host.reasons();
        assert!(reasons.contains("the kernel has no scheduler sed"), "{reasons}");
        assert!(!reasons.contains("another program"), "{reasons}");
        run("ipvsadm -C");
        assert!(within(Duration::from_secs(2), || table().contains("0A00000A")), "{}", table());
    });
}

#[test]
fn the_result_of_an_allowed_apply_is_kept() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    host.write("spec.yaml", HELD);
    host.wait_for_state("held");
    let (code, stdout, stderr) = host.evenkeel("apply --yes --allow no-server specs/spec.yaml");
    assert_eq!(code, 0, "{stdout}{stderr}");
    host.wait_for_state("ok");
    std::thread::sleep(Duration::from_secs(2));
    assert!(table().contains("Route 0") && !table().contains("0A00000A"), "{}", table());
}

#[test]
fn counters_are_reset_beside_the_daemon_and_its_metrics_start_at_zero_again() {
    let host = Host::new();
    add_to_lo(&["192.0.2.1/32", "192.0.2.100/32"]);
    let spec = "version: 1\nscope: all\nservices:\n  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, \
                forward: nat, real_servers: [ { address: 192.0.2.100, port: 9 } ] }\n";
    let _daemon = host.watching(spec, "--interval 1s --listen 127.0.0.1:9479");
    let packets = || {
        let text = run("curl --silent --fail http://127.0.0.1:9479/metrics");
        let value = |object: &str| {
            let name = format!("evenkeel_{object}_incoming_packets_total{{");
            let line = text.lines().find(|line| line.starts_with(&name)).expect("the metric");
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        [value("service"), value("real_server")]
    };
    let shows = |number: u64| {
        let mut found = packets();
        let is_shown = within(Duration::from_secs(10), || {
            found = packets();
            found == [number; 2]
        });
        assert!(is_shown, "{found:?}");
    };
    send_datagrams("192.0.2.1:53", 0, 5, 10);
    shows(5);
    let (code, stdout, stderr) = host.evenkeel("zero --yes dns");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("~ reset counters of dns/192.0.2.1:53/udp: done"), "{stdout}");
    shows(0);
    send_datagrams("192.0.2.1:53", 0, 3, 10);
    shows(3);
    host.wait_for_state("ok");
}
