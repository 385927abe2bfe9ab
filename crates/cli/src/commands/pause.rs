//! `evenkeel pause` and `evenkeel resume`: keep the daemon from changing anything for a while.

use evenkeel_control::Request;

use crate::args::{GlobalArgs, PauseArgs};
use crate::daemon_client::send_command;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

pub(crate) fn pause(
    arguments: &PauseArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    send_command(Request::Pause { seconds: arguments.time.map(u64::from) }, global, output)
}

pub(crate) fn resume(global: &GlobalArgs, output: &mut Output) -> Result<CommandExit, Error> {
    send_command(Request::Resume, global, output)
}
