//! From two states to a plan.

use evenkeel_model::{Desired, Live, Owner};
use serde::Serialize;

use crate::diff::{Difference, difference};
use crate::guard::refusals;
use crate::obstacle::obstacles;
use crate::order::order;
use crate::{Counts, Guard, Obstacle, Op, Refusal};

/// All that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What the spec asks for.
    pub desired: &'a Desired,
    /// What the kernel answered.
    pub live: &'a Live,
    /// Whether no earlier apply is on record for this namespace.
    pub first_apply: bool,
}

/// What it takes to bring a host from its live to its desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The operations in the order of their execution; every prefix is a state that serves.
    pub steps: Vec<Op>,
    /// The guards that refuse this plan.
    pub refusals: Vec<Refusal>,
    /// What would make operations fail.
    pub obstacles: Vec<Obstacle>,
    /// Worth knowing, in the way of nothing.
    pub warnings: Vec<String>,
    /// How many objects are as they shall be.
    pub unchanged: Unchanged,
    /// How many live services are none of the spec's business.
    pub out_of_scope: usize,
}

/// Objects that are as they shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unchanged {
    /// Services.
    pub services: usize,
    /// Real servers.
    pub real_servers: usize,
    /// VIPs.
    pub vips: usize,
}

/// Plans. The same inputs give the same plan.
pub fn plan(inputs: Inputs<'_>) -> Plan {
    let Inputs { desired, live, first_apply } = inputs;
    let Difference { added, ops, unchanged, out_of_scope } = difference(desired, live);
    let steps = order(added, ops);
    Plan {
        refusals: refusals(desired, live, first_apply, &steps),
        obstacles: obstacles(desired, live, &steps),
        warnings: warnings(desired, live),
        steps,
        unchanged,
        out_of_scope,
    }
}

impl Plan {
    /// Whether live is as desired.
    pub fn is_in_sync(&self) -> bool {
        self.steps.is_empty()
    }

    /// The operations by verb.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.steps)
    }

    /// The refusals that `allowed` does not lift.
    pub fn refused<'a>(&'a self, allowed: &'a [Guard]) -> impl Iterator<Item = &'a Refusal> {
        self.refusals.iter().filter(|refusal| !allowed.contains(&refusal.guard))
    }
}

fn warnings(desired: &Desired, live: &Live) -> Vec<String> {
    let mut found = Vec::new();
    for binding in desired.vips.keys() {
        let foreign = live.addresses.iter().find(|(other, owner)| {
            **owner == Owner::Other && other.same_place(binding) && *other != binding
        });
        if let Some((foreign, _)) = foreign.filter(|_| !live.addresses.contains_key(binding)) {
            found.push(format!(
                "{} is bound as /{} by someone else and is used as it is; the spec says /{}",
                foreign.address, foreign.prefix, binding.prefix
            ));
        }
        let links = live.links.as_ref();
        if links.and_then(|links| links.get(&binding.interface)).is_some_and(|link| !link.up) {
            found.push(format!(
                "interface {} is down: {} takes no traffic until it is up",
                binding.interface, binding.address
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests;
