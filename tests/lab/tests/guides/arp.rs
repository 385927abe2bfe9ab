//! What the real servers' part of direct routing is for: a host that asks for the VIP by ARP gets the
//! director's hardware address, also while real servers leave and join.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel_lab::net::{Machine, Namespace};
use evenkeel_lab_tests::frames::ArpRequester;

use super::wire::ArpReceived;
use super::*;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 201);
const SERVICE: &str = "192.168.1.201:80";
pub(super) const CLIENT: &str = "10.0.0.2";
/// How often the client's side asks, each time with nothing cached.
pub(super) const BROADCASTS: usize = 20;
/// The time between two of the requests that are sent all the while.
const PAUSE: Duration = Duration::from_millis(3);

/// The cluster of G1, and a neighbour of the router that sends requests without it.
pub(super) fn guide() -> Guide {
    let mut guide = g1::guide();
    guide.machines.push(Machine::new("neighbour").on("lan", "eth0", &["192.168.1.2/24"]));
    guide
}

/// What was seen after one broadcast of each asking machine.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The owners of the VIP in the caches of the router, the neighbour and the director, as
    /// interfaces.
    cached: BTreeSet<String>,
    /// The owners of the VIP in ARP messages of any kind.
    announced: BTreeSet<String>,
    /// The requests for the VIP that the director received from the router.
    requests: usize,
}

impl Seen {
    /// Lets the client, behind the router, and the neighbour send a request while neither router nor
    /// neighbour knows where the VIP is.
    pub(super) fn ask(&mut self, site: &Site, wire: &Wire<'_>) {
        for (machine, interface) in [("router", "eth1"), ("neighbour", "eth0")] {
            let flush = format!("neighbour flush to {VIP} dev {interface}");
            site.machines[machine].output("ip", &flush.split(' ').collect::<Vec<_>>()).unwrap();
        }
        site.ask(SERVICE, 1);
        site.ask_from("neighbour", SERVICE, 1);
        for machine in ["router", "neighbour", "director"] {
            let owner = site.machines[machine].run(cached).unwrap();
            // The director needs no entry for its own address.
            assert!(owner.is_some() || machine == "director", "{machine} has sent a request");
            self.cached.extend(owner.map(|mac| {
                let known = site.machines.interfaces().iter();
                let name =
                    |(own, name): (&[u8; 6], &String)| (text(*own) == mac).then(|| name.clone());
                known.filter_map(name).next().unwrap_or(mac)
            }));
        }
        self.read(wire);
    }

    /// Asserts that no other host ever had or claimed the VIP.
    pub(super) fn assert_only_director(&self) {
        let director = BTreeSet::from(["director eth0".to_owned()]);
        assert_eq!((&self.cached, &self.announced), (&director, &director));
    }

    /// Adds the ARP messages since the last call.
    fn read(&mut self, wire: &Wire<'_>) {
        for ArpReceived { receiver, sender, message } in wire.arp() {
            if message.sender == VIP {
                self.announced.insert(sender);
            } else if receiver == "director" && message.target == VIP && sender == "router eth1" {
                self.requests += 1;
            }
        }
    }
}

/// Returns the hardware address that the calling thread's namespace has cached for the VIP.
fn cached() -> Option<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/arp").unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let vip = VIP.to_string();
    // Address, type, flags (2: complete), hardware address.
    let mut of_vip = rows.filter(|row| row[0] == vip && row[2] == "0x2");
    of_vip.next().map(|row| row[3].to_owned())
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Sends ARP requests for the VIP from the router all the while that `work` takes.
fn while_asking<T>(router: &Namespace, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let ask = || {
                let requester = ArpRequester::new("eth1", "192.168.1.1".parse().unwrap(), VIP);
                while !stop.load(Ordering::Relaxed) {
                    requester.ask();
                    std::thread::sleep(PAUSE);
                }
            };
            router.run(ask).unwrap();
        });
        let stopped = StopAtEnd(&stop);
        let outcome = work();
        drop(stopped);
        asking.join().unwrap();
        outcome
    })
}

/// Stops the other thread also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_vip_is_the_directors_alone_while_real_servers_leave_and_join() {
    let site = Site::build(&guide(), Way::Evenkeel);
    let wire = Wire::watch(&site.machines, CLIENT);
    let both = guide().spec;
    let only_rs1 = site.edited("      - { address: 192.168.1.30 }\n", "");
    let only_rs2 = site.edited("      - { address: 192.168.1.20 }\n", "");
    // Without it the plan warns that drains may be followed by lost packets.
    site.machines["director"].sysctls(&[("ipv4/vs/expire_nodest_conn", "1")]).unwrap();
    let seen = while_asking(&site.machines["router"], || {
        site.set_up();
        let mut seen = Seen::default();
        for broadcast in 0..BROADCASTS {
            match broadcast {
                2 => {
                    site.apply("director", &only_rs1);
                    site.leave("rs2", &only_rs1);
                }
                5 => site.tear_down("rs2"),
                8 => {
                    site.apply("rs2", both);
                    site.apply("director", both);
                }
                11 => {
                    site.leave("rs1", &only_rs2);
                    site.apply("director", &only_rs2);
                }
                14 => {
                    site.apply("director", both);
                    site.apply("rs1", both);
                }
                _ => {}
            }
            seen.ask(&site, &wire);
        }
        seen
    });
    seen.assert_only_director();
    // Those of the client's side, and the many others.
    assert!(seen.requests > 2 * BROADCASTS, "{seen:?}");
}

/// The failure that the role prevents.
#[test]
fn without_the_role_real_servers_answer_for_the_vip_and_neighbours_believe_them() {
    let site = Site::build(&guide(), Way::Commands);
    let wire = Wire::watch(&site.machines, CLIENT);
    let [on_director, _] = guide().commands else { panic!("the director and the real servers") };
    site.run("director", on_director.script);
    for real_server in ["rs1", "rs2"] {
        site.run(real_server, "ip address add 192.168.1.201/32 dev lo");
    }
    let mut seen = Seen::default();
    for _ in 0..BROADCASTS {
        seen.ask(&site, &wire);
    }
    let stolen = |owners: &BTreeSet<String>| owners.iter().any(|name| name.starts_with("rs"));
    assert!(stolen(&seen.announced) && stolen(&seen.cached), "{seen:?}");
}
