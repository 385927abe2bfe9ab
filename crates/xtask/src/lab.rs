//! `cargo xtask lab`: runs any command, or a shell, in a real kernel with IPVS.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use evenkeel_lab::{Error as LabError, GuestJob, Input};

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::workspace::Workspace;

/// The caller's environment variables that are passed to a command in the guest: by name, or by
/// prefix.
const PASSED_ON: [&str; 12] = [
    "CLICOLOR",
    "COLORTERM",
    "EVENKEEL_",
    "INSTA_",
    "LC_",
    "NO_COLOR",
    "PROPTEST_",
    "RUST_",
    "TERM",
    "TZ",
    "UPDATE",
    "LANG",
];

/// Arguments of `cargo xtask lab`.
#[derive(Args)]
pub(crate) struct Lab {
    #[command(flatten)]
    kernel: KernelChoice,
    /// Kill the guest after this many seconds [default: 600; none for a shell on a terminal]
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u64>,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,
    /// Pass this standard input to the command, read to its end beforehand
    #[arg(long)]
    stdin: bool,
    /// A directory of this machine that the command may write to; can be repeated
    #[arg(long, value_name = "FOLDER")]
    writable: Vec<PathBuf>,
    /// The command; none: a shell, on a terminal or reading commands from standard input
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Lab {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let mut boot = self.kernel.boot(&workspace)?;
        boot.memory = self.memory;
        let is_shell = self.command.is_empty();
        let on_terminal = is_shell && io::stdin().is_terminal();
        let input = if on_terminal {
            let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
            boot.limit = None;
            Input::Terminal(
                terminal.map_err(|error| Error::Start("a shell on /dev/tty".to_owned(), error))?,
            )
        } else if is_shell || self.stdin {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| Error::Claim(format!("cannot read standard input: {error}")))?;
            Input::Bytes(bytes)
        } else {
            Input::Null
        };
        if let Some(seconds) = self.limit {
            boot.limit = Some(Duration::from_secs(seconds));
        }
        let command = match (is_shell, on_terminal) {
            (false, _) => self.command,
            (true, true) => vec!["bash".into(), "-i".into()],
            (true, false) => vec!["bash".into()],
        };
        let cwd = env::current_dir()
            .map_err(|error| Error::Claim(format!("no working directory: {error}")))?;
        let mut job = job(command, cwd);
        for folder in self.writable {
            let absolute = folder.canonicalize();
            let absolute =
                absolute.map_err(|error| Error::Claim(format!("{}: {error}", folder.display())))?;
            job.writable.push(absolute);
        }
        match boot.run(job, input, &mut io::stdout().lock(), &mut io::stderr().lock()) {
            Ok(outcome) => Ok(outcome.code()),
            // A reader that closed the pipe is not an error.
            Err(LabError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// A job with the environment that a command expects.
pub(crate) fn job(command: Vec<OsString>, cwd: PathBuf) -> GuestJob {
    let mut job = GuestJob::new(command, &cwd);
    let passed_on = |name: &str| PASSED_ON.iter().any(|start| name.starts_with(start));
    job.env = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| passed_on(name))
        .collect();
    job
}
