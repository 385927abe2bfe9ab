//! The difference between the desired and the live state, as an ordered list of operations.
//!
//! Pure: nothing here reads a file, a clock or a kernel, and the same inputs give the same plan,
//! to the byte. Both states are brought into one [canonical](canonical) form before they are
//! compared, and nowhere else is decided what counts as equal.

mod adopted;
mod assess;
pub mod canonical;
mod cause;
mod clocks;
mod counts;
mod diff;
mod effect;
mod field;
mod global;
mod guard;
mod impact;
mod in_force;
mod inputs;
mod lost_files;
mod object;
mod obstacle;
mod op;
mod order;
mod plan;
mod record;
pub mod render;
#[cfg(test)]
mod sample;
mod stale;
mod target;
mod teardown;
mod undo;
mod without;

pub use adopted::{Adopted, Governed};
pub use cause::Cause;
pub use clocks::{Boot, Clocks, NoBoot, Uptime};
pub use counts::Counts;
pub use effect::carried_out;
pub use field::{FieldChange, FieldValue};
pub use guard::{CutOff, Guard, Lack, Refusal, UnknownGuard, cut_off};
pub use impact::{Effect, Impact};
pub use inputs::Inputs;
pub use lost_files::{Loss, LostFile, lost_files};
pub use object::Object;
pub use obstacle::Obstacle;
pub use op::{Op, Verb};
pub use plan::{Plan, Unchanged, WiderScope, plan};
pub use record::{Draining, Drains, Record};
pub use stale::stale;
pub use target::{Target, UnknownTarget};
pub use teardown::{Remaining, StayingService, Stays, TeardownInputs, remaining, teardown};
pub use undo::{Trace, Undo, undo};
pub use without::without;
