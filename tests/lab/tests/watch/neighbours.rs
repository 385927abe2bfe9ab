//! Tests announcements to the neighbours of a VIP.

use super::*;

/// Another host on the link, in a network namespace of its own, which accepts announcements.
const PEER: &str = "evenkeel-neighbour";

const SPEC: &str = "version: 1
scope: all
vips: [ { address: 192.0.2.1, interface: eth0 }, { address: '2001:db8::1', interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 192.0.2.11 } ] }
";

struct Linked {
    host: Host,
}

impl Linked {
    fn new() -> Self {
        let host = Host::new();
        run("ip link del eth0");
        run(&format!("ip netns add {PEER}"));
        run(&format!("ip link add eth0 type veth peer name eth1 netns {PEER}"));
        run("ip addr add 192.0.2.9/24 dev eth0");
        run("ip addr add 2001:db8::9/64 dev eth0 nodad");
        run("ip link set eth0 up");
        run(&format!("ip -n {PEER} addr add 192.0.2.8/24 dev eth1"));
        run(&format!("ip -n {PEER} addr add 2001:db8::8/64 dev eth1 nodad"));
        run(&format!("ip -n {PEER} link set eth1 up"));
        run(&format!("ip netns exec {PEER} sysctl -qw net.ipv4.conf.eth1.arp_accept=1"));
        Self { host }
    }

    /// Returns the hardware address that the neighbour has for the VIP.
    fn known(&self) -> String {
        run(&format!("ip -n {PEER} neigh show 192.0.2.1 dev eth1"))
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        run(&format!("ip netns del {PEER}"));
    }
}

#[test]
fn a_vip_is_announced_again_when_its_interface_comes_up() {
    let linked = Linked::new();
    let mac = run("ip -br link show eth0").split_whitespace().nth(2).unwrap().to_owned();
    let _daemon = linked.host.watching(SPEC, "--interval 1s");
    let is_known = || linked.known().contains(&mac);
    assert!(within(Duration::from_secs(2), is_known), "{}", linked.known());
    for (down, up) in [
        ("ip link set eth0 down".to_owned(), "ip link set eth0 up".to_owned()),
        (format!("ip -n {PEER} link set eth1 down"), format!("ip -n {PEER} link set eth1 up")),
    ] {
        run(&down);
        // Time for the daemon to notice.
        std::thread::sleep(Duration::from_millis(500));
        run(&format!("ip -n {PEER} neigh flush all"));
        assert!(!is_known(), "{down}");
        run(&up);
        assert!(within(Duration::from_secs(3), is_known), "{up}: {}", linked.known());
    }
    linked.host.wait_for_state("ok");
    assert!(run("ip -o addr show dev eth0").contains("2001:db8::1/128"));
}

#[test]
fn without_the_capability_to_announce_a_vip_is_bound_and_everything_else_repaired() {
    let linked = Linked::new();
    linked.host.write("spec.yaml", SPEC);
    let daemon = linked.host.watch_with("-all,+net_admin");
    linked.host.wait_for_state("ok");
    let is_kept = || {
        let addresses = run("ip -o addr show dev eth0");
        ["192.0.2.1/32", "2001:db8::1/128"].iter().all(|it| addresses.contains(it))
            && table().contains("C000020B")
    };
    assert!(is_kept());
    assert_eq!(linked.known(), "");
    let words = "192.0.2.1/32 on eth0 is bound, but not announced";
    assert!(daemon.log().contains(words), "{}", daemon.log());
    run("ipvsadm -C");
    run("ip addr del 192.0.2.1/32 dev eth0");
    assert!(within(Duration::from_secs(2), is_kept), "{}", daemon.log());
    linked.host.wait_for_state("ok");
}
