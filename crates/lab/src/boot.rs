//! Runs one command in a guest: starts the kernel, streams the command's output, returns its
//! status.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::cpu_pin::CpuPin;
use crate::error::{Context, Error};
use crate::fetch::Kernel;
use crate::guest_protocol::{GuestCommand, GuestJob, GuestStatus, Stdin};
use crate::machine::{Emulator, Machine, Sharing};
use crate::process_group::{End, ProcessGroup, in_words};
use crate::pty::PtyRelay;
use crate::run_dir::RunDir;
use crate::tail::{FileTail, tail};
use crate::xstate;

/// How many lines of the console an error shows.
const CONSOLE_LINES: usize = 25;

/// A guest to be booted.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The kernel, from [`crate::fetch()`].
    pub kernel: Kernel,
    /// A program and its first arguments that pass the rest of theirs to [`crate::reexec()`].
    pub stage: Vec<OsString>,
    /// The guest's memory in MiB, taken from the host only as it is used.
    pub memory: u32,
    /// After this time the guest is killed. None: never.
    pub limit: Option<Duration>,
}

/// The standard input of a guest's command.
#[derive(Debug)]
pub enum Input {
    /// Nothing: /dev/null.
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// A terminal open for reading and writing. Output goes there too, and not to the writers.
    Terminal(File),
}

/// How the guest's command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

impl Outcome {
    /// The status as shells count it: 128 and the number for a signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128_u8.saturating_add(signal),
        }
    }
}

impl Boot {
    /// A guest with 1 GiB of memory and ten minutes.
    pub fn new(kernel: Kernel, stage: Vec<OsString>) -> Self {
        Self { kernel, stage, memory: 1024, limit: Some(Duration::from_secs(600)) }
    }

    /// Boots, runs the job, streams its output to the writers as it comes, and halts.
    ///
    /// Nothing of the guest remains afterwards in any case; if the calling process is killed, so is
    /// the guest.
    ///
    /// # Errors
    /// When the guest could not be started, died, was killed at the limit or could not start the
    /// command. A command that ran and failed is an [`Outcome`].
    pub fn run(
        &self,
        job: GuestJob,
        input: Input,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<Outcome, Error> {
        let run = RunDir::create(&self.kernel.state.join("runs"))?;
        let stdin = give_input(&input, &run)?;
        let order = GuestCommand {
            run: run.path().to_owned(),
            modules: self.kernel.modules.clone(),
            tools: self.kernel.tools.clone(),
            sharing: self.sharing(&job, &run),
            job,
            stdin,
        };
        let order_file = order.write()?;
        let console = run.file("console");
        let console_file = File::create(&console).on("create", &console)?;
        // Kept until the guest has ended.
        let mut processor = None;
        let mut command = match &self.kernel.machine {
            Machine::UserMode => {
                let free = CpuPin::take(&self.kernel.state.join("processors"))?;
                let number = processor.insert(free).number;
                self.user_mode(&run, &order_file, number)?
            }
            Machine::Emulated(emulator) => self.emulated(emulator, &order, &order_file)?,
        };
        let relay = match input {
            Input::Null | Input::Bytes(_) => {
                command.stdin(Stdio::null());
                None
            }
            Input::Terminal(_) if matches!(self.kernel.machine, Machine::Emulated(_)) => {
                let why = "an emulated machine has no console for a terminal".to_owned();
                return Err(Error::Refused(why));
            }
            Input::Terminal(terminal) => {
                let (relay, guest) = PtyRelay::start(terminal)?;
                command.arg("con1=fd:0,fd:0").stdin(guest);
                Some(relay)
            }
        };
        if matches!(self.kernel.machine, Machine::UserMode) {
            // After "--" all words are init's.
            command.arg("--").args(self.init(&order_file).skip(1));
        }
        command.stderr(console_file.try_clone().on("use", &console)?).stdout(console_file);

        let group = ProcessGroup::start(&mut command)
            .map_err(|source| Error::Program { program: self.stage_name(), source })?;
        let mut tail_stdout = FileTail::new(&run.file("stdout"));
        let mut tail_stderr = FileTail::new(&run.file("stderr"));
        let mut pass_on = || -> io::Result<()> {
            tail_stdout.pass_on(stdout)?;
            tail_stderr.pass_on(stderr)?;
            relay.as_ref().map_or(Ok(()), PtyRelay::pass_on)
        };
        let end = group.watch(self.limit, &mut pass_on).map_err(Error::Output)?;
        pass_on().map_err(Error::Output)?;
        let console = || tail(&console, CONSOLE_LINES);
        match (GuestStatus::read(run.path()), end, self.limit) {
            (Some(GuestStatus::Exited(code)), ..) => Ok(Outcome::Exited(code)),
            (Some(GuestStatus::Killed { signal }), ..) => Ok(Outcome::Killed(signal)),
            (Some(GuestStatus::Refused(why)), ..) => Err(Error::Refused(why)),
            (None, End::Exited(status), _) => {
                Err(Error::Died { status: in_words(status), console: console() })
            }
            (None, End::TimedOut, limit) => {
                Err(Error::TimedOut { after: limit.unwrap_or_default(), console: console() })
            }
        }
    }

    /// How the guest will see the job's folders.
    fn sharing(&self, job: &GuestJob, run: &RunDir) -> Sharing {
        match self.kernel.machine {
            Machine::UserMode => Sharing::Hostfs,
            Machine::Emulated(_) => {
                let mut folders = vec![run.path().to_owned(), self.kernel.modules.clone()];
                folders.extend(self.kernel.tools.iter().chain(&job.writable).cloned());
                Sharing::Plan9(folders)
            }
        }
    }

    /// The command that pins itself to a processor and then executes the kernel.
    fn user_mode(&self, run: &RunDir, order: &Path, processor: usize) -> Result<Command, Error> {
        let memory_folder = self.memory_folder()?;
        let init = self.bootable(order)?;
        let mut command = self.stage_to(Some(processor))?;
        command
            .arg(&self.kernel.program)
            .arg(format!("mem={}M", self.memory))
            .args(["rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=-1"])
            .args(["con=null", "con0=null,fd:1"])
            .arg(format!("init={}", init.display()))
            // UML keeps a socket in its home, without which it does not start.
            .arg(format!("uml_dir={}/", run.path().display()))
            .env("HOME", run.path())
            .env("TMPDIR", memory_folder);
        if let Some(library) = xstate::preload(&self.kernel.state)? {
            command.env("LD_PRELOAD", library);
        }
        Ok(command)
    }

    /// The command that executes the emulator.
    fn emulated(
        &self,
        emulator: &Emulator,
        order: &GuestCommand,
        order_file: &Path,
    ) -> Result<Command, Error> {
        self.bootable(order_file)?;
        let Sharing::Plan9(folders) = &order.sharing else {
            return Err(Error::Refused("no folder is shared".to_owned()));
        };
        let writable: Vec<PathBuf> =
            order.job.writable.iter().chain([&order.run]).cloned().collect();
        let init: Vec<OsString> = self.init(order_file).collect();
        let kernel = (&*self.kernel.program, &*self.kernel.modules);
        let machine =
            emulator.command(kernel, self.memory, folders, &writable, (&order.run, &init))?;
        let mut command = self.stage_to(None)?;
        command.arg(machine.get_program()).args(machine.get_args());
        command.envs(machine.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ok(command)
    }

    /// The re-executed program under the name of what it will execute, pinned to a processor if
    /// given.
    fn stage_to(&self, processor: Option<usize>) -> Result<Command, Error> {
        let Some((program, first)) = self.stage.split_first() else {
            return Err(Error::Refused("there is no stage to start it with".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(first).arg("kernel").arg(std::process::id().to_string());
        command.arg(processor.map_or("any".to_owned(), |number| number.to_string()));
        command.current_dir("/");
        Ok(command)
    }

    /// Process 1 and its arguments.
    fn init(&self, order: &Path) -> impl Iterator<Item = OsString> {
        self.stage.iter().cloned().chain(["init".into(), order.into()])
    }

    /// The program of process 1, if a kernel command line can carry what it needs.
    fn bootable(&self, order: &Path) -> Result<&Path, Error> {
        let init = self.stage.first().map_or(Path::new(""), Path::new);
        for path in [init, order] {
            if path.to_string_lossy().contains(|c: char| c.is_whitespace() || c == '"') {
                return Err(Error::Unbootable(path.to_owned()));
            }
        }
        Ok(init)
    }

    /// Where UML keeps the guest's memory: a file that it maps executable.
    ///
    /// A file system in memory is best, except a /dev/shm that is small or forbids execution.
    fn memory_folder(&self) -> Result<PathBuf, Error> {
        let shm = Path::new("/dev/shm");
        let needed = u64::from(self.memory) * 1024 * 1024;
        if let Ok(stat) = statvfs(shm) {
            let may_execute = !stat.f_flag.contains(StatVfsMountFlags::NOEXEC);
            let may_write = rustix::fs::access(shm, rustix::fs::Access::WRITE_OK).is_ok();
            if may_execute && may_write && stat.f_bavail * stat.f_frsize > needed {
                return Ok(shm.to_owned());
            }
        }
        let folder = self.kernel.state.join("memory");
        fs::create_dir_all(&folder).on("create", &folder)?;
        Ok(folder)
    }

    fn stage_name(&self) -> String {
        self.stage.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Writes the command's input to the run's directory for the guest.
fn give_input(input: &Input, run: &RunDir) -> Result<Stdin, Error> {
    Ok(match input {
        Input::Null => Stdin::Null,
        Input::Bytes(bytes) => {
            let path = run.file("stdin");
            fs::write(&path, bytes).on("write", &path)?;
            Stdin::File
        }
        Input::Terminal(terminal) => {
            let size =
                rustix::termios::tcgetwinsize(terminal).step("cannot measure the terminal")?;
            Stdin::Terminal { rows: size.ws_row, columns: size.ws_col }
        }
    })
}
