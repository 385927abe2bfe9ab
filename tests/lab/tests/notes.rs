//! What is known of the kernel's table, a note a test, so that a kernel that changes is noticed as a
//! sentence that fails.

use std::net::SocketAddr;

use evenkeel_ipvs::{
    Client, Command, Destination, DestinationKey, Family, Name, Reason, Service, ServiceKey,
};
use evenkeel_lab_tests::{fresh_namespace, run};

mod connections;
mod destinations;
mod director;
mod module;
mod reading;
mod schedulers;
mod services;
mod wire;

fn client() -> Client {
    fresh_namespace();
    Client::connect().unwrap()
}

fn service(text: &str, protocol: u16, scheduler: &str) -> Service {
    let name: SocketAddr = text.parse().unwrap();
    let key = ServiceKey::Address { address: name.ip(), port: name.port(), protocol };
    Service::new(key, Name::new(scheduler).unwrap())
}

fn marked(family: Family, fwmark: u32) -> Service {
    Service::new(ServiceKey::Fwmark { family, fwmark }, Name::new("rr").unwrap())
}

fn destination(text: &str, forward: u32) -> Destination {
    let name: SocketAddr = text.parse().unwrap();
    Destination::new(DestinationKey { address: name.ip(), port: name.port() }, forward)
}

fn done(client: &mut Client, commands: impl IntoIterator<Item = Command>) {
    assert_eq!(client.execute(commands).unwrap(), []);
}

/// Why the kernel refused a command; `None` when it did not.
fn reason(client: &mut Client, command: Command) -> Option<Reason> {
    let refusals = client.execute([command]).unwrap();
    refusals.first().map(|it| it.refusal.reason())
}
