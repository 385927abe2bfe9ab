//! Tests tunnel devices and FOU ports against `ip -d link` and `ip fou show`.

use std::process::Command;

use evenkeel_host::{FouPort, Ip6tnlMode, TunnelDriver};

use super::*;

const DRIVERS: [TunnelDriver; 5] = [
    TunnelDriver::Ipip,
    TunnelDriver::Sit,
    TunnelDriver::Ip6tnl,
    TunnelDriver::Gre,
    TunnelDriver::Ip6gre,
];

fn host() -> Host {
    fresh_namespace();
    Host::connect().unwrap()
}

/// Whether `ip -d link` shows a device with these words.
fn shows(device: &str, words: &[&str]) -> bool {
    let shown = run(&format!("ip -d link show dev {device}"));
    words.iter().all(|word| shown.contains(word))
}

#[test]
fn a_tunnel_device_is_taken_into_use_and_returned() {
    for driver in DRIVERS {
        let host = host();
        let device = driver.device();
        host.add_tunnel(driver, None).unwrap();
        assert!(shows(device, &["UP", "alias evenkeel", "remote any", "local any"]), "{device}");
        let found = link(&host, device);
        let tunnel = found.tunnel.clone().unwrap();
        assert!(found.up && found.has_our_alias() && !found.is_ours());
        assert_eq!((tunnel.driver, tunnel.is_any_to_any), (driver, true));
        assert!(matches!(host.add_tunnel(driver, None), Err(Error::Exists { .. })));
        run(&format!("ip addr add 192.0.2.9/32 dev {device}"));
        let refused = host.delete_tunnel(driver).unwrap_err().to_string();
        assert!(refused.contains("address 192.0.2.9/32 is in the way"), "{refused}");
        assert!(shows(device, &["UP", "alias evenkeel"]));
        run(&format!("ip addr delete 192.0.2.9/32 dev {device}"));
        // The kernel gives sit0 and gre0 an address with each IPv4 address of the host in it.
        run("ip link set lo up");
        host.delete_tunnel(driver).unwrap();
        assert!(!shows(device, &["UP"]) && !shows(device, &["evenkeel"]), "{device}");
        assert!(matches!(host.delete_tunnel(driver), Err(Error::Missing { .. })));
        // Once more, as after a teardown.
        host.add_tunnel(driver, None).unwrap();
        assert!(link(&host, device).up);
    }
}

/// Creates a namespace in which the kernel makes no fallback devices, from the kernel's first one, which
/// alone has the setting.
fn host_without_fallback(first: &std::fs::File) -> Host {
    let set = |value: &str| {
        std::fs::write("/proc/sys/net/core/fb_tunnels_only_for_init_net", value).unwrap();
    };
    enter_namespace(first);
    set("2");
    fresh_namespace();
    let made = this_namespace();
    enter_namespace(first);
    set("0");
    enter_namespace(&made);
    Host::connect().unwrap()
}

#[test]
#[ignore = "its setting is one of the whole kernel, so it must run alone"]
fn where_the_kernel_makes_no_fallback_devices_one_is_created_and_deleted() {
    let first = this_namespace();
    for driver in DRIVERS {
        let host = host_without_fallback(&first);
        let device = driver.device();
        assert!(host.link(device).unwrap().is_none());
        let mode = (driver == TunnelDriver::Ip6tnl).then_some(Ip6tnlMode::Any);
        host.add_tunnel(driver, mode).unwrap();
        assert!(shows(device, &["UP", "alias evenkeel", "remote any", "local any"]), "{device}");
        if driver == TunnelDriver::Ip6tnl {
            assert!(shows(device, &["ip6tnl any remote any"]));
            host.edit_tunnel(driver, Ip6tnlMode::Ip6ip6).unwrap();
            assert!(shows(device, &["ip6tnl ip6ip6 remote any", "UP"]));
        }
        host.delete_tunnel(driver).unwrap();
        assert!(host.link(device).unwrap().is_none(), "{device}");
    }
}

#[test]
fn ip6tnl0_accepts_ipv4_on_request_and_is_as_before_afterwards() {
    let host = host();
    host.add_tunnel(TunnelDriver::Ip6tnl, Some(Ip6tnlMode::Any)).unwrap();
    assert!(shows("ip6tnl0", &["ip6tnl any remote any local any"]));
    host.edit_tunnel(TunnelDriver::Ip6tnl, Ip6tnlMode::Ip6ip6).unwrap();
    assert!(shows("ip6tnl0", &["ip6tnl ip6ip6 remote any local any", "UP", "evenkeel"]));
    host.edit_tunnel(TunnelDriver::Ip6tnl, Ip6tnlMode::Any).unwrap();
    host.delete_tunnel(TunnelDriver::Ip6tnl).unwrap();
    assert!(shows("ip6tnl0", &["ip6tnl ip6ip6 remote any local any"]));
}

#[test]
fn an_interface_of_another_kind_is_refused() {
    let host = host();
    // The device keeps its driver under another name.
    host.add_tunnel(TunnelDriver::Ipip, None).unwrap();
    host.delete_tunnel(TunnelDriver::Ipip).unwrap();
    run("ip link set tunl0 name other0");
    run("ip link add tunl0 type dummy");
    let refused = host.add_tunnel(TunnelDriver::Ipip, None).unwrap_err().to_string();
    assert!(refused.contains("that is not of type ipip"), "{refused}");
    run("ip link delete tunl0");
    run("ip link add tunl0 type ipip local 192.0.2.1 remote 192.0.2.2");
    let refused = host.add_tunnel(TunnelDriver::Ipip, None).unwrap_err().to_string();
    assert!(refused.contains("another program has set its ends"), "{refused}");
    assert!(!link(&host, "tunl0").up);
}

#[test]
fn a_device_that_another_program_has_marked_is_refused() {
    let host = host();
    run("modprobe sit");
    run("ip link set sit0 alias theirs");
    let refused = host.add_tunnel(TunnelDriver::Sit, None).unwrap_err().to_string();
    assert!(refused.contains("alias `theirs`") && refused.contains("alias ''"), "{refused}");
    assert!(shows("sit0", &["alias theirs"]) && !shows("sit0", &["UP"]));
    let unmarked = Command::new("ip").args(["link", "set", "sit0", "alias", ""]).status();
    assert!(unmarked.unwrap().success());
    host.add_tunnel(TunnelDriver::Sit, None).unwrap();
    assert!(shows("sit0", &["alias evenkeel", "UP"]));
}

#[test]
fn fou_ports_are_added_listed_and_deleted() {
    let host = host();
    let port = |port, is_ipv6, is_gue| FouPort { port, is_ipv6, is_gue };
    if let Err(Error::FouUnavailable { .. }) = host.add_fou_port(6080, false) {
        assert_eq!(host.fou_ports().unwrap(), []);
        run("modprobe fou");
        host.add_fou_port(6080, false).unwrap();
    }
    host.add_fou_port(6080, true).unwrap();
    run("ip fou add port 6081 ipproto 4");
    let mut found = host.fou_ports().unwrap();
    found.sort_by_key(|it| (it.port, it.is_ipv6));
    assert_eq!(found, [port(6080, false, true), port(6080, true, true), port(6081, false, false)]);
    let shown = run("ip fou show") + &run("ip -6 fou show");
    assert!(shown.contains("port 6080 gue -6") && shown.contains("port 6080 gue\n"), "{shown}");
    assert!(matches!(host.add_fou_port(6080, false), Err(Error::Exists { .. })));
    assert!(matches!(host.add_fou_port(6081, false), Err(Error::Exists { .. })));
    let socket = std::net::UdpSocket::bind("0.0.0.0:6082").unwrap();
    let refused = host.add_fou_port(6082, false).unwrap_err().to_string();
    assert!(refused.contains("another socket of this host uses the UDP port"), "{refused}");
    drop(socket);
    for is_ipv6 in [false, true] {
        host.delete_fou_port(6080, is_ipv6).unwrap();
        assert!(matches!(host.delete_fou_port(6080, is_ipv6), Err(Error::Missing { .. })));
    }
    // One that is not of GUE is another program's.
    assert!(matches!(host.delete_fou_port(6081, false), Err(Error::Missing { .. })));
    assert_eq!(host.fou_ports().unwrap(), [port(6081, false, false)]);
}
