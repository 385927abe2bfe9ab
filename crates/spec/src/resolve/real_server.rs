//! Resolves real servers: the rules for one by itself, and for one within a service.

use std::net::IpAddr;

use evenkeel_model::{Checksum, Family, Forward, RealServer as Modelled, Tunnel, TunnelKind};

use super::not_unicast;
use crate::path::{At, Path};
use crate::recovering_de::{Field, List};
use crate::resolve::Diagnostics;
use crate::spec::{Method, RealServer, TunnelKeys};

/// A real server within its service, except for a port taken from the service.
pub(crate) struct Resolved {
    pub(crate) address: IpAddr,
    /// `None` means the service's port.
    pub(crate) port: Option<u16>,
    pub(crate) real_server: Modelled,
    /// Whether it gets to see another address than the client's.
    pub(crate) is_full_nat: bool,
}

/// The settings of a service that apply to all of its real servers.
#[derive(Clone)]
pub(crate) struct RealServerContext<'a> {
    /// Where the service names its pool, if the real servers come from a pool.
    pub(crate) pool: Option<Path>,
    /// The default weight.
    pub(crate) weight: u32,
    /// The service's forwarding method, its own or the default; `None` if it could not be read.
    pub(crate) forward: Option<Method>,
    /// The tunnel of real servers without one of their own; `None` if it could not be read.
    pub(crate) tunnel: Option<Tunnel>,
    /// The ports of the service; 0 alone for a fwmark service.
    pub(crate) ports: &'a [u16],
    /// Whether it is a service on a firewall mark.
    pub(crate) marked: bool,
    /// The families of its clients; empty if they are not fully known.
    pub(crate) families: &'a [Family],
}

/// Checks the rules that need only the real server itself. For a pool they are reported once,
/// however many services use it.
pub(crate) fn check_alone(list: &List<RealServer>, at: &At<'_>, diagnostics: &mut Diagnostics) {
    for (index, real_server) in list.values() {
        let at = at.item(index);
        let RealServer { address, upper_threshold, lower_threshold, unchecked, .. } = real_server;
        let unchecked = unchecked.value().is_some_and(|flag| flag.0);
        match address {
            Field::Absent => {
                diagnostics
                    .error(&at, "the real server has no `address`")
                    .remedy("write it, such as `address: 192.0.2.1`");
            }
            Field::Bad => {}
            Field::Value(address) => check_address(address.0, unchecked, &at, diagnostics),
        }
        if let Some(tunnel) = real_server.tunnel.value() {
            tunnel_of(tunnel, &at.key("tunnel"), diagnostics);
        }
        let lower = lower_threshold.value().map_or(0, |lower| lower.0);
        let upper = upper_threshold.value().map_or(0, |upper| upper.0);
        if lower > upper && !upper_threshold.is_bad() {
            let at_lower = at.key("lower_threshold");
            if upper == 0 {
                diagnostics
                    .error(&at_lower, "`lower_threshold` needs an `upper_threshold`")
                    .remedy("write the upper one too, or remove this one");
            } else {
                diagnostics
                    .error(
                        &at_lower,
                        format!("the lower threshold {lower} is above the upper, {upper}"),
                    )
                    .remedy("the lower threshold must not exceed the upper one")
                    .related(at.key("upper_threshold").path(), "the upper threshold");
            }
        }
        if unchecked {
            diagnostics
                .warning(&at.key("unchecked"), "this real server is accepted as written")
                .remedy("`unchecked` is for entries that other tools made in the kernel");
        }
    }
}

fn check_address(address: IpAddr, unchecked: bool, at: &At<'_>, diagnostics: &mut Diagnostics) {
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let why = match not_unicast(address) {
        None if link_local && !unchecked => "is a link-local address, which the kernel refuses",
        None => return,
        Some(why) => why,
    };
    diagnostics
        .error(&at.key("address"), format!("{address} {why}"))
        .remedy("a real server has a routable unicast address");
}

/// Resolves a real server within its service; `None` if too much of it is unreadable.
pub(crate) fn resolve(
    written: &RealServer,
    at: &At<'_>,
    context: &RealServerContext<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Resolved> {
    let unchecked = written.unchecked.value().is_some_and(|flag| flag.0);
    let method = match &written.forward {
        Field::Absent => context.forward,
        Field::Bad => None,
        Field::Value(word) => Some(word.0),
    };
    if let (Some(Method::Local | Method::Bypass), false, Field::Value(_)) =
        (method, unchecked, &written.forward)
    {
        diagnostics
            .error(&at.key("forward"), "this forwarding method cannot be used in a spec")
            .remedy(
                "write dr, nat, fullnat or tun; `unchecked: true` accepts what other tools wrote",
            );
    }
    let tunnel = tunnel_within(written, method, at, context, diagnostics);
    let address = written.address.value()?.0;
    check_family(address, method, at, context, diagnostics);
    if !unchecked {
        check_port(address, written, method, at, context, diagnostics);
    }
    if written.port.is_bad() || written.weight.is_bad() {
        return None;
    }
    let method = method?;
    if method == Method::FullNat && address.is_loopback() {
        diagnostics
            .error(
                &at.key("address"),
                format!("{address} is the director itself, not a host that it sends packets to"),
            )
            .remedy("write `forward: dr` for a program on the director")
            .related(context.pool.clone(), "for this service");
    }
    let forward = match method {
        Method::Dr => Forward::Dr,
        Method::Nat | Method::FullNat => Forward::Nat,
        Method::Tun => Forward::Tun(tunnel?),
        Method::Local => Forward::Local,
        Method::Bypass => Forward::Bypass,
    };
    let threshold =
        |field: &Field<crate::spec::Threshold>| field.value().map_or(0, |value| value.0);
    Some(Resolved {
        address,
        port: written.port.value().map(|port| port.0),
        real_server: Modelled {
            forward,
            weight: written.weight.value().map_or(context.weight, |weight| weight.0),
            upper_threshold: threshold(&written.upper_threshold),
            lower_threshold: threshold(&written.lower_threshold),
        },
        is_full_nat: method == Method::FullNat,
    })
}

/// The tunnel of a real server that uses one.
fn tunnel_within(
    written: &RealServer,
    method: Option<Method>,
    at: &At<'_>,
    context: &RealServerContext<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Tunnel> {
    match (&written.tunnel, method) {
        (Field::Value(_) | Field::Bad, Some(method)) if method != Method::Tun => {
            diagnostics
                .error(&at.key("tunnel"), "`tunnel` is only for `forward: tun`")
                .at_key()
                .remedy("write `forward: tun`, or remove the tunnel");
            None
        }
        (Field::Value(keys), _) => tunnel_of(keys, at, &mut Diagnostics::default()),
        (Field::Bad, _) => None,
        (Field::Absent, _) => context.tunnel,
    }
}

fn check_family(
    address: IpAddr,
    method: Option<Method>,
    at: &At<'_>,
    context: &RealServerContext<'_>,
    diagnostics: &mut Diagnostics,
) {
    let family = Family::from(address);
    let alone = context.families == [family.other()];
    if alone && method.is_some_and(|method| method != Method::Tun) {
        diagnostics
            .error(
                &at.key("address"),
                format!("{address} is {family}, the service is {}", family.other()),
            )
            .remedy(format!(
                "only `forward: tun` reaches the other family; list an {} real server, or add an {family} VIP",
                family.other()
            ))
            .related(context.pool.clone(), "for this service");
    }
}

/// Checks the port: except in nat the packet keeps its port, so the real server's is the service's.
fn check_port(
    address: IpAddr,
    written: &RealServer,
    method: Option<Method>,
    at: &At<'_>,
    context: &RealServerContext<'_>,
    diagnostics: &mut Diagnostics,
) {
    let (Some(port), Some(method)) = (written.port.value(), method) else { return };
    let others: Vec<String> = context
        .ports
        .iter()
        .filter(|service| **service != port.0)
        .map(|service| if *service == 0 { "every port".to_owned() } else { service.to_string() })
        .collect();
    if matches!(method, Method::Nat | Method::FullNat) || others.is_empty() {
        return;
    }
    let method = match method {
        Method::Tun => "tun",
        _ => "dr",
    };
    let service = if context.marked {
        "the marked packets have their own".to_owned()
    } else {
        format!("the service is on {}", others.join(", "))
    };
    diagnostics
        .error(
            &at.key("port"),
            format!(
                "real server {address} has port {}, {service}: in {method} the packet is forwarded unchanged, so there is no port mapping",
                port.0
            ),
        )
        .remedy("use `forward: nat`, or remove the port")
        .related(context.pool.clone(), "for this service");
}

/// Resolves and checks a tunnel; `None` if it breaks a rule.
pub(crate) fn tunnel_of(
    keys: &TunnelKeys,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Tunnel> {
    let TunnelKeys { kind, port, checksum } = keys;
    if kind.is_absent() {
        diagnostics.error(at, "the tunnel has no `type`").remedy("write ipip, gue or gre");
    }
    let kind = kind.value()?.0;
    let mut good = !port.is_bad() && !checksum.is_bad();
    match (kind, port.value().map(|port| port.0)) {
        (TunnelKind::Gue, None) if port.is_absent() => {
            diagnostics
                .error(at, "a gue tunnel needs a `port`")
                .remedy("write the UDP port the real server listens on, such as `port: 6080`");
            good = false;
        }
        (TunnelKind::Gue, Some(0)) => {
            diagnostics
                .error(&at.key("port"), "a gue tunnel cannot have port 0")
                .remedy("write the UDP port the real server listens on, such as `port: 6080`");
            good = false;
        }
        (TunnelKind::Ipip | TunnelKind::Gre | TunnelKind::Other(_), Some(_)) => {
            diagnostics
                .error(&at.key("port"), format!("a tunnel of type {kind} has no port"))
                .at_key()
                .remedy("remove the port, or write `type: gue`");
            good = false;
        }
        (_, _) => {}
    }
    let checksum = checksum.value().map_or(Checksum::None, |word| word.0);
    let refused = match (kind, checksum) {
        (TunnelKind::Gre, Checksum::Remote) => Some("none or full"),
        (TunnelKind::Ipip, Checksum::Full | Checksum::Remote) => Some("none"),
        _ => None,
    };
    if let Some(takes) = refused {
        diagnostics
            .error(
                &at.key("checksum"),
                format!("a tunnel of type {kind} cannot have checksum {checksum}"),
            )
            .remedy(format!("it takes {takes}"));
        good = false;
    }
    let port = port.value().map_or(0, |port| port.0);
    good.then_some(Tunnel { kind, port, checksum })
}
