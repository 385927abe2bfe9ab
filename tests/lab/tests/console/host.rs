//! A host for a part of a page.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, install_program, root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::markdown::Command;
use super::{Form, Outcome};

/// How long a command that only shows something may take to show what the page says, while a daemon
/// works beside it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the output of such a command must be the same before it is written to a page.
const STABLE: Duration = Duration::from_secs(3);

/// The commands that are not run: the units that they install are tested in `deploy`.
const NOT_RUN: [&str; 1] = ["install "];

/// The first words of commands that change nothing, and can be repeated.
const SHOWING: [&str; 6] =
    ["curl ", "evenkeel plan", "evenkeel show", "evenkeel status", "ip address show", "ipvsadm -L"];

/// The files of a host, as the program uses them by default; here those of the guest's own root.
const SPECS: &str = "/etc/evenkeel";
const STATE: &str = "/var/lib/evenkeel";

/// Runs a program on a terminal, which gets the standard input as typed text.
const TERMINAL: &str = "#!/bin/sh
exec script --quiet --return --echo never --command \"$*\" /dev/null
";

/// A host of its own for a part of a page: a network namespace with `eth0` and `eth1`, no spec, no
/// journal, and a folder for other files.
///
/// Beside programs it knows these commands: `systemctl start`, `restart` and `stop`; `evenkeel watch ...
/// &`, a daemon, which `kill %1` ends; any other `... &`, which has written something before the next
/// command runs, and whose output and end `wait` shows; `connect ADDRESS`, which opens a TCP connection
/// to a server on this host, and `disconnect`, which closes it.
pub(super) struct Host {
    folder: TempDir,
    daemon: Option<Child>,
    background: Option<Child>,
    connection: Option<Connection>,
}

/// A client and a server of this host.
struct Connection {
    _client: TcpStream,
    /// Closing it would end the connection.
    _server: TcpListener,
}

impl Host {
    pub(super) fn new() -> Self {
        install_program();
        fresh_namespace();
        for interface in ["eth0", "eth1"] {
            run(&format!("ip link add {interface} up type dummy"));
        }
        for folder in [SPECS, STATE] {
            let _absent = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("bin");
        fs::create_dir(&programs).unwrap();
        let terminal = programs.join("terminal");
        fs::write(&terminal, TERMINAL).unwrap();
        fs::set_permissions(terminal, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(root().join("examples"), folder.path().join("examples")).unwrap();
        Self { folder, daemon: None, background: None, connection: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).unwrap();
    }

    /// Runs a command of the page, until it has an outcome that the page shows if it may still change.
    /// `None` for a command that shows nothing.
    pub(super) fn type_in(
        &mut self,
        command: &Command,
        form: Form,
        is_shown: &dyn Fn(&Outcome) -> bool,
    ) -> Option<Outcome> {
        let text = &*command.text;
        if NOT_RUN.iter().any(|program| text.starts_with(program)) {
            return None;
        }
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["systemctl", "enable", "--now", "evenkeel"]
            | ["systemctl", "start" | "restart", "evenkeel"] => {
                self.stop_daemon();
                self.start_daemon("watch /etc/evenkeel");
            }
            ["systemctl", "stop", "evenkeel"] | ["kill", "%1"] => self.stop_daemon(),
            ["evenkeel", arguments @ .., "&"] if arguments.first() == Some(&"watch") => {
                self.start_daemon(&arguments.join(" "));
            }
            ["evenkeel", "watch", ..] if command.output == ["^C"] => {
                self.start_daemon(text.trim_start_matches("evenkeel "));
                self.stop_daemon();
            }
            ["connect", address] => {
                return self
                    .connect(address)
                    .err()
                    .map(|error| Outcome { text: format!("connect: {error}\n"), status: 1 });
            }
            ["disconnect"] => self.connection = None,
            [.., "&"] => self.start_in_background(text),
            ["wait"] => return Some(self.wait()),
            _ => return Some(self.repeat(text, form, is_shown)),
        }
        None
    }

    /// Runs a command until the page shows its outcome. It is repeated only beside a daemon.
    fn repeat(&self, text: &str, form: Form, is_shown: &dyn Fn(&Outcome) -> bool) -> Outcome {
        let is_renewed = matches!(form, Form::Transcript { is_renewed: true });
        let may_change = self.daemon.is_some() && SHOWING.iter().any(|it| text.starts_with(it));
        let begin = Instant::now();
        let mut stable = (begin, String::new());
        loop {
            let outcome = self.shell(text);
            if is_shown(&outcome) || !may_change || begin.elapsed() > PATIENCE {
                return outcome;
            }
            let form = super::markdown::without_numbers(&outcome.text);
            if stable.1 != form {
                stable = (Instant::now(), form);
            }
            if is_renewed && stable.0.elapsed() > STABLE {
                return outcome;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A shell that finds `evenkeel`, the program that is tested, and `terminal`.
    fn process(&self, text: &str) -> Process {
        let programs = self.path().join("bin");
        let path = std::env::var("PATH").unwrap();
        let mut process = Process::new("sh");
        process
            .args(["-c", &format!("exec 2>&1\n{text}")])
            .env("PATH", format!("{}:{path}", programs.display()))
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .current_dir(self.path())
            .stdin(Stdio::null());
        process
    }

    /// Runs a text in a shell; the output on both streams.
    pub(super) fn shell(&self, text: &str) -> Outcome {
        let output = self.process(text).output().unwrap();
        // A terminal ends lines with both.
        let text = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
        Outcome { text, status: output.status.code().unwrap() }
    }

    /// Starts a command, and waits until it has written something.
    fn start_in_background(&mut self, text: &str) {
        assert!(self.background.is_none(), "{text}: another one runs");
        let path = self.path().join("background");
        let file = fs::File::create(&path).unwrap();
        let text = text.trim_end_matches('&');
        self.background = Some(self.process(text).stdout(file).spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        while fs::metadata(&path).unwrap().len() == 0 {
            assert!(Instant::now() < end, "{text}: it writes nothing");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the command in the background.
    fn wait(&mut self) -> Outcome {
        let status = self.background.take().unwrap().wait().unwrap();
        let text = fs::read_to_string(self.path().join("background")).unwrap();
        Outcome { text, status: status.code().unwrap() }
    }

    fn connect(&mut self, address: &str) -> io::Result<()> {
        let (_, port) = address.rsplit_once(':').unwrap();
        let _server = TcpListener::bind(("0.0.0.0", port.parse().unwrap()))?;
        let _client = TcpStream::connect(address)?;
        // Closing it resets the connection, so that it does not wait for packets.
        rustix::net::sockopt::set_socket_linger(&_client, Some(Duration::ZERO))?;
        self.connection = Some(Connection { _client, _server });
        Ok(())
    }

    /// Starts the daemon with these arguments, and waits until it has looked at the host.
    fn start_daemon(&mut self, arguments: &str) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut command = Process::new("evenkeel");
        command.args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        let is_ready = |text: &str| {
            !["starting", "not running", "error"].iter().any(|it| text.starts_with(it))
        };
        while !is_ready(&self.shell("evenkeel status").text) {
            let log = fs::read_to_string(self.path().join("log")).unwrap();
            assert!(Instant::now() < end, "the daemon does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        kill(Pid::from_raw(daemon.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert!(daemon.wait().unwrap().success(), "the daemon fails");
    }

    /// Ends what runs on it.
    pub(super) fn stop(&mut self) {
        self.connection = None;
        self.stop_daemon();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.background].into_iter().flatten() {
            let _killed = child.kill();
            let _reaped = child.wait();
        }
        for folder in [SPECS, STATE] {
            let _removed = fs::remove_dir_all(folder);
        }
    }
}
