//! Which capabilities (capabilities(7)) the steps of a plan take and the process does not have.
//!
//! It is asked before the first change: a plan that could be carried out only in part is not begun.
//! The capabilities are the effective ones of the calling thread, in its own user namespace. Where
//! the kernel asks for them in another one, as IPVS does, reading has told so already.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use evenkeel_host::{Capabilities, Capability, Host};
use evenkeel_model::Binding;
use evenkeel_plan::Op;
use thiserror::Error;

use crate::KernelError;

/// How many objects are named where there may be many.
const NAMED: usize = 3;

/// A capability that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingCapability {
    /// Which.
    pub capability: Capability,
    /// What it is needed for, in words that follow "to".
    pub what: String,
}

/// Capabilities that are missing; never none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct MissingCapabilities(pub Vec<MissingCapability>);

impl fmt::Display for MissingCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not permitted: ")?;
        for (place, MissingCapability { capability, what }) in self.0.iter().enumerate() {
            let before = if place == 0 { "" } else { "; " };
            write!(f, "{before}{capability} is missing, to {what}")?;
        }
        Ok(())
    }
}

/// The capabilities that those steps take and this thread does not have, in the order of their
/// numbers; with all of them in effect nothing else is looked at.
///
/// # Errors
/// The interfaces cannot be read.
pub fn missing_capabilities(steps: &[Op]) -> Result<Vec<MissingCapability>, KernelError> {
    // Only a filter of system calls forbids the question. Then the kernel tells what is missing.
    let Ok(capabilities) = Capabilities::current() else { return Ok(Vec::new()) };
    let has = |capability| capabilities.has(capability);
    let announced = if has(Capability::NetRaw) { Vec::new() } else { announced_bindings(steps)? };
    Ok(missing_for(steps, &announced, has))
}

/// The bindings that are announced to neighbours.
fn announced_bindings(steps: &[Op]) -> Result<Vec<&Binding>, KernelError> {
    let bound: Vec<&Binding> = bound(steps).collect();
    if bound.is_empty() {
        return Ok(bound);
    }
    let links = Host::connect().and_then(|host| host.links());
    let links = links.map_err(|error| KernelError::Failed {
        tried: "reading the interfaces",
        source: Box::new(error),
    })?;
    let silent = links.iter().filter(|link| link.announcement_source().is_err());
    let silent: BTreeSet<&str> = silent.map(|link| &*link.name).collect();
    Ok(bound.into_iter().filter(|binding| !silent.contains(&*binding.interface)).collect())
}

/// The bindings on interfaces that are there already: a dummy device that the same steps create
/// has no neighbours.
fn bound(steps: &[Op]) -> impl Iterator<Item = &Binding> {
    let created = steps.iter().filter_map(|op| match op {
        Op::AddDummy { interface } => Some(&**interface),
        _ => None,
    });
    let created: BTreeSet<&str> = created.collect();
    steps.iter().filter_map(move |op| match op {
        Op::Bind { binding, .. } if !created.contains(&*binding.interface) => Some(binding),
        _ => None,
    })
}

fn missing_for(
    steps: &[Op],
    announced: &[&Binding],
    has: impl Fn(Capability) -> bool,
) -> Vec<MissingCapability> {
    let mut missing = Vec::new();
    let mut miss = |capability, is_needed, what: String| {
        if is_needed && !has(capability) {
            missing.push(MissingCapability { capability, what });
        }
    };
    let change = "change the IPVS table, addresses and sysctls".to_owned();
    miss(Capability::NetAdmin, !steps.is_empty(), change);
    miss(Capability::NetRaw, !announced.is_empty(), format!("announce {}", listed(announced)));
    missing
}

/// The first of them, and how many more there are.
fn listed(all: &[impl fmt::Display]) -> String {
    let mut text = String::new();
    for (place, one) in all.iter().take(NAMED).enumerate() {
        let before = if place == 0 { "" } else { ", " };
        // A String takes whatever is written to it.
        let _written = write!(text, "{before}{one}");
    }
    match all.len().saturating_sub(NAMED) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(last: u8, interface: &str) -> Op {
        Op::Bind { binding: Binding::host([192, 0, 2, last].into(), interface), label: None }
    }

    fn missing_text(steps: &[Op], lacks: &[Capability]) -> String {
        let announced: Vec<&Binding> = bound(steps).collect();
        let missing = missing_for(steps, &announced, |capability| !lacks.contains(&capability));
        if missing.is_empty() { String::new() } else { MissingCapabilities(missing).to_string() }
    }

    const ALL: [Capability; 2] = [Capability::NetAdmin, Capability::NetRaw];

    #[test]
    fn each_missing_capability_is_named_with_what_it_is_for() {
        let steps = [bind(1, "eth0")];
        assert_eq!(
            missing_text(&steps, &ALL),
            "not permitted: CAP_NET_ADMIN is missing, to change the IPVS table, addresses and \
             sysctls; CAP_NET_RAW is missing, to announce 192.0.2.1/32 on eth0"
        );
        assert_eq!(missing_text(&steps, &[]), "");
        assert!(
            missing_text(&steps, &[Capability::NetRaw]).starts_with("not permitted: CAP_NET_RAW")
        );
    }

    #[test]
    fn what_no_step_needs_is_not_missed() {
        let unbind =
            Op::Unbind { binding: Binding::host([192, 0, 2, 1].into(), "eth0"), label: None };
        assert_eq!(missing_text(&[], &ALL), "");
        // The kernel loads modules for whoever adds what needs them.
        let module = Op::AddModule { module: "ip_vs_sh".into() };
        let dummy = Op::AddDummy { interface: "v".into() };
        for steps in [vec![unbind], vec![module], vec![dummy, bind(1, "v")]] {
            assert_eq!(missing_text(&steps, &[Capability::NetRaw]), "");
        }
    }

    #[test]
    fn many_of_a_kind_are_counted() {
        let steps: Vec<Op> = (1..=5).map(|last| bind(last, "eth0")).collect();
        let message = missing_text(&steps, &[Capability::NetRaw]);
        assert!(message.ends_with("192.0.2.3/32 on eth0 and 2 more"), "{message}");
    }
}
