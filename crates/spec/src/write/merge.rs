//! Decides which services are written as one.
//!
//! A service with several VIPs and ports is expanded to one for each. They are merged again here
//! if there is a list of real servers that expands to what each of them has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use evenkeel_model::{
    Drain, Family, Forward, HostValue, NamedService, Netmask, Protocol, RealServerKey, RealServers,
    ServiceConfig, ServiceKey, SourceNat, SourceNatValue,
};

use super::input::{WriteInput, name_of};
use super::service::{Entry, EntryAddress, Server};

type Member<'a> = (&'a ServiceKey, &'a NamedService);

/// The services to write, in the order of their first keys.
pub(super) fn entries(input: &WriteInput) -> Vec<Entry> {
    let mut groups: BTreeMap<&Arc<str>, Vec<Member<'_>>> = BTreeMap::new();
    for member in &input.services {
        groups.entry(&member.1.name).or_default().push(member);
    }
    let mut taken: BTreeSet<String> = groups.keys().map(ToString::to_string).collect();
    let mut entries: Vec<(ServiceKey, Entry)> = Vec::with_capacity(input.services.len());
    for (name, members) in groups {
        let shared = members.len() > 1 || input.shared.contains(name);
        let merged = if input.expanded && shared { None } else { merged(name, &members, input) };
        if let (Some(entry), Some((key, _))) = (merged, members.first()) {
            entries.push((**key, entry));
            continue;
        }
        for (key, named) in members {
            let own = free_name(format!("{name}-{}", name_of(key)), &mut taken);
            entries.push((*key, single(own, key, named, input)));
        }
    }
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// An unused name that does not exceed the length limit.
fn free_name(wanted: String, taken: &mut BTreeSet<String>) -> String {
    const LONGEST: usize = 64;
    let mut name = wanted.clone();
    name.truncate(LONGEST);
    let mut number = 2;
    while !taken.insert(name.clone()) {
        let tail = format!("-{number}");
        name = wanted.clone();
        name.truncate(LONGEST - tail.len());
        name.push_str(&tail);
        number += 1;
    }
    name
}

fn source(
    key: &ServiceKey,
    real_server: &RealServerKey,
    input: &WriteInput,
) -> Option<SourceNatValue> {
    let object = SourceNat { service: *key, real_server: *real_server }.into();
    match input.host_objects.get(&object)? {
        HostValue::SourceNat(value) => Some(*value),
        _ => None,
    }
}

fn single(name: String, key: &ServiceKey, named: &NamedService, input: &WriteInput) -> Entry {
    let target = match *key {
        ServiceKey::Fwmark { family, fwmark } => EntryAddress::Mark { family, fwmark },
        ServiceKey::Address { address, port, protocol } => {
            EntryAddress::Addresses { vips: vec![address], ports: vec![port], protocol }
        }
    };
    let servers = named.service.real_servers.in_order().map(|(server, real_server)| Server {
        address: server.address,
        port: (server.port != key.port()).then_some(server.port),
        real_server: *real_server,
        source: source(key, server, input),
    });
    Entry {
        name,
        target,
        config: named.service.config.clone(),
        ignore: named.ignore,
        canonical_order: named.canonical_order,
        drain: asked(named, input.drain),
        servers: servers.collect(),
    }
}

/// The drain that a spec has to write; `None` if it is the default.
fn asked(named: &NamedService, usual: Drain) -> Option<Drain> {
    Some(named.drain).filter(|drain| *drain != named.service.config.usual_drain(usual))
}

/// Merges all members into one service; `None` if no service of a spec expands to them.
fn merged(name: &str, members: &[Member<'_>], input: &WriteInput) -> Option<Entry> {
    let (first, named) = members.first()?;
    if members.len() == 1 {
        return Some(single(name.to_owned(), first, named, input));
    }
    let (mut vips, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (key, _) in members {
        let ServiceKey::Address { address, port, protocol } = key else { return None };
        if Some(*protocol) != protocol_of(first) {
            return None;
        }
        vips.insert(*address);
        ports.insert(*port);
    }
    let families: BTreeSet<Family> = vips.iter().map(|vip| Family::from(*vip)).collect();
    let common = common_config(&named.service.config, &families)?;
    let alike = members.iter().all(|(_, other)| {
        let config = common_config(&other.service.config, &families);
        config.as_ref() == Some(&common)
            && other.ignore == named.ignore
            && other.canonical_order == named.canonical_order
            && other.drain == named.drain
    });
    if !alike || vips.len() * ports.len() != members.len() {
        return None;
    }
    let servers = common_servers(members, input);
    let reached = members.iter().all(|(key, named)| {
        let expanded = expand(&servers, key);
        let has_sources = servers.iter().filter(|it| fits(it, key)).all(|server| {
            let port = server.port.unwrap_or(key.port());
            server.source == source(key, &RealServerKey { address: server.address, port }, input)
        });
        has_sources && expanded.in_order().eq(named.service.real_servers.in_order())
    });
    // A service has one source.
    let sources: BTreeSet<SourceNatValue> = servers.iter().filter_map(|it| it.source).collect();
    (reached && sources.len() < 2).then(|| Entry {
        name: name.to_owned(),
        target: EntryAddress::Addresses {
            vips: vips.into_iter().collect(),
            ports: ports.into_iter().collect(),
            protocol: protocol_of(first).unwrap_or(Protocol::Tcp),
        },
        config: named.service.config.clone(),
        ignore: named.ignore,
        canonical_order: named.canonical_order,
        drain: asked(named, input.drain),
        servers,
    })
}

fn protocol_of(key: &ServiceKey) -> Option<Protocol> {
    match key {
        ServiceKey::Address { protocol, .. } => Some(*protocol),
        ServiceKey::Fwmark { .. } => None,
    }
}

/// A configuration that can be written for all those families: with both, no netmask is possible.
fn common_config(config: &ServiceConfig, families: &BTreeSet<Family>) -> Option<ServiceConfig> {
    let mut config = config.clone();
    if let Some(persistence) = config.persistence.as_mut().filter(|_| families.len() > 1) {
        if persistence.netmask != Netmask::host(persistence.netmask.family()) {
            return None;
        }
        persistence.netmask = Netmask::host(Family::Ipv4);
    }
    Some(config)
}

/// A list that may expand to what every member has: the lists of the first IPv4 and the first
/// IPv6 member, merged at the real servers that both have.
fn common_servers(members: &[Member<'_>], input: &WriteInput) -> Vec<Server> {
    let of = |family: Family| {
        let mut ours = members.iter().filter(|(key, _)| key.family() == family);
        ours.next().map_or_else(Vec::new, |member| expressible(member, members, input))
    };
    let (ipv4, ipv6) = (of(Family::Ipv4), of(Family::Ipv6));
    let mut rest = ipv6.as_slice();
    let mut servers = Vec::with_capacity(ipv4.len() + ipv6.len());
    for server in ipv4 {
        if let Some(position) = rest.iter().position(|other| *other == server) {
            servers.extend_from_slice(&rest[..position]);
            rest = &rest[position + 1..];
        }
        servers.push(server);
    }
    servers.extend_from_slice(rest);
    servers
}

/// The real servers of a member. Each has the service's port if it has that in every member of
/// the family, else its own.
fn expressible(
    (key, named): &Member<'_>,
    members: &[Member<'_>],
    input: &WriteInput,
) -> Vec<Server> {
    let family = key.family();
    let follows = |address: IpAddr| {
        members.iter().filter(|(key, _)| key.family() == family).all(|(key, named)| {
            let at = RealServerKey { address, port: key.port() };
            named.service.real_servers.get(&at).is_some()
        })
    };
    let server = |(server, real_server): (&RealServerKey, &evenkeel_model::RealServer)| {
        let follows = server.port == key.port() && follows(server.address);
        let port = (!follows).then_some(server.port);
        let source = source(key, server, input);
        Server { address: server.address, port, real_server: *real_server, source }
    };
    named.service.real_servers.in_order().map(server).collect()
}

/// Expands the list for a service, by the rules of the spec.
fn expand(servers: &[Server], key: &ServiceKey) -> RealServers {
    let keyed = |server: &Server| {
        let port = server.port.unwrap_or(key.port());
        (RealServerKey { address: server.address, port }, server.real_server)
    };
    servers.iter().filter(|it| fits(it, key)).map(keyed).collect()
}

/// Whether a service has that real server of a list.
fn fits(server: &Server, key: &ServiceKey) -> bool {
    matches!(server.real_server.forward, Forward::Tun(_))
        || Family::from(server.address) == key.family()
}
