//! ARP rules in chains of evenkeel in the table `filter` of arptables, for kernels without nftables for ARP.
//!
//! The program prints rules only as text. The chains are evenkeel's by their names, as rules have no comment.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{ArpRulePart as Part, ArpRules, TablesUnavailable};
use crate::capability::Capability;
use crate::error::{Action, Error};
use crate::program;

/// What the program says if another one changed the table since it read it: it replaces the table as a whole.
const CHANGED_MEANWHILE: &str = "Resource temporarily unavailable";
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

const PROGRAMS: [&str; 2] = ["arptables-legacy", "arptables"];
const INPUT: &str = "evenkeel-input";
const OUTPUT: &str = "evenkeel-output";
/// The chains with those of the kernel that lead to them.
const CHAINS: [(&str, &str); 2] = [("INPUT", INPUT), ("OUTPUT", OUTPUT)];

/// Whether the program is there.
pub(super) fn is_installed(action: &Action) -> Result<bool, Error> {
    installed(action).map(|found| found.is_some())
}

/// Whether the table has chains of evenkeel.
pub(super) fn has_chains(action: &Action) -> Result<bool, Error> {
    if !has_table() || !is_installed(action)? {
        return Ok(false);
    }
    let listed = listed(action)?;
    Ok(CHAINS.iter().any(|(_, chain)| listed.has_chain(chain)))
}

/// Reads the rules by their VIPs.
pub(super) fn read(action: &Action) -> Result<BTreeMap<Ipv4Addr, ArpRules>, Error> {
    let mut found: BTreeMap<Ipv4Addr, ArpRules> = BTreeMap::new();
    let listed = listed(action)?;
    for (chain, rule) in listed.rules() {
        if let Some((vip, part)) = decode(chain, rule) {
            part.add_to(found.entry(vip).or_default());
        }
    }
    // Without the way to a chain its rules do nothing.
    for rules in found.values_mut() {
        rules.drops_incoming &= listed.leads_to(INPUT);
        rules.source = rules.source.filter(|_| listed.leads_to(OUTPUT));
    }
    Ok(found)
}

/// Sets the rules for a VIP. New ones are there before old ones are deleted. A chain gets its rule before
/// anything leads to it, so that a reading finds what an interrupted call has left.
pub(super) fn set(vip: Ipv4Addr, source: Ipv4Addr, action: &Action) -> Result<(), Error> {
    let before = listed(action)?;
    let (vip_text, source) = (vip.to_string(), source.to_string());
    let drops: &[&str] = &["-d", &vip_text, "-j", "DROP"];
    let mangles: &[&str] = &["-s", &vip_text, "-j", "mangle", "--mangle-ip-s", &source];
    for (chain, rule) in [(INPUT, drops), (OUTPUT, mangles)] {
        if !before.has_chain(chain) {
            run(&["-N", chain], action)?;
        }
        run(&[&["-A", chain], rule].concat(), action)?;
    }
    for (from, chain) in CHAINS {
        if !before.leads_to(chain) {
            run(&["-A", from, "-j", chain], action)?;
        }
    }
    delete_rules(&before, vip, action).map(drop)
}

/// Deletes the rules for a VIP, and the chains with the last ones. Returns whether there were any.
pub(super) fn delete(vip: Ipv4Addr, action: &Action) -> Result<bool, Error> {
    if !delete_rules(&listed(action)?, vip, action)? {
        return Ok(false);
    }
    let left = listed(action)?;
    if left.rules().next().is_none() {
        for (from, chain) in CHAINS {
            for _ in 0..left.jumps_to(chain) {
                run(&["-D", from, "-j", chain], action)?;
            }
            if left.has_chain(chain) {
                run(&["-X", chain], action)?;
            }
        }
    }
    Ok(true)
}

fn delete_rules(listed: &Listed, vip: Ipv4Addr, action: &Action) -> Result<bool, Error> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut deleted = false;
    for (chain, rule) in listed.rules() {
        let place = places.entry(chain).or_insert(1);
        if decode(chain, rule).is_some_and(|(decoded, _)| decoded == vip) {
            // The following rules move up.
            run(&["-D", chain, &place.to_string()], action)?;
            deleted = true;
        } else {
            *place += 1;
        }
    }
    Ok(deleted)
}

/// The rules as the program prints them, by chain.
#[derive(Debug, Default)]
struct Listed(BTreeMap<String, Vec<String>>);

impl Listed {
    fn parse(text: &str) -> Self {
        let mut chains = BTreeMap::new();
        let mut rules: Option<&mut Vec<String>> = None;
        for line in text.lines().map(str::trim) {
            if let Some(chain) = line.strip_prefix("Chain ") {
                let name = chain.split(' ').next().unwrap_or_default().to_owned();
                rules = Some(chains.entry(name).or_default());
            } else if let (Some(rules), false) = (&mut rules, line.is_empty()) {
                rules.push(line.to_owned());
            }
        }
        Self(chains)
    }

    /// The rules of evenkeel's chains.
    fn rules(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let of = |chain: &'static str| {
            self.0.get(chain).into_iter().flatten().map(move |it| (chain, &**it))
        };
        of(INPUT).chain(of(OUTPUT))
    }

    fn has_chain(&self, chain: &str) -> bool {
        self.0.contains_key(chain)
    }

    fn leads_to(&self, chain: &str) -> bool {
        self.jumps_to(chain) > 0
    }

    /// Returns how many rules lead all packets to a chain: another program may have added one again.
    fn jumps_to(&self, chain: &str) -> usize {
        let from = CHAINS.iter().find(|(_, it)| *it == chain).map(|(from, _)| *from);
        let rules = from.and_then(|from| self.0.get(from)).into_iter().flatten();
        rules.filter(|rule| rule.split_whitespace().eq(["-j", chain])).count()
    }
}

/// Whether the kernel has the table in this network namespace.
fn has_table() -> bool {
    let tables = fs::read_to_string("/proc/thread-self/net/arp_tables_names").unwrap_or_default();
    tables.lines().any(|table| table == "filter")
}

/// Lists the table; nothing if the kernel has none yet, which listing would make.
fn listed(action: &Action) -> Result<Listed, Error> {
    if !has_table() {
        return Ok(Listed::default());
    }
    run(&["-n", "-L"], action).map(|text| Listed::parse(&text))
}

/// Decodes a rule as `-j DROP -d 192.0.2.1`; `None` if it shows no VIP.
fn decode(chain: &str, rule: &str) -> Option<(Ipv4Addr, Part)> {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let value = |option: &str| {
        let place = words.iter().position(|word| *word == option)?;
        words.get(place + 1).copied()
    };
    let option = if chain == INPUT { "-d" } else { "-s" };
    let vip = value(option)?.parse().ok()?;
    let part = match (chain, value("-j"), words.len()) {
        (INPUT, Some("DROP"), 4) => Part::DropsIncoming,
        (OUTPUT, Some("mangle"), 6) => {
            let source = value("--mangle-ip-s").and_then(|source| source.parse().ok());
            source.map_or(Part::Other, Part::Source)
        }
        _ => Part::Other,
    };
    Some((vip, part))
}

/// An installed program.
struct Installed {
    name: &'static str,
    path: PathBuf,
}

/// Returns the program that changes these tables; `None` if it is not installed. The one of this name that
/// changes tables of nftables is another one.
fn installed(action: &Action) -> Result<Option<Installed>, Error> {
    for name in PROGRAMS {
        let Some(path) = program::find(name) else { continue };
        if name == PROGRAMS[0] {
            return Ok(Some(Installed { name, path }));
        }
        let ran = program::run(Command::new(&path).arg("--version"), &[]);
        let output = ran.map_err(|source| Error::Io { action: action.clone(), source })?;
        if !String::from_utf8_lossy(&output.stdout).contains("nf_tables") {
            return Ok(Some(Installed { name, path }));
        }
    }
    Ok(None)
}

fn run(arguments: &[&str], action: &Action) -> Result<String, Error> {
    let Installed { name, path } = installed(action)?.ok_or_else(|| Error::TablesUnavailable {
        action: action.clone(),
        why: TablesUnavailable::NoProgram(PROGRAMS[1]),
    })?;
    let run_once = || {
        program::run(Command::new(&path).args(arguments), &[])
            .map_err(|source| Error::Io { action: action.clone(), source })
    };
    let mut output = run_once()?;
    for _ in 1..ATTEMPTS {
        if output.succeeded || !output.message.contains(CHANGED_MEANWHILE) {
            break;
        }
        thread::sleep(PAUSE);
        output = run_once()?;
    }
    if output.succeeded {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    if output.message.contains("Operation not permitted")
        || output.message.contains("you must be root")
    {
        let capability = Capability::NetAdmin;
        return Err(Error::NotPermitted { action: action.clone(), capability });
    }
    Err(Error::Program { action: action.clone(), program: name, message: output.message })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
Chain INPUT (policy ACCEPT)
-j evenkeel-input 

Chain OUTPUT (policy ACCEPT)

Chain FORWARD (policy ACCEPT)

Chain evenkeel-input (1 references)
-j DROP -d 192.0.2.1 
-j DROP -i eth0 -d 192.0.2.2 

Chain evenkeel-output (0 references)
-j mangle -s 192.0.2.1 --mangle-ip-s 10.0.0.3 
-j ACCEPT -s 192.0.2.1 
";

    #[test]
    fn rules_are_read_from_the_chains_of_evenkeel() {
        let listed = Listed::parse(LISTED);
        assert!(listed.leads_to(INPUT) && !listed.leads_to(OUTPUT));
        let mut found: BTreeMap<Ipv4Addr, ArpRules> = BTreeMap::new();
        for (chain, rule) in listed.rules() {
            let (vip, part) = decode(chain, rule).expect("a VIP");
            part.add_to(found.entry(vip).or_default());
        }
        let first =
            ArpRules { drops_incoming: true, source: Some([10, 0, 0, 3].into()), has_others: true };
        assert_eq!(found[&Ipv4Addr::new(192, 0, 2, 1)], first);
        let second = ArpRules { has_others: true, ..ArpRules::default() };
        assert_eq!(found[&Ipv4Addr::new(192, 0, 2, 2)], second);
    }
}
