use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{
    FormerRole, HostRoles, HostRoute, Limits, LiveHostObject, Owner, RouteValue, Scope,
};

use super::*;
use crate::{BootId, Guard, Inputs, Op, plan, simulate};

mod method;

const NOON: u64 = 1_767_268_800;
const ARP: &str = "net.ipv4.conf.all.arp_ignore";

fn key(last: u8) -> ServiceKey {
    ServiceKey::parse(&format!("192.0.2.{last}:80/tcp")).expect("a service")
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "lo")
}

fn route(last: u8) -> (HostObject, HostValue) {
    let destination: IpAddr = [192, 0, 2, last].into();
    let route = HostRoute { destination, interface: "lo".into() };
    (HostObject::Route(route), HostValue::Route(RouteValue { source: None }))
}

/// A real server of these services, each with the VIP of its number, and of the services that share
/// the VIP 192.0.2.100.
fn real_server(own: &[u8], sharing: &[u8]) -> Desired {
    let roles = HostRoles { real_server: [[192, 0, 2, 200].into()].into(), ..HostRoles::NONE };
    let mut desired = Desired { roles, scope: Scope::All, ..Desired::default() };
    for last in own.iter().chain(sharing) {
        let number = if own.contains(last) { *last } else { 100 };
        let (object, value) = route(number);
        desired.vips.insert(vip(number), Vip::default());
        desired.host_objects.insert(object.clone(), value);
        desired.sysctls.insert(ARP.into(), "1".into());
        let part = RealServerPart {
            name: "web".into(),
            drain: Drain(20),
            vips: [vip(number)].into(),
            host_objects: [object].into(),
            sysctls: [ARP.into()].into(),
        };
        desired.real_server.insert(key(*last), part);
    }
    desired
}

/// A host, its journal and its clocks. Its uptime is not known where `boot` is `None`.
struct Host {
    live: Live,
    record: PriorState,
    wall: u64,
    uptime: u64,
    boot: Option<BootId>,
}

impl Host {
    fn new() -> Self {
        let mut live = Live { sysctls: [(ARP.into(), "0".into())].into(), ..Live::default() };
        live.host_objects.read = [route(1).0.kind()].into();
        let record = PriorState { applied: true, ..PriorState::default() };
        let boot = "3c8a4a5e-0b1f-4d6e-9a57-00c0ffee0001".parse().ok();
        Self { live, record, wall: NOON, uptime: 500, boot }
    }

    fn now(&self) -> ClockReading {
        let uptime = self.boot.map(|boot| Uptime { boot, milliseconds: self.uptime * 1_000 + 130 });
        ClockReading { wall: Duration::from_millis(self.wall * 1_000 + 200), uptime }
    }

    fn leaving(&self, desired: &Desired) -> Leaving {
        leaving(&LeavingInputs {
            desired,
            live: &self.live,
            record: &self.record,
            now: self.now(),
            interval: Duration::from_secs(10),
        })
    }

    /// Applies a spec; returns what stays.
    fn apply(&mut self, spec: &Desired) -> Vec<StayingObject> {
        // As a process that has just read the journal.
        let text = serde_json::to_string(&self.record).expect("it can be written");
        self.record = serde_json::from_str(&text).expect("it can be read");
        self.record.real_server.rebase(&self.now());
        let Leaving { desired, records, staying, .. } = self.leaving(spec);
        let desired = desired.unwrap_or_else(|| spec.clone());
        let steps = plan(Inputs::new(&desired, &self.live, &self.record)).steps;
        for op in &steps {
            if let Op::EditSysctl { key, before, .. } = op {
                self.record.sysctls.entry(key.clone()).or_insert(before.clone());
            }
        }
        self.live = simulate(&self.live, &steps);
        self.record.real_server = records;
        self.record.sysctls.retain(|key, _| desired.sysctls.contains_key(key));
        staying
    }

    /// Lets time pass, while the wall clock is stepped.
    fn pass(&mut self, seconds: u64, step: i64) {
        self.uptime += seconds;
        self.wall = (self.wall + seconds).saturating_add_signed(step);
    }

    fn bound(&self) -> BTreeSet<u8> {
        let last = |binding: &Binding| match binding.address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        self.live.addresses.keys().map(last).collect()
    }
}

#[test]
fn a_service_that_is_left_keeps_all_of_its_part_for_its_drain_and_an_interval() {
    let mut host = Host::new();
    assert_eq!(host.apply(&real_server(&[1], &[])), []);
    let applied = host.live.clone();
    let none = real_server(&[], &[]);
    let texts = |staying: Vec<StayingObject>| -> Vec<String> {
        staying.iter().map(ToString::to_string).collect()
    };
    let text = "vip 192.0.2.1/32 on lo stays for 30s, while directors may still drain this real server in \
                web/192.0.2.1:80/tcp";
    let first = texts(host.apply(&none));
    assert_eq!((first.len(), first.iter().any(|it| it == text)), (3, true), "{first:?}");
    host.pass(12, 0);
    let later = texts(host.apply(&none));
    assert!(later.contains(&text.replace("30s", "another 18s")), "{later:?}");
    host.pass(18, 0);
    host.apply(&none);
    assert_eq!(host.live, applied);
    host.pass(1, 0);
    assert_eq!(host.apply(&none), []);
    assert_eq!((host.bound(), &*host.live.sysctls[ARP]), (BTreeSet::new(), "0"));
    assert!(host.live.host_objects.objects.is_empty() && host.record.sysctls.is_empty());
    let none =
        RealServerRecords { former: Some(FormerRole::RealServer), ..RealServerRecords::default() };
    assert_eq!(host.record.real_server, none);
}

#[test]
fn a_service_that_lists_the_real_server_again_no_longer_leaves() {
    let mut host = Host::new();
    let listed = real_server(&[1], &[]);
    host.apply(&listed);
    let applied = host.live.clone();
    host.apply(&real_server(&[], &[]));
    host.pass(20, 0);
    assert_eq!(host.apply(&listed), []);
    assert!(host.record.real_server.leaving.is_empty());
    // The next time it has all of its time again.
    host.pass(20, 0);
    host.apply(&real_server(&[], &[]));
    host.pass(20, 0);
    assert_eq!(host.apply(&real_server(&[], &[])).len(), 3);
    assert_eq!(host.live, applied);
}

#[test]
fn no_step_of_the_wall_clock_changes_how_long_an_object_stays() {
    let none = real_server(&[], &[]);
    for step in [0, 1, -1, 29, -29, 3_600, -3_600, 1_000_000, -1_000_000] {
        for at in [0, 1, 15, 29] {
            let mut host = Host::new();
            host.apply(&real_server(&[1], &[]));
            host.apply(&none);
            host.pass(at, step);
            host.apply(&none);
            host.pass(29 - at, -step / 2);
            host.apply(&none);
            assert_eq!(host.bound(), [1].into(), "{step} at {at}");
            // Starts are rounded up to seconds, at each of two steps.
            host.pass(3, 0);
            host.apply(&none);
            assert_eq!(host.bound(), BTreeSet::new(), "{step} at {at}");
        }
    }
}

#[test]
fn without_a_clock_since_boot_a_wall_clock_set_back_does_not_make_an_object_stay_for_good() {
    let mut host = Host { boot: None, ..Host::new() };
    host.apply(&real_server(&[1], &[]));
    host.apply(&real_server(&[], &[]));
    host.pass(29, -1_000_000);
    host.apply(&real_server(&[], &[]));
    host.pass(32, 0);
    host.apply(&real_server(&[], &[]));
    assert_eq!(host.bound(), BTreeSet::new());
}

#[test]
fn exactly_the_objects_that_no_other_service_needs_are_shown_as_staying() {
    let subsets = (0_u8..16).map(|bits| (1..=4).filter(|n| bits >> (n - 1) & 1 == 1).collect());
    let subsets: Vec<Vec<u8>> = subsets.collect();
    let spec = |listed: &[u8]| {
        let (own, sharing): (Vec<u8>, Vec<u8>) = listed.iter().partition(|it| **it <= 2);
        real_server(&own, &sharing)
    };
    for before in &subsets {
        for after in &subsets {
            let (old, new) = (spec(before), spec(after));
            let mut host = Host::new();
            host.apply(&old);
            let live = host.live.clone();
            let staying = host.apply(&new);
            // Additions aside, nothing changed.
            assert!(live.addresses.keys().all(|it| host.live.addresses.contains_key(it)));
            let left = before.iter().filter(|it| !after.contains(it));
            let parts: Vec<&RealServerPart> = left.map(|it| &old.real_server[&key(*it)]).collect();
            let vips = parts.iter().flat_map(|it| &it.vips).cloned().map(Object::Vip);
            let objects = parts.iter().flat_map(|it| &it.host_objects).cloned().map(Object::Host);
            let sysctls = parts.iter().flat_map(|it| &it.sysctls).cloned().map(Object::Sysctl);
            let needed = |object: &Object| match object {
                Object::Vip(binding) => new.vips.contains_key(binding),
                Object::Host(object) => new.host_objects.contains_key(object),
                Object::Sysctl(key) => new.sysctls.contains_key(key),
                _ => false,
            };
            let all = vips.chain(objects).chain(sysctls);
            let expected: BTreeSet<Object> = all.filter(|it| !needed(it)).collect();
            let found: BTreeSet<Object> = staying.into_iter().map(|it| it.object).collect();
            assert_eq!(found, expected, "{before:?} -> {after:?}");
            host.pass(31, 0);
            host.apply(&new);
            let expected: BTreeSet<&Binding> = new.vips.keys().collect();
            assert_eq!(host.live.addresses.keys().collect::<BTreeSet<_>>(), expected);
        }
    }
}

#[test]
fn what_the_spec_asks_differently_is_not_overridden_and_does_not_come_back() {
    let mut host = Host::new();
    host.apply(&real_server(&[1], &[]));
    let mut other = real_server(&[], &[]);
    let (object, _) = route(1);
    let value = HostValue::Route(RouteValue { source: Some([192, 0, 2, 9].into()) });
    other.host_objects.insert(object.clone(), value.clone());
    other.sysctls.insert(ARP.into(), "2".into());
    other.vips.insert(Binding::host([192, 0, 2, 1].into(), "eth0"), Vip::default());
    assert_eq!(host.apply(&other), []);
    assert_eq!(host.live.host_objects.get(&object), Some(&LiveHostObject::of_evenkeel(value)));
    assert_eq!(&*host.live.sysctls[ARP], "2");
    assert!(!host.live.addresses.contains_key(&vip(1)));
    assert_eq!(host.apply(&real_server(&[], &[])), []);
}

#[test]
fn an_object_that_does_not_exist_when_its_service_is_left_is_not_added() {
    let mut host = Host::new();
    host.apply(&real_server(&[1], &[]));
    host.live.addresses.clear();
    let staying = host.apply(&real_server(&[], &[]));
    assert_eq!((staying.len(), host.bound()), (2, BTreeSet::new()));
    // One that is lost later is needed by the drain.
    let mut host = Host::new();
    host.apply(&real_server(&[1], &[]));
    host.apply(&real_server(&[], &[]));
    host.live.addresses.clear();
    host.apply(&real_server(&[], &[]));
    assert_eq!(host.bound(), [1].into());
    // Nor is one kept that another program added.
    let mut host = Host::new();
    host.live.addresses.insert(vip(1), Owner::Other);
    host.apply(&real_server(&[1], &[]));
    let staying = host.apply(&real_server(&[], &[]));
    assert!(staying.iter().all(|it| it.object != Object::Vip(vip(1))), "{staying:?}");
}

#[test]
fn an_object_out_of_scope_neither_stays_nor_goes() {
    let mut host = Host::new();
    host.apply(&real_server(&[1], &[]));
    let vips = vec!["198.51.100.0/24".parse().expect("a network")];
    let scope = Scope::Limited(Limits { vips, ..Limits::default() });
    let narrow = Desired { scope, ..real_server(&[], &[]) };
    let staying = host.apply(&narrow);
    assert!(staying.iter().all(|it| it.object == Object::Sysctl(ARP.into())), "{staying:?}");
    assert_eq!(host.bound(), [1].into());
}

#[test]
fn the_longest_of_several_services_decides() {
    let mut host = Host::new();
    let mut both = real_server(&[], &[3, 4]);
    both.real_server.get_mut(&key(4)).expect("it is there").drain = Drain(50);
    host.apply(&both);
    let staying = host.apply(&real_server(&[], &[]));
    assert!(staying.iter().all(|it| (it.service, it.left) == (key(4), Drain(60))), "{staying:?}");
    host.pass(31, 0);
    host.apply(&real_server(&[], &[]));
    assert_eq!(host.bound(), [100].into());
    host.pass(30, 0);
    host.apply(&real_server(&[], &[]));
    assert_eq!(host.bound(), BTreeSet::new());
}

#[test]
fn guards_judge_a_removal_with_the_spec_that_causes_it_and_not_when_its_time_is_over() {
    let mut host = Host::new();
    let own: Vec<u8> = (1..=6).collect();
    let mut spec = real_server(&own, &[]);
    // On a director, too few VIPs would be left.
    for (is_director, expected) in [(false, vec![]), (true, vec![Guard::MassDelete])] {
        if is_director {
            spec.roles = HostRoles::default();
        }
        host.apply(&spec);
        let none = Desired { roles: spec.roles.clone(), ..real_server(&[1], &[]) };
        let overlay = host.leaving(&none);
        let desired = overlay.desired(&none);
        let inputs = Inputs::new(desired, &host.live, &host.record);
        let plan = plan(Inputs { judged: overlay.judged.as_ref(), ..inputs });
        assert_eq!(plan.steps, []);
        let guards: Vec<Guard> = plan.refusals.iter().map(|it| it.guard).collect();
        assert_eq!(guards, expected);
        host.apply(&none);
        assert_eq!(host.leaving(&none).judged, None);
    }
}

#[test]
fn a_real_server_stays_one_until_it_becomes_a_director() {
    let mut host = Host::new();
    let was = |host: &Host| host.record.real_server.former.is_some();
    host.apply(&Desired::default());
    assert!(!was(&host) && host.record.real_server.is_none());
    host.apply(&real_server(&[], &[]));
    assert!(was(&host));
    host.apply(&Desired { roles: HostRoles::NONE, ..Desired::default() });
    assert!(was(&host));
    host.apply(&Desired::default());
    assert!(!was(&host));
}
