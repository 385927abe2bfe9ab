//! `cargo xtask demo`: the classic DR experiment, from hosts with nothing but addresses to a cluster that one
//! file sets up, and back.
//!
//! This half runs on the host; [`script`] runs in the guest.

mod diagram;
mod script;
mod stage;

use std::env;
use std::io;
use std::path::PathBuf;

use clap::Args;
use evenkeel_lab::Input;

use crate::error::Error;
use crate::kernel::Kernel;
use crate::lab;
use crate::workspace::Workspace;

/// Arguments of `cargo xtask demo`.
#[derive(Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let evenkeel = workspace.evenkeel()?;
        let boot = Kernel::Uml.boot(&workspace)?;
        let this =
            env::current_exe().map_err(|error| Error::Start("this program".to_owned(), error))?;
        println!("Booting Linux {} with IPVS as an ordinary process", boot.kernel.release());
        let command = vec![this.into(), "demo-script".into(), evenkeel.into()];
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
pub(crate) struct DemoScript {
    /// The evenkeel program
    evenkeel: PathBuf,
}

impl DemoScript {
    pub(crate) fn run(self) -> Result<u8, Error> {
        script::play(&self.evenkeel)?;
        Ok(0)
    }
}
