//! P7, P8, P19 to P22 and P25: what becomes of connections, seen on one host.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use evenkeel_host::set_sysctl;
use evenkeel_ipvs::{Netmask, Statistics, flags, forward, protocol};

use super::director::{
    Director, VIP, choices, choices_of, connect, is_taken, scheduled, server, visit, visitor,
};
use super::*;

/// Keeps a client for five minutes.
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

/// Waits, with patience, for what the kernel does in its own time.
fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "it has not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn p07_a_timeout_keeps_no_client_without_the_persistence_bit() {
    for (service, expected) in
        [(persistent(), [4, 0]), (Service { flags: 0, ..persistent() }, [2, 2])]
    {
        let mut director = Director::new(service, [1, 2].map(server));
        assert!((0..4).all(|_| visit(1)));
        // A template is no connection, active or inactive.
        let mut counts = director.counts();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(counts, expected, "{service:?}");
    }
}

#[test]
fn p08_a_netmask_of_zero_takes_all_clients_for_one() {
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
    assert!(is_taken(&clients[1]), "those of the other go on");
    assert_eq!(choices()[&1], gone, "it is not given to the other");
    assert!(visit(1), "though a new one from the same client is");
}

#[test]
fn p20_with_expire_nodest_conn_they_are_ended_and_the_next_packet_goes_to_another() {
    let mut director = Director::new(scheduled("rr"), [1, 2].map(server));
    set("expire_nodest_conn", "1");
    let clients = [1, 2].map(visitor);
    assert!(clients.iter().all(is_taken));
    director.done([delete(choices()[&1])]);
    assert!(is_taken(&clients[0]));
    assert_eq!(director.counts(), [2]);
}

/// The kernel looks for them by itself (`ip_vs_enqueue_expire_nodest_conns`); older ones did not.
#[test]
fn p20_with_expire_nodest_conn_connections_end_without_another_packet() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "1");
    let _clients = choices_of(3);
    director.done([delete(1)]);
    eventually(|| choices().is_empty());
}

#[test]
fn p21_a_real_server_that_is_added_again_has_its_connections_back() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "0");
    let client = visitor(1);
    assert!(is_taken(&client));
    director.done([delete(1)]);
    assert!(!is_taken(&client));
    director.done([add(1)]);
    assert_eq!(director.counts(), [1]);
    assert!(is_taken(&client));

    // Even by way of another service of the same name.
    let key = scheduled("rr").key;
    director.done([Command::DeleteService(key)]);
    director.done([Command::NewService(scheduled("wlc")), add(1)]);
    assert_eq!(director.counts(), [1]);
    assert!(is_taken(&client));
    // Not by way of another port.
    director.done([delete(1), Command::NewDestination(key, Destination { port: 10, ..server(1) })]);
    assert_eq!(director.counts(), [0]);
    assert!(!is_taken(&client));
}

#[test]
fn p21_with_expire_nodest_conn_it_comes_back_without_them() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "1");
    assert!(visit(1));
    director.done([delete(1)]);
    eventually(|| choices().is_empty());
    director.done([add(1)]);
    assert_eq!(director.counts(), [0]);
}

#[test]
fn p21_statistics_come_back_with_it_but_not_in_another_service() {
    let mut director = Director::new(scheduled("rr"), [server(1)]);
    set("expire_nodest_conn", "0");
    assert!((1..=3).all(visit));
    let key = scheduled("rr").key;
    let counted = |director: &mut Director| {
        let Statistics { connections, .. } =
            director.client.destinations(&key).unwrap()[0].statistics;
        connections
    };
    // They are added up every two seconds.
    eventually(|| counted(&mut director) == 3);
    director.done([delete(1), add(1)]);
    assert_eq!(counted(&mut director), 3);
    director.done([Command::DeleteService(key), Command::NewService(scheduled("rr")), add(1)]);
    assert_eq!(counted(&mut director), 0);
}

/// Visits of a client that is kept, before and after its real server gets weight 0: the one it had,
/// and the one that new connections get.
fn kept(expire_quiescent_template: &str) -> (u8, Vec<u32>) {
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
fn p22_a_client_that_is_kept_opens_new_connections_to_a_real_server_of_weight_0() {
    let (first, counts) = kept("0");
    assert_eq!(counts[usize::from(first) - 1], 4, "{counts:?}");
}

#[test]
fn p22_with_expire_quiescent_template_its_next_connection_goes_elsewhere() {
    let (first, counts) = kept("1");
    assert_eq!(counts[usize::from(first) - 1], 1, "{counts:?}");
    assert_eq!(counts.iter().sum::<u32>(), 4);
}

/// Connects from a port and ends, gives weight 0 to the real server that had it, and connects from
/// the same port again: whether the same one has it.
fn is_reached_at_rest(conn_reuse_mode: &str) -> bool {
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
        // The server ends first, so that the port is free again for the client.
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
fn p22_where_answers_pass_the_director_a_port_used_again_goes_elsewhere_in_reuse_mode_1() {
    assert!(is_reached_at_rest("0"));
    assert!(!is_reached_at_rest("1"));
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
fn p25_a_service_without_real_servers_refuses_and_without_the_service_the_host_answers_itself() {
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
