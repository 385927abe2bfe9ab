//! Options of the commands that show or reset the live table.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{OutputArgs, OutputFormat, ParameterArgs};

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// Use the names and the scope of this spec; can be repeated.
    #[arg(long, value_name = "SPEC")]
    pub(crate) names: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
    /// Where services share a list of real servers, write it once, under `pools`.
    #[arg(long)]
    pub(crate) pools: bool,
}

/// The options of `show` that choose the columns of its table of services.
const COLUMN_OPTIONS: [&str; 5] = ["stats", "rates", "exact", "thresholds", "persistent"];

/// The options of `show` on services, which settings of the namespace do not have.
const SERVICE_OPTIONS: [&str; 7] =
    ["stats", "rates", "exact", "thresholds", "persistent", "connections", "target"];

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("traffic").args(["stats", "rates"]).multiple(true)))]
pub(crate) struct ShowArgs {
    /// Show the names of this spec; without one, show keys such as 192.0.2.1:80/tcp.
    #[arg(value_name = "SPEC")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
    /// Show the total connections, packets and bytes of each service and real server.
    #[arg(long)]
    pub(crate) stats: bool,
    /// Show connections, packets and bytes per second (kernel estimates).
    #[arg(long)]
    pub(crate) rates: bool,
    /// Show large numbers of --stats and --rates in full, without K, M, G and T.
    #[arg(long, requires = "traffic")]
    pub(crate) exact: bool,
    /// Add the connection thresholds of each real server; 0 for none.
    #[arg(long)]
    pub(crate) thresholds: bool,
    /// Add the number of persistence entries that point to each real server.
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Show the timeouts of the network namespace instead of the services.
    #[arg(long, conflicts_with_all = SERVICE_OPTIONS)]
    pub(crate) timeouts: bool,
    /// Show the sync daemons instead of the services.
    #[arg(long, conflicts_with_all = SERVICE_OPTIONS)]
    pub(crate) sync: bool,
    /// Show each connection instead of the services.
    #[arg(long, conflicts_with_all = COLUMN_OPTIONS)]
    pub(crate) connections: bool,
    /// Show only this service (web, or 192.0.2.1:80/tcp); can be repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ZeroArgs {
    /// Reset only these services (web, or 192.0.2.1:80/tcp); by default all live services in scope.
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Use the scope and the names of this spec, not of the last applied one; can be repeated.
    #[arg(long, value_name = "SPEC")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
