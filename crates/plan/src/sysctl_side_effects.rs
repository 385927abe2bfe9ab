//! Sysctls whose change makes the kernel rewrite others.
//!
//! `net.ipv4.ip_forward` is the same value as `net.ipv4.conf.all.forwarding`. A change of it sets the
//! `forwarding` of `default` and of every interface to the same value, and
//! `net.ipv4.conf.all.accept_redirects` to the opposite (`inet_forward_change`). A change of
//! `net.ipv6.conf.all.forwarding` sets the `forwarding` of `default` and of every interface
//! (`addrconf_fixup_forwarding`). So the state before is many values: the journal records all of them
//! before such a sysctl is set, and they are restored after it.

use std::collections::BTreeMap;

use evenkeel_model::{Binding, FORWARDING, FORWARDING_IPV6, Family};

/// A sysctl whose change makes the kernel rewrite others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MasterSysctl {
    /// `net.ipv4.ip_forward`.
    Ipv4Forwarding,
    /// `net.ipv6.conf.all.forwarding`.
    Ipv6Forwarding,
}

const IP_FORWARD: &str = FORWARDING[0];
const ALL_FORWARDING: &str = FORWARDING[1];
const ACCEPT_REDIRECTS: &str = "net.ipv4.conf.all.accept_redirects";

impl MasterSysctl {
    const ALL: [Self; 2] = [Self::Ipv4Forwarding, Self::Ipv6Forwarding];

    /// Returns its keys, of which the first is the one that the journal records.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Ipv4Forwarding => &FORWARDING,
            Self::Ipv6Forwarding => &[FORWARDING_IPV6],
        }
    }

    /// Returns the master that this key stands for; `None` for other sysctls.
    pub fn of(key: &str) -> Option<Self> {
        match key {
            IP_FORWARD | ALL_FORWARDING => Some(Self::Ipv4Forwarding),
            FORWARDING_IPV6 => Some(Self::Ipv6Forwarding),
            _ => None,
        }
    }

    /// Returns the master that rewrites this sysctl; `None` if there is none, and for masters.
    pub fn rewriting(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|master| master.rewrites(key))
    }

    /// Returns the key under which the journal records it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ipv4Forwarding => IP_FORWARD,
            Self::Ipv6Forwarding => FORWARDING_IPV6,
        }
    }

    /// Returns the directory below `/proc/sys/net` whose `conf` lists the interfaces.
    pub fn family(self) -> &'static str {
        match self {
            Self::Ipv4Forwarding => "ipv4",
            Self::Ipv6Forwarding => "ipv6",
        }
    }

    /// Returns the keys that it rewrites, for the interfaces of that directory as they are written
    /// in keys: `default`, and `eth0/100` for `eth0.100`.
    pub fn side_effects<'a>(
        self,
        interfaces: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = Box<str>> {
        let forwarding = move |name| format!("net.{}.conf.{name}.forwarding", self.family());
        let keys = interfaces.into_iter().map(forwarding).chain([ACCEPT_REDIRECTS.to_owned()]);
        keys.filter(move |key| self.rewrites(key)).map(Into::into)
    }

    /// Whether the kernel rewrites that sysctl when this one changes.
    pub(crate) fn rewrites(self, key: &str) -> bool {
        if Self::of(key).is_some() {
            return false;
        }
        let is_forwarding = || {
            let key = key.strip_prefix("net.")?.strip_prefix(self.family())?;
            key.strip_prefix(".conf.")?.strip_suffix(".forwarding")
        };
        match self {
            Self::Ipv4Forwarding => key == ACCEPT_REDIRECTS || is_forwarding().is_some(),
            Self::Ipv6Forwarding => is_forwarding().is_some(),
        }
    }

    /// Returns the value that the rewritten sysctl gets.
    pub(crate) fn rewritten(key: &str, value: &str) -> Box<str> {
        match key {
            ACCEPT_REDIRECTS if value == "0" => "1".into(),
            ACCEPT_REDIRECTS => "0".into(),
            _ => value.into(),
        }
    }
}

/// A sysctl of an interface, or of all of them: `net.ipv4.conf.eth0.arp_ignore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SysctlOfInterface<'a> {
    family: Family,
    /// As it is written in keys, with slashes in place of dots.
    interface: &'a str,
    /// The last part of its key.
    pub(crate) name: &'a str,
}

impl<'a> SysctlOfInterface<'a> {
    /// Returns what a key means; `None` if it is not one of an interface.
    pub(crate) fn of(key: &'a str) -> Option<Self> {
        let (family, rest) = [("net.ipv4.conf.", Family::Ipv4), ("net.ipv6.conf.", Family::Ipv6)]
            .into_iter()
            .find_map(|(prefix, family)| Some((family, key.strip_prefix(prefix)?)))?;
        let (interface, name) = rest.split_once('.')?;
        Some(Self { family, interface, name })
    }

    /// The interface; `None` if it is of all of them.
    pub(crate) fn device(&self) -> Option<String> {
        (self.interface != "all").then(|| self.interface.replace('/', "."))
    }

    /// Whether it applies to that address on that interface.
    pub(crate) fn concerns(&self, binding: &Binding) -> bool {
        let is_on = || self.interface.replace('/', ".") == *binding.interface;
        self.family == Family::from(binding.address) && (self.interface == "all" || is_on())
    }
}

/// Returns the key under which the journal records a sysctl: two keys of one value have one record.
pub fn recorded_key(key: &str) -> &str {
    match MasterSysctl::of(key) {
        Some(master) => master.key(),
        None => key,
    }
}

/// Returns the value of a sysctl under the key that is recorded of it, or another one of the same value.
pub(crate) fn value_of<'v, V>(sysctls: &'v BTreeMap<Box<str>, V>, recorded: &str) -> Option<&'v V> {
    match MasterSysctl::of(recorded) {
        // In the order of the keys.
        Some(master) => master.names().iter().rev().find_map(|name| sysctls.get(*name)),
        None => sysctls.get(recorded),
    }
}

/// Sets a sysctl as the kernel does, with its side effects on the sysctls that the map has.
pub(crate) fn write(sysctls: &mut BTreeMap<Box<str>, Box<str>>, key: &str, value: &str) {
    let before = sysctls.insert(key.into(), value.into());
    let Some(master) = MasterSysctl::of(key).filter(|_| before.as_deref() != Some(value)) else {
        return;
    };
    for (other, now) in sysctls.iter_mut() {
        if MasterSysctl::of(other) == Some(master) {
            *now = value.into();
        } else if master.rewrites(other) {
            *now = MasterSysctl::rewritten(other, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_rewrites_the_sysctls_of_its_family_except_for_other_names_of_itself() {
        let interfaces = ["all", "default", "eth0/100"];
        let ipv4: Vec<Box<str>> = MasterSysctl::Ipv4Forwarding.side_effects(interfaces).collect();
        let expected = [
            "net.ipv4.conf.default.forwarding",
            "net.ipv4.conf.eth0/100.forwarding",
            "net.ipv4.conf.all.accept_redirects",
        ];
        assert_eq!(ipv4, expected.map(Box::from));
        let ipv6: Vec<Box<str>> = MasterSysctl::Ipv6Forwarding.side_effects(interfaces).collect();
        let expected = ["net.ipv6.conf.default.forwarding", "net.ipv6.conf.eth0/100.forwarding"];
        assert_eq!(ipv6, expected.map(Box::from));
        for key in ["net.ipv4.conf.eth0.mc_forwarding", "net.ipv4.conf.eth0.accept_redirects"] {
            assert_eq!(MasterSysctl::rewriting(key), None, "{key}");
        }
    }

    #[test]
    fn both_names_of_ipv4_forwarding_have_one_value_and_one_record() {
        let mut sysctls: BTreeMap<Box<str>, Box<str>> =
            [IP_FORWARD, ALL_FORWARDING].map(|key| (key.into(), "0".into())).into();
        write(&mut sysctls, ALL_FORWARDING, "1");
        assert!(sysctls.values().all(|value| **value == *"1"));
        assert_eq!(recorded_key(ALL_FORWARDING), recorded_key(IP_FORWARD));
    }

    #[test]
    fn a_master_that_keeps_its_value_rewrites_nothing() {
        let before: BTreeMap<Box<str>, Box<str>> = [
            (IP_FORWARD.into(), "1".into()),
            ("net.ipv4.conf.eth0.forwarding".into(), "0".into()),
            (ACCEPT_REDIRECTS.into(), "1".into()),
        ]
        .into();
        let mut after = before.clone();
        write(&mut after, IP_FORWARD, "1");
        assert_eq!(after, before);
        write(&mut after, IP_FORWARD, "0");
        write(&mut after, IP_FORWARD, "1");
        assert_eq!(&*after["net.ipv4.conf.eth0.forwarding"], "1");
        assert_eq!(&*after[ACCEPT_REDIRECTS], "0");
    }
}
