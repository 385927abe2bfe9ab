//! The MAC addresses of directors, which a gateway learns from their addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_host::{Host, Namespace, Resolution};
use evenkeel_model::{Cluster, DirectorMac, HostInputs, MacAddress, RequestedRole, Role};

use super::host_addresses::message;

/// MAC addresses by the addresses that have them.
pub type Macs = BTreeMap<IpAddr, MacAddress>;

/// Learns the MAC address of a neighbour; `None` if it is not known. Returns the error as text.
pub(super) type MacReader =
    Box<dyn FnMut(&NeighbourAddress, Effort) -> Result<Option<MacAddress>, String> + Send>;

/// An address of a director on an interface of this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NeighbourAddress {
    pub(super) address: IpAddr,
    pub(super) interface: Box<str>,
}

/// How much is done to learn a MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// What the kernel knows is read. If it knows nothing, it is asked, and the answer is not waited for.
    Cached,
    /// The neighbour is asked, unless it answered lately, and its answer is waited for.
    Ask,
}

/// The longest time that an answer is waited for. The kernel asks the host that had the address three
/// times, once a second, and then all hosts as often.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(10);

/// Returns a reader of the neighbours in the network namespace of that name, or in the calling thread's.
pub(super) fn reader(netns: Option<&str>) -> MacReader {
    match netns.map(ToOwned::to_owned) {
        // In a separate thread, because entering a namespace changes the thread's own.
        Some(name) => Box::new(move |neighbour, effort| {
            let work = || {
                Namespace::enter(&name).map_err(|error| message(&error))?;
                learn(neighbour, effort)
            };
            match thread::scope(|scope| scope.spawn(work).join()) {
                Ok(learned) => learned,
                Err(_) => Err("the neighbours cannot be read".to_owned()),
            }
        }),
        None => Box::new(learn),
    }
}

/// Returns a reader for a host of which nothing can be learned.
pub(super) fn none() -> MacReader {
    Box::new(|_, _| Ok(None))
}

fn learn(neighbour: &NeighbourAddress, effort: Effort) -> Result<Option<MacAddress>, String> {
    let NeighbourAddress { address, interface } = neighbour;
    let host = Host::connect().map_err(|error| message(&error))?;
    let end = Instant::now() + ANSWER_TIMEOUT;
    let (mut is_confirmed, mut is_resolved) = (false, false);
    loop {
        let found = host.resolution(*address, interface).map_err(|error| message(&error))?;
        let known = match found {
            Resolution::Confirmed(mac) | Resolution::Unconfirmed(mac) => Some(MacAddress(mac)),
            Resolution::Unknown | Resolution::Pending => None,
        };
        let asked = match (found, effort) {
            (Resolution::Confirmed(_), _) | (Resolution::Unconfirmed(_), Effort::Cached) => {
                return Ok(known.filter(|mac| mac.is_unicast()));
            }
            (Resolution::Unknown, _) => Some(&mut is_resolved),
            (Resolution::Unconfirmed(_), Effort::Ask) => Some(&mut is_confirmed),
            (Resolution::Pending, _) => {
                is_resolved = true;
                None
            }
        };
        match asked {
            // It does not answer.
            Some(true) if found == Resolution::Unknown => return Ok(None),
            Some(true) | None => {}
            Some(asked) => {
                *asked = true;
                if host.resolve(*address, interface).is_err() {
                    // Without the permission to ask, what the kernel would use is what there is.
                    return Ok(known.filter(|mac| mac.is_unicast()));
                }
            }
        }
        if effort == Effort::Cached || Instant::now() > end {
            return Ok(None);
        }
        thread::sleep(PAUSE);
    }
}

/// Returns the addresses from which this host learns MAC addresses: if it is a gateway, those of
/// directors whose MAC addresses the spec does not give. One answer of each group is enough: it is of one
/// director on one interface.
pub(super) fn to_learn(
    cluster: &Cluster,
    inputs: &HostInputs,
    requested: Option<RequestedRole>,
) -> Vec<Vec<NeighbourAddress>> {
    let may_be_gateway = matches!(
        requested,
        None | Some(RequestedRole::Auto | RequestedRole::Exactly(Role::Gateway))
    );
    if !may_be_gateway || !inputs.own().iter().any(|own| cluster.lists_gateway(own)) {
        return Vec::new();
    }
    let mut groups = Vec::new();
    for director in cluster.directors.iter().filter(|it| it.mac == Some(DirectorMac::Learned)) {
        let mut of_director: BTreeMap<&str, Vec<NeighbourAddress>> = BTreeMap::new();
        for address in &director.addresses {
            for interface in inputs.interfaces_to(*address) {
                let neighbour = NeighbourAddress { address: *address, interface: interface.into() };
                of_director.entry(interface).or_default().push(neighbour);
            }
        }
        groups.extend(of_director.into_values());
    }
    groups
}
