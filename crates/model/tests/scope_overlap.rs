//! Whether two scopes have something in common.

use std::ops::RangeInclusive;

use evenkeel_model::{Limits, Scope, ServiceKey};

fn limited(vips: &[&str], fwmarks: &[RangeInclusive<u32>], services: &[&str]) -> Scope {
    Scope::Limited(Limits {
        vips: vips.iter().map(|it| it.parse().expect("a net")).collect(),
        fwmarks: fwmarks.to_vec(),
        services: services.iter().map(|it| ServiceKey::parse(it).expect("a service")).collect(),
    })
}

#[test]
fn two_scopes_overlap_if_one_governs_something_of_the_other() {
    let scope = limited(&["10.0.0.0/24", "2001:db8::/64"], &[5..=9], &["192.0.2.1:80/tcp"]);
    for (other, part) in [
        (limited(&["10.0.0.7/32"], &[], &[]), "vips 10.0.0.7"),
        (limited(&["10.0.0.0/8"], &[], &[]), "vips 10.0.0.0/24"),
        (limited(&["2001:db8::1/128"], &[], &[]), "vips 2001:db8::1"),
        (limited(&[], &[9..=20], &[]), "fwmarks 9"),
        (limited(&[], &[], &["fwmark-7/ipv6"]), "service fwmark-7/ipv6"),
        (limited(&["192.0.2.0/24"], &[], &[]), "service 192.0.2.1:80/tcp"),
        (limited(&[], &[], &["192.0.2.1:80/tcp"]), "service 192.0.2.1:80/tcp"),
    ] {
        assert_eq!(scope.overlap(&other).as_deref(), Some(part));
        assert_eq!(other.overlap(&scope).as_deref(), Some(part));
    }
    for other in [
        limited(&["10.0.1.0/24"], &[1..=4, 10..=10], &["192.0.2.1:80/udp", "fwmark-4/ipv4"]),
        limited(&[], &[], &[]),
    ] {
        assert_eq!(scope.overlap(&other), None);
        assert_eq!(other.overlap(&scope), None);
    }
    for whole in [Scope::All, Scope::Implied] {
        assert!(whole.overlap(&scope).is_some() && scope.overlap(&whole).is_some());
        assert!(whole.overlap(&Scope::Implied).is_some());
    }
}
