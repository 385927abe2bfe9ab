//! Reads all sysctls of the interfaces, as `sysctl -a` shows them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Returns the values below `net.ipv4.conf` and `net.ipv6.conf`, and `net.ipv4.ip_forward`, by key; names
/// of interfaces are written with slashes in place of dots. Values that cannot be read are left out.
///
/// # Panics
/// Panics if the directories cannot be read.
#[must_use]
pub fn of_interfaces() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let net = Path::new("/proc/sys/net");
    let mut add = |key: String, path: &Path| {
        if let Ok(value) = fs::read_to_string(path) {
            found.insert(key, value.trim().to_owned());
        }
    };
    add("net.ipv4.ip_forward".to_owned(), &net.join("ipv4/ip_forward"));
    for family in ["ipv4", "ipv6"] {
        for interface in entries(&net.join(family).join("conf")) {
            let folder = net.join(family).join("conf").join(&interface);
            for name in entries(&folder) {
                let interface = interface.replace('.', "/");
                add(format!("net.{family}.conf.{interface}.{name}"), &folder.join(&name));
            }
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    names.map(|name| name.expect("a name")).collect()
}

/// Returns the differences of two readings: the values before and after, by key.
#[must_use]
pub fn changed(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> BTreeMap<String, (String, String)> {
    let absent = || "absent".to_owned();
    let value =
        |all: &BTreeMap<String, String>, key: &String| all.get(key).cloned().unwrap_or_else(absent);
    let keys = before.keys().chain(after.keys());
    let both = keys.map(|key| (key.clone(), (value(before, key), value(after, key))));
    both.filter(|(_, (before, after))| before != after).collect()
}
