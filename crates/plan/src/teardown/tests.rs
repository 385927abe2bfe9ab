//! Laws of teardowns.

use evenkeel_model::arbitrary::pair;
use evenkeel_model::{
    Binding, Desired, Drain, Limits, Link, NamedService, RealServers, Scheduler, Scope, Service,
    ServiceConfig, ServiceKey, SyncState,
};
use proptest::prelude::*;

use super::remaining::unlisted;
use super::*;
use crate::connection_sysctls::NODEST;
use crate::test_fixtures::{sync_daemon, warnings};
use crate::{Adopted, DrainRecords, Inputs, PriorState, plan, simulate};

fn web(last: u8, port: u16) -> ServiceKey {
    let protocol = evenkeel_model::Protocol::Tcp;
    ServiceKey::Address { address: [192, 0, 2, last].into(), port, protocol }
}

fn on(last: u8, interface: &str) -> Binding {
    Binding::host([192, 0, 2, last].into(), interface)
}

fn service() -> Service {
    let config = ServiceConfig::new(Scheduler::wlc());
    Service { config, real_servers: RealServers::new() }
}

/// A spec with one service, and the host with that spec applied, beside a service and an address of
/// other programs.
fn example() -> (Desired, Live, PriorState) {
    let named = NamedService { name: "web".into(), ..unlisted(&service()) };
    let last = Desired {
        scope: Scope::All,
        services: [(web(1, 80), named)].into(),
        drain: Drain::NONE,
        ..Desired::default()
    };
    let dummy = Link { up: true, dummy: true, owner: Owner::Evenkeel };
    let live = Live {
        services: [web(1, 80), web(2, 80)].map(|key| (key, service())).into(),
        addresses: [(on(1, "vips"), Owner::Evenkeel), (on(2, "eth0"), Owner::Other)].into(),
        links: Some([("vips".into(), dummy), ("other".into(), dummy)].into()),
        sysctls: [("net.ipv4.ip_forward".into(), "1".into())].into(),
        ..Live::default()
    };
    let sysctls = [("net.ipv4.ip_forward".into(), "0".into())].into();
    (last, live, PriorState { applied: true, sysctls, ..PriorState::default() })
}

fn torn_down(last: Option<&Desired>, live: &Live, record: &PriorState, dummies: &[&str]) -> Plan {
    let (adopted, drains) = (Adopted::default(), DrainRecords::default());
    let (drains, removed, adopted) = (&drains, &record.left, &adopted);
    let overlaid = &crate::OverlayRecords::default();
    let inputs = TeardownInputs { last, attempted: None, live, drains, overlaid, removed, adopted };
    let Remaining { desired, stays } = remaining(inputs);
    assert_eq!(stays, Stays::default());
    let dummies = dummies.iter().map(|name| (*name).into()).collect();
    teardown(plan(Inputs { last, ..Inputs::new(&desired, live, record) }), live, record, &dummies)
}

#[test]
fn services_are_deleted_before_dummy_devices_and_sysctls_are_restored_last() {
    let (last, live, record) = example();
    let steps = torn_down(Some(&last), &live, &record, &["vips", "gone"]).steps;
    let [Op::Unbind { .. }, Op::DeleteService { key, .. }, Op::DeleteDummy { interface }, sysctl] =
        &steps[..]
    else {
        panic!("{steps:?}");
    };
    assert_eq!((*key, &**interface), (web(1, 80), "vips"));
    assert!(matches!(sysctl, Op::RestoreSysctl { after, .. } if **after == *"0"));
    let after = simulate(&live, &steps);
    assert_eq!(after.services.into_keys().collect::<Vec<_>>(), [web(2, 80)]);
    assert_eq!(after.addresses.into_keys().collect::<Vec<_>>(), [on(2, "eth0")]);
}

#[test]
fn a_dummy_device_with_an_address_of_others_stays() {
    let (last, mut live, record) = example();
    live.addresses
        .insert(Binding::host("fe80::1".parse().expect("an address"), "vips"), Owner::Other);
    let plan = torn_down(Some(&last), &live, &record, &["vips"]);
    assert_eq!(plan.counts().delete, 2, "every interface has a link-local address");
    live.addresses.insert(on(9, "vips"), Owner::Other);
    let plan = torn_down(Some(&last), &live, &record, &["vips"]);
    assert_eq!(plan.counts().delete, 1);
    assert_eq!(
        warnings(&plan),
        ["dummy device vips stays: another program bound 192.0.2.9/32 on it"]
    );
}

#[test]
fn only_the_sync_daemon_that_the_spec_started_is_stopped() {
    let (mut last, mut live, record) = example();
    let daemon = |id| sync_daemon("eth0", id);
    live.sync = [(SyncState::Master, daemon(1)), (SyncState::Backup, daemon(2))].into();
    let stopped = |last: &Desired| {
        let steps = torn_down(Some(last), &live, &record, &[]).steps;
        let stopped = steps.iter().filter_map(|op| match op {
            Op::DeleteSync { state, .. } => Some(*state),
            _ => None,
        });
        stopped.collect::<Vec<_>>()
    };
    assert_eq!(stopped(&last), []);
    last.sync = Some([(SyncState::Master, daemon(1)), (SyncState::Backup, daemon(9))].into());
    assert_eq!(stopped(&last), [SyncState::Master]);
}

#[test]
fn a_teardown_may_delete_but_not_unbind_a_vip_that_others_need() {
    let (last, mut live, mut record) = example();
    record.applied = false;
    let guards = |live: &Live| {
        let plan = torn_down(Some(&last), live, &record, &[]);
        plan.refusals.into_iter().map(|it| it.guard).collect::<Vec<_>>()
    };
    assert_eq!(guards(&live), []);
    live.services.insert(web(1, 443), service());
    assert_eq!(guards(&live), [Guard::UnbindInUse]);
}

#[test]
fn without_a_last_spec_no_service_is_deleted() {
    let (_, mut live, record) = example();
    live.services.remove(&web(1, 80));
    let steps = torn_down(None, &live, &record, &["vips"]).steps;
    assert!(
        matches!(&steps[..], [Op::Unbind { .. }, Op::DeleteDummy { .. }, Op::RestoreSysctl { .. }]),
        "{steps:?}"
    );
}

#[test]
fn objects_out_of_scope_stay() {
    let (mut last, live, record) = example();
    let vips = vec!["198.51.100.0/24".parse().expect("a network")];
    last.scope = Scope::Limited(Limits { vips, ..Limits::default() });
    let steps = torn_down(Some(&last), &live, &record, &[]).steps;
    assert!(matches!(&steps[..], [Op::RestoreSysctl { .. }]), "{steps:?}");
}

proptest! {
    #[test]
    fn objects_that_the_spec_lists_are_deleted_and_all_others_stay(pair in pair(8)) {
        let last = &pair.desired;
        let record = PriorState::for_snapshot();
        let after = simulate(&pair.live, &torn_down(Some(last), &pair.live, &record, &[]).steps);
        for (key, service) in &pair.live.services {
            let left = after.services.get(key);
            prop_assert_eq!(left, Some(service).filter(|_| !last.services.contains_key(key)));
        }
        prop_assert_eq!(torn_down(Some(last), &after, &record, &[]).steps, vec![]);
    }
}

#[test]
fn timeouts_that_stay_are_reported_and_nothing_mentions_a_spec() {
    let (last, mut live, mut record) = example();
    live.timeouts =
        Some(evenkeel_model::Timeouts { tcp: 600, ..evenkeel_model::Timeouts::INITIAL });
    record.timeouts.tcp = Some(600);
    live.services.insert(web(1, 8080), service());
    let plan = torn_down(Some(&last), &live, &record, &[]);
    assert_eq!(
        warnings(&plan),
        ["timeouts stay, tcp at 600 s: their earlier values are not recorded; `ipvsadm --set` \
             changes them"]
    );
    let [refusal] = &plan.refusals[..] else { panic!("{:?}", plan.refusals) };
    assert!(
        refusal.to_string().ends_with("first") && !refusal.to_string().contains('`'),
        "{refusal:?}"
    );
}

#[test]
fn a_sysctl_that_is_restored_last_is_in_force_during_drains() {
    let (mut last, mut live, mut record) = example();
    let real_server = evenkeel_model::RealServerKey { address: [10, 0, 0, 1].into(), port: 80 };
    let value = evenkeel_model::RealServer::new(evenkeel_model::Forward::Dr, 1);
    let gone = live.services.get_mut(&web(1, 80)).expect("it is there");
    gone.real_servers.insert(real_server, value);
    last.services.get_mut(&web(1, 80)).expect("it is listed").drain = Drain(30);
    for (now, is_reported) in [("1", false), ("0", true)] {
        live.sysctls.insert(NODEST.into(), now.into());
        record.sysctls.insert(NODEST.into(), "0".into());
        let plan = torn_down(Some(&last), &live, &record, &[]);
        let reported = warnings(&plan).iter().filter(|it| it.contains(NODEST)).count();
        assert_eq!(reported, usize::from(is_reported), "{:?}", plan.warnings);
        assert!(warnings(&plan).iter().all(|it| !it.contains("under `sysctls`")));
        let words: Vec<String> = plan.impacts.values().map(ToString::to_string).collect();
        let ends = words.iter().any(|it| it.contains("expire_nodest_conn=1"));
        assert_eq!(ends, !is_reported, "{words:?}");
    }
}
