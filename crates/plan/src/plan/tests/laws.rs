//! Laws of planning, on arbitrary states.

use evenkeel_model::arbitrary::{Pair, pair, with_ignored_members};
use evenkeel_model::{Binding, NamedService, Owner, Service, ServiceKey, Vip};
use proptest::prelude::*;

use super::super::*;
use super::plan_of;
use crate::PriorState;
use crate::{Verb, simulate};

/// Generates a pair whose VIPs are bound for services: by evenkeel on the host, or by the spec, or
/// not at all.
fn with_vips(mut pair: Pair, places: u32) -> Pair {
    let binding = |key: &ServiceKey| key.vip().map(|vip| Binding::host(vip, "eth0"));
    let live = pair.live.services.keys().filter_map(binding);
    pair.live.addresses = live.map(|binding| (binding, Owner::Evenkeel)).collect();
    let listed = pair.desired.services.keys().filter_map(binding).enumerate();
    let listed = listed.filter(|(number, _)| places & (1 << (number % 32)) != 0);
    pair.desired.vips = listed.map(|(_, binding)| (binding, Vip::default())).collect();
    pair
}

fn serves(service: Option<&Service>) -> bool {
    service.is_some_and(|it| it.real_servers.iter().any(|(_, server)| server.weight > 0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_every_step_the_host_serves(pair in pair(5), places: u32) {
        let Pair { desired, live, .. } = with_vips(pair, places);
        let steps = plan_of(&desired, &live).steps;
        let mut now = live.clone();
        for step in &steps {
            match step {
                // The services of a VIP that is bound are complete.
                Op::Bind { binding, .. } => {
                    let on_it = |(key, _): &(&ServiceKey, &NamedService)| key.vip() == Some(binding.address);
                    for (key, named) in desired.services.iter().filter(on_it) {
                        for (real_server, wanted) in &named.service.real_servers {
                            let there = now.services[key].real_servers.get(real_server);
                            prop_assert_eq!(there.map(|it| it.weight), Some(wanted.weight));
                        }
                    }
                }
                // Its clients no longer reach this host.
                Op::DeleteService { key, .. } => {
                    let vip = key.vip().map(|vip| Binding::host(vip, "eth0"));
                    let leaves = vip.filter(|vip| !desired.vips.contains_key(vip));
                    prop_assert!(leaves.is_none_or(|vip| !now.addresses.contains_key(&vip)));
                }
                // Its replacements are in place.
                Op::DrainRealServer { service, .. } => {
                    for (key, wanted) in desired.services.get(service).into_iter().flat_map(|it| &it.service.real_servers) {
                        prop_assert_eq!(now.services[service].real_servers.get(key).map(|it| it.weight), Some(wanted.weight));
                    }
                }
                _ => {}
            }
            now = simulate(&now, std::slice::from_ref(step));
            for (key, named) in &desired.services {
                if serves(live.services.get(key)) && serves(Some(&named.service)) {
                    prop_assert!(serves(now.services.get(key)), "{key} has no server after {step:?}");
                }
            }
        }
        prop_assert!(plan_of(&desired, &now).is_in_sync());
    }

    #[test]
    fn deletions_come_after_all_drains_have_started_and_all_other_steps(pair in pair(5)) {
        let steps = plan_of(&pair.desired, &pair.live).steps;
        let first_drain = steps.iter().position(|op| op.verb() == Verb::Drain);
        let drains = steps.iter().filter(|op| op.verb() == Verb::Drain).count();
        if let Some(first) = first_drain {
            prop_assert!(steps[first..first + drains].iter().all(|op| op.verb() == Verb::Drain));
            prop_assert!(steps[first + drains..].iter().all(|op| op.verb() == Verb::Delete));
            prop_assert!(steps[..first].iter().all(|op| matches!(op.verb(), Verb::Add | Verb::Edit)));
        }
        // Every drained real server is deleted, and every deleted one has drained.
        for op in &steps {
            if let Op::DrainRealServer { service, key, limit, .. } = op {
                prop_assert!(*limit > Drain::NONE);
                let goes = steps.iter().any(|op| match op {
                    Op::DeleteService { key, .. } => key == service,
                    Op::DeleteRealServer { service: of, key: it, .. } => (of, it) == (service, key),
                    _ => false,
                });
                prop_assert!(goes, "{key} of {service} is left without weight");
            }
        }
    }

    #[test]
    fn an_unchanged_spec_causes_no_steps(pair in pair(5), places: u32) {
        let Pair { desired, live, .. } = with_vips(pair, places);
        let record = PriorState::for_snapshot();
        let plan = plan(Inputs { last: Some(&desired), ..Inputs::new(&desired, &live, &record) });
        prop_assert_eq!(plan.causes.len(), plan.steps.len());
        for (step, cause) in plan.steps.iter().zip(&plan.causes) {
            let ours = step.verb() == Verb::Unbind;
            prop_assert_eq!(*cause, if ours { Cause::SpecChanged } else { Cause::Drift }, "{:?}", step);
        }
    }
}

proptest! {
    #[test]
    fn the_same_inputs_give_the_same_plan_and_equal_states_an_empty_one(pair in pair(5)) {
        let plan = plan_of(&pair.desired, &pair.live);
        prop_assert_eq!(&plan, &plan_of(&pair.desired, &pair.live));
        prop_assert_eq!(plan.steps.len(), pair.operations + pair.idle_drains);
        let services =
            pair.desired.services.iter().map(|(key, named)| (*key, named.service.clone()));
        let there = Live { services: services.collect(), ..Live::default() };
        prop_assert!(plan_of(&pair.desired, &there).is_in_sync());
    }

    #[test]
    fn real_servers_of_another_program_stay(pair in with_ignored_members(5)) {
        let plan = plan_of(&pair.desired, &pair.live);
        let after = simulate(&pair.live, &plan.steps);
        prop_assert_eq!(pair.check_members(&after), Ok(()));
        prop_assert!(plan_of(&pair.desired, &after).is_in_sync());
    }

    #[test]
    fn an_executed_plan_leaves_nothing_to_do(pair in pair(5)) {
        let plan = plan_of(&pair.desired, &pair.live);
        let after = simulate(&pair.live, &plan.steps);
        prop_assert!(plan_of(&pair.desired, &after).is_in_sync());
    }
}
