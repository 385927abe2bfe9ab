//! Hosts on which something keeps traffic from flowing: a case for each code, at least.

use evenkeel_model::{
    ArpRules, ArpRulesValue, Binding, Family, Forward, HostObject, HostObjectKind, HostValue,
    MacAddress, Neighbour, Netmask, Owner, Persistence, Protocol, RealServer, RealServerKey,
    Scheduler, SchedulerFlags, Service, SourceNat, SourceNatValue,
};

use crate::test_fixtures::{
    MAC, address, answer, direct, director, encapsulated, filter, gateway, hidden_by_rules,
    one_armed, probed, replan, routed, service, set, translated, tunnelled, unlisted,
};
use crate::{
    Code, Facts, Finding, LinkFacts, Listener, Port, RouteFacts, RouteLookup, Writer, check,
};

pub(crate) const WEB: &str = "192.0.2.10:80/tcp";

/// A host that works, and what keeps traffic from flowing there.
pub(crate) struct Case {
    pub(crate) code: Code,
    host: fn() -> Facts,
    change: fn(&mut Facts),
    /// Other codes that follow from the same change.
    pub(crate) also: &'static [Code],
}

fn link<'a>(facts: &'a mut Facts, name: &str) -> &'a mut LinkFacts {
    facts.links.get_mut(name).expect("an interface")
}

pub(crate) fn live<'a>(facts: &'a mut Facts, key: &str) -> &'a mut Service {
    facts.live.services.get_mut(&service(key)).expect("a service")
}

/// Gives a real server of a live service another weight.
pub(crate) fn weigh(facts: &mut Facts, key: &str, real_server: &str, weight: u32) {
    let key_of = RealServerKey { address: address(real_server), port: 80 };
    live(facts, key).real_servers.get_mut(&key_of).expect("a real server").weight = weight;
}

pub(crate) fn route(gateway: Option<&str>, mtu: Option<u32>) -> RouteLookup {
    let gateway = gateway.map(address);
    RouteLookup::Route(RouteFacts { interface: "eth0".into(), gateway, mtu })
}

pub(crate) fn binding(text: &str, interface: &str, prefix: u8) -> Binding {
    Binding { prefix, ..Binding::host(address(text), interface) }
}

pub(crate) fn tcp(number: u16) -> Port {
    Port { protocol: Protocol::Tcp, number }
}

pub(crate) fn udp(number: u16) -> Port {
    Port { protocol: Protocol::Udp, number }
}

/// Gives the packet filter of a family these rules.
pub(crate) fn rules(facts: &mut Facts, family: Family, lines: &[&str]) {
    facts.packet_filters.insert(family, filter(lines));
}

/// The rules of the host's VIP.
fn hiding_rules() -> HostObject {
    HostObject::from(ArpRules { address: [192, 0, 2, 10].into() })
}

fn live_rules(facts: &mut Facts) -> &mut ArpRulesValue {
    let live = facts.live.host_objects.objects.get_mut(&hiding_rules()).expect("they are there");
    let HostValue::ArpRules(value) = &mut live.value else { panic!("they are ARP rules") };
    value
}

fn unbind(facts: &mut Facts) {
    facts.live.addresses.remove(&binding("192.0.2.10", "eth0", 32)).expect("it is bound");
    replan(facts);
}

const FOLLOWS: &[Code] = &[Code::Differs];

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let case = |code, host, change| Case { code, host, change, also: &[] };
    vec![
        case(Code::LoopbackDown, director, |facts| link(facts, "lo").is_up = false),
        case(Code::InterfaceDown, director, |facts| link(facts, "eth1").is_up = false),
        case(Code::InterfaceDown, tunnelled, |facts| link(facts, "sit0").is_up = false),
        case(Code::InterfaceDown, direct, |facts| link(facts, "eth0").is_up = false),
        case(Code::NoCarrier, director, |facts| link(facts, "eth1").is_running = false),
        case(Code::Differs, director, |facts| { weigh(facts, WEB, "192.0.2.21", 5); replan(facts); }),
        case(Code::Differs, director, |facts| {
            facts.live.services.clear();
            replan(facts);
        }),
        Case { code: Code::VipNotBound, host: director, change: unbind, also: FOLLOWS },
        Case { code: Code::VipNotBound, host: direct, also: FOLLOWS, change: |facts| {
            facts.live.addresses.remove(&binding("192.0.2.10", "lo", 32)).expect("it is bound");
            replan(facts);
        } },
        Case { code: Code::VipNotBound, host: director, also: FOLLOWS, change: |facts| {
            let vip = facts.desired.vips.remove(&binding("192.0.2.10", "eth0", 32)).expect("it is listed");
            facts.desired.vips.insert(binding("192.0.2.10", "eth7", 32), vip);
            replan(facts);
        } },
        case(Code::VipNotBound, unlisted, |facts| {
            facts.routes.insert(address("192.0.2.10"), route(None, None));
        }),
        Case { code: Code::ModuleMissing, host: director, also: FOLLOWS, change: |facts| {
            facts.live.services.clear();
            facts.live.timeouts = None;
            facts.modules = Some(["ip_vs_wlc".into()].into());
            replan(facts);
        } },
        Case { code: Code::ModuleMissing, host: director, also: FOLLOWS, change: |facts| {
            facts.live.services.remove(&service(WEB));
            facts.modules = Some(["ip_vs".into()].into());
            replan(facts);
        } },
        case(Code::ModuleMissing, tunnelled, |facts| {
            facts.links.remove("tunl0");
            facts.modules = Some(["sit".into()].into());
        }),
        case(Code::ModuleMissing, encapsulated, |facts| {
            facts.live.host_objects.objects.retain(|object, _| object.kind() != HostObjectKind::FouPort);
            facts.modules = Some(Default::default());
        }),
        case(Code::Impossible, direct, |facts| {
            let value = ArpRulesValue::with_source([192, 0, 2, 21].into());
            facts.desired.host_objects.insert(hiding_rules(), value.into());
            let why = "the kernel has no table for ARP rules";
            facts.live.host_objects.unavailable.insert(HostObjectKind::ArpRules, why.into());
        }),
        Case { code: Code::OtherWriter, host: director, also: &[Code::Differs, Code::VipNotBound],
            change: |facts| {
                facts.writers = [Writer::Keepalived, Writer::Networkd, Writer::Ldirectord].into();
                unbind(facts);
            } },
        Case { code: Code::OtherWriter, host: director, also: FOLLOWS, change: |facts| {
            facts.writers = [Writer::KubeProxy, Writer::Ldirectord, Writer::Networkd].into();
            weigh(facts, WEB, "192.0.2.21", 5);
            replan(facts);
        } },
        case(Code::NotForwarding, director, |facts| set(facts, "net.ipv4.conf.eth1.forwarding", "0")),
        case(Code::NotForwarding, one_armed, |facts| {
            set(facts, "net.ipv4.conf.all.forwarding", "0");
            set(facts, "net.ipv4.conf.eth0.forwarding", "0");
        }),
        case(Code::NotForwarding, director, |facts| set(facts, "net.ipv6.conf.all.forwarding", "0")),
        case(Code::Redirects, one_armed, |facts| set(facts, "net.ipv4.conf.all.send_redirects", "1")),
        case(Code::Redirects, one_armed, |facts| set(facts, "net.ipv4.conf.eth0.send_redirects", "1")),
        case(Code::NotOnNetwork, director, |facts| {
            facts.routes.insert(address("192.0.2.21"), route(Some("192.0.2.254"), None));
        }),
        case(Code::NotOnNetwork, director, |facts| {
            facts.routes.insert(address("2001:db8::22"), route(Some("2001:db8::fe"), None));
        }),
        case(Code::NoRoute, director, |facts| {
            facts.routes.insert(address("198.51.100.31"), RouteLookup::Unreachable);
        }),
        case(Code::PortMapped, director, |facts| {
            let mapped = RealServerKey { address: address("192.0.2.23"), port: 8080 };
            live(facts, WEB).real_servers.insert(mapped, RealServer::new(Forward::Dr, 1));
        }),
        case(Code::TunnelMtu, director, |facts| {
            facts.routes.insert(address("198.51.100.31"), route(Some("192.0.2.254"), Some(1299)));
        }),
        case(Code::TunnelMtu, director, |facts| link(facts, "eth0").mtu = 87),
        case(Code::NoRealServer, director, |facts| {
            weigh(facts, WEB, "192.0.2.21", 0);
            weigh(facts, WEB, "192.0.2.22", 0);
        }),
        case(Code::NoRealServer, director, |facts| live(facts, WEB).real_servers = Default::default()),
        case(Code::HashedToZero, director, |facts| {
            live(facts, WEB).config.scheduler = Scheduler::new("sh").expect("a name");
            weigh(facts, WEB, "192.0.2.21", 0);
        }),
        case(Code::HashedToZero, director, |facts| {
            live(facts, WEB).config.scheduler = Scheduler::new("dh").expect("a name");
            live(facts, WEB).config.scheduler_flags = SchedulerFlags::from_bits(1);
            weigh(facts, WEB, "192.0.2.21", 0);
        }),
        case(Code::StuckAtZero, director, |facts| {
            let persistence = Persistence { timeout: 300, netmask: Netmask::host(Family::Ipv4) };
            live(facts, WEB).config.persistence = Some(persistence);
            weigh(facts, WEB, "192.0.2.21", 0);
        }),
        Case { code: Code::DroppedAfterDrain, host: director, also: FOLLOWS, change: |facts| {
            let leaving = RealServerKey { address: address("192.0.2.29"), port: 80 };
            live(facts, WEB).real_servers.insert(leaving, RealServer::new(Forward::Dr, 1));
            replan(facts);
        } },
        case(Code::WildcardListener, director, |facts| {
            facts.listeners.insert(tcp(22), Listener { ipv4: true, ipv6: false });
            facts.listeners.insert(tcp(443), Listener { ipv4: false, ipv6: true });
            facts.listeners.insert(udp(80), Listener { ipv4: true, ipv6: false });
        }),
        case(Code::Untracked, director, |facts| rules(facts, Family::Ipv4, &[
            "*nat", ":POSTROUTING ACCEPT [0:0]", "-A POSTROUTING -m ipvs --ipvs -j MASQUERADE", "COMMIT",
        ])),
        case(Code::Untracked, director, |facts| rules(facts, Family::Ipv6, &[
            "*nat", "-A POSTROUTING -d fd00::41/128 -p tcp -m tcp --dport 8080 -j SNAT --to-source fd00::1",
        ])),
        case(Code::Untracked, director, |facts| rules(facts, Family::Ipv4, &[
            "*filter", ":FORWARD ACCEPT [0:0]", "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
        ])),
        case(Code::Untracked, director, |facts| rules(facts, Family::Ipv6, &[
            "*filter", ":FORWARD DROP [0:0]", "-A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT",
        ])),
        case(Code::Untracked, director, |facts| {
            let real_server = RealServerKey { address: address("10.0.0.41"), port: 8080 };
            let source_nat = SourceNat { service: service("192.0.2.12:80/tcp"), real_server };
            facts.desired.host_objects.insert(source_nat.into(), SourceNatValue::Masquerade.into());
            facts.desired.sysctls.insert(evenkeel_model::CONNECTION_TRACKING.into(), "1".into());
        }),
        case(Code::SourceMissing, director, |facts| {
            set(facts, "net.ipv4.vs.conntrack", "1");
            let real_server = RealServerKey { address: address("10.0.0.41"), port: 8080 };
            let source_nat = SourceNat { service: service("192.0.2.12:80/tcp"), real_server };
            let source = SourceNatValue::Address(address("203.0.113.9"));
            facts.desired.host_objects.insert(source_nat.into(), source.into());
        }),
        case(Code::NoAnswer, || probed(director()), |facts| answer(facts, "192.0.2.21", "eth0", &[])),
        case(Code::NoAnswer, || probed(director()), |facts| answer(facts, "fd00::41", "eth1", &[])),
        case(Code::NoAnswer, || probed(director()), |facts| answer(facts, "192.0.2.254", "eth0", &[])),
        case(Code::NoAnswer, || probed(gateway()), |facts| {
            answer(facts, "192.0.2.2", "eth0", &[]);
            answer(facts, "2001:db8::2", "eth0", &[]);
        }),
        case(Code::ContestedVip, || probed(director()), |facts| {
            answer(facts, "192.0.2.10", "eth0", &["02:00:00:00:00:21"]);
            answer(facts, "2001:db8::10", "eth0", &["02:00:00:00:00:21", "02:00:00:00:00:22"]);
        }),
        case(Code::ContestedVip, || probed(direct()), |facts| {
            answer(facts, "192.0.2.10", "eth0", &[MAC, "02:00:00:00:00:22"]);
        }),
        case(Code::AnswersArp, direct, |facts| set(facts, "net.ipv4.conf.all.arp_ignore", "0")),
        case(Code::AnswersArp, tunnelled, |facts| set(facts, "net.ipv4.conf.all.arp_ignore", "3")),
        Case { code: Code::AnswersArp, host: hidden_by_rules, also: &[Code::Differs, Code::AnnouncesVip],
            change: |facts| {
                facts.live.host_objects.objects.remove(&hiding_rules()).expect("they are there");
                replan(facts);
            } },
        Case { code: Code::AnswersArp, host: hidden_by_rules, also: FOLLOWS, change: |facts| {
            live_rules(facts).drops_incoming = false;
            replan(facts);
        } },
        Case { code: Code::AnnouncesVip, host: hidden_by_rules, also: FOLLOWS, change: |facts| {
            live_rules(facts).source = None;
            replan(facts);
        } },
        case(Code::AnnouncesVip, direct, |facts| set(facts, "net.ipv4.conf.all.arp_announce", "1")),
        case(Code::FiltersTunnel, tunnelled, |facts| set(facts, "net.ipv4.conf.all.rp_filter", "1")),
        case(Code::FiltersTunnel, tunnelled, |facts| set(facts, "net.ipv4.conf.tunl0.rp_filter", "1")),
        case(Code::AnsweredElsewhere, direct, |facts| {
            facts.live.addresses.insert(binding("192.0.2.10", "eth0", 24), Owner::Other);
        }),
        case(Code::AnsweredElsewhere, direct, |facts| {
            facts.live.addresses.insert(binding("2001:db8::10", "eth0", 128), Owner::Other);
        }),
        case(Code::ReturnPath, translated, |facts| facts.live.host_objects.objects.clear()),
        case(Code::ReturnPath, routed, |facts| facts.live.host_objects.objects.clear()),
        case(Code::ThroughDirector, direct, |facts| {
            facts.default_gateways.insert(Family::Ipv4, address("192.0.2.2"));
        }),
        case(Code::ThroughDirector, direct, |facts| {
            facts.default_gateways.insert(Family::Ipv6, address("2001:db8::2"));
        }),
        case(Code::SeveralAnswer, director, |facts| {
            facts.live.addresses.insert(binding("192.0.2.3", "eth1", 24), Owner::Other);
        }),
        case(Code::SecondaryVip, director, |facts| {
            let wide = binding("192.0.2.10", "eth0", 24);
            let vip = facts.desired.vips.remove(&binding("192.0.2.10", "eth0", 32)).expect("it is listed");
            facts.desired.vips.insert(wide.clone(), vip);
            facts.live.addresses.insert(wide.clone(), Owner::Evenkeel);
            facts.secondary.insert(wide);
        }),
        case(Code::InterfaceDown, gateway, |facts| link(facts, "eth0").is_up = false),
        case(Code::GatewayRoute, gateway, |facts| {
            facts.routes.insert(address("192.0.2.10"), route(Some("192.0.2.253"), None));
            facts.routes.insert(address("192.0.2.11"), RouteLookup::Unreachable);
            facts.routes.insert(address("192.0.2.12"), RouteLookup::Local);
            let other = RouteFacts { interface: "eth1".into(), gateway: None, mtu: None };
            facts.routes.insert(address("2001:db8::10"), RouteLookup::Route(other));
        }),
        case(Code::GatewayEntry, gateway, |facts| {
            let entry = Neighbour { address: address("192.0.2.10"), interface: "eth0".into() };
            let live = facts.live.host_objects.objects.get_mut(&HostObject::from(entry)).expect("an entry");
            live.owner = Owner::Other;
            live.value = HostValue::from(MacAddress([2, 0, 0, 0, 0, 0x66]));
            replan(facts);
        }),
        case(Code::OtherMac, || probed(gateway()), |facts| {
            answer(facts, "192.0.2.2", "eth0", &["02:00:00:00:00:0a"]);
            answer(facts, "2001:db8::2", "eth0", &["02:00:00:00:00:0a"]);
        }),
        case(Code::GatewayNotForwarding, gateway, |facts| {
            set(facts, "net.ipv4.conf.eth0.forwarding", "0");
            set(facts, "net.ipv4.conf.eth1.forwarding", "0");
        }),
        case(Code::GatewayNotForwarding, gateway, |facts| set(facts, "net.ipv6.conf.all.forwarding", "0")),
    ]
}

/// The findings of a case, with the facts.
pub(crate) fn findings(case: &Case) -> Vec<(Facts, Finding)> {
    let mut facts = (case.host)();
    assert_eq!(check(&facts), [], "{}: the host works before", case.code);
    (case.change)(&mut facts);
    check(&facts).into_iter().map(|finding| (facts.clone(), finding)).collect()
}
