//! Resolves the list of directors.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{Binding, Director, DirectorMac};

use super::own_addresses::{OwnAddresses, is_link_local, own_addresses};
use crate::path::{At, Path};
use crate::resolve::{Diagnostics, not_unicast};
use crate::spec::{DirectorEntry, Gateway, Name, Spec};
use crate::suggest;

/// The directors in the order of the spec.
#[derive(Default)]
pub(crate) struct Directors {
    list: Vec<Listed>,
    /// Whether some of them could not be read.
    is_doubtful: bool,
    /// Whether any source has the key.
    is_written: bool,
}

struct Listed {
    name: Box<str>,
    at: Path,
    /// The addresses, with their places.
    addresses: BTreeMap<IpAddr, Path>,
    mac: Option<ListedMac>,
    /// Whether the MAC address could not be read, which is reported.
    is_mac_bad: bool,
}

struct ListedMac {
    mac: DirectorMac,
    at: Path,
}

impl Directors {
    pub(crate) fn collect(sources: &[(At<'_>, &Spec)], diagnostics: &mut Diagnostics) -> Self {
        let mut directors = Self::default();
        for (root, spec) in sources {
            let at = root.key("directors");
            directors.is_written |= !spec.directors.is_absent();
            directors.is_doubtful |= spec.directors.is_bad();
            let Some(list) = spec.directors.value() else { continue };
            directors.is_doubtful |= list.has_bad();
            if list.0.is_empty() {
                diagnostics.error(&at, "the list of directors is empty").remedy(
                    "list at least one, or remove `directors`: every host is then a director",
                );
            }
            for (index, entry) in list.values() {
                directors.add(entry, &at.item(index), diagnostics);
            }
        }
        directors
    }

    fn add(&mut self, entry: &DirectorEntry, at: &At<'_>, diagnostics: &mut Diagnostics) {
        let DirectorEntry { name, addresses, mac } = entry;
        if name.is_absent() {
            diagnostics
                .error(at, "the director has no `name`")
                .remedy("give it one, such as `name: lb1`");
        }
        let taken = |address: &IpAddr| self.place_of(address);
        let own = own_addresses(addresses, "director", taken, at, diagnostics);
        let OwnAddresses { addresses, is_doubtful } = own;
        self.is_doubtful |= name.is_bad() || is_doubtful;
        let is_mac_bad = mac.is_bad();
        let mac = mac.value().map(|mac| ListedMac { mac: mac.0, at: at.key("mac").path() });
        let Some(Name(name)) = name.value() else { return };
        let at = at.key("name");
        if **name == *"director" {
            diagnostics
                .error(&at, "a director cannot be named `director`")
                .remedy("choose another name: `gateway: director` means the only director");
        }
        if let Some(first) = self.list.iter().find(|it| it.name == *name) {
            diagnostics
                .error(&at, format!("the director `{name}` is listed twice"))
                .remedy("keep one of them, or give each its own name")
                .related(first.at.clone(), "first written here");
            return;
        }
        if let Some(ListedMac { mac: DirectorMac::Given(mac), at }) = &mac
            && let Some(first) = self
                .list
                .iter()
                .filter_map(|it| it.mac.as_ref())
                .find(|it| it.mac == DirectorMac::Given(*mac))
        {
            diagnostics
                .error(at.clone(), format!("two directors have the MAC address {mac}"))
                .remedy("write the MAC address of each director's own interface")
                .related(first.at.clone(), "first written here");
        }
        self.list.push(Listed { name: name.clone(), at: at.path(), addresses, mac, is_mac_bad });
    }

    /// Returns where a director has that address; `None` if none has.
    pub(super) fn place_of(&self, address: &IpAddr) -> Option<Path> {
        self.list.iter().find_map(|it| it.addresses.get(address)).cloned()
    }

    /// Whether the spec has the key.
    pub(crate) fn is_written(&self) -> bool {
        self.is_written
    }

    /// Reports a director of the name without a MAC address.
    pub(super) fn check_mac(&self, name: &str, diagnostics: &mut Diagnostics) {
        let listed = self.list.iter().find(|it| *it.name == *name);
        if let Some(Listed { at, mac: None, is_mac_bad: false, .. }) = listed {
            diagnostics
                .error(
                    at.clone(),
                    format!("the director `{name}` has no `mac`, which gateways need"),
                )
                .remedy(
                    "write the MAC address of its interface that faces the gateways, such as `mac: \
                     \"02:00:00:00:00:01\"`, or let gateways learn it: `mac: learn`",
                );
        }
    }

    /// Checks the director of a VIP.
    pub(crate) fn check_on(
        &self,
        on: Option<&Name>,
        binding: &Binding,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        let address = binding.address;
        match on {
            Some(_) if !self.is_written => {
                diagnostics.error(&at.key("on"), "the spec lists no `directors`").at_key().remedy(
                    "list them, such as `directors: [{ name: lb1, addresses: [192.0.2.2] }]`",
                );
            }
            Some(name) => self.check_name(&name.0, &at.key("on"), diagnostics),
            None if self.list.len() > 1 && !self.is_doubtful => {
                diagnostics
                    .error(at, format!("the VIP {address} would be bound on every director"))
                    .remedy(format!(
                        "write which one binds it, such as `on: {}`; or remove it from `vips` if another \
                         program binds it (VRRP, BGP)",
                        self.list[0].name
                    ));
            }
            None => {}
        }
    }

    fn check_name(&self, name: &str, at: &At<'_>, diagnostics: &mut Diagnostics) {
        if self.is_doubtful || self.list.iter().any(|it| *it.name == *name) {
            return;
        }
        let names = self.list.iter().map(|it| &*it.name);
        let remedy = match suggest::nearest(name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "there is {}",
                names.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        diagnostics.error(at, format!("no director is named `{name}`")).remedy(remedy);
    }

    /// Returns the addresses of a gateway; `None` if there is none, which is reported.
    pub(crate) fn gateway(
        &self,
        gateway: &Gateway,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<BTreeSet<IpAddr>> {
        let of = |it: &Listed| it.addresses.keys().copied().collect();
        match gateway {
            Gateway::Address(address) => match not_unicast(*address).or(is_link_local(*address)
                .then_some("is a link-local address, which names no interface"))
            {
                None => Some([*address].into()),
                Some(why) => {
                    diagnostics
                        .error(at, format!("{address} {why}"))
                        .remedy("a gateway is a unicast address");
                    None
                }
            },
            _ if !self.is_written => {
                diagnostics
                    .error(at, "the spec lists no `directors`")
                    .remedy("list them, or write the address of the gateway");
                None
            }
            Gateway::Named(name) => {
                self.check_name(name, at, diagnostics);
                self.list.iter().find(|it| it.name == *name).map(of)
            }
            Gateway::Director if self.is_doubtful => None,
            Gateway::Director => match &self.list[..] {
                [only] => Some(of(only)),
                [] => None,
                several => {
                    let names: Vec<_> = several.iter().map(|it| format!("`{}`", it.name)).collect();
                    diagnostics
                        .error(at, format!("there are several directors: {}", names.join(", ")))
                        .remedy(format!("write which one, such as `gateway: {}`", several[0].name));
                    None
                }
            },
        }
    }

    pub(crate) fn list(&self) -> Vec<Director> {
        let listed = self.list.iter();
        let director = |it: &Listed| Director {
            name: it.name.clone(),
            addresses: it.addresses.keys().copied().collect(),
            mac: it.mac.as_ref().map(|it| it.mac),
        };
        listed.map(director).collect()
    }

    /// Reports addresses of directors that are VIPs.
    pub(super) fn check_addresses(&self, vips: &BTreeSet<IpAddr>, diagnostics: &mut Diagnostics) {
        for Listed { name, addresses, .. } in &self.list {
            for (address, at) in addresses {
                if vips.contains(address) {
                    diagnostics
                        .error(at.clone(), format!("{address} of the director `{name}` is a VIP"))
                        .remedy("list the addresses that only this host has, and no VIP");
                }
            }
        }
    }
}
