//! Tests of the values of parameters.

use evenkeel_host::{AddressFlags, AddressScope, EVENKEEL_PROTOCOL};
use evenkeel_model::{Family, MacAddress};

use super::*;

/// An address of the host's own.
pub(crate) fn on(interface: &str, address: &str) -> Address {
    Address {
        address: address.parse().expect("an address"),
        peer: None,
        prefix: 24,
        index: 1,
        interface: interface.to_owned(),
        protocol: None,
        flags: AddressFlags::PERMANENT,
        scope: AddressScope::Universe,
        label: None,
    }
}

/// Parameters of a host whose addresses the function returns.
pub(crate) fn with_addresses(
    addresses: impl FnMut() -> Result<Vec<Address>, String> + Send + 'static,
) -> HostParameters {
    HostParameters::with_reader(BTreeMap::new(), Box::new(addresses))
}

fn found(
    all: &[Address],
    interface: &str,
    family: Option<Family>,
    journalled: &BTreeSet<Binding>,
) -> Option<String> {
    first_own(all, interface, family, journalled).map(|it| it.address.to_string())
}

#[test]
fn the_first_address_is_the_hosts_own_and_ipv4_before_ipv6() {
    let vip = Address { protocol: Some(EVENKEEL_PROTOCOL), ..on("eth0", "2001:db8::1") };
    let local = Address { scope: AddressScope::Link, ..on("eth0", "fe80::1") };
    let old = Address { flags: AddressFlags::DEPRECATED, ..on("eth0", "2001:db8::2") };
    let own = [on("eth1", "10.0.0.1"), on("eth0", "2001:db8::3"), on("eth0", "192.0.2.1")];
    let all = [vec![vip.clone(), local.clone(), old], own.to_vec()].concat();
    let found = |interface, family| found(&all, interface, family, &BTreeSet::new());
    assert_eq!(found("eth0", None).as_deref(), Some("192.0.2.1"));
    assert_eq!(found("eth0", Some(Family::Ipv6)).as_deref(), Some("2001:db8::3"));
    assert_eq!(found("eth1", None).as_deref(), Some("10.0.0.1"));
    assert_eq!(found("eth1", Some(Family::Ipv6)), None);
    assert_eq!(found("eth9", None), None);
    assert_eq!(first_own(&[vip, local], "eth0", None, &BTreeSet::new()), None);
}

#[test]
fn an_address_that_is_added_later_changes_nothing() {
    let found = |all: &[Address], family| found(all, "eth0", family, &BTreeSet::new());
    // As the kernel lists them: the latest IPv6 address comes first.
    let four = ["192.0.2.1", "192.0.2.2"].map(|address| on("eth0", address));
    assert_eq!(found(&four, None).as_deref(), Some("192.0.2.1"));
    let six = ["fd00::3", "2001:db8::2", "2001:db8::1"].map(|address| on("eth0", address));
    assert_eq!(found(&six, None).as_deref(), Some("2001:db8::1"));
    assert_eq!(found(&six[..2], Some(Family::Ipv6)).as_deref(), Some("2001:db8::2"));
}

#[test]
fn a_temporary_address_and_a_duplicate_are_never_the_value() {
    for flag in [AddressFlags::SECONDARY, AddressFlags::DADFAILED] {
        let unusable = Address { flags: flag, ..on("eth0", "2001:db8::2") };
        let all = [unusable.clone(), on("eth0", "2001:db8::1"), unusable];
        let found = |all: &[Address]| found(all, "eth0", None, &BTreeSet::new());
        assert_eq!(found(&all).as_deref(), Some("2001:db8::1"));
        assert_eq!(found(&all[..1]), None);
    }
    // In IPv4 the same bit marks further addresses of a subnet.
    let secondary = Address { flags: AddressFlags::SECONDARY, ..on("eth0", "192.0.2.2") };
    assert_eq!(found(&[secondary], "eth0", None, &BTreeSet::new()).as_deref(), Some("192.0.2.2"));
}

#[test]
fn on_a_kernel_without_marks_the_journal_shows_which_addresses_are_not_the_hosts_own() {
    let all = [on("eth0", "192.0.2.9"), on("eth0", "192.0.2.1")];
    let binding = Binding {
        address: "192.0.2.9".parse().expect("an address"),
        interface: "eth0".into(),
        prefix: 24,
    };
    let journalled = BTreeSet::from([binding.clone()]);
    assert_eq!(found(&all, "eth0", None, &journalled).as_deref(), Some("192.0.2.1"));
    let elsewhere = BTreeSet::from([Binding { interface: "eth1".into(), ..binding }]);
    assert_eq!(found(&all, "eth0", None, &elsewhere).as_deref(), Some("192.0.2.9"));
    // Such a kernel says itself what evenkeel bound; another program bound this one anew.
    let marked = [all[0].clone(), Address { protocol: Some(1), ..on("lo", "127.0.0.1") }];
    assert_eq!(found(&marked, "eth0", None, &journalled).as_deref(), Some("192.0.2.9"));
}

#[test]
fn addresses_are_read_once_until_they_are_refreshed() {
    let mut count = 0;
    let mut parameters = with_addresses(move || {
        count += 1;
        Ok(vec![on("eth0", &format!("192.0.2.{count}"))])
    });
    let address = Parameter::Host { interface: "eth0", family: None };
    for last in ["1", "2"] {
        for _ in 0..2 {
            let value = parameters.value(address).expect("it is readable");
            assert_eq!(value, Some(format!("192.0.2.{last}")));
        }
        parameters.refresh();
    }
    let used = parameters.take_used();
    assert_eq!(used.keys().map(ToString::to_string).collect::<Vec<_>>(), ["host:eth0"]);
    let current = parameters.current(&used);
    assert_eq!(current.values().next(), Some(&ParameterValue::Value("192.0.2.3".into())));
    assert_eq!(parameters.take_used(), ParameterReadings::new(), "a comparison uses nothing");
}

#[test]
fn assignments_that_no_spec_requests_are_unused() {
    let set = ["a", "b"].map(|name| (name.to_owned(), "1".to_owned()));
    let parameters = HostParameters::new(set.into(), None, HostRequest::AnyHost);
    assert_eq!(parameters.value(Parameter::Set("b")), Ok(Some("1".to_owned())));
    assert_eq!(parameters.value(Parameter::Set("c")), Ok(None));
    assert_eq!(parameters.unused(), ["a"]);
}

#[test]
fn a_former_role_matters_until_the_spec_lists_an_address_of_the_host() {
    let address = |text: &str| -> std::net::IpAddr { text.parse().expect("an address") };
    let director = evenkeel_model::Director {
        name: "lb1".into(),
        addresses: [address("192.0.2.2")].into(),
        mac: None,
    };
    let gateway =
        evenkeel_model::Gateway { name: "r1".into(), addresses: [address("192.0.2.254")].into() };
    let cluster = Cluster {
        directors: vec![director],
        real_servers: [address("192.0.2.11")].into(),
        gateways: vec![gateway],
    };
    // The first one is only on the network of a listed address, and may be the host's only one.
    for (own, is_listed) in [
        (&["192.0.2.12"][..], false),
        (&["198.51.100.1"], false),
        (&["192.0.2.12", "198.51.100.1"], false),
        (&["192.0.2.11"], true),
        (&["198.51.100.1", "192.0.2.2"], true),
        (&["192.0.2.254"], true),
    ] {
        let addresses: Vec<Address> = own.iter().map(|it| on("eth0", it)).collect();
        let mut parameters = with_addresses(move || Ok(addresses.clone()));
        parameters.set_former(FormerRole::Gateway);
        let inputs = parameters.host_inputs(&cluster, Effort::Ask).expect("they are readable");
        let expected = (!is_listed).then_some(FormerRole::Gateway);
        assert_eq!(inputs.former, expected, "{own:?}");
    }
}

#[test]
fn the_host_of_a_snapshot_has_the_addresses_of_the_snapshot() {
    let binding = |address: &str, interface: &str| Binding {
        address: address.parse().expect("an address"),
        prefix: 24,
        interface: interface.into(),
    };
    let addresses = [
        (binding("192.0.2.11", "eth7"), Owner::Other),
        // A VIP is no address of the host's own.
        (binding("192.0.2.2", "lo"), Owner::Evenkeel),
    ];
    let host = HostRequest::Snapshot { role: None, addresses: addresses.into() };
    let parameters = HostParameters::new(BTreeMap::new(), None, host);
    let own = ["192.0.2.11", "192.0.2.2"].map(|it| it.parse().expect("an address"));
    let cluster = Cluster { real_servers: own.into(), ..Cluster::default() };
    let inputs = parameters.host_inputs(&cluster, Effort::Ask).expect("they are readable");
    assert_eq!(inputs.own(), [own[0]].into());
    let eth7 = Parameter::Host { interface: "eth7", family: None };
    assert_eq!(parameters.value(eth7), Ok(Some("192.0.2.11".to_owned())));
}

/// A gateway on the networks of a director whose MAC address it learns. The neighbours answer as the
/// function says.
fn gateway(
    recorded: &[(&str, u8)],
    read: impl FnMut(&macs::NeighbourAddress, Effort) -> Result<Option<MacAddress>, String>
    + Send
    + 'static,
) -> (HostParameters, Cluster) {
    let own = ["192.0.2.254", "2001:db8::fe"].map(|it| on("eth0", it)).to_vec();
    let parameters = with_addresses(move || Ok(own.clone()));
    let recorded = recorded.iter().map(|(address, last)| (ip(address), mac(*last))).collect();
    let parameters = HostParameters {
        macs: RefCell::new(recorded),
        mac_reader: RefCell::new(Box::new(read)),
        ..parameters
    };
    let director = evenkeel_model::Director {
        name: "lb1".into(),
        addresses: [ip("192.0.2.2"), ip("2001:db8::2"), ip("198.51.100.2")].into(),
        mac: Some(evenkeel_model::DirectorMac::Learned),
    };
    let gateways =
        vec![evenkeel_model::Gateway { name: "r1".into(), addresses: [ip("192.0.2.254")].into() }];
    (parameters, Cluster { directors: vec![director], gateways, ..Cluster::default() })
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, last])
}

fn learned(parameters: &HostParameters, cluster: &Cluster) -> Result<Vec<String>, String> {
    match parameters.host(cluster)? {
        HostKnowledge::Host(inputs) => {
            Ok(inputs.macs.iter().map(|(address, mac)| format!("{address} {mac}")).collect())
        }
        HostKnowledge::AnyHost => panic!("it is a host"),
    }
}

#[test]
fn one_answer_of_a_director_is_enough_and_other_networks_are_not_asked() {
    for (answers, expected) in [
        (&["192.0.2.2", "2001:db8::2"][..], &["192.0.2.2 02:00:00:00:00:01"][..]),
        (&["2001:db8::2"], &["2001:db8::2 02:00:00:00:00:01"]),
        (&["198.51.100.2"], &[]),
    ] {
        let answers: BTreeSet<IpAddr> = answers.iter().map(|it| ip(it)).collect();
        let mut efforts = Vec::new();
        let (parameters, cluster) = gateway(&[], move |neighbour, effort| {
            efforts.push(effort);
            // The kernel is asked for all of them before an answer is waited for.
            let before = efforts.iter().filter(|it| **it == Effort::Cached).count();
            assert_eq!((&*neighbour.interface, before.min(2)), ("eth0", efforts.len().min(2)));
            if effort == Effort::Cached {
                return Ok(None);
            }
            Ok(answers.contains(&neighbour.address).then_some(mac(1)))
        });
        assert_eq!(learned(&parameters, &cluster).expect("it is readable"), expected);
    }
}

#[test]
fn a_command_learns_again_and_keeps_what_was_recorded_of_a_director_that_does_not_answer() {
    for (answer, expected) in [(Some(mac(2)), 2), (None, 1)] {
        let (parameters, cluster) = gateway(&[("192.0.2.2", 1)], move |neighbour, _| {
            Ok(answer.filter(|_| neighbour.address.is_ipv4()))
        });
        let expected = format!("192.0.2.2 {}", mac(expected));
        assert_eq!(learned(&parameters, &cluster), Ok(vec![expected]));
    }
    let (parameters, cluster) = gateway(&[("192.0.2.2", 1)], |_, _| Err("it failed".to_owned()));
    assert_eq!(learned(&parameters, &cluster), Err("it failed".to_owned()));
}

#[test]
fn what_is_kept_is_neither_learned_again_nor_asked_for() {
    let mut last = 0;
    let (parameters, cluster) = gateway(&[], move |_, effort| {
        last += u8::from(effort == Effort::Ask);
        Ok(Some(mac(last)))
    });
    let mut parameters = parameters.keeping_macs();
    let first = vec![format!("192.0.2.2 {}", mac(1))];
    for _ in 0..2 {
        assert_eq!(learned(&parameters, &cluster), Ok(first.clone()));
        parameters.refresh();
    }
    let used = parameters.take_used();
    assert_eq!(parameters.current(&used), used, "nothing changes");
    // Another apply recorded what a user reviewed.
    parameters.replace_macs(&[(ip("192.0.2.2"), mac(9))].into());
    assert_ne!(parameters.current(&used), used, "the spec is read again");
    assert_eq!(learned(&parameters, &cluster), Ok(vec![format!("192.0.2.2 {}", mac(9))]));

    let (parameters, cluster) =
        gateway(&[("2001:db8::2", 5)], |_, _| panic!("nothing is asked for"));
    let kept = learned(&parameters.keeping_macs(), &cluster);
    assert_eq!(kept, Ok(vec![format!("2001:db8::2 {}", mac(5))]));
}

#[test]
fn a_host_that_is_no_gateway_learns_nothing() {
    for role in [Role::Director, Role::RealServer] {
        let (parameters, cluster) = gateway(&[], |_, _| panic!("nothing is asked for"));
        let role = Some(RequestedRole::Exactly(role));
        let host = HostRequest::ThisHost { role, former: None, macs: Macs::new() };
        let parameters = HostParameters { host, ..parameters };
        assert_eq!(learned(&parameters, &cluster), Ok(Vec::new()));
    }
    let (parameters, mut cluster) = gateway(&[], |_, _| panic!("nothing is asked for"));
    cluster.gateways[0].addresses = [ip("192.0.2.253")].into();
    assert_eq!(learned(&parameters, &cluster), Ok(Vec::new()));
}
