//! The daemon behind `evenkeel watch`: keeps a host on its spec for as long as it runs.
//!
//! Whatever wakes it, it does the same: it reads the spec if that may have changed, reads the
//! kernel, plans and carries out, with the same plan, guards, order and verification as `apply`.
//! What it does not do: it does not go back when a step fails, but leaves that object for later and
//! goes on with the rest.
//!
//! A thread of its own, the keeper, does all that; everything else (files, addresses, timers,
//! signals, the endpoint, the control socket) is asynchronous and speaks with it by messages. The
//! crate prints nothing and parses no spec: that comes from a [`SpecSource`].

mod backoff;
mod clock;
pub mod control;
mod daemon;
mod endpoint;
mod failing;
mod fights;
mod files;
mod hands;
mod heartbeat;
mod keeper;
mod metrics;
mod namespace;
mod pause;
mod reason;
#[cfg(test)]
mod sample;
mod settle;
mod source;
mod specs;
mod status;
mod systemd;
mod traffic;

pub use daemon::{DaemonError, Options, run};
pub use files::is_spec;
pub use metrics::{Detail, TrafficOptions};
pub use namespace::NamespaceLost;
pub use reason::Reason;
pub use source::{SpecSource, SpecText};
pub use status::{
    Action, DrainStatus, FORMAT, Failing, Fight, Held, InForce, Mode, PassStatus, Pause, Problem,
    SpecStatus, State, Status,
};
