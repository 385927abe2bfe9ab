//! Executes the requests of the control socket.

use evenkeel_control::{Answer, Mode, Request, Trigger};
use evenkeel_engine::{Kernel, error_chain};
use evenkeel_model::Span;
use tracing::info;

use super::Reconciler;
use super::overrides::NewCommand;
use super::pass_error::PassError;

impl<K: Kernel> Reconciler<K> {
    pub(super) fn handle(&mut self, request: Request) -> Answer {
        match request {
            // The server of the socket answers these itself.
            Request::Status | Request::Subscribe => {
                Answer::Status(Box::new(self.outputs.publish.borrow().at_present()))
            }
            Request::Approve { id } => self.approve(&id),
            Request::Pause { seconds } => {
                let (state, now) = (&self.options.state, self.schedule.clock.both());
                if let Err(error) = self.gate.pause(state, seconds, &now) {
                    return Answer::Refused(error_chain(&error));
                }
                info!(seconds, "paused");
                self.pass(Trigger::Command);
                let end = match seconds {
                    Some(seconds) => format!("for {}", Span(seconds)),
                    None => "until `evenkeel resume`".to_owned(),
                };
                Answer::Done(format!("Paused: the daemon changes nothing {end}"))
            }
            Request::Resume => {
                let was_paused = self.gate.is_paused();
                if !was_paused && self.conflicts.is_empty() {
                    return Answer::Refused("the daemon is not paused".to_owned());
                }
                self.resume();
                self.pass(Trigger::Command);
                let what = if was_paused { "Resumed" } else { "Conflicts ended" };
                Answer::Done(format!("{what}: {}", self.outputs.publish.borrow().summary()))
            }
            Request::Override { target, action, seconds, by, reason } => {
                self.begin_override(NewCommand { target, action, seconds, by, reason })
            }
            Request::ClearOverrides { target } => self.clear_overrides(target.as_deref()),
            Request::MayApply { sources } => self.may_apply(&sources),
        }
    }

    pub(super) fn resume(&mut self) {
        self.gate.resume(&self.options.state);
        self.retries.retry_all();
        self.conflicts.clear();
    }

    fn approve(&mut self, id: &str) -> Answer {
        if let Err(reason) = self.gate.approve(id) {
            return Answer::Refused(reason);
        }
        self.pass(Trigger::Command);
        match (self.report.error(), self.gate.held()) {
            (Some(PassError::Locked(_)), _) => Answer::Done(
                "Approved: it will be applied once the process that is changing this network \
                 namespace has ended"
                    .to_owned(),
            ),
            (Some(PassError::Other(message)), Some(_)) => {
                Answer::Refused(format!("plan {id} cannot be applied: {message}"))
            }
            (None, Some(held)) => Answer::Refused(format!(
                "the host or the spec has changed since plan {id} was made; plan {} is held now",
                held.id
            )),
            (_, None) => {
                Answer::Done(format!("Approved: {}", self.outputs.publish.borrow().summary()))
            }
        }
    }

    /// Answers whether the spec at these paths may be applied beside the daemon: only its own spec may.
    fn may_apply(&self, sources: &[String]) -> Answer {
        if self.options.mode == Mode::Observe || *sources == *self.options.sources {
            return Answer::Done(String::new());
        }
        Answer::Refused(format!(
            "`evenkeel watch` (process {}) keeps this host on {} and would undo any other change",
            std::process::id(),
            self.options.sources.join(" "),
        ))
    }
}
