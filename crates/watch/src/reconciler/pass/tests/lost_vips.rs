//! Lost VIPs that are bound again while the reconciler does something else.

use std::net::IpAddr;

use evenkeel_control::{Request, State, Trigger};
use evenkeel_engine::fake_kernel::{Fault, SharedKernel};
use evenkeel_engine::{Journal, Notice};
use evenkeel_host::Change;
use evenkeel_plan::Op;
use rustix::io::Errno;

use super::SPEC;
use super::fixture::Fixture;
use crate::lost_vips::Rebinder;
use crate::reconciler::Message;

const VIP: [u8; 4] = [192, 0, 2, 1];

fn rebinder(fixture: &Fixture) -> Rebinder<SharedKernel> {
    let kernel = fixture.kernel.clone();
    let kept = fixture.reconciler.bound_vips.shared().clone();
    let state = fixture.reconciler.options.state.clone();
    Rebinder::new(Box::new(move |_| Ok(kernel.clone())), (), kept, state)
}

fn gone(addresses: &[IpAddr]) -> Change {
    Change { addresses: true, gone: addresses.iter().copied().collect(), ..Change::default() }
}

/// Removes the VIP, and returns how many VIPs are bound again.
fn rebound(fixture: &Fixture) -> usize {
    fixture.kernel.get().live.addresses.clear();
    let done = rebinder(fixture).rebind(&gone(&[VIP.into()]));
    assert_eq!(fixture.live().addresses.len(), done.len());
    done.len()
}

#[test]
fn a_lost_vip_is_bound_again_without_a_pass() {
    let fixture = Fixture::new(SPEC);
    let before = fixture.live();
    assert_eq!(rebound(&fixture), 1);
    assert_eq!(fixture.live(), before);
}

#[test]
fn with_lost_notifications_those_that_are_missing_are_bound_again() {
    let second = "vips: [ { address: 192.0.2.2, interface: eth0 }, ";
    let fixture = Fixture::new(&SPEC.replace("vips: [ ", second));
    let before = fixture.live();
    let lost = Change { lost: true, ..Change::default() };
    let received = fixture.received();
    assert!(rebinder(&fixture).rebind(&lost).is_empty());
    assert_eq!(fixture.received(), received);
    fixture.kernel.get().live.addresses.pop_first();
    assert_eq!(rebinder(&fixture).rebind(&lost).len(), 1);
    assert_eq!(fixture.live(), before);
}

#[test]
fn other_addresses_are_left_alone() {
    let fixture = Fixture::new(SPEC);
    fixture.kernel.get().live.addresses.clear();
    let others = [[192, 0, 2, 2], [10, 0, 0, 1]].map(IpAddr::from);
    assert!(rebinder(&fixture).rebind(&gone(&others)).is_empty());
    assert!(fixture.live().addresses.is_empty());
}

#[test]
fn a_vip_is_bound_again_once_until_the_next_pass() {
    let mut fixture = Fixture::new(SPEC);
    for _ in 0..3 {
        assert_eq!((rebound(&fixture), rebound(&fixture)), (1, 0));
        fixture.pass(Trigger::Address);
        assert_eq!(fixture.live().addresses.len(), 1);
    }
}

#[test]
fn each_time_counts_for_a_conflict_which_ends_it() {
    let mut fixture = Fixture::new(SPEC);
    let bind_again = |fixture: &mut Fixture| {
        fixture.kernel.get().live.addresses.clear();
        let change = gone(&[VIP.into()]);
        let rebound = rebinder(fixture).rebind(&change);
        let number = rebound.len();
        fixture.reconciler.on_message(Message::Address { gone: change.gone, rebound });
        fixture.pass(Trigger::Address);
        number
    };
    for _ in 0..100 {
        assert_eq!(bind_again(&mut fixture), 1);
    }
    fixture.assert_state(State::Degraded, "vip 192.0.2.1/32 on eth0");
    assert_eq!(bind_again(&mut fixture), 0);
    assert!(fixture.live().addresses.is_empty(), "it backs off");
}

#[test]
fn nothing_is_bound_while_the_daemon_is_paused_or_after_it_has_stopped() {
    let mut fixture = Fixture::new(SPEC);
    fixture.reconciler.handle(Request::Pause { seconds: None });
    assert_eq!(rebound(&fixture), 0);
    fixture.reconciler.handle(Request::Resume);
    assert_eq!(rebound(&fixture), 1);
    let (messages, receiver) = std::sync::mpsc::channel();
    messages.send(Message::Stop).expect("it is received");
    fixture.reconciler.run(&receiver);
    assert_eq!(rebound(&fixture), 0);
}

#[test]
fn nothing_is_bound_after_another_process_has_written_the_journal() {
    let mut fixture = Fixture::new(SPEC);
    let journal: Journal = fixture.reconciler.host.journal().clone();
    fixture.reconciler.options.state.write(&journal).expect("it can be written");
    assert_eq!(rebound(&fixture), 0);
    fixture.pass(Trigger::Address);
    assert_eq!(rebound(&fixture), 1);
}

#[test]
fn a_vip_that_a_pass_unbinds_is_not_bound_again() {
    let mut fixture = Fixture::new(SPEC);
    let other = SPEC.replace("192.0.2.1", "192.0.2.2");
    fixture.write(&format!("{other}guards: {{ mass_delete: off }}\n"));
    let status = fixture.status();
    if let Some(held) = &status.spec.held {
        let id = held.id.clone();
        fixture.reconciler.handle(Request::Approve { id });
    }
    let bound: Vec<IpAddr> = fixture.live().addresses.keys().map(|it| it.address).collect();
    assert_eq!(bound, [IpAddr::from([192, 0, 2, 2])]);
    assert!(rebinder(&fixture).rebind(&gone(&[VIP.into()])).is_empty());
}

#[test]
fn those_on_an_interface_are_withdrawn_before_one_of_them_is_unbound() {
    let fixture = Fixture::new(SPEC);
    let kept = fixture.reconciler.bound_vips.shared();
    let unbind = |interface: &str| Op::Unbind {
        binding: evenkeel_model::Binding::host([192, 0, 2, 9].into(), interface),
        label: None,
    };
    kept.withdraw(&[unbind("eth1")]);
    assert_eq!(rebound(&fixture), 1);
    kept.publish_again(fixture.reconciler.rebinds());
    kept.withdraw(&[unbind("eth0")]);
    assert_eq!(rebound(&fixture), 0);
}

#[test]
fn one_that_the_kernel_refuses_is_left_to_the_pass() {
    let mut fixture = Fixture::new(SPEC);
    let number = fixture.received();
    fixture.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    assert_eq!(rebound(&fixture), 0);
    fixture.pass(Trigger::Address);
    assert_eq!(fixture.live().addresses.len(), 1);
    fixture.assert_state(State::Ok, "");
}

#[test]
fn a_vip_whose_pass_failed_is_not_bound_before_the_next_one() {
    let mut fixture = Fixture::new(SPEC);
    fixture.kernel.get().live.addresses.clear();
    let number = fixture.received();
    fixture.kernel.get().faults.insert(number, Fault::Refuse(Errno::NOMEM));
    fixture.pass(Trigger::Address);
    fixture.assert_state(State::Degraded, "vip 192.0.2.1/32 on eth0");
    assert_eq!(rebound(&fixture), 0);
}

#[test]
fn vips_that_were_withdrawn_for_a_pass_that_failed_are_bound_again() {
    let second = "vips: [ { address: 192.0.2.2, interface: eth0 }, ";
    let mut fixture = Fixture::new(&SPEC.replace("vips: [ ", second));
    let before = fixture.received();
    fixture.kernel.get().faults.insert(before, Fault::Vanish);
    fixture.write(&format!("{SPEC}guards: {{ mass_delete: off }}\n"));
    let is_unreachable = std::mem::take(&mut fixture.kernel.get().is_unreachable);
    assert!(is_unreachable, "it was about to unbind the other VIP");
    fixture.kernel.get().faults.clear();
    assert_eq!(rebound(&fixture), 1);
}

#[test]
fn after_a_pass_that_wrote_the_journal_and_failed_vips_are_bound_again() {
    let mut fixture = Fixture::new(SPEC);
    let state = fixture.reconciler.options.state.clone();
    let (mut journal, _) = state.read(false).expect("it can be read");
    journal.notices.push(Notice::Message("something happened".into()));
    state.write(&journal).expect("it can be written");
    let obstruction = state.folder().join("journal.json.new");
    std::fs::create_dir(&obstruction).expect("a folder");
    // It reads the notice, and the next pass has to write the journal without it.
    fixture.pass(Trigger::Signal);
    std::fs::remove_dir(&obstruction).expect("it is empty");
    fixture.kernel.get().is_unreachable = true;
    let before = state.journal_version();
    fixture.pass(Trigger::Signal);
    assert_ne!(state.journal_version(), before, "it has written the journal");
    fixture.kernel.get().is_unreachable = false;
    assert_eq!(rebound(&fixture), 1);
}

#[test]
fn after_a_pass_that_failed_only_vips_that_the_spec_keeps_are_bound_again() {
    for is_in_spec in [true, false] {
        let fixture = Fixture::new(SPEC);
        let (vips, state) =
            (fixture.reconciler.bound_vips.shared(), &fixture.reconciler.options.state);
        vips.keep(|_| is_in_spec, state);
        assert_eq!(rebound(&fixture), usize::from(is_in_spec));
    }
}
