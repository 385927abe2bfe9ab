//! Source NAT of connections that IPVS sends to real servers: chains of the hook postrouting in the tables
//! `ip evenkeel` and `ip6 evenkeel`, with a rule for each real server of a service.
//!
//! With `net.ipv4.vs.conntrack=1` the kernel's connection tracking has the connection with the VIP and port
//! that the client used (`ct original`), so a rule matches no connection that is only routed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use tracing::debug;

use super::TablesUnavailable;
use super::nftables::{self, Chain, Edit, Family, NewRule, Rule, Table};
use crate::error::{Action, Error};
use crate::host::Host;

/// `NF_IP_PRI_NAT_SRC`.
const CHAIN: [Chain; 1] =
    [Chain { name: "source_nat", kind: "nat", hook: "postrouting", priority: 100 }];

/// The connections of a service to one of its real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceNatConnections {
    /// What identifies the service.
    pub service: SourceNatService,
    /// The address of the real server, of the service's family.
    pub real_server: IpAddr,
    /// Its port; 0 for every port.
    pub port: u16,
}

/// The service of a connection, as its first packet shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceNatService {
    /// The address and port that the client used.
    Address {
        /// The VIP.
        address: IpAddr,
        /// The port; 0 for every port.
        port: u16,
        /// The number of the transport protocol, such as 6.
        protocol: u8,
    },
    /// The firewall mark of the packets.
    Mark(u32),
}

/// The source address that connections get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceNat {
    /// That of the interface by which packets leave (`masquerade`).
    Masquerade,
    /// This address (`snat to`).
    Address(IpAddr),
}

/// The rule for some connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceNatRule {
    /// The connections.
    pub connections: SourceNatConnections,
    /// Their source address; `None` if another program changed the rule so that it does something else.
    pub source: Option<SourceNat>,
}

impl Host {
    /// Lists the rules for source NAT of evenkeel, of both families. Needs the program `nft`.
    ///
    /// # Errors
    /// [`Error::TablesUnavailable`] where the host cannot have such rules, which is asked of the kernel for IPv4
    /// if there are none; [`Error::NotPermitted`] without CAP_NET_ADMIN; [`Error::Program`] if `nft` fails
    /// otherwise.
    pub fn source_nat(&self) -> Result<Vec<SourceNatRule>, Error> {
        let action = Action::List("source NAT rules");
        self.check_namespace(action.clone())?;
        let tables = [own_table(Family::Ip, &action)?, own_table(Family::Ip6, &action)?];
        if tables.iter().all(Option::is_none) {
            nftables::check_support(Family::Ip, &CHAIN, &examples(), &action)?;
        }
        let rules = tables.iter().flatten().flat_map(|table| &table.rules);
        Ok(rules.filter_map(decode).collect())
    }

    /// Changes the rules for these connections, those of one family in one transaction: sets their source
    /// address, in place of another one that evenkeel set for them, or removes the rule (`None`) if there is
    /// one, and the table with the last one.
    ///
    /// # Errors
    /// As [`Self::source_nat`]; [`Error::TablesUnavailable`] also if another program has a table of evenkeel's
    /// name. Nothing is changed then in the family of the connections that failed.
    pub fn change_source_nat(
        &self,
        changes: &BTreeMap<SourceNatConnections, Option<SourceNat>>,
    ) -> Result<(), Error> {
        for family in [Family::Ip, Family::Ip6] {
            let of_family: Vec<_> =
                changes.iter().filter(|(it, _)| it.family() == family).collect();
            let Some((first, source)) = of_family.first() else { continue };
            let action = match source {
                Some(_) => Action::Add(first.object()),
                None => Action::Delete(first.object()),
            };
            self.check_namespace(action.clone())?;
            let table = own_table(family, &action)?;
            let rules = table.iter().flat_map(|table| &table.rules);
            let mut edit = Edit::default();
            let mut found: BTreeMap<SourceNatConnections, Vec<&Rule>> = BTreeMap::new();
            for rule in rules {
                match decode(rule) {
                    Some(SourceNatRule { connections, .. }) => {
                        found.entry(connections).or_default().push(rule);
                    }
                    // Another program made it one for other connections.
                    None => edit.deleted.push(rule),
                }
            }
            for (connections, source) in of_family {
                edit.deleted.extend(found.get(connections).into_iter().flatten());
                edit.added.extend(source.map(|source| connections.rule(source)));
            }
            nftables::change(family, &CHAIN, table.as_ref(), &edit, &action)?;
        }
        debug!(changes = changes.len(), "changed the source NAT rules");
        Ok(())
    }
}

/// A rule of each kind, with the kernel's options that any of them needs.
fn examples() -> [NewRule; 2] {
    let service = SourceNatService::Address {
        address: Ipv4Addr::new(192, 0, 2, 1).into(),
        port: 80,
        protocol: 6,
    };
    let real_server = Ipv4Addr::new(192, 0, 2, 2).into();
    let connections = SourceNatConnections { service, real_server, port: 80 };
    [SourceNat::Masquerade, SourceNat::Address(real_server)].map(|it| connections.rule(it))
}

fn own_table(family: Family, action: &Action) -> Result<Option<Table>, Error> {
    let table = nftables::read(family, action)?;
    match table.as_ref().is_some_and(|table| table.belongs_to_another_program(&CHAIN)) {
        true => Err(Error::TablesUnavailable {
            action: action.clone(),
            why: TablesUnavailable::OtherTable(family.word()),
        }),
        false => Ok(table),
    }
}

impl SourceNatConnections {
    fn family(&self) -> Family {
        if self.real_server.is_ipv4() { Family::Ip } else { Family::Ip6 }
    }

    /// The name in messages.
    fn object(&self) -> String {
        let service = match self.service {
            SourceNatService::Address { address, port, protocol } => {
                format!("{} protocol {protocol}", std::net::SocketAddr::new(address, port))
            }
            SourceNatService::Mark(mark) => format!("fwmark {mark}"),
        };
        let real_server = std::net::SocketAddr::new(self.real_server, self.port);
        format!("source nat {service} to {real_server}")
    }

    fn rule(&self, source: SourceNat) -> NewRule {
        NewRule { chain: CHAIN[0].name, statements: self.statements(source) }
    }

    /// The statements of its rule. What matches the packet comes first: only then can `nft` read its own
    /// listing again, as `ct original proto-dst` needs to know the protocol.
    fn statements(&self, source: SourceNat) -> Value {
        let ip = self.family().word();
        let matched = |op: &str, left: Value, right: Value| json!({"match": {"op": op, "left": left, "right": right}});
        let original = |key: String| json!({"ct": {"key": key, "dir": "original"}});
        let field = |protocol: &str, field: &str| json!({"payload": {"protocol": protocol, "field": field}});
        let meta = |key: &str| json!({"meta": {"key": key}});
        let real_server = Value::from(self.real_server.to_string());
        let mut statements = vec![matched("==", field(ip, "daddr"), real_server.clone())];
        if let SourceNatService::Address { protocol, .. } = self.service {
            statements.push(matched("==", meta("l4proto"), protocol.into()));
        }
        if self.port != 0 {
            statements.push(matched("==", field("th", "dport"), self.port.into()));
        }
        let original_address = original(format!("{ip} daddr"));
        match self.service {
            SourceNatService::Address { address, port, .. } => {
                statements.push(matched("==", original_address, address.to_string().into()));
                if port != 0 {
                    statements.push(matched("==", original("proto-dst".to_owned()), port.into()));
                }
            }
            SourceNatService::Mark(mark) => {
                statements.push(matched("==", meta("mark"), mark.into()));
                // A connection that the client opened to the real server itself is only routed.
                statements.push(matched("!=", original_address, real_server));
            }
        }
        statements.push(match source {
            SourceNat::Masquerade => json!({"masquerade": null}),
            SourceNat::Address(address) => json!({"snat": {"addr": address.to_string()}}),
        });
        Value::Array(statements)
    }
}

/// What the statements of a rule match.
#[derive(Default)]
struct Matches {
    vip: Option<IpAddr>,
    vip_port: u16,
    protocol: Option<u8>,
    mark: Option<u32>,
    real_server: Option<IpAddr>,
    port: u16,
    source: Option<SourceNat>,
    /// Whether the original address must differ from the real server's.
    is_translated: bool,
    has_others: bool,
}

/// Decodes a rule; `None` if it no longer shows which connections it is for.
fn decode(rule: &Rule) -> Option<SourceNatRule> {
    let mut found = Matches::default();
    for statement in &rule.statements {
        if found.add(statement).is_none() {
            found.has_others = true;
        }
    }
    let service = match (found.vip, found.protocol, found.mark) {
        (Some(address), Some(protocol), None) => {
            SourceNatService::Address { address, port: found.vip_port, protocol }
        }
        (None, _, Some(mark)) => SourceNatService::Mark(mark),
        _ => return None,
    };
    let is_mark = matches!(service, SourceNatService::Mark(_));
    let is_whole =
        !found.has_others && found.is_translated == is_mark && rule.chain == CHAIN[0].name;
    let source = found.source.filter(|_| is_whole);
    let connections =
        SourceNatConnections { service, real_server: found.real_server?, port: found.port };
    Some(SourceNatRule { connections, source })
}

impl Matches {
    /// Adds a statement; `None` if it is none of those that a rule of evenkeel has.
    fn add(&mut self, statement: &Value) -> Option<()> {
        if statement.get("masquerade").is_some_and(Value::is_null) {
            self.source = Some(SourceNat::Masquerade);
            return Some(());
        }
        if let Some(snat) = statement.get("snat") {
            let options = snat.as_object()?;
            let address = options.get("addr")?.as_str()?.parse().ok()?;
            // Newer versions name the family.
            let is_plain = options.keys().all(|key| ["addr", "family"].contains(&key.as_str()));
            self.source = is_plain.then_some(SourceNat::Address(address));
            return is_plain.then_some(());
        }
        let matched = statement.get("match")?;
        let (left, right) = (matched.get("left")?, matched.get("right")?);
        let is_equal = matched.get("op")?.as_str()? == "==";
        if let Some(original) = left.get("ct").filter(|ct| ct["dir"] == "original") {
            match (original["key"].as_str()?, is_equal) {
                ("ip daddr" | "ip6 daddr", true) => self.vip = Some(address(right)?),
                ("ip daddr" | "ip6 daddr", false) => {
                    self.is_translated = self.real_server == Some(address(right)?);
                }
                ("proto-dst", true) => self.vip_port = number(right)?,
                _ => return None,
            }
        } else if !is_equal {
            return None;
        } else if let Some(meta) = left.get("meta") {
            match meta["key"].as_str()? {
                "l4proto" => self.protocol = Some(protocol(right)?),
                "mark" => self.mark = Some(number(right)?),
                _ => return None,
            }
        } else {
            let payload = left.get("payload")?;
            match (payload["protocol"].as_str()?, payload["field"].as_str()?) {
                ("ip" | "ip6", "daddr") => self.real_server = Some(address(right)?),
                (transport, "dport") => {
                    // The match of the protocol is shown as the name of the header.
                    if transport != "th" {
                        self.protocol = Some(protocol(&transport.into())?);
                    }
                    self.port = number(right)?;
                }
                _ => return None,
            }
        }
        Some(())
    }
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn number<N: TryFrom<u64>>(value: &Value) -> Option<N> {
    N::try_from(value.as_u64()?).ok()
}

/// The number of a protocol, which `nft` shows by its name if it knows one.
fn protocol(value: &Value) -> Option<u8> {
    match value.as_str() {
        Some("tcp") => Some(6),
        Some("udp") => Some(17),
        Some("sctp") => Some(132),
        Some(number) => number.parse().ok(),
        None => number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn every_kind() -> Vec<(SourceNatConnections, SourceNat)> {
        let mut all = Vec::new();
        for (vip, real_server, own) in
            [("192.0.2.1", "10.0.0.1", "10.0.0.9"), ("2001:db8::1", "fd00::1", "fd00::9")]
        {
            let of_address = |port, protocol| SourceNatService::Address {
                address: address(vip),
                port,
                protocol,
            };
            let services = [6, 17, 132, 47].map(|protocol| of_address(80, protocol)).into_iter();
            let services = services.chain([of_address(0, 6), SourceNatService::Mark(u32::MAX)]);
            for service in services {
                for port in [0, 8080] {
                    let connections =
                        SourceNatConnections { service, real_server: address(real_server), port };
                    all.push((connections, SourceNat::Masquerade));
                    all.push((connections, SourceNat::Address(address(own))));
                }
            }
        }
        all
    }

    fn rule(statements: Value) -> Rule {
        Rule::for_test(CHAIN[0].name, statements.as_array().cloned().expect("a list"))
    }

    #[test]
    fn what_is_set_is_read_as_the_same() {
        for (connections, source) in every_kind() {
            let statements = connections.statements(source);
            let expected = SourceNatRule { connections, source: Some(source) };
            assert_eq!(decode(&rule(statements.clone())), Some(expected));
            // A further statement is seen, whatever it is.
            let mut changed = statements.as_array().cloned().expect("a list");
            changed.insert(0, json!({"counter": {"packets": 0, "bytes": 0}}));
            let decoded = decode(&rule(Value::Array(changed)));
            assert_eq!(decoded, Some(SourceNatRule { connections, source: None }));
        }
    }

    /// As `nft` 1.0.6 lists the rule of a service on TCP.
    #[test]
    fn the_protocol_is_read_from_the_header_that_has_the_port() {
        let listed = json!([
            {"match": {"op": "==", "left": {"ct": {"key": "ip daddr", "dir": "original"}}, "right": "192.0.2.1"}},
            {"match": {"op": "==", "left": {"ct": {"key": "proto-dst", "dir": "original"}}, "right": 80}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.0.0.1"}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 8080}},
            {"snat": {"addr": "10.0.0.9"}}
        ]);
        let service =
            SourceNatService::Address { address: address("192.0.2.1"), port: 80, protocol: 6 };
        let connections =
            SourceNatConnections { service, real_server: address("10.0.0.1"), port: 8080 };
        let source = Some(SourceNat::Address(address("10.0.0.9")));
        assert_eq!(decode(&rule(listed)), Some(SourceNatRule { connections, source }));
    }

    #[test]
    fn a_rule_in_another_chain_or_without_a_part_does_something_else() {
        for (connections, source) in every_kind() {
            let statements = connections.statements(source);
            let statements = statements.as_array().cloned().expect("a list");
            let elsewhere = Rule::for_test("elsewhere", statements.clone());
            assert_eq!(decode(&elsewhere), Some(SourceNatRule { connections, source: None }));
            for left_out in 0..statements.len() {
                let mut shorter = statements.clone();
                shorter.remove(left_out);
                let expected = SourceNatRule { connections, source: Some(source) };
                assert_ne!(decode(&rule(Value::Array(shorter))), Some(expected));
            }
        }
    }

    #[test]
    fn a_rule_that_no_longer_shows_its_connections_is_none() {
        for statements in [json!([]), json!([{"masquerade": null}]), json!([{"match": 7}])] {
            assert_eq!(decode(&rule(statements)), None);
        }
    }
}
