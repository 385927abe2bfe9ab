//! `evenkeel approve`: let a plan through that a guard made the running watch hold.

use evenkeel_watch::control::Request;

use crate::args::{Approve, Global};
use crate::error::Error;
use crate::output::Output;
use crate::status::Status;
use crate::watcher::order;

pub(crate) fn run(
    arguments: &Approve,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    order(Request::Approve { id: arguments.id.clone() }, global, output)
}
