//! The JSON of `evenkeel show`: everything that any of its options shows, whichever are given.
//!
//! docs/commands.md describes each field.

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics};
use evenkeel_model::{NamedService, RealServer, RealServerKey, Service, ServiceConfig, ServiceKey};
use serde_json::{Value, json};

use super::Shown;

/// Grows when a field is removed or changes its meaning.
const FORMAT: u32 = 1;

pub(super) fn document(shown: &Shown<'_>) -> Value {
    let Shown { live, statistics, named } = shown;
    let services = live.services.iter().map(|(key, service)| {
        let counted = statistics.services.get(key).cloned().unwrap_or_default();
        service_document(key, named.services.get(key), service, &counted)
    });
    json!({
        "format": FORMAT,
        "services": services.collect::<Vec<_>>(),
        "timeouts": live.timeouts,
        "sync": live.sync,
    })
}

fn service_document(
    key: &ServiceKey,
    named: Option<&NamedService>,
    service: &Service,
    counted: &ServiceStatistics,
) -> Value {
    let Service { config, real_servers } = service;
    let ServiceConfig { scheduler, scheduler_flags, persistence, engine, one_packet } = config;
    let real_servers = real_servers.iter().map(|(key, value)| {
        let counted = counted.real_servers.get(key).copied().unwrap_or_default();
        real_server_document(key, value, counted)
    });
    json!({
        "name": named.map(|named| &named.name),
        "service": key.to_string(),
        "scheduler": scheduler,
        "scheduler_flags": scheduler_flags.names(scheduler).collect::<Vec<_>>(),
        "persistence": persistence.map(|persistence| json!({
            "timeout": persistence.timeout,
            "netmask": persistence.netmask.to_string(),
        })),
        "engine": engine,
        "one_packet": one_packet,
        "traffic": counted.traffic,
        "real_servers": real_servers.collect::<Vec<_>>(),
    })
}

fn real_server_document(
    key: &RealServerKey,
    value: &RealServer,
    counted: RealServerStatistics,
) -> Value {
    let RealServerKey { address, port } = key;
    let RealServer { forward, weight, upper_threshold, lower_threshold } = value;
    json!({
        "address": address,
        "port": port,
        "forward": forward.to_string(),
        "weight": weight,
        "upper_threshold": upper_threshold,
        "lower_threshold": lower_threshold,
        "statistics": counted,
    })
}
