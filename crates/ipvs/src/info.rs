//! The version of IPVS and the size of its connection table.

use std::fmt;

/// The answer to `IPVS_CMD_GET_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Info {
    /// The version of IPVS, which does not follow the kernel's and has stood at 1.2.1 since 2004.
    pub version: Version,
    /// How many buckets the table of connections has; no limit on their number.
    pub connection_table_size: u32,
}

/// A version as the kernel packs it, a byte to each part (`NVERSION`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, major, minor, patch] = self.0.to_be_bytes();
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_shown_as_its_three_parts() {
        assert_eq!(Version(0x01_02_10).to_string(), "1.2.16");
    }
}
