//! Resets counters with no terminal and no output, on the kernel in memory.

use std::collections::BTreeSet;

use evenkeel_engine::fake_kernel::{FakeKernel, SharedKernel};
use evenkeel_engine::{Exception, Kernel, Refused, StateDir};
use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics, Traffic};
use evenkeel_model::{Desired, Live, RealServerKey, ServiceKey};
use evenkeel_spec::{Source, load};
use evenkeel_workflow::{
    Event, Host, WorkflowError, ZeroOptions, ZeroOutcome, ZeroResult, review_zero, zero,
};
use rustix::io::Errno;

const SPEC: &str = "version: 1
scope: { vips: [192.0.2.1] }
services:
- { name: web, vip: 192.0.2.1, port: 80, real_servers: [{ address: 198.51.100.1 }] }
- { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, real_servers: [{ address: 198.51.100.1 }] }
";

const WEB: &str = "192.0.2.1:80/tcp";
const DNS: &str = "192.0.2.1:53/udp";
const FOREIGN: &str = "192.0.2.9:80/tcp";

fn key(text: &str) -> ServiceKey {
    ServiceKey::parse(text).expect("a service")
}

fn desired(text: &str) -> Desired {
    load(&[Source::new("spec.yaml", text)]).expect("it is valid").desired
}

/// A kernel with the services of the spec and a foreign one, each with traffic.
fn kernel() -> SharedKernel {
    let mut services: std::collections::BTreeMap<_, _> =
        desired(SPEC).services.into_iter().map(|(key, named)| (key, named.service)).collect();
    services.insert(key(FOREIGN), services[&key(WEB)].clone());
    let traffic = Traffic { connections: 1, packets_in: 2, bytes_in: 3, ..Traffic::default() };
    let counted = |key: &ServiceKey| {
        let server = RealServerKey { address: [198, 51, 100, 1].into(), port: key.port() };
        let counted = RealServerStatistics {
            active_connections: 4,
            traffic,
            ..RealServerStatistics::default()
        };
        (*key, ServiceStatistics { traffic, real_servers: [(server, counted)].into() })
    };
    let statistics = Statistics { services: services.keys().map(counted).collect() };
    let live = Live { services, ..Live::default() };
    SharedKernel::new(FakeKernel { statistics, ..FakeKernel::new(live) })
}

fn host(kernel: &SharedKernel, folder: &tempfile::TempDir) -> Host<'static, SharedKernel> {
    let kernel = kernel.clone();
    let state = StateDir::new(folder.path(), "test");
    Host { state, connect: Box::new(move |_| Ok(kernel.clone())), health: Default::default() }
}

/// The services without traffic, and whether all have kept their connections.
fn at_zero(kernel: &SharedKernel) -> BTreeSet<String> {
    let kernel = kernel.get();
    let is_zero = |counted: &ServiceStatistics| {
        let servers = || counted.real_servers.values();
        assert!(servers().all(|it| it.active_connections == 4), "connections are kept");
        let is_zero = counted.traffic == Traffic::default();
        assert!(servers().all(|it| (it.traffic == Traffic::default()) == is_zero));
        is_zero
    };
    let found = kernel.statistics.services.iter().filter(|(_, counted)| is_zero(counted));
    found.map(|(key, _)| key.to_string()).collect()
}

#[test]
fn the_reviewed_services_in_scope_are_reset_and_no_others() {
    let (folder, kernel, spec) = (tempfile::tempdir().expect("a folder"), kernel(), desired(SPEC));
    let mut host = host(&kernel, &folder);
    let mut events: Vec<Event> = Vec::new();
    let all = ZeroOptions { spec: Some(&spec), selectors: &[], reviewed: None };
    let selection = review_zero(&mut host, &all, &mut events).expect("it can be reviewed");
    assert_eq!(selection.services, [key(WEB), key(DNS)].into());
    assert_eq!(selection.names().name(&key(WEB)), Some("web"));
    assert_eq!(at_zero(&kernel), BTreeSet::new(), "a review changes nothing");

    // Another program adds a service in scope after the review.
    let new = key("192.0.2.1:443/tcp");
    let service = kernel.get().live.services[&key(WEB)].clone();
    kernel.get().live.services.insert(new, service);
    let reviewed = ZeroOptions { reviewed: Some(&selection.services), ..all };
    let result = zero(&mut host, &reviewed, &mut events).expect("it is no error");
    assert!(matches!(result.outcome, ZeroOutcome::Changed), "{result:?}");
    assert_eq!(at_zero(&kernel), BTreeSet::new());

    kernel.get().live.services.remove(&new);
    let ZeroResult { outcome, .. } = zero(&mut host, &reviewed, &mut events).expect("it is done");
    let ZeroOutcome::Executed(replies) = outcome else { panic!("{outcome:?}") };
    assert!(replies.exceptions.is_empty(), "{replies:?}");
    assert_eq!(at_zero(&kernel), [WEB, DNS].map(str::to_owned).into());
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn selected_services_have_to_be_in_scope_and_some_spec_has_to_be_known() {
    let (folder, kernel, spec) = (tempfile::tempdir().expect("a folder"), kernel(), desired(SPEC));
    let mut host = host(&kernel, &folder);
    let mut zero = |spec, selectors: &[&str]| {
        let selectors: Vec<String> = selectors.iter().map(|it| (*it).to_owned()).collect();
        let options = ZeroOptions { spec, selectors: &selectors, reviewed: None };
        zero(&mut host, &options, &mut Vec::new())
    };
    let unknown = zero(None, &[]).expect_err("no spec is known");
    assert!(matches!(unknown, WorkflowError::NoSpec), "{unknown:?}");
    let foreign = zero(Some(&spec), &["web", FOREIGN]).expect_err("it is out of scope");
    assert!(matches!(foreign, WorkflowError::OutOfScope { .. }), "{foreign:?}");
    let typo = zero(Some(&spec), &["wbe"]).expect_err("there is none");
    assert!(matches!(typo, WorkflowError::UnknownSelection(_)), "{typo:?}");
    assert_eq!(at_zero(&kernel), BTreeSet::new());
    kernel.get().live.services.remove(&key(DNS));
    let result = zero(Some(&spec), &["web", "dns"]).expect("one of them is there");
    assert_eq!(result.selection.absent, [key(DNS)].into());
    assert_eq!(at_zero(&kernel), [WEB.to_owned()].into());
}

#[test]
fn the_kernel_refuses_to_reset_a_service_that_it_does_not_have() {
    let mut kernel = kernel();
    let replies = kernel.zero(&[key(WEB), key("192.0.2.7:80/tcp")].into()).expect("it replies");
    let refused = Exception::Refused(Refused::from(Errno::SRCH));
    assert_eq!(replies.exceptions, [(1, refused)].into());
    assert_eq!(at_zero(&kernel), [WEB.to_owned()].into());
}
