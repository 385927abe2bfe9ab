//! The short names of schedulers, persistence engines and interfaces, held without a heap
//! allocation, so that an entry of a table costs nothing beyond itself.

use std::fmt;
use std::str;

use thiserror::Error;

use crate::uapi::IP_VS_NAME_MAXLEN;

/// A scheduler's, a persistence engine's or an interface's name: 1 to 15 bytes of UTF-8 without a zero byte.
///
/// Compared exactly, as the kernel does: there are no aliases. A service whose scheduler could
/// not be bound answers with the name `none`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Zero-padded; holds only what was UTF-8 when it came in.
    bytes: [u8; IP_VS_NAME_MAXLEN - 1],
    length: u8,
}

/// Why a text cannot be the name of a scheduler, a persistence engine or an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("an empty name")]
    Empty,
    /// The text is longer than the kernel's 15 bytes; holds its length.
    #[error("a name of {0} bytes where the kernel allows 15")]
    TooLong(usize),
    /// The text holds a zero byte, at which the kernel would cut it.
    #[error("a name with a zero byte in it")]
    ZeroByte,
}

impl Name {
    /// Checks a text and holds it.
    ///
    /// # Errors
    /// When the kernel could not hold the text whole; see [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; IP_VS_NAME_MAXLEN - 1];
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.contains('\0') {
            return Err(NameError::ZeroByte);
        }
        let (Some(room), Ok(length)) = (bytes.get_mut(..text.len()), u8::try_from(text.len()))
        else {
            return Err(NameError::TooLong(text.len()));
        };
        room.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Built from a &str only, so the fallback is never taken.
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_bytes_fit_and_sixteen_do_not() {
        assert_eq!(Name::new("abcdefghijklmno").unwrap(), "abcdefghijklmno");
        assert_eq!(Name::new("abcdefghijklmnop"), Err(NameError::TooLong(16)));
    }

    #[test]
    fn what_the_kernel_would_cut_is_refused() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("w\0rr"), Err(NameError::ZeroByte));
    }
}
