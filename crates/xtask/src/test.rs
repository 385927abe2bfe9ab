//! `cargo xtask test`: runs all tests and sets up what they need.
//!
//! First runs the tests that any machine can run, then those that need a real kernel, in as many
//! guests at once as this machine has processors.

mod counts;
mod parts;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use evenkeel_lab::{Boot, GuestJob, Input};

use self::counts::OutcomeCounts;
use self::parts::{Run, parts};
use crate::error::Error;
use crate::floor;
use crate::kernel::KernelChoice;
use crate::lab;
use crate::workspace::{Workspace, has_subcommand};

const LAB_TESTS: &str = "evenkeel-lab-tests";
/// After this time a guest is killed: its part of the tests takes minutes.
const LIMIT: Duration = Duration::from_secs(25 * 60);
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

/// How the tests of one part ended.
struct PartOutcome {
    passed: u32,
    failed: u32,
    /// The status of the guest's command.
    code: u8,
}

fn in_the_lab(
    workspace: &Workspace,
    kernel: &KernelChoice,
    arguments: &[String],
) -> Result<u8, Error> {
    let under_test = UnderTest { evenkeel: workspace.evenkeel()?, floor: floor::build(workspace)? };
    let programs = programs(workspace)?;
    let mut boot = kernel.boot(workspace)?;
    let is_emulated = kernel.is_emulated();
    boot.limit = Some(if is_emulated { EMULATED_LIMIT } else { LIMIT });
    // An emulated machine has several processors itself.
    let guests = match is_emulated {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let parts = parts(&programs, arguments, guests)?;
    let is_several = parts.len() > 1;
    let run_part = |number: usize, runs: &[Run]| {
        let mut job = job_of(workspace, &under_test, runs);
        if std::env::var_os("UPDATE").is_some() {
            job.writable.push(workspace.root.join("tests/transcripts"));
        }
        let prefix = if is_several { format!("{number}| ") } else { String::new() };
        run(&boot, job, prefix)
    };
    let queue = Mutex::new(parts.iter().enumerate());
    let next = || queue.lock().ok()?.next();
    let work = || {
        let mut outcomes = Vec::new();
        while let Some((index, runs)) = next() {
            outcomes.push(run_part(index + 1, runs));
        }
        outcomes
    };
    let outcomes: Vec<Result<PartOutcome, Error>> = std::thread::scope(|scope| {
        let guests: Vec<_> = (0..guests).map(|_| scope.spawn(work)).collect();
        guests.into_iter().flat_map(|guest| guest.join().unwrap_or_default()).collect()
    });
    // A panic of a guest's thread has lost its outcomes.
    let mut code = u8::from(outcomes.len() != parts.len());
    let (mut passed, mut failed) = (0, 0);
    for outcome in outcomes {
        match outcome {
            Ok(part) => {
                passed += part.passed;
                failed += part.failed;
                code = code.max(part.code);
            }
            Err(error) => {
                error.print();
                code = code.max(1);
            }
        }
    }
    let (release, machine) = (boot.kernel.release(), boot.kernel.machine());
    let ran = passed + failed;
    println!(
        "{ran} tests ran inside the real kernel (Linux {release}, {machine}): {passed} passed, {failed} failed"
    );
    if ran == 0 {
        return Err(Error::Claim("no test ran inside the real kernel".to_owned()));
    }
    Ok(code)
}

/// Boots a guest for one part of the tests.
fn run(boot: &Boot, job: GuestJob, prefix: String) -> Result<PartOutcome, Error> {
    let mut counts = OutcomeCounts::new(io::stdout(), prefix);
    let outcome = boot.run(job, Input::Null, &mut counts, &mut io::stderr());
    counts.finish().map_err(|error| Error::Claim(format!("cannot print: {error}")))?;
    let code = outcome?.code();
    Ok(PartOutcome { passed: counts.passed, failed: counts.failed, code })
}

/// Builds the lab's tests of that program, and the job that runs them in a guest with these
/// arguments.
pub(crate) fn job(
    workspace: &Workspace,
    evenkeel: &Path,
    arguments: &[String],
) -> Result<GuestJob, Error> {
    let run = |program| Run { program, arguments: arguments.to_vec() };
    let runs: Vec<Run> = programs(workspace)?.into_iter().map(run).collect();
    let under_test = UnderTest { evenkeel: evenkeel.to_owned(), floor: floor::build(workspace)? };
    Ok(job_of(workspace, &under_test, &runs))
}

/// Builds the lab's test programs.
fn programs(workspace: &Workspace) -> Result<Vec<PathBuf>, Error> {
    let package = format!("--package={LAB_TESTS}");
    let programs = workspace.build(&["test", &package, "--no-run"])?;
    Ok(programs.into_iter().filter(|program| program.is_test).map(|test| test.path).collect())
}

/// The programs that the lab's tests start.
struct UnderTest {
    evenkeel: PathBuf,
    /// What it is compared with.
    floor: PathBuf,
}

/// The job that makes these runs in a guest one after the other, and fails if one fails.
fn job_of(workspace: &Workspace, under_test: &UnderTest, runs: &[Run]) -> GuestJob {
    let folder = workspace.root.join("tests/lab");
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut script = "code=0".to_owned();
    let mut words: Vec<OsString> = Vec::new();
    for run in runs {
        let first = words.len();
        words.push(run.program.clone().into_os_string());
        words.extend(run.arguments.iter().map(OsString::from));
        // Tests share one kernel and its one table of modules, sysctls and processors.
        words.push("--test-threads=1".into());
        let run: Vec<String> =
            (first..words.len()).map(|word| format!("\"${{{word}}}\"")).collect();
        script.push_str(&format!("; {} || code=$?", run.join(" ")));
    }
    script.push_str("; exit $code");
    let command = ["sh", "-c", &script].map(OsString::from).into_iter().chain(words).collect();
    let mut job = lab::job(command, folder.clone());
    job.env.extend([
        ("CARGO_MANIFEST_DIR".to_owned(), path(&folder)),
        ("EVENKEEL_BIN".to_owned(), path(&under_test.evenkeel)),
        ("EVENKEEL_FLOOR".to_owned(), path(&under_test.floor)),
        ("EVENKEEL_ROOT".to_owned(), path(&workspace.root)),
    ]);
    job.env.entry("RUST_BACKTRACE".to_owned()).or_insert_with(|| "1".to_owned());
    job
}
