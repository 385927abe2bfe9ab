//! Tunnel devices that accept the packets of every sender: those that the kernel creates with the driver
//! (fallback devices), or devices of the same name where it creates none.
//!
//! A fallback device cannot be deleted. It is taken into use by setting it up and marking it with
//! [`ALIAS`], and returned by the opposite.

use std::io;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoData, LinkAttribute, LinkInfo, LinkMessage};
use tracing::debug;

use crate::error::{Action, Error};
use crate::host::Host;
use crate::link::Link;
use crate::link::tunnel::{IFLA_IPTUN_FLAGS, IFLA_IPTUN_PROTO, Ip6tnlMode, TunnelDriver};
use crate::ownership::ALIAS;

impl Host {
    /// Takes the device of a driver into use: creates it if it is missing, gives it its mode, marks it with
    /// [`ALIAS`](crate::ALIAS) and sets it up. The kernel loads the driver.
    ///
    /// The mode is one of ip6tnl0 only; `None` leaves it as it is.
    ///
    /// # Errors
    /// [`Error::Exists`] if it is up already; [`Error::TunnelUnavailable`] if the kernel lacks the driver;
    /// [`Error::Impossible`] if an interface of that name is of another kind, or its ends are set;
    /// [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn add_tunnel(&self, driver: TunnelDriver, mode: Option<Ip6tnlMode>) -> Result<(), Error> {
        let action = || Action::Add(driver.object());
        let found = match self.link(driver.device())? {
            Some(found) => found,
            None => self.create_tunnel(driver)?,
        };
        let usable = found.tunnel.as_ref().filter(|it| it.driver == driver);
        let why = match usable {
            None => {
                format!("an interface of that name exists that is not of type {}", driver.kind())
            }
            Some(_) if found.up => return Err(Error::Exists { object: driver.object() }),
            Some(it) if !it.is_any_to_any => {
                "one of that name exists, and another program has set its ends".to_owned()
            }
            Some(_) => match found.alias.as_deref() {
                None | Some("" | ALIAS) => String::new(),
                Some(alias) => format!(
                    "it has the alias `{alias}`, and evenkeel marks a device that it uses by its own alias; \
                     `ip link set {} alias ''` removes it",
                    driver.device()
                ),
            },
        };
        if !why.is_empty() {
            return Err(Error::Impossible { object: driver.object(), why });
        }
        // Marked first: what an interrupted change of the mode leaves behind is then known as evenkeel's.
        let marked = LinkUnspec::new_with_index(found.index).alias(ALIAS).up().build();
        let set = self.netlink.request(RouteNetlinkMessage::SetLink(marked), 0);
        set.map_err(|failure| failure.during(action()))?;
        if let Some(mode) = mode
            && let Err(error) = self.set_mode(&found, mode, action())
        {
            self.delete_tunnel(driver)?;
            return Err(error);
        }
        debug!(interface = driver.device(), "took tunnel device into use");
        Ok(())
    }

    /// Gives ip6tnl0, which [`Self::add_tunnel`] took into use, another mode.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not in use by evenkeel; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn edit_tunnel(&self, driver: TunnelDriver, mode: Ip6tnlMode) -> Result<(), Error> {
        let found = self.tunnel_in_use(driver)?;
        self.set_mode(&found, mode, Action::Edit(driver.object()))
    }

    /// Returns the device of a driver, which [`Self::add_tunnel`] took into use: sets it down, without the
    /// mark and with the mode that the kernel gives it, and deletes it unless it is the kernel's own.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not in use by evenkeel; [`Error::InTheWay`] if an address is on it, which
    /// could be lost; [`Error::NotPermitted`] without CAP_NET_ADMIN.
    pub fn delete_tunnel(&self, driver: TunnelDriver) -> Result<(), Error> {
        let action = || Action::Delete(driver.object());
        let found = self.tunnel_in_use(driver)?;
        let addresses = self.addresses()?;
        let on_it = |it: &&crate::Address| it.index == found.index && !it.is_of_kernel();
        if let Some(it) = addresses.iter().find(on_it) {
            let other = format!("{}/{}", it.address, it.prefix);
            let remedy = format!("ip address delete {other} dev {}", driver.device());
            return Err(Error::InTheWay {
                object: format!("the deletion of {}", driver.object()),
                other: format!("address {other}"),
                remedy,
            });
        }
        if driver == TunnelDriver::Ip6tnl {
            self.set_mode(&found, Ip6tnlMode::Ip6ip6, action())?;
        }
        // The kernel accepts this for its own device and keeps it (`ip_tunnel_dellink`).
        let mut message = LinkMessage::default();
        message.header.index = found.index;
        let deleted = self.netlink.request(RouteNetlinkMessage::DelLink(message), 0);
        deleted.map_err(|failure| failure.during(action()))?;
        let down = LinkUnspec::new_with_index(found.index).alias("").down().build();
        match self.netlink.request(RouteNetlinkMessage::SetLink(down), 0) {
            Err(failure) if failure.is(Errno::ENODEV) => {}
            set => drop(set.map_err(|failure| failure.during(action()))?),
        }
        debug!(interface = driver.device(), "returned tunnel device");
        Ok(())
    }

    /// Creates the device of a driver. Where the kernel makes one with the driver, that one is returned.
    fn create_tunnel(&self, driver: TunnelDriver) -> Result<Link, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(driver.device().to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(driver.info_kind())]));
        let exclusive = NLM_F_CREATE | NLM_F_EXCL;
        match self.netlink.request(RouteNetlinkMessage::NewLink(message), exclusive) {
            Ok(_) => {}
            Err(failure) if failure.is(Errno::EEXIST) => {}
            Err(failure) => {
                let is_missing = failure.is(Errno::EOPNOTSUPP) || failure.is(Errno::ENODEV);
                return Err(match failure.during(Action::Add(driver.object())) {
                    Error::Refused { source, .. } if is_missing => Error::TunnelUnavailable {
                        interface: driver.device().to_owned(),
                        module: driver.module(),
                        option: driver.kernel_option(),
                        source,
                    },
                    error => error,
                });
            }
        }
        self.existing_link(driver.device())
    }

    fn tunnel_in_use(&self, driver: TunnelDriver) -> Result<Link, Error> {
        let found = self.link(driver.device())?;
        let ours = found.filter(|it| {
            it.up && it.has_our_alias() && it.tunnel.as_ref().is_some_and(|it| it.driver == driver)
        });
        ours.ok_or_else(|| Error::Missing { object: driver.object() })
    }

    /// Gives ip6tnl0 a mode. Kernels differ in whether they accept it over netlink for their own device:
    /// those that do not accept it as an ioctl, of which `ip` is used for lack of a safe binding.
    fn set_mode(&self, link: &Link, mode: Ip6tnlMode, action: Action) -> Result<(), Error> {
        let tunnel = link.tunnel.as_ref().filter(|it| it.driver == TunnelDriver::Ip6tnl);
        let Some(tunnel) = tunnel.filter(|it| it.protocol != mode.protocol()) else {
            return Ok(());
        };
        // The kernel's own device accepts no other change than this, so its flags are as they were.
        let data = vec![
            DefaultNla::new(IFLA_IPTUN_FLAGS, tunnel.flags.clone()),
            DefaultNla::new(IFLA_IPTUN_PROTO, vec![mode.protocol()]),
        ];
        let mut bytes = vec![0; data.as_slice().buffer_len()];
        data.as_slice().emit(&mut bytes);
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(TunnelDriver::Ip6tnl.info_kind()),
            LinkInfo::Data(InfoData::Other(bytes)),
        ]));
        match self.netlink.request(RouteNetlinkMessage::NewLink(message), 0) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is(Errno::EINVAL) => {
                self.check_namespace(action.clone())?;
                change_mode_by_ip(&link.name, mode, action)
            }
            Err(failure) => Err(failure.during(action)),
        }
    }
}

/// Runs `ip -6 tunnel change`.
fn change_mode_by_ip(interface: &str, mode: Ip6tnlMode, action: Action) -> Result<(), Error> {
    let arguments = ["-6", "tunnel", "change", interface, "mode", mode.name()];
    let run = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let why = match run {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "ip is not installed".to_owned(),
        Err(source) => return Err(Error::Io { action, source }),
    };
    let command = arguments.join(" ");
    let what = format!("this kernel changes the mode only for `ip {command}`, which failed: {why}");
    Err(Error::Malformed { action, what })
}
