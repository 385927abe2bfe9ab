//! Operations: what a plan is made of, and all that an execution needs to know.

use evenkeel_model::{
    Binding, Drain, HostRoute, RealServer, RealServerKey, Service, ServiceConfig, ServiceKey,
    SyncDaemon, SyncState, Timeouts,
};
use serde::{Deserialize, Serialize};

/// One change to one object, with its value before and after.
///
/// Plans of large tables hold tens of thousands of these, most of them about real servers, so the
/// larger values are behind a pointer.
///
/// An edit replaces the object as a whole, as the kernel's SET operations do; `after` is
/// therefore complete, fields that are left to someone else included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A kernel module is loaded.
    AddModule {
        /// Its name.
        module: Box<str>,
    },
    /// A sysctl gets another value.
    EditSysctl {
        /// Its key.
        key: Box<str>,
        /// Its value as read.
        before: Box<str>,
        /// The value it gets.
        after: Box<str>,
    },
    /// Timeouts get other values, all of them with one message.
    EditTimeouts {
        /// As read.
        before: Timeouts,
        /// What they get; those that the spec does not name stay.
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
    /// A dummy device that evenkeel created, and someone else set down, is brought up. Its IPv6
    /// addresses went when it was set down; those of IPv4 are served all the same, but routing
    /// daemons tell nobody of addresses on an interface that is down.
    EditDummy {
        /// Its name.
        interface: Box<str>,
    },
    /// A dummy device that evenkeel created is deleted, with whatever is bound on it.
    DeleteDummy {
        /// Its name.
        interface: Box<str>,
    },
    /// A service is added, without real servers as yet.
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
    /// A service is deleted; the kernel takes its real servers along.
    DeleteService {
        /// Which.
        key: ServiceKey,
        /// Its value as read, with the real servers that go with it.
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
    /// A real server that is to be deleted gets no new connections (weight 0), and may finish
    /// those it has. The deletion that follows waits for that.
    DrainRealServer {
        /// The service.
        service: ServiceKey,
        /// Which.
        key: RealServerKey,
        /// Its value as read; with a weight of 0 the drain goes on that an earlier pass began, and
        /// there is nothing to send.
        before: RealServer,
        /// How long it may take from its beginning; never 0.
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
    /// A host route to a VIP is added, with the VIP as its source.
    AddRoute {
        /// Which.
        route: HostRoute,
    },
    /// A host route that evenkeel added is deleted.
    DeleteRoute {
        /// Which.
        route: HostRoute,
    },
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// An object that was not there.
    Add,
    /// An object that stays with other values.
    Edit,
    /// A real server that takes no new connections and may finish those it has.
    Drain,
    /// An object that goes.
    Delete,
    /// An address that was not on that interface.
    Bind,
    /// An address that leaves its interface.
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

    /// The sign at the start of a plan's line.
    pub fn sign(self) -> char {
        match self {
            Self::Add | Self::Bind => '+',
            Self::Edit | Self::Drain => '~',
            Self::Delete | Self::Unbind => '-',
        }
    }
}

impl Op {
    /// Whether it may be there because a file no longer lists its object.
    pub fn may_go_with_a_file(&self) -> bool {
        matches!(self.verb(), Verb::Delete | Verb::Unbind)
            || matches!(self, Self::EditSysctl { .. })
    }
}
