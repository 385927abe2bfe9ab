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

mod active_spec;
mod backoff;
mod clock;
mod conflict;
pub mod control;
mod daemon;
mod debounce;
mod http;
mod known_writers;
mod liveness;
mod metrics;
mod netns_monitor;
mod pause;
mod reconciler;
mod retry;
mod spec_source;
mod spec_watcher;
mod status;
mod systemd;
#[cfg(test)]
mod test_fixtures;
mod traffic_reader;
mod trigger;

pub use daemon::{DaemonError, Options, run};
pub use metrics::{Detail, TrafficOptions};
pub use netns_monitor::NamespaceLost;
pub use spec_source::{SpecSource, SpecText};
pub use spec_watcher::is_spec;
pub use status::{
    ActiveSpec, Conflict, ConflictChange, DrainStatus, FORMAT, FailingObject, Held, Mode,
    PassStatus, Pause, Problem, SpecStatus, State, Status,
};
pub use trigger::Trigger;
