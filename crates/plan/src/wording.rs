//! Tests the texts of plans against `tests/wording/plan.txt`.

use evenkeel_model::{
    Binding, DefaultRoute, DefaultRouteValue, Desired, DesiredTimeouts, Drain, Family, Forward,
    FouPort, HostObject, HostObjectKind, HostRoute, LeftScope, MacAddress, NamedService, Neighbour,
    Protocol, RealServerKey, RecordedRoute, RouteMessage, RouteValue, Scheduler, Service,
    ServiceConfig, ServiceKey, SyncDaemon, SyncState, SysctlObstacle, Timeouts, TunnelDevice,
    TunnelDeviceValue, TunnelMode,
};

use crate::render::{self, Labels, Line};
use crate::test_fixtures::{at, on, scheduled_by, weighing};
use crate::{
    Cause, Object, Op, Plan, StayingObject, StayingService, Stays, UnknownSelection,
    UnmetPrecondition, WiderScope,
};

#[path = "../../../tests/wording/golden.rs"]
mod golden;
mod guards;
mod impacts;
mod warnings;

use golden::{Golden, displayed, section};

#[test]
fn every_text_of_a_plan_is_as_reviewed() {
    let golden = &mut Golden::new("plan.txt");
    section!(
        golden,
        Op {
            AddModule,
            EditSysctl,
            RestoreSysctl,
            EditTimeouts,
            AddSync,
            DeleteSync,
            AddDummy,
            EditDummy,
            DeleteDummy,
            AddService,
            EditService,
            DeleteService,
            AddRealServer,
            EditRealServer,
            DrainRealServer,
            DeleteRealServer,
            Bind,
            Unbind,
            AddHostObject,
            EditHostObject,
            DeleteHostObject,
        },
        ops().into_iter().map(|op| (line(&op), op)).map(|(line, op)| (op, line))
    );
    section!(
        golden,
        Object { Module, Sysctl, Timeouts, Sync, Dummy, Service, RealServer, Vip, Host },
        displayed(ops().iter().map(Op::object).collect()).into_iter().fold(
            Vec::new(),
            |mut all, it| {
                if !all.contains(&it) {
                    all.push(it);
                }
                all
            }
        )
    );
    let causes =
        [Cause::SpecChanged, Cause::LeftScope, Cause::Override, Cause::Health, Cause::Drift];
    section!(
        golden,
        Cause { SpecChanged, LeftScope, Override, Health, Drift },
        causes.map(|cause| (cause, cause.as_str().to_owned()))
    );
    impacts::add(golden);
    warnings::add(golden);
    guards::add(golden);
    section!(
        golden,
        UnmetPrecondition {
            NoInterface,
            NoSysctl,
            ReadOnlySysctls,
            UnusableSysctl,
            LoopbackDown,
            BroadcastRealServer,
            MixedBesideSync,
            SyncBesideMixed,
            SecondariesStay,
            Ipv6Disabled,
            SeveralDefaultRoutes,
            Unavailable
        },
        displayed(vec![
            UnmetPrecondition::NoInterface { interface: "eth7".into() },
            UnmetPrecondition::NoSysctl { key: "net.ipv4.vs.nosuch".into() },
            UnmetPrecondition::ReadOnlySysctls {
                needed: [
                    ("net.ipv4.conf.all.arp_ignore".into(), "1".into()),
                    ("net.ipv4.conf.lo.arp_ignore".into(), "1".into()),
                ]
                .into(),
            },
            UnmetPrecondition::UnusableSysctl {
                key: "net.ipv4.vs".into(),
                obstacle: SysctlObstacle::Directory,
            },
            UnmetPrecondition::UnusableSysctl {
                key: "net.ipv6.conf.eth0.stable_secret".into(),
                obstacle: SysctlObstacle::Unreadable("Input/output error (os error 5)".into()),
            },
            UnmetPrecondition::UnusableSysctl {
                key: "net.netfilter.nf_conntrack_count".into(),
                obstacle: SysctlObstacle::Fixed,
            },
            UnmetPrecondition::LoopbackDown,
            UnmetPrecondition::BroadcastRealServer {
                address: [10, 5, 0, 255].into(),
                network: Binding {
                    address: [10, 5, 0, 1].into(),
                    interface: "eth0".into(),
                    prefix: 24,
                },
            },
            UnmetPrecondition::MixedBesideSync {
                daemons: vec![SyncState::Master, SyncState::Backup],
            },
            UnmetPrecondition::SyncBesideMixed { services: vec![on(1)] },
            UnmetPrecondition::SecondariesStay {
                primary: Binding { prefix: 24, ..vip() },
                secondaries: vec![[192, 0, 2, 2].into()],
            },
            UnmetPrecondition::Ipv6Disabled {
                interface: "eth0".into(),
                vips: [vip_ipv6().address].into(),
                is_set: false,
            },
            UnmetPrecondition::Ipv6Disabled {
                interface: "eth0.100".into(),
                vips: [vip_ipv6().address].into(),
                is_set: true,
            },
            UnmetPrecondition::SeveralDefaultRoutes {
                route: DefaultRoute { family: Family::Ipv6 },
            },
            UnmetPrecondition::Unavailable {
                kind: HostObjectKind::SourceNat,
                why: "the program nft is not installed; install the package nftables".into(),
            },
        ])
    );
    golden.add_texts("WiderScope", wider_scopes());
    golden.add_texts("Plan::kept", kept());
    golden.add_texts("Stays", stays());
    golden.add_texts("StayingObject", staying_objects());
    golden.add_texts("UnknownSelection", unknown_selections());
    golden.check();
}

fn staying_objects() -> Vec<String> {
    let staying = |object, name: &str, is_begun| {
        let (service, left) = (on(1), Drain(60));
        StayingObject { object, service, name: name.into(), left, is_begun }.to_string()
    };
    vec![
        staying(Object::Vip(vip()), "web", false),
        staying(Object::Sysctl("net.ipv4.conf.all.arp_ignore".into()), "", true),
    ]
}

/// An IPv6 service.
fn on_ipv6() -> ServiceKey {
    let address = "2001:db8::1".parse().expect("an address");
    ServiceKey::Address { address, port: 53, protocol: Protocol::Udp }
}

fn at_ipv6() -> RealServerKey {
    RealServerKey { address: "2001:db8:1::1".parse().expect("an address"), port: 53 }
}

/// A service whose real servers have these weights.
fn service(weights: &[u32]) -> Service {
    let real_servers = (1..).map(at).zip(weights.iter().copied().map(weighing)).collect();
    Service { config: scheduled_by("wlc"), real_servers }
}

/// A name for `on(1)`.
fn named() -> Desired {
    let service = NamedService::new("web", service(&[]));
    Desired { services: [(on(1), service)].into(), ..Desired::default() }
}

fn line(op: &Op) -> String {
    Line { op, labels: &Labels::new(&named()) }.to_string()
}

fn vip() -> Binding {
    Binding::host([192, 0, 2, 1].into(), "eth0")
}

fn vip_ipv6() -> Binding {
    Binding::host("2001:db8::1".parse().expect("an address"), "eth0")
}

fn sync_daemon() -> Box<SyncDaemon> {
    Box::new(SyncDaemon {
        interface: "eth1".into(),
        id: 7,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    })
}

fn ops() -> Vec<Op> {
    let config = || Box::new(scheduled_by("wlc"));
    let other = ServiceConfig { one_packet: true, ..ServiceConfig::new(scheduler("sh")) };
    let before = Timeouts::INITIAL;
    let route = |binding| HostObject::Route(HostRoute::of(&binding));
    let value = || Box::new(HostRoute::of(&vip()).value());
    let neighbour =
        HostObject::Neighbour(Neighbour { address: vip_ipv6().address, interface: "eth0".into() });
    let mac = |last| Box::new(MacAddress([2, 0, 0, 0, 0, last]).into());
    let default = HostObject::from(DefaultRoute { family: Family::Ipv4 });
    let to_director = || Box::new(DefaultRouteValue::Gateway([192, 0, 2, 2].into()).into());
    let tunnel = || HostObject::TunnelDevice(TunnelDevice { interface: "ip6tnl0".into() });
    let mode = |mode| Box::new(TunnelDeviceValue { mode }.into());
    let fou = FouPort { port: 6080, family: evenkeel_model::Family::Ipv6 };
    let whole = |weights| Box::new(service(weights));
    vec![
        Op::AddModule { module: "ip_vs_sh".into() },
        Op::EditSysctl {
            key: "net.ipv4.ip_forward".into(),
            before: "0".into(),
            after: "1".into(),
            rewrites: [("net.ipv4.conf.eth0.forwarding".into(), "0".into())].into(),
        },
        Op::RestoreSysctl {
            key: "net.ipv4.conf.lo.arp_ignore".into(),
            before: "1".into(),
            after: "0".into(),
            rewrites: Default::default(),
        },
        Op::EditTimeouts { before, after: Timeouts { tcp: 60, ..before } },
        Op::AddSync { state: SyncState::Master, after: sync_daemon() },
        Op::DeleteSync { state: SyncState::Backup, before: sync_daemon() },
        Op::AddDummy { interface: "vip0".into() },
        Op::EditDummy { interface: "vip0".into() },
        Op::DeleteDummy { interface: "vip0".into() },
        Op::AddService { key: on(1), after: config() },
        Op::AddService { key: on_ipv6(), after: Box::new(other.clone()) },
        Op::EditService { key: on(1), before: config(), after: Box::new(other) },
        Op::DeleteService { key: on(1), before: whole(&[]) },
        Op::DeleteService { key: on(1), before: whole(&[1]) },
        Op::DeleteService { key: on_ipv6(), before: whole(&[1, 1]) },
        Op::AddRealServer { service: on(1), key: at(1), after: weighing(1) },
        Op::AddRealServer { service: on_ipv6(), key: at_ipv6(), after: weighing(0) },
        Op::EditRealServer {
            service: on(1),
            key: at(1),
            before: Box::new(weighing(1)),
            after: evenkeel_model::RealServer::new(Forward::Nat, 2),
        },
        Op::DrainRealServer { service: on(1), key: at(1), before: weighing(1), limit: Drain(60) },
        Op::DrainRealServer { service: on(1), key: at(1), before: weighing(0), limit: Drain(60) },
        Op::DeleteRealServer { service: on(1), key: at(1), before: weighing(1) },
        Op::Bind { binding: vip(), label: None },
        Op::Bind { binding: vip(), label: Some("eth0:web".into()) },
        Op::Bind { binding: vip_ipv6(), label: None },
        Op::Unbind { binding: vip(), label: None },
        Op::Unbind { binding: vip(), label: Some("eth0:web".into()) },
        Op::AddHostObject { object: route(vip()), after: value() },
        Op::AddHostObject { object: neighbour.clone(), after: mac(1) },
        Op::EditHostObject {
            object: route(vip()),
            before: Box::new(RouteValue { source: None }.into()),
            after: value(),
        },
        Op::EditHostObject { object: neighbour.clone(), before: mac(2), after: mac(1) },
        Op::DeleteHostObject { object: route(vip_ipv6()), before: value() },
        Op::DeleteHostObject { object: neighbour, before: mac(1) },
        Op::AddHostObject { object: default.clone(), after: to_director() },
        Op::EditHostObject {
            object: default.clone(),
            before: Box::new(former().into()),
            after: to_director(),
        },
        Op::EditHostObject {
            object: default,
            before: to_director(),
            after: Box::new(former().into()),
        },
        Op::AddHostObject { object: tunnel(), after: mode(TunnelMode::Any) },
        Op::EditHostObject {
            object: tunnel(),
            before: mode(TunnelMode::Any),
            after: mode(TunnelMode::Ip6ip6),
        },
        Op::DeleteHostObject { object: tunnel(), before: mode(TunnelMode::Ip6ip6) },
        Op::AddHostObject { object: fou.into(), after: Box::new(fou.value()) },
        Op::DeleteHostObject { object: fou.into(), before: Box::new(fou.value()) },
    ]
}

/// A default route of another program.
fn former() -> DefaultRouteValue {
    DefaultRouteValue::Found(vec![RecordedRoute {
        gateway: Some([192, 0, 2, 254].into()),
        interfaces: vec!["eth0".into()],
        metric: 100,
        protocol: 16,
        is_ours: false,
        message: RouteMessage([2].into()),
    }])
}

fn scheduler(name: &str) -> Scheduler {
    Scheduler::new(name).expect("a scheduler")
}

/// The lines of what left the scope, and the last line of such a plan.
fn kept() -> Vec<String> {
    let kept = LeftScope {
        services: [on(1)].into(),
        vips: [vip()].into(),
        timeouts: DesiredTimeouts { tcp: Some(900), ..DesiredTimeouts::default() },
        ..LeftScope::default()
    };
    let plan = Plan { kept, ..Plan::default() };
    let desired = crate::test_fixtures::spec([(on(1), service(&[1]))]);
    let lines = crate::render::kept(&plan, (&desired).into());
    lines.chain([crate::render::summary(&plan)]).collect()
}

fn wider_scopes() -> Vec<String> {
    let limits = evenkeel_model::Limits {
        vips: vec!["192.0.2.0/24".parse().expect("a net")],
        fwmarks: vec![1..=9],
        ..evenkeel_model::Limits::default()
    };
    let before = evenkeel_model::Scope::Limited(limits);
    let after = evenkeel_model::Scope::All;
    let scope = |services| WiderScope { before: before.clone(), after: after.clone(), services };
    vec![scope(1).to_string(), scope(5).to_string()]
}

fn stays() -> Vec<String> {
    let service = |key, real_servers| StayingService { key, real_servers };
    let stays = Stays {
        services: vec![service(on(1), 1), service(on_ipv6(), 2)],
        sync: [SyncState::Master].into(),
        changed: [Object::Service(on(1)), Object::RealServer(on_ipv6(), at_ipv6())].into(),
    };
    let desired = named();
    let lines = render::staying(&stays, (&desired).into());
    lines.chain(render::changed_by_others(&stays, (&desired).into())).collect()
}

fn unknown_selections() -> Vec<String> {
    let unknown = |near: &[&str]| {
        let near = near.iter().map(|it| (*it).to_owned()).collect();
        UnknownSelection { selector: "wbe".to_owned(), near }.to_string()
    };
    vec![unknown(&[]), unknown(&["web"]), unknown(&["web", "[2001:db8::1]:53/udp"])]
}
