use std::collections::BTreeMap;

use evenkeel_model::{ForeignMarks, HostRoute, RealServerPart};

use super::*;
use crate::{Inputs, Op, Plan, plan};

fn vip(prefix: u8) -> Binding {
    Binding { prefix, ..Binding::host([192, 0, 2, 1].into(), "eth0") }
}

fn desired(bind: BindWhen) -> Desired {
    let vips = [(vip(32), Vip { bind, ..Vip::default() })].into();
    Desired { vips, ..Desired::default() }
}

fn live(addresses: impl IntoIterator<Item = (Binding, Owner)>) -> Live {
    Live { addresses: addresses.into_iter().collect::<BTreeMap<_, _>>(), ..Live::default() }
}

fn planned(desired: &Desired, live: &Live, record: &PriorState) -> Plan {
    plan(Inputs::new(desired, live, record))
}

#[test]
fn what_another_program_had_bound_is_not_bound_and_the_plan_says_so() {
    for prefix in [32, 24] {
        let desired = desired(BindWhen::Auto);
        let mut record = PriorState::for_snapshot();
        assert!(record.note_foreign_vips(
            &desired,
            &live([(vip(prefix), Owner::Other)]),
            &BTreeSet::new()
        ));
        assert!(
            !record.note_foreign_vips(
                &desired,
                &live([(vip(prefix), Owner::Other)]),
                &BTreeSet::new()
            ),
            "once"
        );
        let found = planned(&desired, &live([]), &record);
        assert!(found.is_in_sync(), "{:?}", found.steps);
        assert_eq!(found.warnings, [Warning::LeftToBinder { vip: vip(32) }]);
        assert!(
            !record.note_foreign_vips(&desired, &live([]), &BTreeSet::new()),
            "it stays recorded"
        );
    }
}

#[test]
fn what_evenkeel_bound_is_bound_again_also_if_another_program_binds_and_removes_it() {
    let desired = desired(BindWhen::Auto);
    let bind = Op::Bind { binding: vip(32), label: None };
    let mut record = PriorState::for_snapshot();
    assert_eq!(planned(&desired, &live([]), &record).steps, std::slice::from_ref(&bind));
    for owner in [Owner::Evenkeel, Owner::Other] {
        let seen = live([(vip(32), owner)]);
        assert!(!record.note_foreign_vips(&desired, &seen, &[vip(32)].into()), "{owner:?}");
    }
    let both = live([(vip(32), Owner::Evenkeel), (vip(24), Owner::Other)]);
    assert!(!record.note_foreign_vips(&desired, &both, &BTreeSet::new()));
    assert_eq!(planned(&desired, &live([]), &record).steps, [bind]);
}

#[test]
fn another_interface_in_the_spec_does_not_take_a_vip_from_its_program() {
    let mut record = PriorState::for_snapshot();
    record.note_foreign_vips(
        &desired(BindWhen::Auto),
        &live([(vip(32), Owner::Other)]),
        &BTreeSet::new(),
    );
    let elsewhere = Binding::host(vip(32).address, "bond0");
    let moved = Desired { vips: [(elsewhere, Vip::default())].into(), ..Desired::default() };
    assert!(planned(&moved, &live([]), &record).is_in_sync());
    record.forget_foreign_vips(&moved);
    assert!(planned(&moved, &live([]), &record).is_in_sync());
}

#[test]
fn a_record_ends_with_the_vip_in_the_spec_and_with_bind_always() {
    let auto = desired(BindWhen::Auto);
    let mut recorded = PriorState::for_snapshot();
    recorded.note_foreign_vips(&auto, &live([(vip(32), Owner::Other)]), &BTreeSet::new());
    let always = desired(BindWhen::Always);
    assert_eq!(planned(&always, &live([]), &recorded).counts().bind, 1);
    for (spec, is_left) in [(&auto, true), (&always, false), (&Desired::default(), false)] {
        let mut record = recorded.clone();
        record.forget_foreign_vips(spec);
        assert_eq!(!record.foreign_vips.is_empty(), is_left);
    }
    // A spec that is not in force yet takes nothing from the record: it may be rolled back.
    for spec in [&always, &Desired::default()] {
        for seen in [live([]), live([(vip(32), Owner::Evenkeel)])] {
            let mut record = recorded.clone();
            assert!(!record.note_foreign_vips(spec, &seen, &BTreeSet::new()));
            assert_eq!(record, recorded);
        }
    }
}

#[test]
fn a_real_server_binds_its_vips_and_a_handed_over_mark_is_no_other_program() {
    let seen = live([(vip(32), Owner::Other)]);
    let mut spec = desired(BindWhen::Auto);
    let part = RealServerPart { vips: [vip(32)].into(), ..RealServerPart::default() };
    let key = crate::test_fixtures::on(1);
    spec.real_server.insert(key, part);
    assert!(!PriorState::for_snapshot().note_foreign_vips(&spec, &seen, &BTreeSet::new()));
    let handed_over = ForeignMarks { addresses: [vip(32)].into(), ..ForeignMarks::default() };
    let mut record = PriorState { handed_over, ..PriorState::for_snapshot() };
    assert!(!record.note_foreign_vips(&desired(BindWhen::Auto), &seen, &BTreeSet::new()));
}

#[test]
fn the_route_of_a_released_vip_waits_for_it() {
    let mut spec = desired(BindWhen::Auto);
    let route = HostRoute::of(&vip(32));
    let value = route.value();
    spec.host_objects.insert(route.into(), value);
    let mut record = PriorState::for_snapshot();
    record.note_foreign_vips(&spec, &live([(vip(32), Owner::Other)]), &BTreeSet::new());
    assert_eq!(planned(&spec, &live([]), &record).steps, []);
    let back = planned(&spec, &live([(vip(32), Owner::Other)]), &record);
    assert!(matches!(&*back.steps, [Op::AddHostObject { .. }]), "{:?}", back.steps);
}

#[test]
fn a_manager_of_vips_is_named_with_those_that_evenkeel_binds() {
    let spec = desired(BindWhen::Auto);
    let warning = |spec: &Desired, foreign: &[Binding], managers: &[&'static str]| {
        let foreign = foreign.iter().cloned().collect();
        vip_manager_warning(spec, &foreign, managers.iter().copied())
    };
    let expected = Warning::VipManagers { managers: vec!["a"], vips: [vip(32).address].into() };
    assert_eq!(warning(&spec, &[], &["a"]), Some(expected));
    assert_eq!(warning(&spec, &[vip(24)], &["a"]), None);
    assert_eq!(warning(&spec, &[], &[]), None);
    assert_eq!(warning(&desired(BindWhen::Always), &[], &["a"]), None);
}
