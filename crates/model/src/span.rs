//! Spans of time, for people.

use std::fmt;

/// A span in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    /// As specs and commands read it: `0s`, `15m`, `1h30m`, `59m50s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in UNITS {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_units_that_it_needs() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (900, "15m"),
            (3_590, "59m50s"),
            (5_400, "1h30m"),
            (86_401, "1d1s"),
        ] {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }
}
