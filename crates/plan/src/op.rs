//! The operations of a plan, with all that their execution needs.

use std::collections::BTreeMap;

use evenkeel_model::{
    Binding, Drain, HostObject, HostValue, RealServer, RealServerKey, Service, ServiceConfig,
    ServiceKey, SyncDaemon, SyncState, Timeouts,
};
use serde::{Deserialize, Serialize};

/// One change to one object, with its value before and after.
///
/// Plans of large tables hold tens of thousands of operations, most of them on real servers, so
/// larger values are boxed.
///
/// An edit replaces the whole object, as the kernel's SET operations do; `after` is therefore
/// complete and includes fields that are left to other programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A kernel module is loaded.
    AddModule {
        /// Its name.
        module: Box<str>,
    },
    /// A sysctl is set to another value.
    EditSysctl {
        /// Its key.
        key: Box<str>,
        /// Its value as read; `unset` if there is no such sysctl yet.
        before: Box<str>,
        /// The value it gets.
        after: Box<str>,
        /// The sysctls that the kernel rewrites with it ([`crate::MasterSysctl`]), with their values
        /// before.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        rewrites: BTreeMap<Box<str>, Box<str>>,
    },
    /// A sysctl that the spec no longer names gets the value from before evenkeel set it. The same
    /// operation corrects a sysctl that the kernel rewrites with another one that is restored.
    RestoreSysctl {
        /// Its key.
        key: Box<str>,
        /// Its value before, with the side effects of earlier steps.
        before: Box<str>,
        /// The value it gets.
        after: Box<str>,
        /// As for [`Self::EditSysctl`].
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        rewrites: BTreeMap<Box<str>, Box<str>>,
    },
    /// The connection timeouts are edited, all with one message.
    EditTimeouts {
        /// As read.
        before: Timeouts,
        /// The values to set; timeouts that the spec does not name keep theirs.
        after: Timeouts,
    },
    /// A sync daemon is started.
    AddSync {
        /// Which.
        state: SyncState,
        /// As the spec asks.
        after: Box<SyncDaemon>,
    },
    /// A sync daemon is stopped. The kernel has no edit for it.
    DeleteSync {
        /// Which.
        state: SyncState,
        /// As read.
        before: Box<SyncDaemon>,
    },
    /// A dummy device is created and brought up.
    AddDummy {
        /// Its name.
        interface: Box<str>,
    },
    /// A dummy device that evenkeel created, and that another program set down, is brought up. Its
    /// IPv6 addresses were removed when it was set down; its IPv4 addresses still accept traffic,
    /// but routing daemons do not announce addresses of an interface that is down.
    EditDummy {
        /// Its name.
        interface: Box<str>,
    },
    /// A dummy device that evenkeel created is deleted, with all addresses on it.
    DeleteDummy {
        /// Its name.
        interface: Box<str>,
    },
    /// A service is added; its real servers follow as operations of their own.
    AddService {
        /// Which.
        key: ServiceKey,
        /// Its value.
        after: Box<ServiceConfig>,
    },
    /// A service is edited in place.
    EditService {
        /// Which.
        key: ServiceKey,
        /// Its value as read.
        before: Box<ServiceConfig>,
        /// The value it gets.
        after: Box<ServiceConfig>,
    },
    /// A service is deleted; the kernel deletes its real servers with it.
    DeleteService {
        /// Which.
        key: ServiceKey,
        /// Its value as read, with the real servers that are deleted with it.
        before: Box<Service>,
    },
    /// A real server is added to a service.
    AddRealServer {
        /// The service.
        service: ServiceKey,
        /// Which.
        key: RealServerKey,
        /// Its value.
        after: RealServer,
    },
    /// A real server is edited in place.
    EditRealServer {
        /// The service.
        service: ServiceKey,
        /// Which.
        key: RealServerKey,
        /// Its value as read.
        before: Box<RealServer>,
        /// The value it gets.
        after: RealServer,
    },
    /// A real server that is to be deleted is set to weight 0: it gets no new connections and may
    /// finish those it has. The deletion that follows waits for that.
    DrainRealServer {
        /// The service.
        service: ServiceKey,
        /// Which.
        key: RealServerKey,
        /// Its value as read; with a weight of 0 this continues a drain that an earlier pass
        /// started, and no message is sent.
        before: RealServer,
        /// The maximum duration from its start; never 0.
        limit: Drain,
    },
    /// A real server is deleted from a service that stays.
    DeleteRealServer {
        /// The service.
        service: ServiceKey,
        /// Which.
        key: RealServerKey,
        /// Its value as read.
        before: RealServer,
    },
    /// A VIP is bound to an interface and announced.
    Bind {
        /// Which, and where.
        binding: Binding,
        /// The label it gets; `None` for the interface's name, and for IPv6, which has no labels.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<Box<str>>,
    },
    /// A VIP is unbound.
    Unbind {
        /// Which, and from where.
        binding: Binding,
        /// The label it has; `None` for the interface's name, and for IPv6.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<Box<str>>,
    },
    /// A host object is added.
    AddHostObject {
        /// Which.
        object: HostObject,
        /// Its value.
        after: Box<HostValue>,
    },
    /// A host object that evenkeel added is edited.
    EditHostObject {
        /// Which.
        object: HostObject,
        /// Its value as read.
        before: Box<HostValue>,
        /// The value it gets.
        after: Box<HostValue>,
    },
    /// A host object that evenkeel added is deleted.
    DeleteHostObject {
        /// Which.
        object: HostObject,
        /// Its value as read.
        before: Box<HostValue>,
    },
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Creates an object.
    Add,
    /// Changes the values of an object in place.
    Edit,
    /// Stops new connections to a real server while it finishes those it has.
    Drain,
    /// Deletes an object.
    Delete,
    /// Adds an address to an interface.
    Bind,
    /// Removes an address from an interface.
    Unbind,
}

impl Verb {
    /// Every verb, in the order of the counts.
    pub const ALL: [Self; 6] =
        [Self::Add, Self::Edit, Self::Drain, Self::Delete, Self::Bind, Self::Unbind];

    /// The word in texts and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Edit => "edit",
            Self::Drain => "drain",
            Self::Delete => "delete",
            Self::Bind => "bind",
            Self::Unbind => "unbind",
        }
    }

    /// The sign at the start of a line of a plan.
    pub fn sign(self) -> char {
        match self {
            Self::Add | Self::Bind => '+',
            Self::Edit | Self::Drain => '~',
            Self::Delete | Self::Unbind => '-',
        }
    }
}
