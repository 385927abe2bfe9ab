use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics};
use evenkeel_model::{
    Desired, Drain, Forward, NamedService, Netmask, Owner, Persistence, RealServer, RealServers,
    SchedulerFlags, Scope, Service, Timeouts, Tunnel, TunnelKind, Vip,
};

use super::*;
use crate::connection_sysctls::{NODEST, QUIESCENT, REUSE};
use crate::test_fixtures::{at, on, scheduled_by, sync_daemon, weighing};
use crate::{Draining, Plan, PriorState, plan};

const WEB: ServiceKey = ServiceKey::Fwmark { family: evenkeel_model::Family::Ipv4, fwmark: 1 };

fn persistent(config: ServiceConfig, netmask: u8) -> ServiceConfig {
    let netmask = Netmask::v4_prefix(netmask).expect("a length");
    ServiceConfig { persistence: Some(Persistence { timeout: 300, netmask }), ..config }
}

/// Two different states and the other inputs.
struct Case {
    desired: Desired,
    live: Live,
    record: PriorState,
    statistics: Option<Statistics>,
}

impl Case {
    /// One service on both sides.
    fn of(
        key: ServiceKey,
        live: (ServiceConfig, &[(u8, RealServer)]),
        desired: (ServiceConfig, &[(u8, RealServer)]),
        drain: u32,
    ) -> Self {
        let service = |(config, all): (ServiceConfig, &[(u8, RealServer)])| {
            let real_servers: RealServers = all.iter().map(|(last, it)| (at(*last), *it)).collect();
            Service { config, real_servers }
        };
        let named =
            NamedService { drain: Drain(drain), ..NamedService::new("web", service(desired)) };
        Self {
            desired: Desired {
                scope: Scope::All,
                services: [(key, named)].into(),
                drain: Drain(drain),
                ..Desired::default()
            },
            live: Live { services: [(key, service(live))].into(), ..Live::default() },
            record: PriorState::for_snapshot(),
            statistics: None,
        }
    }

    /// A service whose second real server is removed.
    fn leaving(key: ServiceKey, config: ServiceConfig, drain: u32) -> Self {
        let (one, two) = ((1, weighing(1)), (2, weighing(1)));
        Self::of(key, (config.clone(), &[one, two]), (config, &[one]), drain)
    }

    /// Sets the connections of the second real server, and one of the first.
    fn counted(mut self, active: u32, inactive: u32) -> Self {
        let key = *self.live.services.keys().next().expect("a service");
        let counted = |active_connections, inactive_connections| RealServerStatistics {
            active_connections,
            inactive_connections,
            ..RealServerStatistics::default()
        };
        let real_servers = [(at(1), counted(1, 0)), (at(2), counted(active, inactive))].into();
        let service = ServiceStatistics { real_servers, ..ServiceStatistics::default() };
        self.statistics = Some(Statistics { services: [(key, service)].into() });
        self
    }

    fn with(mut self, sysctl: &str, value: &str) -> Self {
        self.live.sysctls.insert(sysctl.into(), value.into());
        self
    }

    fn plan(&self) -> Plan {
        let statistics = self.statistics.as_ref();
        plan(Inputs { statistics, ..Inputs::new(&self.desired, &self.live, &self.record) })
    }

    /// Returns the text of the impact of each step; empty if it affects no connections.
    fn texts(&self) -> Vec<String> {
        let plan = self.plan();
        let word = |place| plan.impacts.get(&place).map(ToString::to_string).unwrap_or_default();
        (0..plan.steps.len()).map(word).collect()
    }

    fn notable(&self) -> Vec<bool> {
        self.plan().impacts.values().map(Impact::is_notable).collect()
    }
}

#[test]
fn a_deletion_without_a_drain_reports_how_many_break_and_how() {
    let case = || Case::leaving(on(1), scheduled_by("wlc"), 0);
    assert_eq!(
        case().texts(),
        ["existing connections would break: drain first; unless expire_nodest_conn is 1, their \
          packets are silently dropped"]
    );
    assert_eq!(
        case().counted(17, 5).with(NODEST, "0").texts(),
        ["17 connections would break: drain first; their packets are silently dropped until \
          they time out (expire_nodest_conn=0)"]
    );
    assert_eq!(
        case().counted(1, 0).with(NODEST, "1").texts(),
        ["1 connection would break: drain first; they end at their next packet \
          (expire_nodest_conn=1)"]
    );
    let none = case().counted(0, 5);
    assert_eq!(
        (none.texts(), none.notable()),
        (vec!["no connections would break".into()], vec![false])
    );
    assert_eq!(case().counted(17, 5).plan().impacts[&0].breaks(), Some(17));
    assert_eq!(case().plan().impacts[&0].breaks(), None);
}

#[test]
fn inactive_connections_count_if_they_may_be_datagrams() {
    let case = Case::leaving(WEB, scheduled_by("wlc"), 0).counted(17, 5);
    assert_eq!(case.plan().impacts[&0].connections, Some(22));
}

#[test]
fn a_real_server_that_cannot_drain_is_reported_with_the_reason() {
    let texts = |name| Case::leaving(on(1), scheduled_by(name), 0).texts().remove(0);
    let said = |name| texts(name).split("; ").next().expect("a part").to_owned();
    assert_eq!(
        said("sh"),
        "existing connections would break: sh needs sh-fallback to let it drain"
    );
    assert_eq!(
        said("mh"),
        "existing connections would break: mh needs mh-fallback to let it drain"
    );
    assert_eq!(said("dh"), "existing connections would break: dh cannot drain real servers");
}

#[test]
fn a_drain_reports_connections_duration_and_remaining_new_connections() {
    let case = || Case::leaving(on(1), scheduled_by("wlc"), 120);
    assert_eq!(
        case().with(NODEST, "1").texts(),
        [
            "existing connections have 2m to end",
            "remaining connections break: they end at their next packet (expire_nodest_conn=1)",
        ]
    );
    assert_eq!(case().notable(), [false, false], "the line of the drain shows it");
    assert_eq!(case().counted(17, 5).notable(), [true, false]);
    let first = |case: Case| case.texts().remove(0);
    assert_eq!(first(case().counted(17, 5)), "17 connections have 2m to end");
    assert_eq!(first(case().counted(1, 5)), "1 connection has 2m to end");
    assert_eq!(first(case().counted(0, 5)), "no connections to wait for");
    let mut begun = case().counted(17, 0);
    begun.record.drains.0.insert(
        (on(1), at(2)),
        Draining { since: 1, weight: 1, limit: Drain::default(), uptime: None },
    );
    assert_eq!(first(begun), "17 connections have the rest of 2m to end");

    let sticky = || Case::leaving(on(1), persistent(scheduled_by("wlc"), 32), 120).counted(17, 0);
    assert_eq!(
        first(sticky()),
        "17 connections have 2m to end; persistent clients still arrive unless \
         expire_quiescent_template is 1"
    );
    assert_eq!(
        first(sticky().with(QUIESCENT, "0")),
        "17 connections have 2m to end; persistent clients still arrive (expire_quiescent_template=0)"
    );
    assert_eq!(first(sticky().with(QUIESCENT, "1")), "17 connections have 2m to end");
    let reused = "17 connections have 2m to end; clients that reuse a source port still arrive \
                  (conn_reuse_mode=0)";
    let reuse = || case().counted(17, 0).with(REUSE, "0");
    assert_eq!(first(reuse()), reused);
    assert_eq!(first(reuse().with(NODEST, "0")), reused);
    assert_eq!(first(reuse().with(NODEST, "1")), "17 connections have 2m to end");
}

#[test]
fn a_sysctl_counts_as_the_plan_sets_it() {
    let mut case = Case::leaving(on(1), scheduled_by("wlc"), 0).with(NODEST, "0");
    case.desired.sysctls.insert(NODEST.into(), "1".into());
    let texts = case.texts();
    assert_eq!((texts.len(), &*texts[0]), (2, ""));
    assert!(texts[1].ends_with("(expire_nodest_conn=1)"), "{texts:?}");
}

#[test]
fn deleting_a_service_breaks_all_its_connections_unless_they_drained() {
    let leaving = |drain| {
        let all: &[_] = &[(1, weighing(1)), (2, weighing(0))];
        let config = scheduled_by("wlc");
        let mut case = Case::of(on(1), (config.clone(), all), (config, &[]), drain).counted(17, 0);
        case.desired.services.clear();
        case.with(NODEST, "1")
    };
    let end = "they end at their next packet (expire_nodest_conn=1)";
    assert_eq!(leaving(0).texts(), [format!("18 connections would break: drain first; {end}")]);
    assert_eq!(
        leaving(30).texts(),
        [
            "1 connection has 30s to end".to_owned(),
            "17 connections have 30s to end".to_owned(),
            format!("remaining connections break: {end}"),
        ]
    );
}

#[test]
fn weights_and_thresholds_leave_connections_alone() {
    let edit = |config: ServiceConfig, before, after| {
        Case::of(on(1), (config.clone(), &[(1, before)]), (config, &[(1, after)]), 0)
    };
    let limited = RealServer { upper_threshold: 5, ..weighing(1) };
    for (before, after) in
        [(weighing(1), weighing(5)), (weighing(0), weighing(1)), (weighing(1), limited)]
    {
        let case = edit(scheduled_by("wlc"), before, after);
        assert_eq!(
            (case.texts(), case.notable()),
            (vec!["existing connections stay".into()], vec![false])
        );
    }
    let case = edit(scheduled_by("wlc"), weighing(1), weighing(0));
    let quiet = "existing connections stay, no new ones are accepted";
    assert_eq!((case.texts(), case.notable()), (vec![quiet.into()], vec![false]));
    let case =
        edit(persistent(scheduled_by("wlc"), 32), weighing(1), weighing(0)).with(QUIESCENT, "0");
    let coming = format!("{quiet}; persistent clients still arrive (expire_quiescent_template=0)");
    assert_eq!((case.texts(), case.notable()), (vec![coming], vec![true]));
}

#[test]
fn connections_keep_their_forwarding_method_but_not_their_tunnel() {
    let edit = |before, after| {
        let real_server = |forward| [(1, RealServer { forward, ..weighing(1) })];
        let config = scheduled_by("wlc");
        Case::of(on(1), (config.clone(), &real_server(before)), (config, &real_server(after)), 0)
            .texts()
    };
    let gue = Forward::Tun(Tunnel { kind: TunnelKind::Gue, port: 6080, ..Tunnel::IPIP });
    let ipip = Forward::Tun(Tunnel::IPIP);
    let kept = "existing connections keep their forwarding method";
    assert_eq!(edit(Forward::Dr, Forward::Nat), [kept]);
    assert_eq!(edit(Forward::Dr, ipip), [kept]);
    let missed = "new ones may miss the real server while those last: drain it before";
    for before in [Forward::Nat, ipip] {
        assert_eq!(edit(before, Forward::Dr), [format!("{kept}; {missed}")]);
    }
    assert_eq!(
        edit(ipip, gue),
        ["packets of existing connections use the new encapsulation at once"]
    );
}

#[test]
fn a_change_of_schedulers_has_a_gap_and_a_change_of_persistence_forgets_clients() {
    let edit = |before, after| Case::of(on(1), (before, &[]), (after, &[]), 0).texts().remove(0);
    let wlc = || scheduled_by("wlc");
    let stay = "existing connections stay";
    let gap = "about 20 ms without a scheduler on a multi-processor kernel: new connections are \
               refused meanwhile";
    let forgets = "persistence entries no longer match: the next connection of a client may \
                   go to another real server";
    assert_eq!(edit(wlc(), scheduled_by("sh")), format!("{stay}; {gap}"));
    assert_eq!(edit(scheduled_by("none"), wlc()), stay);
    let fallback =
        ServiceConfig { scheduler_flags: SchedulerFlags::from_bits(1), ..scheduled_by("sh") };
    assert_eq!(edit(scheduled_by("sh"), fallback), stay);
    assert_eq!(edit(persistent(wlc(), 32), wlc()), format!("{stay}; {forgets}"));
    assert_eq!(edit(persistent(wlc(), 32), persistent(wlc(), 24)), format!("{stay}; {forgets}"));
    assert_eq!(edit(wlc(), persistent(wlc(), 32)), stay);
    let mut longer = persistent(wlc(), 32);
    longer.persistence.as_mut().expect("it is there").timeout = 600;
    assert_eq!(edit(persistent(wlc(), 32), longer), stay);
    assert_eq!(
        edit(persistent(wlc(), 32), scheduled_by("rr")),
        format!("{stay}; {gap}; {forgets}")
    );
}

#[test]
fn a_real_server_that_moves_in_the_order_interrupts_its_connections() {
    let all: &[_] = &[(1, weighing(1)), (2, weighing(1))];
    let moved = |sysctl: Option<&str>| {
        let turned: &[_] = &[all[1], all[0]];
        let config = scheduled_by("sh");
        let mut case = Case::of(on(1), (config.clone(), turned), (config, all), 0).counted(17, 0);
        case.desired.services.values_mut().for_each(|named| named.canonical_order = true);
        let case = match sysctl {
            Some(value) => case.with(NODEST, value),
            None => case,
        };
        let texts = case.texts();
        assert_eq!((texts.len(), &*texts[1]), (2, ""));
        texts[0].clone()
    };
    let dropped = "packets of 17 connections are dropped until it is added again";
    assert_eq!(moved(Some("0")), dropped);
    assert_eq!(moved(Some("1")), format!("{dropped}; this may end them (expire_nodest_conn=1)"));
    assert_eq!(moved(None), format!("{dropped}; this may end them unless expire_nodest_conn is 0"));
}

#[test]
fn unbinding_a_vip_cuts_off_connections_that_did_not_drain() {
    let address: IpAddr = [192, 0, 2, 1].into();
    let unbinding = |drain, stays: bool, elsewhere: bool| {
        let config = scheduled_by("wlc");
        let all: &[_] = &[(1, weighing(1)), (2, weighing(1))];
        let mut case = Case::of(on(1), (config.clone(), all), (config, all), drain).counted(17, 0);
        if !stays {
            case.desired.services.clear();
        }
        case.live.addresses.insert(Binding::host(address, "eth0"), Owner::Evenkeel);
        if elsewhere {
            case.live.addresses.insert(Binding::host(address, "lo"), Owner::Other);
        }
        let plan = case.plan();
        let place = plan.steps.iter().position(|op| matches!(op, Op::Unbind { .. }));
        plan.impacts[&place.expect("it is unbound")].to_string()
    };
    let cut = "18 connections would break: their packets no longer reach a service";
    assert_eq!(unbinding(30, true, false), cut);
    assert_eq!(unbinding(0, false, false), cut);
    assert_eq!(
        unbinding(30, false, false),
        "remaining connections break: their packets no longer reach a service"
    );
    assert_eq!(unbinding(0, false, true), "existing connections stay");
}

#[test]
fn unbinding_a_vip_without_its_own_service_may_break_connections_of_fwmark_services() {
    let unbinding = |counted: bool, leaves: bool| {
        let config = scheduled_by("wlc");
        let all: &[_] = &[(1, weighing(1)), (2, weighing(1))];
        let mut case = Case::of(WEB, (config.clone(), all), (config, all), 30);
        if counted {
            case = case.counted(17, 0);
        }
        if leaves {
            case.desired.services.clear();
        }
        case.live.addresses.insert(Binding::host([192, 0, 2, 1].into(), "eth0"), Owner::Evenkeel);
        let plan = case.plan();
        let place = plan.steps.iter().position(|op| matches!(op, Op::Unbind { .. }));
        let impact = plan.impacts[&place.expect("it is unbound")];
        (impact.to_string(), impact.breaks(), impact.is_notable())
    };
    let would = |subject: &str| format!("{subject} of fwmark services could break, if they use it");
    assert_eq!(unbinding(true, false), (would("up to 18 connections"), None, true));
    assert_eq!(unbinding(false, false), (would("existing connections"), None, true));
    assert!(!unbinding(true, true).2);
}

#[test]
fn a_vip_that_changes_its_prefix_length_stays() {
    let mut case = Case::of(on(1), (scheduled_by("wlc"), &[]), (scheduled_by("wlc"), &[]), 0);
    let host = Binding::host([192, 0, 2, 1].into(), "eth0");
    let wide = Binding { prefix: 24, ..host.clone() };
    case.live.addresses.insert(wide, Owner::Evenkeel);
    case.desired.vips.insert(host, Vip::default());
    assert_eq!(case.texts(), ["", "existing connections stay"]);
}

#[test]
fn sync_daemons_and_timeouts_report_their_impact() {
    let mut case = Case::of(on(1), (scheduled_by("wlc"), &[]), (scheduled_by("wlc"), &[]), 0);
    let daemon = |id| sync_daemon("eth1", id);
    let states = [SyncState::Master, SyncState::Backup];
    case.live.sync = states.map(|state| (state, daemon(1))).into();
    case.desired.sync = Some([(SyncState::Backup, daemon(2))].into());
    case.live.timeouts = Some(Timeouts::INITIAL);
    case.desired.timeouts.tcp = Some(60);
    assert_eq!(
        case.texts(),
        [
            "connections are no longer copied to other directors",
            "connections of other directors are no longer taken over until it runs again",
            "existing connections use the new timeouts from their next packet on",
            "",
        ]
    );
}

#[test]
fn a_continuing_drain_reports_its_remaining_time() {
    let config = scheduled_by("wlc");
    let (both, one): (&[_], &[_]) = (&[(1, weighing(0)), (2, weighing(1))], &[(2, weighing(1))]);
    let case = Case::of(on(1), (config.clone(), both), (config, one), 30).counted(4, 0);
    let draining = Draining { since: 1_000, weight: 5, limit: Drain(30), uptime: None };
    let drains = DrainRecords([((on(1), at(1)), draining)].into());
    let record = PriorState { drains: drains.clone(), ..PriorState::for_snapshot() };
    let impact_text = |now| {
        let statistics = case.statistics.as_ref();
        let inputs = Inputs { statistics, ..Inputs::new(&case.desired, &case.live, &record) };
        let mut plan = plan(inputs);
        plan.set_time_left(&drains, now);
        let document = crate::render::json(&plan, &case.desired);
        (plan.impacts[&0].to_string(), document["steps"][0]["left"].as_u64())
    };
    assert_eq!(
        impact_text(1_018),
        ("drain continues, 12s left of 30s; 1 connection".to_owned(), Some(12))
    );
    let over = "drain continues, its limit of 30s is over; 1 connection";
    assert_eq!(impact_text(1_031), (over.to_owned(), Some(0)));
    assert_eq!(
        impact_text(0),
        ("drain continues, 30s left of 30s; 1 connection".to_owned(), Some(30))
    );
}
