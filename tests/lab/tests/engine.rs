//! Runs passes on a real kernel, reads their effects with `ipvsadm` and `ip`, and counts their
//! messages on an `nlmon` device.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use evenkeel_engine::{
    ApplyOptions, HostKernel, Journalled, Kernel, NoopContext, Pass, ReadRequest, Report, execute,
};
use evenkeel_lab_tests::ipvsadm::Table;
use evenkeel_lab_tests::nlmon::{Capture, Change, Object, Verb};
use evenkeel_lab_tests::{fresh_namespace, ipvsadm, run_with};
use evenkeel_model::{
    Desired, Drain, Forward, Live, NamedService, Protocol, RealServer, RealServerKey, RealServers,
    Scheduler, Scope, Service, ServiceConfig, ServiceKey,
};
use evenkeel_plan::{Inputs, Plan, PriorState, plan};

mod edits;
mod kernels;
mod probe;
mod properties;
mod tunnels;
mod vips;
mod without_ipvs;
mod writers;

/// Creates a namespace with the table of these `ipvsadm` rules.
fn host_with(rules: &str) -> HostKernel {
    fresh_namespace();
    if !rules.is_empty() {
        run_with("ipvsadm -R", rules);
    }
    HostKernel::connect(Journalled::default()).unwrap()
}

fn tcp(text: &str) -> ServiceKey {
    let SocketName { address, port } = name(text);
    ServiceKey::Address { address, port, protocol: Protocol::Tcp }
}

fn real_server_key(text: &str) -> RealServerKey {
    let SocketName { address, port } = name(text);
    RealServerKey { address, port }
}

struct SocketName {
    address: IpAddr,
    port: u16,
}

fn name(text: &str) -> SocketName {
    let name: SocketAddr = text.parse().unwrap();
    SocketName { address: name.ip(), port: name.port() }
}

fn config(scheduler: &str) -> ServiceConfig {
    ServiceConfig::new(Scheduler::new(scheduler).unwrap())
}

fn dr(weight: u32) -> RealServer {
    RealServer::new(Forward::Dr, weight)
}

fn service<const N: usize>(
    config: ServiceConfig,
    real_servers: [(&str, RealServer); N],
) -> Service {
    let real_servers: RealServers =
        real_servers.into_iter().map(|(key, value)| (real_server_key(key), value)).collect();
    Service { config, real_servers }
}

/// Returns a spec of these services whose scope is the whole table.
fn spec<const N: usize>(services: [(ServiceKey, Service); N]) -> Desired {
    let named = services
        .into_iter()
        .enumerate()
        .map(|(number, (key, service))| (key, NamedService::new(format!("s{number}"), service)));
    let (scope, services, drain) = (Scope::All, named.collect(), Drain::NONE);
    Desired { scope, services, drain, ..Desired::default() }
}

fn table(desired: &Desired) -> Table {
    desired.services.iter().map(|(key, named)| (*key, named.service.clone())).collect()
}

fn plan_of(desired: &Desired, live: &Live) -> Plan {
    plan(Inputs::new(desired, live, &PriorState::for_snapshot()))
}

/// Runs a whole pass.
fn apply(kernel: &mut impl Kernel, desired: &Desired) -> Report {
    let live = kernel.observe(&ReadRequest::new()).unwrap();
    let steps = plan_of(desired, &live).steps;
    carry_out(kernel, Pass::new(desired, live, steps))
}

fn carry_out(kernel: &mut impl Kernel, pass: Pass<'_>) -> Report {
    execute(kernel, pass, ApplyOptions::default(), &mut NoopContext)
}

/// Runs a whole pass that succeeds, and returns the messages it sent.
fn apply_capturing(kernel: &mut impl Kernel, desired: &Desired) -> Vec<Change> {
    let mut capture = Capture::start();
    let report = apply(kernel, desired);
    let changes = capture.changes();
    assert!(report.is_success(), "{report:?}");
    changes
}

/// Asserts that the table is the spec's, as `ipvsadm` and as evenkeel reads it.
fn assert_in_place(kernel: &mut impl Kernel, desired: &Desired) {
    assert_eq!(ipvsadm::save(), ipvsadm::saved(&table(desired)));
    assert_eq!(ipvsadm::listed_thresholds(), ipvsadm::thresholds(&table(desired)));
    let live = kernel.observe(&ReadRequest::new()).unwrap();
    assert_eq!(live.services, table(desired));
    assert_eq!(plan_of(desired, &live).steps, []);
}

fn change(verb: Verb, service: ServiceKey, real_server: &str) -> Change {
    Change { verb, object: Object::Destination(service, real_server_key(real_server)) }
}

fn service_change(verb: Verb, service: ServiceKey) -> Change {
    Change { verb, object: Object::Service(service) }
}
