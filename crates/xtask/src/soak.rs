//! `cargo xtask soak`: runs the daemon under all disturbances at once, for any length of time.
//!
//! Runs the lab's test of that name, which otherwise takes seconds, and prints its summary.

use clap::Args;

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::long_test::LongTest;

/// Arguments of `cargo xtask soak`.
#[derive(Args)]
pub(crate) struct Soak {
    #[command(flatten)]
    kernel: KernelChoice,
    /// Duration; the daemon is killed repeatedly in the first half and undisturbed in the second
    #[arg(long, value_name = "N", default_value_t = 20)]
    minutes: u32,
    /// Seed of the disturbances; the same seed gives the same ones [default: random]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

impl Soak {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let Self { kernel, minutes, seed } = self;
        let (name, seconds) = ("soak::a_host", "EVENKEEL_SOAK_SECONDS");
        LongTest { name, seconds, minutes, seed }.run(&kernel)
    }
}
