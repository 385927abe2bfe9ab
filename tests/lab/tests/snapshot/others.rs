//! Tests the property with other writers: ipvsadm, which accepts more than the rules of a spec, and
//! netlink itself, which accepts more than ipvsadm.

use std::net::SocketAddr;

use evenkeel_ipvs::{
    Client, Command, Destination, DestinationKey, Family, Name, Netmask, Service, ServiceKey,
    SyncDaemon, SyncState, Timeouts, Tunnel, flags, forward, protocol, tunnel_flags, tunnel_kind,
};
use evenkeel_lab_tests::property::{cases, check};
use evenkeel_lab_tests::{fresh_host, ipvsadm, run, run_with};
use evenkeel_model::arbitrary::pair;
use proptest::sample::subsequence;

use super::*;
use crate::dump::Dump;

/// Rules that ipvsadm accepts, and that a spec refuses or cannot express.
const ODD: [&str; 15] = [
    "-A -t 192.0.2.201:80 -s wlc -M 255.255.0.0",
    "-A -u 192.0.2.202:80 -s wlc --pe sip
-a -u 192.0.2.202:80 -r 10.0.0.1:5060 -m",
    "-A -t 192.0.2.203:80 -s wlc -p 5 --pe sip",
    "-A -t 192.0.2.204:80 -s rr --pe sip",
    "-A -t 192.0.2.205:80 -s none
-a -t 192.0.2.205:80 -r 10.0.0.1:80 -g -w 0",
    "-A -t 192.0.2.206:80 -s lc -p 5 -M 0.0.0.0",
    "-A -t 192.0.2.207:80 -s lc -p 5 -M 255.0.255.1",
    "-A -t 224.0.0.5:88 -s wlc -p 7",
    "-A -u 0.0.0.0:88 -s wlc -o",
    "-A -t 192.0.2.208:0 -s rr -p 9
-a -t 192.0.2.208:0 -r 10.0.0.1:8080 -m
-a -t 192.0.2.208:0 -r 10.0.0.2:0 -i",
    "-A -f 500 -s sh -b sh-port
-a -f 500 -r 10.0.0.3:8080 -g -w 0
-a -f 500 -r 10.0.0.1:8080 -i
-a -f 500 -r 10.0.0.1:0 -g
-a -f 500 -r 10.0.0.2:9 -i --tun-type gre --tun-csum",
    "-A -f 501 -6 -s mh -b mh-port,flag-3
-a -f 501 -6 -r [fe80::1]:0 -g",
    "-A -t 192.0.2.209:80 -s dh
-a -t 192.0.2.209:80 -r 127.0.0.1:8080 -m -w 0
-a -t 192.0.2.209:80 -r 203.0.113.1:80 -g",
    "-A -t [fe80::1]:80 -s rr
-a -t [fe80::1]:80 -r [fe80::1]:80 -g",
    "-A -t 255.255.255.255:80 -s fo -b flag-2",
];

#[test]
fn a_snapshot_of_a_table_of_ipvsadm_plans_empty_and_rebuilds_it_on_an_empty_host() {
    let odd = subsequence(ODD.to_vec(), 0..=ODD.len());
    let around = (1..=7_200_u32, prop::bool::ANY, prop::bool::ANY);
    check(cases(CASES), &(pair(4), odd, around), |(pair, odd, (seconds, syncs, pooled))| {
        fresh_host();
        ipvsadm::restore(&pair.live.services);
        if !odd.is_empty() {
            run_with("ipvsadm -R", &(odd.join("\n") + "\n"));
        }
        run(&format!("ipvsadm --set {seconds} 0 {seconds}"));
        if syncs && !is_mixed(&pair.live.services) {
            run("ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 9 --mcast-ttl 7");
        }
        assert_lossless(pooled)
    });
}

/// Asserts the property on this namespace, in its current state.
fn assert_lossless(pooled: bool) -> Tested {
    let text = snapshot(&everything(), pooled);
    let kept = assert_plans_empty(&text)?;
    let (dump, listed) = (Dump::take().without_idle_values(), ipvsadm::save());
    fresh_host();
    apply_completely(&kept)?;
    prop_assert_eq!(Dump::take().without_idle_values(), dump, "{}", text);
    prop_assert_eq!(ipvsadm::save(), listed, "{}", text);
    prop_assert_eq!(snapshot(&everything(), pooled), text);
    Ok(())
}

fn on(text: &str, protocol: u16) -> Service {
    let name: SocketAddr = text.parse().unwrap();
    let key = ServiceKey::Address { address: name.ip(), port: name.port(), protocol };
    Service::new(key, Name::new("rr").unwrap())
}

fn to(text: &str, forward: u32) -> Destination {
    let name: SocketAddr = text.parse().unwrap();
    Destination::new(DestinationKey { address: name.ip(), port: name.port() }, forward)
}

fn through(text: &str, kind: u8, port: u16, flags: u16) -> Destination {
    Destination { tunnel: Tunnel { kind, port, flags }, ..to(text, forward::TUNNEL) }
}

/// Returns objects that netlink accepts and ipvsadm cannot express: services, each with its
/// destinations.
fn services_beyond_ipvsadm() -> Vec<(Service, Vec<Destination>)> {
    let [one, two] = ["192.0.2.1:80", "[2001:db8::1]:80"];
    let persistent = flags::PERSISTENT;
    vec![
        // A port map although the packet is not changed, and forwarding methods of other tools.
        (
            on(one, protocol::TCP),
            vec![
                to("10.0.0.4:8080", forward::DROUTE),
                to("10.0.0.3:80", forward::LOCALNODE),
                to("10.0.0.2:80", forward::BYPASS),
                through("10.0.0.1:8080", tunnel_kind::IPIP, 0, 0),
            ],
        ),
        (
            Service {
                flags: flags::ONE_PACKET | flags::SCHED1,
                ..on("192.0.2.2:80", protocol::TCP)
            },
            vec![Destination { upper_threshold: u32::MAX, ..to("10.0.0.1:80", forward::MASQ) }],
        ),
        (Service { flags: flags::ONE_PACKET, ..on(two, protocol::SCTP) }, vec![]),
        (on("192.0.2.3:0", protocol::UDP), vec![to("10.0.0.1:7", forward::MASQ)]),
        (on("192.0.2.3:9", 47), vec![]),
        (Service { flags: persistent, timeout: 0, ..on("192.0.2.4:80", protocol::TCP) }, vec![]),
        (
            Service { flags: persistent, timeout: 4_000_000, ..on("192.0.2.5:80", protocol::TCP) },
            vec![],
        ),
        (
            // A timeout and a netmask, which have no meaning without the flag.
            Service {
                timeout: 77,
                netmask: Netmask::Ipv6(3),
                ..on("[2001:db8::5]:1", protocol::TCP)
            },
            vec![],
        ),
        (
            Service {
                flags: persistent,
                timeout: 5,
                netmask: Netmask::Ipv4([0, 0, 0, 255].into()),
                persistence_engine: Some(Name::new("sip").unwrap()),
                ..on("192.0.2.6:80", protocol::TCP)
            },
            vec![],
        ),
        (
            Service::new(
                ServiceKey::Fwmark { family: Family::Ipv4, fwmark: u32::MAX },
                Name::new("none").unwrap(),
            ),
            vec![
                to("10.0.0.9:80", forward::LOCALNODE),
                through("10.0.0.1:0", tunnel_kind::GUE, 6080, tunnel_flags::REMCSUM),
                through("[2001:db8::7]:9", tunnel_kind::GRE, 0, tunnel_flags::CSUM),
            ],
        ),
        // Parameters that a tunnel of that kind does not have.
        (
            on("192.0.2.7:80", protocol::TCP),
            vec![
                through("10.0.0.1:80", tunnel_kind::IPIP, 6080, tunnel_flags::CSUM),
                through("10.0.0.2:80", tunnel_kind::GRE, 6080, tunnel_flags::CSUM),
            ],
        ),
    ]
}

#[test]
fn a_snapshot_of_a_table_beyond_ipvsadm_plans_empty_and_rebuilds_it_on_an_empty_host() {
    let mut different = Vec::new();
    let all = services_beyond_ipvsadm();
    let singly = all.iter().map(|entry| vec![entry.clone()]);
    for table in singly.chain([all.clone()]) {
        fresh_host();
        let mut client = Client::connect().unwrap();
        let commands = table.iter().flat_map(|(service, destinations)| {
            let key = service.key;
            let added = destinations.iter();
            let added = added.map(move |it| Command::NewDestination(key, *it));
            [Command::NewService(*service)].into_iter().chain(added)
        });
        assert_eq!(client.execute(commands).unwrap(), []);
        client.set_timeouts(&Timeouts { tcp: 1, tcp_fin: 2_147_483, udp: 0 }).unwrap();
        if let Err(error) = assert_lossless(true) {
            different.push(format!("{table:?}: {error}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn a_snapshot_of_a_daemon_with_all_its_parameters_rebuilds_it_on_an_empty_host() {
    for state in [SyncState::Master, SyncState::Backup] {
        fresh_host();
        let daemon = SyncDaemon {
            sync_id: 255,
            max_length: Some(9_000),
            group: Some("ff05::1:2".parse().unwrap()),
            port: Some(1),
            ttl: Some(255),
            ..SyncDaemon::new(state, Name::new("eth0").unwrap())
        };
        Client::connect().unwrap().start_daemon(&daemon).unwrap();
        assert_lossless(false).unwrap();
    }
}
