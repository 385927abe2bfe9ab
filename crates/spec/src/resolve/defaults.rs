//! Resolves the defaults of all sources.

use evenkeel_model::{Drain, Scheduler};

use super::once;
use crate::path::At;
use crate::recovering_de::Field;
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{ArpMethod, Method, Spec};

/// The values for services and real servers that set none.
pub(crate) struct Defaults {
    /// `None` if it could not be read.
    pub(crate) scheduler: Option<Scheduler>,
    /// `None` if it could not be read.
    pub(crate) forward: Option<Method>,
    /// For services without an arp.
    pub(crate) arp: ArpMethod,
    pub(crate) weight: u32,
    /// For services whose scheduler lets a real server drain.
    pub(crate) drain: Drain,
}

const TWICE: &str = "this default is written twice";

pub(crate) fn merge(sources: &[(At<'_>, &Spec)], diagnostics: &mut Diagnostics) -> Defaults {
    let mut written = [None, None, None, None, None];
    let mut defaults = Defaults {
        scheduler: Some(Scheduler::wlc()),
        forward: Some(Method::Dr),
        arp: ArpMethod::default(),
        weight: 1,
        drain: Drain::default(),
    };
    for (root, spec) in sources {
        let Some(keys) = spec.defaults.value() else { continue };
        let at = root.key("defaults");
        let source = at.path().source;
        diagnostics.origin(SpecObject::Defaults(source), || at.path());
        let [scheduler, forward, arp, weight, drain] = &mut written;
        match &keys.scheduler {
            Field::Absent => {}
            Field::Bad => defaults.scheduler = None,
            Field::Value(name) => {
                let at = at.key("scheduler");
                defaults.scheduler = name.0.value().copied();
                if defaults.scheduler == Some(Scheduler::none()) {
                    diagnostics
                        .error(&at, "`none` cannot be used as a scheduler")
                        .remedy("name one, such as wlc");
                }
                once(scheduler, &at, TWICE, diagnostics);
            }
        }
        match &keys.forward {
            Field::Absent => {}
            Field::Bad => defaults.forward = None,
            Field::Value(word) => {
                let at = at.key("forward");
                defaults.forward = Some(word.0);
                if matches!(word.0, Method::Local | Method::Bypass) {
                    diagnostics
                        .error(&at, "this forwarding method cannot be a default")
                        .remedy("write dr, nat, fullnat or tun");
                }
                once(forward, &at, TWICE, diagnostics);
            }
        }
        if let Some(value) = keys.arp.value() {
            defaults.arp = value.0;
            once(arp, &at.key("arp"), TWICE, diagnostics);
        }
        if let Some(value) = keys.weight.value() {
            defaults.weight = value.0;
            once(weight, &at.key("weight"), TWICE, diagnostics);
        }
        if let Some(value) = keys.drain.value() {
            defaults.drain = Drain(value.0);
            once(drain, &at.key("drain"), TWICE, diagnostics);
        }
    }
    defaults
}
