//! P7, P8, P19 to P22 and P25: the fate of connections, observed on one host.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use evenkeel_host::set_sysctl;
use evenkeel_ipvs::{Netmask, Statistics, flags, forward, protocol};

use super::director::{
    Director, VIP, choices, choices_of, connect, is_taken, scheduled, server, visit, visitor,
};
use super::*;

/// Returns a service with a persistence of five minutes.
fn persistent() -> Service {
    Service { flags: flags::PERSISTENT, timeout: 300, ..scheduled("rr") }
}

fn set(setting: &str, value: &str) {
    set_sysctl(&format!("net.ipv4.vs.{setting}"), value).unwrap();
}

fn delete(number: u8) -> Command {
    Command::DeleteDestination(scheduled("rr").key, server(number).key())
}

fn add(number: u8) -> Command {
    Command::NewDestination(scheduled("rr").key, server(number))
}

/// Waits until a condition holds that the kernel fulfils asynchronously.
fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "it has not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn p07_a_timeout_without_the_persistence_bit_has_no_effect() {
    for (service, expected) in
        [(persistent(), [4, 0]), (Service { flags: 0, ..persistent() }, [2, 2])]
    {
        let mut director = Director::new(service, [1, 2].map(server));
        assert!((0..4).all(|_| visit(1)));
        // A template is no connection, neither active nor inactive.
        let mut counts = director.counts();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(counts, expected, "{service:?}");
    }
}

#[test]
fn p08_a_netmask_of_zero_treats_all_clients_as_one() {
    let masked = |mask: [u8; 4]| Service { netmask: Netmask::Ipv4(mask.into()), ..persistent() };
    for (mask, expected) in [([255; 4], [2, 2]), ([0; 4], [4, 0])] {
        let mut director = Director::new(masked(mask), [1, 2].map(server));
        assert!((1..=4).all(visit));
        let mut counts = director.counts();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(counts, expected, "{mask:?}");
    }
}

#[test]
fn p19_a_real_server_with_the_method_local_is_a_socket_of_the_host_at_the_vip() {
    let local = Destination { forward: forward::LOCALNODE, ..server(1) };
    let mut director = Director::new(scheduled("rr"), [local]);
    let own = UdpSocket::bind(VIP).unwrap();
    own.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(visit(1));
    own.recv(&mut [0; 8]).unwrap();
    assert_eq!(director.counts(), [1]);
}

#[test]
fn p20_packets_of_a_deleted_real_servers_connections_are_dropped() {
    let mut director = Director::new(scheduled("rr"), [1, 2].map(server));
    set("expire_nodest_conn", "0");
    let clients = [1, 2].map(visitor);
    assert!(clients.iter().all(is_taken));
    let gone = choices()[&1];
    director.done([delete(gone)]);
    assert!(!is_taken(&clients[0]) && !is_taken(&clients[0]));
    assert!(is_taken(&clients[1]), "connections of the other server continue");
    assert_eq!(choices()[&1], gone, "it is not moved to the other server");
    assert!(visit(1), "though a new one from the same client is");
}

#[test]
fn p20_with_expire_nodest_conn_they_end_and_the_next_packet_goes_to_another_real_server() {
    let mut director = Director::new(scheduled("rr"), [1, 2].map(server));
    set("expire_nodest_conn", "1");
    let clients = [1, 2].map(visitor);
    assert!(clients.iter().all(is_taken));
    director.done([delete(choices()[&1])]);
    assert!(is_taken(&clients[0]));
    assert_eq!(director.counts(), [2]);
}

/// The kernel finds these connections by itself (`ip_vs_enqueue_expire_nodest_conns`); older
/// kernels did not.
#[test]
fn p20_with_expire_nodest_conn_connections_end_without_another_packet() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "1");
    let _clients = choices_of(3);
    director.done([delete(1)]);
    eventually(|| choices().is_empty());
}

#[test]
fn p21_a_real_server_that_is_added_again_regains_its_connections() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "0");
    let client = visitor(1);
    assert!(is_taken(&client));
    director.done([delete(1)]);
    assert!(!is_taken(&client));
    director.done([add(1)]);
    assert_eq!(director.counts(), [1]);
    assert!(is_taken(&client));

    // This also holds after the service was deleted and added again.
    let key = scheduled("rr").key;
    director.done([Command::DeleteService(key)]);
    director.done([Command::NewService(scheduled("wlc")), add(1)]);
    assert_eq!(director.counts(), [1]);
    assert!(is_taken(&client));
    // It does not hold for another port.
    director.done([delete(1), Command::NewDestination(key, Destination { port: 10, ..server(1) })]);
    assert_eq!(director.counts(), [0]);
    assert!(!is_taken(&client));
}

#[test]
fn p21_with_expire_nodest_conn_it_does_not_regain_them() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "1");
    assert!(visit(1));
    director.done([delete(1)]);
    eventually(|| choices().is_empty());
    director.done([add(1)]);
    assert_eq!(director.counts(), [0]);
}

#[test]
fn p21_it_regains_its_statistics_but_not_in_another_service() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "0");
    assert!((1..=3).all(visit));
    let key = scheduled("rr").key;
    let counted = |director: &mut Director| {
        let Statistics { connections, .. } =
            director.client.destinations(&key).unwrap()[0].statistics;
        connections
    };
    // The kernel sums them up every two seconds.
    eventually(|| counted(&mut director) == 3);
    director.done([delete(1), add(1)]);
    assert_eq!(counted(&mut director), 3);
    director.done([Command::DeleteService(key), Command::NewService(scheduled("rr")), add(1)]);
    assert_eq!(counted(&mut director), 0);
}

/// Sends packets of a persistent client before and after its real server gets weight 0. Returns
/// that real server, and the connections of each.
fn persistent_visits(expire_quiescent_template: &str) -> (u8, Vec<u32>) {
    let mut director = Director::new(persistent(), [1, 2].map(server));
    set("expire_quiescent_template", expire_quiescent_template);
    assert!(visit(1));
    let first = choices()[&1];
    let rested = Destination { weight: 0, ..server(first) };
    director.done([Command::SetDestination(persistent().key, rested)]);
    assert!((0..3).all(|_| visit(1)));
    (first, director.counts())
}

#[test]
fn p22_a_persistent_client_opens_new_connections_to_a_real_server_of_weight_0() {
    let (first, counts) = persistent_visits("0");
    assert_eq!(counts[usize::from(first) - 1], 4, "{counts:?}");
}

#[test]
fn p22_with_expire_quiescent_template_its_next_connection_reaches_another_real_server() {
    let (first, counts) = persistent_visits("1");
    assert_eq!(counts[usize::from(first) - 1], 1, "{counts:?}");
    assert_eq!(counts.iter().sum::<u32>(), 4);
}

/// Connects from a port and closes the connection, gives weight 0 to its real server, and connects
/// from the same port again. Returns whether the same real server has it.
fn is_reached_at_weight_0(conn_reuse_mode: &str) -> bool {
    let web = service("192.0.2.1:80", protocol::TCP, "rr");
    let at = |number: &u8| destination(&format!("127.0.0.{number}:80"), forward::MASQ);
    let mut director = Director::new(web, [1, 2].iter().map(at));
    set("conn_reuse_mode", conn_reuse_mode);
    let servers = [1, 2].map(|number| {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, number), 80)).unwrap();
        listener.set_nonblocking(true).unwrap();
        (number, listener)
    });
    let serve = || {
        let mut stream = connect(4000).unwrap();
        let mut served = None;
        // The server closes first, so that the client's port is free again.
        eventually(|| {
            served = servers.iter().find(|(_, server)| server.accept().is_ok());
            served.is_some()
        });
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        served.map(|(number, _)| number)
    };
    let first = serve();
    let rested = Destination { weight: 0, ..at(first.unwrap()) };
    director.done([Command::SetDestination(web.key, rested)]);
    serve() == first
}

#[test]
fn p22_with_nat_a_reused_port_reaches_another_real_server_in_reuse_mode_1() {
    assert!(is_reached_at_weight_0("0"));
    assert!(!is_reached_at_weight_0("1"));
}

#[test]
fn p22_a_udp_conversation_continues_at_weight_0_and_counts_as_inactive() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    let client = visitor(1);
    assert!(is_taken(&client));
    let rested = Destination { weight: 0, ..server(1) };
    director.done([Command::SetDestination(scheduled("rr").key, rested)]);
    assert!(is_taken(&client));
    assert!(!visit(2));
    let connections = director.connections()[&1];
    assert_eq!((connections.active, connections.inactive), (0, 1));
}

#[test]
fn p25_a_service_without_real_servers_refuses_and_without_the_service_the_host_itself_answers() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    let own = UdpSocket::bind(VIP).unwrap();
    own.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(visit(1));
    director.done([delete(1)]);
    assert!(!visit(2));
    director.done([add(1), Command::DeleteService(scheduled("rr").key)]);
    assert!(visit(3));
    let (_, visitor) = own.recv_from(&mut [0; 8]).unwrap();
    assert_eq!(visitor.ip().to_string(), "127.1.0.3", "the only one that reached the host itself");
}
