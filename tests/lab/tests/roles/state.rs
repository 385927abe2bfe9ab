//! The state of a host, a line for each object: links, addresses, routes, permanent neighbours, FOU ports, packet rules, sysctls, the IPVS
//! table. What differs between two moments or two namespaces is left out: lifetimes, indexes, random
//! addresses.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel_lab_tests::{ipvsadm, packet_rules, run, sysctls};
use serde_json::Value;

/// What each line begins with, the program that lists such objects as JSON.
const LISTS: [(&str, &str); 4] = [
    ("link", "ip -j -d address show"),
    ("route", "ip -j -d -4 route show table all"),
    ("route", "ip -j -d -6 route show table all"),
    ("neighbour", "ip -j -d neigh show nud permanent"),
];
const LEFT_OUT: [&str; 7] = [
    "ifindex",
    "link_index",
    "operstate",
    // Random, for devices without a hardware address.
    "permaddr",
    "preferred_life_time",
    "valid_life_time",
    "expires",
];
/// Reading the table would load IPVS, which real servers do without.
const TABLE: &str = "/proc/thread-self/net/ip_vs";
/// The kernel removes routes of IPv6 some time after their addresses.
const SETTLED: Duration = Duration::from_secs(2);

/// The lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State(BTreeSet<String>);

impl State {
    /// Reads the state of the calling thread's network namespace.
    pub(super) fn read() -> Self {
        let mut lines = BTreeSet::new();
        for (word, command) in LISTS {
            let Value::Array(objects) = serde_json::from_str(&run(command)).unwrap() else {
                panic!("{command} lists nothing");
            };
            objects.into_iter().for_each(|object| add(word, object, &mut lines));
        }
        let mut rules = packet_rules::listed();
        // Chains that end alike stay distinct, and so does a rule that is there twice.
        rules
            .iter_mut()
            .enumerate()
            .for_each(|(place, rule)| *rule = format!("rules {place}: {rule}"));
        lines.extend(rules);
        let sysctls = sysctls::of_interfaces();
        lines.extend(sysctls.iter().map(|(key, value)| format!("sysctl {key} = {value}")));
        if Path::new(TABLE).exists() {
            lines.extend(ipvsadm::save().into_iter().map(|rule| format!("ipvs {rule}")));
        }
        if Path::new("/sys/module/fou").exists() {
            for (command, family) in [("ip fou show", ""), ("ip -6 fou show", "-6 ")] {
                let ports = run(command);
                let ports = ports.lines().map(|port| port.replace(" -6", ""));
                lines.extend(ports.map(|port| format!("fou {family}{}", port.trim())));
            }
        }
        Self(lines)
    }

    pub(super) fn contains(&self, words: &str) -> bool {
        self.0.iter().any(|line| line.contains(words))
    }

    /// Returns the lines about these devices, and removes them.
    pub(super) fn take_devices(&mut self, devices: &[&str]) -> Self {
        let is_of = |line: &String| {
            devices.iter().any(|device| {
                line.contains(&format!(".conf.{device}."))
                    || line.contains(&format!("\"ifname\":\"{device}\""))
                    || line.contains(&format!("\"dev\":\"{device}\""))
            })
        };
        let (found, rest) = std::mem::take(&mut self.0).into_iter().partition(is_of);
        self.0 = rest;
        Self(found)
    }

    /// Waits until this is the state of the host.
    #[track_caller]
    pub(super) fn assert_is_reached(&self, of: &str) {
        let end = Instant::now() + SETTLED;
        loop {
            let now = Self::read();
            if now == *self {
                return;
            }
            assert!(Instant::now() < end, "{of}: {}", now.changes_since(self));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the lines that only one of the states has.
    pub(super) fn changes_since(&self, before: &Self) -> String {
        let gone = before.0.difference(&self.0).map(|line| format!("\n- {line}"));
        gone.chain(self.0.difference(&before.0).map(|line| format!("\n+ {line}"))).collect()
    }
}

/// Adds the line of an object, and one for each address of a link.
fn add(word: &str, mut object: Value, lines: &mut BTreeSet<String>) {
    let map = object.as_object_mut().unwrap();
    LEFT_OUT.iter().for_each(|key| drop(map.remove(*key)));
    // Both depend on the carrier, which the kernel detects some time later.
    map.remove("linkmode");
    if let Some(Value::Array(addresses)) = map.remove("addr_info") {
        for mut address in addresses {
            address["dev"] = map["ifname"].clone();
            add("address", address, lines);
        }
    }
    lines.insert(format!("{word} {object}"));
}
