//! The trait of sources.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_spec::Source;

use crate::error::SourceError;

/// Called by a source when its contents may have changed, from any thread. It must not block.
pub type OnChange = Box<dyn Fn() + Send + Sync>;

/// Opens a source, which calls the function when its contents may have changed.
pub type OpenSource = Box<dyn FnOnce(OnChange) -> Box<dyn SpecSource> + Send>;

/// A place where specs come from: files, or anything else that has versions of texts.
///
/// The caller calls [`Self::watch`], then [`Self::revision`], after every notification and in each
/// interval. In this order no change is missed: one before the call of `watch` is in the revision, one
/// after it is notified. If the revision is a new one, it calls [`Self::fetch`], and then
/// [`Self::revision`] again, to find out whether it changed meanwhile.
///
/// An error of `fetch` never changes a host: the last good spec stays active. So a source reports
/// everything by it that makes a version unfit: texts that cannot be read, or a signature that does not
/// hold.
pub trait SpecSource: Send {
    /// Allows the next notification, and repairs what notifications depend on. Returns a message for
    /// each part of the source whose changes may not be notified; the caller polls these.
    fn watch(&mut self) -> Vec<String>;

    /// Returns the revision of the current contents. It reads no contents.
    fn revision(&mut self) -> Revision;

    /// Returns the parts that a program is writing at the moment, as far as the source knows.
    fn open_writers(&self) -> Vec<PathBuf>;

    /// Reads the texts of the current revision, in order.
    ///
    /// # Errors
    /// [`SourceError`]; whether it may pass without a new revision is [`SourceError::is_temporary`].
    fn fetch(&mut self) -> Result<Vec<Source>, SourceError>;
}

/// Identifies the contents of a source at one time: equal revisions of one source have equal contents.
/// Only the source knows what is in it: the metadata of files, or the name of a commit.
#[derive(Clone, PartialEq, Eq)]
pub struct Revision(Arc<[u8]>);

impl From<Vec<u8>> for Revision {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Revision {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({})", self.0.escape_ascii())
    }
}
