//! What the keeper does when someone asks for it over the control socket.

use tracing::{info, warn};

use super::{Ground, Keeper, Trouble};
use crate::control::{Answer, Request};
use crate::status::{Mode, Status};
use crate::{Reason, pause};

impl<K: Ground> Keeper<K> {
    pub(super) fn obey(&mut self, request: Request) -> Answer {
        match request {
            // Whoever serves the socket answers that.
            Request::Status => {
                Answer::Status(Box::new(Status::clone(&self.surroundings.publish.borrow())))
            }
            Request::Approve { id } => self.approve(id),
            Request::Pause { seconds } => {
                let paused = pause::Kept::begin(&self.options.state, seconds, &self.clock.both());
                if let Err(error) = pause::write(&self.options.state, &paused) {
                    return Answer::Refused(error.to_string());
                }
                self.paused = Some(paused);
                info!(seconds, "paused");
                self.pass(Reason::Command);
                Answer::Done("Paused: nothing is changed".to_owned())
            }
            Request::Resume => {
                if self.paused.is_none() {
                    return Answer::Refused("the daemon is not paused".to_owned());
                }
                self.resume();
                self.pass(Reason::Command);
                Answer::Done(format!("Resumed: {}", self.surroundings.publish.borrow().summary()))
            }
            Request::MayApply { sources } => self.may_apply(&sources),
        }
    }

    pub(super) fn resume(&mut self) {
        self.paused = None;
        if let Err(error) = pause::remove(&self.options.state) {
            warn!("{error}; the daemon would be paused again if it were started anew");
        }
        self.failing.retry_all();
        self.fights.clear();
    }

    fn approve(&mut self, id: String) -> Answer {
        match &self.held {
            None => return Answer::Refused("no plan is held".to_owned()),
            Some(held) if held.id != id => {
                let other = &held.id;
                return Answer::Refused(format!(
                    "the plan that is held is {other}, not {id}: look at it with `evenkeel status`"
                ));
            }
            Some(_) => {}
        }
        self.approved = Some(id.clone());
        self.pass(Reason::Command);
        match (&self.trouble, &self.held) {
            (Some(Trouble::Locked(_)), _) => Answer::Done(
                "Approved: it is let through as soon as the process has ended that is changing \
                 this network namespace"
                    .to_owned(),
            ),
            (Some(Trouble::Other(words)), Some(_)) => {
                Answer::Refused(format!("plan {id} is not let through: {words}"))
            }
            (None, Some(held)) => Answer::Refused(format!(
                "what plan {id} was made for has changed meanwhile; {} is held now",
                held.id
            )),
            (_, None) => {
                Answer::Done(format!("Approved: {}", self.surroundings.publish.borrow().summary()))
            }
        }
    }

    /// Whether someone else may apply the spec at those places: only the one that is kept anyway.
    fn may_apply(&self, sources: &[String]) -> Answer {
        if self.options.mode == Mode::Observe || *sources == *self.options.sources {
            return Answer::Done(String::new());
        }
        Answer::Refused(format!(
            "`evenkeel watch` (process {}) keeps this host on {}, and takes back whatever else is \
             changed",
            std::process::id(),
            self.options.sources.join(" "),
        ))
    }
}
