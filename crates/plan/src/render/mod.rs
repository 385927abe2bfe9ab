//! A plan for people and for programs. Each form is deterministic to the byte.

mod diff;
mod json;
mod text;

pub use diff::unified_diff;
pub use json::{FORMAT, json};
pub(crate) use json::{json_fields, write_edit};
pub use text::{Labels, Line, Remark, changed_by_others, count, staying, summary};
pub(crate) use text::{arrows, list, write_fields};
