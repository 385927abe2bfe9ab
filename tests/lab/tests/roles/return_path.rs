//! The return path of answers behind NAT, where the spec leaves the default route alone: a plan warns while it
//! does not lead through a director.

use super::host::Host;

const SPEC: &str = "version: 1
directors:
  - { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] }
  - { name: lb2, addresses: [192.0.2.3, '2001:db8::3'] }
defaults: { drain: 0s, forward: nat }
services:
  - name: inner
    vips: [ 203.0.113.1, '2001:db8:1::1' ]
    port: 80
    real_servers: [ { address: 192.0.2.11, port: 8080 }, { address: '2001:db8::11', port: 8080 } ]
";
const REAL_SERVER: &str = "address add 192.0.2.11/24 dev eth0
    address add 2001:db8::11/64 dev eth0 nodad";

/// Asserts what `plan` and `apply` warn of on a real server with these default routes.
#[track_caller]
fn assert_warned(routes: &str, words: &[&str]) {
    let host = Host::new(&format!("{REAL_SERVER}\n{routes}"));
    host.write(SPEC);
    for arguments in ["plan spec.yaml", "apply --yes spec.yaml"] {
        let answer = host.evenkeel(arguments);
        assert_eq!(answer.status, 0, "{answer:?}");
        let warned = answer.stderr.matches("warning: answers of a real server behind NAT").count();
        assert_eq!(warned, words.len(), "{arguments}: {answer:?}");
        for words in words {
            assert!(answer.stderr.contains(words), "{words}: {answer:?}");
        }
    }
}

#[test]
fn a_missing_default_route_is_warned_of_in_both_families() {
    let words = [
        "the default route ipv4 does not exist and should be via 192.0.2.2 or 192.0.2.3",
        "the default route ipv6 does not exist and should be via 2001:db8::2 or 2001:db8::3",
    ];
    assert_warned("", &words);
}

#[test]
fn a_default_route_that_leads_elsewhere_is_warned_of_and_one_through_a_director_is_not() {
    assert_warned(
        "route add default via 192.0.2.254
        -6 route add default via 2001:db8::3",
        &["the default route ipv4 is via 192.0.2.254, not 192.0.2.2 or 192.0.2.3; write `gateway:"],
    );
    assert_warned(
        "route add default via 192.0.2.2
        -6 route add default via 2001:db8::fe",
        &["the default route ipv6 is via 2001:db8::fe, not 2001:db8::2 or 2001:db8::3; write"],
    );
    assert_warned(
        "route add default via 192.0.2.3
        -6 route add default via 2001:db8::2",
        &[],
    );
}
