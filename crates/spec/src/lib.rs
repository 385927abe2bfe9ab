//! Reads the YAML spec and turns it into the desired state of a host.
//!
//! The way goes text -> spec -> resolved -> [`Desired`](evenkeel_model::Desired). A good spec is
//! read once, by serde_yaml straight into compact types. Only when there is something to report is
//! the text read again by a parser that keeps positions: the same types are then filled in from
//! its tree, going on past every problem, so that all of them are told in one run, each at its
//! very place.
//!
//! Two things are done only when they are asked for, by that second reading: values are put in the
//! place of parameters ([`load_with`]), and everything is given its place ([`Loaded::provenance`]).
//!
//! # Parameters
//!
//! In the text of any value, quoted or not, `${NAME}` stands for a value given beside the spec,
//! `${env:NAME}` for a variable of the environment and `${host:INTERFACE}` for that interface's
//! first address (`${host:INTERFACE/ipv6}` for its first of that family); `$${` is a literal `${`.
//! The value is then read as if its text stood there without quotes, so that it may be an address,
//! a number, a duration, `true` or `false`, a name or any other text, and an empty one is no value.
//! It cannot be a list, a map or a key. Within brackets and braces YAML wants the quotes:
//!
//! ```yaml
//! services:
//!   - name: web-${env:CLUSTER}
//!     vip: ${host:eth0}
//!     ports: ["${port}", 443]
//! ```
//!
//! Nothing here touches a file, a terminal or the environment: texts come in as [`Source`]s, and
//! what parameters come to through [`Parameters`].

mod load;
mod parameter;
mod path;
mod problem;
mod provenance;
mod recovering_de;
mod render;
mod resolve;
mod schema;
mod snapshot_section;
mod source;
mod spanned;
mod spans;
mod spec;
mod suggest;
mod write;
mod yaml;

pub use load::{Loaded, load, load_with};
pub use parameter::{NoParameters, Parameter, Parameters, RememberedParameters, is_parameter_name};
pub use problem::{Position, Problem, Problems, Related, Severity};
pub use provenance::Provenance;
pub use schema::schema;
pub use source::{MAX_SOURCE, Source};
pub use spec::seconds;
pub use write::{WriteInput, write};
