//! The daemon behind `evenkeel watch`: keeps a host on its spec for as long as it runs.
//!
//! Every trigger leads to the same pass: it reads the spec if that may have changed, reads the kernel,
//! plans and applies, with the same plan, guards, order and verification as `apply`. Unlike `apply` it
//! does not roll back when a step fails: it retries that object later and continues with the rest.
//!
//! The reconciler does all that on its own thread; everything else (files, addresses, timers, signals,
//! the endpoint, the control socket) is asynchronous and communicates with it by messages. The crate
//! prints nothing and parses no spec: `evenkeel_source` fetches and parses specs.

mod check_reports;
mod clock;
mod daemon;
mod host_routes;
mod http;
mod listen;
mod liveness;
mod lost_vips;
mod metrics;
mod netns_monitor;
mod options;
mod reconciler;
mod status;
mod systemd;
#[cfg(test)]
mod test_fixtures;
mod traffic_reader;
#[cfg(test)]
mod wording;

pub use daemon::{DaemonError, reserve, run};
pub use evenkeel_control::BindError;
pub use listen::Listener;
pub use metrics::{Detail, TrafficOptions};
pub use netns_monitor::NamespaceLost;
pub use options::Options;
pub use status::{list_drains, list_overrides, list_staying};
pub use systemd::notify_ready;
