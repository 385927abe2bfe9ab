//! How YAML reads scalars, by the rules of serde_yaml.

/// Whether serde_yaml reads it as null in `deserialize_any`.
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Digits with a leading zero are text, as in YAML 1.2.
fn has_leading_zero(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A whole number in one of the forms of YAML; `None` for a text.
pub(crate) fn parse_integer<T>(
    text: &str,
    parse: fn(&str, u32) -> Result<T, std::num::ParseIntError>,
) -> Option<T> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return if rest.starts_with(['+', '-']) { None } else { parse(rest, radix).ok() };
        }
    }
    if digits.starts_with(['+', '-']) || has_leading_zero(digits) {
        return None;
    }
    parse(digits, 10).ok()
}

/// A whole number with a minus.
pub(crate) fn negative(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-')?;
    let number: i128 =
        parse_integer(digits, i128::from_str_radix).filter(|_| !digits.starts_with('+'))?;
    i64::try_from(-number).ok()
}

/// A number with a fraction or an exponent.
pub(crate) fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    match digits {
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if digits == text => return Some(f64::NAN),
        _ => {}
    }
    if has_leading_zero(digits)
        || !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
    {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether YAML reads a text as a number unless it is in quotes.
pub(crate) fn is_number(text: &str) -> bool {
    parse_integer(text, u64::from_str_radix).is_some()
        || negative(text).is_some()
        || float(text).is_some()
}

/// Whether a text is a decimal number with zeros before it, which YAML reads as a text.
pub(crate) fn is_zero_padded(text: &str) -> bool {
    has_leading_zero(text.strip_prefix(['+', '-']).unwrap_or(text))
}

/// The whole number that a text means to a reader, whatever it is to YAML: `080`, `+8`, `1.0`, `0x10`. `None`
/// for one below 0 or with a fraction, and for any other text.
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    /// Up to here, every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = parse_integer(text, u64::from_str_radix) {
        return Some(number);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return digits.parse().ok().filter(|number| *number == 0 || !text.starts_with('-'));
    }
    let number = float(text).filter(|it| (0.0..=EXACT).contains(it) && it.fract() == 0.0)?;
    // The decimal digits of a whole number have no fraction.
    number.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_found_in_each_of_its_forms() {
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            ("-00", 0),
            ("080", 80),
            ("+08", 8),
            ("+8", 8),
            ("0x50", 80),
            ("1.0", 1),
            ("8e1", 80),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            "-1",
            "-01",
            "1.5",
            "1e99",
            "18446744073709551616",
            ".inf",
            "++1",
            "80/tcp",
        ] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn what_needs_quotes_to_be_a_text_is_a_number() {
        for text in ["0", "-1", "+1", "1.0", "0x1F", ".5", ".inf"] {
            assert!(is_number(text) && !is_zero_padded(text), "{text}");
        }
        for text in ["080", "-01", "+08", "00"] {
            assert!(!is_number(text) && is_zero_padded(text), "{text}");
        }
        for text in ["", "inf", "1e999", "1_000", "12:30", "-"] {
            assert!(!is_number(text) && !is_zero_padded(text), "{text}");
        }
    }
}
