//! Named network namespaces, as `ip netns` keeps them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, Error};
use crate::process_group::in_words;

/// Where `ip netns` and programs that work with it look for namespaces.
const FOLDER: &str = "/run/netns";

/// A network namespace with a name, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes an empty namespace: nothing in it but `lo`, which is up.
    ///
    /// # Errors
    /// When the name is taken or the caller may not.
    pub fn create(name: &str) -> Result<Self, Error> {
        let mut all = Self::create_all(&[name])?;
        let namespace = all.remove(0);
        ip_batch(Some(&namespace), "link set lo up\n")?;
        Ok(namespace)
    }

    /// Makes several with a single program; `lo` is down in them.
    pub(super) fn create_all(names: &[&str]) -> Result<Vec<Self>, Error> {
        let batch: String = names.iter().map(|name| format!("netns add {name}\n")).collect();
        ip_batch(None, &batch)?;
        Ok(names.iter().map(|name| Self { name: (*name).to_owned() }).collect())
    }

    /// The name that `ip netns` shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace, for setns(2) and nsenter(1).
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Moves the calling thread, and what it starts from now on, into the namespace.
    ///
    /// # Errors
    /// When the namespace is gone or the caller may not.
    pub fn enter(&self) -> Result<(), Error> {
        let path = self.path();
        let file = File::open(&path).on("open", &path)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).on("enter", &path)
    }

    /// Does `work` inside, in a thread of its own; the calling thread stays where it is.
    ///
    /// Sockets opened, programs started and files of `/proc/sys/net` used by `work` are the
    /// namespace's.
    ///
    /// # Errors
    /// As for [`Namespace::enter`].
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.enter().map(|()| work()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a program inside to its end, whatever its status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_output<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: &[A],
    ) -> Result<Output, Error> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        self.run(move || command.output())?
            .map_err(|source| Error::Program { program: program.to_owned(), source })
    }

    /// Runs a program inside and returns its output.
    ///
    /// # Errors
    /// When it cannot be started or fails; the error holds what it wrote on standard error.
    pub fn output<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> Result<String, Error> {
        let output = self.try_output(program, arguments)?;
        let words = arguments.iter().map(|argument| argument.as_ref().to_string_lossy());
        succeeded(format!("{program} {}", words.collect::<Vec<_>>().join(" ")), output)
    }

    /// Runs `ip(8)` once with many commands, one a line and without the leading `ip`.
    ///
    /// # Errors
    /// At the first command that fails.
    pub fn ip(&self, commands: &str) -> Result<(), Error> {
        ip_batch(Some(self), commands)
    }

    /// Sets sysctls, each a path below `/proc/sys/net` and a value.
    ///
    /// # Errors
    /// When the kernel has no such sysctl or refuses the value.
    pub fn sysctls(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        self.run(|| {
            settings.iter().try_for_each(|(name, value)| {
                let path = Path::new("/proc/sys/net").join(name);
                fs::write(&path, value).on("write", &path)
            })
        })?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let path = self.path();
        // The test may have deleted it already; and a guest is short-lived anyhow.
        let _ = unmount(&path, UnmountFlags::DETACH).and_then(|()| rustix::fs::unlink(&path));
    }
}

/// One `ip -batch`, inside a namespace or where the caller is.
fn ip_batch(namespace: Option<&Namespace>, commands: &str) -> Result<(), Error> {
    let run = || {
        let mut child = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(commands.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = match namespace {
        Some(namespace) => namespace.run(run)?,
        None => run(),
    };
    let output =
        output.map_err(|source| Error::Program { program: "ip -batch".to_owned(), source })?;
    let inside = namespace.map_or(String::new(), |namespace| format!(" in {}", namespace.name));
    succeeded(format!("ip -batch{inside}"), output).map(drop)
}

/// The output of a program, if it succeeded.
fn succeeded(program: String, output: Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::ProgramFailed {
        program,
        status: in_words(output.status),
        stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
    })
}
