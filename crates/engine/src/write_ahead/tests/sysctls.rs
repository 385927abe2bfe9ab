//! Tests that every sysctl gets the value from before evenkeel again, those that the kernel rewrote
//! with another one included.

use std::collections::BTreeMap;

use evenkeel_model::Link;
use proptest::prelude::*;

use super::*;
use crate::execute::tests::check_with;
use crate::{OnFailure, Pending, roll_back_pending, steps_to_roll_back};

const FORWARD: &str = "net.ipv4.ip_forward";
const ETH0: &str = "net.ipv4.conf.eth0.forwarding";
const ARP: &str = "net.ipv4.conf.lo.arp_ignore";

/// The sysctls of a small host; the first two are one value.
const KEYS: [&str; 10] = [
    FORWARD,
    "net.ipv4.conf.all.forwarding",
    "net.ipv4.conf.all.accept_redirects",
    "net.ipv4.conf.default.forwarding",
    ETH0,
    "net.ipv4.vs.expire_nodest_conn",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.default.forwarding",
    "net.ipv6.conf.eth0.forwarding",
    ARP,
];

/// Each case writes journals to a disk.
const CASES: u32 = 200;

type Values = BTreeMap<Box<str>, Box<str>>;

fn value(is_on: bool) -> Box<str> {
    if is_on { "1".into() } else { "0".into() }
}

fn live_values() -> impl Strategy<Value = Values> {
    any::<[bool; KEYS.len()]>().prop_map(|mut on| {
        on[1] = on[0];
        KEYS.iter().zip(on).map(|(key, is_on)| ((*key).into(), value(is_on))).collect()
    })
}

/// A spec that names some of them. The two names of one value do not contradict each other.
fn spec() -> impl Strategy<Value = Desired> {
    any::<[Option<bool>; KEYS.len()]>().prop_map(|mut asked| {
        asked[1] = asked[1].and(asked[0]);
        let named = KEYS.iter().zip(asked);
        let named = named.filter_map(|(key, it)| Some(((*key).into(), value(it?))));
        Desired { sysctls: named.collect(), ..Desired::default() }
    })
}

struct Host {
    kernel: FakeKernel,
    journal: Journal,
    state: StateDir,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new(sysctls: &Values) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kernel = FakeKernel::new(Live { sysctls: sysctls.clone(), ..Live::default() });
        let state = StateDir::new(folder.path(), "init");
        Self { kernel, journal: Journal::default(), state, _folder: folder }
    }

    fn apply(&mut self, desired: &Desired, options: ApplyOptions) -> Report {
        run(&mut self.kernel, desired, options, &self.state, &mut self.journal)
    }

    /// Makes the operation of that number from now fail.
    fn fail(&mut self, number: usize, fault: Fault) {
        self.kernel.faults = [(self.kernel.received.len() + number, fault)].into();
    }

    /// Continues as after a crash, with the journal as it was written last.
    fn restart(&mut self) {
        self.kernel.faults.clear();
        self.kernel.is_unreachable = false;
        self.journal = self.state.read(false).expect("it can be read").0;
    }
}

#[test]
fn after_any_specs_every_sysctl_has_its_value_from_before() {
    check_with(CASES, (live_values(), prop::collection::vec(spec(), 1..4)), |(original, specs)| {
        let mut host = Host::new(&original);
        for desired in &specs {
            let report = host.apply(desired, ApplyOptions::default());
            prop_assert!(report.is_success(), "{report:?}");
            for (key, value) in &desired.sysctls {
                prop_assert_eq!(host.kernel.live.sysctls.get(key), Some(value), "{}", key);
            }
            let second = plan(Inputs::new(desired, &host.kernel.live, &host.journal.record));
            prop_assert!(second.is_in_sync(), "{:?}", second.steps);
        }
        let report = host.apply(&Desired::default(), ApplyOptions::default());
        prop_assert!(report.is_success(), "{report:?}");
        prop_assert_eq!(&host.kernel.live.sysctls, &original);
        prop_assert_eq!(&host.journal.record.sysctls, &Values::new());
        prop_assert!(host.journal.record.side_effects.is_empty());
        Ok(())
    });
}

#[test]
fn after_a_crash_at_any_step_every_sysctl_gets_its_value_from_before() {
    let faults = prop::collection::vec((spec(), 0..5_usize, any::<bool>()), 1..4);
    check_with(CASES, (live_values(), faults), |(original, specs)| {
        let mut host = Host::new(&original);
        for (desired, number, is_crash) in &specs {
            let fault = if *is_crash { Fault::Vanish } else { Fault::LoseReply };
            host.fail(*number, fault);
            let options = ApplyOptions { on_failure: OnFailure::Keep, ..ApplyOptions::default() };
            let _interrupted = host.apply(desired, options);
            host.restart();
        }
        let report = host.apply(&Desired::default(), ApplyOptions::default());
        prop_assert!(report.is_success(), "{report:?}");
        prop_assert_eq!(&host.kernel.live.sysctls, &original);
        Ok(())
    });
}

#[test]
fn a_rollback_restores_the_values_from_before_the_apply() {
    let strategy = (live_values(), spec(), spec(), 0..6_usize);
    check_with(CASES, strategy, |(original, first, second, number)| {
        let mut host = Host::new(&original);
        prop_assert!(host.apply(&first, ApplyOptions::default()).is_success());
        let before = host.kernel.live.sysctls.clone();
        host.fail(number, Fault::Refuse(Errno::IO));
        let report = host.apply(&second, ApplyOptions::default());
        if report.is_success() {
            return Ok(());
        }
        prop_assert_eq!(&host.kernel.live.sysctls, &before, "{:?}", report);
        host.restart();
        prop_assert!(host.apply(&Desired::default(), ApplyOptions::default()).is_success());
        prop_assert_eq!(&host.kernel.live.sysctls, &original);
        Ok(())
    });
}

#[test]
fn the_rollback_of_an_unconfirmed_apply_restores_the_values_from_before_it() {
    check_with(CASES, (live_values(), spec(), spec()), |(original, first, second)| {
        let mut host = Host::new(&original);
        prop_assert!(host.apply(&first, ApplyOptions::default()).is_success());
        let before = host.kernel.live.sysctls.clone();
        let record = host.journal.record.clone();
        let report = host.apply(&second, ApplyOptions::default());
        // An apply that waits for its confirmation leaves the record of the first spec.
        host.journal.record.sysctls.extend(record.sysctls);
        host.journal.record.side_effects.extend(record.side_effects);
        let pending = Pending::begin(0, 60, steps_to_roll_back(&report));
        host.journal.pending = Some(pending.expect("this boot has a name"));
        let mut live = host.kernel.live.clone();
        let rollback = roll_back_pending(&mut host.kernel, &mut host.journal, &mut live);
        prop_assert!(!rollback.is_pending(), "{rollback:?}");
        prop_assert_eq!(&host.kernel.live.sysctls, &before);
        Ok(())
    });
}

#[test]
fn what_evenkeel_sets_itself_later_has_its_own_former_value() {
    let original: Values =
        [(FORWARD, "0"), (ETH0, "0")].map(|(key, value)| (Box::from(key), Box::from(value))).into();
    let named = |keys: &[(&str, &str)]| Desired {
        sysctls: keys.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..Desired::default()
    };
    let mut host = Host::new(&original);
    let steps: [(&[(&str, &str)], &str); 4] = [
        (&[(FORWARD, "1")], "1"),
        (&[(FORWARD, "1"), (ETH0, "1")], "1"),
        // It is rewritten with ip_forward, and set again.
        (&[(ETH0, "1")], "1"),
        (&[], "0"),
    ];
    for (spec, expected) in steps {
        assert!(host.apply(&named(spec), ApplyOptions::default()).is_success());
        assert_eq!(&*host.kernel.live.sysctls[ETH0], expected, "{spec:?}");
    }
}

#[test]
fn a_sysctl_that_leaves_the_spec_follows_the_master_that_stays_and_later_interfaces_always_do() {
    let keys = [FORWARD, "net.ipv4.conf.eth9.forwarding", ETH0];
    let named = |values: [Option<&str>; 3]| Desired {
        sysctls: std::iter::zip(keys, values)
            .filter_map(|(key, value)| Some((key.into(), value?.into())))
            .collect(),
        ..Desired::default()
    };
    let off = [FORWARD, ETH0].map(|key| (Box::from(key), Box::from("0"))).into();
    let mut host = Host::new(&off);
    let steps = [
        ([None, None, Some("1")], "1"),
        ([Some("1"), None, None], "1"),
        ([Some("1"), Some("0"), Some("0")], "0"),
        ([Some("1"), None, None], "1"),
        ([Some("1"), Some("0"), None], "1"),
        ([None; 3], "0"),
    ];
    for (spec, expected) in steps {
        if &*host.kernel.live.sysctls[FORWARD] == "1" {
            // It appears while the master is on.
            let live = host.kernel.live.sysctls.entry(keys[1].into());
            live.or_insert_with(|| "1".into());
        }
        assert!(host.apply(&named(spec), ApplyOptions::default()).is_success());
        assert_eq!(&*host.kernel.live.sysctls[ETH0], expected, "{spec:?}");
    }
    assert_eq!(&*host.kernel.live.sysctls[keys[1]], "0", "it has no value from before");
    assert!(host.journal.record.sysctls.is_empty());
}

/// A VIP on `lo` with its sysctl, as a real server has it.
fn real_server() -> (Host, Desired) {
    let mut host = Host::new(&[(ARP.into(), "0".into())].into());
    let lo = Link { up: true, dummy: false, owner: Owner::Other };
    host.kernel.live.links = Some([("lo".into(), lo)].into());
    let mut desired = with_vips([Binding::host([192, 0, 2, 1].into(), "lo")]);
    desired.sysctls.insert(ARP.into(), "1".into());
    (host, desired)
}

#[test]
fn no_vip_is_bound_on_lo_where_its_arp_sysctl_is_forbidden() {
    let (mut host, desired) = real_server();
    host.kernel.read_only_sysctls.insert(ARP.into());
    let report = host.apply(&desired, ApplyOptions::default());
    assert!(report.has_failed() && host.kernel.live.addresses.is_empty());
    assert_eq!(report.count("skipped"), 1);
    let failure = report.iter().find_map(|done| done.failure()).expect("a failure");
    assert!(failure.contains(ARP) && failure.contains("errno 30"), "{failure}");
    assert!(host.journal.record.sysctls.is_empty(), "nothing was set");
}

#[test]
fn a_sysctl_stays_on_record_until_the_drains_are_over() {
    let (mut host, mut desired) = real_server();
    let (key, named) = web([(1, 5)], Drain(3_600));
    desired.services.insert(key, named);
    assert!(host.apply(&desired, ApplyOptions::default()).is_success());
    host.kernel.connect(key, 1, 7);
    let nothing = Desired { drain: Drain(3_600), ..Desired::default() };
    let start = ApplyOptions { wait: false, ..ApplyOptions::default() };
    for _ in 0..2 {
        assert!(host.apply(&nothing, start).is_success());
        assert_eq!(&*host.kernel.live.sysctls[ARP], "1");
        assert_eq!(host.journal.record.sysctls, [(ARP.into(), "0".into())].into());
    }
    host.kernel.connect(key, 1, 0);
    assert!(host.apply(&nothing, start).is_success());
    assert_eq!(&*host.kernel.live.sysctls[ARP], "0");
    assert!(host.journal.record.sysctls.is_empty() && host.kernel.live.addresses.is_empty());
}
