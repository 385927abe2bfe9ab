//! Resolves fallback pools.

use std::collections::BTreeMap;

use evenkeel_model::{
    Checks, Fallback, HostObject, HostValue, RealServers, ServiceKey, SourceNatValue,
};

use super::{HealthSources, Level, NamedChecks};
use crate::path::{At, Path};
use crate::resolve::Diagnostics;
use crate::resolve::pool::Pools;
use crate::resolve::real_server::RealServerContext;
use crate::resolve::server_expansion::ServerExpansion;
use crate::resolve::service_address::ServiceAddress;
use crate::spec::{FallbackKeys, OrNone};

/// The real servers of a fallback pool for one service of the spec.
pub(crate) struct FallbackServers {
    pub(crate) pool: Box<str>,
    pub(crate) servers: ServerExpansion,
    /// The check of those that have none.
    pub(crate) check: Option<Level>,
    /// Where the pool is named.
    pub(crate) at: Path,
}

impl FallbackServers {
    /// Reads the fallback pool of a service, with all that is wrong with it; `None` if there is none.
    pub(crate) fn read(
        sources: &HealthSources<'_>,
        context: &RealServerContext<'_>,
        pools: &Pools<'_>,
        named: &NamedChecks<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let picked = sources.pick(|it| &it.fallback)?;
        let OrNone::Keys(keys) = picked.value else { return None };
        let FallbackKeys { pool: name, check } = &**keys;
        let (own, root) = (sources.at.key("health"), At::Root(picked.default.unwrap_or_default()));
        let defaults = root.key("defaults");
        let of_defaults = defaults.key("health");
        let health = if picked.default.is_some() { &of_defaults } else { &own };
        let at = health.key("fallback");
        if name.is_absent() {
            diagnostics
                .error(&at, "the fallback has no `pool`")
                .remedy("name one, such as `fallback: { pool: sorry }`, or write `fallback: none`");
        }
        // What is wrong with that of `defaults` was reported there, once.
        let mut quiet = Diagnostics::default();
        let loud = if picked.default.is_some() { &mut quiet } else { &mut *diagnostics };
        let check = named.level(check, &at.key("check"), loud);
        let check = Some(check).filter(|it| !it.choice.is_absent());
        let name = &*name.value()?.0;
        let at = at.key("pool");
        let pool = pools.get(name, &at, diagnostics)?;
        let list = pool.real_servers?;
        let root = At::Root(pool.source);
        let pools = root.key("pools");
        let item = pools.item(pool.index);
        let list_at = item.key("real_servers");
        let context = RealServerContext { pool: Some(at.path()), ..context.clone() };
        let checks = std::rc::Rc::clone(&pool.checks);
        let servers = ServerExpansion::new(list, &list_at, &context, checks, diagnostics);
        Some(Self { pool: name.into(), servers, check, at: at.path() })
    }

    /// Those of one expanded service, without their checks. `own` are its real servers.
    pub(super) fn of(
        &self,
        key: &ServiceKey,
        target: &ServiceAddress,
        source: SourceNatValue,
        own: &RealServers,
        host_objects: &mut BTreeMap<HostObject, HostValue>,
        diagnostics: &mut Diagnostics,
    ) -> Fallback {
        for (index, real_server) in self.servers.keys(key) {
            if own.get(&real_server).is_some() {
                let message = format!(
                    "{real_server} of the fallback pool `{}` is a real server of {key} itself",
                    self.pool
                );
                diagnostics
                    .error(self.at.clone(), message)
                    .remedy(
                        "name another pool, remove the real server from one of the two lists, or write \
                         `fallback: none` for the service",
                    )
                    .related(self.servers.place(index), "in the fallback pool");
                // The others mostly have the same cause.
                break;
            }
        }
        let at = || self.at.clone();
        let real_servers = self.servers.of(key, target, at, source, host_objects, diagnostics);
        Fallback { pool: self.pool.clone(), real_servers, checks: Checks::new() }
    }
}
