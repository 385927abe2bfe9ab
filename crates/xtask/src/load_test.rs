//! `cargo xtask load`: measures the effect of re-configurations by evenkeel and by ipvsadm on
//! clients.
//!
//! Runs the lab's load tests with so many re-configurations that it takes minutes, and prints their
//! tables.

use std::io;
use std::time::Duration;

use clap::Args;
use evenkeel_lab::Input;

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::test;
use crate::workspace::Workspace;

/// A measurement that takes longer is considered hung.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Arguments of `cargo xtask load`.
#[derive(Args)]
pub(crate) struct Load {
    #[command(flatten)]
    kernel: KernelChoice,
    /// Number of re-configurations
    #[arg(long, value_name = "N", default_value_t = 200)]
    cases: u32,
    /// Skip the comparison with ipvsadm-restore, which takes most of the time on an emulated
    /// machine
    #[arg(long)]
    alone: bool,
    /// Prefix of the names of measurements: direct_routing_loses, direct_routing_of_ipv6,
    /// direct_routing_with_ports, address_translation, tunnels [default: all]
    names: Vec<String>,
}

impl Load {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let names = if self.names.is_empty() { vec![String::new()] } else { self.names };
        let mut words: Vec<String> = names.iter().map(|name| format!("load::{name}")).collect();
        words.push("--nocapture".to_owned());
        // The released build: an emulated machine takes seconds to start any other.
        let mut job = test::job(&workspace, &workspace.dist()?, &words)?;
        job.env.insert("EVENKEEL_LAB_CASES".to_owned(), self.cases.to_string());
        if self.alone {
            job.env.insert("EVENKEEL_LAB_ALONE".to_owned(), "1".to_owned());
        }
        let mut boot = self.kernel.boot(&workspace)?;
        boot.limit = Some(LIMIT);
        println!("Booting Linux {} ({})", boot.kernel.release(), boot.kernel.machine());
        let outcome = boot.run(job, Input::Null, &mut io::stdout(), &mut io::stderr())?;
        Ok(outcome.code())
    }
}
