//! Over which link each target of the health checks is reached, and whether that link is down.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_health::{Moment, Routes};
use evenkeel_host::{Host, OperationalState, RouteLookup};

/// After this time a route is looked up again.
const AGE: Duration = Duration::from_secs(60);

/// For this long the state of a link is not read again: with it, thousands of targets may fail at once.
const LINK_AGE: Duration = Duration::from_millis(50);

/// For this long after a link was last seen down, failures over it say nothing: neighbours answer again only then.
const RECOVERY: Duration = Duration::from_secs(3);

/// The routes of this host.
#[derive(Debug, Default)]
pub(crate) struct HostRoutes {
    host: Option<Host>,
    learnt: HashMap<IpAddr, Learnt>,
    links: HashMap<String, LinkState>,
}

#[derive(Debug)]
struct Learnt {
    at: Moment,
    /// `None` of the host's own addresses, and of those without a route.
    interface: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct LinkState {
    read: Moment,
    is_down: bool,
    /// When it was last seen down.
    was_down: Option<Moment>,
}

impl HostRoutes {
    fn host(&mut self) -> Option<&Host> {
        if self.host.is_none() {
            self.host = Host::connect().ok();
        }
        self.host.as_ref()
    }

    fn interface(&mut self, address: IpAddr) -> Option<String> {
        let mut found = self.host()?.route_lookups(&[address].into()).ok()?;
        match found.remove(&address)? {
            RouteLookup::Through { interface, .. } => Some(interface),
            RouteLookup::Local | RouteLookup::Unreachable => None,
        }
    }

    fn is_down(&mut self, interface: &str, now: Moment) -> bool {
        let known = self.links.get(interface);
        if let Some(known) = known.filter(|known| now.since(known.read) < LINK_AGE) {
            return known.is_down;
        }
        let was_down = known.and_then(|known| known.was_down);
        let Some(Ok(link)) = self.host().map(|host| host.link(interface)) else { return false };
        // A route that leads over an interface that is gone cannot be used either.
        let is_down = link.is_none_or(|link| {
            use OperationalState::{Dormant, Down, LowerLayerDown, NotPresent};
            !link.up || matches!(link.operational, NotPresent | Down | LowerLayerDown | Dormant)
        });
        let was_down = if is_down { Some(now) } else { was_down };
        let is_recovering = was_down.is_some_and(|at| now.since(at) < RECOVERY);
        let state = LinkState { read: now, is_down: is_down || is_recovering, was_down };
        self.links.insert(interface.to_owned(), state);
        state.is_down
    }
}

impl Routes for HostRoutes {
    fn learn(&mut self, address: IpAddr, now: Moment) {
        let known = self.learnt.get(&address);
        if known.is_some_and(|known| now.since(known.at) < AGE) {
            return;
        }
        let interface = self.interface(address);
        self.learnt.insert(address, Learnt { at: now, interface });
    }

    fn is_cut_off(&mut self, address: IpAddr, now: Moment) -> bool {
        let interface = match self.learnt.get(&address) {
            Some(Learnt { interface: Some(interface), .. }) => interface.clone(),
            // The link may have been down at first.
            _ => match self.interface(address) {
                Some(interface) => interface,
                None => return false,
            },
        };
        self.is_down(&interface, now)
    }
}
