//! Resolves the health checks of one service of the spec, for each service that it expands to.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_model::check::{CheckError, Flap, Target};
use evenkeel_model::{
    Checks, Family, HostObject, HostValue, Ignore, IgnoredField, RealServers, ServiceHealth,
    ServiceKey, SourceNatValue,
};

use super::choice::{Choice, Found};
use super::{FallbackServers, HealthSources, Level, NamedChecks, Policy, PolicyContext, policy};
use crate::path::{At, Step};
use crate::recovering_de::Field;
use crate::resolve::Diagnostics;
use crate::resolve::server_expansion::ServerExpansion;
use crate::resolve::service_address::ServiceAddress;
use crate::spec::Service;

/// What the health of a service depends on.
pub(crate) struct HealthParts<'a, F> {
    pub(crate) named: &'a NamedChecks<'a>,
    pub(crate) sources: HealthSources<'a>,
    pub(crate) context: PolicyContext<'a>,
    /// The check of `defaults`.
    pub(crate) default: Option<&'a Level>,
    pub(crate) ignore: Ignore,
    /// Reads the fallback pool, if there is one.
    pub(crate) fallback: F,
}

/// The health of one service of the spec.
pub(crate) struct HealthOfService<'a> {
    named: &'a NamedChecks<'a>,
    /// The check of the service, or that of `defaults`.
    level: Option<Level>,
    policy: Policy,
    fallback: Option<FallbackServers>,
    /// What the last expanded service got.
    last: Option<Arc<ServiceHealth>>,
}

impl<'a> HealthOfService<'a> {
    /// Reads what a service says of its health, with all that is wrong with it; `None` if nothing of it
    /// is checked.
    pub(crate) fn read<F>(
        service: &Service,
        parts: HealthParts<'a, F>,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self>
    where
        F: FnOnce(&HealthSources<'a>, &mut Diagnostics) -> Option<FallbackServers>,
    {
        let HealthParts { named, sources, context, default, ignore, fallback } = parts;
        let own = named.level(&service.check, &at.key("check"), diagnostics);
        let level = if own.choice.is_absent() { default.cloned() } else { Some(own) };
        let servers = context.servers;
        let may_check = match servers {
            Some(servers) => servers.may_check(level.as_ref()),
            None => level.as_ref().is_some_and(|it| it.choice.may_check()),
        };
        let is_written = sources.own.is_some();
        if !may_check && !is_written {
            return None;
        }
        let policy = policy::read(&sources, &context, diagnostics);
        let fallback = fallback(&sources, diagnostics);
        if !may_check {
            report_no_check(&sources, servers, diagnostics);
            return None;
        }
        if ignore.contains(IgnoredField::Weight) {
            report_ignored_weight(service, level.as_ref(), servers, at, diagnostics);
        }
        Some(Self { named, level, policy, fallback, last: None })
    }

    /// The real servers of the fallback pool.
    pub(crate) fn fallback(&self) -> Option<&ServerExpansion> {
        self.fallback.as_ref().map(|it| &it.servers)
    }

    /// The health of one expanded service, and its fallback pool's part of `host_objects`.
    pub(crate) fn of(
        &mut self,
        key: &ServiceKey,
        expansion: &Expanded<'_>,
        host_objects: &mut BTreeMap<HostObject, HostValue>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arc<ServiceHealth>> {
        let Expanded { servers, real_servers, target, source } = *expansion;
        let checks = self.checks(servers, key, self.level.as_ref(), diagnostics);
        let mut fallback = self.fallback.as_ref().map(|fallback| {
            fallback.of(key, target, source, real_servers, host_objects, diagnostics)
        });
        if let (Some(fallback), Some(servers)) = (&mut fallback, &self.fallback) {
            fallback.checks =
                self.checks(&servers.servers, key, servers.check.as_ref(), diagnostics);
        }
        // A list that was emptied lost its quorum: the fallback pool serves.
        if checks.is_empty() && !(real_servers.is_empty() && fallback.is_some()) {
            return None;
        }
        let health = ServiceHealth { checks, policy: self.policy.policy, fallback };
        match &self.last {
            Some(last) if **last == health => {}
            _ => self.last = Some(Arc::new(health)),
        }
        self.last.clone()
    }

    fn checks(
        &self,
        servers: &ServerExpansion,
        key: &ServiceKey,
        level: Option<&Level>,
        diagnostics: &mut Diagnostics,
    ) -> Checks {
        let flap: Option<Flap> = self.policy.flap;
        let mut checks = Vec::new();
        for (index, real_server) in servers.keys(key) {
            let Found { choice, place } = servers.check(index, level);
            let Choice::Checks { all, is_list } = choice else { continue };
            let target = Target { address: real_server.address, port: real_server.port };
            for (number, check) in all.iter().enumerate() {
                let Err(problem) = check.validate(target) else { continue };
                let path = || match is_list {
                    true => place.path().then(Step::Item(number)),
                    false => place.path(),
                };
                match problem {
                    CheckError::NoPort => {
                        let message = format!(
                            "a check of kind {} needs a `port`: the real servers of {} have none",
                            check.kind.name(),
                            if key.vip().is_some() { "port 0" } else { "a firewall mark" }
                        );
                        diagnostics
                            .error(path(), message)
                            .remedy("write the port that is probed, such as `port: 80`");
                    }
                    CheckError::SourceFamily => {
                        let source = check.source.map(|it| it.to_string()).unwrap_or_default();
                        let message = format!(
                            "the `source` {source} is not {}, as the real server {} is",
                            Family::from(real_server.address),
                            real_server.address
                        );
                        diagnostics
                            .error(path(), message)
                            .remedy(
                                "write a check of its own for each family, or remove the source",
                            )
                            .related(servers.place(index), "the real server");
                    }
                    // What a check is by itself was reported where it is written.
                    CheckError::Zero(_)
                    | CheckError::Fast
                    | CheckError::Jitter
                    | CheckError::Changes
                    | CheckError::NoProgram => {}
                }
            }
            checks.push((real_server, self.named.damped(all, flap)));
        }
        checks.into_iter().collect()
    }
}

/// The real servers of one expanded service.
#[derive(Clone, Copy)]
pub(crate) struct Expanded<'a> {
    pub(crate) servers: &'a ServerExpansion,
    pub(crate) real_servers: &'a RealServers,
    pub(crate) target: &'a ServiceAddress,
    pub(crate) source: SourceNatValue,
}

/// Reports a `health` of a service without checks, which does nothing.
fn report_no_check(
    sources: &HealthSources<'_>,
    servers: Option<&ServerExpansion>,
    diagnostics: &mut Diagnostics,
) {
    // A list that could not be read may have checks.
    if servers.is_none_or(ServerExpansion::is_doubtful) {
        return;
    }
    let fallback = sources.own.map(|own| &own.fallback);
    if let Some(Field::Value(crate::spec::OrNone::Keys(_))) = fallback {
        diagnostics
            .error(
                &sources.at.key("health").key("fallback"),
                "the fallback pool would never serve, as no real server of the service is checked",
            )
            .at_key()
            .remedy("write a `check`, or remove the fallback");
        return;
    }
    diagnostics
        .warning(
            &sources.at.key("health"),
            "this has no effect, as no real server of the service is checked",
        )
        .at_key()
        .remedy("write a `check`, or remove it");
}

/// Reports checks of a service whose weights another program sets.
fn report_ignored_weight(
    service: &Service,
    level: Option<&Level>,
    servers: Option<&ServerExpansion>,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) {
    const MESSAGE: &str =
        "a service whose weights another program sets (`ignore: [weight]`) cannot have a check";
    let remedy = "remove `weight` from `ignore`, or the check: both would set weights";
    let is_own = service.check.value().is_some();
    if is_own {
        diagnostics
            .error(&at.key("check"), MESSAGE)
            .at_key()
            .remedy(remedy)
            .related(at.key("ignore").path(), "the ignored fields");
        return;
    }
    let other = servers.and_then(ServerExpansion::first_check);
    let (other, remedy) = match other {
        Some(path) => (Some(path), remedy),
        None => (
            level.map(|it| it.at.clone()),
            "remove `weight` from `ignore`, or write `check: none` for this service",
        ),
    };
    diagnostics.error(&at.key("ignore"), MESSAGE).remedy(remedy).related(other, "the check");
}
