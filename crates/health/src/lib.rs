//! Health checks: what is asked of a target, when, and what verdict follows from the answers.
//!
//! A [`Check`] of a [`Target`] is made by a [`Prober`], in a thread with an event loop of its own, or once by
//! [`run_round`]. Each probe has an [`Outcome`]; a [`Hysteresis`] makes verdicts of them, and a [`Schedule`]
//! says when the next one is due. Both are pure: their clock is what they are given.
//!
//! This crate decides nothing about real servers. What follows from a verdict (a weight of 0, a removal, a
//! VIP that is unbound) is the plan's.

mod batch;
mod check_id;
mod checker;
mod clock;
mod environment;
mod hysteresis;
mod job;
mod outcome;
mod prober;
mod round;
mod routes;
mod schedule;
mod startup;
mod stored;
pub mod supervisor;

pub use batch::{Batch, Change, Counts, LastProbe, Report};
pub use check_id::{CheckId, NoCheckId};
pub use clock::Moment;
pub use environment::{Environment, ExecEnvironment};
pub use hysteresis::{Basis, Hysteresis, Pace, Transition};
pub use job::Job;
pub use outcome::{Failure, Fault, Outcome, Stage};
pub use prober::{Prober, ProberOptions, Sink, channel_sink, probe_limit};
pub use round::{Attempts, RoundReport, run_round};
pub use routes::{NoRoutes, Routes};
pub use schedule::{Due, PUNCTUAL, Schedule};
pub use startup::Startup;
pub use stored::{FRESH, Retired, StoredVerdict, StoredVerdicts};
