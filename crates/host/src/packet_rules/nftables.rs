//! The tables of evenkeel in nftables, which the program `nft` reads and changes in its JSON form
//! (libnftables-json(5)).
//!
//! A rule of evenkeel has its name as the comment. Other rules, chains and objects in a table of that name
//! are never changed, and the table stays while it has some.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use super::TablesUnavailable;
use crate::capability::Capability;
use crate::error::{Action, Error};
use crate::program;

/// The name of the tables, and the comment of the rules.
pub(crate) const NAME: &str = "evenkeel";
const PROGRAM: &str = "nft";

/// A family of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ip,
    Ip6,
    Arp,
}

impl Family {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
        }
    }
}

/// A base chain of evenkeel.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) hook: &'static str,
    pub(super) priority: i32,
}

/// A table of that name as read.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The rules of evenkeel, in the kernel's order.
    pub(super) rules: Vec<Rule>,
    /// The chains by name, as they are listed.
    chains: BTreeMap<String, Value>,
    /// The chains that have rules of others.
    shared: BTreeSet<String>,
    /// Whether it has objects that are neither chains nor rules.
    has_other_objects: bool,
}

/// A rule of evenkeel.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) chain: String,
    handle: u64,
    /// Its statements.
    pub(super) statements: Vec<Value>,
}

#[cfg(test)]
impl Rule {
    /// A rule with these statements.
    pub(super) fn for_test(chain: &str, statements: Vec<Value>) -> Self {
        Self { chain: chain.to_owned(), handle: 1, statements }
    }
}

/// What is to be changed in a table.
#[derive(Debug, Default)]
pub(super) struct Edit<'a> {
    pub(super) deleted: Vec<&'a Rule>,
    pub(super) added: Vec<NewRule>,
}

/// A rule that is to be added.
#[derive(Debug)]
pub(super) struct NewRule {
    /// The name of its chain.
    pub(super) chain: &'static str,
    /// Its statements.
    pub(super) statements: Value,
}

/// Reads the table of a family; `None` if there is none.
///
/// # Errors
/// [`Error::TablesUnavailable`] if the kernel has no nftables at all, or `nft` is not installed.
pub(super) fn read(family: Family, action: &Action) -> Result<Option<Table>, Error> {
    let mut command = nft(action)?;
    command.args(["-j", "-n", "list", "table", family.word(), NAME]);
    match run(&mut command, &[], action) {
        Ok(stdout) => decode(&stdout).map(Some).map_err(|what| Error::Malformed {
            action: action.clone(),
            what: format!("the answer of nft was not understood: {what}"),
        }),
        Err(Error::Program { message, .. }) if message.contains("No such file or directory") => {
            Ok(None)
        }
        Err(error) => Err(unsupported(error, &UNSUPPORTED, family, action)),
    }
}

/// Checks that the kernel has the tables of a family and all that these rules need, where it has no table of
/// this name: `nft --check` sends a transaction that the kernel examines and does not commit.
///
/// # Errors
/// [`Error::TablesUnavailable`] if not.
pub(super) fn check_support(
    family: Family,
    chains: &[Chain],
    rules: &[NewRule],
    action: &Action,
) -> Result<(), Error> {
    let mut command = nft(action)?;
    command.arg("--check");
    // What it says of a statement that the kernel does not know.
    let unknown = "No such file or directory";
    send(command, &additions(family, chains, rules), action)
        .map_err(|error| unsupported(error, &[UNSUPPORTED[0], unknown], family, action))
}

impl Table {
    /// The commands that remove the chains, and the table, if a change leaves no rule of evenkeel. What other
    /// programs have in them stays.
    fn cleared(&self, family: Family, chains: &[Chain], edit: &Edit<'_>) -> Vec<Value> {
        let is_deleted = |rule: &Rule| edit.deleted.iter().any(|gone| gone.handle == rule.handle);
        // The chains belong together: with one rule all of them stay.
        let stays =
            |rule: &Rule| chains.iter().any(|chain| chain.name == rule.chain) && !is_deleted(rule);
        if self.rules.iter().any(stays) {
            return Vec::new();
        }
        let ours = chains.iter().filter(|chain| self.chains.contains_key(chain.name));
        let unused: Vec<&str> =
            ours.map(|chain| chain.name).filter(|name| !self.shared.contains(*name)).collect();
        let deleted = unused.iter().map(|name| json!({"delete": {"chain": named(family, name)}}));
        let mut commands: Vec<Value> = deleted.collect();
        if unused.len() == self.chains.len() && !self.has_other_objects {
            let table = json!({"family": family.word(), "name": NAME});
            commands.push(json!({"delete": {"table": table}}));
        }
        commands
    }

    /// Whether another program made it: it has one of these chains in another place, or none of them and
    /// something else.
    pub(super) fn belongs_to_another_program(&self, chains: &[Chain]) -> bool {
        let is_same = |(chain, found): (&Chain, &Value)| {
            found["type"] == chain.kind
                && found["hook"] == chain.hook
                && found["prio"] == chain.priority
        };
        let mut found = chains.iter().filter_map(|it| Some((it, self.chains.get(it.name)?)));
        match found.next() {
            Some(first) => !is_same(first) || !found.all(is_same),
            None => self.has_other_objects || !self.chains.is_empty(),
        }
    }
}

/// Changes a table in one transaction: adds what is missing of it and its chains, and removes what it no
/// longer needs.
pub(super) fn change(
    family: Family,
    chains: &[Chain],
    table: Option<&Table>,
    edit: &Edit<'_>,
    action: &Action,
) -> Result<(), Error> {
    let mut commands = Vec::new();
    for deleted in &edit.deleted {
        let mut it = in_chain(family, &deleted.chain);
        it["handle"] = deleted.handle.into();
        commands.push(json!({"delete": {"rule": it}}));
    }
    if !edit.added.is_empty() {
        commands.extend(additions(family, chains, &edit.added));
    } else if let Some(table) = table {
        commands.extend(table.cleared(family, chains, edit));
    }
    if commands.is_empty() {
        return Ok(());
    }
    send(nft(action)?, &commands, action)
        .map_err(|error| unsupported(error, &UNSUPPORTED, family, action))
}

/// The commands that add rules, with a table and chains for them if there are none.
fn additions(family: Family, chains: &[Chain], rules: &[NewRule]) -> Vec<Value> {
    let mut commands = vec![json!({"add": {"table": {"family": family.word(), "name": NAME}}})];
    for chain in chains {
        let mut added = named(family, chain.name);
        added["type"] = chain.kind.into();
        added["hook"] = chain.hook.into();
        added["prio"] = chain.priority.into();
        added["policy"] = "accept".into();
        commands.push(json!({"add": {"chain": added}}));
    }
    for NewRule { chain, statements } in rules {
        let mut added = in_chain(family, chain);
        added["comment"] = NAME.into();
        added["expr"] = statements.clone();
        commands.push(json!({"add": {"rule": added}}));
    }
    commands
}

fn named(family: Family, chain: &str) -> Value {
    json!({"family": family.word(), "table": NAME, "name": chain})
}

fn in_chain(family: Family, chain: &str) -> Value {
    json!({"family": family.word(), "table": NAME, "chain": chain})
}

fn send(mut command: Command, commands: &[Value], action: &Action) -> Result<(), Error> {
    command.args(["-j", "-f", "-"]);
    let input = json!({ "nftables": commands }).to_string();
    run(&mut command, input.as_bytes(), action).map(drop)
}

fn nft(action: &Action) -> Result<Command, Error> {
    let program = program::find(PROGRAM).ok_or_else(|| Error::TablesUnavailable {
        action: action.clone(),
        why: TablesUnavailable::NoProgram(PROGRAM),
    })?;
    Ok(Command::new(program))
}

fn run(command: &mut Command, input: &[u8], action: &Action) -> Result<Vec<u8>, Error> {
    let ran = program::run(command, input);
    let output = ran.map_err(|source| Error::Io { action: action.clone(), source })?;
    if output.succeeded {
        return Ok(output.stdout);
    }
    if output.message.contains("Operation not permitted") {
        let capability = Capability::NetAdmin;
        return Err(Error::NotPermitted { action: action.clone(), capability });
    }
    Err(Error::Program { action: action.clone(), program: PROGRAM, message: output.message })
}

/// What `nft` says of a kernel without a family of tables, or without nftables.
const UNSUPPORTED: [&str; 2] = ["not supported", "cache initialization failed: Invalid argument"];

/// Explains an error with one of these words: `nf_tables` and its families are options of the kernel.
fn unsupported(error: Error, words: &[&str], family: Family, action: &Action) -> Error {
    match error {
        Error::Program { message, .. } if words.iter().any(|it| message.contains(it)) => {
            let why = TablesUnavailable::NoKernelSupport(family.word());
            Error::TablesUnavailable { action: action.clone(), why }
        }
        other => other,
    }
}

/// Decodes the answer of `list table`.
fn decode(text: &[u8]) -> Result<Table, String> {
    let answer: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let items = answer["nftables"].as_array().ok_or("it is no list")?;
    let mut table = Table::default();
    for item in items.iter().filter_map(Value::as_object) {
        let Some((kind, object)) = item.iter().next() else { continue };
        match kind.as_str() {
            "metainfo" | "table" => {}
            "chain" => {
                let name = object["name"].as_str().ok_or("a chain has no name")?;
                table.chains.insert(name.to_owned(), object.clone());
            }
            "rule" => {
                let chain = object["chain"].as_str().ok_or("a rule has no chain")?.to_owned();
                if object["comment"] == NAME {
                    let handle = object["handle"].as_u64().ok_or("a rule has no handle")?;
                    let statements = object["expr"].as_array().cloned().unwrap_or_default();
                    table.rules.push(Rule { chain, handle, statements });
                } else {
                    table.shared.insert(chain);
                }
            }
            _ => table.has_other_objects = true,
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_short_is_an_error() {
        let whole = br#"{"nftables": [{"metainfo": {}}, {"rule": {"chain": "c", "handle": 3,
            "comment": "evenkeel", "expr": []}}]}"#;
        assert_eq!(decode(whole).expect("decoded").rules.len(), 1);
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "{end}");
        }
        assert!(decode(b"{}").is_err());
        assert!(
            decode(br#"{"nftables": [{"rule": {"chain": "c", "comment": "evenkeel"}}]}"#).is_err()
        );
    }

    #[test]
    fn a_table_without_a_chain_of_evenkeel_is_anothers_unless_it_is_empty() {
        let chains = [Chain { name: "ours", kind: "nat", hook: "postrouting", priority: 100 }];
        let table = |text: &str| {
            decode(format!(r#"{{"nftables": [{text}]}}"#).as_bytes()).expect("decoded")
        };
        assert!(!table("").belongs_to_another_program(&chains));
        assert!(table(r#"{"chain": {"name": "input"}}"#).belongs_to_another_program(&chains));
        assert!(table(r#"{"set": {"name": "addresses"}}"#).belongs_to_another_program(&chains));
        let ours =
            r#"{"chain": {"name": "ours", "type": "nat", "hook": "postrouting", "prio": 100}}"#;
        assert!(
            !table(&format!(r#"{{"chain": {{"name": "input"}}}}, {ours}"#))
                .belongs_to_another_program(&chains)
        );
        for elsewhere in [
            r#"{"chain": {"name": "ours"}}"#.to_owned(),
            ours.replace("postrouting", "prerouting"),
            ours.replace("nat", "filter"),
            ours.replace("100", "0"),
        ] {
            assert!(table(&elsewhere).belongs_to_another_program(&chains), "{elsewhere}");
        }
    }
}
