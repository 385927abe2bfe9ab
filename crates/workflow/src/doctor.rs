//! Examines a host: reads what the checks of `evenkeel-doctor` need, once, asks neighbours if that is wanted,
//! and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_doctor::{
    Answers, Facts, Finding, LinkFacts, Listener, NotChecked, PacketFilter, Port, Question,
    RouteFacts, RouteLookup, Writer, check, destinations, families_with_packet_filter, not_checked,
    questions, sysctl_keys,
};
use evenkeel_engine::{Kernel, KernelError, error_chain};
use evenkeel_host::{
    self as host, Address, AddressFlags, DefaultRoute, Host, KnownWriter, Link, NeighbourAnswers,
    NeighbourQuestion,
};
use evenkeel_model::{Binding, Cluster, Desired, Family, MacAddress, Protocol};
use evenkeel_plan::ClockReading;
use evenkeel_plan::released_vips;

use crate::error::WorkflowError;
use crate::event::EventSink;
use crate::host::Session;
use crate::last_applied::NewSpec;
use crate::planning::PlannedHost;

/// What a host is examined for.
pub struct ExamineRequest<'a> {
    /// What the spec asks of it.
    pub desired: Desired,
    /// The texts of the spec.
    pub new: NewSpec<'a>,
    /// The hosts that the spec lists; `None` if it lists no directors.
    pub cluster: Option<Cluster>,
    /// Whether to ask neighbours for real servers, VIPs and directors, which takes about a second and needs
    /// CAP_NET_RAW.
    pub probe: bool,
    /// The time of the plan.
    pub now: ClockReading,
}

/// A host that was examined.
#[derive(Debug)]
pub struct Examination {
    /// What keeps traffic from flowing, in the order of the codes.
    pub findings: Vec<Finding>,
    /// The checks that could not be made.
    pub not_checked: Vec<NotChecked>,
    /// What the spec asks of it, with what stays for services that it leaves.
    pub desired: Desired,
    /// What the last applied spec asked for, if it was read.
    pub last: Option<Desired>,
}

/// Examines the host of a session, in the calling thread's network namespace.
///
/// # Errors
/// The kernel cannot be read.
pub fn examine<K: Kernel>(
    session: &mut Session<K>,
    request: ExamineRequest<'_>,
    events: &mut dyn EventSink,
) -> Result<Examination, WorkflowError> {
    let ExamineRequest { desired, new, cluster, probe, now } = request;
    let planned = PlannedHost::for_host(session, desired, new, &[], &now, events)?;
    let PlannedHost { plan, desired, live, last, .. } = planned;
    let failed = |error: host::Error| {
        WorkflowError::Kernel(KernelError::Failed {
            tried: "examining the host",
            source: error.into(),
        })
    };
    let host = Host::connect().map_err(failed)?;
    let released = released_vips(&desired, &live, &session.journal.record);
    let released_vips = released.into_iter().cloned().collect();
    let steps = plan.steps;
    let mut facts = Facts { desired, live, steps, released_vips, cluster, ..Facts::default() };
    read_host(&host, &mut facts).map_err(failed)?;
    if probe {
        facts.answers = Some(ask(&host, questions(&facts)));
    }
    let findings = check(&facts);
    let not_checked = not_checked(&facts);
    Ok(Examination { findings, not_checked, desired: facts.desired, last })
}

/// Asks neighbours. Where that is not possible, the answers say why.
fn ask(host: &Host, questions: BTreeSet<Question>) -> BTreeMap<Question, Answers> {
    let asked = questions.iter().map(|Question { address, interface }| NeighbourQuestion {
        address: *address,
        interface: (**interface).into(),
    });
    match host.ask_neighbours(&asked.collect()) {
        Ok(answers) => answers
            .into_iter()
            .map(|(NeighbourQuestion { address, interface }, answers)| {
                let answers = match answers {
                    NeighbourAnswers::From(hosts) => {
                        Answers::From(hosts.into_iter().map(MacAddress).collect())
                    }
                    NeighbourAnswers::NotAsked(reason) => {
                        Answers::NotAsked(reason.to_string().into())
                    }
                };
                (Question { address, interface: interface.into() }, answers)
            })
            .collect(),
        Err(error) => {
            let reason: Box<str> = error_chain(&error).into();
            questions.into_iter().map(|it| (it, Answers::NotAsked(reason.clone()))).collect()
        }
    }
}

/// Reads what a plan does not read of the host, for what the spec asks of it.
fn read_host(host: &Host, facts: &mut Facts) -> Result<(), host::Error> {
    let links = host.links()?;
    facts.links = links.iter().map(|link| (link.name.as_str().into(), link_facts(link))).collect();
    let routes = host.route_lookups(&destinations(&facts.desired))?.into_iter();
    facts.routes = routes.map(|(address, found)| (address, route_lookup(found))).collect();
    facts.default_gateways = default_gateways(&host.default_routes()?);
    for key in sysctl_keys(facts.links.keys().map(|name| &**name)) {
        if let host::SysctlReading::Value { value, is_fixed: _ } = host::read_sysctl(&key)? {
            facts.sysctls.insert(key, value.into());
        }
    }
    let modules = host::installed_modules()?;
    facts.modules = modules.map(|names| names.into_iter().map(Into::into).collect());
    facts.writers = host::known_writers().into_iter().map(writer).collect();
    facts.listeners = listeners(host::wildcard_listeners()?);
    for family in families_with_packet_filter(&facts.desired, &facts.sysctls) {
        let found = host::packet_filter(family == Family::Ipv6)?;
        facts.packet_filters.insert(family, packet_filter(found));
    }
    let secondary = host.addresses()?.into_iter().filter(is_secondary);
    facts.secondary = secondary
        .map(|it| Binding { prefix: it.prefix, ..Binding::host(it.address, &it.interface) })
        .collect();
    let static_neighbours = host.neighbours()?.into_iter();
    facts.static_neighbours = static_neighbours
        .map(|it| Question { address: it.address, interface: it.interface.into() })
        .collect();
    Ok(())
}

/// Whether the kernel deletes an address with another one. In IPv6 the flag has another meaning.
fn is_secondary(address: &Address) -> bool {
    address.address.is_ipv4() && address.flags.contains(AddressFlags::SECONDARY)
}

/// The gateways of the default routes with the lowest metrics.
fn default_gateways(routes: &[DefaultRoute]) -> BTreeMap<Family, IpAddr> {
    let of = |family: Family| {
        let routes = routes.iter().filter(move |it| it.is_ipv6() == (family == Family::Ipv6));
        let used = routes.min_by_key(|route| route.metric)?;
        used.gateway.map(|gateway| (family, gateway))
    };
    [Family::Ipv4, Family::Ipv6].into_iter().filter_map(of).collect()
}

fn listeners(found: host::Listeners) -> BTreeMap<Port, Listener> {
    let host::Listeners { tcp, udp } = found;
    let of = |protocol: Protocol| {
        move |(number, host::Listener { ipv4, ipv6 }): (u16, host::Listener)| {
            (Port { protocol, number }, Listener { ipv4, ipv6 })
        }
    };
    tcp.into_iter().map(of(Protocol::Tcp)).chain(udp.into_iter().map(of(Protocol::Udp))).collect()
}

fn packet_filter(found: host::PacketFilter) -> PacketFilter {
    match found {
        host::PacketFilter::Rules(lines) => {
            PacketFilter::Rules(lines.into_iter().map(Into::into).collect())
        }
        host::PacketFilter::NotRead { reason } => PacketFilter::NotRead(reason.into()),
    }
}

fn link_facts(link: &Link) -> LinkFacts {
    LinkFacts {
        is_up: link.up,
        is_running: link.running,
        has_neighbours: link.ethernet && !link.no_arp && !link.is_dummy(),
        mtu: link.mtu,
    }
}

fn route_lookup(found: host::RouteLookup) -> RouteLookup {
    match found {
        host::RouteLookup::Local => RouteLookup::Local,
        host::RouteLookup::Unreachable => RouteLookup::Unreachable,
        host::RouteLookup::Through { interface, gateway, mtu } => {
            RouteLookup::Route(RouteFacts { interface: interface.into(), gateway, mtu })
        }
    }
}

fn writer(found: KnownWriter) -> Writer {
    match found {
        KnownWriter::KubeProxy => Writer::KubeProxy,
        KnownWriter::Keepalived => Writer::Keepalived,
        KnownWriter::Ldirectord => Writer::Ldirectord,
        KnownWriter::Pacemaker => Writer::Pacemaker,
        KnownWriter::KubeVip => Writer::KubeVip,
        KnownWriter::Vrrpd => Writer::Vrrpd,
        KnownWriter::Networkd => Writer::Networkd,
    }
}
