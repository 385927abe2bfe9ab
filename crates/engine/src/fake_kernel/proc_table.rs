//! Writes a table as `/proc/net/ip_vs` shows it, for the probe of the kernel in memory.
//!
//! As in `ip_vs_info_seq_show`, some fields are missing: thresholds, tunnel attributes, scheduler
//! flags, persistence engines, one-packet over IPv6 and the family of firewall marks. The numbers
//! are not in the kernel's notation, which does not matter to a digest.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Forward, Service, ServiceKey};

pub(super) fn text(services: &BTreeMap<ServiceKey, Service>, statistics: &Statistics) -> String {
    let mut text = String::from("Prot LocalAddress:Port Scheduler Flags\n");
    for (key, service) in services {
        let config = &service.config;
        let name = match key {
            ServiceKey::Address { address, port, protocol } => {
                format!("{protocol} {address} {port}")
            }
            ServiceKey::Fwmark { fwmark, family: _ } => format!("FWM {fwmark:08X}"),
        };
        let shows_one_packet = config.one_packet && !key.vip().is_some_and(|vip| vip.is_ipv6());
        let one_packet = if shows_one_packet { " ops" } else { "" };
        // Writing to a String does not fail.
        let _written = write!(text, "{name} {:?}{one_packet}", config.scheduler);
        if let Some(persistence) = config.persistence {
            let _written = write!(text, " persistent {persistence:?}");
        }
        text.push('\n');
        let counters = statistics.services.get(key);
        for (key, real_server) in service.real_servers.in_order() {
            // `ip_vs_fwd_name` shows whatever it does not know as masquerading.
            let forward = match real_server.forward {
                Forward::Dr => "Route",
                Forward::Tun(_) => "Tunnel",
                Forward::Local => "Local",
                Forward::Nat | Forward::Bypass | Forward::Other(_) => "Masq",
            };
            let counters = counters.and_then(|it| it.real_servers.get(key));
            let counters = counters.copied().unwrap_or_default();
            let (active, inactive) = (counters.active_connections, counters.inactive_connections);
            let weight = real_server.weight;
            let _written = writeln!(text, "  -> {key} {forward} {weight} {active} {inactive}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{
        Desired, Forward, Live, NamedService, Protocol, RealServer, RealServerKey, Scheduler,
        Scope, ServiceConfig,
    };

    use super::*;
    use crate::fake_kernel::FakeKernel;
    use crate::kernel::{Kernel, ReadRequest};
    use crate::probe::not_in_proc;

    const KEY: ServiceKey = ServiceKey::Address {
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        port: 80,
        protocol: Protocol::Tcp,
    };

    fn kernel(upper_threshold: u32) -> FakeKernel {
        let key = RealServerKey { address: [198, 51, 100, 1].into(), port: 80 };
        let real_server = RealServer { upper_threshold, ..RealServer::new(Forward::Dr, 1) };
        let real_servers = [(key, real_server)].into_iter().collect();
        let service = Service { config: ServiceConfig::new(Scheduler::wlc()), real_servers };
        FakeKernel::new(Live { services: [(KEY, service)].into(), ..Live::default() })
    }

    /// Whether a probe sees no change after this one.
    fn is_unchanged_after(kernel: &mut FakeKernel, change: impl FnOnce(&mut FakeKernel)) -> bool {
        let digest = kernel.probe().expect("it is reachable");
        let live = kernel.observe(&ReadRequest::new()).expect("it is reachable");
        let services = live.services.iter();
        let services = services.map(|(key, it)| (*key, NamedService::new("web", it.clone())));
        let desired =
            Desired { services: services.collect(), scope: Scope::All, ..Desired::default() };
        let not_in_proc = not_in_proc(&desired, &live);
        change(kernel);
        kernel
            .is_unchanged(&digest, &live, &not_in_proc, &ReadRequest::new())
            .expect("it is reachable")
    }

    fn edit(kernel: &mut FakeKernel, change: impl Fn(&mut RealServer)) {
        let service = kernel.live.services.get_mut(&KEY).expect("it is there");
        service.real_servers.for_each_mut(|_, it| change(it));
    }

    #[test]
    fn a_probe_sees_every_change_but_that_of_a_plain_service_to_what_proc_does_not_show() {
        assert!(is_unchanged_after(&mut kernel(0), |_| ()));
        assert!(is_unchanged_after(&mut kernel(0), |kernel| kernel.connect(KEY, 1, 9)));
        assert!(!is_unchanged_after(&mut kernel(0), |kernel| edit(kernel, |it| it.weight = 2)));
        assert!(!is_unchanged_after(&mut kernel(0), |kernel| kernel.live.services.clear()));
        let links = |kernel: &mut FakeKernel| kernel.live.links = Some(BTreeMap::new());
        assert!(!is_unchanged_after(&mut kernel(0), links), "not a service");
        let threshold = |kernel: &mut FakeKernel| edit(kernel, |it| it.upper_threshold = 7);
        assert!(!is_unchanged_after(&mut kernel(3), threshold), "the service is dumped");
        assert!(is_unchanged_after(&mut kernel(0), threshold), "it waits for a complete reading");
    }
}
