//! Tests the report of services that no client reaches: in a plan, in the status, and as a metric.

use super::*;

/// Services whose addresses evenkeel does not bind.
const SPEC: &str = "version: 1
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 } ] }
  - { name: six, vip: '2001:db8::1', port: 53, protocol: udp, drain: 0s, real_servers: [ { address: 'fd00::1' } ] }
  - { name: sctp, vip: 192.0.2.1, port: 36412, protocol: sctp, drain: 0s, real_servers: [ { address: 10.0.0.2 } ] }
  - { name: marked, fwmark: 7, family: ipv4, drain: 0s, real_servers: [ { address: 10.0.0.1 } ] }
";

/// Returns the numbers of a plan and of the status, which must agree: services whose address is not local, and
/// services without real servers of positive weight.
fn unreachable(host: &Host) -> [usize; 2] {
    const KEYS: [&str; 2] = ["services_not_local", "services_without_servers"];
    let (code, stdout, stderr) =
        host.evenkeel("plan specs/spec.yaml --output json --detailed-exitcode");
    assert_eq!(code, 0, "{stderr}");
    let plan: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(plan["in_sync"], true, "{plan:#}");
    let planned = KEYS.map(|key| plan[key].as_array().unwrap().len());
    let metrics = || {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:9479").unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let is_reported = || {
        let status = host.status();
        assert_eq!(status["state"], "ok", "{status:#}");
        let shown = metrics();
        KEYS.iter().zip(planned).all(|(key, number)| {
            status[key] == number && shown.contains(&format!("evenkeel_{key} {number}\n"))
        })
    };
    assert!(
        within(Duration::from_secs(3), is_reported),
        "{planned:?} {:#}\n{}",
        host.status(),
        metrics()
    );
    planned
}

#[test]
fn a_service_whose_address_is_not_local_is_reported_until_it_is() {
    let host = Host::new();
    run("ip link set lo up");
    run("ip link set eth0 up");
    let _daemon = host.watching(SPEC, "--interval 1s --listen 127.0.0.1:9479");
    assert_eq!(unreachable(&host), [3, 0]);
    let (_, _, stderr) = host.evenkeel("plan specs/spec.yaml");
    assert!(
        stderr.contains("no client reaches") && stderr.contains("web/192.0.2.1:80/tcp"),
        "{stderr}"
    );
    let warnings = host.status()["warnings"].to_string();
    assert!(warnings.contains("six/[2001:db8::1]:53/udp"), "{warnings}");

    // As keepalived binds them, and as it takes them along when it stops.
    run("ip address add 192.0.2.1/32 dev eth0");
    assert_eq!(unreachable(&host), [1, 0]);
    run("ip address add 2001:db8::1/128 dev eth0 nodad");
    assert_eq!(unreachable(&host), [0, 0]);
    run("ip link set eth0 down");
    // The kernel deletes the IPv6 address; the IPv4 address stays local on every other interface
    // (`fib_sync_down_dev`).
    assert_eq!(unreachable(&host), [1, 0], "the interface is down");
    run("ip link set eth0 up");
    run("ip address flush dev eth0");
    assert_eq!(unreachable(&host), [3, 0]);

    // Whole ranges, in the table `local` and in another one.
    run("ip route add local 192.0.2.0/24 dev lo");
    assert_eq!(unreachable(&host), [1, 0]);
    // A transparent proxy's route concerns marked packets.
    run("ip -6 route add local default dev lo table 100");
    assert_eq!(unreachable(&host), [1, 0]);
    run("ip -6 route add local 2001:db8::/64 dev lo table 100");
    assert_eq!(unreachable(&host), [0, 0]);
    run("ip route del local 192.0.2.0/24 dev lo");
    assert_eq!(unreachable(&host), [2, 0]);
}

#[test]
fn a_service_without_positive_weight_is_reported_unless_it_leaves() {
    let host = Host::new();
    run("ip link set lo up");
    run("ip link set eth0 up");
    run("ip address add 192.0.2.1/32 dev eth0");
    run("ip address add 2001:db8::1/128 dev eth0 nodad");
    let checked = "  - { name: checked, vip: 192.0.2.1, port: 81, ignore: [weight], drain: 0s, real_servers: [ { address: 10.0.0.1 } ] }\n";
    let _daemon =
        host.watching(&format!("{SPEC}{checked}"), "--interval 1s --listen 127.0.0.1:9479");
    assert_eq!(unreachable(&host), [0, 0]);
    // A checker that found all real servers dead.
    run("ipvsadm -e -t 192.0.2.1:81 -r 10.0.0.1:81 -g -w 0");
    assert_eq!(unreachable(&host), [0, 1]);
    let warnings = host.status()["warnings"].to_string();
    assert!(warnings.contains("new clients of checked/192.0.2.1:81/tcp are refused"), "{warnings}");
    run("ipvsadm -e -t 192.0.2.1:81 -r 10.0.0.1:81 -g -w 1");
    assert_eq!(unreachable(&host), [0, 0]);
    let bare = SPEC.replace("real_servers: [ { address: 10.0.0.2 } ]", "real_servers: []");
    host.write("spec.yaml", bare);
    host.wait_for_state("held");
    let (code, _, stderr) = host.evenkeel("apply --yes specs/spec.yaml --allow no-server");
    assert_eq!(code, 0, "{stderr}");
    host.wait_for_state("ok");
    assert_eq!(unreachable(&host), [0, 1]);
}
