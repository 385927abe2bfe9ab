//! Laws of several owners: overlaps are symmetrical, and what another owner has is left alone.

use evenkeel_model::{
    Binding, Claims, Desired, DesiredTimeouts, FouEncapsulation, FouPort, FouPortValue, HostObject,
    HostValue, Limits, Link, Live, LiveHostObject, LiveHostObjects, Owner, Scope, SyncState, Vip,
};

use super::*;
use crate::test_fixtures::{on, sync_daemon};
use crate::{Inputs, plan};

fn scope(network: &str) -> Scope {
    let vips = vec![network.parse().expect("a network")];
    Scope::Limited(Limits { vips, ..Limits::default() })
}

fn desired(network: &str) -> Desired {
    Desired { scope: scope(network), ..Desired::default() }
}

/// The owner `web` with this spec in force.
fn web(desired: &Desired) -> OtherOwners {
    let mut record = PriorState::default();
    record.governed_by(desired);
    let name = "web".parse().expect("a name");
    OtherOwners(vec![OtherOwner { name, record, ..OtherOwner::default() }])
}

fn with_sysctl(network: &str, key: &str, value: &str) -> Desired {
    Desired { sysctls: [(key.into(), value.into())].into(), ..desired(network) }
}

fn fou(port: u16, encapsulation: FouEncapsulation) -> (HostObject, HostValue) {
    let family = evenkeel_model::Family::Ipv4;
    (FouPort { family, port }.into(), FouPortValue { encapsulation }.into())
}

const A: &str = "192.0.2.0/28";
const B: &str = "192.0.2.16/28";

#[test]
fn an_overlap_is_found_from_either_side_and_disjoint_specs_have_none() {
    let vip = Binding::host([192, 0, 2, 1].into(), "eth0");
    let timeouts = |tcp| DesiredTimeouts { tcp: Some(tcp), ..DesiredTimeouts::default() };
    let object = |encapsulation| [fou(6080, encapsulation)].into();
    let overlapping: Vec<[Desired; 2]> = vec![
        [Desired::default(), desired(B)],
        [Desired { scope: Scope::All, ..Desired::default() }, Desired::default()],
        [desired("192.0.2.0/24"), desired(B)],
        [
            Desired { vips: [(vip.clone(), Vip::default())].into(), ..desired(A) },
            Desired { vips: [(vip, Vip::default())].into(), ..desired(B) },
        ],
        [
            Desired { timeouts: timeouts(9), ..desired(A) },
            Desired { timeouts: timeouts(9), ..desired(B) },
        ],
        [
            Desired { sync: Some([].into()), ..desired(A) },
            Desired {
                sync: Some([(SyncState::Backup, sync_daemon("eth0", 1))].into()),
                ..desired(B)
            },
        ],
        [
            with_sysctl(A, "net.ipv4.vs.drop_entry", "1"),
            with_sysctl(B, "net.ipv4.vs.drop_entry", "2"),
        ],
        [
            with_sysctl(A, "net.ipv4.ip_forward", "1"),
            with_sysctl(B, "net.ipv4.conf.all.forwarding", "0"),
        ],
        [
            with_sysctl(A, "net.ipv4.ip_forward", "1"),
            with_sysctl(B, "net.ipv4.conf.eth0.forwarding", "0"),
        ],
        [
            Desired { host_objects: object(FouEncapsulation::Gue), ..desired(A) },
            Desired { host_objects: object(FouEncapsulation::Direct), ..desired(B) },
        ],
    ];
    for [one, two] in &overlapping {
        for (here, there) in [(one, two), (two, one)] {
            let overlap = web(there).overlap(here);
            let overlap = overlap.unwrap_or_else(|| panic!("no overlap of {here:?} and {there:?}"));
            assert!(overlap.to_string().contains("owner web"), "{overlap}");
            assert!(!overlap.remedy().is_empty());
        }
    }
    let fits: Vec<[Desired; 2]> = vec![
        [desired(A), desired(B)],
        [
            with_sysctl(A, "net.ipv4.vs.drop_entry", "1"),
            with_sysctl(B, "net.ipv4.vs.drop_entry", "1"),
        ],
        [
            with_sysctl(A, "net.ipv4.ip_forward", "1"),
            with_sysctl(B, "net.ipv4.conf.all.forwarding", "1"),
        ],
        [
            with_sysctl(A, "net.ipv4.ip_forward", "1"),
            with_sysctl(B, "net.ipv4.conf.eth0.forwarding", "1"),
        ],
        [
            Desired { host_objects: object(FouEncapsulation::Gue), ..desired(A) },
            Desired { host_objects: object(FouEncapsulation::Gue), ..desired(B) },
        ],
    ];
    for [one, two] in &fits {
        assert_eq!(web(two).overlap(one), None);
        assert_eq!(web(one).overlap(two), None);
    }
}

#[test]
fn a_service_that_still_leaves_another_scope_is_an_overlap() {
    let mut others = web(&desired(A));
    others.0[0].record.left.services.insert(on(17));
    let overlap = others.overlap(&desired(B)).expect("it is still there");
    assert!(overlap.to_string().contains("service 192.0.2.17:80/tcp left the scope of owner web"));
}

#[test]
fn what_another_owner_has_is_not_removed_and_not_brought_up() {
    let vip = Binding::host([192, 0, 2, 17].into(), "vips");
    let (object, value) = fou(6080, FouEncapsulation::Gue);
    let link = Link { up: false, dummy: true, owner: Owner::Evenkeel };
    let objects = [(object.clone(), LiveHostObject { owner: Owner::Evenkeel, value })].into();
    let live = Live {
        addresses: [(vip.clone(), Owner::Evenkeel)].into(),
        links: Some([("vips".into(), link)].into()),
        host_objects: LiveHostObjects { objects, ..LiveHostObjects::default() },
        ..Live::default()
    };
    let spec = desired("192.0.2.0/24");
    let alone = PriorState { applied: true, ..PriorState::default() };
    assert_eq!(plan(Inputs::new(&spec, &live, &alone)).steps.len(), 2, "it would be removed");
    let mut others = web(&desired(A));
    others.0[0].addresses.insert(vip);
    others.0[0].host_objects.insert(object);
    let beside = PriorState { others, ..alone };
    assert_eq!(plan(Inputs::new(&spec, &live, &beside)).steps, []);
}

#[test]
fn a_sysctl_is_restored_by_the_last_owner_that_asks_for_it() {
    let key = "net.ipv4.vs.drop_entry";
    let live = Live { sysctls: [(key.into(), "1".into())].into(), ..Live::default() };
    let sysctls = [(key.into(), "0".into())].into();
    let record = PriorState { applied: true, sysctls, ..PriorState::default() };
    let leaving = desired(A);
    assert_eq!(plan(Inputs::new(&leaving, &live, &record)).steps.len(), 1);
    let asking = with_sysctl(B, key, "1");
    let beside = PriorState { others: web(&asking), ..record.clone() };
    assert_eq!(plan(Inputs::new(&leaving, &live, &beside)).steps, []);
    // The other one records the value from before once it asks for it, and keeps one of its own.
    let name = "web".parse().expect("a name");
    let others = OtherOwners(vec![OtherOwner { name, record, ..OtherOwner::default() }]);
    let mut inheriting = PriorState { others, ..PriorState::default() };
    inheriting.inherit(&leaving);
    assert!(inheriting.sysctls.is_empty(), "it does not ask for it");
    inheriting.inherit(&asking);
    assert_eq!(inheriting.sysctls.get(key).map(|value| &**value), Some("0"));
    inheriting.sysctls.insert(key.into(), "3".into());
    inheriting.inherit(&asking);
    assert_eq!(inheriting.sysctls.get(key).map(|value| &**value), Some("3"));
}

#[test]
fn claims_survive_the_journals_form() {
    let desired = Desired {
        host_objects: [fou(6080, FouEncapsulation::Gue)].into(),
        sync: Some([].into()),
        ..with_sysctl(A, "net.ipv4.ip_forward", "1")
    };
    let claims = Claims::of(&desired);
    let text = serde_json::to_string(&claims).expect("it is JSON");
    assert_eq!(serde_json::from_str::<Claims>(&text).expect("it is one"), claims);
}

#[test]
fn json_has_null_for_the_owner_without_a_name() {
    let name: OwnerName = "web".parse().expect("it is a name");
    assert_eq!(serde_json::to_string(&name).expect("it is JSON"), "\"web\"");
    assert_eq!(serde_json::to_string(&OwnerName::default()).expect("it is JSON"), "null");
    assert!(serde_json::from_str::<OwnerName>("\"../x\"").is_err());
}
