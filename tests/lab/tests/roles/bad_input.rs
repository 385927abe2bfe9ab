//! What a host cannot do, or is not: one clear error with its place and a remedy, and nothing is changed.

use std::process::Command;

use evenkeel_lab_tests::modules::{is_loaded, unload, without_modprobe};
use evenkeel_lab_tests::{program, run};

use super::cases::{DIRECTOR, DR, LOCAL_NODE, TUN_GUE, TUN_IPIP};
use super::host::{Answer, Host};
use super::state::State;

/// Prepares a mount namespace in which not even root finds a module.
const WITHOUT_MODULES: &str = "mount -t tmpfs none /lib/modules";

/// Applies a spec and asserts that it fails with that status and these words, once each, and that the host
/// is as before.
#[track_caller]
fn assert_refused(host: &Host, arguments: &str, status: i32, words: &[&str]) {
    let before = State::read();
    let answer = host.evenkeel(&format!("apply --yes spec.yaml {arguments}"));
    assert_answer(&answer, status, words);
    let now = State::read();
    assert!(now == before, "{answer:?}: {}", now.changes_since(&before));
}

#[track_caller]
fn assert_answer(answer: &Answer, status: i32, words: &[&str]) {
    assert_eq!(answer.status, status, "{answer:#?}");
    let all = format!("{}{}", answer.stdout, answer.stderr);
    for words in words {
        assert_eq!(all.matches(words).count(), 1, "{words}: {answer:#?}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_refused() {
    let host = DIRECTOR.host();
    host.write(
        &DIRECTOR
            .spec
            .replace("192.0.2.1, interface: eth0, label: 'eth0:0'", "192.0.2.1, interface: eth9"),
    );
    let words =
        ["spec.yaml:5:5: interface eth9 does not exist; name one that does", "`dummy: true`"];
    assert_refused(&host, "", 1, &words);
}

#[test]
fn a_tunnel_that_the_kernel_lacks_is_refused() {
    let host = TUN_IPIP.host();
    host.write(TUN_IPIP.spec);
    unload("ipip");
    let before = State::read();
    let answer = without_modprobe(|| in_a_mount_namespace(&host, WITHOUT_MODULES));
    let words = [
        "cannot add tunnel device tunl0: the kernel module ipip is not available; install it, or use a \
         kernel with CONFIG_NET_IPIP",
        "rolled back: everything touched is as it was before",
    ];
    assert_answer(&answer, 4, &words);
    assert_unchanged(&before, &answer);
    host.apply(TUN_IPIP.spec);
}

#[test]
fn ports_of_gue_that_the_kernel_lacks_are_refused_and_no_device_stays_up() {
    let host = TUN_GUE.host();
    TUN_GUE.use_devices();
    host.write(TUN_GUE.spec);
    unload("fou");
    let before = State::read();
    let answer = without_modprobe(|| in_a_mount_namespace(&host, WITHOUT_MODULES));
    let words = [
        "cannot add fou port 6080/ipv4: the kernel module fou is not available; load it with `modprobe fou`",
        "cannot add fou port 6081/ipv4: the kernel module fou is not available; load it with `modprobe fou`",
        "rolled back: everything touched is as it was before",
    ];
    assert_answer(&answer, 4, &words);
    assert_unchanged(&before, &answer);
    host.apply(TUN_GUE.spec);
}

#[track_caller]
fn assert_unchanged(before: &State, answer: &Answer) {
    let now = State::read();
    assert!(now == *before, "{answer:?}: {}", now.changes_since(before));
}

/// Applies the spec in a mount namespace that a command prepares.
fn in_a_mount_namespace(host: &Host, prepare: &str) -> Answer {
    let mut command = Command::new("unshare");
    let script = format!("{prepare} && exec \"$0\" \"$@\"");
    command.args(["--mount", "sh", "-c", &script]).arg(program());
    command.args(["apply", "--yes"]).arg(host.path("spec.yaml"));
    command.arg("--state-dir").arg(host.path("state"));
    command.output().unwrap().into()
}

#[test]
fn sysctls_that_a_container_forbids_are_one_error() {
    // Of each role a sysctl that it needs.
    for (case, key) in [
        (&DR, " net.ipv4.conf.lo.arp_announce=2"),
        (&DIRECTOR, " net.ipv4.ip_forward=1"),
        (&TUN_IPIP, " net.ipv4.conf.tunl0.rp_filter=0"),
    ] {
        let host = case.host();
        case.use_devices();
        host.write(case.spec);
        let before = State::read();
        let script = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys";
        let answer = in_a_mount_namespace(&host, script);
        let error = "/proc/sys is read-only here, as in most containers, and evenkeel cannot set";
        assert_answer(&answer, 1, &[error, key, "(Docker: `--sysctl`"]);
        assert_eq!(answer.stderr.matches("error: ").count(), 1, "{answer:?}");
        assert_unchanged(&before, &answer);
    }
}

#[test]
fn a_host_that_is_two_directors_is_refused() {
    let host = DIRECTOR.host();
    let two = "directors: [ { name: lb1, addresses: [192.0.2.2] }, { name: lb2, addresses: [10.0.0.2] } ]";
    let spec: String = DIRECTOR
        .spec
        .lines()
        .map(|line| if line.starts_with("directors:") { two } else { line })
        .map(|line| format!("{line}\n"))
        .collect();
    let spec = spec
        .replace("interface: eth0", "interface: eth0, on: lb1")
        .replace("interface: vips", "interface: vips, on: lb1")
        .replace("gateway: director", "gateway: lb2");
    host.write(&spec.replace("    gateway: lb2\n", ""));
    let words = [
        "this host has addresses of several directors, `lb1` and `lb2`: this host has ",
        "list each host once: an address that moves between directors is a VIP",
        "spec.yaml:2:",
    ];
    assert_refused(&host, "", 65, &words);
}

#[test]
fn a_host_that_is_not_listed_is_refused() {
    let host = Host::new("address add 198.51.100.7/24 dev eth0");
    host.write(DR.spec);
    let words = [
        "this host is neither a director nor a real server: this host has 198.51.100.7",
        "the spec lists the directors lb1: 192.0.2.2, 2001:db8::2; and the real servers 192.0.2.11",
        "add an address of this host under `directors`, or to the real servers of a service; if the host \
         was removed on purpose, stop its daemon and run `evenkeel teardown`, which undoes what was applied \
         here",
    ];
    assert_refused(&host, "", 65, &words);
    assert_refused(&host, "--role auto", 65, &words);
    let words = ["this host has no address of a real server", "without `--role real-server`"];
    assert_refused(&host, "--role real-server", 65, &words);
    host.write(LOCAL_NODE.spec);
    let words = ["this host has no address of a director"];
    assert_refused(&host, "--role director", 65, &words);
}

#[test]
fn a_role_that_the_host_does_not_have_is_refused() {
    let host = DIRECTOR.host();
    host.write(DIRECTOR.spec);
    let words = ["this host has no address of a real server", "without `--role real-server`"];
    assert_refused(&host, "--role real-server", 65, &words);
    let host = DR.host();
    host.write(LOCAL_NODE.spec);
    assert_refused(&host, "--role director", 65, &["this host has no address of a director"]);
}

#[test]
fn a_host_without_ipvs_can_be_a_real_server_and_no_director() {
    let host = DR.host();
    unload("ip_vs");
    let before = State::read();
    let is_loaded = without_modprobe(|| {
        host.apply(DR.spec);
        assert!(State::read().contains("\"local\":\"192.0.2.1\""));
        let answer = host.evenkeel("teardown --yes");
        assert_eq!(answer.status, 0, "{answer:?}");
        before.assert_is_reached("without IPVS");
        is_loaded("ip_vs")
    });
    assert!(!is_loaded);
    let host = DIRECTOR.host();
    host.write(DIRECTOR.spec);
    let before = State::read();
    let answer = without_modprobe(|| host.evenkeel("apply --yes spec.yaml"));
    run("modprobe ip_vs");
    assert_answer(&answer, 1, &["the kernel has no IPVS"]);
    let now = State::read();
    assert!(now == before, "{answer:?}: {}", now.changes_since(&before));
}
