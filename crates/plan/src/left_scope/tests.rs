//! Laws of what left the scope.

use evenkeel_model::{
    HostRoute, HostValue, Limits, Link, LiveHostObject, LiveHostObjects, RouteValue, Service,
    SyncDaemon, Timeouts,
};

use super::*;
use crate::test_fixtures::{at, on, scheduled_by, spec, sync_daemon, weighing};
use crate::{Cause, Inputs, Plan, plan, simulate};

const CONNTRACK: &str = "net.ipv4.vs.conntrack";

fn web() -> Service {
    let real_servers = [(at(1), weighing(1))].into_iter().collect();
    Service { config: scheduled_by("wlc"), real_servers }
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "vips")
}

fn networks(networks: &[&str]) -> Scope {
    let vips = networks.iter().map(|it| it.parse().expect("a network")).collect();
    Scope::Limited(Limits { vips, ..Limits::default() })
}

fn sync() -> SyncDaemon {
    sync_daemon("eth1", 1)
}

fn route(last: u8) -> HostObject {
    HostRoute { destination: [192, 0, 2, last].into(), interface: "vips".into() }.into()
}

/// A host with an object of every kind, all of a spec for 192.0.2.1 and 192.0.2.2.
struct Site {
    last: Desired,
    live: Live,
    record: PriorState,
    addresses: BTreeSet<Binding>,
    host_objects: BTreeSet<HostObject>,
    dummies: BTreeSet<Box<str>>,
    adopted: Adopted,
    is_unreadable: bool,
    attempted: Option<Desired>,
    targeted: BTreeSet<ServiceKey>,
    attempted_targets: BTreeSet<ServiceKey>,
}

impl Site {
    fn new() -> Self {
        let mut last = Desired {
            scope: networks(&["192.0.2.1/32", "192.0.2.2/32"]),
            ..spec([(on(1), web()), (on(2), web())])
        };
        let route_value = HostValue::Route(RouteValue { source: None });
        for number in [1, 2] {
            last.vips
                .insert(vip(number), evenkeel_model::Vip { dummy: true, ..Default::default() });
            last.host_objects.insert(route(number), route_value.clone());
        }
        last.sysctls.insert(CONNTRACK.into(), "1".into());
        last.sync = Some([(SyncState::Master, sync())].into());
        last.timeouts.udp = Some(10);
        let owned = LiveHostObject { owner: Owner::Evenkeel, value: route_value };
        let link = |dummy, owner| Link { up: true, dummy, owner };
        let live = Live {
            services: last.services.iter().map(|(key, it)| (*key, it.service.clone())).collect(),
            addresses: [vip(1), vip(2)].map(|vip| (vip, Owner::Evenkeel)).into(),
            host_objects: LiveHostObjects {
                read: [route(1).kind()].into(),
                objects: [route(1), route(2)].map(|it| (it, owned.clone())).into(),
                ..LiveHostObjects::default()
            },
            links: Some(
                [
                    ("vips".into(), link(true, Owner::Evenkeel)),
                    ("eth1".into(), link(false, Owner::Other)),
                ]
                .into(),
            ),
            timeouts: Some(Timeouts { udp: 10, ..Timeouts::INITIAL }),
            sync: [(SyncState::Master, sync())].into(),
            sysctls: [(CONNTRACK.into(), "1".into())].into(),
            ..Live::default()
        };
        let mut record = PriorState {
            sysctls: [(CONNTRACK.into(), "0".into())].into(),
            timeouts: last.timeouts,
            former_timeouts: DesiredTimeouts { udp: Some(300), ..DesiredTimeouts::default() },
            ..PriorState::for_snapshot()
        };
        record.governed_by(&last);
        Self {
            addresses: last.vips.keys().cloned().collect(),
            host_objects: last.host_objects.keys().cloned().collect(),
            dummies: ["vips".into()].into(),
            last,
            live,
            record,
            adopted: Adopted::default(),
            is_unreadable: false,
            attempted: None,
            targeted: BTreeSet::new(),
            attempted_targets: BTreeSet::new(),
        }
    }

    /// Another service is live, which no spec on record lists and no scope on record covers.
    fn with_service(mut self, number: u8) -> Self {
        self.live.services.insert(on(number), web());
        self
    }

    /// A spec with this scope that lists nothing of the site, but another service.
    fn other(scope: Scope, when_left: Option<WhenLeft>) -> Desired {
        Desired { scope, when_left, ..spec([(on(9), web())]) }
    }

    /// This spec with what left its scope.
    fn left(&self, mut desired: Desired) -> Desired {
        let left = left_scope(&LeftScopeInputs {
            desired: &desired,
            live: &self.live,
            record: &self.record,
            made: MadeObjects {
                addresses: &self.addresses,
                host_objects: &self.host_objects,
                dummies: &self.dummies,
                adopted: &self.adopted,
            },
            last: if self.is_unreadable {
                LastSpec::Unreadable
            } else {
                LastSpec::Read(&self.last)
            },
            attempted: self.attempted.as_ref(),
            targeted: &self.targeted,
            attempted_targets: &self.attempted_targets,
        });
        left.add_to(&mut desired);
        desired
    }

    fn plan(&self, desired: &Desired) -> Plan {
        plan(Inputs { last: Some(&self.last), ..Inputs::new(desired, &self.live, &self.record) })
    }
}

fn names(left: &LeftScope) -> Vec<String> {
    left_objects(left).map(|object| object.to_string()).collect()
}

const ALL: [&str; 9] = [
    "service 192.0.2.1:80/tcp",
    "service 192.0.2.2:80/tcp",
    "vip 192.0.2.1/32 on vips",
    "vip 192.0.2.2/32 on vips",
    "route 192.0.2.1 dev vips",
    "route 192.0.2.2 dev vips",
    "dummy device vips",
    "sysctl net.ipv4.vs.conntrack",
    "sync daemon master",
];

#[test]
fn everything_that_evenkeel_made_stays_and_is_refused_until_the_spec_says_what_becomes_of_it() {
    let site = Site::new();
    let elsewhere = networks(&["192.0.2.9/32"]);
    for (answer, is_refused) in [(None, true), (Some(WhenLeft::Keep), false)] {
        let desired = site.left(Site::other(elsewhere.clone(), answer));
        let expected: Vec<&str> = ALL.into_iter().chain(["timeouts"]).collect();
        assert_eq!(names(&desired.kept), expected);
        assert!(desired.removed.is_empty());
        let plan = site.plan(&desired);
        let after = simulate(&site.live, &plan.steps);
        let without = |mut live: Live| {
            live.services.remove(&on(9));
            live.modules = None;
            live
        };
        assert_eq!(without(after), without(site.live.clone()), "{:?}", plan.steps);
        let guards: Vec<_> = plan.refusals.iter().map(|it| it.guard).collect();
        assert_eq!(guards.contains(&crate::Guard::LeftScope), is_refused, "{guards:?}");
        assert!(!plan.is_in_sync());
    }
}

#[test]
fn what_is_removed_leaves_nothing_and_each_step_names_the_cause() {
    let site = Site::new();
    let elsewhere = networks(&["192.0.2.9/32"]);
    let desired = site.left(Site::other(elsewhere, Some(WhenLeft::Remove)));
    assert!(desired.kept.is_empty());
    let plan = site.plan(&desired);
    let after = simulate(&site.live, &plan.steps);
    assert_eq!(after.services.keys().collect::<Vec<_>>(), [&on(9)]);
    assert!(after.addresses.is_empty() && after.sync.is_empty(), "{after:?}");
    assert!(after.host_objects.objects.is_empty(), "{after:?}");
    assert_eq!(after.links.map(|links| links.len()), Some(1), "eth1");
    assert_eq!(&*after.sysctls[CONNTRACK], "0");
    assert_eq!(after.timeouts, Some(Timeouts::INITIAL));
    let guards: Vec<_> = plan.refusals.iter().map(|it| it.guard).collect();
    assert!(!guards.contains(&crate::Guard::LeftScope), "{guards:?}");
    for (op, cause) in plan.steps.iter().zip(&plan.causes) {
        let is_added = op.service() == Some(on(9)) || matches!(op, Op::AddModule { .. });
        let expected = if is_added { Cause::SpecChanged } else { Cause::LeftScope };
        assert_eq!(*cause, expected, "{op:?}");
    }
}

#[test]
fn a_scope_that_covers_what_it_covered_or_narrows_where_nothing_is_leaves_nothing() {
    let mut site = Site::new();
    let wider = networks(&["192.0.2.0/24"]);
    for scope in [Scope::All, Scope::Implied, wider.clone()] {
        assert!(site.left(Site::other(scope, None)).kept.is_empty());
    }
    // Nothing is on the network that leaves, and nothing of the namespace leaves with it.
    site.record.scope = Some(wider);
    assert!(site.left(site.last.clone()).kept.is_empty());
}

#[test]
fn a_scope_that_is_renamed_leaves_the_objects_of_the_former_one_only() {
    let site = Site::new();
    let mut desired =
        Desired { scope: networks(&["192.0.2.1/32", "203.0.113.0/24"]), ..site.last.clone() };
    desired.services.remove(&on(2));
    desired.vips.remove(&vip(2));
    desired.host_objects.remove(&route(2));
    let kept = site.left(desired).kept;
    assert_eq!(names(&kept), [ALL[1], ALL[3], ALL[5]], "the device and the sysctl are in use");
}

#[test]
fn only_what_evenkeel_made_leaves_the_scope() {
    let mut site = Site::new();
    site.live.services.insert(on(3), web());
    site.live.addresses.insert(vip(3), Owner::Other);
    site.record.scope = Some(Scope::All);
    let desired = site.left(Site::other(networks(&["192.0.2.9/32"]), None));
    let left = names(&desired.kept);
    assert!(!left.iter().any(|name| name.contains("192.0.2.3")), "{left:?}");
    // Another program's address keeps the device.
    assert!(!desired.kept.dummies.contains("vips"));
}

#[test]
fn without_a_journal_nothing_left_the_scope() {
    let mut site = Site::new();
    site.record = PriorState::default();
    site.addresses.clear();
    site.host_objects.clear();
    site.dummies.clear();
    let desired = site.left(Site::other(networks(&["192.0.2.9/32"]), None));
    assert!(desired.kept.is_empty());
}

#[test]
fn what_is_to_be_removed_is_removed_later_and_not_if_the_scope_covers_it_again() {
    let mut site = Site::new();
    let elsewhere = networks(&["192.0.2.9/32"]);
    let desired = site.left(Site::other(elsewhere.clone(), Some(WhenLeft::Remove)));
    // Its apply recorded it, and ended before its drains.
    site.last = Site::other(elsewhere.clone(), Some(WhenLeft::Remove));
    site.record.governed_by(&site.last);
    site.record.left = desired.removed.clone();
    let again = site.left(Site::other(elsewhere, None));
    assert_eq!((&again.removed, again.kept.is_empty()), (&desired.removed, true));
    let plan = site.plan(&again);
    let refused: Vec<_> = plan.refusals.iter().map(|refusal| refusal.guard).collect();
    assert!(!refused.contains(&crate::Guard::WiderScope), "{refused:?}");
    assert!(simulate(&site.live, &plan.steps).addresses.is_empty());
    let wider = site.left(Site::other(Scope::All, None));
    assert!(wider.removed.services.is_empty() && wider.removed.vips.is_empty());
}

#[test]
fn services_outside_the_scope_that_were_applied_one_by_one_are_left() {
    let adopted = |site: &mut Site| drop(site.adopted.services.insert(on(3), web()));
    for is_finished in [true, false] {
        let mut site = Site::new().with_service(3).with_service(4);
        let targets = if is_finished { &mut site.targeted } else { &mut site.attempted_targets };
        // The service on 192.0.2.5 is gone.
        targets.extend([on(3), on(5)]);
        // The scope on record is the spec's.
        let unchanged = site.last.clone();
        assert_eq!(site.left(unchanged.clone()).kept.services, [on(3)].into());
        // What an unfinished apply found was not made by it.
        adopted(&mut site);
        assert_eq!(site.left(unchanged).kept.services.is_empty(), !is_finished);
    }
}

#[test]
fn services_outside_the_scope_that_an_unfinished_apply_listed_are_left_unless_it_found_them() {
    let mut site = Site::new().with_service(3).with_service(4);
    let wider = networks(&["192.0.2.0/24"]);
    site.attempted = Some(Desired { scope: wider, ..spec([(on(3), web()), (on(4), web())]) });
    site.adopted.services.insert(on(4), web());
    assert_eq!(site.left(site.last.clone()).kept.services, [on(3)].into());
}

#[test]
fn unfinished_targets_widen_no_scope() {
    let mut site = Site::new();
    site.live.addresses.insert(vip(3), Owner::Evenkeel);
    site.attempted_targets = [on(1)].into();
    let left = site.left(site.last.clone());
    assert!(left.kept.is_empty(), "{:?}", left.kept);
}

#[test]
fn a_service_that_still_drains_is_left_though_no_spec_lists_it() {
    let mut site = Site::new().with_service(3);
    site.record.scope = Some(networks(&["192.0.2.0/24"]));
    site.last.scope = networks(&["192.0.2.0/24"]);
    let drain =
        crate::Draining { since: 0, weight: 1, limit: evenkeel_model::Drain(30), uptime: None };
    site.record.drains.0.insert((on(3), at(1)), drain);
    let narrower = Site::new().last;
    assert_eq!(site.left(narrower).kept.services, [on(3)].into());
}

#[test]
fn if_the_last_spec_cannot_be_read_every_service_in_its_scope_may_be_of_it() {
    let mut site = Site::new().with_service(3);
    site.is_unreadable = true;
    let elsewhere = site.left(Site::other(networks(&["192.0.2.9/32"]), None));
    assert_eq!(elsewhere.kept.services, [on(1), on(2)].into());
    site.record.applied = false;
    let elsewhere = site.left(Site::other(networks(&["192.0.2.9/32"]), None));
    assert!(elsewhere.kept.services.is_empty());
}
