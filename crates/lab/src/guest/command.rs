//! Runs the job's command as a child of process 1, which also reaps all orphans.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, setsid, wait};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Context, Error};
use crate::guest_protocol::{GuestCommand, GuestStatus, Stdin};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long processes left by a command may continue to write after its end.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Runs the command to its end.
pub(super) fn run(order: &GuestCommand) -> Result<GuestStatus, Error> {
    loopback_up()?;
    write_back_soon()?;
    let Some((program, arguments)) = order.job.command.split_first() else {
        return Err(Error::Refused("there is no command".to_owned()));
    };
    let mut command = Command::new(find(program, order));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .envs(&order.job.env)
        .current_dir(&order.job.cwd);
    let outputs = match &order.stdin {
        Stdin::Terminal { rows, columns } => {
            let terminal = terminal(*rows, *columns)?;
            let copy = || terminal.try_clone().on("use", "/dev/tty1");
            command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
            Vec::new()
        }
        Stdin::Null | Stdin::File => {
            command.stdin(match &order.stdin {
                Stdin::File => {
                    let path = order.run.join("stdin");
                    Stdio::from(File::open(&path).on("open", &path)?)
                }
                _ => Stdio::null(),
            });
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            vec!["stdout", "stderr"]
        }
    };
    let mut child = command.spawn().map_err(|source| Error::Program {
        program: program.to_string_lossy().into_owned(),
        source,
    })?;
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let pumps = outputs
        .into_iter()
        .zip(pipes.into_iter().flatten())
        .map(|(name, pipe)| Pump::start(&order.run.join(name), pipe))
        .collect::<Result<Vec<_>, _>>()?;
    let status = collect(Pid::from_child(&child))?;
    for pump in pumps {
        pump.finish()?;
    }
    Ok(status)
}

/// `PATH` of the job decides, as it would in a shell, not that of process 1, which has none.
fn find(program: &OsStr, order: &GuestCommand) -> std::path::PathBuf {
    let direct = Path::new(program);
    if direct.components().count() > 1 {
        return order.job.cwd.join(direct);
    }
    let path = order.job.env.get("PATH").map_or(PATH, String::as_str);
    std::env::split_paths(path)
        .map(|folder| folder.join(direct))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| direct.to_owned())
}

/// Sets up `lo`, without which IPVS does not even treat a local address as local.
fn loopback_up() -> Result<(), Error> {
    let program = "/sbin/ip".to_owned();
    let status = Command::new(&program).args(["link", "set", "lo", "up"]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::Refused(format!("lo does not come up ({status})"))),
        Err(source) => Err(Error::Program { program, source }),
    }
}

/// Lets writes to the host's folders reach them within a tenth of a second, not after 30 s, because
/// the host streams them.
fn write_back_soon() -> Result<(), Error> {
    for name in ["dirty_writeback_centisecs", "dirty_expire_centisecs"] {
        let path = Path::new("/proc/sys/vm").join(name);
        std::fs::write(&path, "5").on("write", &path)?;
    }
    Ok(())
}

/// The console that the host has tied to its own terminal, made the session's own.
fn terminal(rows: u16, columns: u16) -> Result<File, Error> {
    setsid().step("cannot begin a session")?;
    let path = "/dev/tty1";
    // A session leader's first terminal becomes its controlling one (tty(4)).
    let terminal = OpenOptions::new().read(true).write(true).open(path).on("open", path)?;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).on("size", path)?;
    Ok(terminal)
}

/// Waits for `child` and meanwhile for every orphan that process 1 inherits.
fn collect(child: Pid) -> Result<GuestStatus, Error> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => {
                let byte =
                    |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
                return Ok(match (byte(status.exit_status()), byte(status.terminating_signal())) {
                    (Some(code), _) => GuestStatus::Exited(code),
                    (None, Some(signal)) => GuestStatus::Killed { signal },
                    (None, None) => GuestStatus::Refused("it ended in no known way".to_owned()),
                });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).step("cannot wait for the command"),
        }
    }
}

/// Copies bytes from a pipe to a file on the host. The command gets no descriptor of that file, so
/// that reopening /dev/stdout cannot truncate it.
struct Pump {
    thread: JoinHandle<io::Result<()>>,
    done: mpsc::Receiver<()>,
}

impl Pump {
    fn start(path: &Path, pipe: OwnedFd) -> Result<Self, Error> {
        let mut file = File::create(path).on("create", path)?;
        let mut pipe = File::from(pipe);
        // Nothing is written to it; closing it is the signal.
        let (finished, done) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            let result = loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break Ok(()),
                    Ok(length) => {
                        if let Err(error) = file.write_all(&buffer[..length]) {
                            break Err(error);
                        }
                    }
                    Err(error) => break Err(error),
                }
            };
            drop(finished);
            result
        });
        Ok(Self { thread, done })
    }

    /// Waits for the end of the pipe, but not for what the command left running with it.
    fn finish(self) -> Result<(), Error> {
        if self.done.recv_timeout(LAST_LINES) == Err(mpsc::RecvTimeoutError::Timeout) {
            return Ok(());
        }
        match self.thread.join() {
            Ok(result) => result.step("cannot pass on what the command wrote"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
