//! Resolves the sysctls of all sources.

use std::collections::BTreeMap;

use crate::path::{At, Path};
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{Spec, SysctlValue};
use crate::suggest::quote;

pub(crate) fn merge(
    sources: &[(At<'_>, &Spec)],
    diagnostics: &mut Diagnostics,
) -> BTreeMap<Box<str>, Box<str>> {
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
    sysctls
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
    (!is_key).then_some(
        "write one such as net.ipv4.ip_forward; a dot in the name of an interface is written `/`",
    )
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
}
