//! The labels of services in text.

use std::cell::RefCell;
use std::fmt;

use evenkeel_model::{Names, ServiceKey};

/// The labels of services. Plans of large tables name the same service on many consecutive lines,
/// so the last label is cached.
#[derive(Debug)]
pub struct Labels<'a> {
    names: Names<'a>,
    last: RefCell<Option<(ServiceKey, String)>>,
}

impl<'a> Labels<'a> {
    /// Creates labels with the names of one spec, or of the new and the last one.
    pub fn new(names: impl Into<Names<'a>>) -> Self {
        Self { names: names.into(), last: RefCell::new(None) }
    }

    /// Writes a service under its name.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, key: &ServiceKey) -> fmt::Result {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((known, label)) if known == key => f.write_str(label),
            _ => {
                let label = self.names.label(key).to_string();
                f.write_str(&label)?;
                *last = Some((*key, label));
                Ok(())
            }
        }
    }
}
