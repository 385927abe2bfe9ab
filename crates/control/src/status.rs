//! The status document behind `evenkeel status`, `/status`, `/readyz` and the metrics. Times are
//! seconds since 1970; objects have the names that plans give them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::steady_clock;
use crate::trigger::Trigger;

/// The version of the document.
pub const FORMAT: u32 = 2;

/// The status of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the document format.
    pub format: u32,
    /// The version of evenkeel.
    pub version: String,
    /// The process id of the daemon.
    pub pid: u32,
    /// The network namespace it works in, by the name of its folder in the state directory.
    pub namespace: String,
    /// The owner whose spec it enforces; absent for the owner without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When the daemon started.
    pub started: u64,
    /// Whether the daemon changes anything.
    pub mode: Mode,
    /// The state.
    pub state: State,
    /// Why the state is not [`State::Ok`], a message each; empty if it is.
    pub reasons: Vec<String>,
    /// The spec.
    pub spec: SpecStatus,
    /// The pause, while the daemon is paused.
    pub paused: Option<Pause>,
    /// The last pass that read the whole kernel or changed something.
    pub last_pass: Option<PassStatus>,
    /// When the host was last found or brought in sync with the active spec, apart from running
    /// drains.
    pub last_success: Option<u64>,
    /// The number of draining real servers.
    pub draining: usize,
    /// The draining real servers.
    #[serde(default)]
    pub drains: Vec<DrainStatus>,
    /// What stays on a real server for services that no longer list it.
    #[serde(default)]
    pub staying: Vec<StayingStatus>,
    /// The operators' overrides that last.
    #[serde(default)]
    pub overrides: Vec<OverrideStatus>,
    /// What the health checks found; `None` if the active spec has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// The pending steps as lines of a plan: in observe mode, while paused or while held.
    pub pending_steps: Vec<String>,
    /// The warnings of the plan, and that the HTTP endpoint is missing; they prevent nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Objects on which a step failed; they are retried while the rest proceeds.
    pub failing: Vec<FailingObject>,
    /// What other programs keep changing, an entry for each change; repairing it backs off.
    pub conflicts: Vec<Conflict>,
    /// Programs seen on this host that are known to change the same things.
    pub known_writers: Vec<String>,
    /// The number of live services outside the scope of the spec.
    pub unmanaged: usize,
    /// The number of services whose address is not local, which no client reaches through this host.
    #[serde(default)]
    pub services_not_local: usize,
    /// The number of services without a real server of positive weight, which refuse new clients.
    #[serde(default)]
    pub services_without_servers: usize,
    /// The number of services in the active spec.
    pub services: usize,
    /// The number of real servers in them.
    pub real_servers: usize,
    /// The number of VIPs in the active spec.
    pub vips: usize,
}

impl Status {
    /// Returns the status for someone who reads the wall clock: with the times of the past, which are kept in
    /// [`steady_time`](crate::steady_time), as if the wall clock had always been as it is set now.
    pub fn at_present(&self) -> Self {
        self.moved_by(steady_clock::step())
    }

    fn moved_by(&self, seconds: i64) -> Self {
        let mut status = self.clone();
        let Self { started, spec, last_pass, last_success, .. } = &mut status;
        let SpecStatus { sources: _, active, problem, held, parameters } = spec;
        let times = [
            Some(started),
            active.as_mut().map(|active| &mut active.since),
            problem.as_mut().map(|problem| &mut problem.since),
            held.as_mut().map(|held| &mut held.since),
            last_pass.as_mut().map(|pass| &mut pass.at),
            last_success.as_mut(),
        ];
        let of_parameters = parameters.iter_mut().map(|parameter| &mut parameter.since);
        for time in times.into_iter().flatten().chain(of_parameters) {
            *time = time.saturating_add_signed(seconds);
        }
        status
    }

    /// Whether the host is as the spec asks, which `/readyz` reports. A paused daemon is ready as long
    /// as no step is pending.
    pub fn is_ready(&self) -> bool {
        match self.state {
            State::Ok => true,
            State::Paused => self.pending_steps.is_empty(),
            _ => false,
        }
    }

    /// Summarizes the state in one line.
    pub fn summary(&self) -> String {
        let mut text = self.state.as_str().to_owned();
        if let Some(reason) = self.reasons.first() {
            let reason = reason.lines().next().unwrap_or_default();
            text.push_str(&format!(": {reason}"));
        }
        if self.reasons.len() > 1 {
            text.push_str(&format!(" (and {} more)", self.reasons.len() - 1));
        }
        if self.draining > 0 {
            text.push_str(&format!("; {} draining", self.draining));
        }
        text
    }
}

/// What the health checks found, as of the last pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// How many checks are made: one for each target, however many services share it.
    pub checks: usize,
    /// The real servers that health holds at another weight, or out, or keeps in use though they are down.
    pub held: Vec<HealthHeld>,
    /// The services that have checks.
    pub services: Vec<ServiceHealthStatus>,
}

/// What the health checks of a service found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealthStatus {
    /// The service: `web/192.0.2.1:80/tcp`.
    pub service: String,
    /// Whether it has its quorum.
    pub quorum: bool,
    /// How many of its real servers health holds at weight 0, or out.
    pub out: usize,
}

/// A real server that health holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthHeld {
    /// The service: `web/192.0.2.1:80/tcp`.
    pub service: String,
    /// The real server.
    pub real_server: String,
    /// Why: `health`, `slow_start`, `quorum`, `fallback`, `max_out` or `when_none`.
    pub cause: String,
    /// The weight of the spec.
    pub spec_weight: u32,
    /// The weight; `None` if it is out of the service.
    pub weight: Option<u32>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The failure of its check; empty if it is up.
    pub why: String,
    /// The same in words.
    pub text: String,
}

/// Whether the daemon changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The daemon keeps the host on the spec.
    Enforce,
    /// The daemon reports differences and changes nothing.
    Observe,
}

/// The state of the daemon. If several apply, it is the first of them in this order; the reasons
/// cover all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No pass has been made yet.
    Starting,
    /// The daemon is paused and changes nothing.
    Paused,
    /// A guard refuses the plan of the newest spec, and the last valid spec stays active; or it
    /// refuses to repair drift, and only repairs that remove nothing are made. `evenkeel approve`
    /// applies the plan anyway.
    Held,
    /// The newest spec is invalid, a step failed, or another program keeps changing the same objects.
    /// Everything else is kept on the last valid spec.
    Degraded,
    /// In observe mode: the host differs from the spec.
    Drifted,
    /// The host is as the newest spec asks; drains may be running.
    Ok,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Paused, Self::Held, Self::Degraded, Self::Drifted, Self::Ok];

    /// Returns the name in texts and metrics.
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

/// The active spec, and what is wrong with a newer one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecStatus {
    /// Where it is read from.
    pub sources: Vec<String>,
    /// The active spec; `None` if there never was a valid one.
    pub active: Option<ActiveSpec>,
    /// Why the current files are rejected.
    pub problem: Option<SpecProblem>,
    /// The plan that waits for approval.
    pub held: Option<Held>,
    /// The parameters whose value changed while the daemon runs, or that have none.
    #[serde(default)]
    pub parameters: Vec<ParameterStatus>,
}

/// The spec that is enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveSpec {
    /// The SHA-256 of its texts, in hexadecimal.
    pub digest: String,
    /// Counts the specs activated since the daemon started; the first has 1.
    pub generation: u64,
    /// When this daemon activated it.
    pub since: u64,
}

/// A spec that cannot be read or is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecProblem {
    /// Since when.
    pub since: u64,
    /// What is wrong and where; several lines.
    pub text: String,
    /// Whether it may pass by itself: the spec is read again within the interval. Otherwise it is read
    /// again when its files or parameters change.
    #[serde(default)]
    pub temporary: bool,
}

impl SpecProblem {
    /// Describes its effect: whether a spec is active in spite of it, and what happens next.
    pub fn effect(&self, is_any_active: bool) -> String {
        let kept = match is_any_active {
            true => "the last valid one stays active",
            false => "no spec is active",
        };
        match self.temporary {
            true => format!("the spec cannot be read; {kept}; retrying within the interval"),
            false => format!("the spec is invalid; {kept}"),
        }
    }
}

/// A parameter of the spec that changed or has no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterStatus {
    /// The text between its braces: `host:eth0`.
    pub name: String,
    /// Its value as last read; `None` if it has none.
    pub value: Option<String>,
    /// Why its value could not be read.
    pub error: Option<String>,
    /// The last value before this one, if there was another.
    pub previous: Option<String>,
    /// Since when it is so.
    pub since: u64,
}

/// A plan that guards refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The argument of `evenkeel approve`. Another plan has another id.
    pub id: String,
    /// Since when a plan is held.
    pub since: u64,
    /// The messages of the guards, by their names.
    pub guards: BTreeMap<String, String>,
    /// The number of steps.
    pub steps: usize,
}

/// A pause, in which the daemon changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: u64,
    /// When it ends; `None` means at `evenkeel resume`.
    pub until: Option<u64>,
}

/// The result of a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassStatus {
    /// When it ended.
    pub at: u64,
    /// What triggered it.
    pub trigger: Trigger,
    /// How it ended: `in_sync`, `changed`, `failed`, ...
    pub result: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// The number of operations that were applied.
    pub changes: usize,
}

/// A draining real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// The object.
    pub object: String,
    /// When it is deleted even if it still has connections.
    pub until: u64,
}

/// An object that stays on a real server for a service that no longer lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StayingStatus {
    /// The object.
    pub object: String,
    /// The service.
    pub service: String,
    /// When it is removed.
    pub until: u64,
}

/// An operator's override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideStatus {
    /// The real servers as the command named them.
    pub target: String,
    /// What is done to them: `drain`, `disable`, `enable` or `weight N`.
    pub action: String,
    /// The operator.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// When it began.
    pub since: u64,
    /// When it ends; `None` if it lasts until it is cleared.
    pub until: Option<u64>,
    /// The real servers of the spec that it concerns.
    pub real_servers: Vec<OverriddenServer>,
}

/// A real server under an override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverriddenServer {
    /// The service as plans show it: `web/192.0.2.1:80/tcp`.
    pub service: String,
    /// Its address and port.
    pub real_server: String,
}

/// An object on which a step failed and which is retried with back-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingObject {
    /// The object.
    pub object: String,
    /// Why the last attempt failed.
    pub error: String,
    /// The number of attempts.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next: u64,
}

/// A change that another program keeps making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The object.
    pub object: String,
    /// The change, with both values.
    pub change: ConflictChange,
    /// How often the daemon has undone it.
    pub times: u32,
    /// When the daemon undoes it next.
    pub next: u64,
}

/// A change by another program, as the operation that undoes it shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictChange {
    /// The field, or the object's kind if the whole object is added or deleted.
    pub field: String,
    /// The value in the spec; `absent` if the spec does not have the object.
    pub expected: String,
    /// The value found; `absent` if there was none.
    pub found: String,
}
