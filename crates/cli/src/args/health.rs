//! Options about health checks.

use clap::{Args, ValueEnum};
use evenkeel_workflow::HealthMode;

use std::path::PathBuf;

use super::{OutputFormat, ParameterArgs};
use crate::check_environment::check_environment;

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// What the plan does about health checks. It always follows the verdicts of a daemon that runs.
    #[arg(long, value_enum, default_value = "once")]
    health: HealthArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HealthArg {
    /// Check what it would add, or raise from weight 0, once.
    Once,
    /// Check nothing: what is in use is up, all else is down.
    Live,
    /// Take everything for up.
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The services, by name (web) or address (192.0.2.1:80/tcp); all of them if none is named.
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Files, directories (every *.yaml and *.yml in them) or `-` for stdin; can be repeated.
    #[arg(long, value_name = "SPEC", default_value = "/etc/evenkeel")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: OutputFormat,
}

impl HealthArgs {
    pub(crate) fn mode(&self) -> HealthMode {
        match self.health {
            HealthArg::Once => HealthMode::Once(Box::new(check_environment())),
            HealthArg::Live => HealthMode::Live,
            HealthArg::Off => HealthMode::Off,
        }
    }
}
