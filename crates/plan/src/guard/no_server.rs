//! `no-server`: a service that stays would lose its last real server with a positive weight, and
//! refuse all its clients.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{RealServerKey, Service, ServiceKey};

use super::{labels, some_of};
use crate::{Inputs, Op};

pub(super) fn refusal(inputs: &Inputs<'_>, ops: &[Op]) -> Option<String> {
    let Inputs { desired, live, .. } = inputs;
    let stays = |key: &ServiceKey| desired.services.contains_key(key);
    let touched: BTreeSet<ServiceKey> =
        ops.iter().filter(|op| takes_weight(op)).filter_map(Op::service).filter(stays).collect();
    let mut weights: BTreeMap<ServiceKey, BTreeSet<RealServerKey>> = touched
        .into_iter()
        .filter_map(|key| Some((key, weighing(live.services.get(&key)?))))
        .filter(|(_, weighing)| !weighing.is_empty())
        .collect();
    let before: BTreeMap<ServiceKey, usize> =
        weights.iter().map(|(key, weighing)| (*key, weighing.len())).collect();
    for op in ops {
        let (service, key, weight) = match op {
            Op::AddRealServer { service, key, after }
            | Op::EditRealServer { service, key, after, .. } => (service, key, after.weight),
            Op::DrainRealServer { service, key, .. }
            | Op::DeleteRealServer { service, key, .. } => (service, key, 0),
            _ => continue,
        };
        let Some(weighing) = weights.get_mut(service) else { continue };
        if weight > 0 {
            weighing.insert(*key);
        } else {
            weighing.remove(key);
        }
    }
    let bare: Vec<ServiceKey> =
        weights.into_iter().filter(|(_, left)| left.is_empty()).map(|(key, _)| key).collect();
    let all: usize = bare.iter().filter_map(|key| before.get(key)).sum();
    (!bare.is_empty()).then(|| {
        let them = if bare.len() == 1 { "it" } else { "them" };
        format!(
            "{} would have no real server with a positive weight left ({all} now) and refuse all \
             clients; list one with a positive weight, or remove {them} from the spec",
            some_of(&labels(inputs, &bare)),
        )
    })
}

fn takes_weight(op: &Op) -> bool {
    match op {
        Op::EditRealServer { after, .. } => after.weight == 0,
        Op::DrainRealServer { .. } | Op::DeleteRealServer { .. } => true,
        _ => false,
    }
}

fn weighing(service: &Service) -> BTreeSet<RealServerKey> {
    let weighing = service.real_servers.iter().filter(|(_, it)| it.weight > 0);
    weighing.map(|(key, _)| *key).collect()
}
