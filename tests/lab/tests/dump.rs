//! The complete IPVS state of a namespace, statistics excluded, as the netlink crate reads it:
//! before any conversion to the spec's terms or to canonical form.

use std::collections::BTreeMap;

use evenkeel_ipvs::{
    Client, Destination, DestinationKey, Netmask, Service, ServiceKey, SyncDaemon, SyncState,
    Timeouts, Tunnel, flags, tunnel_kind,
};

/// The state of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dump {
    services: BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>,
    /// The lists of destinations in the kernel's order, the newest first.
    orders: BTreeMap<ServiceKey, Vec<DestinationKey>>,
    timeouts: Timeouts,
    daemons: BTreeMap<SyncState, SyncDaemon>,
}

impl Dump {
    /// Reads the state of the calling thread's namespace.
    pub(crate) fn take() -> Self {
        let mut client = Client::connect().unwrap();
        let (mut services, mut orders) = (BTreeMap::new(), BTreeMap::new());
        for entry in client.services().unwrap() {
            assert!(entry.unknown.is_empty(), "{entry:?}");
            let key = entry.service.key;
            let destinations = client.destinations(&key).unwrap();
            let known = destinations.iter().all(|entry| entry.unknown.is_empty());
            assert!(known, "{destinations:?}");
            let destinations = destinations.into_iter().map(|entry| entry.destination);
            let listed: Vec<Destination> = destinations.collect();
            let order = listed.iter().map(Destination::key).collect();
            assert_eq!(orders.insert(key, order), None, "one entry for each service");
            let by_key = listed.into_iter().map(|it| (it.key(), it)).collect();
            services.insert(key, (entry.service, by_key));
        }
        let daemons = client.daemons().unwrap().into_iter().map(|entry| entry.daemon);
        let daemons = daemons.map(|daemon| (daemon.state, daemon)).collect();
        Self { services, orders, timeouts: client.timeouts().unwrap(), daemons }
    }

    /// Removes values that the kernel stores and never uses: a service's timeout and netmask
    /// without persistence, and parameters that a tunnel of its kind does not have.
    pub(crate) fn without_idle_values(mut self) -> Self {
        for (service, destinations) in self.services.values_mut() {
            if service.flags & flags::PERSISTENT == 0 {
                service.timeout = 0;
                service.netmask = Netmask::host(service.key.family());
            }
            for destination in destinations.values_mut() {
                let Tunnel { kind, port, flags } = &mut destination.tunnel;
                match *kind {
                    tunnel_kind::IPIP => (*port, *flags) = (0, 0),
                    tunnel_kind::GRE => *port = 0,
                    _ => {}
                }
            }
        }
        self
    }
}
