//! Tests the errors of this crate against `tests/wording/host.txt`.

use std::io;

use crate::netlink::NetlinkRefusal;
use crate::{Action, Binding, Capability, Error, NotNeeded, TablesUnavailable};

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, displayed, section};

#[test]
fn every_error_is_as_reviewed() {
    let mut golden = Golden::new("host.txt");
    section!(
        golden,
        Action {
            ListLinks,
            ListAddresses,
            FindLink,
            FindNeighbour,
            Bind,
            Unbind,
            LookUpRoute,
            List,
            Add,
            Edit,
            Delete,
            Announce,
            AskNeighbours,
            CreateDummy,
            BringUpDummy,
            DeleteDummy,
            SetSysctl,
            EnterNamespace,
            IdentifyNamespace,
            Subscribe,
        },
        displayed(actions())
    );
    section!(
        golden,
        Error {
            Connect,
            NotPermitted,
            AlreadyBound,
            NotBound,
            Exists,
            InTheWay,
            Missing,
            Changed,
            Impossible,
            InvalidPrefix,
            WouldDropSecondaries,
            InterfaceMissing,
            InterfaceExists,
            NotOurs,
            InvalidName,
            DummyUnavailable,
            TunnelUnavailable,
            FouUnavailable,
            NoSocketDiagnostics,
            TablesUnavailable,
            Program,
            Refused,
            Interrupted,
            Malformed,
            Io,
            OtherNamespace,
            Read,
        },
        chained(errors())
    );
    let not_needed = vec![
        NotNeeded::Loopback,
        NotNeeded::Dummy,
        NotNeeded::NoArp,
        NotNeeded::Down,
        NotNeeded::NoCarrier,
        NotNeeded::NotEthernet,
    ];
    section!(
        golden,
        NotNeeded { Loopback, Dummy, NoArp, Down, NoCarrier, NotEthernet },
        displayed(not_needed)
    );
    golden.check();
}

fn vip() -> Binding {
    Binding { address: [192, 0, 2, 1].into(), prefix: 32, interface: "eth0".to_owned() }
}

fn vip_ipv6() -> Binding {
    let address = "2001:db8::1".parse().expect("an address");
    Binding { address, prefix: 128, interface: "eth0".to_owned() }
}

fn actions() -> Vec<Action> {
    let name = || "vip0".to_owned();
    vec![
        Action::ListLinks,
        Action::ListAddresses,
        Action::FindLink("eth0".to_owned()),
        Action::FindNeighbour("neighbour 192.0.2.2 dev eth0".to_owned()),
        Action::Bind(vip()),
        Action::Bind(vip_ipv6()),
        Action::Unbind(vip()),
        Action::LookUpRoute([192, 0, 2, 1].into()),
        Action::List("routes"),
        Action::Add("route 192.0.2.1 dev eth0".to_owned()),
        Action::Edit("tunnel device ip6tnl0".to_owned()),
        Action::Delete("route 192.0.2.1 dev eth0".to_owned()),
        Action::Announce { address: vip().address, interface: "eth0".to_owned() },
        Action::AskNeighbours,
        Action::CreateDummy(name()),
        Action::BringUpDummy(name()),
        Action::DeleteDummy(name()),
        Action::SetSysctl("net.ipv4.ip_forward".to_owned()),
        Action::EnterNamespace("blue".to_owned()),
        Action::IdentifyNamespace,
        Action::Subscribe,
    ]
}

fn errors() -> Vec<Error> {
    let system = || io::Error::from_raw_os_error(24);
    let refusal = |errno, message: Option<&str>| NetlinkRefusal {
        errno,
        message: message.map(str::to_owned),
    };
    let object = || "route 192.0.2.1 dev eth0".to_owned();
    let interface = || "vip0".to_owned();
    let action = || Action::Bind(vip());
    vec![
        Error::Connect(system()),
        Error::NotPermitted { action: action(), capability: Capability::NetAdmin },
        Error::AlreadyBound(vip()),
        Error::NotBound(vip_ipv6()),
        Error::Exists { object: object() },
        Error::InTheWay {
            object: object(),
            other: "route 192.0.2.0/24 dev eth1".to_owned(),
            remedy: "ip route delete 192.0.2.0/24 dev eth1".to_owned(),
        },
        Error::Missing { object: object() },
        Error::Changed { object: "default route ipv4".to_owned() },
        Error::Impossible { object: object(), why: "interface eth0 is down".to_owned() },
        Error::InvalidPrefix(Binding { prefix: 33, ..vip() }),
        Error::WouldDropSecondaries {
            binding: vip(),
            secondaries: vec![[192, 0, 2, 2].into(), [192, 0, 2, 3].into()],
        },
        Error::InterfaceMissing { interface: interface() },
        Error::InterfaceExists { interface: interface() },
        Error::NotOurs { interface: interface() },
        Error::InvalidName { name: "a b".to_owned(), reason: "it has a blank" },
        Error::TunnelUnavailable {
            interface: "ip6tnl0".to_owned(),
            module: "ip6_tunnel",
            option: "CONFIG_IPV6_TUNNEL",
            source: refusal(95, None),
        },
        Error::FouUnavailable { object: "fou port 6080/ipv4".to_owned() },
        Error::NoSocketDiagnostics { sockets: "sockets of TCP" },
        Error::TablesUnavailable {
            action: Action::List("source NAT rules"),
            why: TablesUnavailable::NoProgram("nft"),
        },
        Error::TablesUnavailable {
            action: Action::Add("arp rules 192.0.2.1".to_owned()),
            why: TablesUnavailable::NoKernelSupport("arp"),
        },
        Error::TablesUnavailable {
            action: Action::List("source NAT rules"),
            why: TablesUnavailable::OtherTable("ip"),
        },
        Error::Program {
            action: Action::Add("arp rules 192.0.2.1".to_owned()),
            program: "nft",
            message: "Error: Could not process rule: File exists".to_owned(),
        },
        Error::DummyUnavailable { interface: interface(), source: refusal(95, None) },
        Error::Refused { action: action(), source: refusal(16, None) },
        Error::Refused { action: action(), source: refusal(22, Some("invalid prefix")) },
        Error::Refused { action: action(), source: refusal(4095, None) },
        Error::Interrupted { action: Action::ListAddresses },
        Error::Malformed { action: action(), what: "an attribute is cut short".to_owned() },
        Error::Io { action: action(), source: system() },
        Error::OtherNamespace { action: action() },
        Error::Read { path: "/proc/self/status".into(), source: system() },
    ]
}
