//! Property tests: every written state is read back unchanged.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_model::{
    ArpRules, ArpRulesValue, Desired, DesiredTimeouts, Family, Forward, FouPort, HostObject,
    HostObjectKind, HostRoute, HostValue, Link, Live, LiveHostObject, LiveHostObjects, MacAddress,
    Neighbour, Owner, Protocol, RealServerKey, RouteValue, Service, ServiceKey, SourceNat,
    SourceNatValue, SyncDaemon, SyncState, Timeouts, arbitrary,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::*;
use super::{assert_written, read};

/// Returns a service of a spec with several VIPs and ports, as text.
fn service_of_many() -> impl Strategy<Value = String> {
    let vips = vec!["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::"];
    let server = (0..4_u8, prop::bool::ANY, select(vec!["", ", weight: 0", ", forward: tun"]));
    (
        subsequence(vips, 1..=4),
        subsequence(vec![80, 443, 8080], 1..=3),
        select(vec!["dr", "nat", "fullnat", "tun"]),
        prop::collection::vec(server, 0..6),
        prop::option::of(1..9000_u16),
        prop::bool::ANY,
    )
        .prop_map(|(vips, ports, forward, servers, own_port, persistent)| {
            let families = ["192", "2001"].map(|head| vips.iter().any(|vip| vip.starts_with(head)));
            let mut lines =
                format!("  - name: many\n    forward: {forward}\n    ports: {ports:?}\n");
            lines += &format!("    vips: [{}]\n", vips.map_quoted());
            if persistent {
                lines += "    persistence: 7m\n";
            }
            lines += "    real_servers:\n";
            // One of each family first, so that each VIP has a real server.
            for (index, family) in families.iter().enumerate() {
                if *family {
                    let address = ["198.51.100.9", "\"2001:db8:1::9\""][index];
                    lines += &format!("      - {{ address: {address} }}\n");
                }
            }
            let mut seen = std::collections::BTreeSet::new();
            for (last, v6, rest) in servers {
                let index = usize::from(v6);
                if !(families[index] && seen.insert((last, v6))) {
                    continue;
                }
                let address = [format!("198.51.100.{last}"), format!("\"2001:db8:1::{last}\"")]
                    [index]
                    .clone();
                let nat = forward == "nat" && rest != ", forward: tun";
                let port =
                    own_port.filter(|_| nat).map_or(String::new(), |p| format!(", port: {p}"));
                lines += &format!("      - {{ address: {address}{port}{rest} }}\n");
            }
            format!("version: 1\nservices:\n{lines}")
        })
}

trait Quoted {
    fn map_quoted(&self) -> String;
}

impl Quoted for Vec<&str> {
    fn map_quoted(&self) -> String {
        self.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
    }
}

type Daemons = BTreeMap<SyncState, SyncDaemon>;
type Sysctls = BTreeMap<Box<str>, Box<str>>;

fn timeout() -> impl Strategy<Value = u32> {
    prop_oneof![select(vec![1, 300, DesiredTimeouts::MAX]), 1..=DesiredTimeouts::MAX]
}

fn daemons() -> impl Strategy<Value = Daemons> {
    let group = select(vec!["224.0.0.81", "239.255.255.255", "ff02::81", "ff0e::"]);
    let group = group.prop_map(|text| text.parse::<IpAddr>().expect("an address"));
    let daemon = (
        select(vec!["eth1", "bond0.7", "we\"i${r}d"]),
        any::<u8>(),
        prop::option::of(1024..=65487_u16),
        prop::option::of(group),
        prop::option::of(1..=u16::MAX),
        prop::option::of(1..=u8::MAX),
    )
        .prop_map(|(interface, id, max_length, group, port, ttl)| SyncDaemon {
            interface: interface.into(),
            id,
            max_length,
            group,
            port,
            ttl,
        });
    prop::collection::btree_map(select(vec![SyncState::Master, SyncState::Backup]), daemon, 0..=2)
}

fn sysctls() -> impl Strategy<Value = Sysctls> {
    let keys = vec!["net.ipv4.ip_forward", "net.ipv4.conf.eth0/1.rp_filter", "net.a-b.c@d"];
    let values = vec![
        "1",
        "-1",
        "007",
        "+1",
        "0x10",
        "1e3",
        "1.0",
        ".inf",
        "4096 131072 6291456",
        "bbr",
        "on",
        "true",
        "null",
        "~",
        "",
        "no",
        "a: b",
        "#x",
        "${x}",
        "$${x}",
        "\"",
        "[1]",
        "18446744073709551616",
        "ü",
    ];
    let entry = (select(keys), select(values));
    prop::collection::vec(entry, 0..4)
        .prop_map(|all| all.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

/// Whether there are real servers of the other family; the kernel runs no sync daemon beside them.
fn is_mixed<'a>(services: impl IntoIterator<Item = (&'a ServiceKey, &'a Service)>) -> bool {
    services.into_iter().any(|(key, service)| {
        service.real_servers.iter().any(|(it, _)| Family::from(it.address) != key.family())
    })
}

/// Generates a desired state with everything that a spec can express.
fn complete() -> impl Strategy<Value = Desired> {
    let timeouts =
        (prop::option::of(timeout()), prop::option::of(timeout()), prop::option::of(timeout()));
    let canonical = prop::collection::vec(any::<bool>(), 8);
    (arbitrary::pair(8), timeouts, prop::option::of(daemons()), sysctls(), canonical).prop_map(
        |(pair, (tcp, tcp_fin, udp), sync, sysctls, canonical)| {
            let mut desired = pair.desired;
            for (named, canonical) in desired.services.values_mut().zip(canonical) {
                named.canonical_order = canonical;
            }
            let mixed = is_mixed(desired.services.iter().map(|(key, it)| (key, &it.service)));
            let timeouts = DesiredTimeouts { tcp, tcp_fin, udp };
            let sync = sync.map(|daemons| if mixed { Daemons::new() } else { daemons });
            let mut desired = Desired { timeouts, sync, sysctls, ..desired };
            add_full_nat(&mut desired);
            desired
        },
    )
}

/// Puts real servers under NAT of every second service under full NAT: all of them, or every second one.
fn add_full_nat(desired: &mut Desired) {
    let mut objects = Vec::new();
    for (number, (key, named)) in desired.services.iter().enumerate().filter(|(it, _)| it % 2 == 0)
    {
        let source = match key.family() {
            _ if number % 3 == 0 => SourceNatValue::Masquerade,
            Family::Ipv4 => SourceNatValue::Address([198, 51, 100, 77].into()),
            Family::Ipv6 => SourceNatValue::Address("fd00::77".parse().expect("an address")),
        };
        let nat = named.service.real_servers.in_order();
        // No spec has one-packet scheduling under full NAT.
        let nat = nat
            .filter(|(_, it)| it.forward == Forward::Nat && !named.service.config.one_packet)
            .map(|(it, _)| *it);
        for real_server in nat.step_by(1 + number % 4 / 2) {
            let object = HostObject::from(SourceNat { service: *key, real_server });
            objects.push((object, source.into()));
        }
    }
    if !objects.is_empty() {
        desired.sysctls.insert("net.ipv4.vs.conntrack".into(), "1".into());
    }
    desired.host_objects.extend(objects);
}

/// Host objects that only a snapshot's observations hold.
fn further_objects(is_many: bool) -> impl Iterator<Item = (HostObject, LiveHostObject)> {
    let service = |port| ServiceKey::Address {
        address: [203, 0, 113, 1].into(),
        port,
        protocol: Protocol::Sctp,
    };
    let real_server = RealServerKey { address: [203, 0, 113, 2].into(), port: 8080 };
    let source_nat = |service| HostObject::from(SourceNat { service, real_server });
    let fou = FouPort { port: 6080, family: Family::Ipv6 };
    let rules = ArpRulesValue::with_source([203, 0, 113, 2].into());
    let mark = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: 7 };
    let objects: [(HostObject, HostValue); 6] = [
        (fou.into(), fou.value()),
        (ArpRules { address: [203, 0, 113, 3].into() }.into(), rules.into()),
        (source_nat(service(80)), SourceNatValue::Masquerade.into()),
        (source_nat(service(81)), SourceNatValue::Address([203, 0, 113, 4].into()).into()),
        (source_nat(service(82)), SourceNatValue::Other.into()),
        (source_nat(mark), SourceNatValue::Masquerade.into()),
    ];
    let objects = objects.into_iter().take(if is_many { 6 } else { 0 });
    objects.map(|(object, value)| (object, LiveHostObject::of_evenkeel(value)))
}

/// Generates a live state with everything that a kernel can hold and a snapshot can express.
fn complete_live() -> impl Strategy<Value = Live> {
    let timeouts = (timeout(), timeout(), timeout()).prop_map(|(tcp, tcp_fin, udp)| Timeouts {
        tcp,
        tcp_fin,
        udp,
    });
    let names = || select(vec!["eth0", "lo", "vip0", "$${x}", "a b"]);
    let address =
        (select(vec!["192.0.2.1", "::1", "2001:db8::"]), names(), 1..=32_u8, any::<bool>())
            .prop_map(|(address, interface, prefix, ours)| {
                let address: IpAddr = address.parse().expect("an address");
                let owner = if ours { Owner::Evenkeel } else { Owner::Other };
                (Binding { address, interface: interface.into(), prefix }, owner)
            });
    let link = (names(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(name, up, dummy, ours)| {
            let owner = if ours { Owner::Evenkeel } else { Owner::Other };
            (Box::from(name), Link { up, dummy, owner })
        },
    );
    (
        arbitrary::pair(8),
        prop::option::of(timeouts),
        daemons(),
        sysctls(),
        prop::collection::vec(address, 0..5),
        prop::option::of(prop::collection::vec(link, 0..4)),
        prop::option::of(prop::collection::btree_set(select(vec!["ip_vs", "ip_vs_rr"]), 0..3)),
    )
        .prop_map(|(pair, timeouts, sync, sysctls, addresses, links, modules)| {
            let mixed = is_mixed(&pair.live.services);
            // A spec lists a VIP once for each interface, with an interface name that it can write.
            let ours = |(binding, owner): (Binding, Owner)| {
                let plain = matches!(&*binding.interface, "eth0" | "lo" | "vip0");
                let whole = Binding::host(binding.address, &binding.interface);
                match owner {
                    Owner::Evenkeel if plain => (whole, owner),
                    _ => (binding, Owner::Other),
                }
            };
            let addresses: BTreeMap<Binding, Owner> = addresses.into_iter().map(ours).collect();
            // The labels that a spec can write, on every second of the addresses that may have one.
            let labelled = addresses
                .iter()
                .filter(|(binding, owner)| **owner == Owner::Evenkeel && binding.address.is_ipv4());
            let labels = labelled
                .step_by(2)
                .map(|(binding, _)| (binding.clone(), format!("{}:0", binding.interface).into()));
            let hosts =
                addresses.keys().filter(|it| **it == Binding::host(it.address, &it.interface));
            let routes = hosts.clone().enumerate().map(|(number, binding)| {
                let route = HostRoute::of(binding);
                let source = (number % 2 == 0).then_some(binding.address);
                let (owner, value) = (addresses[binding], RouteValue { source }.into());
                (HostObject::from(route), LiveHostObject { owner, value })
            });
            let neighbours = hosts.clone().enumerate().map(|(number, binding)| {
                let Binding { address, interface, .. } = binding.clone();
                // An odd first byte is a group's, which no spec can ask for.
                let mac = MacAddress([12 + u8::from(number % 3 == 2), 0x34, 0x56, 0, 0, 0x10]);
                let owner = addresses[binding];
                let value = LiveHostObject { owner, value: mac.into() };
                (HostObject::from(Neighbour { address, interface }), value)
            });
            let read = HostObjectKind::ALL.into();
            let objects = routes.chain(neighbours).chain(further_objects(links.is_some()));
            let objects = objects.collect();
            Live {
                services: pair.live.services,
                host_objects: LiveHostObjects { read, objects, ..Default::default() },
                labels: labels.collect(),
                secondaries: std::collections::BTreeMap::new(),
                local_by_route: None,
                addresses,
                links: links.map(|all| all.into_iter().collect()),
                timeouts,
                sync: if mixed { Daemons::new() } else { sync },
                sysctls,
                sysctls_read_only: std::collections::BTreeSet::new(),
                sysctl_obstacles: BTreeMap::new(),
                sync_links: BTreeMap::new(),
                modules: modules.map(|all| all.into_iter().map(Into::into).collect()),
            }
        })
}

proptest! {
    #[test]
    fn a_written_state_is_read_back_unchanged(desired in complete()) {
        assert_written(&desired);
    }

    #[test]
    fn a_state_written_with_pools_is_read_back_unchanged(desired in complete()) {
        let text = write(&WriteInput::of_desired(&desired).pooled());
        prop_assert_eq!(&read(&text).desired, &desired, "\n{}", text);
    }

    #[test]
    fn a_snapshot_is_read_back_as_the_complete_live_state(
        live in complete_live(),
        pooled in any::<bool>(),
    ) {
        let whole = Desired { scope: Scope::All, ..Desired::default() };
        let mut input = WriteInput::of_live(&live, &whole);
        input.observe(&live);
        input.observe_moment("2026-03-01T12:00:00Z", "6.1.176");
        let text = write(&if pooled { input.pooled() } else { input });
        prop_assert_eq!(read(&text).into_live(), live, "\n{}", text);
    }

    #[test]
    fn a_service_of_many_vips_and_ports_is_written_as_one(text in service_of_many()) {
        let desired = read(&text).desired;
        assert_written(&desired);
        let written = write(&WriteInput::of_desired(&desired));
        prop_assert_eq!(written.matches("name:").count(), 1);
    }

    #[test]
    fn a_live_table_is_written_as_a_spec_that_requests_it(pair in arbitrary::pair(8)) {
        let text = write(&WriteInput::of_live(&pair.live, &Desired::default()));
        let loaded = read(&text);
        let services: std::collections::BTreeMap<_, _> =
            loaded.desired.services.iter().map(|(key, named)| (*key, named.service.clone())).collect();
        prop_assert_eq!(&services, &pair.live.services);
        prop_assert_eq!(loaded.into_live().services, pair.live.services);
    }
}
