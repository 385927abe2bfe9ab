//! Strategies for property tests: pairs of a desired and a live state whose difference is known.
//!
//! The generators do not draw two random states but, for each key, the *relation* of the two sides:
//! only live, only desired, the same, changed. Both states follow from it, and so does the number
//! of operations that closes the difference, counted without any diff.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::sample::select;

use crate::{
    ArpRules, ArpRulesValue, Binding, DefaultRoute, DefaultRouteValue, Desired, DesiredTimeouts,
    Drain, Family, FouPort, HostObject, HostObjectKind, HostRoute, HostValue, IgnoredField, Link,
    Live, LiveHostObject, MacAddress, NamedService, Neighbour, Owner, RealServer, RealServerKey,
    RealServers, RecordedRoute, RouteMessage, Scope, Service, ServiceConfig, ServiceKey, SourceNat,
    SourceNatValue, Timeouts, TunnelDevice, TunnelDeviceValue, TunnelMode, Vip,
};

mod service;

pub use service::{config, service_key};
use service::{keyed_real_server, real_server, service, v4, v6};

/// A desired and a live state, and their difference.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The desired state.
    pub desired: Desired,
    /// The live state.
    pub live: Live,
    /// How many operations close the difference; a deleted service counts once, each real server
    /// that drains before it is deleted counts twice.
    pub operations: usize,
    /// How many real servers drain whose weight is 0 already: a step of a plan, but no operation.
    pub idle_drains: usize,
    /// The services that are the same on both sides, apart from their real servers.
    pub same_services: BTreeSet<ServiceKey>,
    /// The real servers that are the same on both sides.
    pub same_real_servers: BTreeSet<(ServiceKey, RealServerKey)>,
}

/// Up to `most` services in any relation, in every protocol, family and forwarding method.
pub fn pair(most: usize) -> impl Strategy<Value = Pair> {
    let relations = prop::collection::btree_set(service_key(), 0..=most).prop_flat_map(|keys| {
        keys.into_iter().map(|key| (Just(key), relation(key), drain())).collect::<Vec<_>>()
    });
    (relations, drain()).prop_map(|(relations, usual)| build(relations, usual))
}

/// A pair in which some services leave fields, and which real servers they have, to another program. The
/// operations are not counted.
pub fn with_ignored_members(most: usize) -> impl Strategy<Value = Pair> {
    let ignored = prop::collection::vec(select(IgnoredField::ALL.to_vec()), 0..4);
    let choices = prop::collection::vec((prop::bool::ANY, ignored), most);
    (pair(most), choices).prop_map(|(mut pair, choices)| {
        for (named, (is_theirs, others)) in pair.desired.services.values_mut().zip(choices) {
            let members = is_theirs.then_some(IgnoredField::RealServers);
            named.ignore = others.into_iter().chain(members).collect();
            // The kernel refuses a lower threshold above the upper one, which one that is ignored alone can be.
            let thresholds = [IgnoredField::UpperThreshold, IgnoredField::LowerThreshold];
            if thresholds.iter().any(|field| named.ignore.contains(*field)) {
                let all = IgnoredField::ALL.into_iter();
                let fields = all.filter(|it| named.ignore.contains(*it) || thresholds.contains(it));
                named.ignore = fields.collect();
            }
        }
        pair
    })
}

impl Pair {
    /// Checks which real servers a state has that the pair's plan leads to: those of the spec, and those
    /// that were live where they are another program's.
    ///
    /// # Errors
    /// The first service with others.
    pub fn check_members(&self, after: &Live) -> Result<(), String> {
        let keys = |service: &Service| -> BTreeSet<RealServerKey> {
            service.real_servers.iter().map(|(key, _)| *key).collect()
        };
        for (key, named) in &self.desired.services {
            let is_theirs = named.ignore.contains(IgnoredField::RealServers);
            let found = self.live.services.get(key).filter(|_| is_theirs);
            let expected = keys(found.unwrap_or(&named.service));
            let has = after.services.get(key).map(keys);
            if has.as_ref() != Some(&expected) {
                return Err(format!("{key} has {has:?} and should have {expected:?}"));
            }
        }
        Ok(())
    }
}

fn drain() -> impl Strategy<Value = Drain> {
    select(vec![0, 0, 30, 120]).prop_map(Drain)
}

/// A pair, and on both sides VIPs, a dummy device, timeouts and a sysctl in any relation. Their
/// operations are not counted.
pub fn populated(most: usize) -> impl Strategy<Value = Pair> {
    (pair(most), any::<[bool; 18]>()).prop_map(|(mut pair, choices)| {
        const SYSCTL: &str = "net.ipv4.vs.expire_nodest_conn";
        let Pair { desired, live, .. } = &mut pair;
        let vip = |last, interface| Binding::host([203, 0, 113, last].into(), interface);
        live.links = Some(
            ["eth0", "lo"]
                .map(|name| (name.into(), Link { up: true, dummy: false, owner: Owner::Other }))
                .into(),
        );
        live.timeouts = Some(Timeouts::INITIAL);
        live.sysctls.insert(SYSCTL.into(), "0".into());
        let [
            leaves,
            comes,
            is_on_dummy,
            has_timeouts,
            has_sysctl,
            is_relabelled,
            gets_route,
            loses_route,
            gets_neighbour,
            has_neighbour,
            gets_default_route,
            has_default_route,
            leads_elsewhere,
            is_ipv6,
            gets_tunnel,
            has_tunnel,
            gets_fou_port,
            has_fou_port,
        ] = choices;
        if leaves {
            live.addresses.insert(vip(1, "eth0"), Owner::Evenkeel);
        }
        if comes {
            desired.vips.insert(vip(2, "eth0"), Vip::default());
        }
        if is_on_dummy {
            desired.vips.insert(vip(3, "vips"), Vip { dummy: true, ..Vip::default() });
        }
        if is_relabelled {
            live.addresses.insert(vip(4, "eth0"), Owner::Evenkeel);
            live.labels.insert(vip(4, "eth0"), "eth0:1".into());
            let label = Some("eth0:2".into());
            desired.vips.insert(vip(4, "eth0"), Vip { label, ..Vip::default() });
        }
        let mut want = |route: &HostRoute| {
            desired.host_objects.insert(route.clone().into(), route.value());
        };
        let mut routes: Vec<HostRoute> = Vec::new();
        if gets_route {
            let binding = vip(5, "eth0");
            want(&HostRoute::of(&binding));
            desired.vips.insert(binding.clone(), Vip::default());
            if is_relabelled {
                // Through the interface that the VIP was on before.
                let before = HostRoute { interface: "lo".into(), ..HostRoute::of(&binding) };
                live.addresses.insert(before.binding(), Owner::Evenkeel);
                routes.push(before);
            }
        }
        if loses_route {
            let binding = vip(6, "eth0");
            live.addresses.insert(binding.clone(), Owner::Evenkeel);
            routes.push(HostRoute::of(&binding));
            if comes {
                desired.vips.insert(binding, Vip::default());
            }
        }
        if is_relabelled && leaves {
            // It is added again, because the VIP is unbound to change its label.
            let route = HostRoute::of(&vip(4, "eth0"));
            want(&route);
            routes.push(route);
        }
        live.host_objects.read = HostObjectKind::ALL.into();
        let owned = |route: HostRoute| {
            let value = route.value();
            (HostObject::from(route), LiveHostObject::of_evenkeel(value))
        };
        live.host_objects.objects = routes.into_iter().map(owned).collect();
        let neighbour = |interface: &str| {
            HostObject::from(Neighbour { address: vip(7, "").address, interface: interface.into() })
        };
        let mac = |last| MacAddress([2, 0, 0, 0, 0, last]);
        if gets_neighbour {
            desired.host_objects.insert(neighbour("eth0"), mac(1).into());
        }
        if has_neighbour {
            // With another MAC address, or on another interface.
            let interface = if is_relabelled { "lo" } else { "eth0" };
            let found = LiveHostObject::of_evenkeel(mac(2).into());
            live.host_objects.objects.insert(neighbour(interface), found);
        }
        let family = if is_ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        let default_route = HostObject::from(DefaultRoute { family });
        let gateway = |last| match family {
            Family::Ipv4 => v4(last),
            Family::Ipv6 => v6(last),
        };
        if gets_default_route {
            let value = DefaultRouteValue::Gateway(gateway(1));
            desired.host_objects.insert(default_route.clone(), value.into());
        }
        if has_default_route {
            // Of evenkeel, or of another program; elsewhere or to the same gateway.
            let value = match leads_elsewhere {
                true if has_neighbour => DefaultRouteValue::Gateway(gateway(2)),
                true => recorded_route(gateway(3)),
                false => recorded_route(gateway(1)),
            };
            live.host_objects.objects.insert(default_route, LiveHostObject::set_to(value.into()));
        }
        tunnels(&mut pair, [gets_tunnel, has_tunnel, gets_fou_port, has_fou_port]);
        packet_rules(&mut pair, [gets_tunnel, has_tunnel, gets_fou_port, has_fou_port]);
        let Pair { desired, .. } = &mut pair;
        if has_timeouts {
            desired.timeouts = DesiredTimeouts { tcp: Some(60), ..DesiredTimeouts::default() };
        }
        if has_sysctl {
            desired.sysctls.insert(SYSCTL.into(), "1".into());
        }
        pair
    })
}

/// A default route of another program.
fn recorded_route(gateway: IpAddr) -> DefaultRouteValue {
    DefaultRouteValue::Found(vec![RecordedRoute {
        gateway: Some(gateway),
        interfaces: vec!["eth0".into()],
        metric: 100,
        protocol: 16,
        is_ours: false,
        message: RouteMessage([2, 0].into()),
    }])
}

/// A tunnel device with a VIP of each family on it and a sysctl of its own, and a FOU port, on both
/// sides.
fn tunnels(pair: &mut Pair, choices: [bool; 4]) {
    let [gets_tunnel, has_tunnel, gets_fou_port, has_fou_port] = choices;
    let Pair { desired, live, .. } = pair;
    let device = || HostObject::from(TunnelDevice { interface: "ip6tnl0".into() });
    let mode = |mode| HostValue::from(TunnelDeviceValue { mode });
    let vips = || [v4(9), v6(9)].map(|address| Binding::host(address, "ip6tnl0"));
    let sysctl = || "net.ipv4.conf.ip6tnl0.rp_filter".into();
    let objects = &mut live.host_objects.objects;
    // The kernel keeps the device of its driver, and with it the sysctl.
    let link = Link { up: has_tunnel, dummy: false, owner: Owner::Other };
    live.links.get_or_insert_default().insert("ip6tnl0".into(), link);
    live.sysctls.insert(sysctl(), "1".into());
    if has_tunnel {
        let value = mode(if gets_fou_port { TunnelMode::Any } else { TunnelMode::Ip6ip6 });
        objects.insert(device(), LiveHostObject::of_evenkeel(value));
        live.addresses.extend(vips().map(|binding| (binding, Owner::Evenkeel)));
    }
    if gets_tunnel {
        let value = mode(if has_fou_port { TunnelMode::Any } else { TunnelMode::Ip6ip6 });
        desired.host_objects.insert(device(), value);
        desired.vips.extend(vips().map(|binding| (binding, Vip::default())));
        desired.sysctls.insert(sysctl(), "0".into());
    }
    let port = |port| FouPort { port, family: Family::Ipv6 };
    if has_fou_port {
        objects.insert(port(6080).into(), LiveHostObject::of_evenkeel(port(6080).value()));
    }
    if gets_fou_port {
        let port = port(if has_tunnel { 6080 } else { 6081 });
        desired.host_objects.insert(port.into(), port.value());
    }
}

/// ARP rules for a VIP of `lo`, and source NAT for a real server of the first service, on both sides.
fn packet_rules(pair: &mut Pair, choices: [bool; 4]) {
    let [gets_rules, has_rules, gets_source_nat, has_source_nat] = choices;
    let Pair { desired, live, .. } = pair;
    let objects = &mut live.host_objects.objects;
    let address = Ipv4Addr::new(192, 0, 2, 10);
    let rules = || HostObject::from(ArpRules { address });
    let binding = Binding::host(address.into(), "lo");
    if has_rules {
        let last = if has_source_nat { 1 } else { 2 };
        let value = ArpRulesValue::with_source(Ipv4Addr::new(10, 0, 0, last));
        objects.insert(rules(), LiveHostObject::of_evenkeel(value.into()));
        live.addresses.insert(binding.clone(), Owner::Evenkeel);
    }
    if gets_rules {
        let value = ArpRulesValue::with_source(Ipv4Addr::new(10, 0, 0, 1));
        desired.host_objects.insert(rules(), value.into());
        desired.vips.insert(binding, Vip::default());
    }
    let keys = desired.services.keys().chain(live.services.keys());
    let Some(service) = keys.min().copied() else { return };
    let address = if service.family() == Family::Ipv4 { v4(40) } else { v6(40) };
    let source_nat = SourceNat { service, real_server: RealServerKey { address, port: 8080 } };
    if has_source_nat {
        let value =
            if gets_rules { SourceNatValue::Address(v4(9)) } else { SourceNatValue::Masquerade };
        objects.insert(source_nat.into(), LiveHostObject::of_evenkeel(value.into()));
    }
    if gets_source_nat {
        desired.host_objects.insert(source_nat.into(), SourceNatValue::Masquerade.into());
    }
}

/// One service on the two sides.
#[derive(Debug, Clone)]
enum Relation {
    LiveOnly(Service),
    DesiredOnly(Service),
    /// The configurations, and the real servers by key: live, desired.
    Both {
        live: ServiceConfig,
        desired: ServiceConfig,
        real_servers: BTreeMap<RealServerKey, (Option<RealServer>, Option<RealServer>)>,
    },
}

fn build(relations: Vec<(ServiceKey, Relation, Drain)>, usual: Drain) -> Pair {
    let mut pair = Pair {
        desired: Desired { scope: Scope::All, drain: usual, ..Desired::default() },
        live: Live::default(),
        operations: 0,
        idle_drains: 0,
        same_services: BTreeSet::new(),
        same_real_servers: BTreeSet::new(),
    };
    for (key, relation, drain) in relations {
        pair.add(key, relation, drain);
    }
    pair
}

impl Pair {
    fn add(&mut self, key: ServiceKey, relation: Relation, drain: Drain) {
        match relation {
            Relation::LiveOnly(service) => {
                self.operations += 1;
                let usual = self.desired.drain;
                service.real_servers.iter().for_each(|(_, leaving)| self.drain(leaving, usual));
                self.live.services.insert(key, service);
            }
            Relation::DesiredOnly(service) => {
                self.operations += 1 + service.real_servers.len();
                self.desire(key, service, drain);
            }
            Relation::Both { live, desired, real_servers } => {
                if live == desired {
                    self.same_services.insert(key);
                } else {
                    self.operations += 1;
                }
                let drain = desired.usual_drain(drain);
                let (mut live_ones, mut desired_ones) = (RealServers::new(), RealServers::new());
                for (real_server, (live, desired)) in real_servers {
                    if live == desired {
                        self.same_real_servers.insert((key, real_server));
                    } else {
                        self.operations += 1;
                    }
                    if let (Some(leaving), None) = (live, desired) {
                        self.drain(&leaving, drain);
                    }
                    live.map(|value| live_ones.insert(real_server, value));
                    desired.map(|value| desired_ones.insert(real_server, value));
                }
                let live = Service { config: live, real_servers: live_ones };
                self.live.services.insert(key, live);
                self.desire(key, Service { config: desired, real_servers: desired_ones }, drain);
            }
        }
    }

    fn drain(&mut self, leaving: &RealServer, limit: Drain) {
        match (limit, leaving.weight) {
            (Drain::NONE, _) => {}
            (_, 0) => self.idle_drains += 1,
            (_, _) => self.operations += 1,
        }
    }

    fn desire(&mut self, key: ServiceKey, service: Service, drain: Drain) {
        let name = format!("s{}", self.desired.services.len());
        let drain = service.config.usual_drain(drain);
        let named = NamedService { drain, ..NamedService::new(name, service) };
        self.desired.services.insert(key, named);
    }
}

fn relation(key: ServiceKey) -> impl Strategy<Value = Relation> {
    prop_oneof![
        service(key).prop_map(Relation::LiveOnly),
        service(key).prop_map(Relation::DesiredOnly),
        (config(key), config(key), prop::bool::ANY, both_sides(key)).prop_map(
            |(live, changed, same, real_servers)| {
                let desired = if same { live.clone() } else { changed };
                Relation::Both { live, desired, real_servers }
            }
        ),
    ]
}

type Sides = (Option<RealServer>, Option<RealServer>);

fn both_sides(key: ServiceKey) -> impl Strategy<Value = BTreeMap<RealServerKey, Sides>> {
    prop::collection::vec((keyed_real_server(key), real_server(), 0..4), 0..6).prop_map(|all| {
        let sides = |live: RealServer, changed: RealServer, kind| match kind {
            0 => (Some(live), None),
            1 => (None, Some(live)),
            2 => (Some(live), Some(live)),
            // Another forwarding method would need another port, so another key.
            _ => (Some(live), Some(RealServer { forward: live.forward, ..changed })),
        };
        let sided =
            all.into_iter().map(|((key, live), changed, kind)| (key, sides(live, changed, kind)));
        sided.collect()
    })
}
