//! The JSON of `evenkeel show`: everything that any of its options shows, whichever are given.
//!
//! docs/commands.md describes each field.

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics};
use evenkeel_model::{
    HealthFacts, NamedService, RealServer, RealServerKey, ServerHealth, Service, ServiceConfig,
    ServiceKey,
};
use serde_json::{Value, json};

use super::Shown;

/// Grows when a field is removed or changes its meaning.
const FORMAT: u32 = 1;

pub(super) fn document(shown: &Shown<'_>) -> Value {
    let Shown { live, statistics, named, health } = shown;
    let services = live.services.iter().map(|(key, service)| {
        let counted = statistics.services.get(key).cloned().unwrap_or_default();
        service_document(key, named.services.get(key), service, &counted, health)
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
    health: &HealthFacts,
) -> Value {
    let Service { config, real_servers } = service;
    let ServiceConfig { scheduler, scheduler_flags, persistence, engine, one_packet } = config;
    let real_servers = real_servers.iter().map(|(real_server, value)| {
        let counted = counted.real_servers.get(real_server).copied().unwrap_or_default();
        let mut document = real_server_document(real_server, value, counted);
        if let Some(found) = health.of(key, real_server) {
            document["health"] = health_document(found);
        }
        document
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

fn health_document(found: &ServerHealth) -> Value {
    json!({
        "up": found.is_up(),
        "since": found.since,
        "why": (!found.is_up()).then_some(&found.reason),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use evenkeel_model::statistics::Statistics;
    use evenkeel_model::{
        Desired, Forward, Live, Netmask, Persistence, RealServers, Scheduler, SyncDaemon,
        SyncState, Timeouts,
    };

    use super::*;

    fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    keys.insert(key.clone());
                    collect_keys(value, keys);
                }
            }
            Value::Array(all) => all.iter().for_each(|value| collect_keys(value, keys)),
            _ => {}
        }
    }

    #[test]
    fn the_page_of_commands_describes_every_field() {
        let key = ServiceKey::parse("192.0.2.1:80/tcp").expect("a service");
        let mut config = ServiceConfig::new(Scheduler::new("rr").expect("a scheduler"));
        let netmask = Netmask::host(key.family());
        config.persistence = Some(Persistence { timeout: 300, netmask });
        let mut real_servers = RealServers::new();
        let real_server = RealServerKey { address: [10, 0, 0, 1].into(), port: 80 };
        real_servers.insert(real_server, RealServer::new(Forward::Dr, 1));
        let daemon = SyncDaemon {
            interface: "eth0".into(),
            id: 1,
            max_length: None,
            group: None,
            port: None,
            ttl: None,
        };
        let live = Live {
            services: [(key, Service { config, real_servers })].into(),
            timeouts: Some(Timeouts::INITIAL),
            sync: [(SyncState::Master, daemon.clone()), (SyncState::Backup, daemon)].into(),
            ..Live::default()
        };
        let (statistics, named) = (Statistics::default(), Desired::default());
        let health = HealthFacts::default();
        let shown = Shown { live: &live, statistics: &statistics, named: &named, health: &health };
        let mut keys = BTreeSet::new();
        collect_keys(&document(&shown), &mut keys);
        assert!(keys.len() > 35, "{keys:?}");

        let page = include_str!("../../../../../docs/commands.md");
        let (_, section) = page.split_once("\n## show\n").expect("the section");
        let (section, _) = section.split_once("\nWith `--connections`").expect("its end");
        // The last part of a path such as `services[].name`.
        let names = section.split('`').skip(1).step_by(2).map(|code| code.rsplit('.').next());
        let described: BTreeSet<&str> = names.flatten().collect();
        let missing: Vec<_> = keys.iter().filter(|key| !described.contains(&***key)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
