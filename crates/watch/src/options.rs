//! The options of the daemon.

use std::time::Duration;

use evenkeel_control::Mode;
use evenkeel_engine::{IpvsUse, StateDir};
use evenkeel_health::Environment;

use crate::metrics::TrafficOptions;

/// The options of the daemon.
#[derive(Debug)]
pub struct Options {
    /// The version of the program, for display.
    pub version: &'static str,
    /// The longest time between two checks of the host.
    pub interval: Duration,
    /// The longest time between two complete readings of a large table.
    pub full_interval: Duration,
    /// Whether the daemon changes anything.
    pub mode: Mode,
    /// The network namespace, by the name of its directory in the state directory.
    pub namespace: String,
    /// The name by which the namespace was entered; `None` if it was not entered.
    pub netns: Option<String>,
    /// Whether the host needs IPVS in its kernel.
    pub ipvs_use: IpvsUse,
    /// The state directory, which has the journal.
    pub state: StateDir,
    /// The absolute paths of the spec, as reported and compared.
    pub sources: Vec<String>,
    /// Which traffic counters the metrics export.
    pub traffic: TrafficOptions,
    /// Host names that the HTTP endpoint answers on a loopback address, beside loopback names.
    pub allowed_hosts: Vec<String>,
    /// What this host offers to health checks.
    pub checks: Environment,
}
