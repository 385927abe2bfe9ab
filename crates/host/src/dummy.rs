//! Creates and deletes evenkeel's own dummy devices, to which VIPs can be bound.

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{LinkDummy, LinkUnspec};
use tracing::debug;

use crate::error::{Action, Error};
use crate::host::Host;
use crate::link::check_name;
use crate::ownership::ALIAS;

/// The name of a device until it is marked. A process that is killed in between leaves it behind, and the
/// next device replaces it: it is down and of no use, and would otherwise count as another program's.
const UNFINISHED: &str = "evenkeel-new";

impl Host {
    /// Creates a dummy device, marks it with [`ALIAS`] and sets it up. No other process may create
    /// one in this network namespace at the same time.
    ///
    /// # Errors
    /// [`Error::InterfaceExists`] for any interface of that name; [`Error::InvalidName`];
    /// [`Error::DummyUnavailable`] without the kernel module; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    /// If the device cannot be marked or set up it is deleted again.
    pub fn create_dummy(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let action = || Action::CreateDummy(name.to_owned());
        let exists = || Error::InterfaceExists { interface: name.to_owned() };
        if self.link(name)?.is_some() {
            return Err(exists());
        }
        if let Some(left) = self.link(UNFINISHED)?.filter(|left| left.is_dummy() && !left.up) {
            self.delete_index(left.index, action())?;
        }
        let exclusive = NLM_F_CREATE | NLM_F_EXCL;
        let unfinished = LinkDummy::new(UNFINISHED).build();
        if let Err(failure) =
            self.netlink.request(RouteNetlinkMessage::NewLink(unfinished), exclusive)
        {
            return Err(match failure.during(action()) {
                Error::Refused { source, .. } if source.is(Errno::EOPNOTSUPP) => {
                    Error::DummyUnavailable { interface: name.to_owned(), source }
                }
                error => error,
            });
        }
        // The kernel takes an alias for a link that exists only, so there are two steps. The second one
        // gives it the name too, so that a device of that name is marked.
        let index = self.existing_link(UNFINISHED)?.index;
        let marked = LinkUnspec::new_with_index(index).name(name).alias(ALIAS).up().build();
        if let Err(failure) = self.netlink.request(RouteNetlinkMessage::SetLink(marked), 0) {
            // Another program created a device of that name meanwhile.
            let is_taken = failure.is(Errno::EEXIST);
            let error = failure.during(action());
            self.delete_index(index, action())?;
            return Err(if is_taken { exists() } else { error });
        }
        debug!(interface = name, "created dummy device");
        Ok(())
    }

    /// Brings up a dummy device that [`Host::create_dummy`] made; one that is up stays up. IPv4 addresses and
    /// their local routes survive while a device is down. IPv6 addresses were removed when it was set down,
    /// unless `keep_addr_on_down` is set (`addrconf_ifdown`).
    ///
    /// # Errors
    /// [`Error::NotOurs`] for any other interface, [`Error::InterfaceMissing`] if there is none;
    /// [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn bring_up_dummy(&self, name: &str) -> Result<(), Error> {
        let link = self.existing_link(name)?;
        if !link.is_ours() {
            return Err(Error::NotOurs { interface: name.to_owned() });
        }
        let up = LinkUnspec::new_with_index(link.index).up().build();
        self.netlink
            .request(RouteNetlinkMessage::SetLink(up), 0)
            .map_err(|failure| failure.during(Action::BringUpDummy(name.to_owned())))?;
        debug!(interface = name, "brought up dummy device");
        Ok(())
    }

    /// Deletes a dummy device that [`Host::create_dummy`] made, with all addresses on it. The caller has to check
    /// first that none of them belongs to another program.
    ///
    /// # Errors
    /// [`Error::NotOurs`] for any other interface, [`Error::InterfaceMissing`] if there is none;
    /// [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn delete_dummy(&self, name: &str) -> Result<(), Error> {
        let link = self.existing_link(name)?;
        if !link.is_ours() {
            return Err(Error::NotOurs { interface: name.to_owned() });
        }
        self.delete_index(link.index, Action::DeleteDummy(name.to_owned()))?;
        debug!(interface = name, "deleted dummy device");
        Ok(())
    }

    fn delete_index(&self, index: u32, action: Action) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.netlink
            .request(RouteNetlinkMessage::DelLink(message), 0)
            .map_err(|failure| failure.during(action))?;
        Ok(())
    }
}
