//! Laws of labels of VIPs.

use evenkeel_model::{Drain, NamedService};

use super::*;

/// A VIP with that label in the spec, live with another owner or label.
fn labelled(label: Option<&str>, live_label: Option<&str>, owner: Owner) -> (Desired, Live) {
    let mut wanted = spec([(on(1), service([(at(1), weighing(1))]))]);
    wanted.vips.insert(vip(1), Vip { label: label.map(Into::into), ..Vip::default() });
    let found = Live {
        addresses: [(vip(1), owner)].into(),
        labels: live_label.map(|label| (vip(1), label.into())).into_iter().collect(),
        ..live([(on(1), service([(at(1), weighing(1))]))])
    };
    (wanted, found)
}

#[test]
fn a_label_is_changed_by_unbinding_and_binding_again_at_once() {
    for (label, live_label, expected) in [
        (None, Some("eth0:9"), [].as_slice()),
        (Some("eth0:1"), Some("eth0:1"), &[]),
        (Some("eth0"), None, &[]),
        (
            Some("eth0:1"),
            None,
            &["- unbind vip 192.0.2.1/32 on eth0", "+ bind vip 192.0.2.1/32 on eth0 label eth0:1"],
        ),
        (
            Some("eth0"),
            Some("eth0:9"),
            &["- unbind vip 192.0.2.1/32 on eth0 label eth0:9", "+ bind vip 192.0.2.1/32 on eth0"],
        ),
    ] {
        let (wanted, found) = labelled(label, live_label, Owner::Evenkeel);
        assert_eq!(lines(&wanted, &found), expected, "{label:?} {live_label:?}");
        let after = simulate(&found, &plan_of(&wanted, &found).steps);
        assert!(plan_of(&wanted, &after).is_in_sync());
    }
}

#[test]
fn a_label_is_changed_before_drains_and_leaves_no_other_length_of_the_address_behind() {
    let (mut wanted, mut found) = labelled(Some("eth0:1"), None, Owner::Evenkeel);
    let wide = Binding { prefix: 24, ..vip(1) };
    found.addresses.insert(wide, Owner::Evenkeel);
    let mut named = NamedService::new("web", service([(at(2), weighing(1))]));
    named.drain = Drain(30);
    wanted.services.insert(on(1), named);
    assert_eq!(
        lines(&wanted, &found),
        [
            "+ add real server 198.51.100.2:80 to web/192.0.2.1:80/tcp: forward dr, weight 1",
            "- unbind vip 192.0.2.1/32 on eth0",
            "+ bind vip 192.0.2.1/32 on eth0 label eth0:1",
            "~ drain real server 198.51.100.1:80 of web/192.0.2.1:80/tcp: weight 1 -> 0, for 30s at most",
            "- delete real server 198.51.100.1:80 of web/192.0.2.1:80/tcp: forward dr, weight 0",
            "- unbind vip 192.0.2.1/24 on eth0",
        ]
    );
}

#[test]
fn the_label_of_an_address_of_another_program_stays_with_a_warning() {
    let (wanted, found) = labelled(Some("eth0:1"), Some("eth0:9"), Owner::Other);
    let plan = plan_of(&wanted, &found);
    assert!(plan.is_in_sync());
    let warning = "192.0.2.1/32 on eth0 was bound by another program and keeps its label eth0:9; \
                   the spec says eth0:1";
    assert_eq!(plan.warnings, [warning]);
    let (wanted, found) = labelled(Some("eth0:1"), Some("eth0:1"), Owner::Other);
    assert_eq!(plan_of(&wanted, &found).warnings, [""; 0]);
}
