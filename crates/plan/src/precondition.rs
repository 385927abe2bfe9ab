//! Preconditions of a plan, checked before the first operation is sent.

mod addresses;
mod refused_by_kernel;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use evenkeel_model::{
    Binding, DISABLE_IPV6, DefaultRoute, Desired, Family, HostObject, HostObjectKind, HostValue,
    Live, PROMOTE_SECONDARIES, ServiceKey, SyncState, SysctlObstacle, interface_sysctl,
};

use self::addresses::refused_addresses;
use self::refused_by_kernel::{is_mixed, refused_by_kernel};
use crate::Op;
use crate::guard::some_of;

/// A condition of the host that would make operations of the plan fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnmetPrecondition {
    /// The interface of a VIP, a host object or a sync daemon does not exist, and the spec does not
    /// ask for its creation.
    NoInterface {
        /// Its name.
        interface: Box<str>,
    },
    /// The kernel has no such sysctl.
    NoSysctl {
        /// Its key.
        key: Box<str>,
    },
    /// Sysctls need another value, and `/proc/sys` is mounted read-only, as in most containers.
    ReadOnlySysctls {
        /// The values that they need, by key.
        needed: BTreeMap<Box<str>, Box<str>>,
    },
    /// A sysctl that the spec names exists, and cannot be read or never be set.
    UnusableSysctl {
        /// Its key.
        key: Box<str>,
        /// Why.
        obstacle: SysctlObstacle,
    },
    /// The host cannot have host objects of a kind that the spec asks for, or those that evenkeel added
    /// can be neither read nor changed.
    Unavailable {
        /// The kind.
        kind: HostObjectKind,
        /// What is missing, with the remedy.
        why: Box<str>,
    },
    /// The loopback interface is down: the kernel then treats no address as unicast and refuses
    /// every new real server (`ip_vs_new_dest`).
    LoopbackDown,
    /// A real server is the broadcast address of a network of the host.
    BroadcastRealServer {
        /// Its address.
        address: IpAddr,
        /// The address of the host in that network.
        network: Binding,
    },
    /// Sync daemons that the spec leaves to another program run: beside them, the kernel refuses real servers
    /// of another family than that of their service.
    MixedBesideSync {
        /// Their states.
        daemons: Vec<SyncState>,
    },
    /// Services that stay have real servers of the other family: beside them, the kernel starts no sync daemon.
    SyncBesideMixed {
        /// The services.
        services: Vec<ServiceKey>,
    },
    /// A primary address is to be unbound, and the kernel would delete secondaries of its subnet with it,
    /// because `promote_secondaries` of the interface is 0.
    SecondariesStay {
        /// The primary address.
        primary: Binding,
        /// The secondaries that are bound by then.
        secondaries: Vec<IpAddr>,
    },
    /// IPv6 is disabled on the interface of VIPs (`disable_ipv6`): the kernel binds none there.
    Ipv6Disabled {
        /// The interface.
        interface: Box<str>,
        /// The VIPs.
        vips: BTreeSet<IpAddr>,
        /// Whether the plan disables it, with which the kernel would delete the VIPs; otherwise it is
        /// disabled already.
        is_set: bool,
    },
    /// The default route is several IPv6 routes of one metric, which could not be restored as they are.
    SeveralDefaultRoutes {
        /// The default route.
        route: DefaultRoute,
    },
}

impl UnmetPrecondition {
    /// Whether the operation cannot be executed while this is not met.
    pub fn prevents(&self, op: &Op) -> bool {
        match (self, op) {
            (Self::NoInterface { interface }, Op::Bind { binding, .. }) => {
                binding.interface == *interface
            }
            (Self::NoInterface { interface }, Op::AddSync { after, .. }) => {
                after.interface == *interface
            }
            (Self::NoInterface { interface }, Op::AddHostObject { object, .. }) => {
                object.interface() == Some(&**interface)
            }
            (
                Self::Unavailable { kind, .. },
                Op::AddHostObject { object, .. }
                | Op::EditHostObject { object, .. }
                | Op::DeleteHostObject { object, .. },
            ) => object.kind() == *kind,
            (
                Self::NoSysctl { key: named } | Self::UnusableSysctl { key: named, .. },
                Op::EditSysctl { key, .. },
            ) => key == named,
            (Self::ReadOnlySysctls { needed }, Op::EditSysctl { key, .. }) => {
                needed.contains_key(key)
            }
            (Self::SeveralDefaultRoutes { route }, Op::EditHostObject { object, .. }) => {
                *object == HostObject::DefaultRoute(*route)
            }
            (Self::LoopbackDown, Op::AddRealServer { .. })
            | (Self::SyncBesideMixed { .. }, Op::AddSync { .. }) => true,
            (Self::BroadcastRealServer { address, .. }, Op::AddRealServer { key, .. }) => {
                key.address == *address
            }
            (Self::MixedBesideSync { .. }, op) => is_mixed(op),
            (Self::SecondariesStay { primary, .. }, Op::Unbind { binding, .. }) => {
                binding == primary
            }
            (Self::Ipv6Disabled { interface, is_set: false, .. }, Op::Bind { binding, .. }) => {
                binding.address.is_ipv6() && binding.interface == *interface
            }
            (
                Self::Ipv6Disabled { interface, is_set: true, .. },
                Op::EditSysctl { key, after, .. } | Op::RestoreSysctl { key, after, .. },
            ) => {
                let keys = [interface, "all"];
                let mut keys =
                    keys.map(|it| interface_sysctl(Family::Ipv6, it, DISABLE_IPV6)).into_iter();
                **after != *"0" && keys.any(|it| it == **key)
            }
            _ => false,
        }
    }
}

impl fmt::Display for UnmetPrecondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { interface } => write!(
                f,
                "interface {interface} does not exist; name one that does, or, for VIPs, write \
                 `dummy: true` to have it created as a dummy device"
            ),
            Self::NoSysctl { key } => {
                write!(f, "this kernel has no sysctl {key}; correct its name, or remove it from the spec")
            }
            Self::ReadOnlySysctls { needed } => {
                let needed: Vec<String> =
                    needed.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(
                    f,
                    "/proc/sys is read-only here, as in most containers, and evenkeel cannot set {}; set \
                     them where the container is started (Docker: `--sysctl`, Kubernetes: \
                     `securityContext.sysctls`), or run evenkeel on the host",
                    needed.join(", ")
                )
            }
            Self::UnusableSysctl { key, obstacle: SysctlObstacle::Directory } => write!(
                f,
                "{key} is no sysctl, but a directory of sysctls; name one of those below it, or remove it \
                 from the spec"
            ),
            Self::UnusableSysctl { key, obstacle: SysctlObstacle::Unreadable(why) } => write!(
                f,
                "the kernel does not show the value of sysctl {key} ({why}), so that evenkeel can neither \
                 compare nor restore it; remove it from the spec, and set it by other means"
            ),
            Self::UnusableSysctl { key, obstacle: SysctlObstacle::Fixed } => write!(
                f,
                "sysctl {key} has another value, and the kernel does not permit to set it; remove it from the spec"
            ),
            Self::Unavailable { kind, why } => {
                write!(f, "{} cannot be managed on this host: {why}", kind.name())
            }
            Self::LoopbackDown => f.write_str(
                "interface lo is down, and the kernel refuses every new real server until it is up; \
                 `ip link set lo up` brings it up",
            ),
            Self::BroadcastRealServer { address, network } => write!(
                f,
                "{address} is the broadcast address of the network of {}/{} on {}, and the kernel refuses it \
                 as a real server; correct the address in the spec",
                network.address, network.prefix, network.interface
            ),
            Self::MixedBesideSync { daemons } => {
                let names: Vec<String> = daemons.iter().map(ToString::to_string).collect();
                let stops: Vec<String> =
                    names.iter().map(|name| format!("`ipvsadm --stop-daemon {name}`")).collect();
                write!(
                    f,
                    "another program runs the sync daemon {}, beside which the kernel refuses real servers \
                     of another family than that of their service; remove them from the spec, or stop it \
                     with {} or `sync: []`",
                    names.join(" and "),
                    stops.join(" and ")
                )
            }
            Self::SyncBesideMixed { services } => {
                let services: Vec<String> = services.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "the kernel starts no sync daemon while a service has real servers of the other family, \
                     as {} has, which this spec does not manage; delete them, or remove `sync`",
                    some_of(&services)
                )
            }
            Self::SecondariesStay { primary, secondaries } => {
                let secondaries: Vec<String> = secondaries.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{primary} is the primary address of its subnet, and when it is unbound, the kernel would \
                     delete {} too; write `{}: 1` under `sysctls`, or bind the VIPs of the subnet as /32",
                    some_of(&secondaries),
                    interface_sysctl(Family::Ipv4, &primary.interface, PROMOTE_SECONDARIES)
                )
            }
            Self::Ipv6Disabled { interface, vips, is_set } => {
                let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
                let key = interface_sysctl(Family::Ipv6, interface, DISABLE_IPV6);
                match is_set {
                    false => write!(
                        f,
                        "IPv6 is disabled on interface {interface}, and the kernel does not bind {} there",
                        some_of(&vips)
                    ),
                    true => write!(
                        f,
                        "the plan disables IPv6 on interface {interface}, and the kernel would delete {} there",
                        some_of(&vips)
                    ),
                }?;
                write!(f, "; write `{key}: 0` under `sysctls`")
            }
            Self::SeveralDefaultRoutes { route } => write!(
                f,
                "the default route {route} is several routes of the same metric, which evenkeel could not \
                 restore exactly and does not replace; delete all but one with `ip -6 route del default \
                 via GATEWAY`, or give them different metrics"
            ),
        }
    }
}

/// Returns every unmet precondition of those operations.
pub(crate) fn unmet_preconditions(
    desired: &Desired,
    live: &Live,
    ops: &[Op],
) -> Vec<UnmetPrecondition> {
    let beside_links = read_only_sysctls(live, ops).into_iter().chain(several_default_routes(ops));
    let beside_links =
        beside_links.chain(unavailable(live, ops)).chain(unusable_sysctls(live, ops));
    let beside_links = beside_links.chain(refused_by_kernel(live, ops));
    let beside_links = beside_links.chain(refused_addresses(desired, live, ops));
    let Some(links) = &live.links else {
        return beside_links.collect();
    };
    let (mut added_tunnels, mut added) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        match op {
            Op::AddHostObject { object, .. } => added_tunnels.extend(object.device()),
            Op::AddDummy { interface } => drop(added.insert(&**interface)),
            _ => {}
        }
    }
    let created = |interface: &str| added.contains(interface) || added_tunnels.contains(interface);
    let of_vips = desired.vips.keys().map(|binding| &*binding.interface);
    let of_host_objects = desired.host_objects.keys().filter_map(HostObject::interface);
    let of_daemons = desired.sync.iter().flatten().map(|(_, daemon)| &*daemon.interface);
    let missing: BTreeSet<&str> = of_vips
        .chain(of_host_objects)
        .chain(of_daemons)
        .filter(|interface| !links.contains_key(*interface) && !created(interface))
        .collect();
    let mut found: Vec<UnmetPrecondition> = missing
        .into_iter()
        .map(|interface| UnmetPrecondition::NoInterface { interface: interface.into() })
        .collect();
    // A snapshot holds only the sysctls that its own spec named; only a live kernel shows which
    // exist.
    let is_kernel = live.modules.is_some();
    // The kernel has those of a device once it is there. Dummy devices are created after sysctls are set.
    let comes =
        |key: &str| interface_of(key).is_some_and(|interface| added_tunnels.contains(&*interface));
    let is_found =
        |key: &str| live.sysctls.contains_key(key) || live.sysctl_obstacles.contains_key(key);
    let absent = desired.sysctls.keys().filter(|key| !is_found(key));
    let unknown = absent.filter(|key| !comes(key));
    found.extend(
        unknown.filter(|_| is_kernel).map(|key| UnmetPrecondition::NoSysctl { key: key.clone() }),
    );
    let adds = ops.iter().any(|op| matches!(op, Op::AddRealServer { .. }));
    if adds && links.get("lo").is_some_and(|lo| !lo.up) {
        found.push(UnmetPrecondition::LoopbackDown);
    }
    found.extend(beside_links);
    found
}

/// Returns the sysctls that are to be set where none can be. What a teardown restores does not prevent the
/// rest of it.
fn read_only_sysctls(live: &Live, ops: &[Op]) -> Option<UnmetPrecondition> {
    let edits = ops.iter().filter_map(|op| match op {
        Op::EditSysctl { key, after, .. } if live.sysctls_read_only.contains(key) => {
            Some((key.clone(), after.clone()))
        }
        _ => None,
    });
    let needed: BTreeMap<_, _> = edits.collect();
    (!needed.is_empty()).then_some(UnmetPrecondition::ReadOnlySysctls { needed })
}

/// Returns the sysctls that are to be set and cannot be managed.
fn unusable_sysctls(live: &Live, ops: &[Op]) -> impl Iterator<Item = UnmetPrecondition> {
    ops.iter().filter_map(|op| {
        let Op::EditSysctl { key, .. } = op else { return None };
        let obstacle = live.sysctl_obstacles.get(key)?.clone();
        Some(UnmetPrecondition::UnusableSysctl { key: key.clone(), obstacle })
    })
}

/// Returns the default routes that are replaced and could not be restored.
fn several_default_routes(ops: &[Op]) -> impl Iterator<Item = UnmetPrecondition> {
    ops.iter().filter_map(|op| match op {
        Op::EditHostObject { object: HostObject::DefaultRoute(route), before, after } => {
            let HostValue::DefaultRoute(found) = &**before else { return None };
            let is_lost = !after.is_restored() && !found.is_restorable(route.family);
            is_lost.then_some(UnmetPrecondition::SeveralDefaultRoutes { route: *route })
        }
        _ => None,
    })
}

/// Returns the kinds that are to be changed and cannot be.
fn unavailable(live: &Live, ops: &[Op]) -> impl Iterator<Item = UnmetPrecondition> {
    let changed = ops.iter().filter_map(|op| match op {
        Op::AddHostObject { object, .. }
        | Op::EditHostObject { object, .. }
        | Op::DeleteHostObject { object, .. } => Some(object.kind()),
        _ => None,
    });
    let changed: BTreeSet<HostObjectKind> = changed.collect();
    let unavailable = live.host_objects.unavailable.iter();
    unavailable
        .filter(move |(kind, _)| changed.contains(kind))
        .map(|(kind, why)| UnmetPrecondition::Unavailable { kind: *kind, why: why.clone() })
}

/// Returns the interface that a sysctl is of: `net.ipv4.conf.eth0/100.rp_filter` is one of `eth0.100`.
fn interface_of(key: &str) -> Option<String> {
    let mut parts = key.split('.');
    let (net, _family, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let interface = parts.next()?.replace('/', ".");
    (net == "net" && ["conf", "neigh"].contains(&kind)).then_some(interface)
}
