//! Overlays: what holds single real servers at another weight than the spec's, or out of their service.
//!
//! The desired state of a spec stays as it is; a plan lays the overlays over it. Overrides of operators and
//! health checks are their causes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{RealServer, RealServerKey, ServiceKey};

/// What an overlay does to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlayEffect {
    /// It has this weight; with 0 it keeps its connections and gets no new ones.
    Weight(u32),
    /// It is out of its service, at once and without a drain.
    Out,
    /// It is as the spec asks, whatever overlays of lower precedence say.
    AsSpec,
}

/// Why there is an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverlayCause {
    /// It came up, and its weight grows.
    SlowStart,
    /// It is down by its health checks.
    Health,
    /// It is up, and the fallback pool serves because the quorum is lost.
    Quorum,
    /// It is of the fallback pool, which serves because the quorum is lost.
    Fallback,
    /// It is down, and is kept in use.
    Kept(Floor),
    /// An operator's command.
    Override {
        /// The operator.
        by: Box<str>,
    },
}

/// What keeps a real server in use that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    /// The share of real servers that health may take out.
    MaxOut,
    /// Without it, none would be left.
    WhenNone,
}

/// Why a VIP is not bound though the spec lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithheldVip {
    /// A service on it that is without quorum.
    pub service: ServiceKey,
    /// Whether first results are awaited; else the service asks for it (`vip: unbind`).
    pub is_starting: bool,
}

/// An overlay of one real server in one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// What it does.
    pub effect: OverlayEffect,
    /// Why.
    pub cause: OverlayCause,
    /// What the cause says of itself; may be empty.
    pub reason: Box<str>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When it ends, in seconds since 1970; `None` if that is not known beforehand.
    pub until: Option<u64>,
}

/// The overlays of a host, at most one for each real server of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlays {
    real_servers: BTreeMap<(ServiceKey, RealServerKey), Overlay>,
    /// The VIPs that are not bound.
    pub withheld_vips: BTreeMap<IpAddr, WithheldVip>,
}

static NONE: Overlays = Overlays { real_servers: BTreeMap::new(), withheld_vips: BTreeMap::new() };

impl OverlayEffect {
    /// Returns the weight under it of a real server to which the spec gives `spec`; `None` if it is out.
    pub fn weight(self, spec: u32) -> Option<u32> {
        match self {
            Self::Weight(weight) => Some(weight),
            Self::AsSpec => Some(spec),
            Self::Out => None,
        }
    }

    /// Returns a real server of the spec under it; `None` if it is out.
    pub fn over(self, spec: RealServer) -> Option<RealServer> {
        self.weight(spec.weight).map(|weight| RealServer { weight, ..spec })
    }
}

impl OverlayCause {
    /// Where several causes concern a real server, the highest decides. What an operator asks for is above
    /// everything else.
    fn precedence(&self) -> u8 {
        match self {
            Self::SlowStart => 0,
            Self::Health => 1,
            Self::Quorum | Self::Fallback | Self::Kept(_) => 2,
            Self::Override { .. } => u8::MAX,
        }
    }

    /// Returns the word for texts and documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SlowStart => "slow_start",
            Self::Health => "health",
            Self::Quorum => "quorum",
            Self::Fallback => "fallback",
            Self::Kept(Floor::MaxOut) => "max_out",
            Self::Kept(Floor::WhenNone) => "when_none",
            Self::Override { .. } => "override",
        }
    }
}

impl Overlays {
    /// Returns a set without any.
    pub fn none() -> &'static Self {
        &NONE
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.real_servers.is_empty() && self.withheld_vips.is_empty()
    }

    /// Adds an overlay. One that is there stays if its cause has a higher precedence.
    pub fn insert(&mut self, service: ServiceKey, real_server: RealServerKey, overlay: Overlay) {
        let place = (service, real_server);
        let is_above = |it: &Overlay| it.cause.precedence() > overlay.cause.precedence();
        if !self.real_servers.get(&place).is_some_and(is_above) {
            self.real_servers.insert(place, overlay);
        }
    }

    /// Returns the overlay of a real server.
    pub fn get(&self, service: &ServiceKey, real_server: &RealServerKey) -> Option<&Overlay> {
        // Most hosts have none.
        let all = &self.real_servers;
        if all.is_empty() { None } else { all.get(&(*service, *real_server)) }
    }

    /// Returns the overlays of a service.
    pub fn of_service(
        &self,
        service: ServiceKey,
    ) -> impl Iterator<Item = (&RealServerKey, &Overlay)> {
        let first = RealServerKey { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
        let of_service = self.real_servers.range((service, first)..);
        let of_service = of_service.take_while(move |((it, _), _)| *it == service);
        of_service.map(|((_, real_server), overlay)| (real_server, overlay))
    }

    /// Returns all of them, in the order of their services and real servers.
    pub fn iter(&self) -> impl Iterator<Item = (&(ServiceKey, RealServerKey), &Overlay)> {
        self.real_servers.iter()
    }
}
