//! Where the live state of a command comes from.

use std::path::Path;

use evenkeel_engine::{HostKernel, Journal, StateDir};
use evenkeel_host::Namespace;
use evenkeel_model::Live;

use crate::args::Global;
use crate::error::Error;
use crate::output::Output;

/// The kernel of this host, with what is on record of this network namespace.
pub(crate) struct Host {
    pub(crate) kernel: HostKernel,
    pub(crate) state: StateDir,
    pub(crate) journal: Journal,
}

impl Host {
    /// Connects to the kernel and reads the journal. Only a caller that is about to change
    /// something sets a damaged journal aside.
    pub(crate) fn connect(
        global: &Global,
        is_writer: bool,
        output: &mut Output,
    ) -> Result<Self, Error> {
        let namespace = Namespace::current().map_err(Error::Namespace)?;
        let state = StateDir::new(&global.state_dir, &namespace.label());
        let (journal, warning) = state.read(is_writer)?;
        if let Some(warning) = warning {
            output.warning(&warning);
        }
        let kernel = HostKernel::connect(journal.addresses.clone())?;
        Ok(Self { kernel, state, journal })
    }
}

/// The live state of `--live FILE`: a snapshot; `none` is an empty host.
pub(crate) fn from_file(path: &Path, output: &Output) -> Result<Live, Error> {
    if path == Path::new("none") {
        return Ok(Live::default());
    }
    Ok(crate::input::snapshot(path, output)?.into_live())
}
