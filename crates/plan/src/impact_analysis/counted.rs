//! How often the connections of services are looked up, which must grow as a plan does.

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics};
use evenkeel_model::{Desired, Drain, Family, Live, Owner, Scope, Service, Vip};

use super::*;
use crate::test_fixtures::{at, scheduled_by, weighing};
use crate::{PriorState, plan};

/// The number of look-ups in a plan by which VIPs leave, or get another label, beside fwmark services with
/// connections. `on_vips` adds a service on each VIP.
fn lookups(number: u8, leave: bool, on_vips: bool) -> usize {
    let (mut live, mut statistics) = (Live::default(), Statistics::default());
    let mut desired = Desired { scope: Scope::All, drain: Drain::NONE, ..Desired::default() };
    let service = || Service {
        config: scheduled_by("wlc"),
        real_servers: [(at(1), weighing(1))].into_iter().collect(),
    };
    for last in 1..=number {
        let address = IpAddr::from([192, 0, 2, last]);
        let marked = ServiceKey::Fwmark { family: Family::Ipv4, fwmark: last.into() };
        let on_vip = ServiceKey::first_on(address);
        for key in [Some(marked), on_vips.then_some(on_vip)].into_iter().flatten() {
            live.services.insert(key, service());
            let counted = RealServerStatistics { active_connections: 3, ..Default::default() };
            let real_servers = [(at(1), counted)].into();
            let counted = ServiceStatistics { real_servers, ..ServiceStatistics::default() };
            statistics.services.insert(key, counted);
        }
        let vip = Binding::host(address, "eth0");
        live.addresses.insert(vip.clone(), Owner::Evenkeel);
        if !leave {
            let label = Some("eth0:1".into());
            desired.vips.insert(vip, Vip { label, ..Vip::default() });
        }
    }
    if !leave {
        let all = live.services.iter();
        let all = all.map(|(key, it)| (*key, evenkeel_model::NamedService::new("web", it.clone())));
        desired.services = all.collect();
    }
    let record = PriorState::for_snapshot();
    let before = LOOKUPS.get();
    let made = plan(crate::Inputs {
        statistics: Some(&statistics),
        ..crate::Inputs::new(&desired, &live, &record)
    });
    assert!(made.steps.len() >= usize::from(number), "{:?}", made.steps);
    LOOKUPS.get() - before
}

#[test]
fn the_connections_of_fwmark_services_are_looked_up_once_for_all_vips() {
    for (leave, on_vips) in [(true, false), (true, true), (false, false), (false, true)] {
        let [few, many] = [20, 80].map(|number| lookups(number, leave, on_vips));
        assert!(
            many <= 5 * few,
            "{leave} {on_vips}: {few} look-ups, and {many} for four times as much"
        );
    }
}
