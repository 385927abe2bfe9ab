//! Specs, valid and invalid, each a small change of the one before.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use evenkeel_lab_tests::dice::TestRng;

/// The largest number of services.
const SLOTS: usize = 40;

/// From this number on every service has a VIP of its own, which is added and removed with it.
const OWN_VIP: usize = 32;

/// The VIP of every spec, which another program may unbind.
pub(crate) const VIP: &str = "192.0.2.1";

const VIPS: [&str; 4] = [VIP, "192.0.2.2", "192.0.2.3", "2001:db8::1"];
/// The end mark of a file, with its line.
const END: &str = "...\n";

const SCHEDULERS: [&str; 8] = ["rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "mh"];

/// The intended kind of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Good,
    /// Not valid YAML.
    Syntax,
    /// Has an unknown key.
    UnknownKey,
    /// The last good spec, truncated somewhere.
    Cut,
    /// A service would lose all its weights, if it exists.
    NoServer,
}

/// Generates one text after the other.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    rng: TestRng,
    number: usize,
    services: BTreeMap<usize, Service>,
    /// VIPs with a service each that all versions have.
    fixed: Vec<IpAddr>,
    last_good: String,
}

#[derive(Debug, Clone)]
struct Service {
    scheduler: &'static str,
    persistence: Option<usize>,
    drain: &'static str,
    /// Weights by numbers.
    real_servers: BTreeMap<usize, usize>,
}

impl Writer {
    /// Creates it. All versions have the `fixed` VIPs, in scope, with a service each, and their files have an end
    /// mark, so that one that is cut does not take them away.
    pub(crate) fn new(rng: TestRng, fixed: &[IpAddr]) -> Self {
        let (last_good, fixed) = (String::new(), fixed.to_vec());
        let mut this = Self { rng, number: 0, services: BTreeMap::new(), fixed, last_good };
        this.roll();
        this
    }

    /// Returns a valid spec.
    pub(crate) fn good(&mut self) -> String {
        self.number += 1;
        if self.rng.percent(4) {
            self.roll();
        }
        for _ in 0..self.rng.between(1, 4) {
            self.change();
        }
        self.last_good = text(self.number, &self.services, &self.fixed);
        self.last_good.clone()
    }

    /// Returns a spec of any kind.
    pub(crate) fn next(&mut self) -> (Kind, String) {
        let kind = match self.rng.below(100) {
            _ if self.last_good.is_empty() => Kind::Good,
            0..70 => Kind::Good,
            70..78 => Kind::Syntax,
            78..86 => Kind::UnknownKey,
            86..92 => Kind::Cut,
            _ => Kind::NoServer,
        };
        (kind, self.of(kind))
    }

    fn of(&mut self, kind: Kind) -> String {
        if kind == Kind::Good {
            return self.good();
        }
        self.number += 1;
        let number = self.number;
        let open = self.last_good.strip_suffix(END).unwrap_or(&self.last_good);
        match kind {
            // The number occurs in the excerpt, so that no two reports are the same.
            Kind::Syntax => format!("{open}  - bad-{number}: {number}: 1\n"),
            Kind::UnknownKey => format!("{open}unknown_{number}: 1\n"),
            Kind::Cut => {
                let length = self.rng.between(1, self.last_good.len() - 1);
                self.last_good[..length].to_owned()
            }
            Kind::NoServer | Kind::Good => {
                let mut services = self.services.clone();
                let slots: Vec<usize> = services.keys().copied().collect();
                let slot = self.rng.one_of(&slots);
                if let Some(service) = services.get_mut(slot) {
                    service.real_servers.values_mut().for_each(|weight| *weight = 0);
                }
                text(number, &services, &self.fixed)
            }
        }
    }

    /// Generates all services anew, few or many.
    fn roll(&mut self) {
        let share = self.rng.between(15, 95);
        self.services.clear();
        for slot in 0..SLOTS {
            if self.rng.percent(share) {
                let service = self.service();
                self.services.insert(slot, service);
            }
        }
        while self.services.len() < 5 {
            let (slot, service) = (self.rng.below(SLOTS), self.service());
            self.services.insert(slot, service);
        }
    }

    fn change(&mut self) {
        let slot = self.rng.below(SLOTS);
        let comes_or_goes = self.rng.percent(50);
        if !self.services.contains_key(&slot) || !comes_or_goes {
            let service = self.service();
            self.services.insert(slot, service);
        } else if self.services.len() > 5 {
            self.services.remove(&slot);
        }
    }

    fn service(&mut self) -> Service {
        let rng = &mut self.rng;
        let mut real_servers = BTreeMap::new();
        for _ in 0..rng.between(1, 4) {
            real_servers.insert(rng.between(1, 8), rng.below(6));
        }
        // A spec that takes all weights from a service is held; only `NoServer` may do that.
        let first = real_servers.keys().next().copied().unwrap_or(1);
        real_servers.insert(first, rng.between(1, 5));
        Service {
            scheduler: SCHEDULERS[rng.below(SCHEDULERS.len())],
            persistence: rng.percent(20).then(|| rng.between(1, 600)),
            drain: if rng.percent(20) { "1s" } else { "0s" },
            real_servers,
        }
    }
}

fn own_vip(slot: usize) -> String {
    format!("192.0.2.{}", 100 + slot)
}

fn text(number: usize, services: &BTreeMap<usize, Service>, fixed: &[IpAddr]) -> String {
    let mut text = format!(
        "# {number}\nversion: 1\nscope: {{ vips: [192.0.2.0/24, '2001:db8::/32'], fwmarks: [1-99] }}\n\
         guards: {{ mass_delete: off }}\nvips:\n"
    );
    let own = services.range(OWN_VIP..).map(|(slot, _)| own_vip(*slot));
    let fixed_vips = fixed.iter().map(IpAddr::to_string);
    for vip in VIPS.map(str::to_owned).into_iter().chain(fixed_vips).chain(own) {
        writeln!(text, "  - {{ address: '{vip}', interface: eth0 }}").unwrap();
    }
    text.push_str("services:\n");
    for (slot, service) in services {
        let Service { scheduler, persistence, drain, real_servers } = service;
        let mut is_ipv6 = false;
        let key = match slot {
            OWN_VIP.. => format!("vip: {}, port: 80", own_vip(*slot)),
            _ if slot % 8 == 7 => format!("fwmark: {}, family: ipv4", slot + 1),
            _ => {
                let vip = VIPS[slot % 4];
                is_ipv6 = vip.contains(':');
                let protocol = if slot % 3 == 0 { "udp" } else { "tcp" };
                format!("vip: '{vip}', port: {}, protocol: {protocol}", 8000 + slot)
            }
        };
        write!(text, "  - {{ name: s{slot}, {key}, scheduler: {scheduler}, drain: {drain}")
            .unwrap();
        // Without the flag a drain with these schedulers is an error.
        if matches!(*scheduler, "sh" | "mh") {
            write!(text, ", scheduler_flags: [{scheduler}-fallback]").unwrap();
        }
        if let Some(seconds) = persistence {
            write!(text, ", persistence: {{ timeout: {seconds}s }}").unwrap();
        }
        text.push_str(", real_servers: [");
        let begin = if is_ipv6 { "2001:db8:1::" } else { "10.0.0." };
        for (number, weight) in real_servers {
            write!(text, " {{ address: '{begin}{number}', weight: {weight} }},").unwrap();
        }
        text.push_str(" ] }\n");
    }
    for (number, vip) in fixed.iter().enumerate() {
        let begin = if vip.is_ipv6() { "2001:db8:1::" } else { "10.0.0." };
        writeln!(
            text,
            "  - {{ name: fixed-{number}, vip: '{vip}', port: 80, drain: 0s, \
             real_servers: [ {{ address: '{begin}1' }}, {{ address: '{begin}2' }} ] }}"
        )
        .unwrap();
    }
    if !fixed.is_empty() {
        text.push_str(END);
    }
    text
}

#[cfg(test)]
mod tests {
    use evenkeel_spec::{Source, load};

    use super::*;

    fn is_good(text: &str) -> bool {
        load(&[Source::new("spec.yaml", text.as_bytes().to_vec())]).is_ok()
    }

    #[test]
    fn versions_are_of_the_intended_kind_and_differ_from_each_other() {
        assert_versions(&[]);
        assert_versions(&["192.0.2.151".parse().unwrap(), "2001:db8::100".parse().unwrap()]);
    }

    fn assert_versions(fixed: &[IpAddr]) {
        let mut writer = Writer::new(TestRng::new(1), fixed);
        let mut before = writer.good();
        let mut sizes = Vec::new();
        let mut kinds = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let (kind, text) = writer.next();
            assert_ne!(text, before);
            match kind {
                Kind::Good | Kind::NoServer => assert!(is_good(&text), "{text}"),
                Kind::Syntax | Kind::UnknownKey => assert!(!is_good(&text), "{text}"),
                Kind::Cut => {}
            }
            if kind == Kind::Good {
                sizes.push(text.matches("name:").count() - fixed.len());
            }
            kinds.insert(kind);
            before = text;
        }
        assert_eq!(kinds.len(), 5);
        assert!(sizes.iter().all(|size| (5..=SLOTS).contains(size)), "{sizes:?}");
        assert!(sizes.iter().any(|size| *size < 12) && sizes.iter().any(|size| *size > 30));
    }
}
