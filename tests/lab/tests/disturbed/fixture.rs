//! The host: its spec, its daemon, and objects of other programs that must not
//! change.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use evenkeel_lab_tests::endpoint::ENDPOINT;
use evenkeel_lab_tests::{fresh_namespace, program, run, run_with};
use tempfile::TempDir;

/// Out of scope, in the format of `ipvsadm -Sn`.
pub(crate) const FOREIGN_SERVICE: &str =
    "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 3\n";

/// Bound by another program, out of scope and in scope.
pub(crate) const ADDRESSES: [&str; 2] = ["203.0.113.1/32", "192.0.2.77/32"];

/// A host in a network namespace of its own.
pub(crate) struct Fixture {
    folder: TempDir,
    /// The objects of other programs at the beginning.
    foreign_services: Vec<String>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        fresh_namespace();
        run("ip link add eth0 up type dummy");
        for address in ADDRESSES {
            run(&format!("ip address add {address} dev eth0"));
        }
        run_with("ipvsadm -R", FOREIGN_SERVICE);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("specs")).unwrap();
        Self { folder, foreign_services: foreign_services() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn spec(&self) -> PathBuf {
        self.path("specs/spec.yaml")
    }

    /// Replaces the spec atomically.
    pub(crate) fn replace(&self, text: &str) {
        let new = self.path("new.yaml");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.spec()).unwrap();
    }

    /// Overwrites the spec in place, in two parts, between which `between` runs.
    pub(crate) fn overwrite(&self, text: &str, between: impl FnOnce()) {
        let mut file = File::create(self.spec()).unwrap();
        let (begin, end) = text.as_bytes().split_at(text.len() / 2);
        file.write_all(begin).unwrap();
        between();
        file.write_all(end).unwrap();
    }

    pub(crate) fn watch(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.watch_command();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    /// Returns the command of a daemon, whose output goes wherever the caller's does.
    pub(crate) fn watch_command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("watch").arg(self.spec()).arg("--state-dir").arg(self.path("state"));
        command.args(["--interval", "1s", "--listen", ENDPOINT]).stdin(Stdio::null());
        command
    }

    /// Returns Ok if nothing is left to do, else the output of `evenkeel plan`.
    pub(crate) fn plan(&self) -> Result<(), String> {
        let mut command = Command::new(program());
        command.args(["plan", "--detailed-exitcode"]).arg(self.spec());
        let output = command.arg("--state-dir").arg(self.path("state")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.code() {
            Some(0) => Ok(()),
            _ => Err(text(&output.stdout) + &text(&output.stderr)),
        }
    }

    /// Returns the differences in objects of other programs.
    pub(crate) fn harmed(&self) -> Option<String> {
        let now = foreign_services();
        (now != self.foreign_services)
            .then(|| format!("{:?} became {now:?}", self.foreign_services))
    }

    /// Returns the end of the daemon's log.
    pub(crate) fn end_of_log(&self) -> String {
        let mut file = File::open(self.path("log")).unwrap();
        let length = file.metadata().unwrap().len();
        file.seek(SeekFrom::Start(length.saturating_sub(8_000))).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns lines of the daemon's log that must not occur.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let log = fs::read(self.path("log")).unwrap();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| is_alarm(line)).map(str::to_owned).take(5).collect()
    }
}

/// Whether a line of the daemon's log must not occur.
pub(crate) fn is_alarm(line: &str) -> bool {
    line.contains("panicked") || line.contains("damaged")
}

/// Returns the objects of other programs, as `ipvsadm` and `ip` show them.
fn foreign_services() -> Vec<String> {
    let table = run("ipvsadm -Sn");
    let table = table.lines().filter(|line| line.contains(" 203.0.113."));
    let mut all: Vec<String> = table.map(|line| line.trim_end().to_owned()).collect();
    let shown = run("ip -o address show dev eth0");
    let is_theirs = |line: &&str| ADDRESSES.iter().any(|address| line.contains(address));
    all.extend(shown.lines().filter(is_theirs).map(str::to_owned));
    // Addresses are listed in the order of binding; one that is bound again comes last.
    all.sort();
    all
}
