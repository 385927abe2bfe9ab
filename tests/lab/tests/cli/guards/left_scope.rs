//! Tests the guard `left-scope`: what evenkeel made is neither forgotten nor removed when the scope no
//! longer covers it, until the spec says what becomes of it.

use std::net::{TcpListener, TcpStream};

use super::*;

const KEPT_SERVICE: &str = "-A -t 192.0.2.9:80 -s wlc\n-a -t 192.0.2.9:80 -r 10.0.0.1:80 -g -w 1";

/// A spec of everything that can leave a scope, and of one service that stays.
const WHOLE: &str = "version: 1
scope: { vips: [192.0.2.0/24, '2001:db8::/64'], fwmarks: [7] }
sysctls: { net.ipv4.vs.conntrack: 1 }
timeouts: { udp: 10s }
sync: [ { state: master, interface: eth0, id: 1 } ]
vips:
  - { address: 192.0.2.1, interface: vips, dummy: true, route: true }
  - { address: '2001:db8::1', interface: vips, dummy: true }
  - { address: 192.0.2.9, interface: eth0 }
defaults: { drain: 0s }
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
  - { name: web6, vip: '2001:db8::1', port: 80, real_servers: [ { address: '2001:db8::a' } ] }
  - { name: mark, fwmark: 7, family: ipv4, real_servers: [ { address: 10.0.0.1 } ] }
  - { name: kept, vip: 192.0.2.9, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

/// The same without everything that leaves, with this answer.
fn narrowed(answer: &str) -> String {
    format!(
        "version: 1
scope: {{ vips: [192.0.2.9]{answer} }}
vips:
  - {{ address: 192.0.2.9, interface: eth0 }}
defaults: {{ drain: 0s }}
services:
  - {{ name: kept, vip: 192.0.2.9, port: 80, real_servers: [ {{ address: 10.0.0.1 }} ] }}
"
    )
}

/// Everything that can leave, as the kernel has it.
fn state() -> [String; 7] {
    let sysctl = std::fs::read_to_string("/proc/sys/net/ipv4/vs/conntrack").unwrap();
    [
        format!("{:?}", ipvsadm::save()),
        format!("{:?}", addresses()),
        run("ip route show proto 101"),
        devices(),
        sysctl,
        run("ipvsadm --list --timeout"),
        run("ipvsadm --list --daemon"),
    ]
}

/// The dummy devices with their aliases; one that was created again has another index and hardware address.
fn devices() -> String {
    let shown: serde_json::Value =
        serde_json::from_str(&run("ip -j link show type dummy")).unwrap();
    let device = |link: &serde_json::Value| format!("{} {}", link["ifname"], link["ifalias"]);
    shown.as_array().unwrap().iter().map(device).collect::<Vec<_>>().join(", ")
}

fn applied() -> Fixture {
    let fixture = Fixture::new("");
    run("ip link set lo up");
    fixture.apply(WHOLE);
    fixture.assert_in_sync("spec.yaml");
    fixture
}

#[test]
fn what_left_the_scope_is_in_the_plan_and_nothing_happens_without_an_answer() {
    let fixture = applied();
    let before = state();
    fixture.write("spec.yaml", narrowed(""));
    let plan = fixture.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(plan.status, 3, "{plan:?}");
    for object in [
        "service web/192.0.2.1:80/tcp",
        "service web6/[2001:db8::1]:80/tcp",
        "service mark/fwmark-7/ipv4",
        "vip 192.0.2.1/32 on vips",
        "vip 2001:db8::1/128 on vips",
        "route 192.0.2.1 dev vips",
        "dummy device vips",
        "sysctl net.ipv4.vs.conntrack",
        "sync daemon master",
        "timeouts",
    ] {
        let line = format!("  left the scope, stays: {object}\n");
        assert!(plan.stdout.contains(&line), "{object}: {plan:?}");
    }
    let document = fixture.evenkeel("plan --output json spec.yaml").stdout;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let left = &document["left_scope"];
    assert_eq!((&left["answer"], left["objects"].as_array().unwrap().len()), (&().into(), 10));
    let message = refusals(&fixture, "");
    assert_eq!(message.len(), 1);
    assert!(
        message[0].starts_with("left-scope: this spec does not govern 10 live objects"),
        "{message:?}"
    );
    assert_eq!(refusals(&fixture, &format!("--allow {}", all_but("left-scope"))), message);
    assert_eq!(state(), before);
}

#[test]
fn what_is_removed_leaves_the_host_as_it_was() {
    let fixture = Fixture::new("");
    run("ip link set lo up");
    fixture.apply(&narrowed(""));
    let before = state();
    fixture.apply(WHOLE);
    fixture.write("spec.yaml", narrowed(", left: remove"));
    let plan = fixture.evenkeel("plan spec.yaml");
    assert!(
        plan.stdout.contains("- unbind vip 192.0.2.1/32 on vips # left the scope\n"),
        "{plan:?}"
    );
    let refused = refusals(&fixture, "");
    assert!(
        refused.len() == 1 && refused[0].starts_with("mass-delete:"),
        "other guards judge it: {refused:?}"
    );
    let answer = fixture.evenkeel("apply --yes --allow mass-delete spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(state(), before);
    fixture.assert_in_sync("spec.yaml");
    assert_eq!(ipvsadm::save(), lines(KEPT_SERVICE));
}

#[test]
fn what_is_kept_is_another_programs_from_then_on() {
    for options in ["", "--allow left-scope"] {
        let fixture = applied();
        let table = ipvsadm::save();
        let before = state();
        let answer = if options.is_empty() { ", left: keep" } else { "" };
        fixture.write("spec.yaml", narrowed(answer));
        assert_eq!(fixture.evenkeel(&format!("apply --yes spec.yaml {options}")).status, 0);
        assert_eq!(state(), before);
        fixture.assert_in_sync("spec.yaml");
        // Neither a narrower spec nor a teardown touches it.
        fixture.write("spec.yaml", narrowed(", left: remove"));
        fixture.assert_in_sync("spec.yaml");
        let undone = fixture.evenkeel("teardown --yes");
        assert_eq!(undone.status, 0, "{undone:?}");
        let of_kept = lines(KEPT_SERVICE);
        assert_eq!(
            ipvsadm::save(),
            table.iter().filter(|it| !of_kept.contains(*it)).cloned().collect()
        );
        assert_eq!(addresses(), lines("192.0.2.1/32 vips\n2001:db8::1/128 vips"));
        assert_eq!(state()[2..], before[2..]);
        // A scope that covers it again, and lists nothing of it, does not take it for evenkeel's.
        fixture.write("spec.yaml", "version: 1\nscope: all\nservices: []\n");
        let all = "--allow empty,take-over,mass-delete,wider-scope,unbind-in-use";
        assert_eq!(fixture.evenkeel(&format!("apply --yes {all} spec.yaml")).status, 0);
        assert_eq!(addresses(), lines("192.0.2.1/32 vips\n2001:db8::1/128 vips"));
    }
}

#[test]
fn a_drain_of_what_left_the_scope_ends_after_the_apply() {
    let fixture = Fixture::expiring("");
    let spec = |scope: &str, services: &str| {
        format!(
            "version: 1\nscope: {{ {scope} }}\nvips: [ {{ address: 192.0.2.9, interface: eth0 }}{services}\n"
        )
    };
    let web = ", { address: 192.0.2.1, interface: eth0 } ]\nservices: [ { name: web, vip: 192.0.2.1, \
               port: 80, drain: 1h, forward: nat, real_servers: [ { address: 127.0.0.1 } ] } ]";
    let _server = TcpListener::bind("127.0.0.1:80").unwrap();
    fixture.apply(&spec("vips: [192.0.2.0/24]", web));
    let connection = TcpStream::connect("192.0.2.1:80").unwrap();
    let none = " ]\nservices: []";
    fixture.write("spec.yaml", spec("vips: [192.0.2.9], left: remove", none));
    let options = "--no-wait --allow empty,mass-delete,unbind-in-use";
    let answer = fixture.evenkeel(&format!("apply --yes {options} spec.yaml"));
    assert_eq!(answer.status, 0, "{answer:?}");
    let draining = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 127.0.0.1:80 -m -w 0";
    assert_eq!(ipvsadm::save(), lines(draining));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0\n192.0.2.9/32 eth0"));
    drop(connection);
    // Without the answer, the removal that was begun is finished.
    fixture.write("spec.yaml", spec("vips: [192.0.2.9]", none));
    fixture.done("apply --yes spec.yaml --allow empty,mass-delete,unbind-in-use");
    assert_eq!((ipvsadm::save(), addresses()), (lines(""), lines("192.0.2.9/32 eth0")));
}

#[test]
fn a_service_that_already_drains_when_the_scope_becomes_narrower_is_not_forgotten() {
    let fixture = Fixture::expiring("");
    let spec = |scope: &str, services: &str| {
        format!(
            "version: 1\nscope: {{ {scope} }}\nvips: [ {{ address: 192.0.2.1, interface: eth0 }} ]\n\
             services: {services}\n"
        )
    };
    let web = "[ { name: web, vip: 192.0.2.1, port: 80, drain: 1h, forward: nat, real_servers: [ { \
               address: 127.0.0.1 } ] } ]";
    let _server = TcpListener::bind("127.0.0.1:80").unwrap();
    fixture.apply(&spec("vips: [192.0.2.0/24]", web));
    let connection = TcpStream::connect("192.0.2.1:80").unwrap();
    let options = "--no-wait --allow empty,mass-delete,unbind-in-use,no-server";
    fixture.write("spec.yaml", spec("vips: [192.0.2.0/24]", "[]"));
    assert_eq!(fixture.evenkeel(&format!("apply --yes {options} spec.yaml")).status, 0);
    assert!(ipvsadm::save().iter().any(|line| line.ends_with("-w 0")), "it drains");
    let elsewhere = |answer: &str| {
        format!("version: 1\nscope: {{ vips: [192.0.2.9]{answer} }}\nvips: []\nservices: []\n")
    };
    fixture.write("spec.yaml", elsewhere(""));
    let message = refusals(&fixture, "--allow empty,mass-delete,unbind-in-use");
    assert!(message.len() == 1 && message[0].contains("192.0.2.1:80/tcp"), "{message:?}");
    fixture.write("spec.yaml", elsewhere(", left: remove"));
    drop(connection);
    let options = "--allow empty,mass-delete,unbind-in-use";
    assert_eq!(fixture.evenkeel(&format!("apply --yes {options} spec.yaml")).status, 0);
    assert_eq!((ipvsadm::save(), addresses()), (lines(""), lines("")));
}

#[test]
fn a_service_of_an_apply_by_target_whose_scope_never_became_active_is_not_forgotten() {
    let fixture = Fixture::new("");
    let spec = |scope: &str, more: &str| {
        format!(
            "version: 1\nscope: {{ vips: [{scope}] }}\nservices:\n  - {{ name: one, vip: 192.0.2.1, port: 80, \
             real_servers: [ {{ address: 10.0.0.1 }} ] }}\n{more}"
        )
    };
    let two = "  - { name: two, vip: '2001:db8::2', port: 53, protocol: udp, drain: 0s, real_servers: [ { address: \
               '2001:db8::a' } ] }\n";
    let narrow = spec("192.0.2.1", "");
    fixture.apply(&narrow);
    fixture.write("spec.yaml", spec("192.0.2.1, '2001:db8::2'", two));
    fixture.done("apply --yes --target two --allow wider-scope spec.yaml");
    fixture.write("spec.yaml", &narrow);
    let message = refusals(&fixture, "");
    assert!(message.len() == 1 && message[0].contains("two/[2001:db8::2]:53/udp"), "{message:?}");
    fixture.write("spec.yaml", narrow.replace("[192.0.2.1]", "[192.0.2.1], left: remove"));
    fixture.done("apply --yes spec.yaml");
    assert!(!ipvsadm::save().iter().any(|line| line.contains("2001:db8::2")));
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_confirmed_and_a_rolled_back_apply_of_a_narrower_scope() {
    for (answer, is_kept) in [("keep", true), ("remove", false)] {
        let fixture = applied();
        let before = state();
        fixture.write("spec.yaml", narrowed(&format!(", left: {answer}")));
        let options = "--confirm 60s --allow mass-delete";
        assert_eq!(fixture.evenkeel(&format!("apply --yes {options} spec.yaml")).status, 0);
        assert_eq!(fixture.evenkeel("confirm --abort").status, 0);
        assert_eq!(state(), before, "{answer}");
        // It is evenkeel's as before.
        fixture.write("whole.yaml", WHOLE);
        fixture.assert_in_sync("whole.yaml");
        assert_eq!(fixture.evenkeel(&format!("apply --yes {options} spec.yaml")).status, 0);
        assert_eq!(fixture.evenkeel("confirm").status, 0);
        assert_eq!(state() == before, is_kept, "{answer}");
        fixture.assert_in_sync("spec.yaml");
        fixture.done("teardown --yes");
        assert_eq!(addresses().contains("192.0.2.1/32 vips"), is_kept);
    }
}

#[test]
fn a_single_service_is_applied_without_a_change_of_the_scope() {
    let fixture = applied();
    let before = state();
    fixture.write("spec.yaml", narrowed(", left: remove"));
    fixture.done("apply --yes --target kept spec.yaml");
    assert_eq!(state(), before);
}

#[test]
fn a_saved_plan_of_a_narrower_scope_is_applied_as_it_was_made() {
    let fixture = applied();
    fixture.write("spec.yaml", narrowed(", left: remove"));
    fixture.evenkeel("plan --out saved spec.yaml");
    fixture.evenkeel("apply --yes --allow mass-delete --plan saved");
    assert_eq!(ipvsadm::save(), lines(KEPT_SERVICE));
    assert_eq!(addresses(), lines("192.0.2.9/32 eth0"));
}
