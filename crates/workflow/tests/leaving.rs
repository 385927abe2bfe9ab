//! A real server that is taken out of a service, on the kernel in memory: what it needs for it stays while
//! directors may drain it, and is then removed.

use std::time::{Duration, Instant};

use evenkeel_engine::fake_kernel::{FakeKernel, Fault, SharedKernel};
use evenkeel_engine::{
    Clock, DrainProgress, ExecutionContext, Journal, OnFailure, Outcome, StateDir,
};
use evenkeel_model::{
    Binding, Desired, Drain, HostRoles, Link, Live, Names, Owner, RealServerPart, ServiceKey, Vip,
};
use evenkeel_plan::{ClockReading, Op, StayingObject};
use evenkeel_spec::Source;
use evenkeel_workflow::{
    ApplyOptions, ApplyOutcome, ApplyRequest, DaemonUse, Host, LeavingEnd, LeavingWait, PlanOrigin,
    SavedPlan, SavedPlanError, TeardownOptions, WorkflowError, apply, review_apply, tear_down,
    wait_for_leaving,
};

const ARP: &str = "net.ipv4.conf.all.arp_ignore";

fn key() -> ServiceKey {
    ServiceKey::parse("192.0.2.1:80/tcp").expect("a service")
}

fn vip() -> Binding {
    Binding::host([192, 0, 2, 1].into(), "lo")
}

/// What a spec of that number asks of this real server.
fn request(number: u8, is_listed: bool) -> ApplyRequest<'static> {
    let own = [[10, 0, 0, 11].into()];
    let roles = match is_listed {
        true => HostRoles { real_server: own.into(), ..HostRoles::NONE },
        false => HostRoles::NONE,
    };
    let mut desired = Desired { roles, drain: Drain(30), ..Desired::default() };
    if is_listed {
        desired.vips.insert(vip(), Vip::default());
        desired.sysctls.insert(ARP.into(), "1".into());
        let part = RealServerPart {
            name: "web".into(),
            drain: Drain(30),
            vips: [vip()].into(),
            sysctls: [ARP.into()].into(),
            ..RealServerPart::default()
        };
        desired.real_server.insert(key(), part);
    }
    ApplyRequest {
        desired,
        texts: vec![Source::new("spec.yaml", format!("version: 1 # {number}\n"))],
        parameters: std::collections::BTreeMap::new(),
        selectors: Vec::new(),
        saved: None,
        daemon_use: DaemonUse::Spec(vec!["spec.yaml".to_owned()]),
    }
}

/// A user whose pauses end at once, with clocks that advance by them.
struct User {
    clock: Clock,
    passed: Duration,
    /// Interrupts the wait after this time.
    patience: Duration,
    shown: Vec<StayingObject>,
}

impl User {
    fn new() -> Self {
        let (passed, patience) = (Duration::ZERO, Duration::MAX);
        Self { clock: Clock::start(), passed, patience, shown: Vec::new() }
    }
}

impl ExecutionContext for User {
    fn now(&self) -> ClockReading {
        let ClockReading { wall, uptime } = self.clock.now();
        let uptime = uptime.map(|mut it| {
            it.milliseconds += u64::try_from(self.passed.as_millis()).expect("a short time");
            it
        });
        ClockReading { wall: wall + self.passed, uptime }
    }

    fn pause(&mut self, time: Duration) {
        self.passed += time;
    }

    fn is_interrupted(&self) -> bool {
        self.passed >= self.patience
    }

    fn draining(&mut self, _: &[DrainProgress]) {}
}

impl evenkeel_workflow::Progress for User {
    fn begin(&mut self, _: &[Op], _: Names<'_>) {}

    fn staying(&mut self, staying: &[StayingObject]) {
        self.shown.extend_from_slice(staying);
    }
}

/// A real server of the service, and its journal.
struct Site {
    kernel: SharedKernel,
    folder: tempfile::TempDir,
}

impl Site {
    /// One to which a spec was applied that lists it.
    fn new() -> Self {
        let link = Link { up: true, dummy: false, owner: Owner::Other };
        let live = Live {
            links: Some([("lo".into(), link)].into()),
            sysctls: [(ARP.into(), "0".into())].into(),
            ..Live::default()
        };
        let kernel = SharedKernel::new(FakeKernel::new(live));
        let site = Self { kernel, folder: tempfile::tempdir().expect("a folder") };
        assert!(matches!(
            site.apply(&request(1, true), &mut User::new()),
            ApplyOutcome::Applied(_)
        ));
        assert!(site.is_in_place() && site.journal().former_role().is_some());
        site
    }

    fn host(&self) -> Host<'static, SharedKernel> {
        let kernel = self.kernel.clone();
        Host {
            state: StateDir::new(self.folder.path(), "test"),
            connect: Box::new(move |_| Ok(kernel.clone())),
            health: Default::default(),
        }
    }

    fn apply(&self, request: &ApplyRequest<'_>, user: &mut User) -> ApplyOutcome {
        let options = ApplyOptions {
            allow: &[],
            reviewed: None,
            on_failure: OnFailure::Rollback,
            wait: true,
            confirm: None,
        };
        let result = apply(&mut self.host(), request, options, user, &mut Vec::new());
        result.expect("it can be applied").outcome
    }

    fn wait(&self, request: &ApplyRequest<'_>, user: &mut User) -> LeavingWait {
        wait_for_leaving(&mut self.host(), request, user, &mut Vec::new()).expect("it can wait")
    }

    fn journal(&self) -> Journal {
        StateDir::new(self.folder.path(), "test").read(false).expect("it can be read").0
    }

    fn arp(&self) -> String {
        self.kernel.get().live.sysctls[ARP].to_string()
    }

    fn is_in_place(&self) -> bool {
        self.kernel.get().live.addresses.contains_key(&vip()) && self.arp() == "1"
    }

    fn is_undone(&self) -> bool {
        !self.kernel.get().live.addresses.contains_key(&vip()) && self.arp() == "0"
    }
}

#[test]
fn an_apply_waits_and_then_removes_what_stayed() {
    let (site, mut user) = (Site::new(), User::new());
    let taken_out = request(2, false);
    let (planned, blocked) =
        review_apply(&mut site.host(), &taken_out, &[], &mut Vec::new()).expect("a plan");
    let staying: Vec<String> = planned.plan.staying.iter().map(ToString::to_string).collect();
    let why = "while directors may still drain this real server in web/192.0.2.1:80/tcp";
    let expected = ["sysctl net.ipv4.conf.all.arp_ignore", "vip 192.0.2.1/32 on lo"]
        .map(|it| format!("{it} stays for 1m, {why}"));
    assert_eq!((staying, blocked, planned.plan.steps.len()), (expected.into(), None, 0));
    let document = evenkeel_plan::render::json(&planned.plan, &planned.desired);
    let stays = &document["staying"][1];
    assert_eq!(
        (&stays["object"], &stays["name"]),
        (&"vip".into(), &"vip 192.0.2.1/32 on lo".into())
    );
    assert_eq!((&stays["left"], &stays["begun"]), (&60.into(), &false.into()));
    assert_eq!(stays["service"]["name"], "web");
    assert!(site.journal().record.real_server.leaving.is_empty(), "a plan begins nothing");

    let begin = Instant::now();
    assert!(matches!(site.apply(&taken_out, &mut user), ApplyOutcome::InSync));
    assert!(site.is_in_place());
    let LeavingWait { end, removals } = site.wait(&taken_out, &mut user);
    assert_eq!((end, removals.len()), (LeavingEnd::Left, 1));
    assert_eq!(removals[0].count(Outcome::Applied.as_str()), 2);
    assert!(site.is_undone());
    // The clock also runs while the test does.
    assert!(user.passed + begin.elapsed() >= Duration::from_secs(60), "{:?}", user.passed);
    assert!(user.passed.as_secs() <= 62, "{:?}", user.passed);
    assert!(user.shown.len() > 2 && user.shown.iter().all(|it| it.is_begun));
    let Journal { record, addresses, .. } = site.journal();
    assert!(record.real_server.leaving.is_empty() && record.real_server.former.is_some());
    assert!(record.sysctls.is_empty() && addresses.is_empty());
    assert!(matches!(site.apply(&taken_out, &mut user), ApplyOutcome::InSync));
    assert_eq!(site.wait(&taken_out, &mut user).end, LeavingEnd::NothingStays);
}

#[test]
fn an_interrupted_wait_leaves_the_rest_to_a_later_apply() {
    let (site, mut user) = (Site::new(), User::new());
    user.patience = Duration::from_secs(20);
    let taken_out = request(2, false);
    site.apply(&taken_out, &mut user);
    let LeavingWait { end, removals } = site.wait(&taken_out, &mut user);
    assert_eq!((end, removals.len()), (LeavingEnd::Interrupted, 0));
    assert!(site.is_in_place());
    // One before its time removes nothing, one after it does.
    assert!(matches!(site.apply(&taken_out, &mut user), ApplyOutcome::InSync));
    user = User { passed: Duration::from_secs(62), ..User::new() };
    assert!(matches!(site.apply(&taken_out, &mut user), ApplyOutcome::Applied(_)));
    assert!(site.is_undone());
}

#[test]
fn a_spec_that_lists_the_real_server_again_ends_the_wait_for_another_one() {
    let (site, mut user) = (Site::new(), User::new());
    let taken_out = request(2, false);
    site.apply(&taken_out, &mut user);
    assert!(matches!(site.apply(&request(3, true), &mut user), ApplyOutcome::InSync));
    assert_eq!(site.wait(&taken_out, &mut user).end, LeavingEnd::NothingStays);
    // One that does not list it either, and leaves it longer.
    let last = request(4, false);
    site.apply(&last, &mut user);
    assert_eq!(site.wait(&taken_out, &mut user).end, LeavingEnd::OtherSpec);
    assert!(site.is_in_place());
    assert_eq!(site.wait(&last, &mut user).end, LeavingEnd::Left);
    assert!(site.is_undone());
}

#[test]
fn a_removal_leaves_other_drift_to_an_apply() {
    let (site, mut user) = (Site::new(), User::new());
    let mut taken_out = request(2, false);
    site.kernel.get().live.sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    taken_out.desired.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    assert!(matches!(site.apply(&taken_out, &mut user), ApplyOutcome::Applied(_)));
    site.kernel.get().live.sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    let LeavingWait { end, removals } = site.wait(&taken_out, &mut user);
    assert_eq!((end, removals.len(), removals[0].len()), (LeavingEnd::Left, 1, 2));
    assert!(site.is_undone());
    assert_eq!(&*site.kernel.get().live.sysctls["net.ipv4.ip_forward"], "0");
}

#[test]
fn a_teardown_does_not_wait() {
    let (site, mut user) = (Site::new(), User::new());
    site.apply(&request(2, false), &mut user);
    assert!(site.is_in_place());
    let options = TeardownOptions { adopted: false, allow: &[], reviewed: None, wait: true };
    tear_down(&mut site.host(), &options, &mut user, &mut Vec::new()).expect("it can be undone");
    assert!(site.is_undone());
    assert!(site.journal().record.real_server.is_none());
}

#[test]
fn a_failed_apply_that_was_rolled_back_leaves_no_service() {
    let (site, mut user) = (Site::new(), User::new());
    let before = site.journal().record.real_server;
    let mut taken_out = request(2, false);
    site.kernel.get().live.sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    taken_out.desired.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    let sysctl = "net.ipv4.conf.lo.arp_announce";
    site.kernel.get().live.sysctls.insert(sysctl.into(), "0".into());
    taken_out.desired.sysctls.insert(sysctl.into(), "2".into());
    let number = site.kernel.get().received.len() + 1;
    site.kernel.get().faults.insert(number, Fault::Refuse(rustix::io::Errno::PERM));
    let ApplyOutcome::Applied(applied) = site.apply(&taken_out, &mut user) else {
        panic!("it has steps")
    };
    assert!(applied.report.rollback.is_some(), "{:?}", applied.report);
    assert_eq!(site.journal().record.real_server, before);
    assert!(site.is_in_place());
}

#[test]
fn a_saved_plan_is_stale_once_what_stayed_is_to_be_removed() {
    let (site, mut user) = (Site::new(), User::new());
    let taken_out = request(2, false);
    site.apply(&taken_out, &mut user);
    let origin = PlanOrigin::here(&evenkeel_model::OwnerName::default(), &HostRoles::NONE)
        .expect("this host has one");
    let parameters = taken_out.parameters.clone();
    let saved = SavedPlan::new(origin, &[], &taken_out.texts, parameters, &[]);
    let saved = ApplyRequest { saved: Some(saved), ..taken_out };
    assert!(matches!(site.apply(&saved, &mut user), ApplyOutcome::InSync));
    user.passed = Duration::from_secs(62);
    let options = ApplyOptions {
        allow: &[],
        reviewed: None,
        on_failure: OnFailure::Rollback,
        wait: true,
        confirm: None,
    };
    let result = apply(&mut site.host(), &saved, options, &mut user, &mut Vec::new());
    let error = result.map(|it| it.outcome).expect_err("the host is another one");
    assert!(matches!(error, WorkflowError::SavedPlan(SavedPlanError::Stale(_))), "{error:?}");
    assert!(site.is_in_place());
}
