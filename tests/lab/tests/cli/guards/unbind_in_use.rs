//! Tests the guard `unbind-in-use`: a VIP stays while services or connections need it.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::*;

const VIP: &str = "vips: [ { address: 192.0.2.1, interface: eth0 } ]\n";
const OTHER: &str = "version: 1
scope: all
services:
  - { name: other, vip: 192.0.2.9, port: 80, real_servers: [] }
";

#[test]
fn a_vip_that_a_service_needs_is_kept_until_unbinding_is_allowed() {
    let fixture = Fixture::expiring("");
    fixture.apply(&web(VIP, "{ address: 10.0.0.1 }"));
    fixture.write("spec.yaml", web("", "{ address: 10.0.0.1 }"));
    assert_holds(
        &fixture,
        "unbind-in-use",
        "unbinding 192.0.2.1 takes it from this host, but web/192.0.2.1:80/tcp needs it; keep the \
         VIP under `vips`, or remove its services from the spec",
    );
    yields(&fixture, "unbind-in-use");
    assert!(addresses().is_empty());
}

#[test]
fn a_vip_with_more_open_connections_than_may_break_is_kept() {
    let fixture = Fixture::expiring("");
    let _server = TcpListener::bind("127.0.0.1:80").unwrap();
    fixture.apply(&web(&format!("{VIP}defaults: {{ drain: 0s }}\n"), "{ address: 127.0.0.1 }"));
    let connect = || {
        let stream = TcpStream::connect("192.0.2.1:80").unwrap();
        // A normal close without the VIP would keep this namespace, and the module, in use for
        // minutes.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        stream
    };
    let open = [connect(), connect()];
    let message = |allowed: &str| {
        format!(
            "unbinding 192.0.2.1 would break 2 connections to web/192.0.2.1:80/tcp (unbind_in_use: \
             {allowed}); give the service a `drain` and apply that before you remove it"
        )
    };
    fixture.write("spec.yaml", OTHER);
    assert_holds(&fixture, "unbind-in-use", &message("0"));
    // A looser threshold applies from the next spec on.
    fixture.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 2 }}\n"));
    let postponed = "0, from the spec in force; 2, from this spec, applies from the next one on";
    assert_eq!(refusals(&fixture, ""), [format!("unbind-in-use: {}", message(postponed))]);
    let in_force = |allowed: u32| {
        let guards =
            format!("{VIP}defaults: {{ drain: 0s }}\nguards: {{ unbind_in_use: {allowed} }}\n");
        fixture.write("spec.yaml", web(&guards, "{ address: 127.0.0.1 }"));
        applies_looser_guards(&fixture);
    };
    in_force(1);
    fixture.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 1 }}\n"));
    assert_holds(&fixture, "unbind-in-use", &message("1"));
    in_force(2);
    let before = everything();
    fixture.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 2 }}\n"));
    let plan = fixture.evenkeel("plan --detailed-exitcode spec.yaml");
    assert!(plan.status == 2 && !plan.stderr.contains("would refuse this plan"), "{plan:?}");
    assert_eq!(everything(), before);
    fixture.write("spec.yaml", OTHER);
    yields(&fixture, "unbind-in-use");
    assert!(addresses().is_empty());
    drop(open);
}

#[test]
fn a_vip_that_is_no_longer_in_scope_stays_with_the_services_on_it() {
    let fixture = Fixture::expiring("");
    fixture.apply(&web(VIP, "{ address: 10.0.0.1 }"));
    run("ipvsadm -A -t 192.0.2.1:443 -s rr");
    let before = everything();
    fixture.apply("version: 1\nscope: { vips: [192.0.2.128/25], left: keep }\nvips: [ { address: 192.0.2.129, interface: eth0 } ]\nservices: []\n");
    run("ip addr del 192.0.2.129/32 dev eth0");
    assert_eq!(everything(), before);
}

#[test]
fn a_label_is_not_changed_while_connections_use_the_vip_unless_they_may_break() {
    let fixture = Fixture::expiring("");
    let _server = TcpListener::bind("127.0.0.1:80").unwrap();
    let labelled = |label: &str| {
        let vip = VIP.replace(" }", &format!(", label: '{label}', route: true }}"));
        web(&vip, "{ address: 127.0.0.1 }")
    };
    let labels = || run("ip -4 -o addr show dev eth0");
    fixture.apply(&labelled("eth0:0"));
    let open = TcpStream::connect("192.0.2.1:80").unwrap();
    rustix::net::sockopt::set_socket_linger(&open, Some(Duration::ZERO)).unwrap();
    fixture.write("spec.yaml", labelled("eth0:1"));
    assert_holds(
        &fixture,
        "unbind-in-use",
        "changing the label of 192.0.2.1 unbinds it for a moment, which may break 1 connection to \
         web/192.0.2.1:80/tcp (unbind_in_use: 0); wait until the connections have \
         ended, or keep its present label",
    );
    let plan = fixture.evenkeel("plan spec.yaml").stdout;
    let impact = "1 connection may break: their packets reach no service until it is bound again";
    assert!(plan.contains(impact), "{plan}");
    assert!(labels().contains("eth0:0"));
    yields(&fixture, "unbind-in-use");
    assert!(labels().contains("eth0:1"));
    drop(open);
    fixture.apply(&labelled("eth0:2"));
    assert!(labels().contains("eth0:2"));
}
