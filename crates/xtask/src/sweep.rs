//! `cargo xtask sweep`: tests every fault of a single file of a spec, or everyday edits of a Git
//! repository.
//!
//! Runs the lab's tests of that name in full and prints their tables.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use clap::Args;
use evenkeel_lab::Input;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{lab, test};

/// How long a sweep may take; it takes minutes.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Arguments of `cargo xtask sweep`.
#[derive(Args)]
pub(crate) struct Sweep {
    /// Random everyday edits of a Git repository, pulled into the directory of a running daemon
    #[arg(long)]
    git: bool,
    /// Number of edits
    #[arg(long, value_name = "N", default_value_t = 200, requires = "git")]
    edits: u32,
    /// Seed of the edits; the same seed gives the same edits [default: random]
    #[arg(long, value_name = "SEED", requires = "git")]
    seed: Option<u64>,
    /// Debian's own kernel on an emulated machine of two processors, in place of User-Mode Linux
    #[arg(long)]
    qemu: bool,
}

impl Sweep {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let name = if self.git { "sweep::git::everyday" } else { "sweep::no_fault" };
        let words = [name.to_owned(), "--nocapture".to_owned()];
        let mut job = test::job(&workspace, &workspace.evenkeel()?, &words)?;
        let mut set = |name: &str, value: String| job.env.insert(name.to_owned(), value);
        if self.git {
            let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one("sweep"));
            set("EVENKEEL_SWEEP_EDITS", self.edits.to_string());
            set("EVENKEEL_LAB_SEED", seed.to_string());
        } else {
            set("EVENKEEL_SWEEP", "full".to_owned());
        }
        let mut boot = if self.qemu { lab::emulated(&workspace) } else { lab::boot(&workspace) }?;
        boot.limit = Some(LIMIT);
        println!("Booting Linux {} ({})", boot.kernel.release(), boot.kernel.machine());
        let outcome = boot.run(job, Input::Null, &mut io::stdout(), &mut io::stderr())?;
        Ok(outcome.code())
    }
}
