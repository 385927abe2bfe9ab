//! The gateway of real servers under NAT: one for each, and the director that knows the connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    Binding, Cluster, Desired, FORWARDING, FORWARDING_IPV6, Family, Forward, ServiceKey,
};

use super::service_entry::{Entry, Listed};
use crate::path::Path;
use crate::resolve::Diagnostics;

impl Entry {
    /// Checks that each real server has one gateway.
    pub(super) fn check_gateways(
        &self,
        listed: &[Listed<'_>],
        gateways: &mut BTreeMap<IpAddr, (IpAddr, Path)>,
        diagnostics: &mut Diagnostics,
    ) {
        if self.side.gateway.is_empty() {
            return;
        }
        let at = self.at.clone().then(crate::path::Step::Key("gateway"));
        let nat = listed.iter().filter(|it| it.needs_return_path());
        for address in nat.map(|it| it.address).collect::<BTreeSet<_>>() {
            let Some(gateway) = self.side.gateway(address) else {
                let family = Family::from(address);
                diagnostics
                    .error(at.clone(), format!("the gateway has no {family} address for {address}"))
                    .remedy("list its address on the network of the real server under `directors`");
                return;
            };
            match gateways.get(&address) {
                Some((other, first)) if *other != gateway => {
                    diagnostics
                        .error(at.clone(), format!("{address} would have two gateways: {other} and {gateway}"))
                        .remedy("a real server has one default route: use the same gateway in all services")
                        .related(first.clone(), "the other service");
                    return;
                }
                Some(_) => {}
                None => drop(gateways.insert(address, (gateway, self.at.clone()))),
            }
        }
    }

    /// Checks that the gateway is no real server, and that answers pass the director that binds the VIP:
    /// no other one knows the connection.
    pub(super) fn check_gateway_host(
        &self,
        listed: &[Listed<'_>],
        cluster: &Cluster,
        on: &BTreeMap<Binding, Box<str>>,
        diagnostics: &mut Diagnostics,
    ) {
        let at = self.at.clone().then(crate::path::Step::Key("gateway"));
        let nat = listed.iter().filter(|it| it.needs_return_path());
        for Listed { service, address, .. } in nat {
            let Some(gateway) = self.side.gateway(*address) else { continue };
            let director = cluster.directors.iter().find(|it| it.addresses.contains(&gateway));
            let Some(director) = director else {
                if cluster.real_servers.contains(&gateway) {
                    diagnostics
                        .error(at, format!("the gateway {gateway} is a real server's own address"))
                        .remedy(
                            "write `director`, the name of a director, or the address of a router",
                        );
                    return;
                }
                continue;
            };
            let Some(vip) = service.vip() else { continue };
            let of_vip = || on.iter().filter(move |(binding, _)| binding.address == vip);
            if let Some((_, bound)) = of_vip().next()
                && !of_vip().any(|(_, name)| *name == director.name)
            {
                diagnostics
                    .error(
                        at,
                        format!(
                            "the gateway is the director `{}`, and the VIP {vip} is on `{bound}`",
                            director.name
                        ),
                    )
                    .remedy(format!(
                        "answers pass the director that knows the connection: write `gateway: {bound}`"
                    ));
                return;
            }
        }
    }

    /// Warns where the default route that NAT needs takes away the answers of DR and TUN: the director
    /// drops IPv4 packets whose source is its own VIP (`fib_validate_source`).
    pub(super) fn warn_of_direct_answers(
        &self,
        listed: &[Listed<'_>],
        cluster: &Cluster,
        answering: &BTreeMap<IpAddr, ServiceKey>,
        diagnostics: &mut Diagnostics,
    ) {
        let nat = listed.iter().filter(|it| it.needs_return_path());
        let is_directors =
            |gateway: &IpAddr| cluster.directors.iter().any(|it| it.addresses.contains(gateway));
        let mut of_director =
            nat.filter(|it| self.side.gateway(it.address).is_some_and(|it| is_directors(&it)));
        let found = of_director.find_map(|it| Some((it.address, answering.get(&it.address)?)));
        let Some((address, other)) = found else { return };
        let at = self.at.clone().then(crate::path::Step::Key("gateway"));
        diagnostics
            .warning(
                at,
                format!(
                    "by this default route, answers of {address} for {other} reach the director, too, which \
                     drops packets from its own VIP"
                ),
            )
            .remedy(
                "use one forwarding method for all services of a real server; only clients on its own \
                 network get answers of the other one",
            );
    }

    /// Warns where the spec keeps directors from forwarding what NAT needs.
    pub(super) fn warn_of_no_forwarding(
        &self,
        listed: &[Listed<'_>],
        sysctls: &BTreeMap<Box<str>, Box<str>>,
        diagnostics: &mut Diagnostics,
    ) {
        let has = |is_ipv4: bool| {
            let mut nat = listed.iter().filter(|it| it.real_server.forward == Forward::Nat);
            nat.any(|it| it.address.is_ipv4() == is_ipv4)
        };
        let of_ipv4 = FORWARDING.iter().filter(|_| has(true));
        let of_ipv6 = [FORWARDING_IPV6].into_iter().filter(|_| has(false));
        for key in of_ipv4.copied().chain(of_ipv6) {
            if sysctls.get(key).is_some_and(|value| **value == *"0") {
                let message =
                    format!("with `{key}: 0` under `sysctls`, directors forward no answers");
                diagnostics
                    .warning(self.at.clone(), message)
                    .remedy("remove it from `sysctls`, or set it to 1: NAT needs it");
            }
        }
    }
}

/// The real servers that answer clients themselves from an IPv4 VIP, each with one of the services.
pub(super) fn answering_directly(whole: &Desired) -> BTreeMap<IpAddr, ServiceKey> {
    let mut found = BTreeMap::new();
    for (key, named) in &whole.services {
        let direct = named.with_fallback();
        let direct = direct.filter(|(_, it)| matches!(it.forward, Forward::Dr | Forward::Tun(_)));
        for (real_server, _) in direct.filter(|_| key.vip().is_some_and(|vip| vip.is_ipv4())) {
            found.entry(real_server.address).or_insert(*key);
        }
    }
    found
}
