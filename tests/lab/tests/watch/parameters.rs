//! Parameters are inputs of a spec as files are: a changed value is enforced as a changed file is, and a
//! reading that the system refuses is repeated.

use evenkeel_control::{Client, EventKind};
use evenkeel_lab_tests::descriptors::FewDescriptors;
use evenkeel_lab_tests::netns::NamedNamespace;

use super::subscription::wait_for;
use super::*;

/// An interval so long that only events can be what a test waits for.
const LONG: &str = "--interval 1h";

/// A service with this host's address on `eth0` among its real servers.
const LOCAL: &str = "version: 1
scope: all
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 }, { address: \"${host:eth0}\" } ] }
";

/// Writes the spec and waits for the state that the daemon is in with it.
fn watching_local(host: &Host, options: &str, state: &str) -> Daemon {
    host.write("spec.yaml", LOCAL);
    let daemon = host.watch("specs/spec.yaml", options);
    host.wait_for_state(state);
    daemon
}

/// The only parameter that the status shows, as its text has it without the duration.
#[track_caller]
fn parameter_row(host: &Host) -> String {
    let (_, stdout, stderr) = host.evenkeel("status");
    assert_eq!(stderr, "");
    let rows: Vec<&str> =
        stdout.lines().filter_map(|line| line.strip_prefix("parameter")).collect();
    let [row] = rows[..] else { panic!("one parameter: {stdout}") };
    row.rsplit_once(", for ").unwrap().0.trim().to_owned()
}

#[test]
fn an_address_that_comes_after_the_start_is_enforced() {
    let host = Host::new();
    let daemon = watching_local(&host, LONG, "degraded");
    let reasons = host.reasons();
    assert!(reasons.contains("spec.yaml:4:"), "{reasons}");
    assert!(reasons.contains("`${host:eth0}` has no value"), "{reasons}");
    assert_eq!(parameter_row(&host), "${host:eth0}: no value");
    assert_eq!(table(), "");

    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(host.status()["state"], "degraded");
    run("ip address add 203.0.113.5/24 dev eth0");
    assert_enforced("203.0.113.5", Instant::now());
    host.wait_for_state("ok");
    let log = daemon.log();
    let change = "parameter ${host:eth0} changed from no value to 203.0.113.5";
    assert!(log.contains(change), "{log}");
}

#[test]
fn an_address_that_changes_is_enforced_and_one_that_goes_is_reported() {
    let host = Host::new();
    run("ip address add 203.0.113.5/24 dev eth0");
    let daemon = watching_local(&host, LONG, "ok");
    assert_eq!(host.status()["spec"]["parameters"], serde_json::json!([]), "none has changed");
    let mut subscription = Client::of_owner(None).subscribe().unwrap();

    // In this order there is an address all the time, however slow the machine is.
    run("ip address add 203.0.113.6/32 dev eth0");
    run("ip address del 203.0.113.5/24 dev eth0");
    assert_enforced("203.0.113.6", Instant::now());
    let is_old_gone = || !table().contains("CB007105");
    assert!(within(ENFORCED, is_old_gone), "{}", table());
    host.wait_for_state("ok");
    let parameter = &host.status()["spec"]["parameters"][0];
    assert_eq!(parameter["name"], "host:eth0");
    assert_eq!(parameter["previous"], "203.0.113.5");
    assert_eq!(parameter["value"], "203.0.113.6");
    assert_eq!(parameter_row(&host), "${host:eth0}: 203.0.113.5 -> 203.0.113.6");
    let changed = |event: &EventKind| match event {
        EventKind::ParameterChanged { parameter } => {
            parameter.value.as_deref() == Some("203.0.113.6")
        }
        _ => false,
    };
    wait_for(&mut subscription, "change", changed);
    wait_for(&mut subscription, "spec", |it| matches!(it, EventKind::SpecActivated { .. }));
    let change = "parameter ${host:eth0} changed from 203.0.113.5 to 203.0.113.6";
    assert!(daemon.log().contains(change), "{}", daemon.log());

    let before = table();
    run("ip address flush dev eth0");
    host.wait_for_state("degraded");
    assert_eq!(parameter_row(&host), "${host:eth0}: 203.0.113.6 -> no value");
    assert!(host.reasons().contains("the last valid one stays active"), "{}", host.reasons());
    assert_eq!(table(), before, "the last good spec stays");
    run("ip address add 203.0.113.6/24 dev eth0");
    host.wait_for_state("ok");
    assert_eq!(table(), before);
    let ended = |event: &EventKind| matches!(event, EventKind::ParameterChangeEnded { .. });
    wait_for(&mut subscription, "end of the change", ended);
}

#[test]
fn an_address_that_changed_while_no_daemon_ran_is_reported_against_the_last_applied_spec() {
    let host = Host::new();
    run("ip address add 203.0.113.5/24 dev eth0");
    drop(watching_local(&host, LONG, "ok"));
    run("ip address flush dev eth0");
    run("ip address add 203.0.113.6/24 dev eth0");
    let _daemon = watching_local(&host, LONG, "ok");
    assert_enforced("203.0.113.6", Instant::now());
    assert_eq!(parameter_row(&host), "${host:eth0}: 203.0.113.5 -> 203.0.113.6");
}

#[test]
fn addresses_that_evenkeel_binds_are_never_the_value() {
    let host = Host::new();
    let spec = "version: 1
scope: all
vips: [ { address: 192.0.2.1, interface: eth0 } ]
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: \"${host:eth0}\" } ] }
";
    run("ip address add 203.0.113.5/24 dev eth0");
    let _daemon = host.watching(spec, LONG);
    run("ip address del 203.0.113.5/24 dev eth0");
    host.wait_for_state("degraded");
    assert_eq!(parameter_row(&host), "${host:eth0}: 203.0.113.5 -> no value");
    assert!(run("ip address show dev eth0").contains("192.0.2.1"));
}

#[test]
fn a_guard_holds_the_plan_of_a_changed_address() {
    let host = Host::new();
    run("ip address add 203.0.113.5/24 dev eth0");
    let services = (80..84).map(|port| {
        format!(
            "  - {{ name: web{port}, vip: \"${{host:eth0}}\", port: {port}, drain: 0s, real_servers: [ {{ address: 10.0.0.1 }} ] }}\n"
        )
    });
    let spec = format!("version: 1\nscope: all\nservices:\n{}", services.collect::<String>());
    let _daemon = host.watching(&spec, LONG);
    let before = table();
    run("ip address flush dev eth0");
    run("ip address add 203.0.113.6/24 dev eth0");
    host.wait_for_state("held");
    assert_eq!(table(), before);
    let status = host.status();
    assert!(status["spec"]["held"]["guards"]["mass-delete"].is_string(), "{status:#}");
    let id = status["spec"]["held"]["id"].as_str().unwrap();
    assert_eq!(host.evenkeel(&format!("approve {id}")).0, 0);
    assert_enforced("203.0.113.6", Instant::now());
    host.wait_for_state("ok");
}

#[test]
fn the_addresses_are_those_of_the_daemons_namespace() {
    let (host, named) = (Host::new(), NamedNamespace::new("blue"));
    run("ip address add 203.0.113.5/24 dev eth0");
    let _none = named.run("ip link add eth0 up type dummy");
    host.write("spec.yaml", LOCAL);
    let daemon = host.watch("specs/spec.yaml", &format!("{LONG} --netns {}", named.name));
    let message = "`${host:eth0}` has no value";
    assert!(within(Duration::from_secs(10), || daemon.log().contains(message)), "{}", daemon.log());
    let _none = named.run("ip address add 203.0.113.6/24 dev eth0");
    let is_enforced = || named.run("ipvsadm -Sn").contains("203.0.113.6");
    assert!(within(Duration::from_secs(5), is_enforced), "{}", daemon.log());
}

#[test]
fn a_spec_that_cannot_be_opened_for_lack_of_descriptors_is_enforced_within_the_interval() {
    const INTERVAL: Duration = Duration::from_secs(4);
    let host = Host::new();
    run("ip address add 203.0.113.5/24 dev eth0");
    let daemon = host.watching(&spec("10.0.0.10"), "--interval 4s");
    let before = table();
    let no_files = FewDescriptors::leave(daemon.child.id(), 0).unwrap();
    host.write("spec.yaml", LOCAL);
    let message = "cannot read ";
    let is_refused = || daemon.log().contains(message);
    assert!(within(Duration::from_secs(2), is_refused), "{}", daemon.log());
    assert!(daemon.log().contains("Too many open files"), "{}", daemon.log());
    assert!(daemon.log().contains("retrying within the interval"), "{}", daemon.log());
    // Several attempts fail.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(table(), before);
    drop(no_files);
    let begin = Instant::now();
    let is_enforced = || table().contains("CB007105");
    assert!(within(INTERVAL + ENFORCED, is_enforced), "{}", daemon.log());
    say(&format!("read {:?} after descriptors were available", begin.elapsed()));
    host.wait_for_state("ok");
    let message = format!("cannot read {}", host.path("specs/spec.yaml").display());
    assert_eq!(daemon.log().matches(&message).count(), 1, "{}", daemon.log());
}
