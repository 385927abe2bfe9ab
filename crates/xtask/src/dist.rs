//! `cargo xtask dist`: builds the released program.

use clap::Args;

use crate::error::Error;
use crate::pgo;
use crate::workspace::Workspace;

/// Arguments of `cargo xtask dist`.
#[derive(Args)]
pub(crate) struct Dist {}

impl Dist {
    pub(crate) fn run(self) -> Result<u8, Error> {
        println!("{}", pgo::release(&Workspace::find()?)?.display());
        Ok(0)
    }
}
