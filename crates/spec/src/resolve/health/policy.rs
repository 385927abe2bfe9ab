//! Resolves what follows from the results of checks: the keys of `health`.

use std::num::NonZeroU32;
use std::time::Duration;

use evenkeel_model::check::Flap;
use evenkeel_model::{
    HealthPolicy, OnFailure, Protocol, QuorumSize, Scheduler, ServiceKey, VipWithoutQuorum,
};

use crate::path::{At, Path, Step};
use crate::recovering_de::Field;
use crate::resolve::Diagnostics;
use crate::resolve::server_expansion::ServerExpansion;
use crate::resolve::service_address::ServiceAddress;
use crate::resolve::service_config::Config;
use crate::spec::{FineDuration, FlapKeys, HealthKeys, Hysteresis, OrNone};

/// From this weight on, a real server has steps in which its weight can grow.
const LEAST_WEIGHT: u32 = 10;

/// The `health` of a service, and those of `defaults` by their source.
pub(crate) struct HealthSources<'a> {
    pub(crate) own: Option<&'a HealthKeys>,
    /// Where the service is written.
    pub(crate) at: &'a At<'a>,
    pub(crate) defaults: &'a [(usize, &'a HealthKeys)],
}

/// A value of `health`.
pub(crate) struct Picked<'a, T> {
    pub(crate) value: &'a T,
    /// The source of its `defaults`; `None` if it is the service's own.
    pub(crate) default: Option<usize>,
}

impl<'a> HealthSources<'a> {
    /// The value of a key: the service's, else that of `defaults`; `None` if there is none or it could
    /// not be read.
    pub(crate) fn pick<T>(
        &self,
        of: impl Fn(&'a HealthKeys) -> &'a Field<T>,
    ) -> Option<Picked<'a, T>> {
        if let Some(own) = self.own.map(&of).filter(|field| !field.is_absent()) {
            return Some(Picked { value: own.value()?, default: None });
        }
        let mut defaults = self.defaults.iter().map(|(source, keys)| (*source, of(keys)));
        let (source, field) = defaults.find(|(_, field)| !field.is_absent())?;
        Some(Picked { value: field.value()?, default: Some(source) })
    }

    /// Where a key is written.
    pub(crate) fn path<T>(&self, key: &'static str, picked: &Picked<'_, T>) -> Path {
        match picked.default {
            None => self.at.key("health").key(key).path(),
            Some(source) => {
                let defaults = At::Root(source).path().then(Step::Key("defaults"));
                defaults.then(Step::Key("health")).then(Step::Key(key))
            }
        }
    }
}

/// What the rules of `health` depend on beside it.
pub(crate) struct PolicyContext<'a> {
    pub(crate) target: &'a ServiceAddress,
    pub(crate) config: Option<&'a Config>,
    pub(crate) servers: Option<&'a ServerExpansion>,
    /// Whether evenkeel binds one of the VIPs.
    pub(crate) binds_vip: bool,
}

/// A policy, with what becomes a part of the checks.
pub(crate) struct Policy {
    pub(crate) policy: HealthPolicy,
    pub(crate) flap: Option<Flap>,
}

/// Resolves the policy of a service, with all that is wrong with it.
pub(crate) fn read(
    sources: &HealthSources<'_>,
    context: &PolicyContext<'_>,
    diagnostics: &mut Diagnostics,
) -> Policy {
    let usual = HealthPolicy::default();
    let is_udp = context.target.protocol == Some(Protocol::Udp) && !context.target.marked;
    let cut_after = if is_udp { Duration::ZERO } else { usual.cut_after };
    let time = |of: fn(&HealthKeys) -> &Field<FineDuration>, usual: Duration| {
        sources.pick(of).map_or(usual, |it| it.value.0)
    };
    let mut quorum = usual.quorum;
    if let Some(size) = sources.pick(|it| &it.quorum) {
        quorum.size = size.value.0;
    }
    if let Some(hysteresis) = sources.pick(|it| &it.hysteresis) {
        quorum.hysteresis = hysteresis.value.0;
        check_hysteresis(quorum.size, &hysteresis, sources, diagnostics);
    }
    let policy = HealthPolicy {
        on_failure: on_failure(sources, context.config, diagnostics),
        cut_after: time(|it| &it.cut_after, cut_after),
        initial: sources.pick(|it| &it.initial).map_or(usual.initial, |it| it.value.0),
        startup: time(|it| &it.startup, usual.startup),
        quorum,
        max_out: sources.pick(|it| &it.max_out).map_or(usual.max_out, |it| it.value.0),
        when_none: sources.pick(|it| &it.when_none).map_or(usual.when_none, |it| it.value.0),
        slow_start: slow_start(sources, context, diagnostics),
        vip: vip(sources, context, diagnostics),
    };
    Policy { policy, flap: flap(sources, diagnostics) }
}

fn check_hysteresis(
    size: QuorumSize,
    hysteresis: &Picked<'_, Hysteresis>,
    sources: &HealthSources<'_>,
    diagnostics: &mut Diagnostics,
) {
    let (size, unit) = match size {
        QuorumSize::Servers(servers) => (servers, ""),
        QuorumSize::Weight(percent) => (percent.get().into(), "%"),
    };
    let number = hysteresis.value.0;
    if number > 0 && number >= size {
        let message = format!("a hysteresis of {number} is not less than the quorum, {size}{unit}");
        diagnostics
            .error(sources.path("hysteresis", hysteresis), message)
            .remedy("write a smaller one: the quorum would be lost only with the last real server");
    }
}

/// What a failure does. Where weight 0 would refuse clients, real servers are removed unless the service
/// says otherwise, which is an error.
fn on_failure(
    sources: &HealthSources<'_>,
    config: Option<&Config>,
    diagnostics: &mut Diagnostics,
) -> OnFailure {
    let picked = sources.pick(|it| &it.on_failure);
    let asked = picked.as_ref().map(|it| it.value.0);
    let refusing = config.filter(|it| it.scheduler.refuses_clients_of_drained(it.flags));
    let is_own = picked.as_ref().is_some_and(|it| it.default.is_none());
    if let (Some(config), Some(OnFailure::Weight0), Some(picked), true) =
        (refusing, asked, &picked, is_own)
    {
        let scheduler = config.scheduler;
        let remedy = match scheduler.as_str() {
            "dh" => "write `on_failure: remove`, or use sh or mh with its fallback flag".to_owned(),
            _ => format!(
                "write `on_failure: remove`, or add `scheduler_flags: [{scheduler}-fallback]`"
            ),
        };
        let message = format!(
            "weight 0 under {scheduler} refuses the clients that it hashes to the real server"
        );
        diagnostics.error(sources.path("on_failure", picked), message).remedy(remedy);
    }
    let on_failure = match refusing {
        Some(_) => OnFailure::Remove,
        None => asked.unwrap_or(OnFailure::Weight0),
    };
    let cut_after = sources.pick(|it| &it.cut_after).filter(|it| it.default.is_none());
    if let (OnFailure::Remove, Some(cut_after)) = (on_failure, cut_after) {
        diagnostics
            .warning(
                sources.path("cut_after", &cut_after),
                "this has no effect, as a real server that fails is removed at once",
            )
            .at_key()
            .remedy("remove it, or write `on_failure: weight0`");
    }
    on_failure
}

/// Whether the weight of a real server changes what a scheduler gives it.
fn has_weights(scheduler: Scheduler) -> bool {
    !matches!(scheduler.as_str(), "rr" | "lc" | "sh" | "dh" | "mh" | "fo" | "ovf")
}

fn slow_start(
    sources: &HealthSources<'_>,
    context: &PolicyContext<'_>,
    diagnostics: &mut Diagnostics,
) -> Duration {
    let Some(picked) = sources.pick(|it| &it.slow_start) else { return Duration::ZERO };
    let time = picked.value.0;
    if time.is_zero() {
        return time;
    }
    if let Some(config) = context.config.filter(|it| !has_weights(it.scheduler)) {
        // A default is for the services that can have it.
        if picked.default.is_none() {
            let message = format!(
                "`slow_start` has no effect under {}, which does not choose by small weights",
                config.scheduler
            );
            diagnostics
                .error(sources.path("slow_start", &picked), message)
                .at_key()
                .remedy("remove it, or use a scheduler such as wlc or wrr");
        }
        return Duration::ZERO;
    }
    let light = context.servers.and_then(|it| it.lightest_below(LEAST_WEIGHT));
    if let Some((path, weight)) = light {
        let message = format!(
            "`slow_start` needs weights of {LEAST_WEIGHT} and more, and a real server has {weight}"
        );
        let remedy = match picked.default {
            None => "multiply all weights of the service by 10, or remove `slow_start`",
            Some(_) => {
                "multiply all weights of the service by 10, or write `slow_start: 0s` under its `health`"
            }
        };
        diagnostics
            .error(sources.path("slow_start", &picked), message)
            .remedy(remedy)
            .related(path, "the real server");
    }
    time
}

fn vip(
    sources: &HealthSources<'_>,
    context: &PolicyContext<'_>,
    diagnostics: &mut Diagnostics,
) -> VipWithoutQuorum {
    let Some(picked) = sources.pick(|it| &it.vip) else { return VipWithoutQuorum::Keep };
    let asked = picked.value.0;
    if asked == VipWithoutQuorum::Keep || picked.default.is_some() {
        return asked;
    }
    let is_marked = context.target.keys().any(|(key, _)| matches!(key, ServiceKey::Fwmark { .. }));
    if is_marked {
        diagnostics
            .error(
                sources.path("vip", &picked),
                "a service on a firewall mark has no VIP to unbind",
            )
            .remedy("remove it");
    } else if !context.binds_vip && !context.target.vips.is_empty() {
        diagnostics
            .warning(
                sources.path("vip", &picked),
                "this has no effect, as evenkeel binds no VIP of the service",
            )
            .remedy("list the VIP under `vips`, or remove it: another program binds the VIP");
    }
    asked
}

fn flap(sources: &HealthSources<'_>, diagnostics: &mut Diagnostics) -> Option<Flap> {
    let picked = sources.pick(|it| &it.flap)?;
    let OrNone::Keys(keys) = picked.value else { return None };
    let FlapKeys { changes, within, hold } = &**keys;
    for (key, field) in [("within", within), ("hold", hold)] {
        if field.value().is_some_and(|it| it.0.is_zero()) {
            let at = sources.path("flap", &picked).then(Step::Key(key));
            diagnostics
                .error(at, format!("`{key}` must be longer than 0"))
                .remedy("write a time such as 5m, or `flap: none`");
        }
    }
    let time = |field: &Field<FineDuration>, usual: u64| {
        field.value().map_or(Duration::from_secs(usual), |it| it.0)
    };
    Some(Flap {
        changes: changes.value().and_then(|it| NonZeroU32::new(it.0)).or(NonZeroU32::new(4))?,
        within: time(within, 300),
        hold: time(hold, 120),
    })
}
