//! The refusals of guards. Their reasons depend on plans, so the samples are refusals of small plans.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics};
use evenkeel_model::{
    Binding, Desired, Family, FileContents, Guards, HostRoute, LeftScope, Limits, Live,
    LocalSession, LocalSessions, Owner, Protocol, Scope, Service, ServiceKey, SyncState, Vip,
};

use super::golden::{Golden, section};
use super::{on_ipv6, service, sync_daemon, vip_ipv6};
use crate::test_fixtures::{at, on, scheduled_by, spec};
use crate::{
    Advice, CutOff, Guard, GuardRefusal, Inputs, Lack, Loss, LostFile, PriorState, Reason,
    UnknownGuard, plan,
};

pub(super) fn add(golden: &mut Golden) {
    section!(
        golden,
        Guard {
            Empty,
            CutOff,
            TakeOver,
            MassDelete,
            WiderScope,
            LeftScope,
            MissingFile,
            NoServer,
            UnbindInUse
        },
        empty()
            .into_iter()
            .chain(cut_off(Lack::EndMark))
            .chain(take_over())
            .chain(mass_delete())
            .chain(wider_scope())
            .chain(left_scope())
            .chain(missing_file(Loss::Missing))
            .chain(no_server())
            .chain(unbind_in_use())
            .map(|refusal| (refusal.guard, refusal.to_string()))
    );
    section!(
        golden,
        Lack { EndMark, Rest, Newline },
        [Lack::EndMark, Lack::Rest { of: 1200 }, Lack::Newline]
            .into_iter()
            .flat_map(|lack| cut_off(lack).map(|it| (lack, it.to_string())))
    );
    section!(
        golden,
        Loss { Missing, Replaced },
        [Loss::Missing, Loss::Replaced]
            .into_iter()
            .flat_map(|loss| missing_file(loss).into_iter().map(move |it| (loss, it.to_string())))
    );
    let advice = [
        Advice::KeepVip,
        Advice::MoveServices,
        Advice::Drain,
        Advice::EndSessions,
        Advice::KeepMarked,
        Advice::KeepLabel,
        Advice::Wait,
    ];
    section!(
        golden,
        Advice { KeepVip, MoveServices, Drain, EndSessions, KeepMarked, KeepLabel, Wait },
        advice.map(|advice| {
            let reason = |number| Reason { what: format!("reason {number}"), advice: Some(advice) };
            let reasons = vec![reason(1), reason(2)];
            (advice, GuardRefusal { guard: Guard::UnbindInUse, reasons }.to_string())
        })
    );
    golden.add_texts("UnknownGuard", vec![UnknownGuard("mass_delete".to_owned()).to_string()]);
}

/// The inputs of a plan, owned.
#[derive(Default)]
struct Case {
    desired: Desired,
    live: Live,
    record: PriorState,
    last: Option<Desired>,
    cut_off: Option<CutOff>,
    lost_files: Vec<LostFile>,
    statistics: Option<Statistics>,
    sessions: Option<LocalSessions>,
}

impl Case {
    /// A spec of those services on a host with these.
    fn new(desired: Desired, live: impl IntoIterator<Item = (ServiceKey, Service)>) -> Self {
        let services = live.into_iter().collect();
        let live = Live { services, ..Live::default() };
        Self { desired, live, record: PriorState::for_snapshot(), ..Self::default() }
    }

    /// The refusal by that guard.
    fn refusal(&self, guard: Guard) -> GuardRefusal {
        let plan = plan(Inputs {
            last: self.last.as_ref(),
            cut_off: self.cut_off.as_ref(),
            lost_files: &self.lost_files,
            statistics: self.statistics.as_ref(),
            sessions: self.sessions.as_ref(),
            ..Inputs::new(&self.desired, &self.live, &self.record)
        });
        let refusal = plan.refusals.into_iter().find(|it| it.guard == guard);
        refusal.unwrap_or_else(|| panic!("{guard} does not refuse"))
    }
}

/// So many services with one real server each, the last one with IPv6.
fn services(number: u8) -> Vec<(ServiceKey, Service)> {
    let keys = (1..number).map(on).chain([on_ipv6()]);
    keys.map(|key| (key, service(&[1]))).collect()
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

fn empty() -> Option<GuardRefusal> {
    Some(Case::new(spec([]), services(2)).refusal(Guard::Empty))
}

fn cut_off(lacks: Lack) -> Option<GuardRefusal> {
    let cut_off = CutOff { name: "/etc/evenkeel/web.yaml".to_owned(), length: 700, lacks };
    let case = Case { cut_off: Some(cut_off), ..Case::new(spec(services(1)), services(2)) };
    Some(case.refusal(Guard::CutOff))
}

fn take_over() -> Vec<GuardRefusal> {
    let limited = Scope::Limited(Limits {
        vips: vec!["192.0.2.0/24".parse().expect("a net"), "2001:db8::/32".parse().expect("a net")],
        ..Limits::default()
    });
    let refusal = |(scope, live): (Scope, u8)| {
        let desired = Desired { scope, ..spec([(on(9), service(&[1]))]) };
        let mut case = Case { record: PriorState::default(), ..Case::new(desired, services(live)) };
        if live > 4 {
            case.desired.sync = Some(BTreeMap::new());
            case.live.sync.insert(SyncState::Master, *sync_daemon());
        }
        case.refusal(Guard::TakeOver)
    };
    [(Scope::Implied, 1), (Scope::All, 2), (limited, 5)].map(refusal).to_vec()
}

fn mass_delete() -> Vec<GuardRefusal> {
    let of_services = Case::new(spec(services(1)), services(4));
    let mut of_vips = Case::new(spec([(on(1), service(&[1]))]), [(on(1), service(&[1]))]);
    of_vips.live.addresses = (1..=4).map(|last| (vip(last), Owner::Evenkeel)).collect();
    of_vips.desired.vips.insert(vip(1), Vip::default());
    let mut of_real_servers = Case::new(spec(services(1)), services(5));
    of_real_servers.live.services.insert(on_ipv6(), service(&[1, 1, 1, 1]));
    let both = |number: u8, weights: &[u32]| -> Vec<_> {
        (1..=number).map(|last| (on(last), service(weights))).collect()
    };
    let of_many = Case::new(spec(both(5, &[1])), both(5, &[1; 4]));
    let mut looser = Case::new(spec(services(1)), services(4));
    looser.desired.guards = Guards { mass_delete: 0, ..Guards::default() };
    looser.record.guards = Some(Guards::default());
    [of_services, of_vips, of_real_servers, of_many, looser]
        .map(|case| case.refusal(Guard::MassDelete))
        .to_vec()
}

fn wider_scope() -> Vec<GuardRefusal> {
    let limited = |nets: &[&str]| {
        let vips = nets.iter().map(|net| net.parse().expect("a net")).collect();
        Scope::Limited(Limits { vips, fwmarks: vec![1..=9], ..Limits::default() })
    };
    let from = |before: Scope, after: Scope| {
        let mut case =
            Case::new(Desired { scope: after, ..spec([(on(9), service(&[1]))]) }, services(2));
        case.record.scope = Some(before);
        case
    };
    let narrow = || limited(&["198.51.100.0/24"]);
    let lost_line = from(narrow(), Scope::Implied);
    let mut more = from(narrow(), Scope::All);
    more.live.services.extend((2..5).map(|last| (on(last), service(&[]))));
    more.live.addresses.insert(vip(1), Owner::Evenkeel);
    let to_limits = from(narrow(), limited(&["192.0.2.0/24", "198.51.100.0/24"]));
    let mut sync = from(Scope::All, Scope::All);
    sync.live.sync.insert(SyncState::Backup, *sync_daemon());
    sync.desired.sync = Some(BTreeMap::new());
    sync.last = Some(Desired { sync: None, ..sync.desired.clone() });
    [lost_line, more, to_limits, sync].map(|case| case.refusal(Guard::WiderScope)).to_vec()
}

fn left_scope() -> Vec<GuardRefusal> {
    let network = |network: &str| {
        let vips = vec![network.parse().expect("a net")];
        Scope::Limited(Limits { vips, ..Limits::default() })
    };
    let of = |kept: LeftScope, before: Scope| {
        let scope = network("198.51.100.0/24");
        let mut case = Case::new(Desired { scope, kept, ..spec([]) }, services(2));
        case.record.scope = Some(before);
        case.refusal(Guard::LeftScope)
    };
    let one = LeftScope { vips: [vip(1)].into(), ..LeftScope::default() };
    let several = LeftScope {
        services: [on(1), on_ipv6()].into(),
        sysctls: ["net.ipv4.vs.conntrack".into()].into(),
        sync: [SyncState::Master].into(),
        ..one.clone()
    };
    vec![
        of(one.clone(), network("192.0.2.0/24")),
        of(several, Scope::All),
        // Recorded before, and in the scope of no spec.
        of(one, network("198.51.100.0/24")),
    ]
}

fn missing_file(loss: Loss) -> Vec<GuardRefusal> {
    let name = || "/etc/evenkeel/web.yaml".to_owned();
    let contents = FileContents {
        name: name(),
        services: services(2).into_iter().map(|(key, _)| key).collect(),
        ..FileContents::default()
    };
    let lost = |contents| vec![LostFile { contents, loss }];
    let few = Case {
        lost_files: lost(contents.clone()),
        ..Case::new(spec([(on(9), service(&[1]))]), services(2))
    };
    let mut every_kind = Case {
        lost_files: lost(FileContents {
            vips: [vip(1), vip_ipv6()].into(),
            host_objects: [HostRoute::of(&vip(1)).into()].into(),
            sync: [SyncState::Master].into(),
            sysctls: ["net.ipv4.ip_forward".into()].into(),
            defaults: true,
            ..contents
        }),
        ..Case::new(
            spec([(on(9), service(&[]))]),
            services(2)
                .into_iter()
                .chain([(on(9), Service { config: scheduled_by("rr"), ..service(&[]) })]),
        )
    };
    every_kind.live.addresses = [vip(1), vip_ipv6()].map(|it| (it, Owner::Evenkeel)).into();
    let route = HostRoute::of(&vip(1));
    every_kind.live.host_objects = evenkeel_model::LiveHostObjects::of_evenkeel(
        [(route.clone().into(), route.value())].into(),
    );
    every_kind.live.sync.insert(SyncState::Master, *sync_daemon());
    every_kind.desired.sync = Some(BTreeMap::new());
    let key = "net.ipv4.ip_forward";
    every_kind.live.sysctls.insert(key.into(), "1".into());
    every_kind.record.sysctls.insert(key.into(), "0".into());
    [few, every_kind].map(|case| case.refusal(Guard::MissingFile)).to_vec()
}

fn no_server() -> Vec<GuardRefusal> {
    let weighing = |number: u8, weights: &[u32]| -> Vec<(ServiceKey, Service)> {
        services(number).into_iter().map(|(key, _)| (key, service(weights))).collect()
    };
    let case = |number| Case::new(spec(weighing(number, &[0, 0])), weighing(number, &[1, 1]));
    [case(1), case(2), case(5)].map(|case| case.refusal(Guard::NoServer)).to_vec()
}

/// Counts that many connections of each service.
fn counted(services: &[ServiceKey], active_connections: u32) -> Statistics {
    let connections = RealServerStatistics { active_connections, ..Default::default() };
    let real_servers = BTreeMap::from([(at(1), connections)]);
    let counted = ServiceStatistics { real_servers, ..ServiceStatistics::default() };
    Statistics { services: services.iter().map(|key| (*key, counted.clone())).collect() }
}

fn unbind_in_use() -> Vec<GuardRefusal> {
    let mark = |family| ServiceKey::Fwmark { family, fwmark: 7 };
    // A host with VIPs, one with services, and a spec that keeps neither.
    let host = |binding: Binding, live: &[ServiceKey], connections| {
        let kept = || (on(9), service(&[1]));
        let services = live.iter().map(|key| (*key, service(&[1])));
        let mut case = Case::new(spec([kept()]), services.chain([kept()]));
        case.live.addresses.insert(binding, Owner::Evenkeel);
        case.statistics = Some(counted(live, connections));
        case
    };
    let mut needed = host(vip(1), &[on(1)], 0);
    needed.desired.services.extend(spec([(on(1), service(&[1]))]).services);
    let mut all_need = host(vip_ipv6(), &[on_ipv6()], 0);
    all_need.desired.services.extend(spec([(on_ipv6(), service(&[1]))]).services);
    let ServiceKey::Address { address, protocol, .. } = on_ipv6() else { unreachable!() };
    let beside = ServiceKey::Address { address, port: 80, protocol };
    all_need.desired.services.extend(spec([(beside, service(&[1]))]).services);
    let connected = host(vip(1), &[on(1)], 1);
    let mut looser = host(vip_ipv6(), &[on_ipv6()], 17);
    looser.desired.guards = Guards { unbind_in_use: 100, ..Guards::default() };
    looser.record.guards = Some(Guards::default());
    let marked = host(vip(1), &[mark(Family::Ipv4)], 17);
    let marked_ipv6 = host(vip_ipv6(), &[mark(Family::Ipv6)], 1);
    let relabelled = |live: ServiceKey, connections| {
        let mut case = host(vip(1), &[live], connections);
        case.live.labels.insert(vip(1), "eth0".into());
        let label = Some("eth0:web".into());
        case.desired.vips.insert(vip(1), Vip { label, ..Vip::default() });
        case.desired.services.extend(spec([(live, service(&[1]))]).services);
        case
    };
    // Sessions of programs on the host, at one port and at several.
    let with_sessions = |mut case: Case, ports: &[u16]| {
        let session = |port: &u16| LocalSession {
            protocol: Protocol::Tcp,
            local: SocketAddr::new(vip(1).address, *port),
            remote: SocketAddr::new([203, 0, 113, 9].into(), 40_000),
        };
        let sessions = ports.iter().map(session).collect();
        case.sessions = Some(LocalSessions { sessions, ..LocalSessions::default() });
        case
    };
    let session = with_sessions(host(vip(1), &[on(1)], 0), &[22]);
    let both = with_sessions(host(vip(1), &[on(1)], 2), &[22, 179, 873, 5666]);
    let relabelled_session = with_sessions(relabelled(on(1), 1), &[22]);
    let cases = [
        session,
        both,
        relabelled_session,
        needed,
        all_need,
        connected,
        looser,
        marked,
        marked_ipv6,
        relabelled(on(1), 1),
        relabelled(mark(Family::Ipv4), 17),
    ];
    cases.iter().map(|case| case.refusal(Guard::UnbindInUse)).collect()
}
