//! The input of the writer: a desired state, or the part of a live one that a spec governs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, Desired, DesiredTimeouts, Drain, Guards, HostObject, HostValue, Limits, Live,
    LiveHostObject, NamedService, Owner, OwnerName, Scope, Service, ServiceConfig, ServiceKey,
    SyncDaemon, SyncState, Timeouts, Vip, WhenLeft,
};

use ipnet::IpNet;

use crate::snapshot_section::SnapshotSection;

/// A state in the form of a spec.
#[derive(Debug, Clone, Default)]
pub struct WriteInput {
    /// The owner.
    pub owner: OwnerName,
    /// The scope.
    pub scope: Scope,
    /// What becomes of what leaves it.
    pub when_left: Option<WhenLeft>,
    /// The services and their names. Services of one name are written as one service with several
    /// VIPs and ports where possible.
    pub services: BTreeMap<ServiceKey, NamedService>,
    /// The addresses that evenkeel binds.
    pub vips: BTreeMap<Binding, Vip>,
    /// The host objects; [`super::host_object`] writes each kind.
    pub host_objects: BTreeMap<HostObject, HostValue>,
    /// The timeouts.
    pub timeouts: DesiredTimeouts,
    /// The sync daemons; `None` writes nothing about them, an empty map writes that there are none.
    pub sync: Option<BTreeMap<SyncState, SyncDaemon>>,
    /// Values of sysctls by key.
    pub sysctls: BTreeMap<Box<str>, Box<str>>,
    /// The thresholds of guards.
    pub guards: Guards,
    /// The drain of services that set none.
    pub drain: Drain,
    /// Names that several services of the spec share, computed once for both sides of a
    /// comparison.
    pub(super) shared: BTreeSet<Arc<str>>,
    pub(super) expanded: bool,
    pub(super) pooled: bool,
    pub(super) observed: Option<SnapshotSection>,
    pub(super) moment: Moment,
}

/// The time and kernel of a snapshot. They are written, and not read again.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    pub(super) time: Option<String>,
    pub(super) kernel: Option<String>,
    pub(super) statistics: Option<Statistics>,
}

impl WriteInput {
    /// The input for a desired state.
    pub fn of_desired(desired: &Desired) -> Self {
        let Desired {
            owner,
            roles: _,
            elsewhere: _,
            real_server: _,
            expected_gateways: _,
            overrides: _,
            maintenance_dir: _,
            scope,
            when_left,
            kept: _,
            removed: _,
            services,
            vips,
            host_objects,
            timeouts,
            sync,
            sysctls,
            guards,
            drain,
        } = desired.clone();
        Self {
            owner,
            scope,
            when_left,
            services,
            vips,
            host_objects,
            timeouts,
            sync,
            sysctls,
            guards,
            drain,
            shared: shared(desired),
            ..Self::default()
        }
    }

    /// The input for the part of a live state that `desired` governs: services in its scope, under
    /// its names where it has them, else under names made of their keys; VIPs that it lists or that
    /// evenkeel bound. Also the timeouts, the running sync daemons (their absence only if `desired`
    /// sets them), and the requested sysctls.
    pub fn of_live(live: &Live, desired: &Desired) -> Self {
        let in_scope = live.services.iter().filter(|(key, _)| desired.governs(key));
        let services =
            in_scope.map(|(key, service)| (*key, named(key, service, desired))).collect();
        let is_dummy = |interface: &str| {
            let link = live.links.as_ref().and_then(|links| links.get(interface));
            link.is_some_and(|link| link.dummy)
        };
        let vip = |(binding, owner): (&Binding, &Owner)| {
            let ours = *owner == Owner::Evenkeel && desired.governs_vip(binding);
            let asked = desired.vips.get(binding);
            if asked.is_none() && !ours {
                return None;
            }
            let dummy = asked.map_or_else(|| is_dummy(&binding.interface), |vip| vip.dummy);
            // A label that is the interface's name is written only if the spec sets one.
            let label = match asked {
                Some(vip) => vip.label.as_ref().and_then(|_| live.label(binding)),
                None => live.labels.get(binding).map(|label| &**label),
            };
            let label = label.filter(|label| Vip::is_label(label, &binding.interface));
            let bind = asked.map(|vip| vip.bind).unwrap_or_default();
            Some((binding.clone(), Vip { dummy, label: label.map(Into::into), bind }))
        };
        let host_object = |(object, live): (&HostObject, &LiveHostObject)| {
            let value = match live.owner {
                Owner::Evenkeel if desired.governs_host_object(object) => &live.value,
                Owner::Evenkeel => return None,
                // An object of another program is used as it is, so it is what the spec asks for.
                Owner::Other => desired.host_objects.get(object)?,
            };
            Some((object.clone(), value.clone()))
        };
        let says_sync = !live.sync.is_empty() || desired.sync.is_some();
        Self {
            scope: desired.scope.clone(),
            services,
            vips: live.addresses.iter().filter_map(vip).collect(),
            host_objects: live.host_objects.objects.iter().filter_map(host_object).collect(),
            timeouts: live.timeouts.map(all_of).unwrap_or_default(),
            sync: says_sync.then(|| live.sync.clone()),
            sysctls: live.sysctls.clone(),
            guards: desired.guards,
            drain: desired.drain,
            shared: shared(desired),
            ..Self::default()
        }
    }

    /// Limits the scope to what is written: the single services, and the VIPs and host objects
    /// without any of them. The text then does not govern what is added to the host later.
    #[must_use]
    pub fn scoped_to_itself(mut self) -> Self {
        let services: BTreeSet<ServiceKey> = self.services.keys().copied().collect();
        let served: BTreeSet<IpAddr> = services.iter().filter_map(ServiceKey::vip).collect();
        let bound = self.vips.keys().map(|binding| binding.address);
        let served_by_objects = self.host_objects.keys().filter_map(HostObject::address);
        let addresses: BTreeSet<IpAddr> = bound.chain(served_by_objects).collect();
        let vips = addresses.difference(&served).copied().map(IpNet::from).collect();
        self.scope = Scope::Limited(Limits { vips, services, ..Limits::default() });
        self
    }

    /// Writes one service for each VIP and port, so that a comparison of two states compares
    /// corresponding lines.
    #[must_use]
    pub fn expanded(mut self) -> Self {
        self.expanded = true;
        self
    }

    /// Writes real servers that several services share as a pool with the name of the first
    /// service.
    #[must_use]
    pub fn pooled(mut self) -> Self {
        self.pooled = true;
        self
    }

    /// Adds the observations at the end of the text: addresses, interfaces, kernel modules.
    pub fn observe(&mut self, live: &Live) {
        self.observed = Some(SnapshotSection::of(live));
    }

    /// Adds the time, in any form, and the kernel's release to the observations.
    pub fn observe_moment(&mut self, time: impl Into<String>, kernel: impl Into<String>) {
        self.moment.time = Some(time.into());
        self.moment.kernel = Some(kernel.into());
    }

    /// Adds the counters of the written services and of their real servers to the observations.
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
    // A spec cannot express settings without effect.
    service.real_servers.for_each_mut(|_, it| it.forward = it.forward.canonical());
    match desired.services.get(key) {
        Some(NamedService { name, ignore, canonical_order, drain, health: _, service: wanted }) => {
            NamedService {
                name: Arc::clone(name),
                ignore: *ignore,
                canonical_order: *canonical_order,
                drain: drain_under(&service.config, &wanted.config, *drain, desired.drain),
                health: None,
                service,
            }
        }
        None => NamedService {
            drain: service.config.usual_drain(desired.drain),
            ..NamedService::new(name_of(key), service)
        },
    }
}

/// The drain that a spec can set under the live configuration: the desired one, unless the spec
/// did not set it explicitly or the live scheduler does not let real servers drain.
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
            // A name begins with a letter or digit. `0::1` is not a canonical form, so the name
            // stays unique.
            let zero = if address.starts_with('-') { "0" } else { "" };
            format!("{zero}{address}-{port}-{protocol}")
        }
    }
}
