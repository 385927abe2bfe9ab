//! Persistence: a client, or a network of clients, stays with one real server.

use super::*;

const SPEC: &str = r#"
version: 1
directors:
  - { name: ds1, addresses: [10.0.0.1, "fd00::1"] }
vips:
  - { address: 10.0.0.100, interface: eth0 }
  - { address: "fd00::100", interface: eth0 }
defaults: { scheduler: rr, forward: dr }
services:
  - name: client
    vip: 10.0.0.100
    port: 80
    persistence: 10m
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: network
    vip: 10.0.0.100
    port: 8080
    persistence: { timeout: 10m, netmask: 24 }
    real_servers: [{ address: 10.0.0.11 }, { address: 10.0.0.12 }]
  - name: client6
    vip: "fd00::100"
    port: 80
    persistence: 10m
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
  - name: network6
    vip: "fd00::100"
    port: 8080
    persistence: { timeout: 10m, netmask: 64 }
    real_servers: [{ address: "fd00::11" }, { address: "fd00::12" }]
"#;

#[test]
fn a_client_or_a_network_of_clients_stays_with_one_real_server() {
    let mut site = Site::build(&lan(), &["rs1", "rs2", "director"]);
    for real_server in ["rs1", "rs2"] {
        site.serve(real_server, &[80, 8080]);
    }
    site.set_up(SPEC);
    for (vip, client, neighbour, stranger) in [
        ("10.0.0.100", "10.0.0.8", "10.0.0.9", "10.0.1.9"),
        ("[fd00::100]", "fd00::8", "fd00::9", "fd00:0:0:1::9"),
    ] {
        // By itself, the scheduler would alternate.
        let one = |port: u16, clients: &[&str], count| {
            let ask = |client: &&str| site.ask_from(client, &format!("{vip}:{port}"));
            let answers: Vec<String> = clients.iter().cycle().take(count).map(ask).collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
            answers[0].clone()
        };
        assert_ne!(one(80, &[client], 20), one(80, &[neighbour], 20));
        assert_ne!(one(8080, &[client, neighbour], 20), one(8080, &[stranger], 4));
    }
}
