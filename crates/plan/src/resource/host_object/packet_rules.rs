//! Packet rules: what the rules for a VIP do in ARP, and what source NAT depends on.

use std::collections::BTreeSet;

use evenkeel_model::{ArpRulesValue, Desired, Family, HostObject, Live, ServiceKey, SourceNat};

use crate::field::{Field, FieldValue};
use crate::{Op, Warning};

/// Warns of services that stay and leave full NAT together. The kernel translates the packets of open
/// connections only while a family has a chain for NAT (`nf_nat_unregister_fn`), and the one of evenkeel goes with
/// its last rule.
pub(crate) fn untranslated(desired: &Desired, live: &Live, steps: &[Op]) -> Option<Warning> {
    let deleted: BTreeSet<&HostObject> = steps
        .iter()
        .filter_map(|op| match op {
            Op::DeleteHostObject { object, .. } => Some(object),
            _ => None,
        })
        .collect();
    let staying = live.host_objects.objects.keys().filter(|object| !deleted.contains(object));
    let rules = staying.chain(desired.host_objects.keys()).filter_map(source_nat);
    let kept: BTreeSet<Family> = rules.map(|it| it.service.family()).collect();
    let leaving = deleted.iter().filter_map(|object| {
        let SourceNat { service, real_server } = source_nat(object)?;
        let named = desired.services.get(service)?;
        let stays = named.service.real_servers.get(real_server).is_some();
        (stays && !kept.contains(&service.family())).then_some(*service)
    });
    let leaving: BTreeSet<ServiceKey> = leaving.collect();
    let labels = leaving.iter().map(|key| desired.label(key).to_string()).collect();
    (!leaving.is_empty()).then_some(Warning::Untranslated(labels))
}

fn source_nat(object: &HostObject) -> Option<&SourceNat> {
    match object {
        HostObject::SourceNat(source_nat) => Some(source_nat),
        _ => None,
    }
}

/// Returns the fields of ARP rules.
pub(super) fn arp_fields(value: ArpRulesValue) -> Vec<Field> {
    let ArpRulesValue { drops_incoming, source, has_others } = value;
    let incoming = match (has_others, drops_incoming) {
        (true, _) => FieldValue::Name("changed"),
        (false, true) => FieldValue::Name("dropped"),
        (false, false) => FieldValue::Name("answered"),
    };
    let source = source.map_or(FieldValue::None, |it| FieldValue::Word(it.to_string()));
    vec![("incoming", incoming), ("source", source)]
}
