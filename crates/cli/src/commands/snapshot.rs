//! `evenkeel snapshot`: writes the live state as a spec, for which a plan has no changes.

use evenkeel_engine::{Kernel, ReadRequest};
use evenkeel_model::{Desired, HostObjectKind, Scope};
use evenkeel_spec::WriteInput;

use crate::args::{GlobalArgs, SnapshotArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host_session::{Access, HostSession};
use crate::output::Output;

pub(crate) fn run(
    arguments: &SnapshotArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let named = if arguments.names.is_empty() {
        Desired { scope: Scope::All, ..Desired::default() }
    } else {
        crate::input::spec(&arguments.names, &arguments.parameters, global, output)?.desired
    };
    let mut host = HostSession::connect(global, Access::Read, output)?;
    // A snapshot includes all host objects, whatever is recorded.
    let host_objects = HostObjectKind::ALL.into();
    let request = ReadRequest { host_objects, ..host.read_request(&named) };
    let (live, statistics) = host.kernel.observe_with_statistics(&request)?;
    let mut input = WriteInput::of_live(&live, &named);
    if arguments.names.is_empty() {
        // Applying the snapshot later must not delete objects that were added after it.
        input = input.scoped_to_itself();
    }
    if arguments.pools {
        input = input.pooled();
    }
    input.observe(&live);
    input.observe_moment(now(), rustix::system::uname().release().to_string_lossy());
    input.observe_statistics(&statistics);
    output.answer(evenkeel_spec::write(&input))?;
    Ok(CommandExit::Done)
}

/// The time in UTC, to the second: `2026-01-31T23:59:59Z`.
fn now() -> String {
    let now = jiff::Timestamp::now();
    let second = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    second.to_string()
}
