mod laws;
mod namespace_settings;
mod services;
mod snapshot;

use evenkeel_model::{
    Desired, Drain, Forward, NamedService, Protocol, RealServer, RealServerKey, RealServers,
    Scheduler, Service, ServiceConfig, ServiceKey,
};

use super::*;
use crate::{Source, load};

fn read(text: &str) -> crate::Loaded {
    let source = Source::new("written.yaml", text);
    load(std::slice::from_ref(&source)).unwrap_or_else(|problems| {
        panic!("{}\n\n{text}", problems.render(&[source], false));
    })
}

fn assert_written(desired: &Desired) {
    let text = write(&WriteInput::of_desired(desired));
    let loaded = read(&text);
    assert_eq!(&loaded.desired, desired, "\n{text}");
    for (key, named) in &desired.services {
        let order = |named: &NamedService| {
            named.service.real_servers.in_order().map(|(key, _)| *key).collect::<Vec<_>>()
        };
        assert_eq!(order(&loaded.desired.services[key]), order(named), "\n{text}");
    }
    assert_eq!(write(&WriteInput::of_desired(&loaded.desired)), text, "it is canonical");
}

fn desired(services: impl IntoIterator<Item = (ServiceKey, NamedService)>) -> Desired {
    Desired { services: services.into_iter().collect(), ..Desired::default() }
}

fn tcp(address: &str, port: u16) -> ServiceKey {
    let address = address.parse().expect("an address");
    ServiceKey::Address { address, port, protocol: Protocol::Tcp }
}

fn service(
    config: ServiceConfig,
    servers: impl IntoIterator<Item = (RealServerKey, RealServer)>,
) -> Service {
    Service { config, real_servers: servers.into_iter().collect::<RealServers>() }
}

fn wlc() -> ServiceConfig {
    ServiceConfig::new(Scheduler::wlc())
}

fn server(address: &str, port: u16, forward: Forward) -> (RealServerKey, RealServer) {
    let address = address.parse().expect("an address");
    let real_server = RealServer::new(forward, 1);
    (RealServerKey { address, port }, real_server)
}

fn named(name: &str, service: Service) -> NamedService {
    NamedService {
        drain: service.config.usual_drain(Drain::default()),
        ..NamedService::new(name, service)
    }
}
