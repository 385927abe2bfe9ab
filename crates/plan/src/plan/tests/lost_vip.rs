//! When missing VIPs are bound.

use evenkeel_model::Family;

use super::*;

/// Two services; the first one has a VIP.
fn wanted() -> Desired {
    let mut wanted = spec([on(1), on(2)].map(|key| (key, service([(at(1), weighing(2))]))));
    wanted.vips.insert(vip(1), Vip::default());
    wanted
}

/// Returns the place of the bind among all steps, and their number.
fn place(wanted: &Desired, found: &Live) -> [usize; 2] {
    let steps = plan_of(wanted, found).steps;
    let place = steps.iter().position(|op| matches!(op, Op::Bind { .. })).expect("it is bound");
    [place, steps.len()]
}

#[test]
fn a_vip_whose_services_serve_is_bound_before_the_table_is_changed() {
    let mut found = live([(on(1), service([(at(1), weighing(1))]))]);
    assert_eq!(place(&wanted(), &found), [0, 4]);
    // What a VIP may depend on comes before it.
    let mut with_sysctl = wanted();
    with_sysctl.sysctls.insert("net.ipv4.conf.all.arp_ignore".into(), "1".into());
    found.sysctls.insert("net.ipv4.conf.all.arp_ignore".into(), "0".into());
    assert_eq!(place(&with_sysctl, &found), [1, 5]);
}

#[test]
fn a_vip_is_bound_after_its_services_unless_all_of_them_serve() {
    let last = |found: &Live| {
        let [place, steps] = place(&wanted(), found);
        assert_eq!(place + 1, steps, "{found:?}");
    };
    last(&Live::default());
    last(&live([(on(2), service([(at(1), weighing(1))]))]));
    last(&live([(on(1), service([(at(1), weighing(0))]))]));
    last(&live([(on(1), service([]))]));
    let other = ServiceKey::Address {
        protocol: evenkeel_model::Protocol::Udp,
        address: [192, 0, 2, 1].into(),
        port: 53,
    };
    let mut two = wanted();
    two.services.insert(other, two.services[&on(1)].clone());
    let [place, steps] = place(&two, &live([(on(1), service([(at(1), weighing(1))]))]));
    assert_eq!(place + 1, steps);
}

#[test]
fn a_vip_of_fwmark_services_is_bound_first_if_those_of_its_family_serve() {
    let mark = |family| ServiceKey::Fwmark { family, fwmark: 7 };
    for (family, is_first) in [(Family::Ipv4, true), (Family::Ipv6, false)] {
        let value = |weight| service([(at(1), weighing(weight))]);
        let mut wanted = spec([(mark(family), value(2))]);
        wanted.vips.insert(vip(1), Vip::default());
        let found = live([(mark(family), value(1))]);
        let [place, steps] = place(&wanted, &found);
        assert_eq!((place == 0, steps), (is_first, 2), "{family:?}");
    }
}

#[test]
fn a_vip_waits_while_its_interface_loses_another_address() {
    let mut found = live([on(1), on(2)].map(|key| (key, service([(at(1), weighing(1))]))));
    found.addresses.insert(vip(9), Owner::Evenkeel);
    let [place, steps] = place(&wanted(), &found);
    assert_eq!((place, steps), (2, 4));
}
