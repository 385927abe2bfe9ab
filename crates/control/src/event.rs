//! The events of a subscription ([`Request::Subscribe`](crate::Request::Subscribe)): what the daemon
//! did and found, one event a line. They report changes; the [`Status`](crate::Status) is complete at
//! any time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::status::{
    ActiveSpec, Conflict, DrainStatus, FailingObject, Held, ParameterStatus, PassStatus, Pause,
    SpecProblem, State,
};

/// An event. On the wire it is one object: `{"at": ..., "event": "pass", "pass": {...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was reported, in seconds since 1970.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A pass read the whole kernel, or changed something.
    Pass {
        /// Its result.
        pass: PassStatus,
    },
    /// The state of the daemon, or its summary, changed.
    State {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// As [`Status::summary`](crate::Status::summary).
        summary: String,
    },
    /// A spec became active.
    SpecActivated {
        /// That spec.
        spec: ActiveSpec,
    },
    /// The current files are rejected, or are now rejected for another reason.
    SpecRejected {
        /// What is wrong and where.
        problem: SpecProblem,
    },
    /// The current files are no longer rejected.
    SpecRejectionEnded,
    /// A parameter of the spec has another value than before, or has none.
    ParameterChanged {
        /// The parameter.
        parameter: ParameterStatus,
    },
    /// A parameter is no longer listed in [`SpecStatus::parameters`](crate::SpecStatus::parameters): it
    /// has its first value, or its last one again; or the spec no longer has it.
    ParameterChangeEnded {
        /// As [`ParameterStatus::name`].
        name: String,
    },
    /// Guards refuse a plan, which waits for approval.
    PlanHeld {
        /// The plan.
        held: Held,
    },
    /// A plan is no longer held: it was approved, or the spec or the host changed.
    PlanHoldEnded {
        /// As [`Held::id`].
        id: String,
    },
    /// The daemon was paused.
    Paused {
        /// The pause.
        pause: Pause,
    },
    /// The pause has ended.
    PauseEnded,
    /// A step of a plan was applied.
    Step {
        /// The step, as a line of a plan.
        step: String,
        /// Whether it repaired drift; otherwise the spec had changed.
        repairs_drift: bool,
    },
    /// A step on an object failed, again if its attempts are more than one.
    StepFailed {
        /// The object, the error and the next attempt.
        failing: FailingObject,
    },
    /// An object no longer fails.
    FailureEnded {
        /// The object.
        object: String,
    },
    /// A real server began to drain.
    DrainStarted {
        /// The drain.
        drain: DrainStatus,
    },
    /// A real server no longer drains: it was deleted, or is listed again.
    DrainEnded {
        /// The real server.
        object: String,
    },
    /// Another program keeps making the same change; the daemon has undone it once more.
    Conflict {
        /// The change.
        conflict: Conflict,
    },
    /// A conflict is over.
    ConflictEnded {
        /// The object.
        object: String,
        /// As [`ConflictChange::field`](crate::ConflictChange::field).
        field: String,
    },
    /// A plan has a warning that the one before did not have.
    Warning {
        /// The warning.
        warning: String,
    },
    /// More happened at once than is reported in single events; the status shows the result.
    Omitted {
        /// The number of events left out.
        events: usize,
    },
    /// The last event: the daemon ends the subscription.
    End {
        /// Why.
        reason: EndReason,
    },
    /// An event of a later version of evenkeel.
    #[serde(other)]
    Unknown,
}

/// Why the daemon ends a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The daemon is stopping.
    Stopping,
    /// The subscriber reads more slowly than events occur. It missed some and must subscribe again.
    TooSlow,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopping => "the daemon is stopping",
            Self::TooSlow => "the subscriber read too slowly and missed events",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trigger::Trigger;

    #[test]
    fn an_event_is_one_object_with_its_time_and_kind() {
        let pass = PassStatus {
            at: 4,
            trigger: Trigger::Resync,
            result: "changed".into(),
            milliseconds: 3,
            changes: 1,
        };
        let event = Event { at: 5, kind: EventKind::Pass { pass } };
        let expected = json!({
            "at": 5,
            "event": "pass",
            "pass": { "at": 4, "trigger": "resync", "result": "changed", "milliseconds": 3, "changes": 1 },
        });
        assert_eq!(serde_json::to_value(&event).expect("JSON"), expected);
        assert_eq!(serde_json::from_value::<Event>(expected).expect("an event"), event);
        let end = Event { at: 5, kind: EventKind::End { reason: EndReason::TooSlow } };
        let expected = json!({ "at": 5, "event": "end", "reason": "too_slow" });
        assert_eq!(serde_json::to_value(&end).expect("JSON"), expected);
        assert_eq!(serde_json::from_value::<Event>(expected).expect("an event"), end);
    }

    #[test]
    fn an_event_of_a_later_version_is_recognized_as_unknown() {
        let later = json!({ "at": 5, "event": "moon_phase", "phase": { "full": true } });
        let event: Event = serde_json::from_value(later).expect("an event");
        assert_eq!(event, Event { at: 5, kind: EventKind::Unknown });
    }
}
