//! Plans and applies for single services of a real server.

use evenkeel_lab_tests::run;

use super::host::{Answer, Host};
use super::state::State;

const HOST: &str = "address add 192.0.2.11/24 dev eth0
    address add 2001:db8::11/64 dev eth0 nodad
    route add default via 192.0.2.254 dev eth0
    sysctl net/ipv4/conf/all/rp_filter=1
    sysctl net/ipv4/conf/lo/arp_ignore=2";

const SPEC: &str = "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 5s }
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: 192.0.2.3, interface: eth0 }
  - { address: '2001:db8::1', interface: eth0 }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    forward: dr
    on_real_servers: { route: true }
    real_servers: [ { address: 192.0.2.11 }, { address: '2001:db8::11' } ]
  - name: mail
    vips: [ 192.0.2.3 ]
    port: 25
    protocol: sctp
    forward: tun
    real_servers: [ { address: 192.0.2.11 } ]
  - name: inner
    vip: 203.0.113.1
    port: 53
    protocol: udp
    forward: nat
    gateway: 192.0.2.253
    real_servers: [ { address: 192.0.2.11 } ]
";

/// The host, with the device that the kernel creates for TUN.
fn host() -> Host {
    run("modprobe ipip");
    let host = Host::new(HOST);
    // The kernel has a queue for the device from its first use on.
    run("ip link set tunl0 up");
    run("ip link set tunl0 down");
    host.write(SPEC);
    host
}

/// Asserts that every difference concerns one of these.
#[track_caller]
fn assert_only(now: &State, before: &State, words: &[&str]) {
    let changes = now.changes_since(before);
    let mut changes = changes.lines().filter(|line| !line.is_empty()).peekable();
    assert!(changes.peek().is_some());
    for line in changes {
        assert!(words.iter().any(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn a_targeted_apply_gives_a_real_server_what_its_service_needs_and_nothing_else() {
    let whole = {
        let host = host();
        host.apply(SPEC);
        State::read()
    };
    let host = host();
    let before = State::read();
    let answer = host.evenkeel("plan --detailed-exitcode spec.yaml --target wbe");
    assert!(
        answer.stderr.contains("no service of this host is called `wbe`; there is `web`"),
        "{answer:?}"
    );

    host.done("apply --yes spec.yaml --target web");
    let web = State::read();
    let of_web = ["192.0.2.1\"", "2001:db8::1\"", "conf.all.arp_", "conf.lo.arp_"];
    assert_only(&web, &before, &of_web);
    assert!(web.contains("\"dev\":\"lo\",\"family\":\"inet6\",\"local\":\"2001:db8::1\""));
    for (service, status) in [("web", 0), ("mail", 2), ("mail/192.0.2.3:25/sctp", 2), ("inner", 2)]
    {
        let answer =
            host.evenkeel(&format!("plan --detailed-exitcode spec.yaml --target {service}"));
        assert_eq!((answer.status, &*answer.stderr), (status, ""), "{service}: {answer:?}");
    }

    host.done("apply --yes spec.yaml --target mail --target 203.0.113.1:53/udp");
    let all = State::read();
    assert!(all == whole, "{}", all.changes_since(&whole));
    assert!(host.done("plan spec.yaml --target mail").starts_with("In sync; "));
    assert!(host.done("plan spec.yaml").starts_with("In sync; "));

    // Drift of one service is not repaired for another.
    run("ip address del 192.0.2.3/32 dev tunl0");
    run("ip address del 2001:db8::1/128 dev lo");
    host.done("apply --yes spec.yaml --target web");
    assert_only(&State::read(), &whole, &["192.0.2.3\""]);
    host.done("apply --yes spec.yaml --target mail");
    whole.assert_is_reached("after both");

    assert_eq!(host.evenkeel("teardown --yes").status, 0);
    before.assert_is_reached("after the teardown");
}

#[test]
fn what_a_targeted_apply_set_up_leaves_with_the_whole_spec_and_not_before() {
    let host = host();
    let before = State::read();
    host.done("apply --yes spec.yaml --target mail --target web");
    let applied = State::read();
    host.write(&SPEC.replacen(
        "forward: tun\n    real_servers: [ { address: 192.0.2.11 } ]",
        "forward: tun\n    real_servers: [ { address: 192.0.2.12 } ]",
        1,
    ));
    // Only the last spec knows the service, and no whole spec was applied.
    let answer = host.evenkeel("plan spec.yaml --target mail");
    assert!(
        answer.stderr.contains("no service of this host is called `mail`; there is"),
        "{answer:?}"
    );
    let plan = host.done("plan spec.yaml");
    assert!(plan.contains("stay for 35s") && plan.contains("in mail/192.0.2.3:25/sctp"), "{plan}");
    assert_eq!(host.evenkeel("apply --yes --no-wait spec.yaml").status, 0);
    let stays = State::read();
    assert_only(&stays, &applied, &["\"default\"", "203.0.113.1"]);

    // Listed again, alone: it no longer leaves.
    host.write(SPEC);
    host.done("apply --yes spec.yaml --target mail");
    assert!(host.done("plan spec.yaml").starts_with("In sync; "));
    host.apply(SPEC);
    host.write(&SPEC.replacen(
        "192.0.2.11 } ]\n  - name: inner",
        "192.0.2.12 } ]\n  - name: inner",
        1,
    ));
    let Answer { status, stdout, stderr } =
        host.evenkeel("apply --yes spec.yaml --target mail --target web");
    assert!(status == 0 && stdout.starts_with("In sync; "), "{stdout}{stderr}");
    let words = "the spec no longer lists this real server in mail/192.0.2.3:25/sctp: what the host has \
                 for that stays until you apply the spec without --target";
    assert!(stderr.contains(words), "{stderr}");
    let now = State::read();
    assert!(now == stays, "{}", now.changes_since(&stays));

    assert_eq!(host.evenkeel("teardown --yes").status, 0);
    before.assert_is_reached("after the teardown");
}
