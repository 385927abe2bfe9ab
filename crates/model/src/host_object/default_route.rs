//! The default route of a family: on a real server behind NAT, its return path through the director.
//!
//! Unlike other host objects, one of another program is replaced, because a host has only one way to
//! everywhere. What is replaced is recorded completely, and is restored later.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{HostObject, HostValue};
use crate::{Family, Owner};

/// The identity of a default route: the one of the main table that packets of this family take, which
/// is the one of the lowest metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DefaultRoute {
    /// The family.
    pub family: Family,
}

/// The value of a default route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum DefaultRouteValue {
    /// A route of evenkeel through this gateway.
    Gateway(IpAddr),
    /// Routes of other programs, as they were read: that of the lowest metric first, then others of the
    /// same metric if the kernel uses them alike (IPv6), then those of evenkeel that have no effect
    /// because of them. Never empty.
    Found(Vec<RecordedRoute>),
}

/// A default route as the kernel had it, complete enough to set it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordedRoute {
    /// The gateway; `None` for a route without one, or with several next hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The names of the interfaces of its next hops, in their order; empty for one without, such as a
    /// blackhole.
    pub interfaces: Vec<Box<str>>,
    /// The metric: the lowest one wins.
    #[serde(with = "as_text")]
    pub metric: u32,
    /// The number of the program that added it (`RTPROT_*`).
    #[serde(with = "as_text")]
    pub protocol: u8,
    /// Whether evenkeel added it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_ours: bool,
    /// The kernel's message about it, with 0 for each index of an interface: indexes change.
    pub message: RouteMessage,
}

/// The payload of an `RTM_NEWROUTE`; its text is in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteMessage(pub Box<[u8]>);

/// The serialized form: one map, as the values of other kinds.
#[derive(Debug, Serialize, Deserialize)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    found: Vec<RecordedRoute>,
}

impl DefaultRouteValue {
    /// Returns the gateway of the route that is in effect; `None` if it has none, or several.
    pub fn gateway(&self) -> Option<IpAddr> {
        match self {
            Self::Gateway(gateway) => Some(*gateway),
            Self::Found(routes) => routes.first()?.gateway,
        }
    }

    /// Returns who added the route that is in effect.
    pub fn owner(&self) -> Owner {
        match self {
            Self::Gateway(_) => Owner::Evenkeel,
            Self::Found(_) => Owner::Other,
        }
    }

    /// Returns the routes of other programs that are in effect; several of them share the packets.
    pub fn foreign(&self) -> impl Iterator<Item = &RecordedRoute> {
        let routes: &[RecordedRoute] = match self {
            Self::Gateway(_) => &[],
            Self::Found(routes) => routes,
        };
        routes.iter().filter(|route| !route.is_ours)
    }

    /// Whether all packets take one route of another program through this gateway.
    pub fn already_leads_to(&self, gateway: IpAddr) -> bool {
        let mut foreign = self.foreign();
        foreign.next().is_some_and(|route| route.gateway == Some(gateway))
            && foreign.next().is_none()
    }

    /// Whether routes that are replaced now can be restored as they were. The kernel merges IPv6 routes
    /// of one metric, and then shows the attributes of one of them only.
    pub fn is_restorable(&self, family: Family) -> bool {
        let mut foreign = self.foreign();
        let is_single = foreign.next().is_none_or(|route| route.interfaces.len() < 2)
            && foreign.next().is_none();
        family == Family::Ipv4 || is_single
    }

    /// Returns what evenkeel restores if it replaces `found`, having replaced `earlier` before: of each
    /// metric the latest route of another program.
    pub fn replaced(found: &Self, earlier: Option<&Self>) -> Self {
        let mut routes: Vec<RecordedRoute> = found.foreign().cloned().collect();
        for route in earlier.iter().flat_map(|earlier| earlier.foreign()) {
            if routes.iter().all(|other| other.metric != route.metric) {
                routes.push(route.clone());
            }
        }
        Self::Found(routes)
    }
}

impl TryFrom<Fields> for DefaultRouteValue {
    type Error = &'static str;

    fn try_from(Fields { gateway, found }: Fields) -> Result<Self, Self::Error> {
        match gateway {
            Some(gateway) if found.is_empty() => Ok(Self::Gateway(gateway)),
            None if !found.is_empty() => Ok(Self::Found(found)),
            _ => Err("either a gateway or routes that were found are needed"),
        }
    }
}

impl From<DefaultRouteValue> for Fields {
    fn from(value: DefaultRouteValue) -> Self {
        match value {
            DefaultRouteValue::Gateway(gateway) => {
                Self { gateway: Some(gateway), found: Vec::new() }
            }
            DefaultRouteValue::Found(found) => Self { gateway: None, found },
        }
    }
}

impl From<DefaultRouteValue> for HostValue {
    fn from(value: DefaultRouteValue) -> Self {
        Self::DefaultRoute(value)
    }
}

impl From<DefaultRoute> for HostObject {
    fn from(route: DefaultRoute) -> Self {
        Self::DefaultRoute(route)
    }
}

impl fmt::Display for DefaultRoute {
    /// `ipv4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.family.fmt(f)
    }
}

impl fmt::Display for RecordedRoute {
    /// `via 192.0.2.254 dev eth0 metric 100`, as `ip route` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gateway = self.gateway.map(|gateway| format!("via {gateway}"));
        let interfaces = self.interfaces.iter().map(|interface| format!("dev {interface}"));
        let metric = (self.metric != 0).then(|| format!("metric {}", self.metric));
        let words: Vec<String> = gateway.into_iter().chain(interfaces).chain(metric).collect();
        f.write_str(if words.is_empty() { "without a next hop" } else { "" })?;
        f.write_str(&words.join(" "))
    }
}

impl fmt::Display for RouteMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for RouteMessage {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        let bytes: Option<Box<[u8]>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Self).ok_or("not an even number of hexadecimal digits")
    }
}

impl Serialize for RouteMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RouteMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A number as a string: a snapshot keeps no numbers in host objects.
mod as_text {
    use super::{Deserialize, Deserializer, Error, FromStr, Serializer, fmt};

    pub(super) fn serialize<N: fmt::Display, S: Serializer>(
        number: &N,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, N: FromStr, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<N, D::Error> {
        // A snapshot does not quote it.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Number {
            Digits(u64),
            Text(String),
        }
        let text = match Number::deserialize(deserializer)? {
            Number::Digits(digits) => digits.to_string(),
            Number::Text(text) => text,
        };
        text.parse().map_err(|_| D::Error::custom(format_args!("{text:?} is not a number here")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(last: u8, metric: u32) -> RecordedRoute {
        RecordedRoute {
            gateway: Some([192, 0, 2, last].into()),
            interfaces: vec!["eth0".into()],
            metric,
            protocol: 16,
            is_ours: false,
            message: RouteMessage([2, last].into()),
        }
    }

    fn ours(metric: u32) -> RecordedRoute {
        RecordedRoute { is_ours: true, protocol: 101, ..route(1, metric) }
    }

    fn found<const N: usize>(routes: [RecordedRoute; N]) -> DefaultRouteValue {
        DefaultRouteValue::Found(routes.into())
    }

    #[test]
    fn a_message_survives_its_text() {
        let message = RouteMessage([0, 2, 0xfe, 0x65].into());
        assert_eq!(message.to_string(), "0002fe65");
        assert_eq!("0002fe65".parse(), Ok(message));
        for text in ["0", "0g", "+1"] {
            assert!(text.parse::<RouteMessage>().is_err(), "{text}");
        }
    }

    #[test]
    fn of_each_metric_the_latest_route_is_restored() {
        let earlier = found([route(254, 100)]);
        let replaced = |now| DefaultRouteValue::replaced(&now, Some(&earlier));
        // Another program added one of a lower metric, or replaced that of evenkeel.
        let both = found([route(253, 50), route(254, 100)]);
        assert_eq!(replaced(found([route(253, 50), ours(100)])), both);
        assert_eq!(replaced(found([route(253, 50)])), both);
        assert_eq!(replaced(found([route(253, 100)])), found([route(253, 100)]));
        assert_eq!(DefaultRouteValue::replaced(&earlier, None), earlier);
    }

    #[test]
    fn ipv6_routes_that_share_packets_cannot_be_restored() {
        let multipath = RecordedRoute { interfaces: vec!["a".into(), "b".into()], ..route(3, 0) };
        for (value, is_restorable) in [
            (found([route(3, 0)]), true),
            (found([route(3, 0), ours(0)]), true),
            (found([route(3, 0), route(4, 0)]), false),
            (found([multipath]), false),
        ] {
            assert_eq!(value.is_restorable(Family::Ipv6), is_restorable, "{value:?}");
            assert!(value.is_restorable(Family::Ipv4));
        }
    }

    #[test]
    fn a_route_leads_to_a_gateway_if_all_packets_take_it() {
        let gateway = [192, 0, 2, 3].into();
        assert!(found([route(3, 0)]).already_leads_to(gateway));
        assert!(!found([route(4, 0)]).already_leads_to(gateway));
        assert!(!found([route(3, 0), route(4, 0)]).already_leads_to(gateway));
    }
}
