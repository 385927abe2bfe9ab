//! `cargo xtask soak`: runs the daemon under all disturbances at once, for any length of time.
//!
//! Runs the lab's test of that name, which otherwise takes seconds, and prints its summary.

use std::io;
use std::time::Duration;

use clap::Args;
use evenkeel_lab::Input;

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::test;
use crate::workspace::Workspace;

/// The time needed in addition to its length: to boot, and to converge at the end.
const OVERHEAD: Duration = Duration::from_secs(5 * 60);

/// Arguments of `cargo xtask soak`.
#[derive(Args)]
pub(crate) struct Soak {
    #[command(flatten)]
    kernel: KernelChoice,
    /// Duration; the daemon is killed repeatedly in the first half and undisturbed in the second
    #[arg(long, value_name = "N", default_value_t = 20)]
    minutes: u32,
}

impl Soak {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let length = Duration::from_secs(60) * self.minutes;
        let words = ["soak::a_host".to_owned(), "--nocapture".to_owned()];
        let mut job = test::job(&workspace, &workspace.dist()?, &words)?;
        job.env.insert("EVENKEEL_SOAK_SECONDS".to_owned(), length.as_secs().to_string());
        let mut boot = self.kernel.boot(&workspace)?;
        boot.limit = Some(length + OVERHEAD);
        println!("Booting Linux {} ({})", boot.kernel.release(), boot.kernel.machine());
        let outcome = boot.run(job, Input::Null, &mut io::stdout(), &mut io::stderr())?;
        Ok(outcome.code())
    }
}
