//! Laws of held-back plans, on arbitrary states.

use std::collections::BTreeMap;

use evenkeel_model::arbitrary::{Pair, pair};
use evenkeel_model::{Desired, Link, Owner, Vip};
use proptest::prelude::*;

use super::super::*;
use super::steps_of;
use crate::simulate;
use crate::test_fixtures::on_port;

/// A pair whose VIPs are bound for services on either side or both, on an interface or on a dummy
/// device that is still to be created, with no module loaded; and the objects that are held back.
#[derive(Debug)]
struct Case {
    desired: Desired,
    live: Live,
    held_back: BTreeSet<Object>,
}

fn case() -> impl Strategy<Value = Case> {
    (pair(5), any::<[u32; 4]>(), prop::collection::vec(prop::bool::weighted(0.15), 100)).prop_map(
        |(Pair { mut desired, mut live, .. }, [bound, wanted, moved, known], held)| {
            let is_set = |bits: u32, number: usize| bits & (1 << (number % 32)) != 0;
            live.links = Some(
                [("eth0".into(), Link { up: true, dummy: false, owner: Owner::Other })].into(),
            );
            live.modules = Some(BTreeSet::new());
            let keys: BTreeSet<ServiceKey> =
                live.services.keys().chain(desired.services.keys()).copied().collect();
            let vips: BTreeSet<IpAddr> = keys.iter().filter_map(ServiceKey::vip).collect();
            for (number, vip) in vips.into_iter().enumerate() {
                if is_set(bound, number) {
                    live.addresses.insert(Binding::host(vip, "eth0"), Owner::Evenkeel);
                }
                if is_set(wanted, number) {
                    let dummy = is_set(moved, number);
                    let interface = if dummy { "vips" } else { "eth0" };
                    desired
                        .vips
                        .insert(Binding::host(vip, interface), Vip { dummy, ..Vip::default() });
                }
            }
            let steps = steps_of(&desired, &live);
            let mut objects: BTreeSet<Object> = steps.iter().map(Op::object).collect();
            // Real servers that a plan only deletes with their service.
            for (service, value) in live.services.iter().filter(|_| is_set(known, 0)) {
                let taken = value.real_servers.iter().map(|(key, _)| *key);
                objects.extend(taken.map(|key| Object::RealServer(*service, key)));
            }
            let held = objects.into_iter().zip(held).filter(|(_, is_held)| *is_held);
            Case { held_back: held.map(|(object, _)| object).collect(), desired, live }
        },
    )
}

/// Whether the state allows the operation. The module of a scheduler that a service used `before`
/// the plan is loaded.
fn is_possible(before: &Live, now: &Live, op: &Op) -> bool {
    let real_servers = |key: &ServiceKey| now.services.get(key).map(|it| &it.real_servers);
    let loaded = |op: &Op| {
        let modules = now.modules.clone().unwrap_or_default();
        let used = |module: &str| {
            let users = before.services.values().map(|it| format!("ip_vs_{}", it.config.scheduler));
            users.into_iter().any(|user| user == module)
        };
        op.needed_modules().iter().all(|it| modules.contains(&**it) || used(it))
    };
    match op {
        Op::AddService { key, .. } => !now.services.contains_key(key) && loaded(op),
        Op::EditService { key, .. } => now.services.contains_key(key) && loaded(op),
        Op::DeleteService { key, .. } => now.services.contains_key(key),
        Op::AddRealServer { service, key, .. } => {
            real_servers(service).is_some_and(|it| it.get(key).is_none())
        }
        Op::EditRealServer { service, key, .. }
        | Op::DrainRealServer { service, key, .. }
        | Op::DeleteRealServer { service, key, .. } => {
            real_servers(service).is_some_and(|it| it.get(key).is_some())
        }
        Op::Bind { binding, .. } => {
            let links = now.links.as_ref().expect("links");
            links.contains_key(&binding.interface) && !now.addresses.contains_key(binding)
        }
        Op::Unbind { binding, .. } => now.addresses.contains_key(binding),
        _ => true,
    }
}

fn is_bound(state: &Live, vip: IpAddr) -> bool {
    state.addresses.keys().any(|binding| binding.address == vip)
}

fn serving(state: &Live) -> BTreeSet<ServiceKey> {
    let serving = state.services.iter().filter(|(_, service)| serves(service));
    serving.map(|(key, _)| *key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_every_remaining_step_the_host_serves(case in case()) {
        let Case { desired, live, held_back } = case;
        let steps = steps_of(&desired, &live);
        let complete = simulate(&live, &steps);
        let served = serving(&complete);
        let lasting: Vec<ServiceKey> = serving(&live).intersection(&served).copied().collect();
        let rest = hold_back(steps, &live, &held_back);
        let mut now = live.clone();
        for step in &rest {
            prop_assert!(!held_back.contains(&step.object()), "{step:?} is held back");
            prop_assert!(is_possible(&live, &now, step), "{step:?} cannot be done");
            match step {
                Op::Bind { binding, .. } => {
                    let on_it = |key: &&ServiceKey| key.vip() == Some(binding.address);
                    let mut ready = served.iter().filter(on_it).peekable();
                    let serving = serving(&now);
                    prop_assert!(ready.peek().is_none() || ready.any(|key| serving.contains(key)));
                }
                Op::DeleteService { key, before } => {
                    let vip = key.vip().filter(|vip| !is_bound(&complete, *vip));
                    prop_assert!(vip.is_none_or(|vip| !is_bound(&now, vip)), "{key} is deleted before its VIP");
                    for (real_server, _) in &before.real_servers {
                        prop_assert!(!held_back.contains(&Object::RealServer(*key, *real_server)));
                    }
                }
                _ => {}
            }
            now = simulate(&now, std::slice::from_ref(step));
            let serving = serving(&now);
            for key in &lasting {
                prop_assert!(serving.contains(key), "{key} has no server after {step:?}");
            }
            for binding in live.addresses.keys().filter(|it| is_bound(&complete, it.address)) {
                prop_assert!(is_bound(&now, binding.address), "{binding} is unbound after {step:?}");
            }
            // No service that stays is cut off.
            for binding in live.addresses.keys().filter(|it| !is_bound(&now, it.address)) {
                let cut = |key: &&ServiceKey| {
                    key.vip() == Some(binding.address) && !complete.services.contains_key(key)
                };
                let waits = rest.iter().filter_map(|op| match op {
                    Op::DeleteService { key, .. } => Some(*key),
                    _ => None,
                });
                let leaving: BTreeSet<ServiceKey> = waits.collect();
                prop_assert!(now.services.keys().filter(cut).all(|key| leaving.contains(key)));
            }
        }
        // Drained real servers are deleted.
        for step in &rest {
            if let Op::DrainRealServer { service, key, .. } = step {
                let there = now.services.get(service).and_then(|it| it.real_servers.get(key));
                prop_assert!(there.is_none(), "{key} of {service} is left without weight");
            }
        }
        // Once nothing is held back, the next pass completes the plan.
        let end = simulate(&now, &steps_of(&desired, &now));
        prop_assert!(steps_of(&desired, &end).is_empty());
    }

    #[test]
    fn with_nothing_held_back_the_plan_is_unchanged(case in case()) {
        let steps = steps_of(&case.desired, &case.live);
        prop_assert_eq!(&hold_back(steps.clone(), &case.live, &BTreeSet::new()), &steps);
        let strange = [Object::Timeouts, Object::Service(on_port(77, 7))].into();
        prop_assert_eq!(&hold_back(steps.clone(), &case.live, &strange), &steps);
    }

    #[test]
    fn objects_held_back_in_one_service_block_only_deletions_of_others(case in case(), which: usize) {
        let Case { desired, live, .. } = case;
        let steps = steps_of(&desired, &live);
        let services: BTreeSet<ServiceKey> = steps.iter().filter_map(Op::service).collect();
        let Some(held) = services.iter().nth(which % services.len().max(1)) else { return Ok(()) };
        let touched: BTreeMap<Object, ServiceKey> =
            steps.iter().filter_map(|op| Some((op.object(), op.service()?))).collect();
        let held_back = touched.iter().filter(|(_, service)| *service == held);
        let omitted = omitted(&steps, &live, &held_back.map(|(object, _)| object.clone()).collect());
        for (op, _) in steps.iter().zip(omitted).filter(|(_, is_omitted)| *is_omitted) {
            let Some(service) = op.service().filter(|service| service != held) else {
                let is_vip = matches!(op, Op::Bind { .. } | Op::Unbind { .. });
                prop_assert!(is_vip || op.service().is_some(), "{op:?}");
                continue;
            };
            prop_assert!(!desired.services.contains_key(&service), "{op:?}");
        }
    }
}
