//! Re-executes the booting program in two roles: on the host, to execute the kernel, and in the
//! guest, as process 1.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::cpu_pin::pin;
use crate::error::{Context, Error};
use crate::guest;

/// Runs the role that `arguments` name. To be called first by the program of [`crate::Boot::stage`],
/// with the arguments after those written there. On success it does not return.
///
/// # Errors
/// When the arguments are not from [`crate::Boot::run`], or the kernel could not be started.
pub fn stage(arguments: &[OsString]) -> Result<std::convert::Infallible, Error> {
    match arguments {
        [part, owner, processor, program, rest @ ..] if part == "kernel" => {
            let processor = if processor == "any" { None } else { Some(number(processor)?) };
            become_kernel(number(owner)?, processor, program, rest)
        }
        // UML appends words of its own to its command line, beyond the "--" that begins ours.
        [part, order, ..] if part == "init" => guest::init(Path::new(order)),
        _ => Err(Error::Refused(format!("{arguments:?} is no part of a boot"))),
    }
}

/// Replaces this process by the kernel, which will end when `owner` does and stays on that processor.
fn become_kernel(
    owner: usize,
    processor: Option<usize>,
    program: &OsStr,
    arguments: &[OsString],
) -> Result<std::convert::Infallible, Error> {
    // On SIGTERM the kernel takes its helper processes along; SIGKILL would leave them.
    set_parent_process_death_signal(Some(Signal::TERM))
        .step("cannot be tied to the owner's life")?;
    // The owner may have died before the line above; then the signal would never be sent.
    if getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs() as usize) != Some(owner) {
        return Err(Error::Refused("its owner is gone".to_owned()));
    }
    processor.map_or(Ok(()), pin)?;
    let source = Command::new(program).args(arguments).exec();
    Err(Error::Program { program: program.to_string_lossy().into_owned(), source })
}

fn number(text: &OsStr) -> Result<usize, Error> {
    text.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::Refused(format!("{text:?} is no number")))
}
