//! Runs the programs that read and change the tables of the kernel's firewall.

use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// Where distributions install them. The `PATH` of an ordinary user often lacks these.
const FURTHER: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// How long a program may take: longer than for thousands of rules on a slow machine.
const LIMIT: Duration = Duration::from_secs(20);

/// The result of a program that ran to its end.
pub(crate) struct Output {
    pub(crate) succeeded: bool,
    pub(crate) stdout: Vec<u8>,
    /// The messages, without what shows the place in the input.
    pub(crate) message: String,
}

/// Returns the path of a program; `None` if it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(FURTHER.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Runs a program in the network namespace of the calling thread, with this input, and ends it after
/// [`LIMIT`]. It is in a process group of its own: Ctrl-C on a terminal asks evenkeel to stop after the step that
/// it is at, and must not end that step.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    run_within(LIMIT, command, input)
}

fn run_within(limit: Duration, command: &mut Command, input: &[u8]) -> io::Result<Output> {
    // Messages are compared with those of the C library in English.
    command.env("LC_ALL", "C").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let watchdog = Watchdog::start(&child, limit);
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
    // The programs read all of their input before they write.
    let written = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output();
    if watchdog.stop() {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the program did not end within {} s", limit.as_secs()),
        ));
    }
    let output = output?;
    let succeeded = output.status.success();
    // One that fails early does not read all of it.
    if succeeded {
        written?;
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = stderr.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let message = match message {
        "" => output.status.to_string(),
        message => message.to_owned(),
    };
    Ok(Output { succeeded, stdout: output.stdout, message })
}

/// Ends a program that takes too long.
struct Watchdog {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    fn start(child: &Child, limit: Duration) -> Self {
        let pid = Pid::from_child(child);
        // It stays that of this program when its number is used again.
        let handle = pidfd_open(pid, PidfdFlags::empty());
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let is_over = stopped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_over {
                // A program that has just ended needs no end.
                let _ended = match handle {
                    Ok(handle) => pidfd_send_signal(handle, Signal::KILL),
                    // Linux before 5.3 has none.
                    Err(_) => kill_process(pid, Signal::KILL),
                };
            }
            is_over
        });
        Self { stop, thread }
    }

    /// Stops it; returns whether the time was over before.
    fn stop(self) -> bool {
        drop(self.stop);
        self.thread.join().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_has_its_first_message_or_its_status() {
        let run =
            |script: &str| run(Command::new("sh").args(["-c", script]), b"").expect("it runs");
        let failed = run("echo >&2; echo first >&2; echo second >&2; exit 1");
        assert!(!failed.succeeded);
        assert_eq!(failed.message, "first");
        assert_eq!(run("exit 3").message, "exit status: 3");
    }

    #[test]
    fn a_program_that_hangs_is_ended_whether_it_reads_its_input_or_not() {
        let limit = Duration::from_millis(200);
        for (script, input) in [("exec sleep 60", 1 << 20), ("cat >/dev/null; exec sleep 60", 1)] {
            let mut command = Command::new("sh");
            let ran = run_within(limit, command.args(["-c", script]), &vec![b'x'; input]);
            let error = ran.err().expect("it is ended");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{script}");
        }
    }

    #[test]
    fn a_program_gets_all_of_its_input_and_is_in_a_group_of_its_own() {
        let input = vec![b'x'; 1 << 20];
        let ran = run(
            Command::new("sh")
                .args(["-c", "wc -c; read -r _ _ _ _ group _ </proc/$$/stat; echo $group $$"]),
            &input,
        );
        let text = String::from_utf8(ran.expect("it runs").stdout).expect("text");
        let mut numbers = text.split_whitespace();
        assert_eq!(numbers.next(), Some("1048576"));
        assert_eq!(numbers.next(), numbers.next(), "{text}");
    }
}
