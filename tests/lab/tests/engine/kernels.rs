//! Compares the kernel in memory with the real one: the same operations get the same replies and
//! leave the same table, in the same order.

use std::collections::BTreeMap;

use evenkeel_engine::fake_kernel::FakeKernel;
use evenkeel_engine::{Exception, Refused};
use evenkeel_lab_tests::property::check;
use evenkeel_model::arbitrary;
use evenkeel_model::{
    Binding, Checksum, Family, HostObject, HostObjectKind, HostRoute, Link, LiveHostObject,
    MacAddress, Neighbour, Netmask, Owner, Persistence, RouteValue, Tunnel, TunnelKind,
};
use evenkeel_plan::Op;
use proptest::prelude::*;
use proptest::sample::select;
use rustix::io::Errno;

use super::properties::cases;
use super::*;

const NO_SCHEDULER: &str = "nosuch";

/// Returns the two kernels in the same state: that of a new namespace.
fn both() -> (HostKernel, FakeKernel) {
    let mut real = host_with("");
    let mut memory = FakeKernel::new(real.observe(&ReadRequest::new()).unwrap());
    memory.missing_schedulers.insert(Scheduler::new(NO_SCHEDULER).unwrap());
    (real, memory)
}

type Answer = Result<(), Errno>;

/// Returns the replies of a kernel, without the messages that only the real one has.
fn answers(kernel: &mut impl Kernel, ops: &[Op]) -> Vec<Answer> {
    let mut exceptions = kernel.execute(ops).unwrap().exceptions;
    let answer = |place| match exceptions.remove(&place) {
        None => Ok(()),
        Some(Exception::Refused(Refused { errno, .. })) => Err(errno),
        Some(other) => panic!("{other:?}"),
    };
    (0..ops.len()).map(answer).collect()
}

/// A table with real servers in the order in which they were added, addresses and interfaces.
type State = (
    Vec<(ServiceKey, ServiceConfig, Vec<(RealServerKey, RealServer)>)>,
    BTreeMap<Binding, Owner>,
    BTreeMap<Binding, Box<str>>,
    BTreeMap<HostObject, LiveHostObject>,
    Option<BTreeMap<Box<str>, Link>>,
);

/// Returns the state of a kernel, without the addresses that the real one adds to devices by
/// itself.
fn state(kernel: &mut impl Kernel) -> State {
    let request = ReadRequest { host_objects: HostObjectKind::ALL.into(), ..ReadRequest::new() };
    let Live { services, mut addresses, labels, host_objects, links, .. } =
        kernel.observe(&request).unwrap();
    addresses.retain(|binding, _| !binding.address.to_string().starts_with("fe80:"));
    let ordered = |(key, service): (ServiceKey, Service)| {
        let pairs = service.real_servers.in_order().map(|(key, value)| (*key, *value));
        (key, service.config, pairs.collect())
    };
    (services.into_iter().map(ordered).collect(), addresses, labels, host_objects.objects, links)
}

/// Runs one operation after the other, and asserts that both kernels give this reply.
fn table_of_answers(rows: Vec<(Op, Answer)>) {
    let (mut real, mut memory) = both();
    for (number, (op, expected)) in rows.into_iter().enumerate() {
        let ops = [op];
        assert_eq!(answers(&mut real, &ops), [expected], "real, row {number}: {ops:?}");
        assert_eq!(answers(&mut memory, &ops), [expected], "memory, row {number}: {ops:?}");
        assert_eq!(state(&mut memory), state(&mut real), "row {number}: {ops:?}");
    }
}

const EXISTS: Answer = Err(Errno::EXIST);
const NO_SERVICE: Answer = Err(Errno::SRCH);
const NO_ENTRY: Answer = Err(Errno::NOENT);
const INVALID: Answer = Err(Errno::INVAL);
const OUT_OF_RANGE: Answer = Err(Errno::RANGE);

fn add_service(key: ServiceKey, after: ServiceConfig) -> Op {
    Op::AddService { key, after: after.into() }
}

fn edit_service(key: ServiceKey, after: ServiceConfig) -> Op {
    Op::EditService { key, before: config("wlc").into(), after: after.into() }
}

fn delete_service(key: ServiceKey) -> Op {
    Op::DeleteService { key, before: Box::new(service(config("wlc"), [])) }
}

fn add(service: ServiceKey, key: &str, after: RealServer) -> Op {
    Op::AddRealServer { service, key: real_server_key(key), after }
}

fn edit(service: ServiceKey, key: &str, after: RealServer) -> Op {
    Op::EditRealServer { service, key: real_server_key(key), before: dr(1).into(), after }
}

fn delete(service: ServiceKey, key: &str) -> Op {
    Op::DeleteRealServer { service, key: real_server_key(key), before: dr(1) }
}

fn tunnelled(kind: TunnelKind, port: u16) -> RealServer {
    let tunnel = Tunnel { kind, port, checksum: Checksum::None };
    RealServer { forward: Forward::Tun(tunnel), ..dr(1) }
}

fn persistent(netmask: Netmask) -> ServiceConfig {
    let persistence = Some(Persistence { timeout: 300, netmask });
    ServiceConfig { persistence, ..config("wrr") }
}

#[test]
fn existing_objects_cannot_be_added_and_missing_ones_cannot_be_changed() {
    let (web, other) = (tcp("192.0.2.1:80"), tcp("192.0.2.2:80"));
    let [one, two] = ["198.51.100.1:80", "198.51.100.2:80"];
    table_of_answers(vec![
        (add_service(web, config("wrr")), Ok(())),
        (add_service(web, config("rr")), EXISTS),
        // The check for existing objects comes before the one for missing ones.
        (add_service(web, config(NO_SCHEDULER)), EXISTS),
        (add_service(other, config(NO_SCHEDULER)), NO_ENTRY),
        (edit_service(web, config(NO_SCHEDULER)), NO_ENTRY),
        (edit_service(other, config("rr")), NO_SERVICE),
        (edit_service(other, config(NO_SCHEDULER)), NO_SERVICE),
        (edit_service(web, config("none")), Ok(())),
        (edit_service(web, config("sh")), Ok(())),
        (add(web, one, dr(1)), Ok(())),
        (add(web, one, dr(2)), EXISTS),
        (edit(web, one, dr(2)), Ok(())),
        (edit(web, two, dr(2)), NO_ENTRY),
        (delete(web, two), NO_ENTRY),
        (add(other, one, dr(1)), NO_SERVICE),
        (edit(other, one, dr(1)), NO_SERVICE),
        (delete(other, one), NO_SERVICE),
        (delete_service(other), NO_SERVICE),
        (delete(web, one), Ok(())),
        (delete(web, one), NO_ENTRY),
        (add(web, one, dr(3)), Ok(())),
        (delete_service(web), Ok(())),
        (delete_service(web), NO_SERVICE),
        (delete(web, one), NO_SERVICE),
    ]);
}

#[test]
fn values_are_refused_alike_and_in_the_same_order() {
    let web = tcp("192.0.2.1:80");
    let [one, six] = ["198.51.100.1:80", "[2001:db8::1]:80"];
    let crossed = RealServer { upper_threshold: 1, lower_threshold: 2, ..dr(1) };
    let no_port = tunnelled(TunnelKind::Gue, 0);
    table_of_answers(vec![
        (add_service(web, config("wrr")), Ok(())),
        (add(web, one, dr(1 << 31)), OUT_OF_RANGE),
        (add(web, one, dr(u32::MAX)), OUT_OF_RANGE),
        (add(web, one, crossed), OUT_OF_RANGE),
        (add(web, one, no_port), INVALID),
        (add(web, one, RealServer { weight: 1 << 31, ..no_port }), OUT_OF_RANGE),
        (add(web, six, dr(1)), INVALID),
        (add(web, six, RealServer { forward: Forward::Nat, ..dr(1) }), INVALID),
        (add(web, six, RealServer { forward: Forward::Local, ..dr(1) }), INVALID),
        (add(web, six, dr(1 << 31)), INVALID),
        (add(web, six, tunnelled(TunnelKind::Ipip, 0)), Ok(())),
        (edit(web, six, dr(1)), INVALID),
        (edit(web, six, tunnelled(TunnelKind::Gre, 0)), Ok(())),
        (edit(web, one, crossed), OUT_OF_RANGE),
        (edit(web, one, no_port), INVALID),
        (edit(web, one, dr(1)), NO_ENTRY),
        // Deletion looks at the key only.
        (delete(web, six), Ok(())),
        (add(web, one, dr(i32::MAX.cast_unsigned())), Ok(())),
        (edit(web, one, RealServer { upper_threshold: u32::MAX, ..dr(0) }), Ok(())),
    ]);
}

#[test]
fn only_unicast_and_local_addresses_become_real_servers() {
    let web = tcp("192.0.2.1:80");
    let six = tcp("[2001:db8::99]:80");
    let mut rows =
        vec![(add_service(web, config("wrr")), Ok(())), (add_service(six, config("wrr")), Ok(()))];
    for (address, expected) in [
        ("224.0.0.1", INVALID),
        ("239.255.255.255", INVALID),
        ("255.255.255.255", INVALID),
        ("0.0.0.0", INVALID),
        ("0.1.2.3", Ok(())),
        ("127.0.0.1", Ok(())),
        ("127.255.255.255", INVALID),
        ("240.0.0.1", Ok(())),
        ("198.51.100.255", Ok(())),
    ] {
        rows.push((add(web, &format!("{address}:80"), dr(1)), expected));
    }
    for (address, expected) in [
        ("ff02::1", INVALID),
        ("::", INVALID),
        ("fe80::1", INVALID),
        ("::ffff:198.51.100.1", INVALID),
        ("::1", Ok(())),
        ("::198.51.100.1", Ok(())),
        ("fec0::1", Ok(())),
        ("fd00::1", Ok(())),
        ("64:ff9b::1", Ok(())),
    ] {
        rows.push((add(six, &format!("[{address}]:80"), dr(1)), expected));
    }
    table_of_answers(rows);
}

#[test]
fn netmasks_are_refused_and_replaced_alike() {
    let (four, six) = (tcp("192.0.2.1:80"), tcp("[2001:db8::1]:80"));
    let v4 = |a, b| Netmask::V4([a, b, 0, 0].into());
    table_of_answers(vec![
        (add_service(four, persistent(v4(255, 0))), Ok(())),
        (edit_service(four, persistent(v4(255, 85))), Ok(())),
        (edit_service(four, persistent(v4(0, 0))), Ok(())),
        (add_service(six, persistent(Netmask::V6(0))), INVALID),
        (add_service(six, persistent(Netmask::V6(129))), INVALID),
        (add_service(six, persistent(Netmask::V6(1))), Ok(())),
        (edit_service(six, persistent(Netmask::V6(0))), INVALID),
        (edit_service(six, persistent(Netmask::V6(128))), Ok(())),
        // The message has no field for a netmask of the other family; the full mask is sent.
        (edit_service(four, persistent(Netmask::V6(64))), Ok(())),
        (edit_service(six, persistent(v4(255, 0))), Ok(())),
    ]);
}

#[test]
fn values_of_other_tools_are_kept_alike() {
    let odd = ServiceKey::Address {
        address: [192, 0, 2, 1].into(),
        port: 0,
        protocol: Protocol::Other(50),
    };
    let web = tcp("192.0.2.1:80");
    let forward = |forward| RealServer { forward, ..dr(1) };
    let tunnel = Tunnel { kind: TunnelKind::Ipip, port: 6080, checksum: Checksum::Full };
    let unknown = Tunnel { kind: TunnelKind::Other(9), port: 1, checksum: Checksum::Other(6) };
    table_of_answers(vec![
        (add_service(odd, config("wrr")), Ok(())),
        (add_service(web, ServiceConfig { one_packet: true, ..config("wrr") }), Ok(())),
        (add(web, "198.51.100.1:8080", dr(1)), Ok(())),
        (add(web, "198.51.100.2:80", forward(Forward::Local)), Ok(())),
        (add(web, "198.51.100.3:80", forward(Forward::Bypass)), Ok(())),
        (add(web, "198.51.100.4:80", forward(Forward::Tun(tunnel))), Ok(())),
        (add(web, "198.51.100.5:80", forward(Forward::Tun(unknown))), Ok(())),
        (add(web, "198.51.100.6:80", forward(Forward::Other(7))), Ok(())),
    ]);
}

#[test]
fn addresses_and_devices_are_refused_alike() {
    let binding = |text: &str, prefix, interface| Binding {
        prefix,
        ..Binding::host(text.parse().unwrap(), interface)
    };
    let bind = |text, prefix, interface| Op::Bind {
        binding: binding(text, prefix, interface),
        label: None,
    };
    let unbind = |text, prefix, interface| Op::Unbind {
        binding: binding(text, prefix, interface),
        label: None,
    };
    let dummy = |name: &str| Op::AddDummy { interface: name.into() };
    let up = |name: &str| Op::EditDummy { interface: name.into() };
    let no_device = Err(Errno::NODEV);
    let not_bound = Err(Errno::ADDRNOTAVAIL);
    table_of_answers(vec![
        (bind("192.0.2.1", 32, "vip0"), no_device),
        (unbind("192.0.2.1", 32, "vip0"), no_device),
        (up("vip0"), no_device),
        (up("lo"), Err(Errno::IO)),
        (dummy("vip0"), Ok(())),
        (dummy("vip0"), EXISTS),
        (up("vip0"), Ok(())),
        (dummy("lo"), EXISTS),
        (dummy("vip1"), Ok(())),
        (unbind("192.0.2.1", 32, "vip0"), not_bound),
        (bind("192.0.2.1", 32, "vip0"), Ok(())),
        (bind("192.0.2.1", 32, "vip0"), EXISTS),
        (bind("192.0.2.1", 24, "vip0"), Ok(())),
        (bind("192.0.2.1", 32, "vip1"), Ok(())),
        (unbind("192.0.2.1", 31, "vip0"), not_bound),
        (bind("2001:db8::1", 128, "vip0"), Ok(())),
        (bind("2001:db8::1", 64, "vip0"), EXISTS),
        (bind("2001:db8::1", 64, "vip1"), Ok(())),
        (unbind("2001:db8::1", 64, "vip0"), not_bound),
        (unbind("2001:db8::1", 128, "vip0"), Ok(())),
        (unbind("2001:db8::1", 128, "vip0"), not_bound),
        (unbind("192.0.2.1", 24, "vip0"), Ok(())),
        (unbind("192.0.2.1", 32, "vip0"), Ok(())),
    ]);
    let route = |text: &str, interface: &str| HostRoute {
        destination: text.parse().unwrap(),
        interface: interface.into(),
    };
    let add = |text, interface| {
        let route = route(text, interface);
        Op::AddHostObject { after: Box::new(route.value()), object: route.into() }
    };
    let delete = |text, interface| {
        let route = route(text, interface);
        Op::DeleteHostObject { before: Box::new(route.value()), object: route.into() }
    };
    let edit = |text, interface| {
        let route = route(text, interface);
        let before = Box::new(RouteValue { source: None }.into());
        Op::EditHostObject { before, after: Box::new(route.value()), object: route.into() }
    };
    let labelled = |label: &str| Op::Bind {
        binding: binding("192.0.2.1", 32, "vip0"),
        label: Some(label.into()),
    };
    table_of_answers(vec![
        (add("192.0.2.1", "vip0"), no_device),
        (delete("192.0.2.1", "vip0"), no_device),
        (dummy("vip0"), Ok(())),
        (dummy("vip1"), Ok(())),
        (add("192.0.2.1", "vip0"), Err(Errno::INVAL)),
        (add("2001:db8::1", "vip0"), Err(Errno::INVAL)),
        (labelled("vip0:1"), Ok(())),
        (labelled("vip0:2"), EXISTS),
        (add("192.0.2.1", "vip0"), Ok(())),
        (add("192.0.2.1", "vip0"), EXISTS),
        (add("192.0.2.1", "vip1"), Err(Errno::BUSY)),
        (delete("192.0.2.1", "vip1"), Err(Errno::SRCH)),
        (delete("192.0.2.1", "vip0"), Ok(())),
        (delete("192.0.2.1", "vip0"), Err(Errno::SRCH)),
        (add("192.0.2.1", "vip1"), Ok(())),
        (unbind("192.0.2.1", 32, "vip0"), Ok(())),
        (delete("192.0.2.1", "vip1"), Err(Errno::SRCH)),
        (bind("2001:db8::1", 128, "vip0"), Ok(())),
        (add("2001:db8::1", "vip0"), Ok(())),
        (add("2001:db8::1", "vip1"), Err(Errno::BUSY)),
        (add("2001:db8::1", "vip0"), EXISTS),
        (unbind("2001:db8::1", 128, "vip0"), Ok(())),
        (bind("2001:db8::1", 128, "vip0"), Ok(())),
        // The route has lost its source.
        (add("2001:db8::1", "vip0"), EXISTS),
        (edit("2001:db8::1", "vip0"), Ok(())),
        (Op::DeleteDummy { interface: "vip0".into() }, Ok(())),
    ]);
    let (mut real, _) = both();
    assert!(answers(&mut real, &[dummy("vip0"), bind("192.0.2.1", 32, "vip0")]) == [Ok(()); 2]);
    let owner =
        real.observe(&ReadRequest::new()).unwrap().addresses[&binding("192.0.2.1", 32, "vip0")];
    assert_eq!(owner, Owner::Evenkeel);
}

#[test]
fn neighbours_are_refused_and_stored_alike() {
    let neighbour = |text: &str, interface: &str| {
        let (address, interface) = (text.parse().unwrap(), interface.into());
        HostObject::from(Neighbour { address, interface })
    };
    let mac = |last| Box::new(MacAddress([2, 0, 0, 0, 0, last]).into());
    let add = |text, interface, last| Op::AddHostObject {
        object: neighbour(text, interface),
        after: mac(last),
    };
    let edit = |text, interface, last| Op::EditHostObject {
        object: neighbour(text, interface),
        before: mac(0xff),
        after: mac(last),
    };
    let delete = |text, interface| Op::DeleteHostObject {
        object: neighbour(text, interface),
        before: mac(0xff),
    };
    let dummy = |name: &str| Op::AddDummy { interface: name.into() };
    let no_device = Err(Errno::NODEV);
    let mut rows = vec![(dummy("vip1"), Ok(()))];
    for address in ["192.0.2.1", "2001:db8::1"] {
        rows.extend([
            (add(address, "vip0", 1), no_device),
            (delete(address, "vip0"), no_device),
            (dummy("vip0"), Ok(())),
            (delete(address, "vip0"), Err(Errno::SRCH)),
            (add(address, "vip0", 1), Ok(())),
            (add(address, "vip0", 1), EXISTS),
            (add(address, "vip1", 1), Ok(())),
            (edit(address, "vip0", 2), Ok(())),
            (delete(address, "vip1"), Ok(())),
            (delete(address, "vip1"), Err(Errno::SRCH)),
            (Op::DeleteDummy { interface: "vip0".into() }, Ok(())),
        ]);
    }
    // The kernel deletes the IPv4 entries of an interface with its last IPv4 address, and no others.
    let vip = |last: u8| Binding::host([192, 0, 2, last].into(), "vip0");
    let bind = |last| Op::Bind { binding: vip(last), label: None };
    let unbind = |last| Op::Unbind { binding: vip(last), label: None };
    rows.extend([
        (dummy("vip0"), Ok(())),
        (bind(1), Ok(())),
        (bind(2), Ok(())),
        (add("192.0.2.9", "vip0", 1), Ok(())),
        (add("192.0.2.9", "vip1", 1), Ok(())),
        (add("2001:db8::9", "vip0", 1), Ok(())),
        (unbind(1), Ok(())),
        (edit("192.0.2.9", "vip0", 2), Ok(())),
        (unbind(2), Ok(())),
        (delete("192.0.2.9", "vip0"), Err(Errno::SRCH)),
        (delete("192.0.2.9", "vip1"), Ok(())),
        (delete("2001:db8::9", "vip0"), Ok(())),
    ]);
    table_of_answers(rows);
}

#[test]
fn any_operations_in_any_order_get_the_same_replies() {
    let strategy = prop::collection::vec(op(), 1..40);
    check(cases(), &strategy, |ops| {
        let (mut real, mut memory) = both();
        prop_assert_eq!(answers(&mut memory, &ops), answers(&mut real, &ops));
        let (memory, real) = (state(&mut memory), state(&mut real));
        prop_assert!(memory == real, "memory: {memory:#?}\nreal: {real:#?}");
        Ok(())
    });
}

/// Generates operations on few enough objects for them to affect each other.
fn op() -> impl Strategy<Value = Op> {
    let key = || select(keys());
    let real_server_key = || select(real_server_keys());
    let service = || key().prop_flat_map(|key| (Just(key), config_of(key)));
    prop_oneof![
        4 => service().prop_map(|(key, after)| add_service(key, after)),
        2 => service().prop_map(|(key, after)| edit_service(key, after)),
        1 => key().prop_map(delete_service),
        8 => (key(), real_server_key(), real_server())
            .prop_map(|(service, key, after)| Op::AddRealServer { service, key, after }),
        4 => (key(), real_server_key(), real_server()).prop_map(|(service, key, after)| {
            Op::EditRealServer { service, key, before: dr(1).into(), after }
        }),
        2 => (key(), real_server_key()).prop_map(|(service, key)| {
            Op::DeleteRealServer { service, key, before: dr(1) }
        }),
    ]
}

fn keys() -> Vec<ServiceKey> {
    let mark = |family| ServiceKey::Fwmark { family, fwmark: 7 };
    vec![tcp("192.0.2.1:80"), tcp("[2001:db8::1]:80"), mark(Family::Ipv4), mark(Family::Ipv6)]
}

fn real_server_keys() -> Vec<RealServerKey> {
    let keys = [
        "198.51.100.1:80",
        "198.51.100.2:80",
        "224.0.0.1:80",
        "[2001:db8::a]:80",
        "[2001:db8::b]:80",
        "[fe80::1]:80",
    ];
    keys.map(real_server_key).to_vec()
}

/// Generates mostly what a spec can express. The missing scheduler is rare, because the kernel
/// starts a program to look for it.
fn config_of(key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
    (arbitrary::config(key), prop::bool::weighted(0.02), prop::bool::weighted(0.1)).prop_map(
        |(config, is_missing, has_bad_mask)| {
            let mut after = config;
            if is_missing {
                after.scheduler = Scheduler::new(NO_SCHEDULER).unwrap();
            }
            if has_bad_mask {
                after.persistence = Some(Persistence { timeout: 1, netmask: Netmask::V6(0) });
            }
            after
        },
    )
}

fn real_server() -> impl Strategy<Value = RealServer> {
    let tunnel = |kind, port, checksum| Forward::Tun(Tunnel { kind, port, checksum });
    let forwards = vec![
        Forward::Dr,
        Forward::Nat,
        Forward::Local,
        Forward::Tun(Tunnel::IPIP),
        tunnel(TunnelKind::Gue, 0, Checksum::None),
        tunnel(TunnelKind::Gue, 6080, Checksum::Remote),
        tunnel(TunnelKind::Gre, 9, Checksum::Full),
    ];
    let weights = vec![0, 1, i32::MAX.cast_unsigned(), 1 << 31];
    let thresholds = vec![(0, 0), (10, 5), (u32::MAX, u32::MAX), (5, 10), (0, 1)];
    (select(forwards), select(weights), select(thresholds)).prop_map(
        |(forward, weight, (upper_threshold, lower_threshold))| RealServer {
            forward,
            weight,
            upper_threshold,
            lower_threshold,
        },
    )
}
