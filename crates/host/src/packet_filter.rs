//! Reads the rules of iptables, in either of its forms, without loading a module.

use std::fs;
use std::io;
use std::process::Command;

use rtnetlink::packet_core::NlasIterator;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use crate::error::{Action, Error};
use crate::module::modules;
use crate::netlink::{Netlink, text, uninterrupted};
use crate::packet_rules::OWN_TABLE;
use crate::program;

/// `NFT_MSG_GETTABLE` of the subsystem nf_tables, its header `struct nfgenmsg`, and `NFTA_TABLE_NAME`.
const GET_TABLES: u16 = 10 << 8 | 1;
const HEADER: usize = 4;
const TABLE_NAME: u16 = 1;
/// `NFPROTO_UNSPEC` for every family, `NFPROTO_INET` for both, `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const ANY: u8 = 0;
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The tables that iptables has; other programs of nftables name theirs differently.
const OF_IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

/// What iptables-nft-save says of a table with rules or chains that iptables does not know, in place of them.
const INCOMPATIBLE: &str = "use 'nft' tool";

/// The rules of one family that may concern packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketFilter {
    /// All of them, as iptables-save writes them; empty if there are none.
    Rules(Vec<String>),
    /// There are rules that cannot be read.
    NotRead {
        /// Why, as a clause without a full stop.
        reason: String,
    },
}

/// Reads the rules of one family in the calling thread's network namespace. Needs CAP_NET_ADMIN, and
/// iptables-save if there are rules.
///
/// # Errors
/// The kernel cannot be read.
pub fn packet_filter(is_ipv6: bool) -> Result<PacketFilter, Error> {
    let program = if is_ipv6 { "ip6tables" } else { "iptables" };
    let mut all = Vec::new();
    match has_legacy_tables(is_ipv6)? {
        Some(false) => {}
        Some(true) => match saved(program, "legacy") {
            Ok(rules) => all.extend(rules),
            Err(reason) => return Ok(PacketFilter::NotRead { reason }),
        },
        None => {
            let reason = format!("which tables {program} has can be read only as root");
            return Ok(PacketFilter::NotRead { reason });
        }
    }
    let own = if is_ipv6 { IPV6 } else { IPV4 };
    let tables = nft_tables()?;
    let is_of_iptables = |it: &&Table| it.family == own && OF_IPTABLES.contains(&it.name.as_str());
    // Those of bridges, ARP and interfaces decide nothing about connections, and those of evenkeel are for
    // full NAT alone.
    let concerns = |it: &&Table| [own, INET].contains(&it.family) && it.name != OWN_TABLE;
    if let Some(other) = tables.iter().filter(concerns).find(|it| !is_of_iptables(it)) {
        let reason =
            format!("the rules of nftables are not read, such as those of table {}", other.name);
        return Ok(PacketFilter::NotRead { reason });
    }
    if tables.iter().any(|table| is_of_iptables(&table)) {
        match saved(program, "nft") {
            Ok(rules) => all.extend(rules),
            Err(reason) => return Ok(PacketFilter::NotRead { reason }),
        }
    }
    Ok(PacketFilter::Rules(all))
}

/// Whether the older form of iptables has tables; `None` if the process may not know. Without the file there
/// are none, in this namespace or in any: the program would load their modules.
fn has_legacy_tables(is_ipv6: bool) -> Result<Option<bool>, Error> {
    let name = if is_ipv6 { "ip6_tables_names" } else { "ip_tables_names" };
    let path = format!("/proc/thread-self/net/{name}");
    match fs::read_to_string(&path) {
        Ok(names) => Ok(Some(!names.trim().is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(false)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(source) => Err(Error::Read { path: path.into(), source }),
    }
}

/// A table of nf_tables.
struct Table {
    family: u8,
    name: String,
}

/// Lists the tables of nf_tables; none unless its module is there already.
fn nft_tables() -> Result<Vec<Table>, Error> {
    if !modules("nf_tables")?.contains("nf_tables") {
        return Ok(Vec::new());
    }
    let action = || Action::List("tables of nftables");
    let netlink = Netlink::open(NETLINK_NETFILTER).map_err(Error::Connect)?;
    let payloads = uninterrupted(|| netlink.dump_raw(GET_TABLES, &[ANY, 0, 0, 0]));
    let payloads = payloads.map_err(|failure| failure.during(action()))?;
    let decoded = payloads.iter().map(|payload| Table::decode(payload));
    decoded.collect::<Result<_, _>>().map_err(|what| Error::Malformed { action: action(), what })
}

impl Table {
    /// Reads the payload of an `NFT_MSG_NEWTABLE`.
    fn decode(payload: &[u8]) -> Result<Self, String> {
        let (header, attributes) =
            payload.split_first_chunk::<HEADER>().ok_or("a table is cut short")?;
        let mut name = None;
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attribute.kind() == TABLE_NAME {
                name = Some(text(attribute.value()));
            }
        }
        Ok(Self { family: header[0], name: name.ok_or("a table has no name")? })
    }
}

/// Runs iptables-save of one form, and returns the lines of rules, or why that is not possible. A program
/// without a form in its name has either.
fn saved(program: &str, form: &str) -> Result<Vec<String>, String> {
    let names = [format!("{program}-{form}-save"), format!("{program}-save")];
    for name in &names {
        let Some(path) = program::find(name) else { continue };
        let output = program::run(&mut Command::new(path), &[])
            .map_err(|error| format!("{name} cannot be run: {error}"))?;
        if !output.succeeded {
            return Err(format!("{name} failed: {}", output.message));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        if is_of_form(&text, form) {
            return rules(&text);
        }
    }
    Err(format!("there are tables of iptables, and {} is not installed", names[0]))
}

/// Whether a listing is of this form, as its first line says.
fn is_of_form(text: &str, form: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let is_nft = first.contains("(nf_tables)") || first.contains(INCOMPATIBLE);
    is_nft == (form == "nft")
}

/// The lines without comments. A table that nft itself made may have rules that iptables cannot show: it then
/// shows none of them, and succeeds.
fn rules(text: &str) -> Result<Vec<String>, String> {
    let (comments, rules): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with('#'));
    match comments.iter().find(|line| line.contains(INCOMPATIBLE)) {
        Some(_) => {
            Err("the rules of nftables are not read, such as those of a table that iptables \
                        cannot show"
                .to_owned())
        }
        None => Ok(rules.into_iter().map(str::to_owned).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_says_of_which_form_it_is() {
        let nft =
            "# Generated by iptables-nft-save v1.8.9 (nf_tables) on Mon\n*filter\nCOMMIT\n# end\n";
        let legacy = "# Generated by iptables-save v1.8.9 on Mon\n*nat\nCOMMIT\n";
        assert!(is_of_form(nft, "nft") && !is_of_form(nft, "legacy"));
        assert!(is_of_form(legacy, "legacy") && !is_of_form(legacy, "nft"));
        assert_eq!(rules(nft).unwrap(), ["*filter", "COMMIT"]);
    }

    /// iptables-nft-save v1.8.9 writes it, with status 0, before or between the tables that it can show.
    #[test]
    fn a_table_that_iptables_cannot_show_is_not_taken_for_an_empty_one() {
        let shown = "# Generated by iptables-nft-save v1.8.9 (nf_tables) on Mon\n*filter\nCOMMIT\n";
        for incompatible in [
            "# Table `nat' is incompatible, use 'nft' tool.\n",
            "# Table `nat' contains incompatible base-chains, use 'nft' tool to list them.\n",
        ] {
            for text in [
                incompatible.to_owned(),
                format!("{incompatible}{shown}"),
                format!("{shown}{incompatible}"),
            ] {
                assert!(is_of_form(&text, "nft") && !is_of_form(&text, "legacy"), "{text}");
                let reason = rules(&text).unwrap_err();
                assert!(reason.starts_with("the rules of nftables are not read"), "{reason}");
            }
        }
    }

    #[test]
    fn a_table_has_a_family_and_a_name() {
        let payload = [1, 0, 0, 0, 8, 0, 1, 0, b'm', b'i', b'x', 0];
        let table = Table::decode(&payload).unwrap();
        assert_eq!((table.family, &*table.name), (INET, "mix"));
        assert!(Table::decode(&payload[..3]).is_err());
        assert!(Table::decode(&payload[..4]).is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let reason = saved("no-such-tables", "legacy").unwrap_err();
        assert_eq!(
            reason,
            "there are tables of iptables, and no-such-tables-legacy-save is not installed"
        );
    }
}
