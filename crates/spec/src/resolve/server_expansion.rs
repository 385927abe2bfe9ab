//! Selects the real servers of each expanded service from those of one service of the spec.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use evenkeel_model::{
    Family, Forward, HostObject, HostValue, Ignore, IgnoredField, RealServerKey, RealServers,
    ServiceKey, SourceNat, SourceNatValue,
};

use super::health::{Found, Level, ListChecks};
use super::real_server::{self, RealServerContext, Resolved};
use super::service_address::ServiceAddress;
use super::service_config::Config;
use crate::path::{At, Path, Step};
use crate::recovering_de::List;
use crate::resolve::{Diagnostics, SpecObject};
use crate::spec::RealServer;

/// All real servers of a service, in the order in which they are written.
pub(crate) struct ServerExpansion {
    servers: Vec<(usize, Resolved)>,
    /// Where the list is written.
    at: Path,
    /// Whether some of them could not be read.
    doubtful: bool,
    /// Their checks, as far as their list says it.
    checks: Rc<ListChecks>,
}

impl ServerExpansion {
    pub(crate) fn new(
        list: &List<RealServer>,
        at: &At<'_>,
        context: &RealServerContext<'_>,
        checks: Rc<ListChecks>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut servers = Vec::with_capacity(list.0.len());
        for (index, written) in list.values() {
            let resolved = real_server::resolve(written, &at.item(index), context, diagnostics);
            servers.extend(resolved.map(|resolved| (index, resolved)));
        }
        let doubtful = servers.len() < list.0.len();
        let selection = Self { doubtful, servers, at: at.path(), checks };
        for port in context.ports {
            selection.check_collapsing(*port, diagnostics);
        }
        selection
    }

    /// Reports two real servers that are the same one to the kernel.
    fn check_collapsing(&self, service_port: u16, diagnostics: &mut Diagnostics) {
        let mut seen: BTreeMap<(IpAddr, u16), usize> = BTreeMap::new();
        for (index, resolved) in &self.servers {
            let port = resolved.port.unwrap_or(service_port);
            let Some(first) = seen.insert((resolved.address, port), *index) else { continue };
            let key = RealServerKey { address: resolved.address, port };
            diagnostics
                .error(
                    self.path(*index, "address"),
                    format!("{key} is listed twice among the real servers"),
                )
                .remedy("keep one of them, or give them different ports under `forward: nat`")
                .related(self.path(first, "address"), "the first one");
            seen.insert((resolved.address, port), first);
        }
    }

    /// Warns of a weight of 0 under a scheduler that refuses the clients hashed to that real
    /// server.
    pub(crate) fn check_weights(
        &self,
        config: &Config,
        ignore: Ignore,
        diagnostics: &mut Diagnostics,
    ) {
        let scheduler = config.scheduler.as_str();
        let refuses = config.scheduler.refuses_clients_of_drained(config.flags);
        if !refuses || ignore.contains(IgnoredField::Weight) {
            return;
        }
        for (index, resolved) in &self.servers {
            if resolved.real_server.weight != 0 {
                continue;
            }
            let remedy = match scheduler {
                "dh" => "remove the real server, or use sh or mh with its fallback flag".to_owned(),
                _ => format!(
                    "add `scheduler_flags: [{scheduler}-fallback]`, or remove the real server"
                ),
            };
            diagnostics
                .warning(
                    self.path(*index, "weight"),
                    format!(
                        "weight 0 under {scheduler}: the clients it hashes to {} are refused",
                        resolved.address
                    ),
                )
                .remedy(remedy);
        }
    }

    /// The real servers of one expanded service: except with tun, those of its family. The source NAT of
    /// those under full NAT is added to `host_objects`.
    pub(crate) fn of(
        &self,
        key: &ServiceKey,
        target: &ServiceAddress,
        vip: impl FnOnce() -> Path,
        source: SourceNatValue,
        host_objects: &mut BTreeMap<HostObject, HostValue>,
        diagnostics: &mut Diagnostics,
    ) -> RealServers {
        let family = key.family();
        // All of the capacity at once: a growing list fragments the heap.
        let mut taken = Vec::with_capacity(self.servers.len());
        for (index, resolved) in self.servers.iter().filter(|(_, server)| fits(server, family)) {
            let port = resolved.port.unwrap_or(key.port());
            let real_server = RealServerKey { address: resolved.address, port };
            diagnostics.origin(SpecObject::RealServer(*key, real_server), || {
                self.at.clone().then(Step::Item(*index))
            });
            taken.push((real_server, resolved.real_server));
            if resolved.is_full_nat {
                let object = HostObject::from(SourceNat { service: *key, real_server });
                diagnostics.origin(SpecObject::Host(object.clone()), || {
                    self.at.clone().then(Step::Item(*index))
                });
                host_objects.insert(object, source.into());
            }
        }
        let taken: RealServers = taken.into_iter().collect();
        // With VIPs of one family, each real server of the other family has already been refused.
        let expected = !self.servers.is_empty() && !self.doubtful && target.families.len() == 2;
        if taken.is_empty() && expected {
            diagnostics
                .error(vip(), format!("the VIP is {family}, but none of the real servers is"))
                .remedy(format!("list an {family} real server, or remove the {family} VIP"))
                .related(self.at.clone(), "the real servers");
        }
        taken
    }

    /// Reports real servers of the other family: the kernel refuses them while a sync daemon runs,
    /// and a sync daemon while they exist (`ip_vs_add_dest`, `ip_vs_genl_new_daemon`).
    pub(crate) fn check_families(
        &self,
        key: &ServiceKey,
        sync: &Path,
        diagnostics: &mut Diagnostics,
    ) {
        let family = key.family();
        for (index, resolved) in self.servers.iter().filter(|(_, server)| fits(server, family)) {
            let own = Family::from(resolved.address);
            if own == family {
                continue;
            }
            diagnostics
                .error(
                    self.path(*index, "address"),
                    format!(
                        "{} is {own}, the service is {family}: the kernel refuses such a real server beside a sync daemon",
                        resolved.address
                    ),
                )
                .remedy(format!("list an {family} real server, or remove the daemons from `sync`"))
                .related(sync.clone(), "the sync daemon");
        }
    }

    /// The keys of those of one expanded service, with their indices in the list.
    pub(crate) fn keys(&self, key: &ServiceKey) -> impl Iterator<Item = (usize, RealServerKey)> {
        let (family, service_port) = (key.family(), key.port());
        let fitting = self.servers.iter().filter(move |(_, server)| fits(server, family));
        fitting.map(move |(index, resolved)| {
            let port = resolved.port.unwrap_or(service_port);
            (*index, RealServerKey { address: resolved.address, port })
        })
    }

    /// The check of a real server, if its service, or whatever is further away, says this.
    pub(crate) fn check<'a>(&'a self, index: usize, outer: Option<&'a Level>) -> Found<'a> {
        self.checks.of(index, outer)
    }

    /// Whether one of them is checked, as far as that could be read.
    pub(crate) fn may_check(&self, outer: Option<&Level>) -> bool {
        let is_outer_check = outer.is_some_and(|it| it.choice.may_check());
        if self.checks.is_empty() {
            return is_outer_check;
        }
        if self.servers.is_empty() {
            return is_outer_check || self.checks.first().is_some();
        }
        self.servers.iter().any(|(index, _)| self.check(*index, outer).choice.may_check())
    }

    /// Where the first check of the list or its pool is written.
    pub(crate) fn first_check(&self) -> Option<Path> {
        self.checks.first()
    }

    /// Whether some of them could not be read.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// The first with a weight below that, and where it is written. Those of weight 0 get nothing anyway.
    pub(crate) fn lightest_below(&self, weight: u32) -> Option<(Path, u32)> {
        let mut light = self.servers.iter().filter_map(|(index, resolved)| {
            let own = resolved.real_server.weight;
            (1..weight).contains(&own).then_some((*index, own))
        });
        light.next().map(|(index, own)| (self.path(index, "weight"), own))
    }

    /// Where a real server is written.
    pub(crate) fn place(&self, index: usize) -> Path {
        self.at.clone().then(Step::Item(index))
    }

    /// Whether one of them is under full NAT.
    pub(crate) fn has_full_nat(&self) -> bool {
        self.servers.iter().any(|(_, resolved)| resolved.is_full_nat)
    }

    /// Whether one of them is under full NAT, or could not be read.
    pub(crate) fn may_have_full_nat(&self) -> bool {
        self.doubtful || self.has_full_nat()
    }

    /// Whether one of them has that address.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.servers.iter().any(|(_, resolved)| resolved.address == address)
    }

    fn path(&self, index: usize, key: &'static str) -> Path {
        self.at.clone().then(Step::Item(index)).then(Step::Key(key))
    }
}

/// Whether a service of that family uses the real server.
fn fits(resolved: &Resolved, family: Family) -> bool {
    matches!(resolved.real_server.forward, Forward::Tun(_))
        || Family::from(resolved.address) == family
}
