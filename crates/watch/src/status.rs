//! What the daemon puts into its status ([`evenkeel_control::Status`]).

use std::collections::BTreeMap;

use evenkeel_control::{
    DrainStatus, FORMAT, HealthHeld, OverriddenServer, OverrideStatus, ServiceHealthStatus,
    SpecStatus, State, Status, StayingStatus,
};
use evenkeel_host::KnownWriter;
use evenkeel_model::{Desired, Names, OverlayCause, Override, RealServerKey, ServiceKey};
use evenkeel_plan::{
    ClockReading, DrainRecords, HeldServer, Object, StayingObject, overrides_to_overlays,
};

use crate::options::Options;

/// Creates the status before the first pass.
pub(crate) fn starting(options: &Options, now: u64) -> Status {
    Status {
        format: FORMAT,
        version: options.version.to_owned(),
        pid: std::process::id(),
        namespace: options.namespace.clone(),
        owner: options.state.owner().as_str().map(Into::into),
        started: now,
        mode: options.mode,
        state: State::Starting,
        reasons: vec!["no pass has been made yet".to_owned()],
        spec: SpecStatus { sources: options.sources.clone(), ..SpecStatus::default() },
        paused: None,
        last_pass: None,
        last_success: None,
        draining: 0,
        drains: Vec::new(),
        staying: Vec::new(),
        overrides: Vec::new(),
        health: None,
        pending_steps: Vec::new(),
        warnings: Vec::new(),
        failing: Vec::new(),
        conflicts: Vec::new(),
        known_writers: known_writers(),
        unmanaged: 0,
        services_not_local: 0,
        services_without_servers: 0,
        services: 0,
        real_servers: 0,
        vips: 0,
    }
}

/// Describes the programs on this host that are known to change the same things.
pub(crate) fn known_writers() -> Vec<String> {
    descriptions(&evenkeel_host::known_writers())
}

/// Describes such programs.
pub(crate) fn descriptions(writers: &[KnownWriter]) -> Vec<String> {
    writers.iter().map(ToString::to_string).collect()
}

/// Lists the recorded drains, with these names of services.
pub fn list_drains<'a>(drains: &DrainRecords, names: impl Into<Names<'a>>) -> Vec<DrainStatus> {
    let names = names.into();
    let entries = drains.0.iter().map(|((service, key), draining)| DrainStatus {
        object: Object::RealServer(*service, *key).named(names).to_string(),
        until: draining.since.saturating_add(draining.limit.0.into()),
    });
    entries.collect()
}

/// Lists what stays on a real server for services that no longer list it, at the time `now`.
pub fn list_staying(staying: Vec<StayingObject>, now: &ClockReading) -> Vec<StayingStatus> {
    let status = |it: StayingObject| StayingStatus {
        object: it.object.to_string(),
        service: it.label(),
        until: now.wall.as_secs().saturating_add(it.left.0.into()),
    };
    staying.into_iter().map(status).collect()
}

/// Lists overrides, with the real servers of this spec that they concern.
pub fn list_overrides(overrides: &[Override], desired: &Desired) -> Vec<OverrideStatus> {
    let status = |it: &Override| {
        let found = overrides_to_overlays(std::slice::from_ref(it), desired);
        let server = |service: &ServiceKey, real_server: &RealServerKey| OverriddenServer {
            service: desired.label(service).to_string(),
            real_server: real_server.to_string(),
        };
        OverrideStatus {
            target: it.target.to_string(),
            action: it.action(),
            by: it.by.to_string(),
            reason: it.reason.to_string(),
            since: it.since,
            until: it.until,
            real_servers: found.iter().map(|((service, key), _)| server(service, key)).collect(),
        }
    };
    overrides.iter().map(status).collect()
}

/// Lists the real servers that health holds, as a plan found them.
pub(crate) fn list_health(held: &[HeldServer], desired: &Desired) -> Vec<HealthHeld> {
    let by_health =
        held.iter().filter(|it| !matches!(it.overlay.cause, OverlayCause::Override { .. }));
    let status = |it: &HeldServer| HealthHeld {
        service: desired.label(&it.service).to_string(),
        real_server: it.real_server.to_string(),
        cause: it.overlay.cause.as_str().to_owned(),
        spec_weight: it.spec_weight,
        weight: it.overlay.effect.weight(it.spec_weight),
        since: it.overlay.since,
        why: it.overlay.reason.to_string(),
        text: it.to_string(),
    };
    by_health.map(status).collect()
}

/// Lists the services that have checks.
pub(crate) fn list_services(
    held: &[HealthHeld],
    desired: &Desired,
    has_quorum: impl Fn(&ServiceKey) -> bool,
) -> Vec<ServiceHealthStatus> {
    let mut out: BTreeMap<&str, usize> = BTreeMap::new();
    for it in held.iter().filter(|it| it.weight.unwrap_or(0) == 0 && it.spec_weight > 0) {
        *out.entry(&it.service).or_default() += 1;
    }
    let checked = desired.services.iter().filter(|(_, named)| named.health.is_some());
    checked
        .map(|(key, _)| {
            let service = desired.label(key).to_string();
            let out = out.get(service.as_str()).copied().unwrap_or(0);
            ServiceHealthStatus { service, quorum: has_quorum(key), out }
        })
        .collect()
}
