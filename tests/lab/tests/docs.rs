//! The console sessions of the documentation on a real kernel: each page from its top to its end, as a
//! new user would type them. `crates/cli/tests/docs` describes the blocks of a page.

use std::fs;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, program, root, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

#[path = "../../../crates/cli/tests/docs/markdown.rs"]
mod markdown;

use markdown::{Block, Command, Page, pages};

/// How long a command that only shows something may take to show what the page says, while a daemon
/// works beside it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The commands that are not run: the units that they install are tested in `deploy`.
const NOT_RUN: [&str; 1] = ["install "];

/// The first words of commands that change nothing, and can be repeated.
const SHOWING: [&str; 6] =
    ["curl ", "evenkeel plan", "evenkeel show", "evenkeel status", "ip address show", "ipvsadm -L"];

#[test]
fn the_pages_show_what_happens() {
    let (mut played, mut wrong) = (0, String::new());
    for page in pages(&root()) {
        let mut commands = page.blocks.iter().flat_map(Block::commands);
        if commands.any(|it| it.is_privileged && it.text.starts_with("evenkeel ")) {
            play(&page, &mut wrong);
            played += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(played >= 4, "only {played} pages have commands for a live host");
}

/// Runs the commands of a page, and adds what is not as shown.
fn play(page: &Page, wrong: &mut String) {
    let mut host = Host::new();
    for block in &page.blocks {
        if block.is("lab") {
            host.stop_daemon();
            // It removes its files before the next one has its own there.
            drop(host);
            host = Host::new();
            let (text, is_success) = host.shell(&block.text);
            assert!(is_success, "{}:{}: {text}", page.path.display(), block.line);
        }
        if let Some(path) = block.file() {
            host.write(path, &block.text);
        }
        for command in block.commands() {
            if let Err(difference) = host.type_in(&command, block.is("varies")) {
                let place = format!("{}:{}", page.path.display(), command.line);
                *wrong += &format!("{place}: {}\n{difference}\n", command.text);
            }
        }
    }
    host.stop_daemon();
}

/// The files of a host, as the program uses them by default; here those of the guest's own root.
const SPECS: &str = "/etc/evenkeel";
const STATE: &str = "/var/lib/evenkeel";

/// A host of its own for a part of a page: a network namespace with `eth0` and `eth1`, no spec, no
/// journal, and a folder for other files.
struct Host {
    folder: TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new() -> Self {
        fresh_namespace();
        for interface in ["eth0", "eth1"] {
            run(&format!("ip link add {interface} up type dummy"));
        }
        for folder in [SPECS, STATE] {
            let _absent = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples"))
            .unwrap();
        Self { folder, daemon: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).unwrap();
    }

    /// Runs a command of the page; the difference if its output or its end is not as shown.
    fn type_in(&mut self, command: &Command, varies: bool) -> Result<(), String> {
        let text = &*command.text;
        if NOT_RUN.iter().any(|program| text.starts_with(program)) {
            return Ok(());
        }
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["systemctl", "enable", "--now", "evenkeel"]
            | ["systemctl", "start" | "restart", "evenkeel"] => {
                self.stop_daemon();
                self.start_daemon("watch /etc/evenkeel");
                return Ok(());
            }
            ["systemctl", "stop", "evenkeel"] => {
                self.stop_daemon();
                return Ok(());
            }
            ["evenkeel", "watch", ..] => {
                self.start_daemon(text.trim_start_matches("evenkeel "));
                // The page shows when it is interrupted.
                assert_eq!(command.output, ["^C"], "{text}");
                self.stop_daemon();
                return Ok(());
            }
            _ => {}
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let (found, is_success) = self.shell(text);
            let is_shown = command.is_shown(&found, varies);
            if is_shown && is_success != command.shows_failure() {
                return Ok(());
            }
            let may_change = self.daemon.is_some() && SHOWING.iter().any(|it| text.starts_with(it));
            if !may_change || Instant::now() > end {
                return Err(format!("shown:\n{}\nfound:\n{found}", command.output.join("\n")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a text in a shell, with `evenkeel` as the program that is tested. The output on both
    /// streams, and whether it ended well.
    fn shell(&self, text: &str) -> (String, bool) {
        let prelude = "evenkeel() { \"$EVENKEEL\" \"$@\"; }";
        let output = Process::new("sh")
            .args(["-c", &format!("exec 2>&1\n{prelude}\n{text}")])
            .env("EVENKEEL", program())
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }

    /// Starts the daemon with these arguments, and waits until it has looked at the host.
    fn start_daemon(&mut self, arguments: &str) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut command = Process::new(program());
        command.args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        let is_ready = |text: &str| {
            !["starting", "not running", "error"].iter().any(|it| text.starts_with(it))
        };
        while !is_ready(&self.shell("evenkeel status").0) {
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
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _killed = daemon.kill();
            let _reaped = daemon.wait();
        }
        for folder in [SPECS, STATE] {
            let _removed = fs::remove_dir_all(folder);
        }
    }
}
