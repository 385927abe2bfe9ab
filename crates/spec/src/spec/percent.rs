//! Shares of a whole, in percent.

use serde::de::{Deserialize, Deserializer};

use super::parse_str::{InvalidText, schema, text};
use crate::suggest::quote;

/// `0%` to `100%`; `off` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u8);

impl Percent {
    fn parse(written: &str) -> Result<Self, InvalidText> {
        if written == "off" {
            return Ok(Self(0));
        }
        let digits = written.strip_suffix('%').unwrap_or(written);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| *number <= 100);
        match (number, is_number) {
            (Some(number), true) if digits != written => Ok(Self(number)),
            (Some(number), true) => Err(InvalidText::new(
                format!("{} has no percent sign", quote(written)),
                format!("write `{number}%`"),
            )),
            (None, true) => Err(InvalidText::new(
                format!("{} is more than all", quote(written)),
                "write at most `100%`",
            )),
            (_, false) => Err(InvalidText::new(
                format!("{} is not a percentage", quote(written)),
                "write one from 0% to 100%, or `off`",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a percentage, one from 0% to 100%, or `off`", Self::parse)
    }
}

schema!(Percent, { "type": "string", "pattern": "^(off|0*([0-9]|[1-9][0-9]|100)%)$" });

/// `0%` to `100%`, without a word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(pub(crate) u8);

impl Share {
    pub(super) fn parse(written: &str) -> Result<Self, InvalidText> {
        match Percent::parse(written) {
            Ok(Percent(number)) if written != "off" => Ok(Self(number)),
            Ok(_) => {
                Err(InvalidText::new("`off` is not a percentage", "write one from 0% to 100%"))
            }
            Err(InvalidText { message, remedy }) => {
                Err(InvalidText { message, remedy: remedy.replace(", or `off`", "") })
            }
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a percentage, one from 0% to 100%", Self::parse)
    }
}

schema!(Share, { "type": "string", "pattern": "^0*([0-9]|[1-9][0-9]|100)%$" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_has_its_sign_and_is_no_more_than_all() {
        let read = |written| Percent::parse(written).ok().map(|percent| percent.0);
        for (written, number) in [("0%", 0), ("off", 0), ("50%", 50), ("007%", 7), ("100%", 100)] {
            assert_eq!(read(written), Some(number), "{written}");
        }
        for written in ["", "%", "50", "101%", "-1%", "+1%", "0.5%", "50 %", "Off", "half", "50%%"]
        {
            assert_eq!(read(written), None, "{written}");
        }
    }
}
