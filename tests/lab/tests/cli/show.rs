//! Compares the live table of `evenkeel show` with that of `ipvsadm`.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::networks::ipv4_cluster;

const SPEC: &str = "version: 1
vips:
  - { address: 10.0.0.100, interface: eth0 }
services:
  - name: web
    vip: 10.0.0.100
    port: 80
    scheduler: wrr
    real_servers: [ { address: 10.0.0.11, weight: 1 }, { address: 10.0.0.12, weight: 2 } ]
";

/// Weight, active and inactive connections by real server.
type Counts = BTreeMap<String, [u64; 3]>;

/// Returns the values of `ipvsadm -Ln`.
fn listed() -> Counts {
    let text = run("ipvsadm -Ln");
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows =
        words.filter(|words| words.first() == Some(&"->") && words[1] != "RemoteAddress:Port");
    rows.map(|words| {
        let number = |at: usize| words[at].parse().unwrap();
        (words[1].to_owned(), [number(3), number(4), number(5)])
    })
    .collect()
}

/// Returns the values of `evenkeel show`.
fn shown(text: &str) -> Counts {
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = words.filter(|words| words.first() == Some(&"->"));
    rows.map(|words| {
        let number = |at: usize| words[at].parse().unwrap();
        (words[1].to_owned(), [number(3), number(4), number(5)])
    })
    .collect()
}

#[test]
fn names_weights_and_connections_agree_with_ipvsadm() {
    let network = ipv4_cluster();
    let fixture = Fixture::here();
    network.director.run(|| fixture.apply(SPEC)).unwrap();
    let vip = "10.0.0.100:80".parse().unwrap();
    network.ask(vip, 6).unwrap();
    // Two connections that stay open.
    let open = network
        .client
        .run(|| [(); 2].map(|()| TcpStream::connect_timeout(&vip, Duration::from_secs(3)).unwrap()))
        .unwrap();
    let (text, document, counts) = network
        .director
        .run(|| {
            (fixture.done("show spec.yaml"), fixture.done("show spec.yaml --output json"), listed())
        })
        .unwrap();
    drop(open);

    assert_eq!(shown(&text), counts, "{text}");
    assert!(text.contains("\nweb/10.0.0.100:80/tcp wrr\n"), "{text}");
    let sum = |at: usize| counts.values().map(|row| row[at]).sum::<u64>();
    assert_eq!((sum(1), sum(2)), (2, 6), "{counts:?}");

    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let service = &document["services"][0];
    assert_eq!(service["name"], "web");
    let real_servers = service["real_servers"].as_array().unwrap().iter();
    let from_document: Counts = real_servers
        .map(|it| {
            let name = format!("{}:{}", it["address"].as_str().unwrap(), it["port"]);
            let statistics = &it["statistics"];
            let numbers = [
                &it["weight"],
                &statistics["active_connections"],
                &statistics["inactive_connections"],
            ];
            (name, numbers.map(|number| number.as_u64().unwrap()))
        })
        .collect();
    assert_eq!(from_document, counts);
}

#[test]
fn services_without_a_name_in_the_spec_are_shown_by_their_keys() {
    let fixture = Fixture::new("-A -t 192.0.2.1:80 -s sh -b sh-port -p 60\n-A -f 7 -6 -s rr\n");
    let text = fixture.done("show");
    for words in ["192.0.2.1:80/tcp sh sh-port persistence 60s", "fwmark-7/ipv6 rr"] {
        assert!(text.lines().any(|line| line == words), "{words}: {text}");
    }
    assert_eq!(Fixture::new("").done("show").lines().count(), 1, "a heading and nothing else");
}
