//! P4, P13, P29, P30, P33 and P34: the module, its privileges, and its state per namespace.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command as Program, Output};

use evenkeel_host::set_sysctl;
use evenkeel_ipvs::{SyncDaemon, SyncState, modules as kernel_modules, protocol};
use evenkeel_lab_tests::{enter_namespace, modules, this_namespace};
use nix::errno::Errno;

use super::wire::{self, Wire, command, find};
use super::*;

/// `IPVS_DAEMON_ATTR_MCAST_GROUP` and `_MCAST_PORT`
const GROUP: u16 = 5;
const PORT: u16 = 7;

/// Returns a client in a namespace with an interface on which daemons can send and listen.
fn wired() -> Client {
    let client = client();
    run("ip link add sync0 type veth peer name sync1");
    run("ip link set sync1 addrgenmode none up");
    run("ip link set sync0 addrgenmode none up");
    run("ip address add 192.0.2.1/24 dev sync0");
    client
}

fn daemon(state: SyncState) -> SyncDaemon {
    SyncDaemon::new(state, Name::new("sync0").unwrap())
}

fn output(program: &mut Program) -> Output {
    program.output().unwrap()
}

#[test]
fn p04_the_port_of_a_daemon_is_in_host_byte_order_and_its_group_in_network_byte_order() {
    let mut client = wired();
    client.start_daemon(&daemon(SyncState::Backup)).unwrap();
    let wire = Wire::open();
    let answers: Vec<Vec<u8>> = wire.dump(command::GET_DAEMON, &[]).flatten().collect();
    let daemon = find(&answers[0], wire::DAEMON).unwrap();
    assert_eq!(find(daemon, PORT), Some(&8848_u16.to_ne_bytes()[..]));
    assert_eq!(find(daemon, GROUP), Some(&[224, 0, 0, 81][..]));
    client.stop_daemon(SyncState::Backup).unwrap();
}

/// `ipvsadm` itself runs modprobe, which must fail for it as well.
#[test]
fn p13_without_the_module_ipvsadm_gets_no_such_protocol() {
    fresh_namespace();
    modules::unload("ip_vs");
    let unable = "--inh-caps=-sys_module --bounding-set=-sys_module ipvsadm -Ln";
    let mut program = Program::new("setpriv");
    let output = modules::without_modprobe(|| output(program.args(unable.split(' '))));
    kernel_modules::load("ip_vs").unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && words.contains("Protocol not available"), "{words}");
}

/// Verified: `GENL_ADMIN_PERM` requires the capability in the initial user namespace, so root of
/// another one may not even read. The older socket options require it in the user namespace that
/// owns the network namespace: with `getsockopt` and `setsockopt` alone, a rootless namespace could
/// read its table and add a service to it. `ipvsadm` does not try them if it finds the family,
/// which it always does. `/proc/sys/net/ipv4/vs` exists and is empty; `/proc/net/ip_vs` shows the
/// table.
#[test]
fn p29_root_of_its_own_user_namespace_may_not_read_and_has_no_settings() {
    client();
    let inside = |namespaces: &[&str], script: &str| {
        let mut program = Program::new("unshare");
        output(program.args(namespaces).args(["sh", "-c", script]))
    };
    let rootless = ["--user", "--map-root-user", "--net"];
    for command in ["ipvsadm -Ln", "ipvsadm -A -t 192.0.2.1:80 -s rr"] {
        let refused = inside(&rootless, command);
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && words.contains("Permission denied"), "{words}");
        assert!(inside(&["--net"], command).status.success());
    }
    let settings = "ls /proc/sys/net/ipv4/vs";
    assert_eq!(String::from_utf8_lossy(&inside(&rootless, settings).stdout), "");
    assert!(!inside(&["--net"], settings).stdout.is_empty());
    assert!(inside(&rootless, "cat /proc/net/ip_vs").stdout.starts_with(b"IP Virtual Server"));
}

/// Verified: the family is reported as ENOENT. If modprobe works, this never occurs, as the request
/// itself loads the module by its alias and gets an answer; it never had to be repeated.
#[test]
fn p30_the_family_is_missing_until_a_request_loads_the_module() {
    fresh_namespace();
    modules::unload("ip_vs");
    let refused = modules::without_modprobe(wire::lookup);
    let stayed_away = !modules::is_loaded("ip_vs");
    let found = wire::lookup().map(drop);
    let came = modules::is_loaded("ip_vs");
    kernel_modules::load("ip_vs").unwrap();
    assert_eq!((refused, stayed_away), (Err(Errno::ENOENT), true));
    assert_eq!((found, came), (Ok(()), true));
}

/// Returns the kernel threads that are daemons of any namespace.
fn threads() -> BTreeSet<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let is_daemon = |path: &PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ipvs-"))
    };
    processes.filter(is_daemon).collect()
}

#[test]
fn p33_the_first_daemon_decides_how_many_ports_daemons_use() {
    let mut client = wired();
    // Daemons of earlier tests may still be ending.
    let mut starting = |state, sync_ports| {
        let before = threads();
        set_sysctl("net.ipv4.vs.sync_ports", sync_ports).unwrap();
        client.start_daemon(&daemon(state)).unwrap();
        threads().difference(&before).count()
    };
    assert_eq!(starting(SyncState::Backup, "2"), 2);
    assert_eq!(starting(SyncState::Master, "4"), 2, "as the one that runs already");
    client.stop_daemon(SyncState::Backup).unwrap();
    client.stop_daemon(SyncState::Master).unwrap();
    let before = threads();
    client.start_daemon(&daemon(SyncState::Master)).unwrap();
    assert_eq!(threads().difference(&before).count(), 4, "the first one again");
    client.stop_daemon(SyncState::Master).unwrap();
}

#[test]
fn p34_a_flush_deletes_every_service_of_the_namespace_and_of_no_other() {
    let web = service("192.0.2.1:80", protocol::TCP, "rr");
    let mut elsewhere = client();
    done(&mut elsewhere, [Command::NewService(web)]);
    let there = this_namespace();
    let mut here = client();
    let mark = marked(Family::Ipv6, 5);
    done(&mut here, [Command::NewService(web), Command::NewService(mark)]);
    run("ipvsadm -C");
    assert_eq!(here.services().unwrap(), []);
    enter_namespace(&there);
    assert_eq!(elsewhere.services().unwrap().len(), 1);
}
