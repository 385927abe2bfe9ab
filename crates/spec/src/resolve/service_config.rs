//! Resolves the settings of a service that are edited as a whole: scheduler, persistence,
//! one-packet.

use evenkeel_model::{
    Family, Netmask, Persistence, Protocol, Scheduler, SchedulerFlags, ServiceConfig,
};

use super::defaults::Defaults;
use super::service_address::ServiceAddress;
use crate::path::At;
use crate::recovering_de::{Field, List};
use crate::resolve::Diagnostics;
use crate::spec::{FlagName, NetmaskText, PersistenceText, Service};
use crate::suggest;

/// The timeout of `persistence` without one, as ipvsadm(8) states; the program itself sends 360.
const DEFAULT_TIMEOUT: u32 = 300;

/// The longest timeout that ipvsadm accepts: 31 days. The kernel multiplies by its tick rate
/// without a check, so much larger ones overflow.
const LONGEST_TIMEOUT: u32 = 31 * 86_400;

/// A configuration that is complete except for its family.
pub(crate) struct Config {
    pub(crate) scheduler: Scheduler,
    pub(crate) flags: SchedulerFlags,
    persistence: Option<(u32, Option<NetmaskText>)>,
    engine: Option<&'static str>,
    one_packet: bool,
}

impl Config {
    /// `None` if a part of it could not be read.
    pub(crate) fn read(
        service: &Service,
        target: &ServiceAddress,
        unchecked: bool,
        at: &At<'_>,
        defaults: &Defaults<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let scheduler = scheduler(service, unchecked, at, defaults, diagnostics);
        let flags = flags(&service.scheduler_flags, scheduler.as_ref(), at, diagnostics);
        let persistence = match &service.persistence {
            Field::Absent => Some((None, None)),
            Field::Bad => None,
            Field::Value(text) => {
                persistence(text, target, unchecked, &at.key("persistence"), diagnostics)
            }
        };
        let one_packet = service.one_packet.value().is_some_and(|flag| flag.0);
        let datagrams = target.marked || matches!(target.protocol, None | Some(Protocol::Udp));
        if one_packet && !datagrams && !unchecked {
            diagnostics
                .error(&at.key("one_packet"), "`one_packet` is only for udp and firewall marks")
                .remedy("remove it: each packet of a connection would go to another real server");
        }
        let alone = engine_alone(service, unchecked, at, diagnostics);
        let (persistence, engine) = persistence?;
        let engine = engine.or(alone);
        Some(Self { scheduler: scheduler?, flags: flags?, persistence, engine, one_packet })
    }

    /// Whether each datagram is scheduled separately.
    pub(crate) fn is_one_packet(&self) -> bool {
        self.one_packet
    }

    pub(crate) fn of(&self, family: Family) -> ServiceConfig {
        let netmask = |text| match (text, family) {
            (Some(NetmaskText::Prefix(length)), Family::Ipv4) => {
                Netmask::v4_prefix(length).unwrap_or(Netmask::host(family))
            }
            (Some(NetmaskText::Prefix(length)), Family::Ipv6) => Netmask::V6(length),
            (Some(NetmaskText::Mask(mask)), Family::Ipv4) => Netmask::V4(mask),
            (_, _) => Netmask::host(family),
        };
        ServiceConfig {
            scheduler: self.scheduler,
            scheduler_flags: self.flags,
            persistence: self
                .persistence
                .map(|(timeout, text)| Persistence { timeout, netmask: netmask(text) }),
            engine: self.engine.map(Into::into),
            one_packet: self.one_packet,
        }
    }
}

fn scheduler(
    service: &Service,
    unchecked: bool,
    at: &At<'_>,
    defaults: &Defaults<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Scheduler> {
    let scheduler = match &service.scheduler {
        Field::Absent => return defaults.scheduler,
        Field::Bad => return None,
        Field::Value(name) => *name.0.value()?,
    };
    if scheduler == Scheduler::none() && !unchecked {
        diagnostics.error(&at.key("scheduler"), "`none` cannot be used as a scheduler").remedy(
            "name one, such as wlc; without a scheduler a service refuses every connection",
        );
    }
    Some(scheduler)
}

fn flags(
    written: &Field<List<FlagName>>,
    scheduler: Option<&Scheduler>,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<SchedulerFlags> {
    let list = match written {
        Field::Absent => return Some(SchedulerFlags::EMPTY),
        Field::Bad => return None,
        Field::Value(list) => list,
    };
    let scheduler = scheduler?;
    let mut good = !list.has_bad();
    for (index, name) in list.values() {
        if let Err(unknown) = SchedulerFlags::from_names(scheduler, [&*name.0]) {
            let name = suggest::quote(&unknown.name);
            let remedy = match *unknown.expected {
                ["flag-1", ..] => {
                    "its flags have no names; write flag-1, flag-2 or flag-3".to_owned()
                }
                _ => suggest::remedy(
                    &unknown.name,
                    "its flags are",
                    unknown.expected.iter().copied(),
                ),
            };
            diagnostics
                .error(
                    &at.key("scheduler_flags").item(index),
                    format!("the scheduler {scheduler} has no flag {name}"),
                )
                .remedy(remedy);
            good = false;
        }
    }
    let names = list.values().map(|(_, name)| &*name.0);
    good.then(|| SchedulerFlags::from_names(scheduler, names).ok()).flatten()
}

type Read = (Option<(u32, Option<NetmaskText>)>, Option<&'static str>);

fn persistence(
    text: &PersistenceText,
    target: &ServiceAddress,
    unchecked: bool,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Read> {
    let PersistenceText { keys, short } = text;
    let timeout = keys.timeout.value().map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    if !(1..=LONGEST_TIMEOUT).contains(&timeout) && !unchecked {
        let long = at.key("timeout");
        let (message, remedy) = match timeout {
            0 => (
                "a persistence timeout of 0 keeps no client on its real server",
                "remove `persistence`",
            ),
            _ => ("the persistence timeout is longer than 31 days", "write at most `31d`"),
        };
        diagnostics.error(if *short { at } else { &long }, message).remedy(remedy);
    }
    let netmask = keys.netmask.value().copied();
    if let Some(netmask) = netmask {
        check_netmask(netmask, target, unchecked, &at.key("netmask"), diagnostics);
    }
    let datagrams = target.marked || matches!(target.protocol, None | Some(Protocol::Udp));
    if keys.engine.value().is_some() && !datagrams && !unchecked {
        diagnostics
            .error(
                &at.key("engine"),
                "the sip engine works with udp only: every connection would fail",
            )
            .remedy("write `protocol: udp`, or remove the engine");
    }
    if keys.timeout.is_bad() || keys.netmask.is_bad() || keys.engine.is_bad() {
        return None;
    }
    Some((Some((timeout, netmask)), keys.engine.value().map(|engine| engine.0)))
}

/// The engine of a service without persistence. The kernel stores it and uses it to find
/// connections for packets that real servers send on their own (`__ip_vs_rs_conn_out`).
fn engine_alone(
    service: &Service,
    unchecked: bool,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<&'static str> {
    if service.engine.is_absent() {
        return None;
    }
    if !unchecked || !service.persistence.is_absent() {
        diagnostics
            .error(&at.key("engine"), "`engine` belongs under `persistence`")
            .at_key()
            .remedy("write it there: `persistence: { engine: sip }`");
    }
    service.engine.value().map(|engine| engine.0)
}

fn check_netmask(
    netmask: NetmaskText,
    target: &ServiceAddress,
    unchecked: bool,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) {
    let none = match netmask {
        NetmaskText::Prefix(length) => length == 0,
        NetmaskText::Mask(mask) => mask.is_unspecified(),
    };
    if none && !(unchecked && target.families == [Family::Ipv4]) {
        diagnostics
            .error(at, "with netmask 0 all clients count as one and would go to one real server")
            .remedy("write a prefix length of at least 1, or remove it: each client then counts separately");
        return;
    }
    let message = match (netmask, &*target.families) {
        (_, [_, _]) => "a netmask does not fit VIPs of both families".to_owned(),
        (NetmaskText::Prefix(length @ 33..), [Family::Ipv4]) => {
            format!("netmask {length} is longer than an IPv4 address")
        }
        (NetmaskText::Mask(mask), [Family::Ipv6]) => {
            format!("netmask {mask} is for IPv4, the service is IPv6")
        }
        (_, _) => return,
    };
    diagnostics.error(at, message).remedy(match &*target.families {
        [_, _] => "write a service for each family",
        [Family::Ipv6] => "write a prefix length from 1 to 128",
        _ => "write a prefix length from 1 to 32, or a mask such as 255.255.255.0",
    });
}
