//! What a supervisor gives up, and with it its program.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getpid, getrlimit, set_child_subreaper, setrlimit};
use rustix::thread::{clear_ambient_capability_set, set_no_new_privs};

const MIB: u64 = 1024 * 1024;

/// Sets limits, forbids new privileges, and adopts orphans.
///
/// # Errors
/// If the kernel refuses one of them.
pub(crate) fn give_up(as_another_user: bool, timeout: Duration) -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    // No program that is set-user-ID gets anything.
    set_no_new_privs(true)?;
    // A process without root's identity keeps no capabilities across an exec but these.
    clear_ambient_capability_set()?;
    lower(Resource::Core, 0)?;
    lower(Resource::Fsize, 16 * MIB)?;
    lower(Resource::Data, 512 * MIB)?;
    lower(Resource::Stack, 16 * MIB)?;
    lower(Resource::Memlock, 0)?;
    lower(Resource::Nofile, 256)?;
    // The time of one processor; a program that waits uses none.
    lower(Resource::Cpu, timeout.as_secs().saturating_add(2))?;
    if as_another_user {
        // Counts all processes of a user: of one that does other things too, they may be many.
        lower(Resource::Nproc, 512)?;
    }
    Ok(())
}

/// Lowers a limit that is higher.
fn lower(resource: Resource, value: u64) -> io::Result<()> {
    let now = getrlimit(resource);
    let at_most = |it: Option<u64>| Some(it.map_or(value, |it| it.min(value)));
    let new = Rlimit { current: at_most(now.current), maximum: at_most(now.maximum) };
    Ok(setrlimit(resource, new)?)
}
