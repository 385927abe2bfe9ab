//! The command line.

mod deferred;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use evenkeel_plan::Guard;

use self::deferred::Deferred;
use crate::parameters::Assignment;

const EXIT_STATUSES: &str = "\
Exit status:
  0   done, or in sync
  1   failed
  2   there are changes (plan --detailed-exitcode only)
  3   refused by a guard or until an apply is confirmed, declined, or a saved plan
      that no longer holds
  4   failed, and rolled back
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
    pub(crate) global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Which side of the cluster this host is.
    #[arg(long, global = true, value_enum, default_value = "director")]
    pub(crate) role: Role,
    /// Work in this network namespace, by its name in ip-netns(8).
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) netns: Option<String>,
    /// Where the journal is kept.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/evenkeel")]
    pub(crate) state_dir: PathBuf,
    /// How log lines are written to stderr.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Log more: -v operations, -vv details, -vvv everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour the output.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub(crate) color: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The IPVS table and the VIPs.
    Director,
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
    Validate(Deferred<Validate>),
    /// Show what apply would do, and change nothing.
    Plan(Deferred<Plan>),
    /// Bring this host to the state of the spec.
    Apply(Deferred<Apply>),
    /// Keep what an apply with --confirm did, or take it back.
    Confirm(Deferred<Confirm>),
    /// Wait beside an apply with --confirm; started by it.
    #[command(hide = true)]
    Watchdog(Deferred<Watchdog>),
    /// Keep this host on the spec for as long as this runs: follow the file, repair drift.
    Watch(Deferred<Watch>),
    /// Ask the running watch how it is.
    Status(Deferred<Status>),
    /// Let a plan through that a guard made the running watch hold.
    Approve(Deferred<Approve>),
    /// Have the running watch change nothing, for some time or until resume.
    Pause(Deferred<Pause>),
    /// Have the running watch go on after a pause.
    Resume,
    /// Write the live state as a spec that plans empty.
    Snapshot(Deferred<Snapshot>),
    /// Show the live table with the spec's names.
    Show(Deferred<Show>),
    /// Undo everything that evenkeel did on this host, and nothing else; what was there before is
    /// adopted and stays.
    Teardown(Deferred<Teardown>),
    /// Print the JSON Schema of a spec.
    Schema,
}

/// Where a spec is read from.
#[derive(Debug, Args)]
pub(crate) struct Spec {
    /// Files, directories (every *.yaml and *.yml in them) or `-` for stdin; they are merged.
    #[arg(value_name = "SPEC", default_value = "/etc/evenkeel")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
}

/// What the parameters of a spec come to.
#[derive(Debug, Args)]
pub(crate) struct Parameters {
    /// The value of `${NAME}` in the spec; once for each name. `${env:NAME}` is a variable of the
    /// environment, `${host:INTERFACE}` that interface's first address.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<Assignment>,
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) spec: Spec,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) spec: Spec,
    /// Plan against this snapshot, or against an empty host with `none`, in place of the kernel.
    #[arg(long, value_name = "FILE|none")]
    pub(crate) live: Option<PathBuf>,
    /// The form of the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: PlanOutput,
    /// Exit with 2 when there are changes.
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Save the plan into this file, for `apply --plan FILE`.
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    pub(crate) out: Option<PathBuf>,
    /// Plan for this service and its VIPs only, by its name or by its key; can be repeated.
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
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) spec: Spec,
    /// Carry this plan out, as `plan --out FILE` saved it, unless the host has changed since. It
    /// holds its spec, and was reviewed: nothing is asked.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["spec", "set", "target"])]
    pub(crate) plan: Option<PathBuf>,
    /// Apply what concerns this service and its VIPs only, by its name or by its key; can be
    /// repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Guards that may be passed: empty, cut-off, take-over, mass-delete,
    /// wider-scope, missing-file, no-server, unbind-in-use.
    #[arg(long, value_name = "GUARD", value_delimiter = ',')]
    pub(crate) allow: Vec<Guard>,
    /// What becomes of the steps before one that fails.
    #[arg(long, value_enum, default_value = "rollback")]
    pub(crate) on_failure: OnFailure,
    /// Begin drains, and leave what waits for them to the next apply.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Take back what was applied, unless `evenkeel confirm` keeps it within this time: 90s, 2m.
    #[arg(long, value_name = "TIME", value_parser = within, conflicts_with = "no_wait")]
    pub(crate) confirm: Option<u32>,
}

fn within(text: &str) -> Result<u32, String> {
    match evenkeel_spec::seconds(text) {
        Some(0) | None => Err("write a time such as 90s, 2m or 1h".to_owned()),
        Some(seconds) => Ok(seconds),
    }
}

/// An address or a name, and a port; whether the name is one and the address can be had shows only
/// when it is taken.
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
pub(crate) struct Confirm {
    /// Take it back now.
    #[arg(long)]
    pub(crate) abort: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watchdog {
    /// The apply, as the journal names it.
    pub(crate) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailure {
    /// What they touched goes back to what it was.
    Rollback,
    /// They stay.
    Keep,
}

#[derive(Debug, Args)]
pub(crate) struct Teardown {
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Delete adopted objects too: those that were there before a spec listed them. Otherwise they
    /// stay, with the values that they had.
    #[arg(long)]
    pub(crate) adopted: bool,
    /// Guards that may be passed: unbind-in-use.
    #[arg(long, value_name = "GUARD", value_delimiter = ',')]
    pub(crate) allow: Vec<Guard>,
    /// Begin drains, and leave what waits for them to the next teardown.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) spec: Spec,
    /// The longest time between two looks at the host: drift that nothing tells of is repaired
    /// within it.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = within)]
    pub(crate) interval: u32,
    /// The longest time between two readings of the whole of a table of more than 64 services; ten
    /// intervals unless given. Drift that cheap looks do not show is repaired within it.
    #[arg(long, value_name = "TIME", value_parser = within)]
    pub(crate) full_interval: Option<u32>,
    /// Where /metrics, /healthz, /readyz and /status are served; `none` for nowhere.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9479", value_parser = listen)]
    pub(crate) listen: String,
    /// Tell what differs, and change nothing.
    #[arg(long)]
    pub(crate) observe: bool,
    /// Of what /metrics shows connections, packets, bytes and rates.
    #[arg(long, value_enum, default_value = "real-servers")]
    pub(crate) traffic: Traffic,
    /// Of how many services and real servers at most: real servers, and then services, are left out
    /// beyond it.
    #[arg(long, value_name = "NUMBER", default_value = "10000")]
    pub(crate) traffic_limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Traffic {
    /// Of nothing.
    Off,
    /// Of services.
    Services,
    /// Of services and their real servers.
    RealServers,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The form of the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: ShowOutput,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The plan, as `evenkeel status` names it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// For how long: 90s, 15m; without it until `evenkeel resume`.
    #[arg(value_name = "TIME", value_parser = within)]
    pub(crate) time: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// A spec whose names and scope the snapshot takes over.
    #[arg(long, value_name = "SPEC")]
    pub(crate) names: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// Write lists of real servers that several services share as pools.
    #[arg(long)]
    pub(crate) pools: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The spec whose names are shown; without one, keys are.
    #[arg(value_name = "SPEC")]
    pub(crate) spec: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// Show the connections, one by one, instead of the services.
    #[arg(long)]
    pub(crate) connections: bool,
    /// Show this service only, by its name or by its key; can be repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
    /// The form of the answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: ShowOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowOutput {
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
    fn the_guards_in_the_help_are_all_there_are() {
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
