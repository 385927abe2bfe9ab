//! Options of the commands that apply a plan, keep it or undo it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use evenkeel_plan::Guard;

use super::time::positive_time;
use super::{HealthArgs, OutputArgs, SpecArgs};

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Apply the plan and the spec that `plan --out FILE` saved, without a prompt. evenkeel refuses
    /// them if the host has changed since.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["spec", "set", "target"])]
    pub(crate) plan: Option<PathBuf>,
    /// Apply only what concerns this service (web, or 192.0.2.1:80/tcp) and its VIPs; can be
    /// repeated.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) target: Vec<String>,
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Override these guards (safety checks), separated by commas: empty, cut-off, take-over,
    /// mass-delete, wider-scope, left-scope, missing-file, no-server, unbind-in-use.
    #[arg(long, value_name = "GUARD", value_delimiter = ',')]
    pub(crate) allow: Vec<Guard>,
    /// What to do if a step fails.
    #[arg(long, value_enum, default_value = "rollback")]
    pub(crate) on_failure: OnFailureArg,
    /// Start drains without waiting for their end, and leave dependent steps to the next apply.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Roll the apply back unless you run `evenkeel confirm` within this time (90s, 2m).
    #[arg(long, value_name = "TIME", value_parser = positive_time, conflicts_with = "no_wait")]
    pub(crate) confirm: Option<u32>,
    #[command(flatten)]
    pub(crate) health: HealthArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnFailureArg {
    /// Undo the steps before it.
    Rollback,
    /// Keep the steps before it.
    Keep,
}

#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Roll the apply back now.
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

#[derive(Debug, Args)]
pub(crate) struct TeardownArgs {
    /// Do not ask before acting.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Also delete adopted objects, which existed before a spec listed them. By default, teardown
    /// restores their original values.
    #[arg(long)]
    pub(crate) adopted: bool,
    /// Override this guard (a safety check): unbind-in-use.
    #[arg(long, value_name = "GUARD", value_delimiter = ',')]
    pub(crate) allow: Vec<Guard>,
    /// Start drains without waiting for their end, and leave dependent steps to the next teardown.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
