//! What is to be written: a desired state, or the part of a live one that a spec governs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, Desired, DesiredTimeouts, Drain, Guards, HostRoute, Limits, Live, LiveRoute,
    NamedService, Owner, Scope, Service, ServiceConfig, ServiceKey, SyncDaemon, SyncState,
    Timeouts, Vip,
};

use ipnet::IpNet;

use crate::snapshot_section::SnapshotSection;

/// A state in the words of a spec.
#[derive(Debug, Clone, Default)]
pub struct WriteInput {
    /// The scope.
    pub scope: Scope,
    /// The services and what a spec calls them. Services of one name are written as one service
    /// with several VIPs and ports where they can be.
    pub services: BTreeMap<ServiceKey, NamedService>,
    /// The addresses that evenkeel binds.
    pub vips: BTreeMap<Binding, Vip>,
    /// The timeouts.
    pub timeouts: DesiredTimeouts,
    /// The sync daemons; `None` is not a word about them, none in the map says there are none.
    pub sync: Option<BTreeMap<SyncState, SyncDaemon>>,
    /// Values of sysctls by key.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// From which numbers on guards refuse.
    pub guards: Guards,
    /// How long services drain that say nothing of it.
    pub drain: Drain,
    /// Names that several services of the spec share: decided once for both sides of a
    /// comparison.
    pub(super) shared: BTreeSet<Arc<str>>,
    pub(super) expanded: bool,
    pub(super) pooled: bool,
    pub(super) observed: Option<SnapshotSection>,
    pub(super) moment: Moment,
}

/// What a snapshot notes of its moment. Nobody reads it back.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    pub(super) time: Option<String>,
    pub(super) kernel: Option<String>,
    pub(super) statistics: Option<Statistics>,
}

impl WriteInput {
    /// A desired state.
    pub fn of_desired(desired: &Desired) -> Self {
        let Desired { scope, services, vips, timeouts, sync, sysctls, guards, drain } =
            desired.clone();
        Self {
            scope,
            services,
            vips,
            timeouts,
            sync,
            sysctls,
            guards,
            drain,
            shared: shared(desired),
            ..Self::default()
        }
    }

    /// The part of a live state that `desired` governs: services in its scope, under its names
    /// where it has some, else under names made of their keys; VIPs that it lists or that
    /// evenkeel bound. Also the timeouts, the sync daemons that run (that there are none, only
    /// where `desired` has a word about them), and the sysctls that were asked for.
    pub fn of_live(live: &Live, desired: &Desired) -> Self {
        let in_scope = live.services.iter().filter(|(key, _)| desired.scope.contains(key));
        let services =
            in_scope.map(|(key, service)| (*key, named(key, service, desired))).collect();
        let is_dummy = |interface: &str| {
            let link = live.links.as_ref().and_then(|links| links.get(interface));
            link.is_some_and(|link| link.dummy)
        };
        let vip = |(binding, owner): (&Binding, &Owner)| {
            let ours = *owner == Owner::Evenkeel && desired.scope.contains_address(binding.address);
            let asked = desired.vips.get(binding);
            if asked.is_none() && !ours {
                return None;
            }
            let dummy = asked.map_or_else(|| is_dummy(&binding.interface), |vip| vip.dummy);
            // One that is the interface's name is written only where the spec has an opinion.
            let label = match asked {
                Some(vip) => vip.label.as_ref().and_then(|_| live.label(binding)),
                None => live.labels.get(binding).map(|label| &**label),
            };
            let label = label.filter(|label| Vip::is_label(label, &binding.interface));
            let found = live.routes.as_ref().and_then(|all| all.get(&HostRoute::of(binding)));
            let is_asked = asked.is_some_and(|vip| vip.route);
            let route = *binding == Binding::host(binding.address, &binding.interface)
                && found.is_some_and(|found| match found.owner {
                    Owner::Evenkeel => *found == LiveRoute::of_evenkeel(&HostRoute::of(binding)),
                    Owner::Other => is_asked,
                });
            Some((binding.clone(), Vip { dummy, label: label.map(Into::into), route }))
        };
        let says_sync = !live.sync.is_empty() || desired.sync.is_some();
        Self {
            scope: desired.scope.clone(),
            services,
            vips: live.addresses.iter().filter_map(vip).collect(),
            timeouts: live.timeouts.map(all_of).unwrap_or_default(),
            sync: says_sync.then(|| live.sync.clone()),
            sysctls: live.sysctls.clone(),
            guards: desired.guards,
            drain: desired.drain,
            shared: shared(desired),
            ..Self::default()
        }
    }

    /// Writes the scope of what is written: the single services, and the VIPs that have none of
    /// them. What else comes to the host later is not governed by the text.
    #[must_use]
    pub fn scoped_to_itself(mut self) -> Self {
        let services: BTreeSet<ServiceKey> = self.services.keys().copied().collect();
        let served: BTreeSet<IpAddr> = services.iter().filter_map(ServiceKey::vip).collect();
        let bound: BTreeSet<IpAddr> = self.vips.keys().map(|binding| binding.address).collect();
        let vips = bound.difference(&served).copied().map(IpNet::from).collect();
        self.scope = Scope::Limited(Limits { vips, services, ..Limits::default() });
        self
    }

    /// Writes one service for each VIP and port, so that a comparison of two states is one of
    /// lines that belong together.
    #[must_use]
    pub fn expanded(mut self) -> Self {
        self.expanded = true;
        self
    }

    /// Writes real servers that several services share as a pool, which takes the name of the
    /// first of them.
    #[must_use]
    pub fn pooled(mut self) -> Self {
        self.pooled = true;
        self
    }

    /// Ends the text with what else was there: addresses, interfaces, kernel modules.
    pub fn observe(&mut self, live: &Live) {
        self.observed = Some(SnapshotSection::of(live));
    }

    /// Notes there when this was, in whatever form, and the kernel's release.
    pub fn observe_moment(&mut self, time: impl Into<String>, kernel: impl Into<String>) {
        self.moment.time = Some(time.into());
        self.moment.kernel = Some(kernel.into());
    }

    /// Notes there the counters of the services that are written, and of their real servers.
    pub fn observe_statistics(&mut self, statistics: &Statistics) {
        self.moment.statistics = Some(statistics.clone());
    }
}

fn all_of(live: Timeouts) -> DesiredTimeouts {
    let Timeouts { tcp, tcp_fin, udp } = live;
    DesiredTimeouts { tcp: Some(tcp), tcp_fin: Some(tcp_fin), udp: Some(udp) }
}

fn named(key: &ServiceKey, service: &Service, desired: &Desired) -> NamedService {
    let mut service = service.clone();
    // A spec has no words for what means nothing.
    service.real_servers.for_each_mut(|_, it| it.forward = it.forward.canonical());
    match desired.services.get(key) {
        Some(NamedService { name, ignore, canonical_order, drain, service: wanted }) => {
            NamedService {
                name: Arc::clone(name),
                ignore: *ignore,
                canonical_order: *canonical_order,
                drain: drain_under(&service.config, &wanted.config, *drain, desired.drain),
                service,
            }
        }
        None => NamedService {
            drain: service.config.usual_drain(desired.drain),
            ..NamedService::new(name_of(key), service)
        },
    }
}

/// The drain that a spec can ask for under the live configuration: as the desired one has it,
/// unless nobody asked for that, or the scheduler does not let real servers drain.
fn drain_under(live: &ServiceConfig, wanted: &ServiceConfig, drain: Drain, usual: Drain) -> Drain {
    let asked = drain != wanted.usual_drain(usual);
    let lets = !live.scheduler.refuses_clients_of_drained(live.scheduler_flags);
    if asked && lets { drain } else { live.usual_drain(usual) }
}

fn shared(desired: &Desired) -> BTreeSet<Arc<str>> {
    let mut seen = BTreeSet::new();
    let names = desired.services.values().map(|named| &named.name);
    names.filter(|name| !seen.insert(Arc::clone(name))).cloned().collect()
}

/// A name made of a key, a different one for each: `192.0.2.1-80-tcp`, `2001-db8--1-80-tcp`,
/// `fwmark-7-ipv4`.
pub(super) fn name_of(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Fwmark { family, fwmark } => format!("fwmark-{fwmark}-{family}"),
        ServiceKey::Address { address, port, protocol } => {
            let address = address.to_string().replace(':', "-");
            // A name begins with a letter or digit; `0::1` is nobody's canonical form.
            let zero = if address.starts_with('-') { "0" } else { "" };
            format!("{zero}{address}-{port}-{protocol}")
        }
    }
}
