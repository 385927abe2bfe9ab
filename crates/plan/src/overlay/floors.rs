//! Floors: what health takes out never leaves a service with less than its spec allows.
//!
//! They retain, or replace by a fallback pool, only what health took out. What an operator overrode is no part of
//! the quorum, and no floor changes it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_model::{
    Desired, Floor, HealthFacts, Live, Member, NamedService, Overlay, OverlayCause, OverlayEffect,
    Overlays, RealServerKey, ServerHealth, ServiceHealth, ServiceKey, VipWithoutQuorum, WhenNone,
    WithheldVip,
};

/// Adds the floors, and returns the services that have their quorum.
pub(super) fn add(
    overlays: &mut Overlays,
    desired: &Desired,
    facts: &HealthFacts,
    live: &Live,
) -> BTreeSet<ServiceKey> {
    let mut with_quorum = BTreeSet::new();
    for (service, named) in &desired.services {
        let Some(health) = &named.health else { continue };
        let floors = Floors::new(*service, named, health, facts, overlays);
        let has_quorum = floors.has_quorum();
        if has_quorum {
            with_quorum.insert(*service);
        }
        let is_starting = facts.starting.contains(service);
        let fallback = floors.usable_fallback();
        let is_lost = !has_quorum || floors.is_nothing_left();
        let serves = is_lost && !is_starting && !fallback.is_empty();
        if let Some(vip) = service.vip().filter(|_| !has_quorum && !serves) {
            let is_given_up = health.policy.vip == VipWithoutQuorum::Unbind && !is_starting;
            if is_given_up || is_starting && !is_bound(vip, live) {
                overlays.withheld_vips.insert(vip, WithheldVip { service: *service, is_starting });
            }
        }
        let changes = match () {
            () if serves => floors.replaced_by(fallback),
            () if is_starting => Vec::new(),
            () => floors.kept(),
        };
        for (key, overlay) in changes {
            overlays.insert(*service, key, overlay);
        }
    }
    with_quorum
}

fn is_bound(vip: IpAddr, live: &Live) -> bool {
    live.bound(vip).next().is_some()
}

/// A service with its overlays so far.
struct Floors<'a> {
    service: ServiceKey,
    named: &'a NamedService,
    health: &'a ServiceHealth,
    facts: &'a HealthFacts,
    /// The real servers of the spec with a weight that no operator overrode.
    members: Vec<Listed<'a>>,
    /// How many real servers of the spec have a weight, those that an operator overrode among them.
    weighing: usize,
    /// Whether one that an operator overrode has a weight.
    is_override_in_use: bool,
}

struct Listed<'a> {
    key: RealServerKey,
    weight: u32,
    /// What is known of it, if it is down.
    down: Option<&'a ServerHealth>,
}

impl<'a> Floors<'a> {
    fn new(
        service: ServiceKey,
        named: &'a NamedService,
        health: &'a ServiceHealth,
        facts: &'a HealthFacts,
        overlays: &Overlays,
    ) -> Self {
        let mut members = Vec::new();
        let (mut is_override_in_use, mut weighing) = (false, 0);
        for (key, listed) in named.service.real_servers.in_order() {
            weighing += usize::from(listed.weight > 0);
            match overlays.get(&service, key) {
                Some(Overlay { effect, cause: OverlayCause::Override { .. }, .. }) => {
                    is_override_in_use |= effect.weight(listed.weight).unwrap_or(0) > 0;
                }
                _ if listed.weight == 0 => {}
                _ => {
                    let down = facts.of(&service, key).filter(|it| !it.is_up());
                    members.push(Listed { key: *key, weight: listed.weight, down });
                }
            }
        }
        Self { service, named, health, facts, members, weighing, is_override_in_use }
    }

    /// Whether the spec and operators leave nothing in use.
    fn is_nothing_left(&self) -> bool {
        self.members.is_empty() && !self.is_override_in_use
    }

    fn has_quorum(&self) -> bool {
        let member = |it: &Listed<'_>| Member { weight: it.weight, up: it.down.is_none() };
        let members: Vec<Member> = self.members.iter().map(member).collect();
        // A service of which operators or the spec took everything out has lost nothing by its checks.
        members.is_empty()
            || self
                .health
                .policy
                .quorum
                .is_there(self.facts.had_quorum.contains(&self.service), &members)
    }

    /// The real servers of the fallback pool that are up.
    fn usable_fallback(&self) -> Vec<(RealServerKey, u32)> {
        let Some(fallback) = &self.health.fallback else { return Vec::new() };
        let is_up = |key: &RealServerKey| {
            let is_checked = fallback.checks.contains_key(key);
            self.facts.of(&self.service, key).map_or(!is_checked, ServerHealth::is_up)
        };
        let usable = fallback.real_servers.in_order();
        usable
            .filter(|(key, server)| server.weight > 0 && is_up(key))
            .map(|(key, server)| (*key, server.weight))
            .collect()
    }

    /// Since when the quorum is lost: the last failure.
    fn lost_since(&self) -> u64 {
        self.members.iter().filter_map(|it| it.down).map(|it| it.since).max().unwrap_or_default()
    }

    /// The overlays with which the fallback pool serves alone.
    fn replaced_by(&self, fallback: Vec<(RealServerKey, u32)>) -> Vec<(RealServerKey, Overlay)> {
        let since = self.lost_since();
        let overlay = |weight, cause| Overlay {
            effect: OverlayEffect::Weight(weight),
            cause,
            reason: "".into(),
            since,
            until: None,
        };
        let up = self.members.iter().filter(|it| it.down.is_none());
        up.map(|it| (it.key, overlay(0, OverlayCause::Quorum)))
            .chain(
                fallback
                    .into_iter()
                    .map(|(key, weight)| (key, overlay(weight, OverlayCause::Fallback))),
            )
            .collect()
    }

    /// The overlays of those that are down and stay in use.
    fn kept(&self) -> Vec<(RealServerKey, Overlay)> {
        let mut down: Vec<(&Listed<'_>, &ServerHealth)> =
            self.members.iter().filter_map(|it| Some((it, it.down?))).collect();
        // Those that failed last first; of several at once those that are written last.
        down.reverse();
        down.sort_by_key(|(_, health)| health.age);
        // Of all: what an operator takes out brings nothing back that is down.
        let most = self.weighing * usize::from(self.health.policy.max_out) / 100;
        let mut kept = down.len().saturating_sub(most);
        let mut floor = Floor::MaxOut;
        let is_any_up = self.is_override_in_use || down.len() < self.members.len();
        if kept == 0 && !is_any_up && self.health.policy.when_none == WhenNone::Keep {
            floor = Floor::WhenNone;
            let last = down.first().map(|(_, health)| health.age).unwrap_or_default();
            let together = last.saturating_add(self.time_of_a_failure());
            kept = down.iter().filter(|(_, health)| health.age <= together).count();
        }
        let overlay = |health: &ServerHealth| Overlay {
            effect: OverlayEffect::AsSpec,
            cause: OverlayCause::Kept(floor),
            reason: health.reason.clone(),
            since: health.since,
            until: None,
        };
        down.iter().take(kept).map(|(listed, health)| (listed.key, overlay(health))).collect()
    }

    /// The time within which the checks notice that several real servers fail at once.
    fn time_of_a_failure(&self) -> Duration {
        let servers = self.named.service.real_servers.iter();
        let checks = servers.flat_map(|(key, _)| self.health.checks_of(key));
        let time = |check: &evenkeel_model::check::Check| {
            check.interval + check.fast.max(check.timeout) * check.fall.get()
        };
        checks.map(time).max().unwrap_or_default()
    }
}
