//! The difference between the desired and the live state, as an ordered list of operations.
//!
//! Pure: nothing here reads a file, a clock or a kernel, and the same inputs give the same plan,
//! to the byte. Both states are brought into one [canonical](canonical) form before they are
//! compared, and nowhere else is decided what counts as equal.

pub mod canonical;
mod counts;
mod diff;
mod effect;
mod field;
mod global;
mod guard;
mod obstacle;
mod op;
mod order;
mod plan;
pub mod render;

pub use counts::Counts;
pub use effect::carried_out;
pub use field::FieldChange;
pub use guard::{Guard, Refusal, UnknownGuard};
pub use obstacle::Obstacle;
pub use op::{Object, Op, Verb};
pub use plan::{Inputs, Plan, Record, Unchanged, plan};
