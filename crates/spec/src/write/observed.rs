//! The `observed:` section of a snapshot.

use evenkeel_model::{Link, Owner};

use super::line;
use super::scalar::text;
use crate::observed::Observed;

pub(super) fn write(observed: &Observed, out: &mut String) {
    let Observed { addresses, links } = observed;
    out.push_str("\n# What was there beside the services. A spec ignores it.\nobserved:\n");
    if let Some(addresses) = addresses {
        line(out, format_args!("  addresses:{}", if addresses.is_empty() { " []" } else { "" }));
        for (binding, owner) in addresses {
            let owner = match owner {
                Owner::Evenkeel => "evenkeel",
                Owner::Other => "other",
            };
            let address = text(&format!("{}/{}", binding.address, binding.prefix));
            let interface = text(&binding.interface);
            line(
                out,
                format_args!(
                    "    - {{ address: {address}, interface: {interface}, owner: {owner} }}"
                ),
            );
        }
    }
    if let Some(links) = links {
        line(out, format_args!("  interfaces:{}", if links.is_empty() { " []" } else { "" }));
        for (name, Link { up, dummy }) in links {
            let name = text(name);
            line(out, format_args!("    - {{ name: {name}, up: {up}, dummy: {dummy} }}"));
        }
    }
    if addresses.is_none() && links.is_none() {
        out.push_str("  {}\n");
    }
}
