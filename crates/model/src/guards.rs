//! The thresholds of guards, which refuse plans that look like a mistake.

use serde::{Deserialize, Serialize};

/// The thresholds from which guards refuse a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guards {
    /// `mass-delete`: the share of the live services, of the VIPs, and of the real servers of one
    /// service that must be left, in percent; 0 refuses nothing.
    pub mass_delete: u8,
    /// `mass-delete`: with fewer live ones than this, deleting most of them is everyday work.
    pub mass_delete_from: u32,
    /// `unbind-in-use`: how many connections through a VIP may break when it is unbound.
    pub unbind_in_use: u32,
}

impl Guards {
    /// Each threshold as the stricter of the two has it.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        Self {
            mass_delete: self.mass_delete.max(other.mass_delete),
            mass_delete_from: self.mass_delete_from.min(other.mass_delete_from),
            unbind_in_use: self.unbind_in_use.min(other.unbind_in_use),
        }
    }

    /// `50%`, or `off` where nothing is refused: [`Self::mass_delete`] as a spec writes it.
    pub fn mass_delete_text(self) -> String {
        match self.mass_delete {
            0 => "off".to_owned(),
            percent => format!("{percent}%"),
        }
    }
}

impl Default for Guards {
    fn default() -> Self {
        Self { mass_delete: 50, mass_delete_from: 4, unbind_in_use: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_value_of_each_threshold_counts() {
        let one = Guards { mass_delete: 0, mass_delete_from: 2, unbind_in_use: 5 };
        let both = Guards { mass_delete: 50, mass_delete_from: 2, unbind_in_use: 0 };
        assert_eq!(one.stricter(Guards::default()), both);
        assert_eq!(Guards::default().stricter(one), both);
    }
}
