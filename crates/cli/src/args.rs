//! The command line.

mod assignment;
mod lazy_args;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use evenkeel_model::Role;
use evenkeel_plan::Guard;

pub(crate) use self::assignment::Assignment;
use self::lazy_args::LazyArgs;
use crate::output::Answers;

const EXIT_STATUSES: &str = "\
Exit status:
  0   done, or in sync
  1   failed
  2   there are changes (plan --detailed-exitcode only)
  3   refused by a guard, blocked by an unconfirmed apply, declined, or saved plan
      out of date
  4   failed, and rolled back
  10  status: no daemon runs
  11  status: the daemon is starting
  12  status: the daemon only observes; the host is in sync
  13  status: the daemon only observes; the host differs from the spec
  14  status: the daemon is paused
  15  status: a guard holds a plan
  16  status: degraded
  64  wrong usage
  65  the spec is wrong
  75  another process is changing this network namespace; the message names it
  77  not permitted; the message names the capability";

/// Keeps Linux Virtual Server (IPVS) hosts on the state written in a YAML file.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUSES, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// The role of this host in the cluster.
    // Hidden until there is a second role.
    #[arg(long, global = true, hide = true, value_parser = roles(), default_value = "director")]
    pub(crate) role: Role,
    /// Work in this network namespace, by its name in ip-netns(8).
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) netns: Option<String>,
    /// The directory of the journal.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/evenkeel")]
    pub(crate) state_dir: PathBuf,
    /// The format of log lines on stderr.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Log more: -v operations, -vv details, -vvv everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour the output.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub(crate) color: When,
}

fn roles() -> impl TypedValueParser<Value = Role> {
    let names = PossibleValuesParser::new(Role::ALL.map(Role::as_str));
    names.try_map(|name| Role::from_name(&name).ok_or("there is no such role"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a spec; needs no privileges and no kernel.
    Validate(LazyArgs<ValidateArgs>),
    /// Show what apply would change, without changing anything.
    Plan(LazyArgs<PlanArgs>),
    /// Bring this host to the state of the spec.
    Apply(LazyArgs<ApplyArgs>),
    /// Confirm what an apply with --confirm changed, or roll it back.
    Confirm(LazyArgs<ConfirmArgs>),
    /// Roll back an apply with --confirm that is not confirmed; started by that apply.
    #[command(hide = true)]
    Watchdog(LazyArgs<WatchdogArgs>),
    /// Run the daemon: keep this host on the spec, follow its files and repair drift.
    Watch(LazyArgs<WatchArgs>),
    /// Show the daemon's status.
    Status(LazyArgs<StatusArgs>),
    /// Approve a plan that the daemon holds because of a guard.
    Approve(LazyArgs<ApproveArgs>),
    /// Keep the daemon from changing anything, for some time or until resume.
    Pause(LazyArgs<PauseArgs>),
    /// Let the daemon continue after a pause.
    Resume(LazyArgs<ResumeArgs>),
    /// Write the live state as a spec, for which a plan has no changes.
    Snapshot(LazyArgs<SnapshotArgs>),
    /// Show the live table with the spec's names.
    Show(LazyArgs<ShowArgs>),
    /// Reset the counters of services in scope and of their real servers.
    Zero(LazyArgs<ZeroArgs>),
    /// Undo everything that evenkeel did on this host, and nothing else; adopted objects, which were
    /// there before, stay.
    Teardown(LazyArgs<TeardownArgs>),
    /// Print the JSON Schema of a spec.
    Schema,
}

impl Command {
    /// The name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Validate(_) => "validate",
            Self::Plan(_) => "plan",
            Self::Apply(_) => "apply",
            Self::Confirm(_) => "confirm",
            Self::Watchdog(_) => "watchdog",
            Self::Watch(_) => "watch",
            Self::Status(_) => "status",
            Self::Approve(_) => "approve",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Snapshot(_) => "snapshot",
            Self::Show(_) => "show",
            Self::Zero(_) => "zero",
            Self::Teardown(_) => "teardown",
            Self::Schema => "schema",
        }
    }

    /// What stdout has.
    pub(crate) fn answers(&self) -> Answers {
        let of_report = |args: OutputArgs| match args.output {
            OutputFormat::Text => Answers::Text,
            OutputFormat::Json => Answers::Document,
        };
        let of_listing = |output| match output {
            OutputFormat::Text => Answers::Text,
            OutputFormat::Json => Answers::OwnJson,
        };
        match self {
            Self::Validate(it) => of_report(it.output),
            Self::Apply(it) => of_report(it.output),
            Self::Confirm(it) => of_report(it.output),
            Self::Approve(it) => of_report(it.output),
            Self::Pause(it) => of_report(it.output),
            Self::Resume(it) => of_report(it.output),
            Self::Teardown(it) => of_report(it.output),
            Self::Status(it) => of_listing(it.output),
            Self::Show(it) => of_listing(it.output),
            Self::Plan(it) => match it.output {
                PlanOutput::Json => Answers::OwnJson,
                PlanOutput::Text | PlanOutput::Diff => Answers::Text,
            },
            Self::Watchdog(_)
            | Self::Watch(_)
            | Self::Snapshot(_)
            | Self::Zero(_)
            | Self::Schema => Answers::Text,
        }
    }
}

/// The spec of a command.
#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    /// Files, directories (every *.yaml and *.yml in them) or `-` for stdin; they are merged.
    #[arg(value_name = "SPEC", default_value = "/etc/evenkeel")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
}

/// The values of a spec's parameters.
#[derive(Debug, Args)]
pub(crate) struct ParameterArgs {
    /// The value of `${NAME}` in the spec; once for each name. `${env:NAME}` is a variable of the
    /// environment, `${host:INTERFACE}` that interface's first address.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<Assignment>,
}

/// The output of a command that reports what it did.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Plan against this snapshot instead of the kernel; `none` is an empty host.
    #[arg(long, value_name = "FILE|none")]
    pub(crate) live: Option<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: PlanOutput,
    /// Exit with status 2 if there are changes.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Save the plan to this file, for `apply --plan FILE`.
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    pub(crate) out: Option<PathBuf>,
    /// Plan only for this service and its VIPs, by its name or by its key; can be repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanOutput {
    /// A line for each operation, in the order of execution.
    Text,
    /// A versioned document.
    Json,
    /// The two states as a unified diff in the spec's own syntax.
    Diff,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Apply this plan, which `plan --out FILE` saved, unless the host has changed since. It
    /// contains its spec, and does not prompt, because it was reviewed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["spec", "set", "target"])]
    pub(crate) plan: Option<PathBuf>,
    /// Apply only what concerns this service and its VIPs, by its name or by its key; can be
    /// repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Guards to override: empty, cut-off, take-over, mass-delete,
    /// wider-scope, missing-file, no-server, unbind-in-use.
    #[arg(long, value_name = "GUARD", value_delimiter = ',')]
    pub(crate) allow: Vec<Guard>,
    /// What to do with the applied steps when a step fails.
    #[arg(long, value_enum, default_value = "rollback")]
    pub(crate) on_failure: OnFailureArg,
    /// Start drains without waiting; steps that depend on them are left to the next apply.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Roll the apply back unless `evenkeel confirm` confirms it within this time: 90s, 2m.
    #[arg(long, value_name = "TIME", value_parser = positive_time, conflicts_with = "no_wait")]
    pub(crate) confirm: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A time in seconds, of at least one.
fn positive_time(text: &str) -> Result<u32, String> {
    match evenkeel_spec::seconds(text) {
        Some(0) | None => Err("write a time such as 90s, 2m or 1h".to_owned()),
        Some(seconds) => Ok(seconds),
    }
}

/// An address or host name, and a port, or `none`. The name is resolved and the address bound only
/// when the daemon starts.
fn listen(text: &str) -> Result<String, String> {
    let is_address = text.parse::<SocketAddr>().is_ok();
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_name = |it: char| it.is_alphanumeric() || matches!(it, '-' | '.' | '_');
        !host.is_empty() && host.chars().all(is_name) && port.parse::<u16>().is_ok()
    });
    if text == "none" || is_address || is_named {
        return Ok(text.to_owned());
    }
    Err("write an address and a port such as 127.0.0.1:9479 or [::1]:9479, or `none`".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Roll it back now.
    #[arg(long)]
    pub(crate) abort: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchdogArgs {
    /// The id of the apply in the journal.
    pub(crate) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailureArg {
    /// Restore what they touched.
    Rollback,
    /// Keep them applied.
    Keep,
}

#[derive(Debug, Args)]
pub(crate) struct TeardownArgs {
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Also delete adopted objects, those that were there before a spec listed them. Without it they
    /// stay and get their original values back.
    #[arg(long)]
    pub(crate) adopted: bool,
    /// Guards to override: unbind-in-use.
    #[arg(long, value_name = "GUARD", value_delimiter = ',')]
    pub(crate) allow: Vec<Guard>,
    /// Start drains without waiting; steps that depend on them are left to the next teardown.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Maximum time between checks of the host; drift that the kernel does not report is repaired
    /// within it.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_time)]
    pub(crate) interval: u32,
    /// Maximum time between full readings of a table with more than 64 services; by default ten
    /// intervals. Drift that the cheap probe does not detect is repaired within it.
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    pub(crate) full_interval: Option<u32>,
    /// The address that serves /metrics, /healthz, /readyz and /status; `none` for no endpoint.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9479", value_parser = listen)]
    pub(crate) listen: String,
    /// Report drift without changing anything.
    #[arg(long)]
    pub(crate) observe: bool,
    /// The objects whose connections, packets, bytes and rates /metrics exports.
    #[arg(long, value_enum, default_value = "real-servers")]
    pub(crate) traffic: TrafficDetail,
    /// Maximum number of services and real servers in these metrics; beyond it real servers are
    /// dropped first, then services.
    #[arg(long, value_name = "NUMBER", default_value = "10000")]
    pub(crate) traffic_limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrafficDetail {
    /// None.
    Off,
    /// Services.
    Services,
    /// Services and their real servers.
    RealServers,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// After the status, print each event of the daemon as it happens, one a line.
    #[arg(long)]
    pub(crate) follow: bool,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The id of the plan, as `evenkeel status` shows it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The length of the pause: 90s, 15m; by default until `evenkeel resume`.
    #[arg(value_name = "TIME", value_parser = positive_time)]
    pub(crate) time: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// A spec whose names and scope the snapshot uses.
    #[arg(long, value_name = "SPEC")]
    pub(crate) names: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
    /// Write lists of real servers that several services share as pools.
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
    /// The spec whose names are shown; without one, keys are.
    #[arg(value_name = "SPEC")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
    /// Show the connections, packets and bytes that each service and real server had.
    #[arg(long)]
    pub(crate) stats: bool,
    /// Show the same per second, as the kernel estimates it.
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
    /// Show only this service, by its name or by its key; can be repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ZeroArgs {
    /// The services, by their names or by their keys; without any, all live services in scope.
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// The spec whose scope and names count; without one, those of the last applied spec. Can be
    /// repeated.
    #[arg(long, value_name = "SPEC")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: ParameterArgs,
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_endpoint_is_an_address_or_a_name_with_a_port_or_none() {
        let parsed = |listen: &str| {
            Arguments::try_parse_from(["evenkeel", "watch", "--listen", listen]).is_ok()
        };
        let good = ["127.0.0.1:9479", "[::1]:0", "[::1%2]:9479", "localhost:9479", "none"];
        assert!(good.into_iter().all(parsed));
        for bad in ["nonsense", "", ":9479", "127.0.0.1", "::1:9479", "localhost:http", "a b:1"] {
            assert!(!parsed(bad), "{bad}");
        }
    }

    #[test]
    fn the_help_lists_every_guard() {
        let mut command = Arguments::command();
        command.build();
        let help = command
            .find_subcommand("apply")
            .and_then(|apply| {
                let allow = apply.get_arguments().find(|it| it.get_id() == "allow")?;
                Some(allow.get_help()?.to_string())
            })
            .expect("apply has --allow");
        for guard in Guard::ALL {
            assert!(help.contains(guard.name()), "{guard}");
        }
    }
}
