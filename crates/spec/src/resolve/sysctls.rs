//! Resolves the sysctls of all sources.

use std::collections::BTreeMap;

use evenkeel_model::{CONNECTION_TRACKING, FORWARDING, HostObject, HostObjectKind, HostValue};

use crate::path::{At, Path};
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{Spec, SysctlValue};
use crate::suggest::quote;

pub(crate) fn merge(sources: &[(At<'_>, &Spec)], diagnostics: &mut Diagnostics) -> Sysctls {
    let mut sysctls = BTreeMap::new();
    let mut written: BTreeMap<&str, Path> = BTreeMap::new();
    for (root, spec) in sources {
        let at = root.key("sysctls");
        for (key, field) in spec.sysctls.value().into_iter().flat_map(|all| &all.0) {
            let at = at.named(key);
            if let Some(first) = written.get(&**key) {
                diagnostics
                    .error(&at, format!("the sysctl {} is written twice", quote(key)))
                    .at_key()
                    .remedy("keep one of them")
                    .related(first.clone(), "first written here");
                continue;
            }
            written.insert(key, at.path());
            if let Some(remedy) = refused(key) {
                let message = format!("{} is not a sysctl that a spec can set", quote(key));
                diagnostics.error(&at, message).at_key().remedy(remedy);
            } else if let Some(SysctlValue(value)) = field.value() {
                sysctls.insert(key.clone(), value.clone());
                diagnostics.origin(SpecObject::Sysctl(key.clone()), || at.path());
            }
        }
    }
    if let [Some(first), Some(second)] = FORWARDING.map(|key| written.get(key))
        && let [Some(value), Some(other)] = FORWARDING.map(|key| sysctls.get(key))
        && value != other
    {
        let [key, same] = FORWARDING;
        let message =
            format!("{same} is the same setting as {key}, and they have different values");
        diagnostics
            .error(second.clone(), message)
            .remedy("keep one of them")
            .related(first.clone(), "written here");
    }
    Sysctls { values: sysctls, connection_tracking: written.remove(CONNECTION_TRACKING) }
}

/// The sysctls that a spec names.
pub(crate) struct Sysctls {
    /// Their values.
    pub(crate) values: BTreeMap<Box<str>, Box<str>>,
    /// Where [`CONNECTION_TRACKING`] is written.
    connection_tracking: Option<Path>,
}

impl Sysctls {
    /// Reports a value with which source NAT does nothing.
    pub(crate) fn check_connection_tracking(
        &self,
        host_objects: &BTreeMap<HostObject, HostValue>,
        diagnostics: &mut Diagnostics,
    ) {
        let mut objects = host_objects.keys();
        let source_nat = objects.find(|it| it.kind() == HostObjectKind::SourceNat);
        let is_off = self.values.get(CONNECTION_TRACKING).is_some_and(|value| **value == *"0");
        let (Some(object), true, Some(at)) = (source_nat, is_off, &self.connection_tracking) else {
            return;
        };
        let real_server = diagnostics.origin_of(&SpecObject::Host(object.clone()));
        diagnostics
            .error(at.clone(), format!("`forward: fullnat` needs {CONNECTION_TRACKING}=1"))
            .remedy("remove it here: evenkeel sets it to 1")
            .related(real_server, "a real server under full NAT");
    }
}

/// How to correct a key that cannot be a sysctl's; `None` if it is valid. Each part after a dot is
/// the name of a file or directory below /proc/sys. A slash in it stands for a dot, as in
/// sysctl(8), so a part without a letter or digit could lead elsewhere.
fn refused(key: &str) -> Option<&'static str> {
    let mut parts = key.split('.');
    if key.starts_with("net/") {
        return Some("separate its parts by dots: net.ipv4.ip_forward");
    }
    if parts.next() != Some("net") {
        return Some("only sysctls of the network can be set: their keys begin with `net.`");
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let all = |byte: u8| letter(byte) || matches!(byte, b'-' | b'@' | b'+' | b'/');
    let is_name = |part: &str| part.bytes().all(all) && part.bytes().any(letter);
    let mut rest = parts.peekable();
    let is_key = rest.peek().is_some() && rest.all(is_name) && key.len() <= 255;
    if !is_key {
        return Some(
            "write one such as net.ipv4.ip_forward; a dot in the name of an interface is written `/`",
        );
    }
    unusable(key)
}

/// Why no kernel has a sysctl of that key that can be read and set; `None` where only the host shows that.
fn unusable(key: &str) -> Option<&'static str> {
    let parts: Vec<&str> = key.split('.').skip(1).collect();
    match *parts {
        ["ipv6", "vs", ..] => Some(
            "the sysctls of IPVS are below net.ipv4.vs, for both families; write the key of one of those",
        ),
        [
            "core" | "ipv4" | "ipv6" | "netfilter" | "unix" | "bridge" | "mptcp" | "sctp" | "mpls"
            | "smc" | "ieee802154" | "vsock",
        ]
        | ["ipv4" | "ipv6", "conf" | "neigh" | "route"]
        | ["mpls", "conf"]
        | ["ipv4", "vs"]
        | ["ipv6", "icmp"]
        | ["netfilter", "nf_log"]
        | ["ipv4" | "ipv6", "conf" | "neigh", _]
        | ["mpls", "conf", _] => {
            Some("it is a directory of sysctls; write the key of one below it")
        }
        ["ipv4" | "ipv6", "route", "flush"] => Some(
            "it is a command to the kernel, which shows no value; remove it, and run `ip route flush \
             cache` where that is needed",
        ),
        ["ipv4" | "ipv6", "conf", _, "mc_forwarding"] => Some(
            "the kernel only shows it: a program that routes multicast sets it; remove it, and start that program",
        ),
        ["netfilter", "nf_conntrack_count"]
        | ["core", "netdev_rss_key"]
        | ["mptcp", "available_schedulers" | "available_path_managers"]
        | [
            "ipv4",
            "tcp_available_congestion_control"
            | "tcp_available_ulp"
            | "tcp_ehash_entries"
            | "udp_hash_entries",
        ] => Some("the kernel only shows it, and it cannot be set; remove it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_names_below_net_and_leads_nowhere_else() {
        for good in [
            "net.ipv4.ip_forward",
            "net.nf_conntrack_max",
            "net.ipv4.conf.eth0/100.rp_filter",
            "net.ipv6.conf.br-12@x+y.disable_ipv6",
        ] {
            assert_eq!(refused(good), None, "{good}");
        }
        for bad in [
            "",
            "net",
            "net.",
            "net..x",
            "net.x.",
            "net.//.//.kernel.panic",
            "net./.x",
            "net/ipv4/ip_forward",
            "kernel.panic",
            "vm.net.x",
            "net.ipv4.ip forward",
            "net.ipv4.ip_forward\n",
            "net.ü",
        ] {
            assert!(refused(bad).is_some(), "{bad}");
        }
        assert!(refused(&format!("net.{}", "x".repeat(252))).is_some());
    }

    #[test]
    fn what_no_kernel_can_read_and_set_is_refused() {
        for bad in [
            "net.ipv4",
            "net.ipv4.vs",
            "net.ipv6.conf",
            "net.ipv4.conf.eth0/100",
            "net.ipv4.route.flush",
            "net.ipv6.route.flush",
            "net.netfilter.nf_conntrack_count",
            "net.ipv4.tcp_available_congestion_control",
            "net.ipv4.tcp_ehash_entries",
            "net.ipv4.conf.eth0/100.mc_forwarding",
            "net.ipv6.conf.all.mc_forwarding",
            "net.ipv6.vs.conntrack",
        ] {
            assert!(refused(bad).is_some(), "{bad}");
        }
        for good in ["net.ipv4.vs.conntrack", "net.ipv4.route.max_size", "net.ipv6.conf.lo.mtu"] {
            assert_eq!(refused(good), None, "{good}");
        }
    }
}
