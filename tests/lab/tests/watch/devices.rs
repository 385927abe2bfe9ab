//! Tests a dummy device that evenkeel created while another program sets it down, and sync daemons whose
//! interface is made anew.

use super::*;

const SPEC: &str = "version: 1
scope: all
vips:
  - { address: 192.0.2.1, interface: vip0, dummy: true }
  - { address: '2001:db8::1', interface: vip0, dummy: true }
  - { address: 192.0.2.2, interface: eth0 }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    drain: 0s
    real_servers: [ { address: 10.0.0.1 }, { address: '2001:db8:1::1' } ]
";

/// Returns what VIPs on the device need, as `ip` shows it: its addresses, and the routes that make
/// them local, without those that the kernel adds to every device.
fn alive() -> (Vec<String>, Vec<String>) {
    let lines = |command: &str| -> Vec<String> {
        let text = run(command);
        let lines = text.lines().filter(|line| !line.contains("fe80"));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let mut routes = lines("ip route show table local dev vip0");
    routes.extend(
        lines("ip -6 route show table local dev vip0")
            .into_iter()
            .filter(|line| line.contains("2001:db8::1")),
    );
    let addresses = lines("ip -o addr show dev vip0").into_iter();
    let addresses = addresses.filter_map(|line| line.split(' ').nth(3).map(str::to_owned));
    (addresses.collect(), routes)
}

fn is_up(interface: &str) -> bool {
    run(&format!("ip link show dev {interface}")).contains(",UP")
}

#[test]
fn apply_brings_up_a_device_of_evenkeel_that_was_set_down() {
    let host = Host::new();
    host.write("spec.yaml", SPEC);
    assert_eq!(host.evenkeel("apply --yes specs/spec.yaml").0, 0);
    assert!(within(Duration::from_secs(3), || alive().1.len() == 2), "{:?}", alive());
    let before = alive();
    run("ip link set vip0 down");
    // IPv4 addresses survive that.
    let (addresses, routes) = alive();
    assert_eq!((addresses, routes.len()), (vec!["192.0.2.1/32".to_owned()], 1));
    run("ip link set eth0 down");
    let (code, stdout, stderr) = host.evenkeel("plan --detailed-exitcode specs/spec.yaml");
    assert_eq!(code, 2, "{stdout}{stderr}");
    assert!(
        stdout.starts_with(
            "~ edit dummy device vip0: up no -> yes # drift\n\
             + bind vip 2001:db8::1/128 on vip0 # drift\n\
             Plan: 0 to add, 1 to edit, 0 to delete, 1 to bind; "
        ),
        "{stdout}"
    );
    // A device of another program causes a warning only.
    assert!(stderr.contains("interface eth0 is down: 192.0.2.2"), "{stderr}");
    assert!(!stderr.contains("vip0"), "{stderr}");
    let (code, stdout, stderr) = host.evenkeel("apply --yes specs/spec.yaml");
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(is_up("vip0") && !is_up("eth0"));
    assert!(within(Duration::from_secs(1), || alive() == before), "{:?}", alive());
    let (code, stdout, _) = host.evenkeel("plan --detailed-exitcode specs/spec.yaml");
    assert!(code == 0 && stdout.starts_with("In sync"), "{stdout}");
}

#[test]
fn a_daemon_brings_up_a_device_of_evenkeel_that_was_set_down_with_its_vips() {
    let host = Host::new();
    let daemon = host.watching(SPEC, "--interval 30s");
    assert!(within(Duration::from_secs(3), || alive().1.len() == 2), "{:?}", alive());
    let before = alive();
    for _ in 0..3 {
        let begin = Instant::now();
        run("ip link set vip0 down");
        // The kernel reports it, so the daemon does not wait for its interval.
        let is_back = || is_up("vip0") && alive() == before;
        assert!(within(Duration::from_secs(2), is_back), "{:?}: {}", alive(), daemon.log());
        say(&format!("a device is up again, with its VIPs, after {:?}", begin.elapsed()));
        std::thread::sleep(Duration::from_millis(200));
    }
    host.wait_for_state("ok");
    run("ip link set eth0 down");
    std::thread::sleep(Duration::from_secs(1));
    assert!(!is_up("eth0"), "it belongs to another program");
}

/// Makes the interface of sync daemons, and returns its number.
fn make_sync_link() -> u32 {
    run("ip link add sync0 up type dummy");
    run("ip address add 10.9.9.1/24 dev sync0");
    let shown = run("ip -o link show dev sync0");
    shown.split(':').next().unwrap().trim().parse().unwrap()
}

/// Whether a socket of the kernel on the present interface receives what is sent to that group.
fn receives(group: &str) -> bool {
    run("ip maddress show dev sync0").split_whitespace().any(|word| word == group)
}

fn syncing(group: &str) -> String {
    let group = format!("group: '{group}'");
    format!(
        "{}sync:
  - {{ state: master, interface: sync0, id: 7, {group} }}
  - {{ state: backup, interface: sync0, id: 7, {group} }}
",
        spec("10.0.0.2")
    )
}

#[test]
fn a_daemon_restarts_the_sync_daemons_of_an_interface_that_was_made_anew() {
    for group in ["224.0.0.81", "ff02::5:6"] {
        let host = Host::new();
        let mut index = make_sync_link();
        let daemon = host.watching(&syncing(group), "--interval 1s");
        assert!(receives(group), "{}", run("ip maddress show dev sync0"));
        for _ in 0..2 {
            let begin = Instant::now();
            run("ip link delete sync0");
            let before = std::mem::replace(&mut index, make_sync_link());
            assert_ne!(before, index);
            assert!(within(Duration::from_secs(5), || receives(group)), "{}", daemon.log());
            say(&format!("{group} is received again after {:?}", begin.elapsed()));
            host.wait_for_state("ok");
            let daemons = run("ipvsadm -L --daemon");
            assert_eq!(daemons.matches("mcast=sync0, syncid=7").count(), 2, "{daemons}");
        }
    }
}

#[test]
fn apply_restarts_the_sync_daemons_of_an_interface_that_was_made_anew() {
    let host = Host::new();
    make_sync_link();
    host.write("spec.yaml", syncing("224.0.0.81"));
    assert_eq!(host.evenkeel("apply --yes specs/spec.yaml").0, 0);
    let in_sync = || host.evenkeel("plan --detailed-exitcode specs/spec.yaml").0 == 0;
    assert!(in_sync() && receives("224.0.0.81"));
    run("ip link delete sync0");
    make_sync_link();
    assert!(!receives("224.0.0.81"), "the kernel does not do it itself");
    let (code, stdout, stderr) = host.evenkeel("plan --detailed-exitcode specs/spec.yaml");
    assert_eq!(code, 2, "{stdout}{stderr}");
    for state in ["master", "backup"] {
        for verb in ["- delete", "+ add"] {
            let step = format!("{verb} sync daemon {state}: interface sync0, id 7");
            assert!(stdout.contains(&step), "{stdout}");
        }
    }
    let (code, stdout, stderr) = host.evenkeel("apply --yes specs/spec.yaml");
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(in_sync() && receives("224.0.0.81"));
}
