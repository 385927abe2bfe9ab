//! Tests evenkeel-ipvs on a real kernel; its effects are read with `ipvsadm`.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use evenkeel_ipvs::{
    Client, Command, Destination, DestinationKey, Family, Name, Netmask, Service, ServiceKey,
    Tunnel, flags, forward, protocol, tunnel_flags, tunnel_kind,
};
use evenkeel_lab_tests::{fresh_namespace, ipvsadm};

mod counters;
mod global;
mod kernel_modules;
mod refusals;

fn client() -> Client {
    fresh_namespace();
    Client::connect().unwrap()
}

fn service(text: &str, protocol: u16, scheduler: &str) -> Service {
    let name: SocketAddr = text.parse().unwrap();
    let key = ServiceKey::Address { address: name.ip(), port: name.port(), protocol };
    Service::new(key, Name::new(scheduler).unwrap())
}

fn web() -> Service {
    service("192.0.2.1:80", protocol::TCP, "wrr")
}

fn marked(family: Family, fwmark: u32) -> Service {
    Service::new(ServiceKey::Fwmark { family, fwmark }, Name::new("wlc").unwrap())
}

fn destination(text: &str, forward: u32) -> Destination {
    let name: SocketAddr = text.parse().unwrap();
    Destination::new(DestinationKey { address: name.ip(), port: name.port() }, forward)
}

fn tunnelled(text: &str, kind: u8, port: u16, flags: u16) -> Destination {
    Destination { tunnel: Tunnel { kind, port, flags }, ..destination(text, forward::TUNNEL) }
}

fn done(client: &mut Client, commands: impl IntoIterator<Item = Command>) {
    assert_eq!(client.execute(commands).unwrap(), []);
}

/// Returns a service as replies show it.
fn hashed(service: Service) -> Service {
    Service { flags: service.flags | flags::HASHED, ..service }
}

/// Asserts the output of `ipvsadm -Sn`.
fn assert_saved<const N: usize>(lines: [&str; N]) {
    assert_eq!(ipvsadm::save(), lines.map(str::to_owned).into());
}

/// Adds each service, and asserts that netlink and `ipvsadm` read it back unchanged.
fn round_trip<const N: usize>(services: [(Service, &str); N]) {
    let mut client = client();
    let sent = services.map(|(service, _)| service);
    done(&mut client, sent.map(Command::NewService));
    assert_saved(services.map(|(_, line)| line));
    for service in sent {
        let entry = client.service(&service.key).unwrap().unwrap();
        assert_eq!(entry.service, hashed(service));
        assert!(entry.unknown.is_empty(), "{entry:?}");
    }
    let all: BTreeSet<ServiceKey> =
        client.services().unwrap().iter().map(|entry| entry.service.key).collect();
    assert_eq!(all, sent.map(|service| service.key).into());
}

#[test]
fn services_of_each_protocol_and_family_read_back_as_written() {
    round_trip([
        (service("192.0.2.1:80", protocol::TCP, "rr"), "-A -t 192.0.2.1:80 -s rr"),
        (service("192.0.2.1:80", protocol::UDP, "wrr"), "-A -u 192.0.2.1:80 -s wrr"),
        (service("192.0.2.1:80", protocol::SCTP, "lc"), "-A --sctp-service 192.0.2.1:80 -s lc"),
        (service("[2001:db8::1]:80", protocol::TCP, "wlc"), "-A -t [2001:db8::1]:80 -s wlc"),
        (service("[2001:db8::1]:80", protocol::UDP, "sed"), "-A -u [2001:db8::1]:80 -s sed"),
        (
            service("[2001:db8::1]:80", protocol::SCTP, "nq"),
            "-A --sctp-service [2001:db8::1]:80 -s nq",
        ),
        (service("192.0.2.1:65535", protocol::TCP, "none"), "-A -t 192.0.2.1:65535 -s none"),
    ]);
}

#[test]
fn a_mark_is_a_separate_service_in_each_family() {
    round_trip([
        (marked(Family::Ipv4, 5), "-A -f 5 -s wlc"),
        (marked(Family::Ipv6, 5), "-A -f 5 -6 -s wlc"),
        (marked(Family::Ipv4, 1), "-A -f 1 -s wlc"),
        // `ipvsadm` prints marks from 2^31 on as negative numbers.
        (marked(Family::Ipv4, u32::MAX), "-A -f -1 -s wlc"),
    ]);
}

#[test]
fn persistence_keeps_its_timeout_and_netmask() {
    let persistent = |service: Service, timeout, netmask| Service {
        flags: flags::PERSISTENT,
        timeout,
        netmask,
        ..service
    };
    let v4 = |a, b, c, d| Netmask::Ipv4(Ipv4Addr::new(a, b, c, d));
    let at = |text| service(text, protocol::TCP, "wlc");
    round_trip([
        (persistent(at("192.0.2.1:1"), 1, v4(255, 255, 255, 255)), "-A -t 192.0.2.1:1 -s wlc -p 1"),
        (
            persistent(at("192.0.2.1:2"), 360, v4(255, 255, 255, 0)),
            "-A -t 192.0.2.1:2 -s wlc -p 360 -M 255.255.255.0",
        ),
        (
            persistent(at("192.0.2.1:3"), 2_678_400, v4(255, 0, 255, 1)),
            "-A -t 192.0.2.1:3 -s wlc -p 2678400 -M 255.0.255.1",
        ),
        (
            persistent(at("192.0.2.1:4"), 360, v4(0, 0, 0, 0)),
            "-A -t 192.0.2.1:4 -s wlc -p 360 -M 0.0.0.0",
        ),
        (
            persistent(at("[2001:db8::1]:1"), 360, Netmask::Ipv6(128)),
            "-A -t [2001:db8::1]:1 -s wlc -p 360",
        ),
        (
            persistent(at("[2001:db8::1]:2"), 360, Netmask::Ipv6(1)),
            "-A -t [2001:db8::1]:2 -s wlc -p 360 -M 1",
        ),
        (
            persistent(at("[2001:db8::1]:3"), 360, Netmask::Ipv6(64)),
            "-A -t [2001:db8::1]:3 -s wlc -p 360 -M 64",
        ),
        (
            persistent(marked(Family::Ipv6, 9), 360, Netmask::Ipv6(48)),
            "-A -f 9 -6 -s wlc -p 360 -M 48",
        ),
        (
            persistent(at("192.0.2.1:0"), 360, v4(255, 255, 255, 255)),
            "-A -t 192.0.2.1:0 -s wlc -p 360",
        ),
    ]);
}

#[test]
fn engine_one_packet_and_scheduler_flags_are_kept() {
    let sip = Service {
        persistence_engine: Some(Name::new("sip").unwrap()),
        flags: flags::PERSISTENT | flags::ONE_PACKET,
        timeout: 60,
        ..service("192.0.2.1:5060", protocol::UDP, "rr")
    };
    let flagged =
        |text, scheduler, flags| Service { flags, ..service(text, protocol::TCP, scheduler) };
    let [one, two, three] = [flags::SCHED1, flags::SCHED2, flags::SCHED3];
    round_trip([
        (sip, "-A -u 192.0.2.1:5060 -s rr -p 60 --pe sip -o"),
        (flagged("192.0.2.1:1", "sh", one), "-A -t 192.0.2.1:1 -s sh -b sh-fallback"),
        (flagged("192.0.2.1:2", "sh", two), "-A -t 192.0.2.1:2 -s sh -b sh-port"),
        (flagged("192.0.2.1:3", "mh", one | two), "-A -t 192.0.2.1:3 -s mh -b mh-fallback,mh-port"),
        (flagged("192.0.2.1:4", "rr", one | three), "-A -t 192.0.2.1:4 -s rr -b flag-1,flag-3"),
        (flagged("192.0.2.1:5", "wlc", two), "-A -t 192.0.2.1:5 -s wlc -b flag-2"),
    ]);
}

#[test]
fn a_bit_that_the_kernel_sets_itself_may_be_sent_back() {
    let mut client = client();
    done(&mut client, [Command::NewService(hashed(web()))]);
    let read = client.service(&web().key).unwrap().unwrap().service;
    done(&mut client, [Command::SetService(read)]);
    assert_saved(["-A -t 192.0.2.1:80 -s wrr"]);
}

/// Adds each destination to one service, and asserts that netlink and `ipvsadm` read it back
/// unchanged.
fn destinations_round_trip<const N: usize>(service: Service, all: [(Destination, &str); N]) {
    let mut client = client();
    let sent = all.map(|(destination, _)| destination);
    done(&mut client, [Command::NewService(service)]);
    done(&mut client, sent.map(|destination| Command::NewDestination(service.key, destination)));
    let saved = ipvsadm::save();
    let rules: BTreeSet<&str> =
        saved.iter().filter_map(|line| Some(line.split_once(" -r ")?.1)).collect();
    assert_eq!(rules, all.map(|(_, rule)| rule).into());
    let mut answered = client.destinations(&service.key).unwrap();
    assert!(answered.iter().all(|entry| entry.unknown.is_empty()), "{answered:?}");
    // The kernel puts the last one in front.
    answered.reverse();
    let answered: Vec<Destination> = answered.iter().map(|entry| entry.destination).collect();
    assert_eq!(answered, sent);
}

#[test]
fn destinations_of_each_forwarding_method_read_back_as_written() {
    destinations_round_trip(
        web(),
        [
            (destination("198.51.100.1:80", forward::DROUTE), "198.51.100.1:80 -g -w 1"),
            (destination("198.51.100.1:8080", forward::MASQ), "198.51.100.1:8080 -m -w 1"),
            (destination("127.0.0.1:80", forward::MASQ), "127.0.0.1:80 -m -w 1"),
            (
                tunnelled("198.51.100.2:80", tunnel_kind::IPIP, 0, 0),
                "198.51.100.2:80 -i -w 1 --tun-type ipip",
            ),
            (
                tunnelled("198.51.100.3:80", tunnel_kind::GUE, 6080, tunnel_flags::NOCSUM),
                "198.51.100.3:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
            ),
            (
                tunnelled("198.51.100.4:80", tunnel_kind::GUE, 1, tunnel_flags::CSUM),
                "198.51.100.4:80 -i -w 1 --tun-type gue --tun-port 1 --tun-csum",
            ),
            (
                tunnelled("198.51.100.5:80", tunnel_kind::GUE, 65535, tunnel_flags::REMCSUM),
                "198.51.100.5:80 -i -w 1 --tun-type gue --tun-port 65535 --tun-remcsum",
            ),
            (
                tunnelled("198.51.100.6:80", tunnel_kind::GRE, 0, tunnel_flags::NOCSUM),
                "198.51.100.6:80 -i -w 1 --tun-type gre --tun-nocsum",
            ),
            (
                tunnelled("198.51.100.7:80", tunnel_kind::GRE, 0, tunnel_flags::CSUM),
                "198.51.100.7:80 -i -w 1 --tun-type gre --tun-csum",
            ),
        ],
    );
}

#[test]
fn a_tunnel_reaches_the_other_family() {
    let ipip = "-i -w 1 --tun-type ipip";
    destinations_round_trip(
        web(),
        [
            (
                tunnelled("[2001:db8::a]:80", tunnel_kind::IPIP, 0, 0),
                &format!("[2001:db8::a]:80 {ipip}"),
            ),
            (
                tunnelled("[2001:db8::b]:80", tunnel_kind::GUE, 6080, tunnel_flags::CSUM),
                "[2001:db8::b]:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
            ),
            (destination("198.51.100.1:80", forward::DROUTE), "198.51.100.1:80 -g -w 1"),
        ],
    );
    destinations_round_trip(
        marked(Family::Ipv6, 5),
        [
            (
                tunnelled("198.51.100.1:0", tunnel_kind::IPIP, 0, 0),
                &format!("198.51.100.1:0 {ipip}"),
            ),
            (destination("[2001:db8::a]:0", forward::DROUTE), "[2001:db8::a]:0 -g -w 1"),
        ],
    );
}

#[test]
fn weights_and_thresholds_keep_all_their_bits() {
    let at = |text, weight, upper_threshold, lower_threshold| Destination {
        weight,
        upper_threshold,
        lower_threshold,
        ..destination(text, forward::DROUTE)
    };
    destinations_round_trip(
        web(),
        [
            (at("198.51.100.1:80", 0, 0, 0), "198.51.100.1:80 -g -w 0"),
            (at("198.51.100.2:80", 65536, 1000, 800), "198.51.100.2:80 -g -w 65536"),
            (at("198.51.100.3:80", i32::MAX as u32, 5, 5), "198.51.100.3:80 -g -w 2147483647"),
            (at("198.51.100.4:80", 1, u32::MAX, u32::MAX - 1), "198.51.100.4:80 -g -w 1"),
        ],
    );
    let limits = |last: u8, upper, lower| {
        ("TCP 192.0.2.1:80".to_owned(), format!("198.51.100.{last}:80"), upper, lower)
    };
    let wanted =
        [limits(1, 0, 0), limits(2, 1000, 800), limits(3, 5, 5), limits(4, u32::MAX, u32::MAX - 1)];
    assert_eq!(ipvsadm::listed_thresholds(), wanted.into());
}

#[test]
fn setting_replaces_all_values_that_are_not_sent() {
    let mut client = client();
    let sip = Service {
        persistence_engine: Some(Name::new("sip").unwrap()),
        flags: flags::PERSISTENT | flags::ONE_PACKET | flags::SCHED1,
        timeout: 60,
        netmask: Netmask::Ipv4(Ipv4Addr::new(255, 255, 0, 0)),
        ..service("192.0.2.1:5060", protocol::UDP, "rr")
    };
    let limited = Destination {
        weight: 9,
        upper_threshold: 20,
        lower_threshold: 10,
        ..tunnelled("198.51.100.1:5060", tunnel_kind::GUE, 6080, tunnel_flags::REMCSUM)
    };
    done(&mut client, [Command::NewService(sip), Command::NewDestination(sip.key, limited)]);
    assert_saved([
        "-A -u 192.0.2.1:5060 -s rr -p 60 -M 255.255.0.0 --pe sip -o -b flag-1",
        "-a -u 192.0.2.1:5060 -r 198.51.100.1:5060 -i -w 9 --tun-type gue --tun-port 6080 --tun-remcsum",
    ]);
    let plain = service("192.0.2.1:5060", protocol::UDP, "lc");
    let bare = destination("198.51.100.1:5060", forward::TUNNEL);
    done(&mut client, [Command::SetService(plain), Command::SetDestination(sip.key, bare)]);
    assert_saved([
        "-A -u 192.0.2.1:5060 -s lc",
        "-a -u 192.0.2.1:5060 -r 198.51.100.1:5060 -i -w 1 --tun-type ipip",
    ]);
    assert_eq!(client.service(&sip.key).unwrap().unwrap().service, hashed(plain));
    assert_eq!(client.destinations(&sip.key).unwrap()[0].destination, bare);
}

#[test]
fn deleting_a_destination_keeps_the_others_and_deleting_a_service_deletes_them() {
    let mut client = client();
    let other = service("192.0.2.2:80", protocol::TCP, "wrr");
    let [one, two] =
        ["198.51.100.1:80", "198.51.100.2:80"].map(|text| destination(text, forward::DROUTE));
    done(
        &mut client,
        [
            Command::NewService(web()),
            Command::NewDestination(web().key, one),
            Command::NewDestination(web().key, two),
            Command::NewService(other),
            Command::NewDestination(other.key, one),
            Command::DeleteDestination(web().key, one.key()),
        ],
    );
    assert_saved([
        "-A -t 192.0.2.1:80 -s wrr",
        "-a -t 192.0.2.1:80 -r 198.51.100.2:80 -g -w 1",
        "-A -t 192.0.2.2:80 -s wrr",
        "-a -t 192.0.2.2:80 -r 198.51.100.1:80 -g -w 1",
    ]);
    done(&mut client, [Command::DeleteService(web().key)]);
    assert_saved(["-A -t 192.0.2.2:80 -s wrr", "-a -t 192.0.2.2:80 -r 198.51.100.1:80 -g -w 1"]);
    assert_eq!(client.service(&web().key).unwrap(), None);
    assert_eq!(client.destinations(&web().key).unwrap(), [], "a vanished service has none");
}

#[test]
fn a_large_table_is_written_and_read_completely() {
    const SERVICES: u16 = 300;
    const DESTINATIONS: u8 = 250;
    let mut client = client();
    let many = |number: u16| service(&format!("192.0.2.1:{}", number + 1), protocol::TCP, "rr");
    let crowded = many(0).key;
    let at = |last: u8| destination(&format!("198.51.100.{}:1", last + 1), forward::MASQ);
    done(&mut client, (0..SERVICES).map(|number| Command::NewService(many(number))));
    done(&mut client, (0..DESTINATIONS).map(|last| Command::NewDestination(crowded, at(last))));
    assert_eq!(ipvsadm::save().len(), usize::from(SERVICES) + usize::from(DESTINATIONS));

    let mut visited = BTreeSet::new();
    client.for_each_service(|reply| assert!(visited.insert(reply.service.key))).unwrap();
    assert_eq!(visited, (0..SERVICES).map(|number| many(number).key).collect());
    let mut visited = BTreeSet::new();
    client
        .for_each_destination(&crowded, |reply| assert!(visited.insert(reply.destination.key())))
        .unwrap();
    assert_eq!(visited, (0..DESTINATIONS).map(|last| at(last).key()).collect());
}
