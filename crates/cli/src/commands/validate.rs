//! `evenkeel validate`: checks a spec.

use evenkeel_plan::render::count;

use crate::args::{GlobalArgs, ValidateArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

pub(crate) fn run(
    arguments: &ValidateArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let spec = &arguments.spec;
    let desired = crate::input::spec(&spec.spec, &spec.parameters, global, output)?.desired;
    let real_servers: usize =
        desired.services.values().map(|named| named.service.real_servers.len()).sum();
    output.answer(format_args!(
        "valid: {}, {}, {}\n",
        count(desired.services.len(), "service"),
        count(real_servers, "real server"),
        count(desired.vips.len(), "VIP"),
    ))?;
    Ok(CommandExit::Done)
}
