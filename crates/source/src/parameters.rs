//! The values of a spec's parameters on this host.

mod host_addresses;
mod macs;
mod readings;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::env::{self, VarError};
use std::fmt;
use std::net::IpAddr;

use evenkeel_host::Address;
use evenkeel_model::{
    Binding, Cluster, FormerRole, HostInputs, Owner, OwnerName, RequestedRole, Role,
};
use evenkeel_spec::{HostKnowledge, Parameter, Parameters};

use host_addresses::{AddressReader, first_own, host_inputs};
use macs::{Effort, MacReader, NeighbourAddress};

pub use macs::Macs;
pub use readings::{ParameterName, ParameterReadings, ParameterValue};

/// Provides the values of parameters: those of `--set`, of the environment, and the addresses of a
/// network namespace. It records which parameters were requested, so that their values can be compared
/// later: parameters are inputs of a spec, as files are.
pub struct HostParameters {
    /// The owner that specs have to be of; `None` accepts any.
    owner: Option<OwnerName>,
    set: BTreeMap<String, String>,
    host: HostRequest,
    /// The cluster of the last spec for which the inputs of roles were requested.
    cluster: RefCell<Cluster>,
    reader: RefCell<AddressReader>,
    mac_reader: RefCell<MacReader>,
    /// The MAC addresses of the last applied spec, and with `keeps_macs` those learned since.
    macs: RefCell<Macs>,
    /// Whether a MAC address that is known is not learned again.
    keeps_macs: bool,
    /// The addresses that the journal records as bound by evenkeel.
    journalled: BTreeSet<Binding>,
    /// The addresses, read on first use; the same for all values until [`Self::refresh`].
    addresses: OnceCell<Result<Vec<Address>, String>>,
    used: RefCell<ParameterReadings>,
}

/// The host that a spec is loaded for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRequest {
    /// None in particular.
    AnyHost,
    /// The host whose addresses are read.
    ThisHost {
        /// The role that the user requests; `None` leaves it to the spec.
        role: Option<RequestedRole>,
        /// What the host was before and no director, as its journal says.
        former: Option<FormerRole>,
        /// The MAC addresses that it learned for the last applied spec.
        macs: Macs,
    },
    /// The host of a snapshot.
    Snapshot {
        /// The role that the user requests; `None` leaves it to the spec.
        role: Option<RequestedRole>,
        /// Its addresses.
        addresses: BTreeMap<Binding, Owner>,
    },
}

impl HostParameters {
    /// The values of `--set` by their names, and the addresses of the network namespace of that name;
    /// of the calling thread's, if there is no name. Specs are loaded for that host.
    pub fn new(set: BTreeMap<String, String>, netns: Option<&str>, host: HostRequest) -> Self {
        let (reader, mac_reader, macs) = match &host {
            HostRequest::Snapshot { addresses, .. } => {
                (host_addresses::snapshot(addresses), macs::none(), Macs::new())
            }
            HostRequest::AnyHost => (host_addresses::reader(netns), macs::none(), Macs::new()),
            HostRequest::ThisHost { macs, .. } => {
                (host_addresses::reader(netns), macs::reader(netns), macs.clone())
            }
        };
        let (mac_reader, macs) = (RefCell::new(mac_reader), RefCell::new(macs));
        Self { host, mac_reader, macs, ..Self::with_reader(set, reader) }
    }

    fn with_reader(set: BTreeMap<String, String>, reader: AddressReader) -> Self {
        Self {
            owner: None,
            set,
            host: HostRequest::ThisHost { role: None, former: None, macs: Macs::new() },
            cluster: RefCell::default(),
            reader: RefCell::new(reader),
            mac_reader: RefCell::new(macs::none()),
            macs: RefCell::default(),
            keeps_macs: false,
            journalled: BTreeSet::new(),
            addresses: OnceCell::new(),
            used: RefCell::default(),
        }
    }

    /// Refuses specs of other owners.
    #[must_use]
    pub fn of_owner(mut self, owner: Option<OwnerName>) -> Self {
        self.owner = owner;
        self
    }

    /// Returns the names of `--set` that were not requested.
    pub fn unused(&self) -> Vec<&str> {
        let used = self.used.borrow();
        let names = self.set.keys().map(|name| &**name);
        names.filter(|name| !used.contains_key(&Parameter::Set(name).into())).collect()
    }

    /// Keeps MAC addresses: one that the last applied spec or an earlier reading has is not learned again,
    /// so that an answer of another host does not change the spec.
    #[must_use]
    pub fn keeping_macs(mut self) -> Self {
        self.keeps_macs = true;
        self
    }

    /// Replaces the MAC addresses that are known by those of another applied spec.
    pub(crate) fn replace_macs(&mut self, macs: &Macs) {
        self.macs.get_mut().extend(macs);
    }

    /// Sets the addresses that the journal records as bound by evenkeel: on kernels that do not store
    /// who bound an address, these are left out.
    pub(crate) fn set_journalled(&mut self, journalled: &BTreeSet<Binding>) {
        if self.journalled != *journalled {
            self.journalled.clone_from(journalled);
        }
    }

    /// Records what the host is and no director, in case that the spec no longer lists it.
    pub(crate) fn set_former(&mut self, role: FormerRole) {
        if let HostRequest::ThisHost { former, .. } = &mut self.host {
            *former = Some(role);
        }
    }

    /// Whether the last spec that asked for the roles of this host lists the address as a real server's.
    pub(crate) fn is_real_server(&self, address: &IpAddr) -> bool {
        self.cluster.borrow().real_servers.contains(address)
    }

    /// Begins another reading: the next request for an address reads all of them again.
    pub(crate) fn refresh(&mut self) {
        self.addresses.take();
    }

    /// Returns the current values of these parameters.
    pub(crate) fn current(&self, of: &ParameterReadings) -> ParameterReadings {
        of.keys().map(|name| (name.clone(), self.read_name(name))).collect()
    }

    /// Returns the parameters that were requested, with their values.
    pub fn used(&self) -> ParameterReadings {
        self.used.borrow().clone()
    }

    /// Returns what was requested since the last call.
    pub(crate) fn take_used(&self) -> ParameterReadings {
        self.used.take()
    }

    fn read_name(&self, name: &ParameterName) -> ParameterValue {
        match name.parameter() {
            Some(parameter) => self.read(parameter),
            None => match self.host_inputs(&self.cluster.borrow(), Effort::Cached) {
                Ok(inputs) => ParameterValue::of(Some(inputs)),
                Err(why) => ParameterValue::Unavailable(why),
            },
        }
    }

    /// The same of a gateway's.
    pub(crate) fn is_gateway(&self, address: &IpAddr) -> bool {
        self.cluster.borrow().lists_gateway(address)
    }

    /// Returns what the roles of this host depend on.
    fn host_inputs(&self, cluster: &Cluster, effort: Effort) -> Result<HostInputs, String> {
        let (requested, former) = match &self.host {
            HostRequest::AnyHost => return Ok(HostInputs::default()),
            HostRequest::ThisHost { role, former, macs: _ } => (*role, *former),
            HostRequest::Snapshot { role, addresses: _ } => (*role, None),
        };
        let addresses = self.addresses.get_or_init(|| (self.reader.borrow_mut())());
        let addresses = addresses.as_ref().map_err(Clone::clone)?;
        let found = host_inputs(addresses, cluster, &self.journalled);
        // It matters only where neither the addresses nor the request decide.
        let is_listed = found.own().iter().any(|it| cluster.lists(it));
        let is_decided = is_listed && !cluster.directors.is_empty();
        let former = former.filter(|_| !is_decided);
        let macs = self.learned(cluster, &found, requested, effort)?;
        Ok(HostInputs { requested, former, macs, ..found })
    }

    /// Returns the MAC addresses that this host learns. If a director does not answer, it keeps the one that
    /// the last applied spec has.
    fn learned(
        &self,
        cluster: &Cluster,
        inputs: &HostInputs,
        requested: Option<RequestedRole>,
        effort: Effort,
    ) -> Result<Macs, String> {
        let mut learned = Macs::new();
        let mut read = self.mac_reader.borrow_mut();
        let macs = self.macs.borrow();
        let groups = macs::to_learn(cluster, inputs, requested);
        let is_kept =
            |neighbour: &NeighbourAddress| self.keeps_macs && macs.contains_key(&neighbour.address);
        // The kernel asks all of them at once, so that several silent ones take no longer than one.
        let asked = groups.iter().filter(|group| !group.iter().any(is_kept)).flatten();
        for neighbour in asked.filter(|_| effort == Effort::Ask) {
            read(neighbour, Effort::Cached)?;
        }
        for group in groups {
            let known = || group.iter().find_map(|it| Some((it.address, *macs.get(&it.address)?)));
            let mut found = known().filter(|_| self.keeps_macs);
            for neighbour in &group {
                if found.is_none() {
                    found = read(neighbour, effort)?.map(|mac| (neighbour.address, mac));
                }
            }
            learned.extend(found.or_else(known));
        }
        Ok(learned)
    }

    fn read(&self, parameter: Parameter<'_>) -> ParameterValue {
        match parameter {
            Parameter::Set(name) => ParameterValue::of(self.set.get(name)),
            Parameter::Env(name) => match env::var(name) {
                Ok(value) => ParameterValue::Value(value.into()),
                Err(VarError::NotPresent) => ParameterValue::Missing,
                Err(VarError::NotUnicode(_)) => {
                    ParameterValue::Unusable("the variable is not UTF-8".to_owned())
                }
            },
            Parameter::Host { interface, family } => {
                match self.addresses.get_or_init(|| (self.reader.borrow_mut())()) {
                    Ok(addresses) => ParameterValue::of(
                        first_own(addresses, interface, family, &self.journalled)
                            .map(|it| it.address),
                    ),
                    Err(why) => ParameterValue::Unavailable(why.clone()),
                }
            }
        }
    }
}

impl Parameters for HostParameters {
    fn value(&self, parameter: Parameter<'_>) -> Result<Option<String>, String> {
        let value = self.read(parameter);
        self.used.borrow_mut().insert(parameter.into(), value.clone());
        match value {
            ParameterValue::Value(value) => Ok(Some(value.into())),
            ParameterValue::Missing => Ok(None),
            ParameterValue::Unusable(why) | ParameterValue::Unavailable(why) => Err(why),
        }
    }

    fn expected_owner(&self) -> Option<OwnerName> {
        self.owner.clone()
    }

    fn may_be_no_director(&self) -> bool {
        let (role, former) = match &self.host {
            HostRequest::AnyHost => return false,
            HostRequest::ThisHost { role, former, macs: _ } => (*role, *former),
            HostRequest::Snapshot { role, addresses: _ } => (*role, None),
        };
        former.is_some() || !matches!(role, None | Some(RequestedRole::Exactly(Role::Director)))
    }

    fn host(&self, cluster: &Cluster) -> Result<HostKnowledge, String> {
        if self.host == HostRequest::AnyHost {
            return Ok(HostKnowledge::AnyHost);
        }
        let inputs = self.host_inputs(cluster, Effort::Ask);
        if let Ok(inputs) = &inputs
            && self.keeps_macs
        {
            self.macs.borrow_mut().extend(&inputs.macs);
        }
        self.cluster.replace(cluster.clone());
        let value = match &inputs {
            Ok(inputs) => ParameterValue::of(Some(inputs)),
            Err(why) => ParameterValue::Unavailable(why.clone()),
        };
        self.used.borrow_mut().insert(ParameterName::this_host(), value);
        inputs.map(HostKnowledge::Host)
    }
}

impl fmt::Debug for HostParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostParameters").field("used", &self.used).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
