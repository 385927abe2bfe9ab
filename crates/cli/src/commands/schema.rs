//! `evenkeel schema`: the JSON Schema of a spec, for editors and CI.

use crate::error::Error;
use crate::output::Output;
use crate::status::Status;

pub(crate) fn run(output: &mut Output) -> Result<Status, Error> {
    output.answer(format_args!("{:#}\n", evenkeel_spec::schema()))?;
    Ok(Status::Done)
}
