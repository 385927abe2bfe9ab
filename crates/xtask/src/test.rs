//! `cargo xtask test`: runs all tests and sets up what they need.
//!
//! First runs the tests that any machine can run, then, in one boot, those that need a real kernel.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use evenkeel_lab::GuestJob;

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::lab;
use crate::workspace::{Workspace, has_subcommand};

const LAB_TESTS: &str = "evenkeel-lab-tests";
/// Runs each given test program, and fails if one fails.
const RUN_EACH: &str =
    r#"code=0; for program; do "$program" $ARGUMENTS || code=$?; done; exit $code"#;
const LIMIT: Duration = Duration::from_secs(45 * 60);
/// What runs on an emulated machine without words: the tests of whole topologies. The other tests are
/// about the program more than the kernel, and all of them take hours there.
const TOPOLOGIES: [&str; 3] = ["guides::", "roles::", "traffic::"];
const EMULATED_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct Test {
    /// Only the tests that need a real kernel [implied by other kernels than uml]
    #[arg(long)]
    lab: bool,
    #[command(flatten)]
    kernel: KernelChoice,
    /// Arguments for the test programs in the lab: parts of test names, --nocapture, ...
    ///
    /// None: all tests, or on an emulated machine those of whole topologies (guides, roles, traffic).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Test {
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let is_emulated = self.kernel.is_emulated();
        if !self.lab && !is_emulated {
            anywhere(&workspace)?;
        }
        let mut arguments = self.arguments;
        if is_emulated && arguments.iter().all(|argument| argument.starts_with('-')) {
            arguments.extend(TOPOLOGIES.map(str::to_owned));
        }
        in_the_lab(&workspace, &self.kernel, &arguments)
    }
}

/// The tests of the default members, documentation included.
fn anywhere(workspace: &Workspace) -> Result<(), Error> {
    if has_subcommand("nextest") {
        workspace.cargo(&["nextest", "run", "--no-tests=pass"])?;
    } else {
        workspace.cargo(&["test", "--all-targets"])?;
    }
    workspace.cargo(&["test", "--doc"])
}

fn in_the_lab(
    workspace: &Workspace,
    kernel: &KernelChoice,
    arguments: &[String],
) -> Result<u8, Error> {
    let mut job = job(workspace, &workspace.evenkeel()?, arguments)?;
    if std::env::var_os("UPDATE").is_some() {
        job.writable.push(workspace.root.join("tests/transcripts"));
    }
    let mut boot = kernel.boot(workspace)?;
    boot.limit = Some(if kernel.is_emulated() { EMULATED_LIMIT } else { LIMIT });
    let (release, machine) = (boot.kernel.release(), boot.kernel.machine());
    let mut counts = OutcomeCounts::new(io::stdout());
    let outcome = boot.run(job, evenkeel_lab::Input::Null, &mut counts, &mut io::stderr())?;
    let OutcomeCounts { passed, failed, .. } = counts;
    let ran = passed + failed;
    println!(
        "{ran} tests ran inside the real kernel (Linux {release}, {machine}): {passed} passed, {failed} failed"
    );
    if ran == 0 {
        return Err(Error::Claim("no test ran inside the real kernel".to_owned()));
    }
    Ok(outcome.code())
}

/// Builds the lab's tests of that program, and the job that runs them in a guest with these
/// arguments.
pub(crate) fn job(
    workspace: &Workspace,
    evenkeel: &Path,
    arguments: &[String],
) -> Result<GuestJob, Error> {
    let package = format!("--package={LAB_TESTS}");
    let tests = workspace.build(&["test", &package, "--no-run"])?;
    let tests = tests.into_iter().filter(|program| program.is_test);

    let mut command: Vec<OsString> = ["sh", "-c", RUN_EACH, "sh"].map(OsString::from).to_vec();
    command.extend(tests.map(|test| test.path.into_os_string()));
    let folder = workspace.root.join("tests/lab");
    let mut job = lab::job(command, folder.clone());
    let mut arguments = arguments.join(" ");
    // Tests share one kernel and its one table of modules, sysctls and processors.
    arguments.push_str(" --test-threads=1");
    let path = |path: &Path| path.to_string_lossy().into_owned();
    job.env.extend([
        ("ARGUMENTS".to_owned(), arguments),
        ("CARGO_MANIFEST_DIR".to_owned(), path(&folder)),
        ("EVENKEEL_BIN".to_owned(), path(evenkeel)),
        ("EVENKEEL_ROOT".to_owned(), path(&workspace.root)),
    ]);
    job.env.entry("RUST_BACKTRACE".to_owned()).or_insert_with(|| "1".to_owned());
    Ok(job)
}

/// Forwards the output of test programs, and adds up their `test result:` lines.
struct OutcomeCounts<W> {
    to: W,
    line: Vec<u8>,
    passed: u32,
    failed: u32,
}

impl<W: Write> OutcomeCounts<W> {
    fn new(to: W) -> Self {
        Self { to, line: Vec::new(), passed: 0, failed: 0 }
    }

    fn count(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let Some(result) = line.strip_prefix("test result: ") else { return };
        // "ok. 3 passed; 0 failed; 0 ignored; ..."
        let (_, counts) = result.split_once(". ").unwrap_or_default();
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

impl<W: Write> Write for OutcomeCounts<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.to.write(bytes)?;
        for &byte in &bytes[..length] {
            if byte == b'\n' {
                self.count();
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_however_the_output_is_cut() {
        let text = "test a ... ok\n\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                    test result: FAILED. 4 passed; 2 failed; 0 ignored\nnot a test result: ok. 9 passed\n";
        for size in [1, 7, 1000] {
            let mut counts = OutcomeCounts::new(Vec::new());
            for part in text.as_bytes().chunks(size) {
                counts.write_all(part).expect("a write to memory");
            }
            assert_eq!((counts.passed, counts.failed), (7, 2));
            assert_eq!(counts.to, text.as_bytes());
        }
    }
}
