//! `evenkeel snapshot`: writes the live state as a spec, for which a plan has no changes.

use evenkeel_workflow::{SnapshotOptions, snapshot};

use crate::args::{GlobalArgs, SnapshotArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{EventLog, host, recorded_ipvs_use};
use crate::output::Output;

pub(crate) fn run(
    arguments: &SnapshotArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let named = match arguments.names.is_empty() {
        true => None,
        false => {
            let names = &arguments.names;
            Some(crate::input::spec(names, &arguments.parameters, global, output)?.desired)
        }
    };
    let mut events = EventLog::default();
    let options = SnapshotOptions { named, pools: arguments.pools };
    let text = snapshot(&mut host(global, recorded_ipvs_use(global)?)?, options, &mut events);
    events.print(output);
    output.answer(text?)?;
    Ok(CommandExit::Done)
}
