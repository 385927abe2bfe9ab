//! Where specs come from.
//!
//! A [`SpecSource`] fetches the texts of a spec, reports changes and returns a revision; [`FileSource`]
//! is the source of files and directories. A [`Follower`] decides for any source when to fetch: once the
//! source and the values of the spec's parameters are stable (see [`Stability`]), and again after an error
//! that may pass. It parses what it fetches into a [`SpecText`]. Which spec is active, and that the last
//! good one stays so, is decided by its caller, which receives every reading, good or bad.
//!
//! Commands that run once use [`read`], [`read_snapshot`] and [`HostParameters`] alone.

mod debounce;
mod error;
mod files;
mod follower;
mod parameters;
mod recorded;
mod source;
mod spec_text;
#[cfg(test)]
mod wording;

pub use debounce::{LIMIT, Stability};
pub use error::{SourceError, SpecError};
pub use files::{FileSource, SourceCache, read, read_snapshot};
pub use follower::{Follower, Reading};
pub use parameters::{
    HostParameters, HostRequest, Macs, ParameterName, ParameterReadings, ParameterValue,
};
pub use recorded::{ParameterValues, absolute_name, contents, desired, macs_of};
pub use source::{OnChange, OpenSource, Revision, SpecSource};
pub use spec_text::SpecText;
