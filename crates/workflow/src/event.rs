//! The events of a use case.

use std::fmt;

use evenkeel_engine::{ExecutionContext, Notice, SpecUnavailable, Unconfirmed};
use evenkeel_health::RoundReport;
use evenkeel_model::{HostObjectKind, Names};
use evenkeel_plan::render::count;
use evenkeel_plan::{Op, StayingObject};

/// Something that a user should know, and that is no part of a result.
#[derive(Debug)]
pub enum Event {
    /// Something happened in the background, earlier.
    Notice(Notice),
    /// An apply waits for its confirmation.
    Unconfirmed(Unconfirmed),
    /// The journal could not be parsed, and counts as empty; describes it.
    JournalDamaged(String),
    /// The last applied spec is not available, so changes cannot be distinguished from drift.
    LastSpecUnavailable(SpecUnavailable),
    /// The texts of the new spec cannot be read again, so its files are not compared with earlier ones.
    TextsUnavailable(String),
    /// A health check could not be made; a real server that is not in use stays so.
    CheckNotMade(Box<RoundReport>),
    /// A snapshot is written of a host whose real servers health checks or overrides hold: it has their live
    /// weights.
    SnapshotOfHeld {
        /// How many.
        real_servers: usize,
    },
    /// A snapshot has no health checks, though the spec whose names it has does.
    SnapshotWithoutChecks,
    /// A snapshot is written of a host that is a real server, or was one. It describes the host, and is no
    /// spec for it.
    SnapshotOfRealServer,
    /// A snapshot is written of a host whose objects of a kind cannot be read. Those that the journal records
    /// are in it, without their values.
    SnapshotWithout {
        /// The kind.
        kind: HostObjectKind,
        /// What is missing, with the remedy.
        why: Box<str>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SnapshotOfHeld { real_servers } => write!(
                f,
                "{} are held by health checks or overrides: the snapshot has their live weights, not those of \
                 the spec",
                count(*real_servers, "real server")
            ),
            Self::SnapshotWithoutChecks => f.write_str(
                "the snapshot describes the table: the health checks of the spec are not in it",
            ),
            Self::CheckNotMade(report) => {
                let RoundReport { target, kind, outcome, .. } = &**report;
                write!(f, "the {kind} check of {target} could not be made ({outcome}); what is not in use stays so until it passes")
            }
            Self::Notice(notice) => notice.fmt(f),
            Self::Unconfirmed(unconfirmed) => unconfirmed.fmt(f),
            Self::JournalDamaged(message) | Self::TextsUnavailable(message) => f.write_str(message),
            Self::LastSpecUnavailable(reason) => reason.fmt(f),
            Self::SnapshotOfRealServer => f.write_str(
                "this host is a real server, or was one: the snapshot describes the host, and is no spec \
                 for it; applied here, it would remove what makes the host a real server; keep the spec \
                 of the cluster",
            ),
            Self::SnapshotWithout { kind, why } => write!(
                f,
                "{} cannot be read, and the snapshot has only that there is any: {why}",
                kind.name()
            ),
        }
    }
}

/// Receives the events of a use case.
pub trait EventSink {
    /// Receives an event. It must not block: a use case may hold the lock.
    fn emit(&mut self, event: Event);
}

impl EventSink for Vec<Event> {
    fn emit(&mut self, event: Event) {
        self.push(event);
    }
}

/// Follows an execution, and may interrupt it.
pub trait Progress: ExecutionContext {
    /// Called before the first step, with the names of services. It must not block, and nor must the
    /// methods of [`ExecutionContext`] other than `pause`: the lock is held.
    fn begin(&mut self, steps: &[Op], names: Names<'_>);

    /// Receives what still stays for services that this real server leaves, while that is waited for.
    fn staying(&mut self, _staying: &[StayingObject]) {}
}

impl Progress for evenkeel_engine::NoopContext {
    fn begin(&mut self, _: &[Op], _: Names<'_>) {}
}
