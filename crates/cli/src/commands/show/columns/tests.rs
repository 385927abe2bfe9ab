use clap::Parser;
use evenkeel_model::statistics::{Rates, ServiceStatistics, Statistics};
use evenkeel_model::{
    Desired, Forward, Live, NamedService, Netmask, Persistence, RealServerKey, RealServers,
    Scheduler, ServiceConfig, ServiceKey,
};

use super::*;
use crate::args::{Arguments, Command};

fn traffic(scale: u64) -> Traffic {
    Traffic {
        connections: scale,
        packets_in: 2 * scale,
        packets_out: 0,
        bytes_in: 100_000_000 * scale,
        bytes_out: 4 * scale,
        rates: Rates { connections: scale, bytes_in: 1_000_000_000 * scale, ..Rates::default() },
    }
}

/// The text for these arguments: a service of a spec, persistent and with two real servers, and a
/// live one that the spec does not list.
fn shown(arguments: &str) -> String {
    let parsed = ["evenkeel", "show"].into_iter().chain(arguments.split_whitespace());
    let Command::Show(arguments) = Arguments::try_parse_from(parsed).expect("valid").command else {
        panic!("another command")
    };
    let key = ServiceKey::parse("192.0.2.1:80/tcp").expect("a service");
    let other = ServiceKey::parse("fwmark-7/ipv6").expect("a service");
    let config = |name| ServiceConfig::new(Scheduler::new(name).expect("a scheduler"));
    let persistence = Persistence { timeout: 300, netmask: Netmask::host(key.family()) };
    let servers = [1, 2].map(|last| RealServerKey { address: [10, 0, 0, last].into(), port: 80 });
    let mut real_servers = RealServers::new();
    for (weight, server) in (1..).zip(servers) {
        let value = RealServer::new(Forward::Dr, weight);
        real_servers.insert(server, RealServer { upper_threshold: 100, ..value });
    }
    let service = Service {
        config: ServiceConfig { persistence: Some(persistence), ..config("wrr") },
        real_servers,
    };
    let none = Service { config: config("rr"), real_servers: RealServers::new() };
    let counted = RealServerStatistics {
        active_connections: 12345,
        inactive_connections: 6,
        persistent_connections: 7,
        traffic: traffic(3),
    };
    let counted =
        ServiceStatistics { traffic: traffic(3), real_servers: [(servers[0], counted)].into() };
    let named = NamedService::new("web", service.clone());
    Listing { columns: columns(&arguments, false), is_exact: arguments.exact }.text(&Shown {
        live: &Live { services: [(key, service), (other, none)].into(), ..Live::default() },
        statistics: &Statistics { services: [(key, counted)].into() },
        named: &Desired { services: [(key, named)].into(), ..Desired::default() },
        health: &HealthFacts::default(),
    })
}

#[test]
fn without_options_forwarding_weights_and_connections_are_shown() {
    let expected = "\
SERVICE           FORWARD  WEIGHT  ACTIVE  INACTIVE
web/192.0.2.1:80/tcp wrr persistence 300s
  -> 10.0.0.1:80  dr            1   12345         6
  -> 10.0.0.2:80  dr            2       0         0
fwmark-7/ipv6 rr
";
    assert_eq!(shown(""), expected);
}

#[test]
fn thresholds_and_persistence_entries_are_further_columns() {
    let expected = "\
SERVICE           FORWARD  WEIGHT  ACTIVE  INACTIVE  PERSISTENT  UPPER  LOWER
web/192.0.2.1:80/tcp wrr persistence 300s
  -> 10.0.0.1:80  dr            1   12345         6           7    100      0
  -> 10.0.0.2:80  dr            2       0         0           0    100      0
fwmark-7/ipv6 rr
";
    assert_eq!(shown("--thresholds --persistent"), expected);
}

#[test]
fn counters_are_shown_of_services_too_and_shortened() {
    let expected = "\
SERVICE               CONNS  PACKETS-IN  PACKETS-OUT  BYTES-IN  BYTES-OUT
web/192.0.2.1:80/tcp      3           6            0   300000K         12
  -> 10.0.0.1:80          3           6            0   300000K         12
  -> 10.0.0.2:80          0           0            0         0          0
fwmark-7/ipv6             0           0            0         0          0
";
    assert_eq!(shown("--stats"), expected);
}

#[test]
fn exact_counters_and_rates_with_a_column_of_real_servers_only() {
    let expected = "\
SERVICE               UPPER  LOWER  CONNS/S  PACKETS-IN/S  PACKETS-OUT/S  BYTES-IN/S  BYTES-OUT/S
web/192.0.2.1:80/tcp                      3             0              0  3000000000            0
  -> 10.0.0.1:80        100      0        3             0              0  3000000000            0
  -> 10.0.0.2:80        100      0        0             0              0           0            0
fwmark-7/ipv6                             0             0              0           0            0
";
    assert_eq!(shown("--rates --thresholds --exact"), expected);
    let both = shown("--stats --rates");
    assert!(both.starts_with("SERVICE  "), "{both}");
    assert!(both.contains("  BYTES-OUT  CONNS/S  "), "{both}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for arguments in [
        "--exact",
        "--exact --thresholds",
        "--connections --stats",
        "--connections --persistent",
        "--timeouts --rates",
        "--timeouts --target web",
        "--sync --connections",
        "--sync --thresholds",
    ] {
        let parsed = ["evenkeel", "show"].into_iter().chain(arguments.split_whitespace());
        assert!(Arguments::try_parse_from(parsed).is_err(), "{arguments}");
    }
    let both = Arguments::try_parse_from(["evenkeel", "show", "--sync", "--timeouts"]);
    assert!(both.is_ok());
}
