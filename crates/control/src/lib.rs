//! How the processes of evenkeel find, exclude and talk to each other in a network namespace.
//!
//! Three claims on the network namespace, each behind an interface that does not show how it is kept:
//! the writer's [`Lock`], the [`PendingMarker`] of an unconfirmed apply, and the daemon's control
//! socket with its [`protocol`](Request), its [`Client`] and, with the feature `server`, its
//! [`Server`]. A front end needs this crate, and no code of the daemon.

mod abstract_socket;
mod claim;
mod client;
mod event;
#[cfg(feature = "server")]
mod event_publisher;
mod lock;
mod peer;
mod pending_marker;
mod protocol;
#[cfg(feature = "server")]
mod server;
mod status;
mod steady_clock;
#[cfg(test)]
mod test_fixtures;
#[cfg(test)]
mod tests;
mod trigger;
#[cfg(test)]
mod wording;

pub use client::{AskError, Client, Subscription};
pub use event::{EndReason, Event, EventKind};
#[cfg(feature = "server")]
pub use event_publisher::EventPublisher;
pub use lock::{Lock, LockError, LockGuard};
pub use peer::Process;
pub use pending_marker::{PendingElsewhere, PendingMarker};
pub use protocol::{Answer, OverrideAction, PROTOCOL_VERSION, Request};
#[cfg(feature = "server")]
pub use server::{BindError, Command, Server};
pub use status::{
    ActiveSpec, Conflict, ConflictChange, DrainStatus, FORMAT, FailingObject, HealthHeld,
    HealthStatus, Held, Mode, OverriddenServer, OverrideStatus, ParameterStatus, PassStatus, Pause,
    ServiceHealthStatus, SpecProblem, SpecStatus, State, Status, StayingStatus,
};
pub use steady_clock::steady_time;
pub use trigger::Trigger;
