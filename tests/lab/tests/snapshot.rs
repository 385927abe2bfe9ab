//! A snapshot loses nothing: it plans empty in its own namespace, and recreates the state on an
//! empty host.

use evenkeel_model::{Desired, Family, Scope, Service, ServiceKey};
use evenkeel_spec::{WriteInput, write};
use proptest::prelude::*;

use crate::apply::{Tested, apply_completely, observe, read, steps};

mod others;
mod specs;

/// The number of cases without `EVENKEEL_LAB_CASES`: each creates two or three namespaces.
const CASES: u32 = 25;

/// Returns a desired state that governs the whole table and omits everything else.
fn everything() -> Desired {
    Desired { scope: Scope::All, ..Desired::default() }
}

/// Returns the text of a snapshot of this namespace.
fn snapshot(named: &Desired, pooled: bool) -> String {
    let live = observe(named);
    let mut input = WriteInput::of_live(&live, named);
    if pooled {
        input = input.pooled();
    }
    input.observe(&live);
    write(&input)
}

/// Asserts that a snapshot of this namespace plans empty here, and against itself.
fn assert_plans_empty(text: &str) -> Tested<Desired> {
    let loaded = read(text)?;
    let desired = loaded.desired.clone();
    prop_assert_eq!(steps(&desired, &observe(&desired)), [], "{}", text);
    prop_assert_eq!(steps(&desired, &loaded.into_live()), [], "against itself: {}", text);
    Ok(desired)
}

/// Whether a service has real servers of the other family; no sync daemon can run beside them.
fn is_mixed<'a>(services: impl IntoIterator<Item = (&'a ServiceKey, &'a Service)>) -> bool {
    services.into_iter().any(|(key, service)| {
        let mut real_servers = service.real_servers.iter();
        real_servers.any(|(real_server, _)| Family::from(real_server.address) != key.family())
    })
}
