//! Resolves the list of gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::Gateway;

use super::Directors;
use super::own_addresses::{OwnAddresses, own_addresses};
use crate::path::{At, Path};
use crate::resolve::Diagnostics;
use crate::spec::{GatewayEntry, Name, Spec};

/// The gateways in the order of the spec.
#[derive(Default)]
pub(crate) struct Gateways {
    list: Vec<Listed>,
    /// Where the first list is; `None` if there is none.
    at: Option<Path>,
}

struct Listed {
    name: Box<str>,
    at: Path,
    /// The addresses, with their places.
    addresses: BTreeMap<IpAddr, Path>,
}

impl Gateways {
    /// Reads the lists of all sources. Without directors there are no gateways.
    pub(crate) fn collect(
        sources: &[(At<'_>, &Spec)],
        directors: &Directors,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut gateways = Self::default();
        for (root, spec) in sources {
            let at = root.key("gateways");
            if !spec.gateways.is_absent() && !directors.is_written() {
                diagnostics.error(&at, "the spec lists no `directors`").at_key().remedy(
                    "list them with their MAC addresses: a gateway sends packets for VIPs to them",
                );
                continue;
            }
            let Some(list) = spec.gateways.value() else { continue };
            gateways.at.get_or_insert_with(|| at.path());
            if list.0.is_empty() {
                diagnostics
                    .error(&at, "the list of gateways is empty")
                    .remedy("list at least one, or remove `gateways`");
            }
            for (index, entry) in list.values() {
                gateways.add(entry, directors, &at.item(index), diagnostics);
            }
        }
        gateways
    }

    fn add(
        &mut self,
        entry: &GatewayEntry,
        directors: &Directors,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let GatewayEntry { name, addresses } = entry;
        if name.is_absent() {
            diagnostics
                .error(at, "the gateway has no `name`")
                .remedy("give it one, such as `name: r1`");
        }
        let taken =
            |address: &IpAddr| self.list.iter().find_map(|it| it.addresses.get(address)).cloned();
        let OwnAddresses { addresses, is_doubtful: _ } =
            own_addresses(addresses, "gateway", taken, at, diagnostics);
        for (address, at) in &addresses {
            if let Some(director) = directors.place_of(address) {
                diagnostics
                    .error(at.clone(), format!("{address} is the address of a director, too"))
                    .remedy(SEPARATE)
                    .related(director, "the director");
            }
        }
        let Some(Name(name)) = name.value() else { return };
        let at = at.key("name");
        if let Some(first) = self.list.iter().find(|it| it.name == *name) {
            diagnostics
                .error(&at, format!("the gateway `{name}` is listed twice"))
                .remedy("keep one of them, or give each its own name")
                .related(first.at.clone(), "first written here");
            return;
        }
        self.list.push(Listed { name: name.clone(), at: at.path(), addresses });
    }

    pub(super) fn list(&self) -> Vec<Gateway> {
        let gateway = |it: &Listed| Gateway {
            name: it.name.clone(),
            addresses: it.addresses.keys().copied().collect(),
        };
        self.list.iter().map(gateway).collect()
    }

    /// Reports addresses of gateways that are VIPs or those of real servers.
    pub(super) fn check_addresses(
        &self,
        vips: &BTreeSet<IpAddr>,
        real_servers: &BTreeSet<IpAddr>,
        diagnostics: &mut Diagnostics,
    ) {
        for Listed { name, addresses, .. } in &self.list {
            for (address, at) in addresses {
                if vips.contains(address) {
                    diagnostics
                        .error(at.clone(), format!("{address} of the gateway `{name}` is a VIP"))
                        .remedy("list the addresses that only this host has, and no VIP");
                } else if real_servers.contains(address) {
                    diagnostics
                        .error(
                            at.clone(),
                            format!("{address} of the gateway `{name}` is a real server's address"),
                        )
                        .remedy(SEPARATE);
                }
            }
        }
    }

    /// Checks that each director that binds VIPs has a MAC address. `of_vips` are the names of these
    /// directors.
    pub(super) fn check_directors(
        &self,
        directors: &Directors,
        of_vips: &BTreeSet<&str>,
        diagnostics: &mut Diagnostics,
    ) {
        let Some(at) = self.at.clone().filter(|_| !self.list.is_empty()) else { return };
        for name in of_vips {
            directors.check_mac(name, diagnostics);
        }
        if of_vips.is_empty() {
            diagnostics
                .warning(at, "gateways get nothing, as `vips` lists no VIP")
                .remedy(
                    "list the VIPs that evenkeel binds; or remove `gateways`, if another program binds and \
                     announces them (VRRP, BGP)",
                );
        }
    }
}

const SEPARATE: &str = "a gateway is a host of its own, and neither a director nor a real server: remove the \
                        address from one of the lists";
