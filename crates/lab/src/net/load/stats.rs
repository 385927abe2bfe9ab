//! Counters and failures of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// A request or download that takes this much longer than it should counts as late: a packet was
/// lost and sent again.
const LATE: Duration = Duration::from_millis(900);
/// Incidents beyond these are counted only.
const INCIDENTS: usize = 10_000;

/// The kind of request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A server's name.
    Request,
    /// A download.
    Download,
}

/// How a request failed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Failure {
    /// The connection was refused.
    Refused,
    /// The connection was reset later on.
    Reset,
    /// Nothing was received within the client's time limit.
    TimedOut,
    /// The answer ended before its announced length.
    Short,
    /// The answer is invalid or not the expected one.
    Wrong,
    /// Another failure; see the incident's error.
    Other,
}

impl Failure {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Refused, Self::Reset, Self::TimedOut, Self::Short, Self::Wrong, Self::Other];

    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Reset,
            // The error of a read after its time limit.
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::TimedOut,
            ErrorKind::UnexpectedEof => Self::Short,
            ErrorKind::InvalidData => Self::Wrong,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed out",
            Self::Short => "short",
            Self::Wrong => "wrong",
            Self::Other => "other",
        })
    }
}

/// One failure.
#[derive(Clone, Debug)]
pub struct Incident {
    /// When the client noticed it, since the start of the load.
    pub at: Duration,
    /// How long the request had been running.
    pub took: Duration,
    /// The kind of request.
    pub kind: Kind,
    /// How it failed.
    pub failure: Failure,
    /// The client's end of the connection, as the director's connection table has it.
    pub from: SocketAddr,
    /// The operating system's error message.
    pub error: String,
}

/// Requests, or downloads, by how they ended.
#[derive(Clone, Debug, Default)]
pub struct LoadStats {
    /// Those that were answered completely.
    pub done: u64,
    /// Those among them that took nearly a second longer than they should have.
    pub late: u64,
    /// The longest time that one of them took.
    pub longest: Duration,
    /// The others.
    pub failed: BTreeMap<Failure, u64>,
}

impl LoadStats {
    /// How many failed, in whatever way.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// The results of a load.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Short requests.
    pub requests: LoadStats,
    /// Downloads.
    pub downloads: LoadStats,
    /// How many requests each server answered, by its name.
    pub answered_by: BTreeMap<String, u64>,
    /// The first failures, in the order in which they were noticed.
    pub incidents: Vec<Incident>,
}

impl Measured {
    pub(super) fn count(&mut self, kind: Kind, name: String, took: Duration, seconds: u32) {
        let (stats, due) = match kind {
            Kind::Request => {
                *self.answered_by.entry(name).or_default() += 1;
                (&mut self.requests, Duration::ZERO)
            }
            Kind::Download => (&mut self.downloads, Duration::from_secs(seconds.into())),
        };
        stats.done += 1;
        stats.late += u64::from(took > due + LATE);
        stats.longest = stats.longest.max(took);
    }

    pub(super) fn fail(&mut self, incident: Incident) {
        let stats = match incident.kind {
            Kind::Request => &mut self.requests,
            Kind::Download => &mut self.downloads,
        };
        *stats.failed.entry(incident.failure).or_default() += 1;
        if self.incidents.len() < INCIDENTS {
            self.incidents.push(incident);
        }
    }
}
