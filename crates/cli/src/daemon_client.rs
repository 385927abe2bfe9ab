//! The client of the daemon in this network namespace.

use std::path::{Path, PathBuf};

use evenkeel_control::{Answer, Client, Request, Subscription};
use evenkeel_model::OwnerName;
use evenkeel_workflow::now;

use crate::args::GlobalArgs;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::enter;
use crate::output::Output;
use crate::render::{self, DaemonCommand, PauseEnd};

/// Sends a request to the daemon in the network namespace of `--netns`.
pub(crate) fn query(request: &Request, global: &GlobalArgs) -> Result<Answer, Error> {
    enter(global)?;
    Ok(client(global).ask(request)?)
}

/// Subscribes to the events of the daemon in the network namespace of `--netns`.
pub(crate) fn subscribe(global: &GlobalArgs) -> Result<Subscription, Error> {
    enter(global)?;
    Ok(client(global).subscribe()?)
}

fn client(global: &GlobalArgs) -> Client {
    Client::of_owner(global.owner.as_ref().and_then(OwnerName::as_str))
}

/// Sends a command to the daemon and prints its answer.
pub(crate) fn send_command(
    request: Request,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let (status, message) = match query(&request, global)? {
        Answer::Refused(message) => {
            output.refusal(&message);
            (CommandExit::Refused, message)
        }
        Answer::Done(message) => {
            output.answer(format_args!("{message}.\n"))?;
            (CommandExit::Done, message)
        }
        Answer::Status(_) => (CommandExit::Done, String::new()),
    };
    let is_done = status == CommandExit::Done;
    let pause = match request {
        Request::Pause { seconds: Some(seconds) }
        | Request::Override { seconds: Some(seconds), .. }
            if is_done =>
        {
            Some(PauseEnd { seconds, until: now() + seconds })
        }
        _ => None,
    };
    let command = DaemonCommand { is_done, message: &message, pause };
    output.conclude(Ok(status), || render::daemon_command(command))
}

/// The paths of a spec in the form in which the daemon reports and compares them.
pub(crate) fn absolute(places: &[PathBuf]) -> Vec<String> {
    // Symbolic links are not resolved: their targets may be replaced at any time.
    let absolute = |place: &PathBuf| match place.as_path() == Path::new("-") {
        true => place.clone(),
        false => std::path::absolute(place).unwrap_or_else(|_| place.clone()),
    };
    places.iter().map(|place| absolute(place).display().to_string()).collect()
}
