//! Small states for tests.

use evenkeel_model::{
    Desired, Drain, Forward, NamedService, Protocol, RealServer, RealServerKey, Scheduler, Scope,
    Service, ServiceConfig, ServiceKey, SyncDaemon,
};

/// A TCP service by the last byte of its address.
pub(crate) fn on(last: u8) -> ServiceKey {
    on_port(last, 80)
}

/// A TCP service on that port.
pub(crate) fn on_port(last: u8, port: u16) -> ServiceKey {
    ServiceKey::Address { address: [192, 0, 2, last].into(), port, protocol: Protocol::Tcp }
}

/// A real server by the last byte of its address.
pub(crate) fn at(last: u8) -> RealServerKey {
    RealServerKey { address: [198, 51, 100, last].into(), port: 80 }
}

pub(crate) fn weighing(weight: u32) -> RealServer {
    RealServer::new(Forward::Dr, weight)
}

pub(crate) fn scheduled_by(name: &str) -> ServiceConfig {
    ServiceConfig::new(Scheduler::new(name).expect("a scheduler"))
}

/// A sync daemon with the kernel's own settings.
pub(crate) fn sync_daemon(interface: &str, id: u8) -> SyncDaemon {
    let interface = interface.into();
    SyncDaemon { interface, id, max_length: None, group: None, port: None, ttl: None }
}

/// A spec of those services with the scope of the whole table, all with the name `web` and without
/// drain.
pub(crate) fn spec(services: impl IntoIterator<Item = (ServiceKey, Service)>) -> Desired {
    let named = |service| NamedService::new("web", service);
    Desired {
        drain: Drain::NONE,
        scope: Scope::All,
        services: services.into_iter().map(|(key, service)| (key, named(service))).collect(),
        ..Desired::default()
    }
}

/// Returns the texts of the warnings of a plan.
pub(crate) fn warnings(plan: &crate::Plan) -> Vec<String> {
    plan.warnings.iter().map(ToString::to_string).collect()
}
