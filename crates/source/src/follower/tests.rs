//! Tests with a source and addresses in memory.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use evenkeel_spec::Source;

use super::*;
use crate::error::SourceError;
use crate::parameters::tests::{on, with_addresses};

const INTERVAL: Duration = Duration::from_millis(60);

/// What the test changes.
struct World {
    text: String,
    /// Why the source cannot be read.
    refusal: Option<io::ErrorKind>,
    /// Whether each reading of the source finds that it has changed meanwhile.
    is_restless: bool,
    revisions: u32,
    addresses: Result<Vec<&'static str>, String>,
    /// How many times the source was fetched, and the addresses read.
    fetches: u32,
    address_reads: u32,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<World>>);

impl Shared {
    fn get(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panics with it")
    }
}

impl SpecSource for Shared {
    fn watch(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn revision(&mut self) -> Revision {
        let world = self.get();
        format!("{} {}", world.text, world.revisions).into_bytes().into()
    }

    fn open_writers(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn fetch(&mut self) -> Result<Vec<Source>, SourceError> {
        let mut world = self.get();
        world.fetches += 1;
        world.revisions += u32::from(world.is_restless);
        match world.refusal {
            Some(kind) => {
                Err(SourceError::Unreadable { path: "a.yaml".into(), source: kind.into() })
            }
            None => Ok(vec![Source::new("a.yaml", world.text.clone())]),
        }
    }
}

const PLAIN: &str =
    "version: 1\nservices:\n  - { name: a, vip: 192.0.2.1, port: 80, real_servers: [] }\n";
const WITH_ADDRESS: &str =
    "version: 1\nservices:\n  - { name: a, vip: \"${host:eth0}\", port: 80, real_servers: [] }\n";

fn follow(text: &str, addresses: &[&'static str]) -> (Shared, Follower) {
    let world = World {
        text: text.to_owned(),
        refusal: None,
        is_restless: false,
        revisions: 0,
        addresses: Ok(addresses.to_vec()),
        fetches: 0,
        address_reads: 0,
    };
    let shared = Shared(Arc::new(Mutex::new(world)));
    let read = shared.clone();
    let parameters = with_addresses(move || {
        let mut world = read.get();
        world.address_reads += 1;
        let addresses = world.addresses.clone()?;
        Ok(addresses.into_iter().map(|it| on("eth0", it)).collect())
    });
    let follower = Follower::new(Box::new(shared.clone()), parameters, INTERVAL);
    (shared, follower)
}

/// Samples as the daemon does, and returns the next reading.
#[track_caller]
fn next_reading(follower: &mut Follower) -> Reading {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match follower.sample() {
            Stability::Idle => panic!("nothing is read"),
            Stability::WaitUntil(time) => {
                thread::sleep(time.saturating_duration_since(Instant::now()));
            }
            Stability::Read | Stability::ReadAnyway => {
                if let Some(reading) = follower.read() {
                    return reading;
                }
            }
        }
    }
    panic!("no reading is accepted");
}

#[track_caller]
fn assert_vip(reading: &Reading, vip: &str) {
    let spec = reading.spec.as_ref().expect("it is valid");
    let services = format!("{:?}", spec.desired.services.keys().collect::<Vec<_>>());
    assert!(services.contains(vip), "{services}");
}

#[track_caller]
fn error_of(reading: Reading) -> SpecError {
    reading.spec.expect_err("there is no spec")
}

#[test]
fn addresses_are_read_only_for_a_spec_that_uses_them_and_once_in_each_sample() {
    let (world, mut follower) = follow(PLAIN, &["192.0.2.1"]);
    next_reading(&mut follower);
    assert_eq!(follower.sample(), Stability::Idle);
    assert!(!follower.uses_addresses());
    assert_eq!(world.get().address_reads, 0);

    world.get().text = WITH_ADDRESS.to_owned();
    next_reading(&mut follower);
    assert!(follower.uses_addresses());
    let reads = world.get().address_reads;
    assert_eq!(reads, 1, "which addresses it uses is known only from its text");
    assert_eq!(follower.sample(), Stability::Idle);
    assert_eq!(world.get().address_reads, reads + 1);
    assert_eq!(world.get().fetches, 2);
}

#[test]
fn a_changed_address_is_read_once_it_is_stable() {
    let (world, mut follower) = follow(WITH_ADDRESS, &["192.0.2.1"]);
    assert_vip(&next_reading(&mut follower), "192.0.2.1");
    assert_eq!(follower.sample(), Stability::Idle);
    world.get().addresses = Ok(vec!["192.0.2.2"]);
    let changed = Instant::now();
    assert!(matches!(follower.sample(), Stability::WaitUntil(_)));
    let reading = next_reading(&mut follower);
    assert!(changed.elapsed() >= STABLE_FOR);
    assert_vip(&reading, "192.0.2.2");
    assert_eq!(follower.sample(), Stability::Idle);
}

#[test]
fn an_address_that_changes_and_returns_is_not_read() {
    let (world, mut follower) = follow(WITH_ADDRESS, &["192.0.2.1"]);
    next_reading(&mut follower);
    world.get().addresses = Ok(vec![]);
    assert!(matches!(follower.sample(), Stability::WaitUntil(_)));
    world.get().addresses = Ok(vec!["192.0.2.1"]);
    assert_eq!(follower.sample(), Stability::Idle);
    assert_eq!(world.get().fetches, 1);
}

#[test]
fn a_missing_address_is_an_error_until_it_comes() {
    let (world, mut follower) = follow(WITH_ADDRESS, &[]);
    let reading = next_reading(&mut follower);
    let values: Vec<_> = reading.parameters.values().cloned().collect();
    assert_eq!(values, [ParameterValue::Missing]);
    let error = error_of(reading);
    assert!(error.text.contains("`${host:eth0}` has no value"), "{error}");
    assert!(!error.is_temporary, "only a change of the address mends it");
    assert_eq!(follower.sample(), Stability::Idle);
    world.get().addresses = Ok(vec!["192.0.2.7"]);
    assert_vip(&next_reading(&mut follower), "192.0.2.7");
}

#[test]
fn an_address_that_changes_between_sample_and_reading_is_sampled_again() {
    let (world, mut follower) = follow(WITH_ADDRESS, &["192.0.2.1"]);
    next_reading(&mut follower);
    assert_eq!(follower.sample(), Stability::Idle);
    world.get().addresses = Ok(vec!["192.0.2.2"]);
    assert!(follower.read().is_none(), "no sample has seen that value");
    assert_vip(&next_reading(&mut follower), "192.0.2.2");
}

#[test]
fn a_refused_reading_is_repeated_within_the_interval() {
    let (world, mut follower) = follow(PLAIN, &[]);
    next_reading(&mut follower);
    world.get().text.push_str("# more\n");
    // EMFILE, EIO, ENOMEM and the like have kinds of their own or none.
    for kind in [io::ErrorKind::Other, io::ErrorKind::OutOfMemory, io::ErrorKind::PermissionDenied]
    {
        world.get().refusal = Some(kind);
        let error = error_of(next_reading(&mut follower));
        assert!(error.text.starts_with("cannot read a.yaml: "), "{error}");
        assert!(error.is_temporary);
        let Stability::WaitUntil(time) = follower.sample() else { panic!("it is repeated") };
        assert!(time <= Instant::now() + INTERVAL);
        let fetches = world.get().fetches;
        thread::sleep(INTERVAL);
        error_of(next_reading(&mut follower));
        assert_eq!(world.get().fetches, fetches + 1);
    }
    world.get().refusal = None;
    thread::sleep(INTERVAL);
    assert_vip(&next_reading(&mut follower), "192.0.2.1");
    assert_eq!(follower.sample(), Stability::Idle);
}

#[test]
fn a_changed_file_is_not_delayed_by_the_retry_of_the_one_before() {
    let (world, parameters) = follow(PLAIN, &[]);
    let Follower { source, parameters, .. } = parameters;
    let mut follower = Follower::new(source, parameters, Duration::from_secs(3_600));
    world.get().refusal = Some(io::ErrorKind::Other);
    error_of(next_reading(&mut follower));
    let Stability::WaitUntil(time) = follower.sample() else { panic!("it is repeated") };
    let begin = Instant::now();
    assert!(time > begin + FIRST_RETRY / 2);
    world.get().refusal = None;
    world.get().text.push_str("# more\n");
    assert_vip(&next_reading(&mut follower), "192.0.2.1");
    assert!(begin.elapsed() < FIRST_RETRY / 2, "{:?}", begin.elapsed());
}

#[test]
fn a_missing_file_is_not_read_again_before_it_changes() {
    let (world, mut follower) = follow(PLAIN, &[]);
    world.get().refusal = Some(io::ErrorKind::NotFound);
    assert!(!error_of(next_reading(&mut follower)).is_temporary);
    thread::sleep(INTERVAL);
    assert_eq!(follower.sample(), Stability::Idle);
}

#[test]
fn addresses_that_cannot_be_read_are_read_again() {
    let (world, mut follower) = follow(WITH_ADDRESS, &["192.0.2.1"]);
    next_reading(&mut follower);
    world.get().addresses = Err("Too many open files".to_owned());
    let error = error_of(next_reading(&mut follower));
    assert!(error.is_temporary);
    assert!(
        error.text.contains("`${host:eth0}` cannot be resolved: Too many open files"),
        "{error}"
    );
    assert!(matches!(follower.sample(), Stability::WaitUntil(_)));
    world.get().addresses = Ok(vec!["192.0.2.1"]);
    assert_vip(&next_reading(&mut follower), "192.0.2.1");
}

#[test]
fn a_source_that_cannot_be_read_keeps_the_parameters_of_its_last_texts() {
    let (world, mut follower) = follow(WITH_ADDRESS, &["192.0.2.1"]);
    next_reading(&mut follower);
    world.get().refusal = Some(io::ErrorKind::Other);
    world.get().text.push_str("# more\n");
    error_of(next_reading(&mut follower));
    assert!(follower.uses_addresses());
}

#[test]
fn a_source_that_changes_during_each_reading_is_never_accepted() {
    let (world, mut follower) = follow(PLAIN, &[]);
    world.get().is_restless = true;
    thread::sleep(Duration::from_millis(1));
    while !matches!(follower.sample(), Stability::Read) {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(follower.read().is_none());
    assert!(matches!(follower.sample(), Stability::WaitUntil(_)));
    world.get().is_restless = false;
    assert_vip(&next_reading(&mut follower), "192.0.2.1");
}

/// A cluster with these addresses of the director and of the real server.
fn cluster(director: &str, real_server: &str) -> String {
    format!(
        "version: 1\ndirectors: [ {{ name: lb1, addresses: [{director}] }} ]\nservices:\n  - {{ name: a, \
         vip: 192.0.2.1, port: 80, real_servers: [ {{ address: {real_server} }} ] }}\n"
    )
}

#[test]
fn a_real_server_that_loses_its_address_stays_one_until_the_spec_no_longer_lists_it() {
    let text = cluster("192.0.2.2", "192.0.2.11");
    let (shared, mut follower) = follow(&text, &["192.0.2.11", "198.51.100.1"]);
    assert!(next_reading(&mut follower).spec.is_ok());
    shared.get().addresses = Ok(vec!["198.51.100.1"]);
    let error = next_reading(&mut follower).spec.unwrap_err();
    assert!(
        error.text.starts_with("this host no longer has 192.0.2.11, by which"),
        "{}",
        error.text
    );
    shared.get().addresses = Ok(vec!["192.0.2.11", "198.51.100.1"]);
    let spec = next_reading(&mut follower).spec.unwrap();
    assert_eq!(spec.desired.roles.real_server.len(), 1);
    shared.get().addresses = Ok(vec!["198.51.100.1"]);
    assert!(next_reading(&mut follower).spec.is_err());
    shared.get().text = cluster("192.0.2.2", "192.0.2.12");
    let spec = next_reading(&mut follower).spec.unwrap();
    assert_eq!(spec.desired.roles, HostRoles::NONE);
}

#[test]
fn a_real_server_that_loses_one_of_its_addresses_serves_by_all_of_them_until_the_spec_lists_it_no_longer()
 {
    let two = "192.0.2.11 }, { address: 192.0.2.12";
    let (shared, mut follower) = follow(&cluster("192.0.2.2", two), &["192.0.2.11", "192.0.2.12"]);
    assert_eq!(next_reading(&mut follower).spec.unwrap().desired.roles.real_server.len(), 2);
    shared.get().addresses = Ok(vec!["192.0.2.12"]);
    let error = next_reading(&mut follower).spec.unwrap_err();
    assert!(error.text.starts_with("this host no longer has 192.0.2.11, by which"), "{error:?}");
    shared.get().text = cluster("192.0.2.2", "192.0.2.12");
    assert_eq!(next_reading(&mut follower).spec.unwrap().desired.roles.real_server.len(), 1);
}

#[test]
fn neither_a_spec_nor_an_address_changes_the_role_of_a_host() {
    let text = cluster("192.0.2.2", "192.0.2.11");
    let (shared, mut follower) = follow(&text, &["192.0.2.11"]);
    assert!(next_reading(&mut follower).spec.is_ok());
    shared.get().addresses = Ok(vec!["192.0.2.11", "192.0.2.2"]);
    let words = "would make it the director `lb1`; it is a real server, and stays that";
    assert!(next_reading(&mut follower).spec.unwrap_err().text.contains(words));
    shared.get().addresses = Ok(vec!["192.0.2.11"]);
    assert!(next_reading(&mut follower).spec.is_ok());
    shared.get().text = cluster("192.0.2.11", "192.0.2.12");
    assert!(next_reading(&mut follower).spec.unwrap_err().text.contains(words));
    shared.get().text = text;
    assert!(next_reading(&mut follower).spec.is_ok());
}

#[test]
fn a_gateway_stays_one_until_the_spec_no_longer_lists_it() {
    let with = |gateway: &str, real_server: &str| {
        let gateways = format!("gateways: [ {{ name: r1, addresses: [{gateway}] }} ]\nservices:");
        cluster("192.0.2.2", real_server).replace("services:", &gateways)
    };
    let text = with("192.0.2.254", "192.0.2.11");
    let (shared, mut follower) = follow(&text, &["192.0.2.254", "198.51.100.1"]);
    let spec = next_reading(&mut follower).spec.unwrap();
    assert_eq!(spec.desired.roles.to_string(), "gateway r1");
    shared.get().addresses = Ok(vec!["198.51.100.1"]);
    let error = next_reading(&mut follower).spec.unwrap_err().text;
    let words =
        "this host no longer has 192.0.2.254, by which the spec makes it a gateway; it stays one";
    assert!(error.starts_with(words), "{error}");
    shared.get().addresses = Ok(vec!["192.0.2.254", "198.51.100.1"]);
    assert!(next_reading(&mut follower).spec.is_ok());
    // Another role is refused, whatever lists it.
    for (text, role) in [
        (with("192.0.2.253", "192.0.2.254"), "a real server"),
        (cluster("192.0.2.254", "192.0.2.11"), "the director `lb1`"),
    ] {
        shared.get().text = text;
        let error = next_reading(&mut follower).spec.unwrap_err().text;
        let words = format!("would make it {role}; it is a gateway, and stays that");
        assert!(error.contains(&words), "{error}");
    }
    shared.get().text = with("192.0.2.253", "192.0.2.11");
    let spec = next_reading(&mut follower).spec.unwrap();
    assert_eq!(spec.desired.roles, HostRoles::NONE);
    shared.get().text = text;
    let spec = next_reading(&mut follower).spec.unwrap();
    assert_eq!(spec.desired.roles.to_string(), "gateway r1");
}
