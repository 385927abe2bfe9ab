//! Reads the YAML spec and turns it into the desired state of a host.
//!
//! The way goes text -> spec -> resolved -> [`Desired`](evenkeel_model::Desired). A good spec is
//! read once, by serde_yaml straight into compact types. Only when there is something to report is
//! the text read again by a parser that keeps positions: the same types are then filled in from
//! its tree, going on past every problem, so that all of them are told in one run, each at its
//! very place.
//!
//! Nothing here touches a file, a terminal or the environment: texts come in as [`Source`]s.

mod field;
mod load;
mod locate;
mod marked;
mod observed;
mod parameter;
mod path;
mod problem;
mod provenance;
mod render;
mod resolve;
mod schema;
mod source;
mod spec;
mod suggest;
mod write;
mod yaml;

pub use load::{Loaded, load, load_with};
pub use parameter::{NoParameters, Parameter, Parameters, is_parameter_name};
pub use problem::{Place, Problem, Problems, Related, Severity};
pub use provenance::Provenance;
pub use schema::schema;
pub use source::{MAX_SOURCE, Source};
pub use write::{WriteInput, write};
