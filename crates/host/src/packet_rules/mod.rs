//! Packet rules of the kernel's firewall: those that hide VIPs from ARP, and source NAT.
//!
//! The programs `nft` and `arptables` read and change them. They run in the network namespace of the calling
//! thread, and evenkeel passes all values as arguments or as JSON, never through a shell.

mod arp_rules;
mod arptables;
mod nftables;
mod source_nat;

use std::fmt;
use std::net::Ipv4Addr;

pub(crate) use nftables::NAME as OWN_TABLE;
pub use source_nat::{SourceNat, SourceNatConnections, SourceNatRule, SourceNatService};

/// Why a host cannot have packet rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TablesUnavailable {
    /// The program that changes them is not installed.
    NoProgram(&'static str),
    /// The kernel has no tables of that family: `ip`, `ip6` or `arp`.
    NoKernelSupport(&'static str),
    /// Another program has a table of evenkeel's name in that family.
    OtherTable(&'static str),
}

impl fmt::Display for TablesUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(program) => {
                let package = if *program == "nft" { "nftables" } else { program };
                write!(f, "the program {program} is not installed; install the package {package}")
            }
            Self::NoKernelSupport(family) => {
                let option = match *family {
                    "ip" => "CONFIG_NF_TABLES_IPV4, CONFIG_NFT_CT and CONFIG_NFT_MASQ",
                    "ip6" => "CONFIG_NF_TABLES_IPV6, CONFIG_NFT_CT and CONFIG_NFT_MASQ",
                    _ => "CONFIG_NF_TABLES_ARP",
                };
                write!(
                    f,
                    "the kernel has no nftables for these rules in the family {family}; use a kernel with {option}"
                )
            }
            Self::OtherTable(family) => write!(
                f,
                "another program has a table `{family} {0}`; rename that one, or delete it with `nft \
                 delete table {family} {0}` if nothing needs it",
                nftables::NAME
            ),
        }
    }
}

/// The rules for one VIP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArpRules {
    /// Whether incoming packets for the VIP are dropped.
    pub drops_incoming: bool,
    /// The source address that outgoing packets get in place of the VIP; `None` without such a rule.
    pub source: Option<Ipv4Addr>,
    /// Whether there are further rules, or parts of them, that another program added to those of evenkeel.
    pub has_others: bool,
}

/// What one rule does for a VIP.
enum ArpRulePart {
    DropsIncoming,
    Source(Ipv4Addr),
    Other,
}

impl ArpRulePart {
    fn add_to(self, rules: &mut ArpRules) {
        match self {
            Self::DropsIncoming => rules.drops_incoming = true,
            Self::Source(source) if rules.source.is_none_or(|it| it == source) => {
                rules.source = Some(source);
            }
            Self::Source(_) | Self::Other => rules.has_others = true,
        }
    }
}
