//! Resolves the defaults of all sources.

use std::collections::BTreeMap;

use evenkeel_model::{Drain, Scheduler};

use super::health::{Level, NamedChecks};
use super::once;
use crate::path::{At, Path};
use crate::recovering_de::Field;
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{ArpMethod, HealthKeys, Method, OrNone, Spec};

/// The values for services and real servers that set none.
pub(crate) struct Defaults<'s> {
    /// `None` if it could not be read.
    pub(crate) scheduler: Option<Scheduler>,
    /// `None` if it could not be read.
    pub(crate) forward: Option<Method>,
    /// For services without an arp.
    pub(crate) arp: ArpMethod,
    pub(crate) weight: u32,
    /// For services whose scheduler lets a real server drain.
    pub(crate) drain: Drain,
    /// For real servers without a check, whose pool and service have none.
    pub(crate) check: Option<Level>,
    /// For services that do not say it, with their sources. No key is in two of them.
    pub(crate) health: Vec<(usize, &'s HealthKeys)>,
}

const TWICE: &str = "this default is written twice";

pub(crate) fn merge<'s>(
    sources: &[(At<'_>, &'s Spec)],
    named: &NamedChecks<'_>,
    diagnostics: &mut Diagnostics,
) -> Defaults<'s> {
    let mut written = [None, None, None, None, None, None];
    let mut of_health: BTreeMap<&str, Option<Path>> = BTreeMap::new();
    let mut defaults = Defaults {
        scheduler: Some(Scheduler::wlc()),
        forward: Some(Method::Dr),
        arp: ArpMethod::default(),
        weight: 1,
        drain: Drain::default(),
        check: None,
        health: Vec::new(),
    };
    for (root, spec) in sources {
        let Some(keys) = spec.defaults.value() else { continue };
        let at = root.key("defaults");
        let source = at.path().source;
        diagnostics.origin(SpecObject::Defaults(source), || at.path());
        let [scheduler, forward, arp, weight, drain, check] = &mut written;
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
        if !keys.check.is_absent() {
            let at = at.key("check");
            once(check, &at, TWICE, diagnostics);
            defaults.check = Some(named.level(&keys.check, &at, diagnostics));
        }
        if let Some(health) = keys.health.value() {
            let at = at.key("health");
            for key in health.written() {
                once(of_health.entry(key).or_default(), &at.key(key), TWICE, diagnostics);
            }
            if let Some(OrNone::Keys(fallback)) = health.fallback.value() {
                let at = at.key("fallback");
                named.level(&fallback.check, &at.key("check"), diagnostics);
            }
            defaults.health.push((source, health));
        }
    }
    defaults
}
