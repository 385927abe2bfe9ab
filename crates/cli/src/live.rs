//! Where the live state of a command comes from.

use std::path::Path;

use evenkeel_engine::{HostKernel, Journal, StateDir, Sysctls};
use evenkeel_host::Namespace;
use evenkeel_model::{Desired, Live};

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
        if let Some(name) = &global.netns {
            Namespace::enter(name).map_err(Error::Namespace)?;
        }
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

impl Host {
    /// The sysctls that a plan for that spec depends on: the spec's own, and those that evenkeel
    /// set for an earlier one.
    pub(crate) fn sysctls(&self, desired: &Desired) -> Sysctls {
        desired.sysctls.keys().chain(self.journal.record.sysctls.keys()).cloned().collect()
    }
}

/// The live state of `--live FILE`: a snapshot; `none` is an empty host.
pub(crate) fn from_file(path: &Path, output: &Output) -> Result<Live, Error> {
    if path == Path::new("none") {
        return Ok(Live::default());
    }
    Ok(crate::input::snapshot(path, output)?.into_live())
}
