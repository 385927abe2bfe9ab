//! `evenkeel approve`: approves a plan that the daemon holds because of a guard.

use evenkeel_control::Request;

use crate::args::{ApproveArgs, GlobalArgs};
use crate::daemon_client::send_command;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

pub(crate) fn run(
    arguments: &ApproveArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    send_command(Request::Approve { id: arguments.id.clone() }, global, output)
}
