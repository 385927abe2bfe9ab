//! `evenkeel approve`: approves a plan that the daemon holds because of a guard.

use evenkeel_control::Request;

use crate::args::{Approve, Global};
use crate::daemon_client::send_command;
use crate::error::Error;
use crate::exit_code::Status;
use crate::output::Output;

pub(crate) fn run(
    arguments: &Approve,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    send_command(Request::Approve { id: arguments.id.clone() }, global, output)
}
