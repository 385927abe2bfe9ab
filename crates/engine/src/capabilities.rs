//! Finds the capabilities (capabilities(7)) that the steps of a plan need and the process lacks.
//!
//! This is checked before the first change: a plan that could be applied only in part is not begun.
//! The capabilities are the effective ones of the calling thread, in its own user namespace. Where
//! the kernel requires them in another one, as IPVS does, reading has failed already.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use evenkeel_host::Capability;
use evenkeel_model::Binding;
use evenkeel_plan::Op;
use thiserror::Error;

use crate::error::KernelError;
use crate::kernel::Kernel;

/// How many objects a message names where there may be many.
const NAMED: usize = 3;

/// A missing capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingCapability {
    /// The capability.
    pub capability: Capability,
    /// What it is needed for, as text that follows "to".
    pub what: String,
}

/// The missing capabilities; at least one.
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

/// Returns the capabilities that these steps need and the process lacks, in the order of their
/// numbers. With all of them in effect nothing else is read.
///
/// # Errors
/// The interfaces cannot be read.
pub fn missing_capabilities(
    kernel: &mut dyn Kernel,
    steps: &[Op],
) -> Result<Vec<MissingCapability>, KernelError> {
    let announced = if kernel.has_capability(Capability::NetRaw) {
        Vec::new()
    } else {
        announced_bindings(kernel, steps)?
    };
    Ok(missing_for(steps, &announced, |capability| kernel.has_capability(capability)))
}

/// Returns the bindings that are announced to neighbours.
fn announced_bindings<'a>(
    kernel: &mut dyn Kernel,
    steps: &'a [Op],
) -> Result<Vec<&'a Binding>, KernelError> {
    let bound: Vec<&Binding> = bound(steps).collect();
    if bound.is_empty() {
        return Ok(bound);
    }
    let silent = kernel.silent_interfaces()?;
    Ok(bound.into_iter().filter(|binding| !silent.contains(&binding.interface)).collect())
}

/// Returns the bindings on interfaces that exist already: a dummy or tunnel device that the same steps
/// add has no neighbours.
fn bound(steps: &[Op]) -> impl Iterator<Item = &Binding> {
    let created = steps.iter().filter_map(|op| match op {
        Op::AddDummy { interface } => Some(&**interface),
        Op::AddHostObject { object, .. } => object.device(),
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

/// Lists the first objects, and how many more there are.
fn listed(all: &[impl fmt::Display]) -> String {
    let mut text = String::new();
    for (place, one) in all.iter().take(NAMED).enumerate() {
        let before = if place == 0 { "" } else { ", " };
        // Writing to a String does not fail.
        let _written = write!(text, "{before}{one}");
    }
    match all.len().saturating_sub(NAMED) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Link, Live, Owner};

    use super::*;
    use crate::fake_kernel::FakeKernel;

    fn bind(last: u8, interface: &str) -> Op {
        Op::Bind { binding: Binding::host([192, 0, 2, last].into(), interface), label: None }
    }

    fn missing_text(steps: &[Op], lacks: &[Capability]) -> String {
        let link = |dummy| Link { up: true, dummy, owner: Owner::Other };
        let links = [("lo", false), ("eth0", false), ("dummy0", true)];
        let links = links.map(|(name, dummy)| (name.into(), link(dummy)));
        let mut kernel = FakeKernel::new(Live { links: Some(links.into()), ..Live::default() });
        kernel.missing_capabilities = lacks.iter().copied().collect();
        let missing = missing_capabilities(&mut kernel, steps).expect("it is reachable");
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
    fn a_capability_that_no_step_needs_is_not_reported() {
        let unbind =
            Op::Unbind { binding: Binding::host([192, 0, 2, 1].into(), "eth0"), label: None };
        assert_eq!(missing_text(&[], &ALL), "");
        // The kernel loads the module itself for a program that adds what needs it.
        let module = Op::AddModule { module: "ip_vs_sh".into() };
        let dummy = Op::AddDummy { interface: "v".into() };
        let silent = [bind(1, "lo"), bind(1, "dummy0")].into();
        for steps in [vec![unbind], vec![module], vec![dummy, bind(1, "v")], silent] {
            assert_eq!(missing_text(&steps, &[Capability::NetRaw]), "");
        }
    }

    #[test]
    fn only_the_first_objects_are_named_and_the_rest_counted() {
        let steps: Vec<Op> = (1..=5).map(|last| bind(last, "eth0")).collect();
        let message = missing_text(&steps, &[Capability::NetRaw]);
        assert!(message.ends_with("192.0.2.3/32 on eth0 and 2 more"), "{message}");
    }
}
