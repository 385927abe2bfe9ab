//! `cargo xtask bench`: measures evenkeel as ratios to ipvsadm in the same boot.
//!
//! Absolute times mean little in the lab; ratios within one boot are reliable. This half runs on
//! the host; [`table`], [`idle`] and [`vip`] measure in the guest.

mod daemon;
mod idle;
mod table;
mod vip;

use std::path::PathBuf;
use std::{fs, io};

use clap::Args;
use evenkeel_lab::Input;

use crate::error::Error;
use crate::kernel::Kernel;
use crate::workspace::Workspace;
use crate::{lab, pgo};

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// How many services
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// How many real servers each of them has
    #[arg(long, default_value_t = 10)]
    real_servers: usize,
    /// How often each program is measured; medians are printed
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

impl Bench {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let evenkeel = pgo::release(&workspace)?;
        let this = workspace.xtask_release()?;
        let boot = Kernel::Uml.boot(&workspace)?;
        println!("Booting Linux {} with IPVS as an ordinary process", boot.kernel.release());
        let mut command = vec![this.into(), "bench-table".into(), evenkeel.into()];
        for number in [self.services, self.real_servers, self.runs] {
            command.push(number.to_string().into());
        }
        let outcome = boot.run(
            lab::job(command, workspace.root),
            Input::Null,
            &mut io::stdout().lock(),
            &mut io::stderr().lock(),
        )?;
        Ok(outcome.code())
    }
}

/// Arguments of the half that runs in the guest.
#[derive(Args)]
pub(crate) struct BenchTable {
    evenkeel: PathBuf,
    services: usize,
    real_servers: usize,
    runs: usize,
}

impl BenchTable {
    pub(crate) fn run(self) -> Result<u8, Error> {
        table::measure(&self.evenkeel, self.services, self.real_servers, self.runs)?;
        Ok(0)
    }
}

/// Writes a file of the benchmark.
fn write(path: &str, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::Claim(format!("cannot write {path}: {error}")))
}
