//! The state of a host in lines: its links and addresses, its routes, the sysctls of IPv4, and its
//! IPVS table. What differs between two boots or two moments is left out: indexes, lifetimes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use evenkeel_lab::net::Namespace;
use serde_json::Value;

/// All hosts' lines, each beginning with the host.
pub(super) type State = BTreeSet<String>;

/// One program for each kind of state: a program started is most of the time that reading takes.
const READ: &str = "ip -j -d address show; ip -j -d -4 route show table all; ipvsadm -Sn";
/// The sysctls that say how this host treats packets of IPv4.
const SYSCTLS: &str = "/proc/sys/net/ipv4";
const LEFT_OUT: [&str; 15] = [
    "addr_info",
    "ifindex",
    "link_index",
    "link_netnsid",
    // Random, for devices without a hardware address.
    "permaddr",
    "preferred_life_time",
    "valid_life_time",
    // Parts of the line's beginning.
    "dev",
    "dst",
    "family",
    "ifname",
    "local",
    "prefixlen",
    "table",
    "type",
];

/// A justified difference between two set-ups.
pub(super) struct Difference {
    pub(super) hosts: &'static [&'static str],
    /// Lines of these hosts that only the guide's commands lead to.
    pub(super) by_commands: &'static [&'static str],
    /// Lines that only evenkeel leads to.
    pub(super) by_evenkeel: &'static [&'static str],
    pub(super) because: &'static str,
}

/// Reads the state of one host.
pub(super) fn of(host: &str, namespace: &Namespace) -> State {
    let text = namespace.output("sh", &["-e", "-c", READ]).unwrap();
    let mut parts = text.splitn(3, '\n');
    let mut list = || -> Vec<Value> { serde_json::from_str(parts.next().unwrap()).unwrap() };
    let (links, routes) = (list(), list());
    let mut lines = Vec::new();
    for link in &links {
        let name = link["ifname"].as_str().unwrap();
        lines.extend(attributes(link).map(|value| format!("link {name}: {value}")));
        for address in link["addr_info"].as_array().unwrap() {
            let of = format!("address {}/{}", text_of(address, "local"), address["prefixlen"]);
            lines.extend(attributes(address).map(|value| format!("{of} dev {name}: {value}")));
        }
    }
    for route in &routes {
        let table = route.get("table").map_or("main", |table| table.as_str().unwrap());
        let [kind, destination, device] = ["type", "dst", "dev"].map(|key| text_of(route, key));
        let values: Vec<String> = attributes(route).collect();
        let values = values.join(" ");
        lines.push(format!("route {kind} {destination} dev {device} table {table}: {values}"));
    }
    lines.extend(namespace.run(sysctls).unwrap());
    lines.extend(parts.next().unwrap_or_default().lines().map(|rule| format!("ipvs {rule}")));
    lines.into_iter().map(|line| format!("{host}: {}", line.trim_end())).collect()
}

/// Returns the attributes of an object as `NAME VALUE`.
fn attributes(object: &Value) -> impl Iterator<Item = String> + '_ {
    let kept = object.as_object().unwrap().iter();
    let kept = kept.filter(|(key, _)| !LEFT_OUT.contains(&key.as_str()));
    kept.map(|(key, value)| match value {
        Value::String(text) => format!("{key} {text}"),
        other => format!("{key} {other}"),
    })
}

fn text_of<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// The devices of tunnels that no guide uses: every network namespace has them once any test has loaded
/// their modules.
const UNUSED: [&str; 5] = ["erspan0", "gre0", "gretap0", "ip6gre0", "sit0"];

/// Reads `net.ipv4.ip_forward` and `net.ipv4.conf`, in the calling thread's namespace.
fn sysctls() -> Vec<String> {
    let root = Path::new(SYSCTLS);
    let mut lines = vec![sysctl(root, "ip_forward")];
    for device in fs::read_dir(root.join("conf")).unwrap() {
        let device = device.unwrap().path();
        if UNUSED.iter().any(|unused| device.ends_with(unused)) {
            continue;
        }
        let files = fs::read_dir(&device).unwrap();
        lines
            .extend(files.map(|file| sysctl(&device, file.unwrap().file_name().to_str().unwrap())));
    }
    lines
}

fn sysctl(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let value = fs::read_to_string(&path).unwrap();
    let key = path.strip_prefix("/proc/sys").unwrap().to_str().unwrap().replace('/', ".");
    format!("sysctl {key} {}", value.trim_end())
}

/// Asserts that two states have exactly the listed differences.
pub(super) fn assert_agree(by_commands: &State, by_evenkeel: &State, differences: &[Difference]) {
    let found: BTreeSet<String> = by_commands
        .difference(by_evenkeel)
        .map(|line| format!("- {line}"))
        .chain(by_evenkeel.difference(by_commands).map(|line| format!("+ {line}")))
        .collect();
    let mut listed = BTreeSet::new();
    let mut reasons = String::new();
    for Difference { hosts, by_commands, by_evenkeel, because } in differences {
        writeln!(reasons, "{}: {because}", hosts.join(", ")).unwrap();
        for host in *hosts {
            listed.extend(by_commands.iter().map(|line| format!("- {host}: {line}")));
            listed.extend(by_evenkeel.iter().map(|line| format!("+ {host}: {line}")));
        }
    }
    let lines = |set: Vec<&String>| set.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert!(
        found == listed,
        "the guide's commands (-) and evenkeel (+) lead to different states.\n\
         Not justified:\n{}Justified, but not found:\n{}Justified:\n{reasons}",
        lines(found.difference(&listed).collect()),
        lines(listed.difference(&found).collect()),
    );
}
