//! Tests the kernel's counters.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use evenkeel_ipvs::{Connections, Rates, Statistics};
use evenkeel_lab_tests::run;

use super::*;

#[test]
fn counters_are_those_that_ipvsadm_shows_and_start_at_zero() {
    let mut client = client();
    run("ip addr add 192.0.2.1/32 dev lo");
    let server = UdpSocket::bind("127.0.0.1:9").unwrap();
    let echo = service("192.0.2.1:53", protocol::UDP, "rr");
    done(
        &mut client,
        [
            Command::NewService(echo),
            Command::NewDestination(echo.key, destination("127.0.0.1:9", forward::MASQ)),
        ],
    );
    let entry = client.service(&echo.key).unwrap().unwrap();
    assert_eq!(entry.statistics, Statistics::default());

    // 20 bytes of IP and 8 bytes of UDP before the payload.
    for words in ["one", "another"] {
        let visitor = UdpSocket::bind("192.0.2.1:0").unwrap();
        visitor.connect("192.0.2.1:53").unwrap();
        visitor.send(words.as_bytes()).unwrap();
        let mut received = [0; 16];
        assert_eq!(server.recv(&mut received).unwrap(), words.len());
    }
    let counted = Statistics {
        connections: 2,
        packets_in: 2,
        packets_out: 0,
        bytes_in: 2 * 28 + 10,
        bytes_out: 0,
        rates: Rates::default(),
    };
    let without_rates = |statistics| Statistics { rates: Rates::default(), ..statistics };
    // The kernel sums up the counters of its processors only every two seconds
    // (`estimation_timer`).
    let mut read = || client.service(&echo.key).unwrap().unwrap().statistics;
    let end = Instant::now() + Duration::from_secs(10);
    while read() == Statistics::default() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(without_rates(read()), counted);
    let [entry] = &client.destinations(&echo.key).unwrap()[..] else { panic!("one destination") };
    assert_eq!(without_rates(entry.statistics), counted);
    assert_eq!(entry.connections, Connections { active: 0, inactive: 2, persistent: 0 });

    let shown = run("ipvsadm -Ln --stats --exact");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let shown: Vec<Vec<String>> = shown.lines().skip(3).map(words).collect();
    assert_eq!(shown, [words("UDP 192.0.2.1:53 2 2 0 66 0"), words("-> 127.0.0.1:9 2 2 0 66 0"),]);
}
