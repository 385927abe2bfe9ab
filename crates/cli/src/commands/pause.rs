//! `evenkeel pause` and `evenkeel resume`: hands-on work beside the running watch.

use evenkeel_watch::control::Request;

use crate::args::{Global, Pause};
use crate::error::Error;
use crate::output::Output;
use crate::status::Status;
use crate::watcher::order;

pub(crate) fn pause(
    arguments: &Pause,
    global: &Global,
    output: &mut Output,
) -> Result<Status, Error> {
    order(Request::Pause { seconds: arguments.time.map(u64::from) }, global, output)
}

pub(crate) fn resume(global: &Global, output: &mut Output) -> Result<Status, Error> {
    order(Request::Resume, global, output)
}
