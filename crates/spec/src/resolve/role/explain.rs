//! Says why the roles of a host are not known.

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_model::{Cluster, Desired, DesiredTimeouts, HostInputs, HostRoles, RoleProblem};

use super::ClusterSpec;

/// How many addresses are listed.
const SHOWN: usize = 8;

/// A problem and its remedy.
pub(crate) struct RoleMessage {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl RoleMessage {
    /// The inputs could not be read.
    pub(crate) fn unavailable(why: &str) -> Self {
        let message = format!("the role of this host cannot be determined: {why}");
        Self { message, remedy: "try again; the reason is in the message".to_owned() }
    }
}

/// Returns the texts of a problem.
pub(crate) fn role_message(
    problem: &RoleProblem,
    cluster: &Cluster,
    inputs: &HostInputs,
) -> RoleMessage {
    let own = inputs.own().union(&inputs.others).copied().collect();
    let own = match list(&own) {
        text if text.is_empty() => "this host has no address".to_owned(),
        text => format!("this host has {text}"),
    };
    let listed = || {
        let directors =
            cluster.directors.iter().map(|it| format!("{}: {}", it.name, list(&it.addresses)));
        let directors: Vec<String> = directors.collect();
        let real_servers = match cluster.real_servers.is_empty() {
            true => "no real servers".to_owned(),
            false => format!("the real servers {}", list(&cluster.real_servers)),
        };
        let gateways =
            cluster.gateways.iter().map(|it| format!("{}: {}", it.name, list(&it.addresses)));
        let gateways = match cluster.gateways.is_empty() {
            true => String::new(),
            false => format!("; and the gateways {}", gateways.collect::<Vec<_>>().join("; ")),
        };
        match directors.is_empty() {
            true => format!("the spec lists {real_servers}"),
            false => format!(
                "the spec lists the directors {}; and {real_servers}{gateways}",
                directors.join("; ")
            ),
        }
    };
    let quoted = |names: &[Box<str>]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
    };
    let (message, remedy) = match problem {
        RoleProblem::NotListed => (
            match cluster.gateways.is_empty() {
                true => format!(
                    "this host is neither a director nor a real server: {own}, and {}",
                    listed()
                ),
                false => format!(
                    "this host is neither a director nor a real server nor a gateway: {own}, and {}",
                    listed()
                ),
            },
            "add an address of this host under `directors`, or to the real servers of a service; if the \
             host was removed on purpose, stop its daemon and run `evenkeel teardown`, which undoes \
             what was applied here",
        ),
        RoleProblem::SeveralDirectors(names) => (
            format!("this host has addresses of several directors, {}: {own}", quoted(names)),
            "list each host once: an address that moves between directors is a VIP",
        ),
        RoleProblem::SeveralListedGateways(names) => (
            format!("this host has addresses of several gateways, {}: {own}", quoted(names)),
            "list each host once, with all of its addresses",
        ),
        RoleProblem::GatewayAndMore { gateway, others } => (
            format!("this host is the gateway `{gateway}`, and {others}, too: {own}"),
            "a gateway is a host of its own: remove one of the addresses from the spec, or use `--role`",
        ),
        RoleProblem::NoGateway => (
            format!("this host has no address of a gateway: {own}, and {}", listed()),
            "add an address of this host under `gateways`, or run it without `--role gateway`",
        ),
        RoleProblem::NoSharedNetwork { gateway, director } => (
            format!(
                "the gateway `{gateway}` has no network with an address of the director `{director}`: {own}, \
                 and {}",
                listed()
            ),
            "a neighbour entry works only within a network: list the director's address on a network of the \
             gateway under `directors`, and check the prefix length of the gateway's own address",
        ),
        RoleProblem::SeveralInterfaces { director, vip, interfaces } => (
            format!(
                "several interfaces of this gateway face the director `{director}`: {}; by which one packets \
                 for {vip} leave is not known",
                interfaces.iter().map(|it| &**it).collect::<Vec<_>>().join(", ")
            ),
            "list under `directors` only the director's address on the network of the interface that has \
             its `mac`",
        ),
        RoleProblem::UnknownMac { director, addresses, interface } => (
            format!(
                "the MAC address of the director `{director}` is to be learned, and there is no answer from \
                 {} on {interface}",
                list(addresses)
            ),
            "start the director and check the network (`ip neigh show`), then try again; or write the MAC \
             address, such as `mac: \"02:00:00:00:00:01\"`",
        ),
        RoleProblem::UnknownDirector => (
            format!("this host has no address of a director: {own}, and {}", listed()),
            "add an address of this host under `directors`",
        ),
        RoleProblem::SeveralGateways(gateways) => (
            format!(
                "this host is several real servers, with the gateways {}: {own}",
                list(gateways)
            ),
            "a host has one default route: use the same `gateway` in the services of all its addresses",
        ),
        RoleProblem::NoRealServer => (
            format!("this host has no address of a real server: {own}, and {}", listed()),
            "add an address of this host to the real servers of a service, or run it without \
             `--role real-server`",
        ),
    };
    RoleMessage { message, remedy: remedy.to_owned() }
}

/// Warns that everything in a spec without directors is ignored, because the host was no director and has
/// no role any more. A snapshot of a real server is such a spec. `None` if that is not so.
pub(crate) fn ignored_message(
    desired: &Desired,
    spec: &ClusterSpec,
    inputs: &HostInputs,
) -> Option<RoleMessage> {
    let ClusterSpec { whole, cluster, .. } = spec;
    let is_nothing = whole.is_empty()
        && whole.sysctls.is_empty()
        && whole.sync.is_none()
        && whole.timeouts == DesiredTimeouts::default();
    if desired.roles != HostRoles::NONE || !cluster.directors.is_empty() || is_nothing {
        return None;
    }
    let former = inputs.former?.phrase();
    Some(RoleMessage {
        message: format!(
            "this host was {former}, and the spec lists no directors: the host has no role, and everything \
             in the spec is ignored, VIPs and services included"
        ),
        remedy:
            "apply the spec of the cluster (a snapshot is none); or use `--role director` to make \
                 the host a director, or `evenkeel teardown` to undo what evenkeel did here"
                .to_owned(),
    })
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    let shown: Vec<String> = addresses.iter().take(SHOWN).map(IpAddr::to_string).collect();
    match addresses.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Director, OwnAddress};

    use super::*;

    #[test]
    fn a_host_that_is_not_listed_is_shown_both_remedies() {
        let director = Director {
            name: "lb1".into(),
            addresses: BTreeSet::from([[192, 0, 2, 2].into(), [192, 0, 2, 3].into()]),
            mac: None,
        };
        let real_servers = BTreeSet::from([[192, 0, 2, 11].into()]);
        let cluster = Cluster { directors: vec![director], real_servers, gateways: Vec::new() };
        let own = OwnAddress {
            network: "192.0.2.77/24".parse().expect("a network"),
            interface: "eth0".into(),
        };
        let inputs = HostInputs { addresses: vec![own], ..HostInputs::default() };
        let shown = role_message(&RoleProblem::NotListed, &cluster, &inputs);
        assert_eq!(
            shown.message,
            "this host is neither a director nor a real server: this host has 192.0.2.77, and the spec \
             lists the directors lb1: 192.0.2.2, 192.0.2.3; and the real servers 192.0.2.11"
        );
        assert_eq!(
            shown.remedy,
            "add an address of this host under `directors`, or to the real servers of a service; if the \
             host was removed on purpose, stop its daemon and run `evenkeel teardown`, which undoes what \
             was applied here"
        );
    }
}
