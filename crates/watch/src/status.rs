//! What the daemon knows of itself: the document behind `evenkeel status`, `/status`, `/readyz` and
//! the metrics. Times are seconds since 1970; objects are named as plans name them.

use std::collections::BTreeMap;

use evenkeel_model::Names;
use evenkeel_plan::{DrainRecords, Object};
use serde::{Deserialize, Serialize};

use crate::Trigger;

/// The version of the document.
pub const FORMAT: u32 = 2;

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this document's form.
    pub format: u32,
    /// The version of evenkeel.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// The network namespace it works in, by the name of its folder in the state directory.
    pub namespace: String,
    /// When it began.
    pub started: u64,
    /// Whether it changes anything.
    pub mode: Mode,
    /// How it is, in a word.
    pub state: State,
    /// Why it is not [`State::Ok`], a sentence each; empty where it is.
    pub reasons: Vec<String>,
    /// The spec.
    pub spec: SpecStatus,
    /// Set while nothing is changed on request.
    pub paused: Option<Pause>,
    /// The last pass that read the whole kernel or changed something.
    pub last_pass: Option<PassStatus>,
    /// When the host was last seen to be, or brought, as the spec in force asks, but for drains
    /// that go on.
    pub last_success: Option<u64>,
    /// How many real servers drain.
    pub draining: usize,
    /// Which they are.
    #[serde(default)]
    pub drains: Vec<DrainStatus>,
    /// What is still to be done, as a plan's lines: in observe mode, while paused or while held.
    pub pending_steps: Vec<String>,
    /// Worth knowing, in the way of nothing: what `plan` warns of.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Objects on which a step failed; they are tried again, the rest goes on without them.
    pub failing: Vec<FailingObject>,
    /// What someone else keeps changing, one for each of their changes; undoing it is put off.
    pub conflicts: Vec<Conflict>,
    /// Programs seen on this host that are known to change the same things.
    pub known_writers: Vec<String>,
    /// How many live services are none of the spec's business.
    pub unmanaged: usize,
    /// How many services the spec in force has.
    pub services: usize,
    /// How many real servers it has in them.
    pub real_servers: usize,
    /// How many VIPs it has.
    pub vips: usize,
}

impl Status {
    /// Whether all is as it was asked for: what `/readyz` tells. In a pause it is as long as nothing
    /// is left to be done.
    pub fn is_ready(&self) -> bool {
        match self.state {
            State::Ok => true,
            State::Paused => self.pending_steps.is_empty(),
            _ => false,
        }
    }
}

/// Whether it changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The host is kept on the spec.
    Enforce,
    /// What differs is told, and nothing is changed.
    Observe,
}

/// How the daemon is, in a word. Where several hold, the first of them in this order is told, and
/// the reasons tell them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No pass has been made yet.
    Starting,
    /// Nothing is changed on request.
    Paused,
    /// A guard refuses the newest spec's plan, and the last good spec stays in force; or it refuses
    /// to undo what someone else changed, and only what takes nothing away is undone. `evenkeel
    /// approve` lets the plan through.
    Held,
    /// The newest spec is bad, a step failed, or someone else keeps changing the same objects. All
    /// that can be kept on the last good spec is.
    Degraded,
    /// In observe mode: the host differs from the spec.
    Drifted,
    /// The host is as the newest spec asks; drains may go on.
    Ok,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Paused, Self::Held, Self::Degraded, Self::Drifted, Self::Ok];

    /// The word in texts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Degraded => "degraded",
            Self::Drifted => "drifted",
            Self::Ok => "ok",
        }
    }
}

/// The spec: what is in force, and what is wrong with a newer one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecStatus {
    /// Where it is read from.
    pub sources: Vec<String>,
    /// The one that is enforced; `None` where none ever was good.
    pub active: Option<ActiveSpec>,
    /// Why what the files hold is not taken.
    pub problem: Option<Problem>,
    /// The plan that waits for approval.
    pub held: Option<Held>,
}

/// A spec that is enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveSpec {
    /// The SHA-256 of its texts, in hexadecimal.
    pub digest: String,
    /// Counts the specs that came into force since the daemon began; the first has 1.
    pub generation: u64,
    /// When it came into force in this daemon.
    pub since: u64,
}

/// A spec that cannot be read or does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Since when.
    pub since: u64,
    /// What is wrong and where, in many lines.
    pub text: String,
}

/// A plan that guards refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What `evenkeel approve` takes. Another plan has another one.
    pub id: String,
    /// Since when a plan is held.
    pub since: u64,
    /// The guards' sentences by their names.
    pub guards: BTreeMap<String, String>,
    /// How many steps it has.
    pub steps: usize,
}

/// Until when nothing is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: u64,
    /// `None` until `evenkeel resume`.
    pub until: Option<u64>,
}

/// A pass that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassStatus {
    /// When it ended.
    pub at: u64,
    /// Why it was made.
    pub trigger: Trigger,
    /// How it ended: `in_sync`, `changed`, `failed`, ...
    pub result: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// How many operations were carried out.
    pub changes: usize,
}

/// A real server that drains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// The object.
    pub object: String,
    /// When it is deleted even if it has connections.
    pub until: u64,
}

impl DrainStatus {
    /// All that are on record, their services under these names.
    pub fn of<'a>(drains: &DrainRecords, names: impl Into<Names<'a>>) -> Vec<Self> {
        let names = names.into();
        let entries = drains.0.iter().map(|((service, key), draining)| Self {
            object: Object::RealServer(*service, *key).named(names).to_string(),
            until: draining.since.saturating_add(draining.limit.0.into()),
        });
        entries.collect()
    }
}

/// What is tried again when its time has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingObject {
    /// The object.
    pub object: String,
    /// Why the last try failed.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next: u64,
}

/// A change that someone else keeps making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The object.
    pub object: String,
    /// What they do to it: the operation that undoes it, with both values.
    pub change: ConflictChange,
    /// How often it was undone.
    pub times: u32,
    /// When it is undone next.
    pub next: u64,
}

/// A change by someone else, as the operation that undoes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictChange {
    /// The field, or the object's kind where the whole object comes and goes.
    pub field: String,
    /// The value the spec asks for; `absent` where it asks for nothing.
    pub expected: String,
    /// The value that was found; `absent` where there was nothing.
    pub found: String,
}
