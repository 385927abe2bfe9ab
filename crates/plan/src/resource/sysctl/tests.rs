//! Laws of sysctls: their place in a plan, their side effects, and what restores them.

use evenkeel_model::{Binding, Desired, Link, Live, Owner, Vip};

use crate::rollback_plan::rollback_plan;
use crate::{Inputs, Op, PriorState, plan, simulate};

const FORWARD: &str = "net.ipv4.ip_forward";
const REDIRECTS: &str = "net.ipv4.conf.all.accept_redirects";
const DEFAULT: &str = "net.ipv4.conf.default.forwarding";
const ETH0: &str = "net.ipv4.conf.eth0.forwarding";
const ETH1: &str = "net.ipv4.conf.eth1.forwarding";
const ARP: &str = "net.ipv4.conf.lo.arp_ignore";

/// Keys with values.
fn values<const N: usize>(
    all: [(&str, &str); N],
) -> std::collections::BTreeMap<Box<str>, Box<str>> {
    all.map(|(key, value)| (key.into(), value.into())).into()
}

fn host<const N: usize>(sysctls: [(&str, &str); N]) -> Live {
    let link = Link { up: true, dummy: false, owner: Owner::Other };
    let links = ["lo", "eth0", "eth1"].map(|name| (name.into(), link));
    Live { sysctls: values(sysctls), links: Some(links.into()), ..Live::default() }
}

fn spec<const N: usize>(sysctls: [(&str, &str); N]) -> Desired {
    Desired { sysctls: values(sysctls), ..Desired::default() }
}

fn steps(desired: &Desired, live: &Live, record: &PriorState) -> Vec<Op> {
    plan(Inputs::new(desired, live, record)).steps
}

/// The steps on sysctls, as texts: `edit KEY before after` or `restore KEY before after`.
fn texts(steps: &[Op]) -> Vec<String> {
    let text = |op: &Op| match op {
        Op::EditSysctl { key, before, after, .. } => format!("edit {key} {before} {after}"),
        Op::RestoreSysctl { key, before, after, .. } => format!("restore {key} {before} {after}"),
        other => format!("{} {}", other.verb().as_str(), other.object()),
    };
    steps.iter().map(text).collect()
}

/// A host that forwarded nothing before, but on eth0, and on which evenkeel set ip_forward.
fn forwarding() -> (Live, PriorState) {
    let live = host([(FORWARD, "1"), (REDIRECTS, "0"), (DEFAULT, "1"), (ETH0, "1"), (ETH1, "1")]);
    let former = values([(REDIRECTS, "1"), (DEFAULT, "0"), (ETH0, "1")]);
    let record = PriorState {
        sysctls: values([(FORWARD, "0")]),
        side_effects: [(FORWARD.into(), former)].into(),
        ..PriorState::for_snapshot()
    };
    (live, record)
}

#[test]
fn a_real_server_sets_arp_sysctls_before_it_binds_and_restores_them_after_it_unbinds() {
    let vip = Binding::host([192, 0, 2, 1].into(), "lo");
    let mut desired = spec([(ARP, "1")]);
    desired.vips.insert(vip.clone(), Vip::default());
    let live = host([(ARP, "0")]);
    let record = PriorState::for_snapshot();
    let applied = steps(&desired, &live, &record);
    let bind = "bind vip 192.0.2.1/32 on lo".to_owned();
    assert_eq!(texts(&applied), [format!("edit {ARP} 0 1"), bind.clone()]);
    let after = simulate(&live, &applied);

    let unbind = "unbind vip 192.0.2.1/32 on lo".to_owned();
    let back = rollback_plan(&applied, &after).steps;
    assert_eq!(texts(&back), [unbind.clone(), format!("restore {ARP} 1 0")]);
    assert_eq!(simulate(&after, &back), live);

    let record = PriorState { sysctls: values([(ARP, "0")]), ..record };
    let undone = steps(&Desired::default(), &after, &record);
    assert_eq!(texts(&undone), [unbind, format!("restore {ARP} 1 0")]);
    let back = rollback_plan(&undone, &live).steps;
    assert_eq!(texts(&back), [format!("edit {ARP} 0 1"), bind]);
    assert_eq!(simulate(&live, &back), after);
}

#[test]
fn a_value_that_did_not_exist_before_is_not_restored() {
    let key = "net.ipv4.conf.tunl0.rp_filter";
    let record =
        PriorState { sysctls: values([(key, super::UNSET)]), ..PriorState::for_snapshot() };
    assert_eq!(steps(&Desired::default(), &host([(key, "0")]), &record), []);
    let set = steps(&spec([(key, "0")]), &Live { links: None, ..host([]) }, &record);
    assert_eq!(texts(&set), [format!("edit {key} unset 0")]);
    for live in [host([(key, "0")]), host([])] {
        let back = rollback_plan(&set, &live);
        assert_eq!((back.steps, back.foreign), (vec![], [].into()));
    }
}

#[test]
fn what_the_kernel_rewrites_is_read_before_and_restored_after_its_master() {
    let (live, record) = forwarding();
    let undone = steps(&Desired::default(), &live, &record);
    // accept_redirects and default have their values with the master; eth1 came later and follows it.
    assert_eq!(texts(&undone), [format!("restore {FORWARD} 1 0"), format!("restore {ETH0} 0 1")]);
    let after = simulate(&live, &undone);
    let expected = [(FORWARD, "0"), (REDIRECTS, "1"), (DEFAULT, "0"), (ETH0, "1"), (ETH1, "0")];
    assert_eq!(after.sysctls, values(expected));

    let set = steps(&spec([(FORWARD, "1")]), &after, &PriorState::for_snapshot());
    let [Op::EditSysctl { rewrites, .. }] = &set[..] else { panic!("{set:?}") };
    assert_eq!(*rewrites, values([(REDIRECTS, "1"), (DEFAULT, "0"), (ETH0, "1"), (ETH1, "0")]));
    let now = simulate(&after, &set);
    let back = rollback_plan(&set, &now);
    assert_eq!(texts(&back.steps), texts(&undone), "a rollback does the same");
    assert_eq!(simulate(&now, &back.steps), after);
}

#[test]
fn a_rollback_keeps_what_another_program_set_meanwhile() {
    let before = host([(FORWARD, "0"), (ETH0, "0"), (ETH1, "0")]);
    let set = steps(&spec([(FORWARD, "1")]), &before, &PriorState::for_snapshot());
    let mut now = simulate(&before, &set);
    now.sysctls.insert(ETH1.into(), "2".into());
    let back = rollback_plan(&set, &now);
    assert_eq!(
        simulate(&now, &back.steps).sysctls,
        values([(FORWARD, "0"), (ETH0, "0"), (ETH1, "2")])
    );
    assert_eq!(back.foreign, [crate::Object::Sysctl(ETH1.into())].into());
}

#[test]
fn a_spec_that_names_a_rewritten_sysctl_gets_its_own_value_after_the_master() {
    let live = host([(FORWARD, "0"), (ETH0, "0"), (ETH1, "0")]);
    let desired = spec([(FORWARD, "1"), (ETH0, "0")]);
    let record = PriorState::for_snapshot();
    let set = steps(&desired, &live, &record);
    assert_eq!(texts(&set), [format!("edit {FORWARD} 0 1"), format!("edit {ETH0} 1 0")]);
    let after = simulate(&live, &set);
    assert_eq!(after.sysctls, values([(FORWARD, "1"), (ETH0, "0"), (ETH1, "1")]));
    assert_eq!(steps(&desired, &after, &record), []);
    // It has it after the master is restored, too.
    let (live, record) = forwarding();
    let desired = spec([(ETH1, "1")]);
    let undone = steps(&desired, &live, &record);
    let expected = [
        format!("restore {FORWARD} 1 0"),
        format!("restore {ETH0} 0 1"),
        format!("restore {ETH1} 0 1"),
    ];
    assert_eq!(texts(&undone), expected);
}

#[test]
fn a_master_with_its_value_is_left_alone_and_both_of_its_names_are_one() {
    let (live, record) = forwarding();
    assert_eq!(steps(&spec([(FORWARD, "1")]), &live, &record), []);
    let other_name = "net.ipv4.conf.all.forwarding";
    let mut live = live;
    live.sysctls.insert(other_name.into(), "1".into());
    assert_eq!(steps(&spec([(other_name, "1")]), &live, &record), []);
    let both = spec([(other_name, "0"), (FORWARD, "0")]);
    assert_eq!(texts(&steps(&both, &live, &record)), [format!("edit {other_name} 1 0")]);
}

#[test]
fn interfaces_that_come_and_go_do_not_make_a_reviewed_plan_stale() {
    let desired = spec([(FORWARD, "1")]);
    let saved = steps(&desired, &host([(FORWARD, "0"), (ETH0, "0")]), &PriorState::for_snapshot());
    let fresh = steps(&desired, &host([(FORWARD, "0"), (ETH1, "0")]), &PriorState::for_snapshot());
    assert_ne!(saved, fresh);
    assert_eq!(crate::staleness_diff(&saved, &fresh, &desired, None), None);
}

#[test]
fn the_arp_sysctls_stay_while_a_vip_of_evenkeel_is_out_of_scope_on_lo() {
    let vip = Binding::host([192, 0, 2, 1].into(), "lo");
    let live =
        Live { addresses: [(vip, Owner::Evenkeel)].into(), ..host([(ARP, "1"), (FORWARD, "1")]) };
    let sysctls = values([(ARP, "0"), (FORWARD, "0")]);
    let record = PriorState { sysctls, ..PriorState::for_snapshot() };
    let of = |scope| texts(&steps(&Desired { scope, ..Desired::default() }, &live, &record));
    let narrow = evenkeel_model::Scope::Limited(evenkeel_model::Limits::default());
    assert_eq!(of(narrow), ["restore net.ipv4.ip_forward 1 0"]);
    assert!(of(evenkeel_model::Scope::All).contains(&format!("restore {ARP} 1 0")));
}
