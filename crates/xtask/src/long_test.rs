//! What tasks have in common that run one lab test for any length of time.

use std::io;
use std::time::Duration;

use evenkeel_lab::Input;

use crate::error::Error;
use crate::kernel::KernelChoice;
use crate::test;
use crate::workspace::Workspace;

/// The time needed in addition to its length: to boot, and to converge at the end.
const OVERHEAD: Duration = Duration::from_secs(5 * 60);

/// A lab test that takes seconds among the others.
pub(crate) struct LongTest {
    /// The beginning of its name.
    pub(crate) name: &'static str,
    /// The variable with its length in seconds.
    pub(crate) seconds: &'static str,
    pub(crate) minutes: u32,
    /// What it does is random, and the same for the same seed; `None` for another one each time.
    pub(crate) seed: Option<u64>,
}

impl LongTest {
    /// Runs it with the released program, and prints what it prints.
    pub(crate) fn run(self, kernel: &KernelChoice) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let length = Duration::from_secs(60) * self.minutes;
        let words = [self.name.to_owned(), "--nocapture".to_owned()];
        let mut job = test::job(&workspace, &workspace.dist()?, &words)?;
        job.env.insert(self.seconds.to_owned(), length.as_secs().to_string());
        if let Some(seed) = self.seed {
            job.env.insert("EVENKEEL_LAB_SEED".to_owned(), seed.to_string());
        }
        let mut boot = kernel.boot(&workspace)?;
        boot.limit = Some(length + OVERHEAD);
        println!("Booting Linux {} ({})", boot.kernel.release(), boot.kernel.machine());
        let outcome = boot.run(job, Input::Null, &mut io::stdout(), &mut io::stderr())?;
        Ok(outcome.code())
    }
}
