//! The command line.

mod answers;
mod apply;
mod assignment;
mod daemon;
mod doctor;
mod health;
mod lazy_args;
mod overrides;
mod table;
mod time;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use evenkeel_model::{OwnerName, RequestedRole, Role};

pub(crate) use self::answers::Answers;
pub(crate) use self::apply::{ApplyArgs, ConfirmArgs, OnFailureArg, TeardownArgs, WatchdogArgs};
pub(crate) use self::assignment::Assignment;
pub(crate) use self::daemon::{
    ApproveArgs, PauseArgs, ResumeArgs, StatusArgs, TrafficDetail, WatchArgs,
};
pub(crate) use self::doctor::DoctorArgs;
pub(crate) use self::health::{CheckArgs, HealthArgs};
use self::lazy_args::LazyArgs;
pub(crate) use self::overrides::{ClearArgs, OverrideArgs, OverridesArgs, TermArgs, WeightArgs};
pub(crate) use self::table::{ShowArgs, SnapshotArgs, ZeroArgs};

const EXIT_STATUSES: &str = "\
Exit status:
  0   done, or in sync
  1   failed; or doctor: there are findings
  2   there are changes (plan --detailed-exitcode only; 3 if a guard refuses them)
  3   refused: a guard or an unconfirmed apply blocks it, you declined, or the saved
      plan is out of date
  4   failed, and rolled back
  10  status: no daemon runs
  11  status: the daemon is starting
  12  status: the daemon only observes; the host is in sync
  13  status: the daemon only observes; the host differs from the spec
  14  status: the daemon is paused
  15  status: a guard holds a plan
  16  status: degraded: the newest spec is invalid, a step failed, or another program
      keeps changing an object
  64  wrong usage
  65  the spec is wrong
  75  another process is changing this network namespace; the message names it
  77  not permitted; the message names the capability";

const PLAN_VERBOSE: &str = "\
With -v, each line also shows its file and line in the spec, its cause, and its effect on
existing connections; if the spec lists `directors`, the first line is the role of this host.";

/// Keeps Linux Virtual Server (IPVS) hosts in the state that a YAML file (the spec) sets.
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
    /// The role of this host in the cluster: director, real-server, gateway, or auto, which determines
    /// it from the host's addresses. Default: auto if the spec lists `directors`, or if the host was a
    /// real server or a gateway (until `--role director` or a teardown ends that); otherwise director.
    #[arg(long, global = true, value_parser = roles())]
    pub(crate) role: Option<RequestedRole>,
    /// Act for this owner, one of several on this host: the one that the spec names with `owner`. Commands
    /// without a spec act on the only owner there is.
    #[arg(long, global = true, value_name = "NAME", value_parser = owner_name)]
    pub(crate) owner: Option<OwnerName>,
    /// Work in this network namespace, by its name in ip-netns(8).
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) netns: Option<String>,
    /// Keep evenkeel's state (the journal) in this directory.
    #[arg(long, global = true, value_name = "DIR", default_value = evenkeel_engine::DEFAULT_STATE_DIR)]
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

/// Parses `--owner`. An empty text is the owner without a name.
fn owner_name(text: &str) -> Result<OwnerName, String> {
    match text {
        "" => Ok(OwnerName::default()),
        name => name.parse::<OwnerName>().map_err(|error| error.to_string()),
    }
}

fn roles() -> impl TypedValueParser<Value = RequestedRole> {
    let names = Role::ALL.map(Role::as_str).into_iter().chain([RequestedRole::AUTO]);
    let names = PossibleValuesParser::new(names.collect::<Vec<_>>());
    names.try_map(|name| RequestedRole::from_name(&name).ok_or("there is no such role"))
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
    /// Check a spec; needs no privileges and no IPVS.
    Validate(LazyArgs<ValidateArgs>),
    /// Show what apply would change, without changing anything.
    #[command(after_help = PLAN_VERBOSE)]
    Plan(LazyArgs<PlanArgs>),
    /// Find what keeps traffic from flowing through this host, with a remedy for each finding.
    Doctor(LazyArgs<DoctorArgs>),
    /// Make this host match the spec.
    Apply(LazyArgs<ApplyArgs>),
    /// Keep or roll back the changes of `apply --confirm`.
    Confirm(LazyArgs<ConfirmArgs>),
    /// Roll back an apply with --confirm that is not confirmed; started by that apply.
    #[command(hide = true)]
    Watchdog(LazyArgs<WatchdogArgs>),
    /// Make the health checks of the spec once; changes nothing.
    Check(LazyArgs<CheckArgs>),
    /// Run the daemon: apply the spec whenever it changes, and repair drift.
    Watch(LazyArgs<WatchArgs>),
    /// Show the daemon's status.
    Status(LazyArgs<StatusArgs>),
    /// List the owners of this network namespace.
    Owners(LazyArgs<OwnersArgs>),
    /// Let the daemon apply a plan that a guard (a safety check) refused.
    Approve(LazyArgs<ApproveArgs>),
    /// Keep the daemon from changing anything, for some time or until resume.
    Pause(LazyArgs<PauseArgs>),
    /// Let the daemon continue after a pause.
    Resume(LazyArgs<ResumeArgs>),
    /// Hold real servers at weight 0: connections stay, and new ones go elsewhere.
    Drain(LazyArgs<OverrideArgs>),
    /// Take real servers out of their services at once.
    Disable(LazyArgs<OverrideArgs>),
    /// Keep real servers as the spec asks, whatever health checks and other programs set.
    Enable(LazyArgs<OverrideArgs>),
    /// Hold real servers at another weight than the spec's.
    Weight(LazyArgs<WeightArgs>),
    /// List the overrides of drain, disable, enable and weight.
    Overrides(LazyArgs<OverridesArgs>),
    /// End overrides before their time.
    Clear(LazyArgs<ClearArgs>),
    /// Write the live state as a spec that matches it exactly.
    Snapshot(LazyArgs<SnapshotArgs>),
    /// Show the live IPVS table, with the names of the spec.
    Show(LazyArgs<ShowArgs>),
    /// Reset the counters of services in the spec's scope and of their real servers.
    Zero(LazyArgs<ZeroArgs>),
    /// Undo evenkeel's changes on this host, and keep objects that existed before it.
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
            Self::Doctor(_) => "doctor",
            Self::Apply(_) => "apply",
            Self::Confirm(_) => "confirm",
            Self::Watchdog(_) => "watchdog",
            Self::Check(_) => "check",
            Self::Watch(_) => "watch",
            Self::Status(_) => "status",
            Self::Owners(_) => "owners",
            Self::Approve(_) => "approve",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Drain(_) => "drain",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::Weight(_) => "weight",
            Self::Overrides(_) => "overrides",
            Self::Clear(_) => "clear",
            Self::Snapshot(_) => "snapshot",
            Self::Show(_) => "show",
            Self::Zero(_) => "zero",
            Self::Teardown(_) => "teardown",
            Self::Schema => "schema",
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
    /// Set `${NAME}` in the spec; can be repeated for other names. `${env:NAME}` (an environment
    /// variable) and `${host:eth0}` (the first address of eth0) need no --set.
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
pub(crate) struct OwnersArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    /// Plan against this snapshot instead of the kernel, or with `none` against an empty host.
    #[arg(long, value_name = "FILE|none")]
    pub(crate) live: Option<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: PlanOutput,
    /// Exit with status 2 if there are changes, and with 3 if a guard refuses them.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Save the plan to this file, for `apply --plan FILE`.
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    pub(crate) out: Option<PathBuf>,
    /// Plan only for this service (web, or 192.0.2.1:80/tcp) and its VIPs; can be repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
    #[command(flatten)]
    pub(crate) health: HealthArgs,
    /// Show what the spec makes of every director and real server, starting from empty hosts; needs
    /// no privileges.
    #[arg(long, conflicts_with_all = ["live", "out", "target", "detailed_exitcode", "role"])]
    pub(crate) all_hosts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanOutput {
    /// A line for each operation, in the order of execution.
    Text,
    /// JSON, with a `format` number.
    Json,
    /// A unified diff from the live to the desired state, in the syntax of specs.
    Diff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use evenkeel_plan::Guard;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
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
