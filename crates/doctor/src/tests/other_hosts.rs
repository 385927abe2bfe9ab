//! What answers of other hosts show, what gateways need, and what is not checked without it.

use evenkeel_model::{Family, HostObject, HostObjectKind, HostValue, MacAddress, Neighbour};

use crate::test_cases::{WEB, binding, route, weigh};
use crate::test_fixtures::{
    MAC, address, answer, direct, director, encapsulated, gateway, hidden_by_rules, one_armed,
    probed, replan, routed, set, translated, tunnelled, unlisted,
};
use crate::{
    Answers, Code, Facts, NotChecked, PacketFilter, Question, check, not_checked, questions,
};

#[test]
fn neighbours_that_answer_as_they_should_are_no_finding() {
    let hosts = [
        director,
        direct,
        hidden_by_rules,
        tunnelled,
        encapsulated,
        translated,
        routed,
        one_armed,
        unlisted,
        gateway,
    ];
    for host in hosts {
        assert_eq!(check(&probed(host())), []);
        assert_eq!(not_checked(&probed(host())), []);
    }
}

#[test]
fn a_real_server_of_weight_0_or_with_a_mac_address_that_is_set_is_not_asked() {
    let mut facts = director();
    let question = Question { address: address("192.0.2.21"), interface: "eth0".into() };
    assert!(questions(&facts).contains(&question));
    facts.static_neighbours.insert(question.clone());
    assert!(!questions(&facts).contains(&question));
    facts.static_neighbours.clear();
    weigh(&mut facts, WEB, "192.0.2.21", 0);
    assert!(!questions(&facts).contains(&question));
}

#[test]
fn a_vip_on_lo_is_asked_for_where_the_host_has_its_network() {
    let mut facts = director();
    for interface in ["eth0", "lo"] {
        let at = |interface: &str| binding("192.0.2.10", interface, 32);
        let owner = facts.live.addresses.remove(&at("eth0")).expect("it is bound");
        facts.live.addresses.insert(at(interface), owner);
        let of_vip = questions(&facts).into_iter().filter(|it| it.address == address("192.0.2.10"));
        let interfaces: Vec<Box<str>> = of_vip.map(|it| it.interface).collect();
        assert_eq!(interfaces, ["eth0".into()]);
    }
}

#[test]
fn behind_a_gateway_it_does_not_matter_who_answers_for_a_vip() {
    let mut facts = director();
    facts.cluster = gateway().cluster;
    let is_vip = |it: &Question| facts.vips().contains(&it.address);
    assert!(!questions(&facts).iter().any(is_vip));
}

#[test]
fn a_real_server_expects_one_host_to_answer_for_the_vip() {
    let mut facts = probed(direct());
    answer(&mut facts, "192.0.2.10", "eth0", &[MAC]);
    assert_eq!(check(&facts), []);
    let mut facts = probed(director());
    answer(&mut facts, "192.0.2.10", "eth0", &[MAC]);
    assert_eq!(check(&facts).len(), 1);
}

#[test]
fn a_director_that_answers_with_its_mac_address_among_others_is_no_finding() {
    let mut facts = probed(gateway());
    answer(&mut facts, "192.0.2.2", "eth0", &[MAC, "02:00:00:00:00:0a"]);
    answer(&mut facts, "2001:db8::2", "eth0", &["02:00:00:00:00:0a"]);
    assert_eq!(check(&facts), []);
}

#[test]
fn a_route_to_a_vip_by_its_director_needs_no_entry() {
    let mut facts = gateway();
    facts.routes.insert(address("192.0.2.10"), route(Some("192.0.2.2"), None));
    assert_eq!(check(&facts), []);
}

#[test]
fn an_entry_of_evenkeel_with_another_mac_address_is_a_difference_alone() {
    let mut facts = gateway();
    let entry = Neighbour { address: address("192.0.2.10"), interface: "eth0".into() };
    let objects = &mut facts.live.host_objects.objects;
    let live = objects.get_mut(&HostObject::from(entry)).expect("an entry");
    live.value = HostValue::from(MacAddress([2, 0, 0, 0, 0, 0x66]));
    replan(&mut facts);
    let codes: Vec<Code> = check(&facts).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::Differs]);
}

#[test]
fn one_forwarding_interface_makes_a_router() {
    let mut facts = gateway();
    set(&mut facts, "net.ipv4.conf.eth0.forwarding", "0");
    assert_eq!(check(&facts), []);
}

/// Asserts that these codes and no others are not checked for a reason.
#[track_caller]
fn assert_not_checked(facts: &Facts, codes: &[Code], reason: &str) {
    let expected = NotChecked { codes: codes.iter().copied().collect(), reason: reason.to_owned() };
    let found = not_checked(facts);
    assert!(found.contains(&expected), "{found:#?}");
}

#[test]
fn what_cannot_be_checked_is_reported_with_the_reason() {
    let unasked = "no neighbour is asked without `--probe`";
    assert_not_checked(&director(), &[Code::NoAnswer, Code::ContestedVip], unasked);
    assert_not_checked(&direct(), &[Code::ContestedVip], unasked);
    assert_not_checked(&gateway(), &[Code::NoAnswer, Code::OtherMac], unasked);
    assert_eq!(not_checked(&translated()), []);
    let mut facts = probed(director());
    for answers in facts.answers.as_mut().expect("they are asked").values_mut() {
        *answers = Answers::NotAsked("it has no carrier".into());
    }
    let reason = "no neighbour is asked on eth0: it has no carrier";
    assert_not_checked(&facts, &[Code::NoAnswer, Code::ContestedVip], reason);
    let mut facts = probed(director());
    facts.packet_filters.insert(Family::Ipv4, PacketFilter::NotRead("a reason".into()));
    assert_not_checked(&facts, &[Code::Untracked], "a reason");
    facts.sysctls.remove(evenkeel_model::CONNECTION_TRACKING);
    assert_not_checked(
        &facts,
        &[Code::Untracked],
        "the kernel does not show net.ipv4.vs.conntrack here",
    );
    let mut facts = probed(translated());
    facts.live.host_objects.read.remove(&HostObjectKind::DefaultRoute);
    assert_not_checked(&facts, &[Code::ReturnPath], "the default routes were not read");
    let mut facts = probed(director());
    facts.live.services.clear();
    let reason = "the list of installed kernel modules cannot be read";
    assert_not_checked(&facts, &[Code::ModuleMissing], reason);
}
