//! Drift of every kind is repaired within an interval, a VIP within a tenth of a second.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use evenkeel_host::Binding;
use evenkeel_lab_tests::{ipvsadm, run_with};

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);

/// The checks take some time as well.
const LOOK: Duration = Duration::from_millis(500);

/// The longest time for a repair whose cause is the subject of a test, and not its speed.
const PATIENCE: Duration = Duration::from_secs(20);

const SPEC: &str = "version: 1
scope: { vips: [192.0.2.0/24, '2001:db8::/32'], fwmarks: [1-9] }
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: '2001:db8::1', interface: eth0 }
timeouts: { tcp: 10m, tcp_fin: 1m, udp: 2m }
sysctls: { net.ipv4.vs.expire_nodest_conn: 1 }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    scheduler: sh
    scheduler_flags: [ sh-fallback, sh-port ]
    drain: 0s
    persistence: { timeout: 5m }
    real_servers:
      - { address: 10.0.0.1, weight: 5, upper_threshold: 100, lower_threshold: 80 }
      - { address: 10.0.0.2, weight: 7 }
      - { address: '2001:db8::11', weight: 5 }
  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, scheduler: wrr, one_packet: true, drain: 0s, real_servers: [ { address: 10.0.0.3 } ] }
  - { name: sctp, vip: 192.0.2.1, port: 36412, protocol: sctp, scheduler: wlc, drain: 0s, real_servers: [ { address: 10.0.0.4 } ] }
  - name: marked
    fwmark: 7
    family: ipv4
    scheduler: wrr
    drain: 0s
    forward: tun
    tunnel: { type: gue, port: 6080 }
    real_servers: [ { address: 10.1.0.5 } ]
";

/// Objects of other programs, out of scope.
const FOREIGN_SERVICE: &str =
    "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 3\n";

/// Returns everything that evenkeel manages, as other programs show it.
fn everything() -> (BTreeSet<String>, String, String, String) {
    let addresses = run("ip -br addr show dev eth0");
    let timeouts = run("ipvsadm -Ln --timeout");
    (ipvsadm::save(), addresses, timeouts, run("sysctl net.ipv4.vs.expire_nodest_conn"))
}

#[test]
fn drift_of_every_kind_is_repaired_within_an_interval() {
    let host = Host::new();
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    run("ip addr add 203.0.113.1/32 dev eth0");
    let _daemon = host.watching(SPEC, "--interval 1s");
    let before = everything();
    assert!(before.0.iter().any(|line| line.contains("203.0.113.1")));
    let changes = [
        // Services: deleted, added, each attribute.
        "ipvsadm -D -t 192.0.2.1:80",
        "ipvsadm -D -t [2001:db8::1]:80",
        "ipvsadm -D -f 7",
        "ipvsadm -A -t 192.0.2.77:80",
        "ipvsadm -A -f 9 -6",
        "ipvsadm -E -t 192.0.2.1:80 -s wrr -p 300",
        "ipvsadm -E -t 192.0.2.1:80 -s sh -b sh-fallback -p 300",
        "ipvsadm -E -t 192.0.2.1:80 -s sh -b sh-fallback,sh-port -p 299",
        "ipvsadm -E -t 192.0.2.1:80 -s sh -b sh-fallback,sh-port -p 300 -M 255.255.255.0",
        "ipvsadm -E -t 192.0.2.1:80 -s sh -b sh-fallback,sh-port",
        "ipvsadm -E -t [2001:db8::1]:80 -s sh -b sh-fallback,sh-port -p 300 -M 64",
        "ipvsadm -E -u 192.0.2.1:53 -s wrr",
        "ipvsadm -E -f 7 -s wlc",
        // Real servers: deleted, added, each attribute.
        "ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.2",
        "ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.66 -g",
        "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2 -g -w 8",
        "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2 -g -w 0",
        "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2 -g -w 7 -x 50",
        "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2 -i -w 7",
        "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1 -g -w 5 -x 100 -y 70",
        "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1 -g -w 5",
        "ipvsadm -e --sctp-service 192.0.2.1:36412 -r 10.0.0.4 -m",
        "ipvsadm -e -f 7 -r 10.1.0.5:0 -i --tun-type gue --tun-port 6081",
        "ipvsadm -e -f 7 -r 10.1.0.5:0 -i --tun-type gue --tun-port 6080 --tun-csum",
        "ipvsadm -e -f 7 -r 10.1.0.5:0 -i",
        // The rest.
        "ip addr del 192.0.2.1/32 dev eth0",
        "ip addr del 2001:db8::1/128 dev eth0",
        "ipvsadm --set 800 0 0",
        "ipvsadm --set 0 33 0",
        "ipvsadm --set 0 0 44",
        "sysctl -w net.ipv4.vs.expire_nodest_conn=0",
    ];
    let mut worst = Duration::ZERO;
    for change in changes {
        let begin = Instant::now();
        run(change);
        let is_repaired = within(INTERVAL + LOOK, || everything() == before);
        assert!(is_repaired, "{change}: {:#?}, before {before:#?}", everything());
        worst = worst.max(begin.elapsed());
    }
    say(&format!("{} kinds of drift repaired, the slowest after {worst:?}", changes.len()));
}

/// In a table that is too large to be read completely at each interval. The first daemon would read it again after an
/// hour, so the probe of the short interval found what it repairs.
#[test]
fn in_a_large_table_visible_drift_is_repaired_within_an_interval_and_the_rest_within_a_longer_one()
{
    let mut spec = SPEC.to_owned();
    for number in 1..=80 {
        spec.push_str(&format!(
            "  - {{ name: many-{number}, vip: 192.0.2.{}, port: 8080, drain: 0s, real_servers: [ {{ address: 10.2.0.{number} }} ] }}\n",
            100 + number
        ));
    }
    // The probe does not cover a threshold on a service without one in the spec.
    let not_visible = "ipvsadm -e -t 192.0.2.150:8080 -r 10.2.0.50 -g -w 1 -x 9";
    let visible = [
        "ipvsadm -e -t 192.0.2.150:8080 -r 10.2.0.50 -g -w 3",
        "ipvsadm -D -t 192.0.2.180:8080",
        "ipvsadm -E -t 192.0.2.150:8080 -s rr",
        "ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1 -g -w 5",
        "ipvsadm -e -f 7 -r 10.1.0.5:0 -i",
        "ipvsadm --set 800 0 0",
        "sysctl -w net.ipv4.vs.expire_nodest_conn=0",
        "ip addr del 192.0.2.1/32 dev eth0",
    ];
    let cases = [
        // One pass may be under way, and another one's log line may come late.
        DriftCase { full_interval: "1h", changes: &visible, passes_without_repair: 2 },
        DriftCase { full_interval: "4s", changes: &[not_visible], passes_without_repair: 5 },
    ];
    for DriftCase { full_interval, changes, passes_without_repair } in cases {
        let host = Host::new();
        let options = format!("-vv --interval 1s --full-interval {full_interval}");
        let daemon = host.watching(&spec, &options);
        let before = everything();
        for change in changes {
            let passes = passes_at_intervals(&daemon).len();
            run(change);
            assert!(within(PATIENCE, || everything() == before), "{change}: {:#?}", everything());
            let passes = passes_at_intervals(&daemon).split_off(passes);
            let is_repair = |pass: &String| pass.contains("result=\"changed\"");
            let repaired = passes.iter().position(is_repair).unwrap_or(passes.len());
            assert!(repaired <= passes_without_repair, "{change}: {passes:#?}");
        }
    }
}

/// Changes that a daemon with a large table repairs.
struct DriftCase<'a> {
    full_interval: &'a str,
    changes: &'a [&'a str],
    /// How many passes, one at each interval, may come before the repair.
    passes_without_repair: usize,
}

/// Returns the log lines of the passes that were made because an interval was over.
fn passes_at_intervals(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let passes = log.lines().filter(|line| line.contains("pass trigger=\"resync\""));
    passes.map(str::to_owned).collect()
}

#[test]
fn a_vip_that_anything_unbinds_is_restored_within_a_tenth_of_a_second() {
    let host = Host::new();
    let _daemon = host.watching(SPEC, "");
    let mut times: Vec<Duration> = (0..50)
        .map(|number| {
            // Sometimes the VIP is unbound again as soon as it is restored.
            std::thread::sleep(Duration::from_millis(number % 5 * 15));
            time_without(if number % 2 == 0 { "192.0.2.1/32" } else { "2001:db8::1/128" })
        })
        .collect();
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    say(&format!(
        "a VIP is back {median:?} (median of {}), {worst:?} (worst) after it was unbound",
        times.len()
    ));
    assert!(worst < Duration::from_millis(100), "{times:?}");
    host.wait_for_state("ok");
}

/// Continuous changes of other addresses must not delay the repair of a VIP.
#[test]
fn a_vip_is_restored_at_once_however_many_other_addresses_change() {
    let host = Host::new();
    let _daemon = host.watching(SPEC, "");
    let kernel = evenkeel_host::Host::connect().unwrap();
    let other = binding("198.51.100.9/32");
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            for _ in 0..10 {
                kernel.bind(&other).unwrap();
                kernel.unbind(&other).unwrap();
            }
            time_without("192.0.2.1/32")
        })
        .collect();
    times.sort();
    assert!(times[times.len() - 1] < Duration::from_millis(100), "{times:?}");
}

/// Unbinds an address, and returns how long it takes until it is restored.
fn time_without(address: &str) -> Duration {
    let binding = binding(address);
    let kernel = evenkeel_host::Host::connect().unwrap();
    // A socket can be bound only to an address of the host.
    let is_here = || UdpSocket::bind((binding.address, 0)).is_ok();
    assert!(is_here());
    kernel.unbind(&binding).unwrap();
    let begin = Instant::now();
    while !is_here() && begin.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_micros(500));
    }
    begin.elapsed()
}

fn binding(address: &str) -> Binding {
    let (address, prefix) = address.split_once('/').unwrap();
    Binding {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
        interface: "eth0".to_owned(),
    }
}

/// A VIP with a label and a route, and one of IPv6 with a route.
const ROUTED: &str = "version: 1
vips:
  - { address: 192.0.2.1, interface: eth0, label: 'eth0:0', route: true }
  - { address: '2001:db8::1', interface: eth0, route: true }
services:
  - { name: web, vips: [192.0.2.1, '2001:db8::1'], port: 80, drain: 0s, real_servers: [] }
";

#[test]
fn labels_and_routes_are_repaired_within_an_interval() {
    let host = Host::new();
    let daemon = host.watching(ROUTED, "--interval 1s");
    let state = || {
        [
            run("ip -d -4 addr show dev eth0"),
            run("ip -d -6 addr show dev eth0 scope global"),
            run("ip route show table main"),
            run("ip -6 route show table main"),
        ]
    };
    let before = state();
    assert!(before[0].contains("eth0:0") && before[2].contains("192.0.2.1 dev eth0 proto 101"));
    assert!(before[3].contains("2001:db8::1 dev eth0 proto 101 src 2001:db8::1"));
    let relabel = || {
        run("ip addr del 192.0.2.1/32 dev eth0");
        let vip = Binding::host([192, 0, 2, 1].into(), "eth0");
        let host = evenkeel_host::Host::connect().unwrap();
        host.bind_labelled(&vip, Some("eth0:9")).unwrap();
    };
    for change in [
        "ip route del 192.0.2.1 dev eth0",
        "ip -6 route del 2001:db8::1 dev eth0",
        "ip addr del 192.0.2.1/32 dev eth0",
        "ip addr del 2001:db8::1/128 dev eth0",
        "relabel",
    ] {
        // The daemon sees all of a change at once.
        daemon.signal(Signal::SIGSTOP);
        match change {
            "relabel" => relabel(),
            command => drop(run(command)),
        }
        assert_ne!(state(), before, "{change}");
        daemon.signal(Signal::SIGCONT);
        let is_repaired = within(INTERVAL + LOOK, || state() == before);
        assert!(is_repaired, "{change}: {:#?}, before {before:#?}", state());
    }
}

#[test]
fn a_neighbour_that_is_removed_with_a_real_server_stays_until_it_has_drained() {
    let host = Host::new();
    let at = |number: u8| TcpListener::bind(SocketAddr::from(([127, 0, 0, number], 80)));
    let _servers = [at(1).unwrap(), at(2).unwrap()];
    let both = draining("1h", "{ address: 127.0.0.1 }, { address: 127.0.0.2 }");
    let gateway =
        "neighbours: [ { address: 192.0.2.9, interface: eth0, mac: \"02:00:00:00:00:09\" } ]\n";
    let _daemon = host.watching(&(both + gateway), "--interval 1s");
    let neighbours = || run("ip -d neigh show nud permanent");
    let is_there =
        || neighbours().contains("192.0.2.9 dev eth0 lladdr 02:00:00:00:00:09 PERMANENT");
    assert!(is_there(), "{}", neighbours());
    // One of each real server.
    let mut clients = [(); 2].map(|()| Some(TcpStream::connect("192.0.2.1:80").unwrap()));
    host.write("spec.yaml", draining("1h", "{ address: 127.0.0.1 }"));
    let is_draining = || run("ipvsadm -Ln").contains("127.0.0.2:80                 Masq    0");
    assert!(within(Duration::from_secs(3), is_draining), "{}", run("ipvsadm -Ln"));
    std::thread::sleep(Duration::from_secs(3));
    assert!(is_there(), "{}", neighbours());
    clients.iter_mut().for_each(|client| drop(client.take()));
    run("ipvsadm -C");
    assert!(within(Duration::from_secs(10), || !is_there()), "{}", neighbours());
}

/// Another program deletes a real server again and again, or adds one.
#[test]
fn a_real_server_that_another_program_deletes_or_adds_again_and_again_is_a_conflict() {
    const DELETE: &str = "ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1:80";
    const ADD: &str = "ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.9:80 -g -w 1";
    for (command, real_server, expected) in
        [(DELETE, "0A000001", "absent"), (ADD, "0A000009", "present")]
    {
        let host = Host::new();
        let daemon = host.watching(&spec("10.0.0.2"), "--interval 1s");
        let is_undone = || table().contains(real_server) == (expected == "absent");
        for number in 1..=5 {
            assert!(within(Duration::from_secs(5), is_undone), "{number}: {}", daemon.log());
            run(command);
        }
        assert!(within(Duration::from_secs(5), is_undone), "{}", daemon.log());
        host.wait_for_state("degraded");
        let reasons = host.reasons();
        assert!(reasons.contains(&format!("real server is {expected}")), "{reasons}");
        assert_eq!(host.status()["conflicts"].as_array().unwrap().len(), 1);
        // It backs off.
        run(command);
        std::thread::sleep(Duration::from_secs(4));
        assert!(!is_undone(), "{}", table());
    }
}

/// A program that ends each drain of a real server that it added.
#[test]
fn a_drain_that_another_program_ends_again_and_again_is_a_conflict() {
    let host = Host::new();
    let daemon = host.watching(&draining("60s", "{ address: 10.0.0.1 }"), "--interval 1s");
    // With a connection, as it would be deleted at once otherwise.
    let _server = TcpListener::bind("127.0.0.9:80").unwrap();
    assert_eq!(host.evenkeel("pause").0, 0);
    run("ipvsadm -a -t 192.0.2.1:80 -r 127.0.0.9:80 -m -w 100");
    let _connection = TcpStream::connect("192.0.2.1:80").unwrap();
    assert_eq!(host.evenkeel("resume").0, 0);
    let is_drained = || run("ipvsadm -Sn").contains("-r 127.0.0.9:80 -m -w 0");
    for number in 1..=5 {
        let drained = within(Duration::from_secs(5), is_drained);
        assert!(drained, "{number}: {}", daemon.log());
        run("ipvsadm -e -t 192.0.2.1:80 -r 127.0.0.9:80 -m -w 100");
    }
    let is_degraded = within(Duration::from_secs(5), || host.status()["state"] == "degraded");
    assert!(is_degraded, "{:#}\n{}", host.status(), daemon.log());
    assert!(
        host.reasons().contains("real server is present, the spec says absent"),
        "{}",
        host.reasons()
    );
}

#[test]
fn a_sysctl_that_cannot_be_managed_delays_the_repair_of_nothing_else() {
    let host = Host::new();
    let text = |keys: &str| {
        format!(
            "version: 1
scope: all
vips: [ {{ address: 192.0.2.1, interface: eth0 }} ]
sysctls: {{ {keys} }}
services:
  - {{ name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ {{ address: 10.0.0.1 }} ] }}
"
        )
    };
    let unreadable =
        "net.ipv6.conf.eth0.stable_secret: '::1', net.ipv4.tcp_allowed_congestion_control: 1";
    host.write("spec.yaml", text(&format!("{unreadable}, net.ipv4.conf.eth0.rp_filter: 2")));
    let daemon = host.watch("specs/spec.yaml", "--interval 1s");
    host.wait_for_state("degraded");
    let reasons = host.reasons();
    for key in ["stable_secret", "tcp_allowed_congestion_control"] {
        assert!(reasons.contains(key), "{reasons}");
    }
    assert_eq!(run("sysctl -n net.ipv4.conf.eth0.rp_filter").trim(), "2");
    let bound = || run("ip -o address show dev eth0").contains("192.0.2.1/32");
    for _ in 0..2 {
        assert!(bound() && table().contains("0A000001"), "{}", table());
        run("ipvsadm -C");
        run("ip address del 192.0.2.1/32 dev eth0");
        run("sysctl -w net.ipv4.conf.eth0.rp_filter=0");
        let is_repaired = || {
            let value = run("sysctl -n net.ipv4.conf.eth0.rp_filter");
            bound() && table().contains("0A000001") && value.trim() == "2"
        };
        assert!(within(Duration::from_secs(4), is_repaired), "{}", daemon.log());
    }
    host.write("spec.yaml", text("net.ipv4.conf.eth0.rp_filter: 2"));
    host.wait_for_state("ok");
}

#[test]
fn what_the_kernel_will_refuse_is_held_back_and_the_rest_is_done() {
    let host = Host::new();
    run("ip addr add 10.5.0.1/24 dev eth0");
    run("ipvsadm --start-daemon backup --mcast-interface eth0");
    host.write(
        "spec.yaml",
        "version: 1
scope: all
services:
  - { name: web, vip: 192.0.2.1, port: 80, drain: 0s, real_servers: [ { address: 10.0.0.1 }, { address: 10.5.0.255 } ] }
  - { name: mixed, vip: 192.0.2.2, port: 80, drain: 0s, forward: tun, real_servers: [ { address: 10.0.0.1 }, { address: '2001:db8::1' } ] }
",
    );
    let daemon = host.watch("specs/spec.yaml", "--interval 1s");
    host.wait_for_state("degraded");
    let reasons = host.reasons();
    for words in
        ["10.5.0.255 is the broadcast address", "another program runs the sync daemon backup"]
    {
        assert!(reasons.contains(words), "{reasons}");
    }
    let expected = "TCP C0000201:0050 wlc\n-> 0A000001:0050 Route 1\n\
                    TCP C0000202:0050 wlc\n-> 0A000001:0050 Tunnel 1\n";
    let sorted = |text: &str| {
        let mut services: Vec<String> = text.split("TCP ").map(str::to_owned).collect();
        services.sort();
        services
    };
    assert_eq!(sorted(&table()), sorted(expected), "{}", daemon.log());
    run("ipvsadm -C");
    assert!(within(Duration::from_secs(4), || sorted(&table()) == sorted(expected)), "{}", table());
    run("ipvsadm --stop-daemon backup");
    run("ip addr del 10.5.0.1/24 dev eth0");
    host.wait_for_state("ok");
    let rules = run("ipvsadm -Sn");
    assert!(rules.contains("10.5.0.255:80") && rules.contains("[2001:db8::1]:80"), "{rules}");
}

#[test]
fn a_program_that_has_ended_is_no_longer_reported() {
    let host = Host::new();
    let program = host.path("keepalived");
    std::fs::copy("/usr/bin/sleep", &program).unwrap();
    let mut other = Command::new(&program).arg("600").spawn().unwrap();
    let _daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    let is_reported = || host.status()["known_writers"].to_string().contains("keepalived");
    assert!(within(REPORTED, is_reported), "{:#}", host.status());
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(within(Duration::from_secs(9), || !is_reported()), "{:#}", host.status());
}
