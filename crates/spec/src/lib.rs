//! Reads the YAML spec and turns it into the desired state of a host.
//!
//! The stages are text -> spec -> resolved -> [`Desired`](evenkeel_model::Desired). A valid spec is
//! read once, by serde_yaml, straight into compact types. Only when there is something to report is
//! the text read again by a parser that keeps positions. The same types are then filled in from its
//! tree, continuing past every problem, so that one run reports all of them, each at its exact
//! position.
//!
//! That second reading also does two things that are done only on request: it replaces parameters
//! by their values ([`load_with`]), and it records positions ([`Loaded::provenance`]).
//!
//! # Parameters
//!
//! In the text of any value, quoted or not, `${NAME}` stands for a value passed along with the
//! spec, `${env:NAME}` for a variable of the environment and `${host:INTERFACE}` for that
//! interface's first address (`${host:INTERFACE/ipv6}` for its first of that family); `$${` is a
//! literal `${`. The value is then read as if its text were written there without quotes, so it may
//! be an address, a number, a duration, `true` or `false`, a name or any other text; an empty text
//! is no value.
//! It cannot be a list, a map or a key. Within brackets and braces YAML requires quotes:
//!
//! ```yaml
//! services:
//!   - name: web-${env:CLUSTER}
//!     vip: ${host:eth0}
//!     ports: ["${port}", 443]
//! ```
//!
//! This crate touches no file, terminal or environment variable: texts are passed in as
//! [`Source`]s, and the values of parameters through [`Parameters`].

mod load;
mod parameter;
mod path;
mod problem;
mod problem_excerpts;
mod provenance;
mod recovering_de;
mod resolve;
mod scalar;
mod schema;
mod snapshot_section;
mod source;
mod spanned;
mod spans;
mod spec;
mod suggest;
mod write;
mod yaml;

pub use load::{Loaded, load, load_with, named_owner};
pub use parameter::{
    HOST_INPUTS, HostKnowledge, NoParameters, Parameter, Parameters, RememberedParameters,
    is_parameter_name,
};
pub use problem::{Position, Problem, Problems, Related, Severity};
pub use provenance::Provenance;
pub use schema::schema;
pub use source::{MAX_SNAPSHOT, MAX_SOURCE, Source, SourceKind};
pub use spec::{InvalidDuration, seconds};
pub use write::{WriteInput, write};
