//! A host of a cluster, in a network namespace of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use evenkeel_lab_tests::{fresh_namespace, program, run, run_with};
use tempfile::TempDir;

/// The host, with a directory for specs and a state directory.
pub(super) struct Host {
    folder: TempDir,
}

/// The result of a run of the program.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Host {
    /// Creates a host with the interfaces `eth0` and `eth1` and these addresses, and runs further
    /// commands of `ip`, `nft` and `arptables-legacy`, and settings (`sysctl NAME=VALUE`) on it, a line each.
    pub(super) fn new(commands: &str) -> Self {
        fresh_namespace();
        build(commands);
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, spec: &str) {
        std::fs::write(self.path("spec.yaml"), spec).unwrap();
    }

    /// A command of the program, with arguments split at spaces.
    pub(super) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(program());
        command.args(arguments.split_whitespace()).arg("--state-dir").arg(self.path("state"));
        command.current_dir(self.folder.path());
        command
    }

    pub(super) fn evenkeel(&self, arguments: &str) -> Answer {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs the program on a host without these programs.
    pub(super) fn evenkeel_without(&self, programs: &[&str], arguments: &str) -> Answer {
        let hide = |program: &&str| {
            format!(
                "if path=$(command -v {program}); then mount --bind /dev/null \"$(realpath $path)\"; fi; "
            )
        };
        let hide: String = programs.iter().map(hide).collect();
        let evenkeel = self.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-ec", &format!("{hide} exec \"$@\""), "sh"]);
        command.arg(evenkeel.get_program()).args(evenkeel.get_args());
        command.current_dir(self.folder.path()).output().unwrap().into()
    }

    /// Runs the program, which must succeed without a warning.
    #[track_caller]
    pub(super) fn done(&self, arguments: &str) -> String {
        let Answer { status, stdout, stderr } = self.evenkeel(arguments);
        assert_eq!((status, &*stderr), (0, ""), "{arguments}: {stdout}");
        stdout
    }

    /// Applies a spec and asserts that nothing is left to do.
    #[track_caller]
    pub(super) fn apply(&self, spec: &str) {
        self.write(spec);
        let applied = self.done("apply --yes spec.yaml");
        let answer = self.evenkeel("plan --detailed-exitcode spec.yaml");
        assert_eq!(answer.status, 0, "{answer:?} after {applied}");
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let Output { status, stdout, stderr } = output;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }
}

/// Gives the calling thread's network namespace interfaces, addresses and settings.
pub(super) fn build(commands: &str) {
    let links = "link add eth0 address 02:00:00:00:00:01 type dummy
        link add eth1 address 02:00:00:00:00:02 type dummy
        link set eth0 addrgenmode none
        link set eth1 addrgenmode none
        link set eth0 up
        link set eth1 up";
    run_with("ip -batch -", links);
    let lines = || commands.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_rule = |line: &&str| line.starts_with("nft ") || line.starts_with("arptables");
    let is_ip = |line: &&str| !line.starts_with("sysctl ") && !is_rule(line);
    // A line of a batch has no options.
    let (of_ipv6, others): (Vec<&str>, Vec<&str>) =
        lines().filter(is_ip).partition(|line| line.starts_with("-6 "));
    run_with("ip -batch -", &others.join("\n"));
    of_ipv6.into_iter().for_each(|line| drop(run(&format!("ip {line}"))));
    lines().filter(is_rule).for_each(|line| drop(run(line)));
    for setting in lines().filter_map(|line| line.strip_prefix("sysctl ")) {
        let (name, value) = setting.split_once('=').unwrap();
        std::fs::write(Path::new("/proc/sys").join(name), value).unwrap();
    }
    // Duplicate address detection would change the flags of addresses later.
    assert!(!run("ip address show tentative").contains("inet6"));
}
