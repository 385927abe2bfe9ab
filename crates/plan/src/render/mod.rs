//! Plans as text and as JSON. Each form is deterministic, byte for byte.

mod count;
mod diff;
mod fields;
mod json;
mod labels;
mod object_trace;
mod text;

pub use count::count;
pub use diff::unified_diff;
pub(crate) use diff::{NamedText, unified_diff_of};
pub(crate) use fields::{arrows, json_fields, list, write_edit, write_fields};
pub use json::{
    FORMAT, json, json_held, json_left_scope, json_refusal, json_service, json_staying, json_step,
};
pub use labels::Labels;
pub use text::{Line, Remark, changed_by_others, held, kept, leaving, staying, summary};
