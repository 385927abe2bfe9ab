//! The guard `empty`.

use evenkeel_model::{
    DesiredTimeouts, HostObject, HostValue, Limits, MacAddress, Neighbour, SyncState,
};

use super::*;

/// Specs with settings of the namespace alone.
fn settings() -> [Desired; 4] {
    let empty = spec([], Drain::NONE);
    [
        Desired { sysctls: [("net.ipv4.ip_forward".into(), "1".into())].into(), ..empty.clone() },
        Desired {
            timeouts: DesiredTimeouts { udp: Some(60), ..DesiredTimeouts::default() },
            ..empty.clone()
        },
        Desired { sync: Some([(SyncState::Master, daemon())].into()), ..empty.clone() },
        Desired { sync: Some([].into()), ..empty },
    ]
}

fn guard(desired: &Desired, live: &Live) -> Option<Guard> {
    refused(&planned(desired, live)).map(|(guard, _)| guard)
}

#[test]
fn an_empty_spec_is_refused_even_if_nothing_would_be_deleted() {
    let plan = planned(&spec([], Drain::NONE), &Live::default());
    assert_eq!(refused(&plan).map(|(guard, _)| guard), Some(Guard::Empty));
    let plan = planned(&spec([(on(1), weighing(&[]))], Drain::NONE), &Live::default());
    assert_eq!(refused(&plan), None);
}

#[test]
fn a_spec_of_settings_alone_is_refused_only_where_something_could_be_deleted() {
    let other = |last| (vip(last), Owner::Other);
    let another_program = Live { addresses: [other(1)].into(), ..Live::default() };
    for desired in settings() {
        assert_eq!(guard(&desired, &Live::default()), None, "{desired:?}");
        assert_eq!(guard(&desired, &another_program), None, "{desired:?}");
        let with_service = host([(on(1), weighing(&[1]))]);
        assert_eq!(guard(&desired, &with_service), Some(Guard::Empty), "{desired:?}");
        let with_vip = bound(Live::default(), [vip(1)]);
        assert_eq!(guard(&desired, &with_vip), Some(Guard::Empty), "{desired:?}");
        // What is out of scope is not deleted.
        let elsewhere = Scope::Limited(Limits::default());
        let narrow = Desired { scope: elsewhere, ..desired };
        assert_eq!(guard(&narrow, &with_service), None, "{narrow:?}");
        assert_eq!(guard(&narrow, &with_vip), None, "{narrow:?}");
    }
}

#[test]
fn a_spec_of_neighbours_alone_is_refused_only_where_services_or_vips_could_be_deleted() {
    let neighbour = Neighbour { address: [10, 0, 0, 1].into(), interface: "eth0".into() };
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    let host_objects = [(HostObject::from(neighbour), HostValue::from(mac))].into();
    let desired = Desired { host_objects, ..spec([], Drain::NONE) };
    assert_eq!(guard(&desired, &Live::default()), None);
    let with_service = host([(on(1), weighing(&[1]))]);
    assert_eq!(guard(&desired, &with_service), Some(Guard::Empty));
    assert_eq!(guard(&desired, &bound(Live::default(), [vip(1)])), Some(Guard::Empty));
}

#[test]
fn a_spec_of_settings_alone_is_refused_where_the_last_one_listed_more() {
    let last = spec([(on(1), weighing(&[1]))], Drain::NONE);
    for desired in settings() {
        let (live, record) = (Live::default(), PriorState::default());
        let inputs = Inputs { last: Some(&last), ..Inputs::new(&desired, &live, &record) };
        let found = refused(&plan(inputs)).map(|(guard, _)| guard);
        assert_eq!(found, Some(Guard::Empty), "{desired:?}");
    }
}
