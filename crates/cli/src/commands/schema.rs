//! `evenkeel schema`: prints the JSON Schema of a spec, for editors and CI.

use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

pub(crate) fn run(output: &mut Output) -> Result<CommandExit, Error> {
    output.answer(format_args!("{:#}\n", evenkeel_spec::schema()))?;
    Ok(CommandExit::Done)
}
