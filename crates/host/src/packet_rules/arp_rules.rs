//! ARP rules that hide a VIP of a real server: packets that ask for it are dropped, and those that the host
//! sends with it as their source get another one. They are in the table `arp evenkeel` of nftables, or in
//! chains of arptables where the kernel or the host has no nftables for ARP.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tracing::debug;

use super::nftables::{self, Chain, Edit, Family, NewRule, Rule, Table};
use super::{ArpRulePart as Part, ArpRules, TablesUnavailable, arptables};
use crate::error::{Action, Error};
use crate::host::Host;

const INPUT: &str = "arp_input";
const OUTPUT: &str = "arp_output";
const CHAINS: [Chain; 2] = [
    Chain { name: INPUT, kind: "filter", hook: "input", priority: 0 },
    Chain { name: OUTPUT, kind: "filter", hook: "output", priority: 0 },
];

/// The rules of a host, and where it sets them.
struct Places {
    /// The table of nftables.
    table: Option<Table>,
    /// Whether there are chains of arptables.
    has_chains: bool,
    /// Whether rules are set with arptables.
    uses_arptables: bool,
}

impl Host {
    /// Lists the ARP rules of evenkeel by their VIPs. Rules that are both in nftables and in arptables have
    /// others: they are set again in one of them, and deleted in the other one.
    ///
    /// # Errors
    /// [`Error::TablesUnavailable`] where the host cannot have such rules; [`Error::NotPermitted`] without
    /// CAP_NET_ADMIN; [`Error::Program`] if a program fails otherwise.
    pub fn arp_rules(&self) -> Result<BTreeMap<Ipv4Addr, ArpRules>, Error> {
        let action = Action::List("ARP rules");
        self.check_namespace(action.clone())?;
        let places = places(&action)?;
        let mut found: BTreeMap<Ipv4Addr, ArpRules> = BTreeMap::new();
        for (vip, part) in places.table.iter().flat_map(|table| &table.rules).filter_map(decode) {
            part.add_to(found.entry(vip).or_default());
        }
        if places.has_chains {
            for (vip, rules) in arptables::read(&action)? {
                let is_twice = found.contains_key(&vip);
                let has_others = rules.has_others || is_twice;
                found.insert(vip, ArpRules { has_others, ..rules });
            }
        }
        Ok(found)
    }

    /// Sets the rules for a VIP, in place of those that evenkeel set for it.
    ///
    /// # Errors
    /// As [`Self::arp_rules`]; [`Error::TablesUnavailable`] also if another program has a table of evenkeel's
    /// name.
    pub fn set_arp_rules(&self, vip: Ipv4Addr, source: Ipv4Addr) -> Result<(), Error> {
        let action = Action::Add(object(vip));
        self.check_namespace(action.clone())?;
        let Places { table, uses_arptables, has_chains: _ } = places(&action)?;
        if uses_arptables {
            arptables::set(vip, source, &action)?;
            delete_from_table(table.as_ref(), vip, &action)?;
        } else {
            let deleted = rules_for(table.as_ref(), vip);
            let edit = Edit { deleted, added: rules(vip, source).into() };
            nftables::change(Family::Arp, &CHAINS, table.as_ref(), &edit, &action)?;
        }
        debug!(%vip, %source, "set the ARP rules");
        Ok(())
    }

    /// Deletes the rules for a VIP, and the table with the last ones.
    ///
    /// # Errors
    /// As [`Self::set_arp_rules`]; [`Error::Missing`] if evenkeel has no such rules.
    pub fn delete_arp_rules(&self, vip: Ipv4Addr) -> Result<(), Error> {
        let action = Action::Delete(object(vip));
        self.check_namespace(action.clone())?;
        let Places { table, has_chains, uses_arptables: _ } = places(&action)?;
        let in_table = delete_from_table(table.as_ref(), vip, &action)?;
        let in_chains = has_chains && arptables::delete(vip, &action)?;
        if !in_table && !in_chains {
            return Err(Error::Missing { object: object(vip) });
        }
        debug!(%vip, "deleted the ARP rules");
        Ok(())
    }
}

/// Deletes the rules for a VIP from the table of nftables. Returns whether there were any.
fn delete_from_table(table: Option<&Table>, vip: Ipv4Addr, action: &Action) -> Result<bool, Error> {
    let deleted = rules_for(table, vip);
    if deleted.is_empty() {
        return Ok(false);
    }
    let edit = Edit { deleted, added: Vec::new() };
    nftables::change(Family::Arp, &CHAINS, table, &edit, action)?;
    Ok(true)
}

/// The name in messages.
fn object(vip: Ipv4Addr) -> String {
    format!("arp rules {vip}")
}

/// Returns the rules of this host, and where it sets them: in arptables if it has chains there, as a host that
/// got nftables later; otherwise in nftables if kernel and host have it for ARP.
fn places(action: &Action) -> Result<Places, Error> {
    let has_chains = arptables::has_chains(action)?;
    let table = match nftables::read(Family::Arp, action) {
        Ok(Some(table)) if table.belongs_to_another_program(&CHAINS) => {
            Err(Error::TablesUnavailable {
                action: action.clone(),
                why: TablesUnavailable::OtherTable(Family::Arp.word()),
            })
        }
        read => read,
    };
    let table = match table {
        Ok(None) if !has_chains => {
            let example = rules(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
            nftables::check_support(Family::Arp, &CHAINS, &example, action).map(|()| None)
        }
        table => table,
    };
    let (table, uses_arptables) = match table {
        Ok(table) => (table, has_chains),
        Err(error @ Error::TablesUnavailable { .. }) => {
            let is_other = matches!(
                error,
                Error::TablesUnavailable { why: TablesUnavailable::OtherTable(_), .. }
            );
            if has_chains || !is_other && arptables::is_installed(action)? {
                (None, true)
            } else {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    };
    Ok(Places { table, has_chains, uses_arptables })
}

fn rules_for(table: Option<&Table>, vip: Ipv4Addr) -> Vec<&Rule> {
    let rules = table.into_iter().flat_map(|table| &table.rules);
    // Those that no longer show a VIP go with the next change.
    rules.filter(|rule| decode(rule).is_none_or(|(decoded, _)| decoded == vip)).collect()
}

fn field(name: &str) -> Value {
    json!({"payload": {"protocol": "arp", "field": name}})
}

fn rules(vip: Ipv4Addr, source: Ipv4Addr) -> [NewRule; 2] {
    let is =
        |name: &str| json!({"match": {"op": "==", "left": field(name), "right": vip.to_string()}});
    let dropped = json!([is("daddr ip"), {"drop": null}]);
    let mangle = json!({"mangle": {"key": field("saddr ip"), "value": source.to_string()}});
    let mangled = json!([is("saddr ip"), mangle]);
    [NewRule { chain: INPUT, statements: dropped }, NewRule { chain: OUTPUT, statements: mangled }]
}

/// Decodes a rule; `None` if it no longer shows the VIP.
fn decode(rule: &Rule) -> Option<(Ipv4Addr, Part)> {
    let mut vip = None;
    let mut part = None;
    let mut has_others = false;
    for statement in &rule.statements {
        let matched = &statement["match"];
        let mangle = &statement["mangle"];
        if matched["op"] == "=="
            && [field("daddr ip"), field("saddr ip")].contains(&matched["left"])
        {
            let is_incoming = matched["left"] == field("daddr ip");
            vip = address(&matched["right"]).map(|vip| (vip, is_incoming));
        } else if statement.get("drop").is_some_and(Value::is_null) {
            part = Some(Part::DropsIncoming);
        } else if mangle["key"] == field("saddr ip") {
            part = address(&mangle["value"]).map(Part::Source);
        } else {
            has_others = true;
        }
    }
    let (vip, is_incoming) = vip?;
    let part = match part {
        Some(Part::DropsIncoming) if is_incoming && rule.chain == INPUT => Part::DropsIncoming,
        Some(Part::Source(source)) if !is_incoming && rule.chain == OUTPUT => Part::Source(source),
        _ => Part::Other,
    };
    Some((vip, if has_others { Part::Other } else { part }))
}

fn address(value: &Value) -> Option<Ipv4Addr> {
    value.as_str()?.parse().ok()
}
