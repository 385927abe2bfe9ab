//! A plan for people and for programs. Each form is deterministic to the byte.

mod diff;
mod json;
mod text;

pub use diff::unified_diff;
pub use json::{FORMAT, json};
pub(crate) use text::list;
pub use text::{Labels, Line, Remark, changed_by_others, count, staying, summary};
