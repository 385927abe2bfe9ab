//! Reads and sets packet rules: the conversion between the terms of the model and of the host crate.

use std::collections::BTreeMap;

use evenkeel_host::{
    Error, SourceNat as HostSource, SourceNatConnections, SourceNatRule, SourceNatService,
};
use evenkeel_model::{
    ArpRules, ArpRulesValue, Family, HostObject, HostObjectKind, HostValue, LiveHostObject,
    Protocol, RealServerKey, ServiceKey, SourceNat, SourceNatValue,
};
use evenkeel_plan::{Object, Op};

use super::{HostKernel, Objects, other_kind};

impl HostKernel {
    /// Reads the packet rules of a kind, which are all evenkeel's by their mark.
    pub(super) fn read_packet_rules(
        &mut self,
        kind: HostObjectKind,
        objects: &mut Objects,
    ) -> Result<(), Error> {
        if kind == HostObjectKind::ArpRules {
            for (address, rules) in self.host.arp_rules()? {
                let evenkeel_host::ArpRules { drops_incoming, source, has_others } = rules;
                let value = ArpRulesValue { drops_incoming, source, has_others };
                let object = HostObject::from(ArpRules { address });
                objects.insert(object, LiveHostObject::of_evenkeel(value.into()));
            }
        } else {
            for SourceNatRule { connections, source } in self.host.source_nat()? {
                let value = match source {
                    Some(HostSource::Masquerade) => SourceNatValue::Masquerade,
                    Some(HostSource::Address(address)) => SourceNatValue::Address(address),
                    None => SourceNatValue::Other,
                };
                // Of several rules that differ, the first decides, which may not be evenkeel's.
                let object = HostObject::from(source_nat(connections));
                let is_other = objects.get(&object).is_some_and(|it| it.value != value.into());
                let value = if is_other { SourceNatValue::Other } else { value };
                objects.insert(object, LiveHostObject::of_evenkeel(value.into()));
            }
        }
        Ok(())
    }

    /// Sets packet rules, whether evenkeel had any for the object before or not.
    pub(super) fn set_packet_rules(
        &mut self,
        object: &HostObject,
        value: &HostValue,
    ) -> Result<(), Error> {
        match (object, value) {
            (HostObject::ArpRules(rules), HostValue::ArpRules(value)) => {
                let source = value.source.ok_or_else(|| other_kind(object))?;
                self.host.set_arp_rules(rules.address, source)
            }
            (HostObject::SourceNat(source_nat), HostValue::SourceNat(value)) => {
                let change = (connections(source_nat)?, Some(host_source(object, *value)?));
                self.host.change_source_nat(&BTreeMap::from([change]))
            }
            (_, _) => Err(other_kind(object)),
        }
    }

    /// Executes operations on source NAT together: each call of `nft` reads all rules and takes a process.
    pub(super) fn change_source_nat(&mut self, ops: &[Op]) -> Result<(), Error> {
        let changes = ops.iter().filter_map(source_nat_change);
        self.host.change_source_nat(&changes.collect::<Result<_, _>>()?)
    }
}

/// Returns what is known of packet rules that evenkeel added and that cannot be read; `None` for other objects.
pub(super) fn unread(object: &HostObject) -> Option<(HostObject, LiveHostObject)> {
    let value = match object {
        HostObject::ArpRules(_) => {
            ArpRulesValue { drops_incoming: false, source: None, has_others: true }.into()
        }
        HostObject::SourceNat(_) => SourceNatValue::Other.into(),
        HostObject::Route(_)
        | HostObject::Neighbour(_)
        | HostObject::DefaultRoute(_)
        | HostObject::TunnelDevice(_)
        | HostObject::FouPort(_) => return None,
    };
    Some((object.clone(), LiveHostObject::of_evenkeel(value)))
}

/// Returns the family of an operation on source NAT, which has a table of its own; `None` for any other one.
pub(super) fn source_nat_family(op: &Op) -> Option<Family> {
    match op.object() {
        Object::Host(HostObject::SourceNat(nat)) => Some(nat.real_server.address.into()),
        _ => None,
    }
}

/// Returns what an operation on source NAT changes; `None` for any other one.
fn source_nat_change(op: &Op) -> Option<Result<(SourceNatConnections, Option<HostSource>), Error>> {
    let (object, after) = match op {
        Op::AddHostObject { object, after } | Op::EditHostObject { object, after, .. } => {
            (object, Some(&**after))
        }
        Op::DeleteHostObject { object, .. } => (object, None),
        _ => return None,
    };
    let HostObject::SourceNat(source_nat) = object else { return None };
    let source = match after {
        None => Ok(None),
        Some(HostValue::SourceNat(value)) => host_source(object, *value).map(Some),
        Some(_) => Err(other_kind(object)),
    };
    Some(connections(source_nat).and_then(|connections| Ok((connections, source?))))
}

fn host_source(object: &HostObject, value: SourceNatValue) -> Result<HostSource, Error> {
    match value {
        SourceNatValue::Masquerade => Ok(HostSource::Masquerade),
        SourceNatValue::Address(address) => Ok(HostSource::Address(address)),
        SourceNatValue::Other => Err(other_kind(object)),
    }
}

/// Converts the identity of source NAT. An edited plan may name a protocol that packets cannot have.
pub(super) fn connections(source_nat: &SourceNat) -> Result<SourceNatConnections, Error> {
    let SourceNat { service, real_server: RealServerKey { address: real_server, port } } =
        *source_nat;
    let service = match service {
        ServiceKey::Address { address, port, protocol } => {
            let protocol = u8::try_from(protocol.number());
            let protocol = protocol.map_err(|_| other_kind(&(*source_nat).into()))?;
            SourceNatService::Address { address, port, protocol }
        }
        ServiceKey::Fwmark { fwmark, .. } => SourceNatService::Mark(fwmark),
    };
    Ok(SourceNatConnections { service, real_server, port })
}

fn source_nat(connections: SourceNatConnections) -> SourceNat {
    let SourceNatConnections { service, real_server, port } = connections;
    let service = match service {
        SourceNatService::Address { address, port, protocol } => {
            ServiceKey::Address { address, port, protocol: Protocol::from(u16::from(protocol)) }
        }
        SourceNatService::Mark(fwmark) => {
            ServiceKey::Fwmark { family: Family::from(real_server), fwmark }
        }
    };
    SourceNat { service, real_server: RealServerKey { address: real_server, port } }
}
