//! `cargo xtask hostile`: measures how long VIPs are missing while everything that is hostile to the daemon happens
//! at once, beside a program that does nothing but bind addresses again.
//!
//! Runs the lab's test of that name, which otherwise takes seconds, and prints its summary.

use clap::Args;

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::long_test::LongTest;

/// Arguments of `cargo xtask hostile`.
#[derive(Args)]
pub(crate) struct Hostile {
    #[command(flatten)]
    kernel: KernelChoice,
    /// Duration; from 5 minutes on, times and memory are judged
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u32,
    /// Seed of the disturbances; the same seed gives the same ones [default: random]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

impl Hostile {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let Self { kernel, minutes, seed } = self;
        let (name, seconds) = ("hostile::vips", "EVENKEEL_HOSTILE_SECONDS");
        LongTest { name, seconds, minutes, seed }.run(&kernel)
    }
}
