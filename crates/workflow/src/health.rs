//! Health checks: which ones a spec asks for, what is known of its real servers, and a round of checks without a
//! daemon.

mod checked_servers;
mod facts;
mod round;
mod store;

pub use checked_servers::{CheckedServers, jobs as health_jobs};
pub use facts::{FactInputs, HealthClock, health_facts};
pub use round::{HealthMode, HealthProblem, RoundInputs, check_round, known_health};
pub use store::{StoredHealth, read_verdicts, write_verdicts};
