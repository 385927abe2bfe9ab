//! Resolves services from their parts and expands them to one for each VIP and port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use evenkeel_model::{
    Drain, Family, HostObject, HostValue, Ignore, IgnoredField, NamedService, Service as Modelled,
    ServiceKey, SourceNatValue, Tunnel,
};

use super::defaults::Defaults;
use super::health::{
    Expanded, FallbackServers, HealthOfService, HealthParts, HealthSources, ListChecks,
    NamedChecks, PolicyContext,
};
use super::not_unicast;
use super::pool::Pools;
use super::real_server::{self, RealServerContext};
use super::role::{Directors, ServiceRoles};
use super::scope::Merged;
use super::server_expansion::ServerExpansion;
use super::service_address::{ServiceAddress, both, outside};
use super::service_config::Config;
use crate::path::{At, Path};
use crate::recovering_de::{Field, List};
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::{IgnoreWord, Method, RealServer, Service, Spec};
use crate::yaml::{PieceError, Services};

/// Resolves all services of all sources; what full NAT needs is added to `host_objects`. Each is released once it is resolved, so that a large
/// spec and its state are not in memory at the same time.
pub(crate) fn expand(
    services: Vec<Services<'_>>,
    sources: &[(At<'_>, &Spec)],
    context: &ServiceContext<'_>,
    roles: &mut ServiceRoles,
    host_objects: &mut BTreeMap<HostObject, HostValue>,
    diagnostics: &mut Diagnostics,
) -> Result<BTreeMap<ServiceKey, NamedService>, PieceError> {
    let mut expansion = Expansion {
        sources,
        context,
        roles,
        names: BTreeMap::new(),
        origins: BTreeMap::new(),
        services: BTreeMap::new(),
        host_objects,
    };
    for (source, ((root, _), list)) in sources.iter().zip(services).enumerate() {
        let at = root.key("services");
        for (index, service) in list.enumerate() {
            let origin = Origin { source, index, vip: None };
            if let Some(service) = service?.value() {
                expansion.service(service, origin, &at.item(index), diagnostics);
            }
        }
    }
    Ok(expansion.services)
}

/// The settings of all sources apart from the services.
pub(crate) struct ServiceContext<'a> {
    pub(crate) scope: &'a Merged,
    pub(crate) defaults: &'a Defaults<'a>,
    pub(crate) pools: &'a Pools<'a>,
    pub(crate) checks: &'a NamedChecks<'a>,
    /// The addresses that evenkeel binds.
    pub(crate) bound: &'a BTreeSet<IpAddr>,
    /// Where the first sync daemon is written, if there is one.
    pub(crate) sync: Option<Path>,
    pub(crate) directors: &'a Directors,
}

struct Expansion<'a> {
    sources: &'a [(At<'a>, &'a Spec)],
    context: &'a ServiceContext<'a>,
    roles: &'a mut ServiceRoles,
    names: BTreeMap<Arc<str>, Origin>,
    origins: BTreeMap<ServiceKey, Origin>,
    services: BTreeMap<ServiceKey, NamedService>,
    host_objects: &'a mut BTreeMap<HostObject, HostValue>,
}

/// The origin of a service, in a form that allocates nothing.
#[derive(Clone, Copy)]
struct Origin {
    source: usize,
    index: usize,
    /// Its index in `vips`.
    vip: Option<usize>,
}

impl Expansion<'_> {
    fn service(
        &mut self,
        service: &Service,
        origin: Origin,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let name = self.name(service, origin, at, diagnostics);
        let unchecked = service.unchecked.value().is_some_and(|flag| flag.0);
        if unchecked {
            diagnostics
                .warning(&at.key("unchecked"), "this service is accepted as written")
                .remedy("`unchecked` is for entries that other tools made in the kernel");
        }
        let target = ServiceAddress::read(service, unchecked, at, self.context.scope, diagnostics);
        check_every_port(service, unchecked, &target, at, diagnostics);
        let config =
            Config::read(service, &target, unchecked, at, self.context.defaults, diagnostics);
        let ignore = ignore(&service.ignore);
        let canonical_order = service.canonical_order.value().is_some_and(|flag| flag.0);
        if let (true, Some(config)) = (canonical_order, &config) {
            check_order(config, ignore, at, diagnostics);
        }
        check_ignored(service, ignore, at, diagnostics);
        let server_context = self.server_context(service, &target, at, diagnostics);
        let selection = self.selection(service, &server_context, at, diagnostics);
        if let (Some(selection), Some(config)) = (&selection, &config) {
            selection.check_weights(config, ignore, diagnostics);
            check_one_packet(config, selection, at, diagnostics);
        }
        let source = source(service, &target, selection.as_ref(), at, diagnostics);
        let drain = self.drain(service, config.as_ref(), at, diagnostics);
        let context = self.context;
        let parts = HealthParts {
            named: context.checks,
            sources: HealthSources {
                own: service.health.value().map(|keys| &**keys),
                at,
                defaults: &context.defaults.health,
            },
            context: PolicyContext {
                target: &target,
                config: config.as_ref(),
                servers: selection.as_ref(),
                binds_vip: target.vips.iter().any(|(vip, _)| context.bound.contains(vip)),
            },
            default: context.defaults.check.as_ref(),
            ignore,
            fallback: |sources: &HealthSources<'_>, diagnostics: &mut Diagnostics| {
                let (pools, named) = (context.pools, context.checks);
                FallbackServers::read(sources, &server_context, pools, named, diagnostics)
            },
        };
        let mut health = HealthOfService::read(service, parts, at, diagnostics);
        let fallback = health.as_ref().and_then(HealthOfService::fallback);
        if let (Some(fallback), Some(config)) = (fallback, &config) {
            check_one_packet(config, fallback, at, diagnostics);
        }
        let keys = || target.keys().map(|(key, _)| key).collect();
        let ServiceContext { scope, directors, .. } = self.context;
        self.roles.add(service, keys, at, directors, scope, diagnostics);
        for (key, vip) in target.keys() {
            if let Some(first) = self.origins.get(&key) {
                let services = self.sources[first.source].0.key("services");
                let first = ServiceAddress::path(&services.item(first.index), &key, first.vip);
                diagnostics
                    .error(ServiceAddress::path(at, &key, vip), format!("two services on {key}"))
                    .remedy("remove one of them, or change its VIP, port or protocol")
                    .related(first, "the first one");
                continue;
            }
            self.origins.insert(key, Origin { vip, ..origin });
            if key.vip().is_some_and(|vip| !self.context.scope.excludes(vip))
                && self.context.scope.excludes_service(&key)
            {
                outside(
                    ServiceAddress::path(at, &key, vip),
                    key.to_string(),
                    self.context.scope,
                    diagnostics,
                );
            }
            diagnostics.origin(SpecObject::Service(key), || at.path());
            let Some(selection) = &selection else { continue };
            let vip = || ServiceAddress::path(at, &key, vip);
            if let Some(sync) = &self.context.sync {
                selection.check_families(&key, sync, diagnostics);
                if let Some(fallback) = health.as_ref().and_then(HealthOfService::fallback) {
                    fallback.check_families(&key, sync, diagnostics);
                }
            }
            let real_servers =
                selection.of(&key, &target, vip, source, self.host_objects, diagnostics);
            let (real_servers_of, target) = (&real_servers, &target);
            let expanded =
                Expanded { servers: selection, real_servers: real_servers_of, target, source };
            let health = health
                .as_mut()
                .and_then(|it| it.of(&key, &expanded, self.host_objects, diagnostics));
            if let Some(config) = &config {
                let service = Modelled { config: config.of(key.family()), real_servers };
                let name = Arc::clone(&name);
                let named = NamedService { name, ignore, canonical_order, drain, health, service };
                self.services.insert(key, named);
            }
        }
    }

    fn name(
        &mut self,
        service: &Service,
        origin: Origin,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Arc<str> {
        let name: Arc<str> = match &service.name {
            Field::Bad => return Arc::from(""),
            Field::Absent => {
                diagnostics
                    .error(at, "the service has no `name`")
                    .remedy("give it one, such as `name: web`; plans and logs use it");
                return Arc::from("");
            }
            Field::Value(name) => Arc::from(&*name.0),
        };
        match self.names.get(&name) {
            None => {
                self.names.insert(Arc::clone(&name), origin);
            }
            Some(first) => {
                let services = self.sources[first.source].0.key("services");
                diagnostics
                    .error(&at.key("name"), format!("two services are named `{name}`"))
                    .remedy("give each its own name; one service may have several VIPs and ports")
                    .related(services.item(first.index).key("name").path(), "the first one");
            }
        }
        name
    }

    /// What a service says of all of its real servers.
    fn server_context<'t>(
        &self,
        service: &Service,
        target: &'t ServiceAddress,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> RealServerContext<'t> {
        let tunnel = match &service.tunnel {
            Field::Absent => Some(Tunnel::IPIP),
            Field::Bad => None,
            Field::Value(keys) => real_server::tunnel_of(keys, &at.key("tunnel"), diagnostics),
        };
        let pool = service.pool.value().map(|_| at.key("pool").path());
        RealServerContext {
            pool,
            weight: self.context.defaults.weight,
            forward: self.forward(service, at, diagnostics),
            tunnel,
            ports: &target.ports,
            marked: target.marked,
            families: &target.families,
        }
    }

    /// The real servers of a service, its own or a pool's; reports a missing list.
    fn selection(
        &self,
        service: &Service,
        context: &RealServerContext<'_>,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<ServerExpansion> {
        match (&service.real_servers, &service.pool) {
            (Field::Absent, Field::Absent) => {
                diagnostics
                    .error(at, "the service has no `real_servers`")
                    .remedy("list them, name a `pool`, or write `real_servers: []`");
                None
            }
            (Field::Value(list), Field::Absent) => {
                let list_at = at.key("real_servers");
                real_server::check_alone(list, &list_at, diagnostics);
                check_tunnel_use(service, list, context.forward, at, diagnostics);
                let named = self.context.checks;
                let checks = Rc::new(ListChecks::read(list, &list_at, None, named, diagnostics));
                Some(ServerExpansion::new(list, &list_at, context, checks, diagnostics))
            }
            (Field::Absent, Field::Value(name)) => {
                let pool = self.context.pools.get(&name.0, &at.key("pool"), diagnostics)?;
                let pools = self.sources[pool.source].0.key("pools");
                let item = pools.item(pool.index);
                let list = pool.real_servers?;
                check_tunnel_use(service, list, context.forward, at, diagnostics);
                let checks = Rc::clone(&pool.checks);
                let list_at = item.key("real_servers");
                Some(ServerExpansion::new(list, &list_at, context, checks, diagnostics))
            }
            (Field::Absent, Field::Bad) | (Field::Bad, Field::Absent) => None,
            (_, _) => {
                both("real_servers", "pool", at, diagnostics);
                None
            }
        }
    }

    /// The drain time of real servers that leave the service.
    fn drain(
        &self,
        service: &Service,
        config: Option<&Config>,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Drain {
        let usual = self.context.defaults.drain;
        let refusing = config.filter(|it| it.scheduler.refuses_clients_of_drained(it.flags));
        let asked = match (service.drain.value(), refusing) {
            (None, None) => return usual,
            (None, Some(_)) => return Drain::NONE,
            (Some(asked), _) => Drain(asked.0),
        };
        if let (Some(config), true) = (refusing, asked > Drain::NONE) {
            let scheduler = config.scheduler;
            let remedy = match scheduler.as_str() {
                "dh" => "write `drain: 0s`, or use sh or mh with its fallback flag".to_owned(),
                _ => format!("add `scheduler_flags: [{scheduler}-fallback]`, or write `drain: 0s`"),
            };
            let message = format!(
                "a drain under {scheduler} refuses the clients that it hashes to the real server"
            );
            diagnostics.error(&at.key("drain"), message).remedy(remedy);
        }
        asked
    }

    /// The service's forwarding method; `None` if it could not be read.
    fn forward(
        &self,
        service: &Service,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Method> {
        let method = match &service.forward {
            Field::Absent => return self.context.defaults.forward,
            Field::Bad => return None,
            Field::Value(word) => word.0,
        };
        if matches!(method, Method::Local | Method::Bypass) {
            diagnostics
                .error(&at.key("forward"), "this forwarding method cannot be used for a service")
                .remedy("write dr, nat, fullnat or tun; an `unchecked` real server may use it");
        }
        Some(method)
    }
}

/// Reads the source address under full NAT.
fn source(
    service: &Service,
    target: &ServiceAddress,
    selection: Option<&ServerExpansion>,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> SourceNatValue {
    let Some(address) = service.source.value().map(|address| address.0) else {
        return SourceNatValue::Masquerade;
    };
    let at = at.key("source");
    let family = Family::from(address);
    let why = match not_unicast(address) {
        None if address.is_loopback() => Some("is a loopback address"),
        None if selection.is_some_and(|it| it.has_address(address)) => {
            Some("is a real server of this service")
        }
        why => why,
    };
    if let Some(why) = why {
        diagnostics
            .error(&at, format!("{address} {why}"))
            .remedy("write a unicast address of the director");
    } else if selection.is_some_and(|selection| !selection.may_have_full_nat()) {
        diagnostics
            .error(&at, "`source` is only for `forward: fullnat`")
            .at_key()
            .remedy("write `forward: fullnat`, or remove the source");
    } else if target.families.contains(&family.other()) {
        diagnostics
            .error(&at, format!("{address} is {family}, the service has an {} VIP", family.other()))
            .remedy(format!(
                "write an {} address, or a service of its own for each family",
                family.other()
            ));
    }
    SourceNatValue::Address(address)
}

/// Reports one-packet scheduling under full NAT: the kernel forgets such a connection at once, and does not
/// know the answer (`ip_vs_conn_expire`).
fn check_one_packet(
    config: &Config,
    selection: &ServerExpansion,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) {
    if config.is_one_packet() && selection.has_full_nat() {
        diagnostics
            .error(&at.key("one_packet"), "`one_packet` cannot be used with `forward: fullnat`")
            .at_key()
            .remedy("remove it: the kernel would not recognize the answers");
    }
}

/// Reports a tunnel that no real server would use.
fn check_tunnel_use(
    service: &Service,
    list: &List<RealServer>,
    forward: Option<Method>,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) {
    let tunnels = |real_server: &RealServer| match &real_server.forward {
        Field::Absent => forward.is_none_or(|method| method == Method::Tun),
        Field::Bad => true,
        Field::Value(word) => word.0 == Method::Tun,
    };
    let used = forward.is_none_or(|method| method == Method::Tun)
        || list.has_bad()
        || list.values().any(|(_, real_server)| tunnels(real_server));
    if !service.tunnel.is_absent() && !used {
        diagnostics
            .error(&at.key("tunnel"), "`tunnel` is only for `forward: tun`")
            .at_key()
            .remedy("write `forward: tun`, or remove the tunnel");
    }
}

/// Reports a service on every port without persistence: the kernel accepts it but does not serve
/// it.
fn check_every_port(
    service: &Service,
    unchecked: bool,
    target: &ServiceAddress,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) {
    let every = !target.marked && target.ports.contains(&0);
    if every && service.persistence.is_absent() && !unchecked {
        let key = if service.port.is_absent() { "ports" } else { "port" };
        diagnostics
            .error(&at.key(key), "port 0, every port, needs `persistence`")
            .remedy("write the port, or add `persistence: {}`");
    }
}

/// Warns of an order that the scheduler ignores, although restoring it breaks connections.
fn check_order(config: &Config, ignore: Ignore, at: &At<'_>, diagnostics: &mut Diagnostics) {
    let scheduler = config.scheduler;
    let looks = scheduler.hashes() || matches!(scheduler.as_str(), "fo" | "ovf");
    if looks || !scheduler.is_known() || ignore.contains(IgnoredField::Scheduler) {
        return;
    }
    diagnostics
        .warning(
            &at.key("canonical_order"),
            format!("{scheduler} does not choose by the order of the real servers"),
        )
        .remedy("remove it: adding real servers again breaks connections; sh, mh and dh need it");
}

/// Warns of what has no effect on real servers that another program adds and deletes.
fn check_ignored(service: &Service, ignore: Ignore, at: &At<'_>, diagnostics: &mut Diagnostics) {
    if !ignore.contains(IgnoredField::RealServers) {
        return;
    }
    if service.canonical_order.value().is_some_and(|flag| flag.0) {
        diagnostics
            .warning(
                &at.key("canonical_order"),
                "this has no effect, as the real servers are another program's by `ignore: [real_servers]`",
            )
            .remedy("remove one of the two");
    }
    if service.forward.value().is_some_and(|word| word.0 == Method::FullNat) {
        diagnostics
            .warning(
                &at.key("ignore"),
                "real servers that another program adds and the spec does not list get no full NAT",
            )
            .remedy("list all that it may add under `real_servers`, or remove `real_servers` from `ignore`");
    }
}

fn ignore(list: &Field<List<IgnoreWord>>) -> Ignore {
    list.value().into_iter().flat_map(List::values).map(|(_, word)| word.0).collect()
}
