//! Resolves the address of a service: VIPs, ports and a protocol, or a firewall mark.

use std::net::IpAddr;

use evenkeel_model::{Family, Protocol, ServiceKey};

use super::not_unicast;
use super::scope::Merged;
use crate::path::{At, Path};
use crate::recovering_de::Field;
use crate::resolve::Diagnostics;
use crate::spec::Service;

/// The address of a service, as far as it could be read.
pub(crate) struct ServiceAddress {
    /// The VIPs, with their index in `vips` if they are written there.
    pub(crate) vips: Vec<(IpAddr, Option<usize>)>,
    /// The ports; only 0 for a firewall mark.
    pub(crate) ports: Vec<u16>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) mark: Option<(Family, u32)>,
    /// Whether it is a service on a firewall mark, readable or not.
    pub(crate) marked: bool,
    /// The families of its clients; empty if they are not fully known.
    pub(crate) families: Vec<Family>,
}

impl ServiceAddress {
    /// The services it expands to, each with the index in `vips` of its address.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (ServiceKey, Option<usize>)> + '_ {
        let mark = self.mark.iter().map(|(family, fwmark)| {
            (ServiceKey::Fwmark { family: *family, fwmark: *fwmark }, None)
        });
        let addresses = self.vips.iter().flat_map(|(address, index)| {
            let key = |port| {
                let protocol = self.protocol?;
                Some((ServiceKey::Address { address: *address, port, protocol }, *index))
            };
            self.ports.iter().copied().filter_map(key)
        });
        mark.chain(addresses)
    }

    /// Where an expanded service is written: its VIP, or its firewall mark.
    pub(crate) fn path(service: &At<'_>, key: &ServiceKey, vip: Option<usize>) -> Path {
        match (key, vip) {
            (ServiceKey::Fwmark { .. }, _) => service.key("fwmark").path(),
            (ServiceKey::Address { .. }, None) => service.key("vip").path(),
            (ServiceKey::Address { .. }, Some(index)) => service.key("vips").item(index).path(),
        }
    }

    pub(crate) fn read(
        service: &Service,
        unchecked: bool,
        at: &At<'_>,
        scope: &Merged,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        if service.fwmark.is_absent() {
            Self::addresses(service, unchecked, at, scope, diagnostics)
        } else {
            Self::mark(service, at, scope, diagnostics)
        }
    }

    fn mark(service: &Service, at: &At<'_>, scope: &Merged, diagnostics: &mut Diagnostics) -> Self {
        for (key, absent) in [
            ("vip", service.vip.is_absent()),
            ("vips", service.vips.is_absent()),
            ("port", service.port.is_absent()),
            ("ports", service.ports.is_absent()),
            ("protocol", service.protocol.is_absent()),
        ] {
            if !absent {
                diagnostics
                    .error(
                        &at.key(key),
                        format!("a service on a firewall mark cannot have `{key}`"),
                    )
                    .at_key()
                    .remedy(
                        "remove it, as the rule that sets the mark decides; or remove `fwmark`",
                    );
            }
        }
        if service.family.is_absent() {
            diagnostics
                .error(&at.key("fwmark"), "a service on a firewall mark needs a `family`")
                .remedy(
                    "write `family: ipv4` or `family: ipv6`; the same mark in both is two services",
                );
        }
        let fwmark = service.fwmark.value().map(|mark| mark.0);
        let family = service.family.value().map(|family| family.0);
        if let (Some(fwmark), Some(family)) = (fwmark, family)
            && scope.excludes_service(&ServiceKey::Fwmark { family, fwmark })
        {
            outside(&at.key("fwmark"), format!("firewall mark {fwmark}"), scope, diagnostics);
        }
        Self {
            vips: Vec::new(),
            ports: vec![0],
            protocol: None,
            mark: family.zip(fwmark),
            marked: true,
            families: family.into_iter().collect(),
        }
    }

    fn addresses(
        service: &Service,
        unchecked: bool,
        at: &At<'_>,
        scope: &Merged,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        if !service.family.is_absent() {
            diagnostics
                .error(&at.key("family"), "`family` is only for a service on a firewall mark")
                .at_key()
                .remedy("remove it, as the VIP determines the family; or write `fwmark`");
        }
        let (vips, all_valid) = vips(service, at, diagnostics);
        for (address, index) in &vips {
            let list = at.key("vips");
            let at = match index {
                None => at.key("vip"),
                Some(index) => list.item(*index),
            };
            if let (Some(why), false) = (not_unicast(*address), unchecked) {
                diagnostics
                    .error(&at, format!("{address} {why}"))
                    .remedy("a VIP is a unicast address");
            } else if scope.excludes(*address) {
                outside(&at, address.to_string(), scope, diagnostics);
            }
        }
        let ports = ports(service, at, diagnostics);
        let protocol = match &service.protocol {
            Field::Absent => Some(Protocol::Tcp),
            Field::Bad => None,
            Field::Value(word) => {
                if let (Protocol::Other(number), false) = (word.0, unchecked) {
                    diagnostics
                        .error(&at.key("protocol"), format!("`{number}` is not a protocol"))
                        .remedy("write tcp, udp or sctp");
                }
                Some(word.0)
            }
        };
        let mut families: Vec<Family> = vips.iter().map(|(vip, _)| Family::from(*vip)).collect();
        families.sort_unstable();
        families.dedup();
        if !all_valid {
            families.clear();
        }
        Self { vips, ports, protocol, mark: None, marked: false, families }
    }
}

pub(super) fn outside(
    at: impl Into<Path>,
    what: String,
    scope: &Merged,
    diagnostics: &mut Diagnostics,
) {
    diagnostics
        .error(at, format!("{what} is outside the spec's own scope"))
        .remedy("add it to `scope`, or remove the service")
        .related(scope.written.clone(), "the scope");
}

/// The VIPs, and whether all of them could be read.
fn vips(
    service: &Service,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> (Vec<(IpAddr, Option<usize>)>, bool) {
    match (&service.vip, &service.vips) {
        (Field::Absent, Field::Absent) => {
            diagnostics
                .error(at, "the service has neither `vip` nor `fwmark`")
                .remedy("write the address clients use, such as `vip: 192.0.2.1`");
            (Vec::new(), false)
        }
        (Field::Value(vip), Field::Absent) => (vec![(vip.0, None)], true),
        (Field::Absent, Field::Value(list)) => {
            if list.0.is_empty() {
                diagnostics
                    .error(&at.key("vips"), "the list of VIPs is empty")
                    .remedy("write at least one, or remove the service");
            }
            let vips = list.values().map(|(index, vip)| (vip.0, Some(index))).collect();
            (vips, !list.has_bad())
        }
        (Field::Bad, Field::Absent) | (Field::Absent, Field::Bad) => (Vec::new(), false),
        (_, _) => {
            both("vip", "vips", at, diagnostics);
            (Vec::new(), false)
        }
    }
}

fn ports(service: &Service, at: &At<'_>, diagnostics: &mut Diagnostics) -> Vec<u16> {
    match (&service.port, &service.ports) {
        (Field::Absent, Field::Absent) => {
            diagnostics.error(at, "the service has no `port`").remedy(
                "write it, such as `port: 80`; `port: 0` with persistence covers every port",
            );
            Vec::new()
        }
        (Field::Value(port), Field::Absent) => vec![port.0],
        (Field::Absent, Field::Value(list)) => {
            if list.0.is_empty() {
                diagnostics
                    .error(&at.key("ports"), "the list of ports is empty")
                    .remedy("write at least one, or remove the service");
            }
            list.values().map(|(_, port)| port.0).collect()
        }
        (Field::Bad, Field::Absent) | (Field::Absent, Field::Bad) => Vec::new(),
        (_, _) => {
            both("port", "ports", at, diagnostics);
            Vec::new()
        }
    }
}

pub(super) fn both(
    one: &'static str,
    other: &'static str,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) {
    diagnostics
        .error(&at.key(other), format!("the service has both `{one}` and `{other}`"))
        .at_key()
        .remedy("keep one of them")
        .related(at.key(one).path(), "the other one");
}
