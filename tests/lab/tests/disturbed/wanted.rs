//! Compares the host with a spec, by `ipvsadm` and `ip`.

use std::collections::BTreeSet;

use evenkeel_lab_tests::{ipvsadm, run};
use evenkeel_spec::{Source, load};

use super::fixture::{ADDRESSES, FOREIGN_SERVICE};

/// What a spec, with the objects of other programs, makes of the host.
pub(crate) struct Wanted {
    table: BTreeSet<String>,
    /// The addresses of eth0, with their prefixes.
    addresses: BTreeSet<String>,
}

impl Wanted {
    /// Reads a valid spec.
    pub(crate) fn by(text: &str) -> Self {
        let desired = load(&[Source::new("spec.yaml", text.as_bytes().to_vec())]).unwrap().desired;
        let table = desired.services.iter().map(|(key, named)| (*key, named.service.clone()));
        let mut table = ipvsadm::saved(&table.collect());
        table.extend(FOREIGN_SERVICE.lines().map(str::to_owned));
        let vips = desired.vips.keys().map(|vip| format!("{}/{}", vip.address, vip.prefix));
        Self { table, addresses: vips.chain(ADDRESSES.map(str::to_owned)).collect() }
    }

    /// Returns how the host differs; nothing if it is as wanted.
    pub(crate) fn differences(&self) -> Vec<String> {
        let shown = run("ip -o address show dev eth0");
        let addresses = shown.lines().filter_map(|line| line.split_whitespace().nth(3));
        // The kernel's own are none of the spec's.
        let addresses = addresses.filter(|address| !address.starts_with("fe80:"));
        let mut all = differences(&self.table, &ipvsadm::save());
        all.extend(differences(&self.addresses, &addresses.map(str::to_owned).collect()));
        all
    }
}

fn differences(wanted: &BTreeSet<String>, found: &BTreeSet<String>) -> Vec<String> {
    let missing = wanted.difference(found).map(|line| format!("missing: {line}"));
    missing.chain(found.difference(wanted).map(|line| format!("too much: {line}"))).collect()
}
