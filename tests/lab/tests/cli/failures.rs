//! Tests obstacles to an apply: those that can be detected stop it before its first change, others
//! half-way.

use evenkeel_lab_tests::bare_namespace;

use super::*;

const OLD: &str = "-A -t 192.0.2.9:80 -s rr\n-a -t 192.0.2.9:80 -r 10.0.0.9:80 -g -w 1\n";

fn spec(vip: &str, scheduler: &str, real_server: &str) -> String {
    format!(
        "version: 1
scope: all
vips: [ {vip} ]
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: {scheduler}
    real_servers: [ {{ address: 10.0.0.1 }}, {{ address: {real_server} }} ]
"
    )
}

const VIP: &str = "{ address: 192.0.2.1, interface: eth0 }";

/// Asserts that the spec is refused with status 1 and this message before anything is changed.
fn assert_stopped(fixture: &Fixture, spec: &str, words: &[&str]) {
    let before = everything();
    fixture.write("spec.yaml", spec);
    let answer = fixture.evenkeel("apply --yes --allow take-over spec.yaml");
    assert_eq!((answer.status, &*answer.stdout), (1, ""), "{answer:?}");
    for word in words {
        assert!(answer.stderr.contains(word), "{word}: {answer:?}");
    }
    assert!(everything() == before);
}

#[test]
fn a_missing_interface_stops_an_apply_before_the_first_change() {
    let fixture = Fixture::expiring(OLD);
    let spec = spec("{ address: 192.0.2.1, interface: eth7 }", "wrr", "10.0.0.2");
    assert_stopped(
        &fixture,
        &spec,
        &["interface eth7 does not exist", "dummy: true", "nothing was changed"],
    );
    let plan = fixture.evenkeel("plan spec.yaml");
    assert_eq!(plan.status, 0, "{plan:?}");
    assert!(plan.stderr.contains("interface eth7 does not exist"), "{plan:?}");
}

#[test]
fn a_loopback_that_is_down_stops_an_apply_before_the_first_change() {
    bare_namespace();
    run("ip link add eth0 up type dummy");
    let fixture = Fixture::here();
    let spec = spec(VIP, "wrr", "10.0.0.2");
    assert_stopped(&fixture, &spec, &["lo is down", "ip link set lo up", "nothing was changed"]);
    run("ip link set lo up");
    fixture.done("apply --yes spec.yaml");
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_scheduler_that_cannot_be_loaded_stops_an_apply_before_the_first_change() {
    let fixture = Fixture::expiring(OLD);
    let before = everything();
    fixture.write("spec.yaml", spec(VIP, "{ module: nosuch }", "10.0.0.2"));
    let answer = fixture.evenkeel("apply --yes --allow take-over spec.yaml");
    assert_eq!(answer.status, 1, "{answer:?}");
    let mut steps = answer.stdout.lines();
    let first = steps.next().unwrap();
    assert!(first.starts_with("+ add kernel module ip_vs_nosuch: failed: "), "{answer:?}");
    assert!(first.contains("`modprobe ip_vs_nosuch` "), "{answer:?}");
    assert_eq!(steps.next_back(), Some("Apply: 1 failed, 6 skipped."));
    assert!(steps.all(|step| step.ends_with(": skipped")), "{answer:?}");
    assert!(everything() == before);
}

/// Creates a host whose kernel refuses a real server that no check can detect: a broadcast address by a
/// route alone.
fn fixture_that_refuses_half_way() -> Fixture {
    let fixture = Fixture::expiring(OLD);
    run("ip route add broadcast 10.5.0.255 dev eth0 table local");
    fixture.write("spec.yaml", spec(VIP, "wrr", "10.5.0.255"));
    fixture
}

const REFUSED: &str = "+ add real server 10.5.0.255:80 to web/192.0.2.1:80/tcp: forward dr, \
                       weight 1  (spec.yaml:9): failed: the kernel rejects 10.5.0.255 as the address of a real \
                       server: ";

/// Returns the outcome of each step, and the counts.
fn outcomes(answer: &Answer) -> Vec<&str> {
    let lines = answer.stdout.lines();
    lines.map(|line| line.rsplit_once(": ").map_or(line, |(_, last)| last)).collect()
}

#[test]
fn a_refused_step_rolls_back_the_steps_before_it() {
    let fixture = fixture_that_refuses_half_way();
    let before = everything();
    let answer = fixture.evenkeel("apply --yes --allow take-over spec.yaml");
    assert_eq!(answer.status, 4, "{answer:?}");
    assert!(answer.stdout.contains(REFUSED), "{answer:?}");
    let shown = outcomes(&answer);
    assert_eq!(shown[..2], ["undone"; 2], "{answer:?}");
    assert_eq!(shown[3..6], ["skipped"; 3], "{answer:?}");
    assert_eq!(shown[6..], ["1 failed, 3 skipped, 2 undone."], "{answer:?}");
    assert!(answer.stderr.starts_with("hint: rolled back: "), "{answer:?}");
    assert!(!answer.stderr.contains('\x1b'), "not on a terminal: {}", answer.stderr);
    assert_eq!(everything(), before);

    // After a correction it is applied completely.
    fixture.write("spec.yaml", spec(VIP, "wrr", "10.5.0.2"));
    let answer = fixture.done("apply --yes --allow take-over spec.yaml");
    assert!(answer.ends_with("Apply: 6 applied.\n"), "{answer}");
    fixture.assert_in_sync("spec.yaml");
    assert!(!ipvsadm::save().iter().any(|line| line.contains("192.0.2.9")));
}

#[test]
fn with_on_failure_keep_a_refused_step_keeps_the_steps_before_it_and_nothing_is_deleted() {
    let fixture = fixture_that_refuses_half_way();
    let addresses_before = addresses();
    let answer = fixture.evenkeel("apply --yes --allow take-over spec.yaml --on-failure keep");
    assert_eq!(answer.status, 1, "{answer:?}");
    assert!(answer.stdout.contains(REFUSED), "{answer:?}");
    assert_eq!(outcomes(&answer).last(), Some(&"2 applied, 1 failed, 3 skipped."), "{answer:?}");
    for skipped in [
        "+ bind vip 192.0.2.1/32 on eth0: skipped\n",
        "- delete service 192.0.2.9:80/tcp with 1 real server: skipped\n",
    ] {
        assert!(answer.stdout.contains(skipped), "{answer:?}");
    }
    assert!(answer.stderr.contains("hint: what was done stays"), "{answer:?}");
    let expected = "-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n";
    assert_eq!(ipvsadm::save(), lines(&format!("{OLD}{expected}")));
    assert_eq!(addresses(), addresses_before);

    // After a correction the apply continues from there.
    fixture.write("spec.yaml", spec(VIP, "wrr", "10.5.0.2"));
    let answer = fixture.done("apply --yes --allow take-over spec.yaml");
    assert!(answer.ends_with("Apply: 4 applied.\n"), "{answer}");
    fixture.assert_in_sync("spec.yaml");
    assert!(!ipvsadm::save().iter().any(|line| line.contains("192.0.2.9")));
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_an_apply_before_the_first_change() {
    for vip in ["", VIP] {
        let fixture = Fixture::expiring(OLD);
        let state = fixture.path().join("state");
        std::fs::create_dir(&state).unwrap();
        run(&format!("mount -t tmpfs -o ro none {}", state.display()));
        let words = ["state", "nothing was changed", "--state-dir"];
        assert_stopped(&fixture, &spec(vip, "wrr", "10.0.0.2"), &words);
        run(&format!("umount {}", state.display()));
        fixture.done("apply --yes --allow take-over spec.yaml");
    }
}

#[test]
fn a_damaged_journal_is_set_aside_with_a_warning() {
    let fixture = Fixture::expiring("");
    let spec = spec(VIP, "wrr", "10.0.0.2");
    fixture.apply(&spec);
    let folder = std::fs::read_dir(fixture.path().join("state")).unwrap().next().unwrap().unwrap();
    let journal = folder.path().join("journal.json");
    std::fs::write(&journal, "{ \"version\": 1,").unwrap();
    let plan = fixture.evenkeel("plan spec.yaml --detailed-exitcode");
    assert_eq!(plan.status, 0, "{plan:?}");
    assert!(plan.stderr.starts_with("warning: the journal "), "{plan:?}");
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("journal.json.damaged"), "{answer:?}");
    assert!(journal.with_extension("json.damaged").exists());
    fixture.done("apply --yes spec.yaml");
}

#[test]
fn a_real_server_on_a_broadcast_address_stops_an_apply_before_the_first_change() {
    let fixture = Fixture::expiring(OLD);
    run("ip addr add 10.5.0.1/24 dev eth0");
    let spec = spec(VIP, "wrr", "10.5.0.255");
    let words = "10.5.0.255 is the broadcast address of the network of 10.5.0.1/24 on eth0";
    assert_stopped(&fixture, &spec, &[words, "nothing was changed"]);
    let plan = fixture.evenkeel("plan spec.yaml");
    assert!(plan.status == 0 && plan.stderr.contains(words), "{plan:?}");
    let refused = Command::new("ipvsadm")
        .args(["-a", "-t", "192.0.2.9:80", "-r", "10.5.0.255", "-g"])
        .output()
        .unwrap();
    assert!(!refused.status.success(), "the kernel refuses it, too");
}

#[test]
fn mixed_families_beside_a_sync_daemon_of_another_program_stop_an_apply_before_the_first_change() {
    let fixture = Fixture::expiring(OLD);
    run("ip addr add 10.5.0.1/24 dev eth0");
    run("ipvsadm --start-daemon backup --mcast-interface eth0");
    let mixed = "version: 1
scope: all
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    forward: tun
    real_servers: [ { address: 10.0.0.1 }, { address: '2001:db8::1' } ]
";
    let words = "another program runs the sync daemon backup";
    assert_stopped(
        &fixture,
        mixed,
        &[words, "`ipvsadm --stop-daemon backup`", "nothing was changed"],
    );
    run("ipvsadm --stop-daemon backup");
    let answer = fixture.evenkeel("apply --yes --allow take-over spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_sync_daemon_beside_mixed_families_of_another_program_stops_an_apply_before_the_first_change() {
    let fixture = Fixture::expiring(OLD);
    run("ip addr add 10.5.0.1/24 dev eth0");
    let other = "version: 1
scope: { vips: [192.0.2.200/32] }
sync: [ { state: master, interface: eth0 } ]
services: [ { name: other, vip: 192.0.2.200, port: 80, real_servers: [ { address: 10.0.0.1 } ] } ]
";
    run("ipvsadm -A -t 192.0.2.77:80");
    run("ipvsadm -a -t 192.0.2.77:80 -r [2001:db8::1]:80 -i");
    let words = "as 192.0.2.77:80/tcp has, which this spec does not manage";
    assert_stopped(&fixture, other, &[words, "remove `sync`", "nothing was changed"]);
}

#[test]
fn an_apply_whose_log_or_answer_cannot_be_written_is_whole() {
    for (stream, status) in [("stderr", 0), ("stdout", 1)] {
        for level in ["-v", "-vvv"] {
            let fixture = Fixture::expiring("");
            fixture.write("spec.yaml", spec(VIP, "wrr", "10.0.0.2"));
            let mut command = Command::new(program());
            command.args(["apply", level, "--yes", "spec.yaml"]);
            command.arg("--state-dir").arg(fixture.path().join("state"));
            let full = std::fs::File::create("/dev/full").unwrap();
            match stream {
                "stderr" => command.stderr(full).stdout(Stdio::null()),
                _ => command.stdout(full).stderr(Stdio::null()),
            };
            let ended = command.current_dir(fixture.path()).status().unwrap();
            assert_eq!(ended.code(), Some(status), "{stream} {level}");
            fixture.assert_in_sync("spec.yaml");
            assert!(run("ip -o address show dev eth0").contains("192.0.2.1/32"), "{stream}");
        }
    }
}
