//! Names of owners: each owner of a network namespace has a spec with a scope, a journal and a daemon of its
//! own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of an owner. The default is the owner without a name, which a host with one owner has.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Option<Box<str>>", into = "Option<Box<str>>")]
pub struct OwnerName(Option<Box<str>>);

/// A text that cannot be the name of an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOwnerName;

impl OwnerName {
    /// The longest name, in bytes.
    pub const LONGEST: usize = 32;

    /// The rule for names, for messages.
    pub const RULE: &str = "an owner's name has 1 to 32 letters, digits, `.`, `_` or `-` and begins with a \
                            letter or digit";

    /// The name; `None` for the owner without one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether it is the owner without a name.
    pub fn is_unnamed(&self) -> bool {
        self.0.is_none()
    }

    /// The option of commands that act on this owner, with a blank before it: ` --owner web`, and ` --owner ''`
    /// for the one without a name.
    pub fn option(&self) -> String {
        format!(" --owner {}", self.as_str().unwrap_or("''"))
    }
}

impl FromStr for OwnerName {
    type Err = InvalidOwnerName;

    fn from_str(text: &str) -> Result<Self, InvalidOwnerName> {
        let is_inner =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_valid = text.len() <= Self::LONGEST
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && text.bytes().all(is_inner);
        if is_valid { Ok(Self(Some(text.into()))) } else { Err(InvalidOwnerName) }
    }
}

impl TryFrom<Option<Box<str>>> for OwnerName {
    type Error = InvalidOwnerName;

    fn try_from(name: Option<Box<str>>) -> Result<Self, InvalidOwnerName> {
        name.map_or(Ok(Self::default()), |name| name.parse())
    }
}

impl From<OwnerName> for Option<Box<str>> {
    fn from(name: OwnerName) -> Self {
        name.0
    }
}

impl fmt::Display for InvalidOwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OwnerName::RULE)
    }
}

impl std::error::Error for InvalidOwnerName {}

impl fmt::Display for OwnerName {
    /// `owner web`, or `the owner without a name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(name) => write!(f, "owner {name}"),
            None => f.write_str("the owner without a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_directory_and_one_word() {
        for valid in ["web", "a", "2", "team-1.web_x", &"x".repeat(32)] {
            assert_eq!(
                valid.parse::<OwnerName>().map(|it| it.to_string()),
                Ok(format!("owner {valid}"))
            );
        }
        for invalid in ["", ".", "..", "-web", "a/b", "a b", "ä", "a\n", &"x".repeat(33)] {
            assert_eq!(invalid.parse::<OwnerName>(), Err(InvalidOwnerName), "{invalid}");
        }
    }
}
