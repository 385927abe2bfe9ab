//! `mass-delete`: far fewer services or real servers are desired than live.

use evenkeel_model::{Guards, RealServerKey, Service, ServiceKey};

use crate::Inputs;

pub(super) fn refusal(inputs: &Inputs<'_>) -> Option<String> {
    let Inputs { desired, live, record, .. } = inputs;
    let drains = &record.drains.0;
    // What drains already was decided on when it began.
    let stays = |service: &ServiceKey, key: &RealServerKey| !drains.contains_key(&(*service, *key));
    let (mut live_services, mut live_real_servers) = (0, 0);
    for (key, Service { real_servers, .. }) in &live.services {
        if desired.scope.contains(key) {
            let left = real_servers.iter().filter(|(it, _)| stays(key, it)).count();
            let drains_away = left == 0 && !real_servers.is_empty();
            live_services += usize::from(!drains_away || desired.services.contains_key(key));
            live_real_servers += left;
        }
    }
    let services = desired.services.len();
    let real_servers =
        desired.services.values().map(|named| named.service.real_servers.len()).sum();
    let Guards { mass_delete: percent, mass_delete_from: from, unbind_in_use: _ } = desired.guards;
    let falls = |desired: usize, live: usize| {
        let (desired, live) = (desired as u128, live as u128);
        live >= u128::from(from) && desired * 100 < live * u128::from(percent)
    };
    let mut parts = Vec::new();
    if falls(services, live_services) {
        parts.push(format!("services fall from {live_services} to {services}"));
    }
    if falls(real_servers, live_real_servers) {
        parts.push(format!("real servers fall from {live_real_servers} to {real_servers}"));
    }
    let share = if percent == 50 { "half".to_owned() } else { format!("{percent}%") };
    (!parts.is_empty())
        .then(|| format!("{}: fewer than {share} would be left", parts.join(" and ")))
}
