//! Tests every example on a real kernel: applies it, reads it back with other programs, finds it in
//! sync, and rebuilds it from its snapshot.

use std::collections::BTreeMap;
use std::fs;

use evenkeel_engine::{HostKernel, Journalled, Kernel};
use evenkeel_lab_tests::packet_rules;
use evenkeel_model::{
    Forward, Protocol, RealServer, RealServerKey, Scheduler, ServiceConfig, ServiceKey,
};
use evenkeel_plan::Op;
use evenkeel_spec::{Source, load};

use super::*;

/// The examples with health checks, whose tables depend on servers that are not here: `traffic::health` has some.
const CHECKED: [&str; 2] = ["checks", "health"];

/// The expected table and VIPs of the first director of each example, as `ipvsadm -Sn` and `ip` show them.
const EXPECTED: [(&str, &str, &str); 16] = [
    (
        "dr",
        "-A -t 192.168.56.185:80 -s wrr
         -a -t 192.168.56.185:80 -r 192.168.56.183:80 -g -w 1
         -a -t 192.168.56.185:80 -r 192.168.56.184:80 -g -w 1",
        "192.168.56.185/32 eth0",
    ),
    (
        "drain",
        "-A -u 192.0.2.20:53 -s rr
         -a -u 192.0.2.20:53 -r 10.0.0.31:53 -g -w 1
         -a -u 192.0.2.20:53 -r 10.0.0.32:53 -g -w 1
         -A -t 192.0.2.20:443 -s wlc
         -a -t 192.0.2.20:443 -r 10.0.0.21:443 -g -w 2
         -a -t 192.0.2.20:443 -r 10.0.0.22:443 -g -w 2
         -a -t 192.0.2.20:443 -r 10.0.0.23:443 -g -w 0",
        "192.0.2.20/32 eth0",
    ),
    (
        "failover",
        "-A -t 192.0.2.60:443 -s mh -b mh-fallback,mh-port
         -a -t 192.0.2.60:443 -r 192.0.2.61:443 -g -w 1
         -a -t 192.0.2.60:443 -r 192.0.2.62:443 -g -w 1
         -a -t 192.0.2.60:443 -r 192.0.2.63:443 -g -w 1",
        "",
    ),
    (
        "fwmark",
        "-A -f 7 -s wrr -p 600
         -a -f 7 -r 192.0.2.31:0 -g -w 1
         -a -f 7 -r 192.0.2.32:0 -g -w 1",
        "192.0.2.30/32 eth0",
    ),
    (
        "ipv6",
        "-A -t 192.0.2.10:80 -s wrr
         -a -t 192.0.2.10:80 -r 192.0.2.21:80 -g -w 1
         -a -t 192.0.2.10:80 -r 192.0.2.22:80 -g -w 1
         -A -t [2001:db8::10]:80 -s wrr
         -a -t [2001:db8::10]:80 -r [2001:db8::21]:80 -g -w 1
         -a -t [2001:db8::10]:80 -r [2001:db8::22]:80 -g -w 1
         -A -u [2001:db8::10]:53 -s rr -o
         -a -u [2001:db8::10]:53 -r [2001:db8::21]:53 -g -w 1
         -a -u [2001:db8::10]:53 -r [2001:db8::22]:53 -g -w 1",
        "192.0.2.10/32 eth0
         2001:db8::10/128 eth0",
    ),
    (
        "nat",
        "-A -t 192.0.2.10:80 -s wlc
         -a -t 192.0.2.10:80 -r 10.0.0.21:8080 -m -w 2
         -a -t 192.0.2.10:80 -r 10.0.0.22:8080 -m -w 1
         -a -t 192.0.2.10:80 -r 10.0.0.23:8081 -m -w 1
         -A -t [2001:db8::10]:80 -s wlc
         -a -t [2001:db8::10]:80 -r [2001:db8:1::21]:8080 -m -w 1
         -a -t [2001:db8::10]:80 -r [2001:db8:1::22]:8080 -m -w 1",
        "192.0.2.10/32 eth0
         2001:db8::10/128 eth0",
    ),
    (
        "persistence",
        "-A -t 192.0.2.40:443 -s wlc -p 900 -M 255.255.255.0
         -a -t 192.0.2.40:443 -r 192.0.2.41:443 -g -w 1
         -a -t 192.0.2.40:443 -r 192.0.2.42:443 -g -w 1
         -A -t 192.0.2.40:0 -s wlc -p 300
         -a -t 192.0.2.40:0 -r 192.0.2.41:0 -g -w 1
         -a -t 192.0.2.40:0 -r 192.0.2.42:0 -g -w 1
         -A -u 192.0.2.40:5060 -s rr -p 3600 --pe sip
         -a -u 192.0.2.40:5060 -r 192.0.2.41:5060 -g -w 1
         -a -u 192.0.2.40:5060 -r 192.0.2.42:5060 -g -w 1
         -A -t 192.0.2.40:80 -s mh -b mh-fallback,mh-port
         -a -t 192.0.2.40:80 -r 192.0.2.41:80 -g -w 1
         -a -t 192.0.2.40:80 -r 192.0.2.42:80 -g -w 1",
        "192.0.2.40/32 eth0",
    ),
    (
        "pool",
        "-A -t 192.0.2.50:443 -s wrr
         -a -t 192.0.2.50:443 -r 10.0.0.21:8443 -m -w 10
         -a -t 192.0.2.50:443 -r 10.0.0.22:8443 -m -w 10
         -a -t 192.0.2.50:443 -r 10.0.0.23:8443 -m -w 5
         -A -t 192.0.2.50:8443 -s wrr
         -a -t 192.0.2.50:8443 -r 10.0.0.21:8443 -m -w 10
         -a -t 192.0.2.50:8443 -r 10.0.0.22:8443 -m -w 10
         -a -t 192.0.2.50:8443 -r 10.0.0.23:8443 -m -w 5",
        "192.0.2.50/32 eth0",
    ),
    (
        "ports",
        "-A -t 192.0.2.60:80 -s wlc
         -a -t 192.0.2.60:80 -r 192.0.2.61:80 -g -w 2
         -a -t 192.0.2.60:80 -r 192.0.2.62:80 -g -w 1
         -A -t 192.0.2.60:443 -s wlc
         -a -t 192.0.2.60:443 -r 192.0.2.61:443 -g -w 2
         -a -t 192.0.2.60:443 -r 192.0.2.62:443 -g -w 1
         -A -t 192.0.2.60:8080 -s wlc
         -a -t 192.0.2.60:8080 -r 192.0.2.61:8080 -g -w 2
         -a -t 192.0.2.60:8080 -r 192.0.2.62:8080 -g -w 1
         -A -t [2001:db8::60]:80 -s wlc
         -a -t [2001:db8::60]:80 -r [2001:db8::61]:80 -g -w 2
         -a -t [2001:db8::60]:80 -r [2001:db8::62]:80 -g -w 1
         -A -t [2001:db8::60]:443 -s wlc
         -a -t [2001:db8::60]:443 -r [2001:db8::61]:443 -g -w 2
         -a -t [2001:db8::60]:443 -r [2001:db8::62]:443 -g -w 1
         -A -t [2001:db8::60]:8080 -s wlc
         -a -t [2001:db8::60]:8080 -r [2001:db8::61]:8080 -g -w 2
         -a -t [2001:db8::60]:8080 -r [2001:db8::62]:8080 -g -w 1",
        "192.0.2.60/32 web0
         2001:db8::60/128 web0",
    ),
    (
        "tun",
        "-A -t 192.0.2.20:80 -s wlc
         -a -t 192.0.2.20:80 -r 198.51.100.1:80 -i -w 1 --tun-type ipip
         -a -t 192.0.2.20:80 -r 198.51.100.2:80 -i -w 1 --tun-type ipip
         -a -t 192.0.2.20:80 -r [2001:db8:1::1]:80 -i -w 1 --tun-type ipip
         -A -t [2001:db8::20]:80 -s wlc
         -a -t [2001:db8::20]:80 -r 198.51.100.1:80 -i -w 1 --tun-type ipip
         -a -t [2001:db8::20]:80 -r 198.51.100.2:80 -i -w 1 --tun-type ipip
         -a -t [2001:db8::20]:80 -r [2001:db8:1::1]:80 -i -w 1 --tun-type ipip",
        "192.0.2.20/32 eth0
         2001:db8::20/128 eth0",
    ),
    (
        "gre",
        "-A -t 192.0.2.20:80 -s wlc
         -a -t 192.0.2.20:80 -r 198.51.100.1:80 -i -w 1 --tun-type gre --tun-nocsum
         -a -t 192.0.2.20:80 -r 198.51.100.3:80 -i -w 1 --tun-type ipip
         -a -t 192.0.2.20:80 -r 192.0.2.31:80 -g -w 1",
        "192.0.2.20/32 eth0",
    ),
    (
        "gue",
        "-A -t 192.0.2.20:443 -s wlc
         -a -t 192.0.2.20:443 -r 198.51.100.1:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
         -a -t 192.0.2.20:443 -r 198.51.100.2:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
        "192.0.2.20/32 eth0",
    ),
    (
        "local-node",
        "-A -t 192.0.2.70:80 -s wrr
         -a -t 192.0.2.70:80 -r 192.0.2.2:80 -g -w 1
         -a -t 192.0.2.70:80 -r 192.0.2.3:80 -g -w 2",
        "192.0.2.70/32 eth0",
    ),
    (
        "two-directors",
        "-A -t 192.0.2.81:80 -s wlc
         -a -t 192.0.2.81:80 -r 192.0.2.21:80 -g -w 1
         -a -t 192.0.2.81:80 -r 192.0.2.22:80 -g -w 1",
        "192.0.2.81/32 eth0",
    ),
    (
        "full-nat",
        "-A -t 192.0.2.10:80 -s wlc
         -a -t 192.0.2.10:80 -r 10.0.0.21:8080 -m -w 1
         -a -t 192.0.2.10:80 -r 10.0.0.22:8080 -m -w 1
         -A -t [2001:db8::10]:80 -s wlc
         -a -t [2001:db8::10]:80 -r [2001:db8:1::21]:8080 -m -w 1
         -A -u 192.0.2.10:53 -s wlc
         -a -u 192.0.2.10:53 -r 10.0.0.21:53 -m -w 1
         -a -u 192.0.2.10:53 -r 10.0.0.22:53 -m -w 1",
        "192.0.2.10/32 eth0
         2001:db8::10/128 eth0",
    ),
    (
        "gateway",
        "-A -t 192.168.1.201:80 -s rr
         -a -t 192.168.1.201:80 -r 192.168.1.20:80 -g -w 1
         -a -t 192.168.1.201:80 -r 192.168.1.30:80 -g -w 1
         -A -t [2001:db8:1::201]:80 -s rr
         -a -t [2001:db8:1::201]:80 -r [2001:db8:1::20]:80 -g -w 1
         -a -t [2001:db8:1::201]:80 -r [2001:db8:1::30]:80 -g -w 1",
        "192.168.1.201/32 lo
         2001:db8:1::201/128 lo",
    ),
];

/// Returns the examples that are possible on this kernel: full NAT needs nftables.
fn possible() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let has_nftables = packet_rules::has_nftables();
    EXPECTED.into_iter().filter(move |(name, _, _)| has_nftables || *name != "full-nat")
}

/// Creates the host that an example expects, and returns its spec, too: the first director, or any host if
/// the spec lists none. A director has its addresses on the device `own`.
fn fixture(name: &str) -> (Fixture, String) {
    let fixture = Fixture::new("");
    run("ip link add eth1 up type dummy");
    run("ip link add own up type dummy");
    let spec = root().join(format!("examples/{name}.yaml")).display().to_string();
    let loaded = load(&[Source::new("example", fs::read(&spec).unwrap())]).unwrap();
    let director = loaded.cluster().and_then(|cluster| cluster.directors.first());
    for address in director.into_iter().flat_map(|it| &it.addresses) {
        run(&format!("ip address add {address} dev own nodad"));
    }
    (fixture, spec)
}

/// Returns the addresses of this namespace, but not the director's own.
fn vips() -> BTreeSet<String> {
    addresses().into_iter().filter(|it| !it.ends_with(" own")).collect()
}

/// Returns the real servers of each service in the kernel's own order, which some schedulers depend
/// on.
fn in_order() -> BTreeMap<String, Vec<String>> {
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in run("ipvsadm -Sn").lines() {
        match line.split_once(" -r ") {
            Some((service, real_server)) => {
                let service = service.replacen("-a ", "-A ", 1);
                let (_, values) = services
                    .iter_mut()
                    .find(|(line, _)| line.starts_with(&format!("{service} ")))
                    .expect("its service comes first");
                values.push(real_server.trim_end().to_owned());
            }
            None => drop(services.insert(line.to_owned(), Vec::new())),
        }
    }
    services
}

#[test]
fn every_example_has_an_expected_state() {
    let listed = fs::read_dir(root().join("examples")).unwrap();
    let files: BTreeSet<_> = listed.map(|entry| entry.unwrap().file_name()).collect();
    let names = EXPECTED.iter().map(|(name, _, _)| *name).chain(CHECKED);
    let expected: BTreeSet<_> = names.map(|name| format!("{name}.yaml").into()).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_example_is_applied_as_ipvsadm_and_ip_show_and_then_in_sync() {
    for (name, table, addresses) in possible() {
        let (fixture, spec) = fixture(name);
        fixture.done(&format!("apply --yes {spec}"));
        assert_eq!(ipvsadm::save(), lines(table), "{name}");
        assert_eq!(vips(), lines(addresses), "{name}");
        fixture.assert_in_sync(&spec);
        let again = fixture.done(&format!("apply --yes {spec}"));
        assert!(again.starts_with("In sync; "), "{again}");
        assert_eq!(ipvsadm::save(), lines(table), "{name}");
    }
}

#[test]
fn the_thresholds_of_an_example_are_in_the_kernel() {
    let (fixture, spec) = fixture("nat");
    fixture.done(&format!("apply --yes {spec}"));
    let limits: Vec<_> =
        ipvsadm::listed_thresholds().into_iter().filter(|(_, _, upper, _)| *upper > 0).collect();
    assert_eq!(limits, [("TCP 192.0.2.10:80".into(), "10.0.0.23:8081".into(), 1000, 800)]);
}

#[test]
fn a_snapshot_of_every_example_is_in_sync_and_builds_the_same_host_in_another_namespace() {
    for (name, _, _) in possible() {
        let (here, spec) = fixture(name);
        here.done(&format!("apply --yes {spec}"));
        // The spec in force has the end mark, which a user adds to a snapshot.
        let snapshot = here.done("snapshot") + "...\n";
        here.write("snapshot.yaml", &snapshot);
        here.assert_in_sync("snapshot.yaml");
        let offline = here.evenkeel("plan snapshot.yaml --live snapshot.yaml --detailed-exitcode");
        assert_eq!(offline.status, 0, "{offline:?}");
        let (table, limits, bound) = (in_order(), ipvsadm::listed_thresholds(), vips());

        let (there, _) = fixture(name);
        there.apply(&snapshot);
        assert_eq!(in_order(), table, "{name}");
        assert_eq!(ipvsadm::listed_thresholds(), limits, "{name}");
        assert_eq!(vips(), bound, "{name}");
    }
}

#[test]
fn a_snapshot_keeps_objects_that_only_other_tools_can_write() {
    let here = Fixture::new(
        "-A --sctp-service 192.0.2.2:80 -s mh -b flag-1
        -A -t 192.0.2.3:0 -s lc -p 5
        -A -f 4294967295 -s sh -b sh-fallback,sh-port -p 1 -M 255.255.0.0
        -a -f 4294967295 -r 10.0.0.1:80 -i -w 2147483647 --tun-type gue --tun-port 1 --tun-nocsum
        -A -f 7 -6 -s sed -p 360 -M 64
        -a -f 7 -6 -r [2001:db8::1]:0 -m -w 1 -x 5 -y 3
        ",
    );
    let web =
        ServiceKey::Address { address: [192, 0, 2, 1].into(), port: 0, protocol: Protocol::Tcp };
    let rr = ServiceConfig::new(Scheduler::new("rr").unwrap());
    let config = ServiceConfig { one_packet: true, ..rr };
    let mut odd = vec![Op::AddService { key: web, after: config.into() }];
    odd.extend([Forward::Dr, Forward::Local, Forward::Bypass].into_iter().zip(1..).map(
        |(forward, last)| Op::AddRealServer {
            service: web,
            key: RealServerKey { address: [10, 0, 0, last].into(), port: 8080 },
            after: RealServer::new(forward, 1),
        },
    ));
    let mut other_tool = HostKernel::connect(Journalled::default()).unwrap();
    assert!(other_tool.execute(&odd).unwrap().exceptions.is_empty());

    let snapshot = here.done("snapshot");
    let (table, limits) = (in_order(), ipvsadm::listed_thresholds());
    assert_eq!(table.len(), 5);
    here.write("snapshot.yaml", &snapshot);
    let plan = here.evenkeel("plan snapshot.yaml --detailed-exitcode");
    assert_eq!(plan.status, 0, "{plan:?}");
    assert!(plan.stderr.contains("accepted as written"), "{plan:?}");

    let there = Fixture::new("");
    there.write("snapshot.yaml", &snapshot);
    let answer = there.evenkeel("apply --yes snapshot.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!((in_order(), ipvsadm::listed_thresholds()), (table, limits));
    let services = |text: String| text.split("observed:").next().map(ToOwned::to_owned);
    assert_eq!(services(there.done("snapshot")), services(snapshot));
}
