//! Tests VIPs: binding, unbinding, their order, and the journal.

use evenkeel_engine::{Outcome, StateDir, execute_journalled};
use evenkeel_lab_tests::run;
use evenkeel_model::{Binding, Vip};

use super::*;

const VIP: &str = "192.0.2.1";

fn host_with_device(rules: &str) -> HostKernel {
    let kernel = host_with(rules);
    run("ip link add d0 up type dummy");
    kernel
}

fn vip(text: &str) -> Binding {
    let (address, interface) = text.split_once('@').unwrap();
    Binding::host(address.parse().unwrap(), interface)
}

/// Addresses with their labels, as evenkeel gives and changes them.
fn labels(interface: &str) -> BTreeSet<String> {
    let shown: serde_json::Value =
        serde_json::from_str(&run(&format!("ip -j -d addr show dev {interface}"))).unwrap();
    let entries = shown[0]["addr_info"].as_array().unwrap().iter();
    let labelled = entries.filter(|entry| entry["family"] == "inet");
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    labelled.map(|entry| format!("{} {}", word(&entry["local"]), word(&entry["label"]))).collect()
}

#[test]
fn a_label_is_given_changed_left_alone_and_taken_back() {
    let mut kernel = host_with_device("");
    let with_label = |label: Option<&str>| {
        let label = label.map(Into::into);
        let vips = [(vip("192.0.2.1@d0"), Vip { label, ..Vip::default() })].into();
        Desired { vips, ..spec([]) }
    };
    for (label, expected) in [
        (Some("d0:0"), "192.0.2.1 d0:0"),
        (Some("d0:123456789012"), "192.0.2.1 d0:123456789012"),
        (None, "192.0.2.1 d0:123456789012"),
        (Some("d0"), "192.0.2.1 d0"),
    ] {
        let desired = with_label(label);
        let report = apply(&mut kernel, &desired);
        assert!(report.is_success(), "{report:?}");
        assert_eq!(labels("d0"), names([expected]));
        assert!(plan_of(&desired, &kernel.observe(&ReadRequest::new()).unwrap()).is_in_sync());
    }
}

/// Returns the addresses of an interface as `ip` lists them, without `fe80::` ones.
fn shown(interface: &str) -> BTreeSet<String> {
    let shown: serde_json::Value =
        serde_json::from_str(&run(&format!("ip -j addr show dev {interface}"))).unwrap();
    let entries = shown[0]["addr_info"].as_array().unwrap().iter();
    let names =
        entries.map(|entry| format!("{}/{}", entry["local"].as_str().unwrap(), entry["prefixlen"]));
    names.filter(|name| !name.starts_with("fe80:")).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

fn with_vips<const N: usize>(desired: Desired, vips: [&str; N]) -> Desired {
    let vips = vips.map(|text| (vip(text), Vip { dummy: false, ..Vip::default() })).into();
    Desired { vips, ..desired }
}

fn web() -> (ServiceKey, Service) {
    let real_servers = [("198.51.100.1:80", dr(1)), ("198.51.100.2:80", dr(1))];
    (tcp("192.0.2.1:80"), service(config("wrr"), real_servers))
}

#[test]
fn vips_are_bound_and_unbound_as_ip_and_the_journal_show() {
    let mut kernel = host_with_device("");
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path(), "lab");
    let mut pass = |desired: &Desired| {
        let (mut journal, warning) = state.read(true).unwrap();
        assert_eq!(warning, None);
        let live = kernel.observe(&ReadRequest::new()).unwrap();
        let steps = plan_of(desired, &live).steps;
        let pass = Pass::new(desired, live, steps);
        let (options, context) = (ApplyOptions::default(), &mut NoopContext);
        let report =
            execute_journalled(&mut kernel, pass, options, context, &state, &mut journal).unwrap();
        assert!(report.is_success(), "{report:?}");
        assert!(plan_of(desired, &kernel.observe(&ReadRequest::new()).unwrap()).is_in_sync());
        let (read, _) = state.read(true).unwrap();
        assert_eq!(read.addresses, journal.addresses);
        assert!(read.record.applied);
        read.addresses
    };

    let bound = pass(&with_vips(spec([web()]), ["192.0.2.1@d0", "2001:db8::1@d0"]));
    assert_eq!(bound, BTreeSet::from([vip("192.0.2.1@d0"), vip("2001:db8::1@d0")]));
    assert_eq!(shown("d0"), names(["192.0.2.1/32", "2001:db8::1/128"]));

    let bound = pass(&with_vips(spec([web()]), ["192.0.2.1@d0", "192.0.2.3@d0"]));
    assert_eq!(bound, BTreeSet::from([vip("192.0.2.1@d0"), vip("192.0.2.3@d0")]));
    assert_eq!(shown("d0"), names(["192.0.2.1/32", "192.0.2.3/32"]));

    assert_eq!(pass(&spec([web()])), BTreeSet::new());
    assert_eq!(shown("d0"), names([]));
}

#[test]
fn an_address_that_evenkeel_did_not_bind_is_used_and_survives() {
    let mut kernel = host_with_device("");
    run("ip addr add 192.0.2.1/24 dev d0");
    run("ip addr add 192.0.2.9/32 dev d0");
    run("ip addr add 2001:db8::9/128 dev d0 nodad");
    let before = shown("d0");
    let desired = with_vips(spec([]), ["192.0.2.1@d0"]);
    assert_eq!(apply_capturing(&mut kernel, &desired), []);
    assert!(apply(&mut kernel, &spec([web()])).is_success());
    assert_eq!(shown("d0"), before);
}

#[test]
fn a_vip_is_bound_after_its_services_are_complete_and_unbound_before_they_are_deleted() {
    let mut kernel = host_with_device("");
    let key = tcp("192.0.2.1:80");
    let address = |verb| Change { verb, object: Object::Address(VIP.parse().unwrap()) };
    let mut capture = Capture::start();
    assert!(apply(&mut kernel, &with_vips(spec([web()]), ["192.0.2.1@d0"])).is_success());
    assert_eq!(
        capture.changes(),
        [
            service_change(Verb::New, key),
            change(Verb::New, key, "198.51.100.1:80"),
            change(Verb::New, key, "198.51.100.2:80"),
            address(Verb::New),
        ]
    );
    assert!(apply(&mut kernel, &spec([])).is_success());
    assert_eq!(capture.changes(), [address(Verb::Delete), service_change(Verb::Delete, key)]);
    assert_eq!(shown("d0"), names([]));
    assert_eq!(ipvsadm::save(), BTreeSet::new());
}

#[test]
fn a_dummy_device_is_created_on_request_with_all_its_vips() {
    let mut kernel = host_with("");
    let vips = ["192.0.2.1@vip0", "192.0.2.2@vip0", "2001:db8::1@vip0"];
    let vips = vips.map(|text| (vip(text), Vip { dummy: true, ..Vip::default() })).into();
    let desired = Desired { vips, ..spec([web()]) };
    assert!(apply(&mut kernel, &desired).is_success());
    let shown_link: serde_json::Value =
        serde_json::from_str(&run("ip -j -d link show dev vip0")).unwrap();
    assert_eq!(shown_link[0]["linkinfo"]["info_kind"], "dummy", "{shown_link}");
    assert_eq!(shown("vip0"), names(["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128"]));
    assert!(plan_of(&desired, &kernel.observe(&ReadRequest::new()).unwrap()).is_in_sync());
}

#[test]
fn a_vip_whose_service_cannot_be_added_is_not_bound() {
    let mut kernel = host_with_device("");
    let multicast = [("224.0.0.1:80", dr(1))];
    let desired = spec([(tcp("192.0.2.1:80"), service(config("wrr"), multicast))]);
    let report = apply(&mut kernel, &with_vips(desired, ["192.0.2.1@d0"]));
    assert!(!report.is_success());
    let words: Vec<&str> = report.iter().map(|done| done.outcome.as_str()).collect();
    assert_eq!(words, ["undone", "failed", "skipped"]);
    assert_eq!(shown("d0"), names([]));
    assert!(ipvsadm::save().is_empty());
}

#[test]
fn a_vip_that_changes_its_prefix_length_stays_bound() {
    for (address, wide) in [("192.0.2.1", 24), ("2001:db8::1", 64)] {
        let mut kernel = host_with_device("");
        let binding = |prefix| Binding { prefix, ..vip(&format!("{address}@d0")) };
        for prefix in [wide, Binding::host(address.parse().unwrap(), "d0").prefix, wide] {
            let vips = [(binding(prefix), Vip { dummy: false, ..Vip::default() })].into();
            let report = apply(&mut kernel, &Desired { vips, ..spec([]) });
            let applied = report.iter().all(|done| *done.outcome == Outcome::Applied);
            assert!(report.is_success() && applied, "{report:?}");
            assert_eq!(shown("d0"), BTreeSet::from([format!("{address}/{prefix}")]));
        }
    }
}
