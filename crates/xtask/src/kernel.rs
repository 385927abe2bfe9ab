//! The kernels that a task can run in, and how a guest with one is prepared.

use std::env;

use clap::{Args, ValueEnum};
use evenkeel_lab::{Boot, DebianKernel, Source, fetch};

use crate::error::Error;
use crate::workspace::Workspace;

/// The option `--kernel` of every task that runs in a guest.
#[derive(Args)]
pub(crate) struct KernelChoice {
    /// The kernel of the guest
    #[arg(long, value_name = "KERNEL", value_enum, default_value_t = Kernel::Uml)]
    kernel: Kernel,
}

/// A kernel to boot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kernel {
    /// User-Mode Linux: an ordinary process with one processor
    Uml,
    /// Debian's own kernel on an emulated machine of two processors, many times slower
    Qemu,
    /// Debian's Linux 6.12 on such a machine
    #[value(name = "qemu-6.12")]
    Qemu612,
}

impl KernelChoice {
    /// Prepares a guest with the chosen kernel.
    pub(crate) fn boot(&self, workspace: &Workspace) -> Result<Boot, Error> {
        self.kernel.boot(workspace)
    }

    /// Whether the guest's machine is emulated.
    pub(crate) fn is_emulated(&self) -> bool {
        self.kernel != Kernel::Uml
    }
}

impl Kernel {
    /// Prepares a guest. If the kernel is missing, fetches it and prints that.
    pub(crate) fn boot(self, workspace: &Workspace) -> Result<Boot, Error> {
        let source = match self {
            Self::Uml => user_mode()?,
            Self::Qemu => Source::Emulated(DebianKernel::Default),
            Self::Qemu612 => Source::Emulated(DebianKernel::V6_12),
        };
        let kernel =
            fetch(&workspace.target.join("lab"), &source, &mut |step| eprintln!("lab: {step}"))?;
        let this =
            env::current_exe().map_err(|error| Error::Start("this program".to_owned(), error))?;
        Ok(Boot::new(kernel, vec![this.into(), "lab-stage".into()]))
    }
}

/// User-Mode Linux of the environment's choice, else of a package.
fn user_mode() -> Result<Source, Error> {
    match (env::var_os("EVENKEEL_LAB_KERNEL"), env::var_os("EVENKEEL_LAB_MODULES")) {
        (Some(program), Some(modules)) => {
            Ok(Source::Given { program: program.into(), modules: modules.into() })
        }
        (None, None) => Ok(Source::Packages),
        _ => Err(Error::Claim(
            "EVENKEEL_LAB_KERNEL and EVENKEEL_LAB_MODULES belong together: set both or neither"
                .to_owned(),
        )),
    }
}
