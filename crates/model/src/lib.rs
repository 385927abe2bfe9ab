//! The nouns of evenkeel: services, real servers, VIPs, and the desired and live states made of
//! them.
//!
//! Nothing here does I/O, knows YAML or talks to a kernel. Both sides of a comparison, the spec
//! and the kernel, are expressed in these types, so that they can be compared at all. Numbers
//! that change by themselves (connections, packets) have types of their own in [`statistics`]
//! and take part in no comparison.

#[cfg(feature = "proptest")]
pub mod arbitrary;
pub mod check;
mod claims;
mod cluster;
mod desired;
mod drain;
mod family;
mod file_contents;
mod foreign_marks;
mod forward;
mod guards;
mod host_inputs;
mod host_object;
mod host_roles;
mod ignore;
mod left_scope;
mod live;
mod local_sessions;
mod netmask;
mod operator_override;
mod overlay;
mod owner;
mod owner_name;
mod printable;
mod protocol;
mod quorum;
mod real_server;
mod role;
mod scheduler;
mod scope;
mod service;
mod service_health;
mod service_key;
mod span;
pub mod statistics;
mod sync_daemon;
mod sysctl;
mod timeouts;
mod verdict;
mod vip;

pub use claims::{AttemptedClaims, Claims};
pub use cluster::{Cluster, Director, DirectorMac, Gateway, RequestedRole, RoleProblem, roles};
pub use desired::{Desired, Elsewhere, Label, NamedService, Names, RealServerPart};
pub use drain::Drain;
pub use family::Family;
pub use file_contents::FileContents;
pub use foreign_marks::ForeignMarks;
pub use forward::{Checksum, Forward, Tunnel, TunnelKind};
pub use guards::Guards;
pub use host_inputs::{HostInputs, InvalidHostInputs, OwnAddress};
pub use host_object::*;
pub use host_roles::{HostRoles, OwnDirector, OwnGateway};
pub use ignore::{Ignore, IgnoredField};
pub use left_scope::{LeftScope, WhenLeft};
pub use live::{Link, Live, SysctlObstacle};
pub use local_sessions::{LocalSession, LocalSessions};
pub use netmask::Netmask;
pub use operator_override::{InvalidTarget, Override, OverrideTarget};
pub use overlay::{Floor, Overlay, OverlayCause, OverlayEffect, Overlays, WithheldVip};
pub use owner::Owner;
pub use owner_name::{InvalidOwnerName, OwnerName};
pub use printable::{printable, printable_name};
pub use protocol::Protocol;
pub use quorum::{Member, Quorum, QuorumSize};
pub use real_server::{MAX_WEIGHT, RealServer, RealServerKey};
pub use role::{FormerRole, Role};
pub use scheduler::{Scheduler, SchedulerFlags, UnknownSchedulerFlag};
pub use scope::{Limits, Scope};
pub use service::{Iter as RealServersIter, Persistence, RealServers, Service, ServiceConfig};
pub use service_health::{
    Checks, Fallback, HealthPolicy, Initial, OnFailure, ServiceHealth, VipWithoutQuorum, WhenNone,
};
pub use service_key::ServiceKey;
pub use span::Span;
pub use sync_daemon::{SyncDaemon, SyncState};
pub use sysctl::{
    CONNECTION_TRACKING, DISABLE_IPV6, FORWARDING, FORWARDING_IPV6, PROMOTE_SECONDARIES,
    interface_sysctl,
};
pub use timeouts::{DesiredTimeouts, Timeouts};
pub use verdict::{HealthFacts, ServerHealth, Verdict};
pub use vip::{BindWhen, Binding, MAX_LABEL, Vip, bindings_of, entries_of};
