//! What services say about their real servers as hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{
    Binding, Checksum, Cluster, Desired, Family, Forward, NamedService, RealServer, ServiceKey,
    TunnelKind, Vip,
};

use super::Directors;
use super::real_server::device;
use super::return_path::answering_directly;
use super::service_entry::{Entry, Listed, OnRealServers};
use crate::path::{At, Path};
use crate::resolve::scope::Merged;
use crate::resolve::{Diagnostics, not_unicast};
use crate::spec::{ArpMethod, OnRealServers as Written, Service};
use crate::suggest::quote;

/// The services of a spec with what concerns roles, as they are written.
#[derive(Default)]
pub(crate) struct ServiceRoles {
    /// Whether the spec lists directors.
    has_directors: bool,
    /// For services without an arp.
    arp: ArpMethod,
    entries: Vec<Entry>,
}

impl ServiceRoles {
    pub(crate) fn new(directors: &Directors, arp: ArpMethod) -> Self {
        Self { has_directors: directors.is_written(), arp, entries: Vec::new() }
    }

    /// Reads the keys of a service that concern roles.
    pub(crate) fn add(
        &mut self,
        service: &Service,
        keys: impl FnOnce() -> Vec<ServiceKey>,
        at: &At<'_>,
        directors: &Directors,
        scope: &Merged,
        diagnostics: &mut Diagnostics,
    ) {
        let (has_side, has_gateway, has_arp) = (
            !service.on_real_servers.is_absent(),
            !service.gateway.is_absent(),
            !service.arp.is_absent(),
        );
        let arp = service.arp.value().map_or(self.arp, |word| word.0);
        let is_plain = !has_side && !has_gateway && !has_arp && arp == ArpMethod::Sysctls;
        if !self.has_directors && is_plain {
            return;
        }
        let mut side = OnRealServers { arp, ..OnRealServers::default() };
        if let Some(written) = service.on_real_servers.value() {
            let at = at.key("on_real_servers");
            side.label = written.label.value().map(|label| label.0.clone());
            side.route = written.route.value().is_some_and(|flag| flag.0);
            side.vips = vips(written, service, &at, scope, diagnostics);
        }
        if let Some(gateway) = service.gateway.value() {
            let found = directors.gateway(gateway, &at.key("gateway"), diagnostics);
            side.gateway = found.unwrap_or_default();
        }
        self.entries.push(Entry {
            at: at.path(),
            keys: keys(),
            side,
            has_side,
            has_gateway,
            has_arp,
        });
    }

    /// The VIPs of services, as far as they are known.
    pub(super) fn vips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let of_keys =
            |entry: &Entry| entry.keys.iter().filter_map(ServiceKey::vip).collect::<Vec<_>>();
        self.entries.iter().flat_map(move |it| of_keys(it).into_iter().chain(it.side.vips.clone()))
    }

    /// Checks the services against the real servers that they have, and returns what those get.
    pub(super) fn finish(
        self,
        whole: &Desired,
        cluster: &Cluster,
        on: &BTreeMap<Binding, Box<str>>,
        diagnostics: &mut Diagnostics,
    ) -> BTreeMap<ServiceKey, OnRealServers> {
        let mut labels: BTreeMap<Binding, (Option<Box<str>>, Path)> = BTreeMap::new();
        let mut gateways: BTreeMap<IpAddr, (IpAddr, Path)> = BTreeMap::new();
        let mut sides = BTreeMap::new();
        let answering = answering_directly(whole);
        for entry in self.entries {
            let of = |key: &ServiceKey| whole.services.get(key).map(NamedService::with_fallback);
            let listed: Vec<Listed<'_>> = entry
                .keys
                .iter()
                .flat_map(|service| {
                    of(service).into_iter().flatten().map(|(it, real_server)| Listed {
                        service: *service,
                        address: it.address,
                        real_server,
                        is_full_nat: whole.is_full_nat(service, it),
                    })
                })
                .collect();
            entry.check_use(&listed, self.has_directors, diagnostics);
            entry.check_labels(&listed, &mut labels, diagnostics);
            entry.check_arp(&listed, diagnostics);
            entry.check_gateways(&listed, &mut gateways, diagnostics);
            entry.check_gateway_host(&listed, cluster, on, diagnostics);
            if self.has_directors {
                entry.warn_of_direct_answers(&listed, cluster, &answering, diagnostics);
                entry.warn_of_no_forwarding(&listed, &whole.sysctls, diagnostics);
            }
            if self.has_directors {
                let vips = entry
                    .keys
                    .iter()
                    .filter_map(ServiceKey::vip)
                    .chain(entry.side.vips.iter().copied());
                let own = vips.collect::<BTreeSet<_>>();
                for vip in own.intersection(&cluster.real_servers) {
                    diagnostics
                        .error(
                            entry.at.clone(),
                            format!("the VIP {vip} is a real server's own address"),
                        )
                        .remedy(
                            "a VIP is an address that no host has for itself: choose another one",
                        );
                }
            }
            if entry.side != OnRealServers::default() {
                sides.extend(entry.keys.iter().map(|key| (*key, entry.side.clone())));
            }
        }
        sides
    }
}

impl Entry {
    /// Reports keys without any real server that they are for.
    fn check_use(&self, listed: &[Listed<'_>], has_directors: bool, diagnostics: &mut Diagnostics) {
        let has_vip =
            listed.iter().any(|it| matches!(it.real_server.forward, Forward::Dr | Forward::Tun(_)));
        let has_nat = listed.iter().any(|it| it.real_server.forward == Forward::Nat);
        let needs_gateway = listed.iter().any(Listed::needs_return_path);
        let is_marked = self.keys.iter().any(|key| matches!(key, ServiceKey::Fwmark { .. }));
        let at = |key| self.at.clone().then(crate::path::Step::Key(key));
        if self.has_side && !has_vip && has_nat {
            diagnostics
                .error(at("on_real_servers"), "real servers under NAT get no VIP")
                .at_key()
                .remedy("remove `on_real_servers`; it is for dr and tun");
        }
        let has_full_nat = listed.iter().any(|it| it.is_full_nat);
        if self.has_gateway && has_full_nat && !needs_gateway {
            diagnostics
                .error(at("gateway"), "`gateway` is only for `forward: nat`")
                .at_key()
                .remedy(
                    "remove it: under full NAT, real servers answer to the director's own address",
                );
        }
        if self.has_gateway && !has_nat && has_vip {
            diagnostics
                .error(at("gateway"), "`gateway` is only for `forward: nat`")
                .at_key()
                .remedy("remove it: under dr and tun, answers do not pass the director");
        }
        if has_directors && listed.iter().any(|it| has_gre_checksum(it.real_server)) {
            let message = "real servers drop GRE packets with a checksum: the kernel's gre0 and ip6gre0 \
                           accept only those without";
            diagnostics
                .error(self.at.clone(), message)
                .remedy("write `checksum: none`, or use `type: gue`, which accepts all checksums");
        }
        if has_directors && is_marked && has_vip && self.side.vips.is_empty() && !self.has_side {
            diagnostics
                .warning(
                    at("fwmark"),
                    "real servers get no VIP for this service, as a mark has no address",
                )
                .remedy(
                    "list the addresses of the marked packets: `on_real_servers: { vips: [...] }`",
                );
        }
    }

    /// Checks that ARP rules have an address that real servers are known by in place of the VIP.
    fn check_arp(&self, listed: &[Listed<'_>], diagnostics: &mut Diagnostics) {
        if !self.has_arp {
            return;
        }
        let at = self.at.clone().then(crate::path::Step::Key("arp"));
        let vips =
            self.keys.iter().filter_map(ServiceKey::vip).chain(self.side.vips.iter().copied());
        let forwards = |forward: Forward| matches!(forward, Forward::Dr | Forward::Tun(_));
        if !listed.is_empty() && !listed.iter().any(|it| forwards(it.real_server.forward)) {
            diagnostics
                .error(at, "`arp` is only for real servers under dr and tun")
                .at_key()
                .remedy("remove it: under NAT, real servers have no VIP to hide");
            return;
        }
        if !vips.clone().any(|vip| vip.is_ipv4()) && self.side.arp == ArpMethod::Arptables {
            diagnostics.error(at, "`arp` is only for IPv4 VIPs").remedy(
                "remove it: real servers do not announce IPv6 VIPs on `lo` and tunnel devices",
            );
            return;
        }
        let by_rules = listed.iter().filter(|_| self.side.arp == ArpMethod::Arptables);
        for Listed { service, address, real_server, .. } in by_rules {
            let vips = service.vip().into_iter().chain(self.side.vips.iter().copied());
            let has_device =
                |vip: IpAddr| vip.is_ipv4() && device(real_server.forward, vip, *address).is_some();
            if address.is_ipv6() && vips.into_iter().any(has_device) {
                diagnostics
                    .error(
                        at,
                        format!("{address} is no IPv4 address, and ARP rules need one in place of the VIP"),
                    )
                    .remedy("list the real server by its IPv4 address, or write `arp: sysctl`");
                return;
            }
        }
    }

    /// Checks that a label fits the device that the real servers bind the VIP on, and that no two services
    /// ask for different ones.
    fn check_labels(
        &self,
        listed: &[Listed<'_>],
        labels: &mut BTreeMap<Binding, (Option<Box<str>>, Path)>,
        diagnostics: &mut Diagnostics,
    ) {
        let at = self.at.clone().then(crate::path::Step::Key("on_real_servers"));
        let at = at.then(crate::path::Step::Key("label"));
        let mut reported = BTreeSet::new();
        for Listed { service, address, real_server, .. } in listed {
            let vips = service.vip().into_iter().chain(self.side.vips.iter().copied());
            for vip in vips {
                let Some(device) = device(real_server.forward, vip, *address) else { continue };
                let label = self.side.label.clone().filter(|_| vip.is_ipv4());
                if let Some(label) = &label
                    && !Vip::is_label(label, device)
                    && reported.insert(device)
                {
                    diagnostics
                        .error(at.clone(), format!("{} cannot be a label on {device}", quote(label)))
                        .remedy(format!(
                            "real servers bind the VIP on {device}: write a label such as `{device}:0`"
                        ));
                }
                let Some(label) = label else { continue };
                let binding = Binding::host(vip, device);
                match labels.get(&binding) {
                    Some((Some(other), first)) if *other != label && reported.insert("") => {
                        diagnostics
                            .error(at.clone(), format!("{vip} has two labels on real servers"))
                            .remedy("give it one label in all services that have one")
                            .related(first.clone(), "the other service");
                    }
                    Some(_) => {}
                    None => drop(labels.insert(binding, (Some(label), self.at.clone()))),
                }
            }
        }
    }
}

/// Whether the packets have a checksum that the device which the kernel makes for GRE does not accept, and
/// that cannot be set on it (`ip_tunnel_rcv`, `ip_tunnel_changelink`).
fn has_gre_checksum(real_server: &RealServer) -> bool {
    match real_server.forward {
        Forward::Tun(tunnel) => tunnel.kind == TunnelKind::Gre && tunnel.checksum != Checksum::None,
        _ => false,
    }
}

/// The addresses of the packets of a service on a firewall mark.
fn vips(
    written: &Written,
    service: &Service,
    at: &At<'_>,
    scope: &Merged,
    diagnostics: &mut Diagnostics,
) -> BTreeSet<IpAddr> {
    let at = at.key("vips");
    let Some(list) = written.vips.value() else { return BTreeSet::new() };
    if service.fwmark.is_absent() {
        diagnostics
            .error(&at, "`vips` is only for a service on a firewall mark")
            .at_key()
            .remedy("remove it: real servers bind the service's own VIPs");
        return BTreeSet::new();
    }
    let family = service.family.value().map(|word| word.0);
    let mut vips = BTreeSet::new();
    for (index, address) in list.values() {
        let (at, address) = (at.item(index), address.0);
        if let Some(why) = not_unicast(address) {
            diagnostics.error(&at, format!("{address} {why}")).remedy("a VIP is a unicast address");
        } else if family.is_some_and(|family| family != Family::from(address)) {
            diagnostics
                .error(&at, format!("{address} is not of the service's family"))
                .remedy("list addresses of its `family`");
        } else if scope.excludes(address) {
            diagnostics
                .error(&at, format!("{address} is outside the spec's own scope"))
                .remedy("add it to `scope`, or remove the VIP")
                .related(scope.written.clone(), "the scope");
        } else {
            vips.insert(address);
        }
    }
    vips
}
