//! `evenkeel pause` and `evenkeel resume`: keep the daemon from changing anything for a while.

use evenkeel_control::Request;

use crate::args::{Global, Pause};
use crate::daemon_client::send_command;
use crate::error::Error;
use crate::exit_code::Status;
use crate::output::Output;

pub(crate) fn pause(
    arguments: &Pause,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    send_command(Request::Pause { seconds: arguments.time.map(u64::from) }, global, output)
}

pub(crate) fn resume(global: &Global, output: &mut Output) -> Result<Status, Error> {
    send_command(Request::Resume, global, output)
}
