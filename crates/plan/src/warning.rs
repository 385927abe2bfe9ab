//! Warnings of a plan. A warning prevents nothing; its text is made here, and nowhere else.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use evenkeel_model::{Binding, DefaultRoute, Family, HostObject};

use crate::Guard;
use crate::connection_sysctls::NODEST;
use crate::field::{FieldChange, FieldValue};
use crate::guard::some_of;
use crate::render::count;
use crate::utc_time::utc;

/// What a user should know about a plan or a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Another program bound a VIP with another prefix length than the spec's.
    OtherPrefix {
        /// The address as it is bound.
        bound: Binding,
        /// The prefix length of the spec.
        desired: u8,
    },
    /// Another program had bound a VIP and has released it; evenkeel leaves it to that program.
    LeftToBinder {
        /// The VIP as the spec lists it.
        vip: Binding,
    },
    /// Programs that move VIPs run on the host, and evenkeel binds VIPs whenever they are missing.
    VipManagers {
        /// The programs.
        managers: Vec<&'static str>,
        /// The VIPs.
        vips: BTreeSet<IpAddr>,
    },
    /// Another program bound a VIP with another label than the spec's.
    OtherLabel {
        /// The address as it is bound.
        bound: Binding,
        /// Its label.
        label: Box<str>,
        /// The label of the spec.
        desired: Box<str>,
    },
    /// Another program added a host object with another value than the spec's.
    OtherValue {
        /// The object.
        object: HostObject,
        /// Its fields, from the value that it keeps to that of the spec.
        changes: Vec<FieldChange>,
    },
    /// Another program bound the VIP of a real server on an interface on which it answers neighbours.
    AnsweredElsewhere {
        /// The address as it is bound.
        bound: Binding,
    },
    /// An interface that evenkeel does not manage is down.
    InterfaceDown {
        /// The interface.
        interface: Box<str>,
        /// The VIP that gets no traffic through it.
        vip: IpAddr,
    },
    /// Real servers are deleted and added again to change their order.
    Reordered {
        /// The service, with its name.
        service: String,
        /// How many real servers.
        real_servers: usize,
        /// Whether a teardown restores an earlier order; otherwise it is that of the spec.
        is_teardown: bool,
    },
    /// Drains are followed by dropped packets: `net.ipv4.vs.expire_nodest_conn` is 0.
    DroppingDrains {
        /// Whether the plan is a teardown, in which no spec can set the sysctl.
        is_teardown: bool,
    },
    /// A VIP is unbound while fwmark services, which may be reached by it, have connections.
    MarkedConnections {
        /// The VIP.
        vip: IpAddr,
        /// How many connections.
        connections: u64,
        /// The services.
        services: String,
    },
    /// The sessions of programs on the host over VIPs that are unbound are not known.
    SessionsUnread {
        /// The VIPs.
        vips: BTreeSet<IpAddr>,
        /// Why.
        why: String,
    },
    /// The last spec named a timeout and this one does not.
    TimeoutStays {
        /// The timeout.
        field: &'static str,
        /// Its value in seconds.
        seconds: u32,
    },
    /// A teardown leaves the timeouts that the last spec named.
    TimeoutsKept(Vec<KeptTimeout>),
    /// A teardown leaves a dummy device, because another program bound an address on it.
    DeviceStays {
        /// The device.
        interface: Box<str>,
        /// The address of the other program.
        bound: Binding,
    },
    /// The default route that evenkeel replaced is not restored.
    RouteNotRestored {
        /// The default route.
        route: DefaultRoute,
        /// The former one: `via 192.0.2.254 dev eth0`.
        former: String,
        /// The interface of the former one that is missing or down; `None` if the route of evenkeel is
        /// gone, as the former one would be.
        interface: Option<Box<str>>,
    },
    /// Answers of a real server behind NAT do not return through a director, and the spec asks for no
    /// default route.
    OtherGateway {
        /// The family.
        family: Family,
        /// The gateway of the default route; `None` if it has none, or several.
        gateway: Option<IpAddr>,
        /// Whether there is no default route.
        is_missing: bool,
        /// The addresses of directors to one of which it must lead.
        expected: BTreeSet<IpAddr>,
    },
    /// A tunnel device stays up, because an address stays bound on it.
    TunnelStays {
        /// The device.
        interface: Box<str>,
        /// The address.
        bound: Binding,
    },
    /// These services stay, and are the last ones of their family that leave full NAT: the kernel stops
    /// translating the packets of their open connections.
    Untranslated(Vec<String>),
    /// The addresses of these services are not local: no interface that is up has them, and no route of type
    /// `local` contains them.
    NotLocal(Vec<String>),
    /// These services have no real server of positive weight.
    NoServers(Vec<String>),
    /// Health checks and overrides hold all real servers of these services at weight 0, or out.
    AllHeld(Vec<String>),
    /// An override of the spec is over; the spec still lists it.
    OverrideExpired {
        /// The real servers.
        target: String,
        /// When it ended, in seconds since 1970.
        until: u64,
    },
    /// Files of the maintenance directory name no real server.
    MaintenanceNames {
        /// The directory.
        directory: String,
        /// Their names.
        names: Vec<String>,
    },
    /// The maintenance directory cannot be read.
    MaintenanceUnread {
        /// The directory.
        directory: String,
        /// Why.
        error: String,
    },
    /// A VIP is not bound, because a service on it has no quorum.
    VipWithheld {
        /// The VIP.
        vip: IpAddr,
        /// The service.
        service: String,
        /// Whether its first results are awaited.
        is_starting: bool,
    },
    /// The connections of these services to a real server that is down hang until they time out.
    ConnectionsHang(Vec<String>),
    /// Persistent clients of these services stay on a real server that is down until it is removed.
    PersistentClientsStay(Vec<String>),
    /// A plan for single services leaves what this host has as a real server of these, which the spec no
    /// longer lists for it.
    PartsStay(Vec<String>),
    /// The spec has looser guard thresholds, which apply only from the next spec on.
    LooserGuards(Vec<LooserGuard>),
    /// These guards could refuse the plan, and were not judged: they compare with the journal of
    /// the host, and the plan was made without one.
    GuardsNotJudged(Vec<Guard>),
}

/// A timeout that keeps its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptTimeout {
    /// The timeout.
    pub field: &'static str,
    /// Its value in seconds.
    pub seconds: u32,
}

/// A guard threshold that is looser than the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LooserGuard {
    /// Its key in the spec.
    pub key: &'static str,
    /// The threshold that judges this plan.
    pub judging: String,
    /// The threshold of the spec.
    pub desired: String,
}

impl Warning {
    /// The services whose address is not local, by their labels.
    pub fn not_local(&self) -> &[String] {
        match self {
            Self::NotLocal(services) => services,
            _ => &[],
        }
    }

    /// The services without a real server of positive weight, by their labels.
    pub fn without_servers(&self) -> &[String] {
        match self {
            Self::NoServers(services) | Self::AllHeld(services) => services,
            _ => &[],
        }
    }
}

/// Lists fields with one of their two values.
fn fields(changes: &[FieldChange], value: fn(&FieldChange) -> &FieldValue) -> String {
    let written = changes.iter().map(|it| format!("{} {}", it.field, value(it)));
    written.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherPrefix { bound, desired } => write!(
                f,
                "{} is bound as /{} by another program and is used as it is; the spec says \
                 /{desired}",
                bound.address, bound.prefix
            ),
            Self::LeftToBinder { vip } => write!(
                f,
                "{} is left to the program that had bound it on {}, and that has released it; to have \
                 evenkeel bind it, write `bind: always`",
                vip.address, vip.interface
            ),
            Self::VipManagers { managers, vips } => {
                let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{} {} on this host and may move VIPs, and evenkeel binds {} when missing, also \
                     while another host has them; remove from `vips` what that program moves, and write \
                     `bind: always` for the rest",
                    managers.join(" and "),
                    if managers.len() == 1 { "runs" } else { "run" },
                    some_of(&vips)
                )
            }
            Self::OtherLabel { bound, label, desired } => write!(
                f,
                "{bound} was bound by another program and keeps its label {label}; the spec says \
                 {desired}"
            ),
            Self::OtherValue { object, changes } => write!(
                f,
                "{} {object} was added by another program and keeps {}; the spec says {}",
                object.kind().name(),
                fields(changes, |change| &change.before),
                fields(changes, |change| &change.after)
            ),
            Self::AnsweredElsewhere { bound } => write!(
                f,
                "another program bound {bound}, and this real server answers for the VIP there, in place of \
                 the director; `ip address delete {}/{} dev {}` removes it",
                bound.address, bound.prefix, bound.interface
            ),
            Self::InterfaceDown { interface, vip } => {
                write!(
                    f,
                    "interface {interface} is down: {vip} gets no traffic through it until it is up"
                )
            }
            Self::Reordered { service, real_servers, is_teardown } => write!(
                f,
                "{service}: {} deleted and added again, to establish {}; packets of existing connections \
                 are dropped in between, and with net.ipv4.vs.expire_nodest_conn=1 the connections end",
                count(*real_servers, "real server"),
                if *is_teardown { "the earlier order" } else { "the order of the spec" },
            ),
            Self::DroppingDrains { is_teardown } => {
                write!(
                    f,
                    "{NODEST} is 0: after a drain, packets of remaining connections, and of clients \
                     that reuse a source port, are still assigned to the deleted real server and \
                     silently dropped; "
                )?;
                match is_teardown {
                    true => write!(f, "set {NODEST} to 1 during the teardown"),
                    false => write!(f, "write `{NODEST}: 1` under `sysctls`"),
                }
            }
            Self::MarkedConnections { vip, connections, services } => write!(
                f,
                "{} to {services}: those that use {vip} break when it is unbound",
                count(*connections, "connection")
            ),
            Self::SessionsUnread { vips, why } => {
                let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "it is not known whether unbinding {} breaks connections of programs on this host: {why}",
                    some_of(&vips)
                )
            }
            Self::TimeoutStays { field, seconds } => {
                write!(f, "timeout {field} is no longer in the spec and stays at {seconds} s")
            }
            Self::TimeoutsKept(kept) => {
                let kept = kept.iter().map(|it| format!("{} at {} s", it.field, it.seconds));
                write!(
                    f,
                    "timeouts stay, {}: their earlier values are not recorded; `ipvsadm --set` \
                     changes them",
                    kept.collect::<Vec<_>>().join(", ")
                )
            }
            Self::DeviceStays { interface, bound } => write!(
                f,
                "dummy device {interface} stays: another program bound {}/{} on it",
                bound.address, bound.prefix
            ),
            Self::RouteNotRestored { route, former, interface } => {
                write!(f, "the former default route {route}, {former}, is not restored: ")?;
                match interface {
                    Some(interface) => write!(f, "interface {interface} is missing or down"),
                    None => write!(
                        f,
                        "evenkeel's route in its place is gone, deleted by another program or with its \
                         interface"
                    ),
                }?;
                write!(f, "; `ip route` adds a route where one is needed")
            }
            Self::OtherGateway { family, gateway, is_missing, expected } => {
                let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
                let expected = expected.join(" or ");
                write!(
                    f,
                    "answers of a real server behind NAT must return through the director: the default \
                     route {family} "
                )?;
                match gateway {
                    Some(gateway) => write!(f, "is via {gateway}, not {expected}"),
                    None if *is_missing => write!(f, "does not exist and should be via {expected}"),
                    None => write!(f, "has no single gateway and should be via {expected}"),
                }?;
                write!(
                    f,
                    "; write `gateway: director` in the service, or change the route (routes to single \
                     networks were not checked)"
                )
            }
            Self::TunnelStays { interface, bound } => write!(
                f,
                "tunnel device {interface} stays up, because {}/{} stays bound on it",
                bound.address, bound.prefix
            ),
            Self::Untranslated(services) => write!(
                f,
                "the last services leave full NAT, which breaks the open connections of {}; to let them end, give \
                 the real servers weight 0 before",
                services.join(", ")
            ),
            Self::NotLocal(services) => write!(
                f,
                "no client reaches {} through this host: no interface that is up has the address, and no \
                 `local` route contains it; if evenkeel is to bind it, list it under `vips` with `bind: always`; \
                 if another program moves it, as on a VRRP backup, another host should have it now",
                some_of(services)
            ),
            Self::AllHeld(services) => write!(
                f,
                "new clients of {} are refused: health checks or overrides hold all of their real servers",
                some_of(services)
            ),
            Self::NoServers(services) => write!(
                f,
                "new clients of {} are refused: there is no real server with a positive weight; list one, or \
                 give one a positive weight",
                some_of(services)
            ),
            Self::OverrideExpired { target, until } => write!(
                f,
                "the override of `{target}` ended at {}; remove it from `overrides`",
                utc(*until)
            ),
            Self::MaintenanceNames { directory, names } => write!(
                f,
                "{directory}: no real server is named {}; name files after addresses, such as 10.0.0.5 or \
                 10.0.0.5:80",
                some_of(names)
            ),
            Self::MaintenanceUnread { directory, error } => write!(
                f,
                "the maintenance directory {directory} cannot be read ({error}); what it held stays in force"
            ),
            Self::VipWithheld { vip, service, is_starting: true } => write!(
                f,
                "{vip} is not bound yet: the first results of the checks of {service} are awaited"
            ),
            Self::VipWithheld { vip, service, is_starting: false } => {
                write!(f, "{vip} is not bound: {service} has no quorum (`vip: unbind`)")
            }
            Self::ConnectionsHang(services) => write!(
                f,
                "existing connections of {} to a real server that is down hang until they time out: \
                 net.ipv4.vs.expire_nodest_conn is 0; set it to 1 under `sysctls`",
                some_of(services)
            ),
            Self::PersistentClientsStay(services) => write!(
                f,
                "persistent clients of {} stay on a real server that is down until it is removed after \
                 `cut_after`: net.ipv4.vs.expire_quiescent_template is 0; set it to 1 under `sysctls`",
                some_of(services)
            ),
            Self::PartsStay(services) => write!(
                f,
                "the spec no longer lists this real server in {}: what the host has for that stays until \
                 you apply the spec without --target",
                services.join(", ")
            ),
            Self::LooserGuards(looser) => {
                let looser = looser.iter().map(|it| {
                    format!("`{}: {}` ({} judges this plan)", it.key, it.desired, it.judging)
                });
                write!(
                    f,
                    "looser guards apply from the next spec on, stricter ones at once: {}",
                    looser.collect::<Vec<_>>().join(", ")
                )
            }
            Self::GuardsNotJudged(guards) => {
                let names: Vec<&str> = guards.iter().map(|guard| guard.name()).collect();
                write!(
                    f,
                    "not judged, without the journal of the host: {}; `evenkeel plan` and `evenkeel \
                     apply` on the host judge every guard",
                    names.join(", ")
                )
            }
        }
    }
}
