//! `evenkeel validate`: checks a spec.

use evenkeel_plan::render::count;

use crate::args::{GlobalArgs, ValidateArgs};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;
use crate::render;

pub(crate) fn run(
    arguments: &ValidateArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let spec = &arguments.spec;
    let loaded = crate::input::spec(&spec.spec, &spec.parameters, global, output);
    if let Err(Error::BadSpec(bad)) = loaded {
        // What is wrong is the answer of this command; stderr has it with excerpts.
        output.conclude(Ok(CommandExit::BadSpec), || render::invalid(&bad.problems))?;
        return Err(Error::BadSpec(bad));
    }
    let desired = loaded?.desired;
    let real_servers: usize =
        desired.services.values().map(|named| named.service.real_servers.len()).sum();
    output.answer(format_args!(
        "valid: {}, {}, {}\n",
        count(desired.services.len(), "service"),
        count(real_servers, "real server"),
        count(desired.vips.len(), "VIP"),
    ))?;
    output.conclude(Ok(CommandExit::Done), || render::valid(&desired, real_servers))
}
