//! `cargo xtask sweep`: tests every fault of a single file of a spec, everyday edits of a Git repository,
//! SIGKILL at every step of each role's apply and teardown, every mistake on the hosts of every guide, two
//! writers that are killed at random, repairs beside processes that hold all names and ports they can,
//! unconfirmed applies whose watchdog is killed, or random edits of two owners' specs.
//!
//! Runs the lab's tests of that name in full and prints their tables.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use clap::Args;
use evenkeel_lab::Input;

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::test;
use crate::workspace::Workspace;

/// How long a sweep may take; it takes minutes.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// How much longer than `--seconds` the edits of two owners may take.
const MARGIN: Duration = Duration::from_secs(10 * 60);

/// Arguments of `cargo xtask sweep`.
#[derive(Args)]
pub(crate) struct Sweep {
    /// Random everyday edits of a Git repository, pulled into the directory of a running daemon
    #[arg(long)]
    git: bool,
    /// SIGKILL at every step of the apply and the teardown of each role
    #[arg(long, conflicts_with = "git")]
    roles: bool,
    /// Every mistake on the hosts of every guide, found by `doctor` before requests fail
    #[arg(long, conflicts_with_all = ["git", "roles"])]
    doctor: bool,
    /// Two writers in two mount namespaces, killed at random: 10,000 tries to take the lock
    #[arg(long, conflicts_with_all = ["git", "roles", "doctor"])]
    lock: bool,
    /// How long repairs take beside processes without privileges that hold all names and ports they can
    #[arg(long, conflicts_with_all = ["git", "roles", "doctor", "lock"])]
    squatters: bool,
    /// Unconfirmed applies whose watchdog is killed or hindered, with and without systemd and the daemon
    #[arg(long, conflicts_with_all = ["git", "roles", "doctor", "lock", "squatters"])]
    confirm: bool,
    /// Random edits of the specs of two owners on one host, with and without daemons
    #[arg(long, conflicts_with_all = ["git", "roles", "doctor", "lock", "squatters", "confirm"])]
    owners: bool,
    /// How long the specs of two owners are edited
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "owners")]
    seconds: u64,
    /// Number of edits
    #[arg(long, value_name = "N", default_value_t = 200, requires = "git")]
    edits: u32,
    /// Seed of the edits; the same seed gives the same edits [default: random]
    #[arg(long, value_name = "SEED", conflicts_with_all = ["roles", "doctor", "lock", "squatters", "confirm"])]
    seed: Option<u64>,
    #[command(flatten)]
    kernel: KernelChoice,
}

impl Sweep {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let name = match self {
            Self { git: true, .. } => "sweep::git::everyday",
            Self { roles: true, .. } => "roles::kill::after",
            Self { doctor: true, .. } => "guides::doctor",
            Self { lock: true, .. } => "two_writers",
            Self { squatters: true, .. } => "squatters",
            Self { confirm: true, .. } => "deploy::service::confirm",
            Self { owners: true, .. } => "owners::sweep",
            _ => "sweep::no_fault",
        };
        let words = [name.to_owned(), "--nocapture".to_owned()];
        // What is measured is the released program.
        let evenkeel = if self.squatters { workspace.dist()? } else { workspace.evenkeel()? };
        let mut job = test::job(&workspace, &evenkeel, &words)?;
        let mut set = |name: &str, value: String| job.env.insert(name.to_owned(), value);
        if self.git || self.owners {
            let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one("sweep"));
            set("EVENKEEL_LAB_SEED", seed.to_string());
        }
        if self.git {
            set("EVENKEEL_SWEEP_EDITS", self.edits.to_string());
        } else if self.owners {
            set("EVENKEEL_SWEEP_SECONDS", self.seconds.to_string());
        } else {
            set("EVENKEEL_SWEEP", "full".to_owned());
        }
        let mut boot = self.kernel.boot(&workspace)?;
        boot.limit = Some(match self.owners {
            true => LIMIT.max(Duration::from_secs(self.seconds) + MARGIN),
            false => LIMIT,
        });
        println!("Booting Linux {} ({})", boot.kernel.release(), boot.kernel.machine());
        let outcome = boot.run(job, Input::Null, &mut io::stdout(), &mut io::stderr())?;
        Ok(outcome.code())
    }
}
