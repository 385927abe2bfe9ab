//! Shortens large numbers as ipvsadm does.

/// The number in full, or shortened as ipvsadm does without `--exact` (`print_largenum`): from 100
/// million on in thousands (K), from 1,000 million on in millions (M), from 100,000 million on in
/// thousands of millions (G), and from 1,000 times that on in the next thousand (T). It is rounded
/// down.
pub(super) fn number(value: u64, is_exact: bool) -> String {
    const KILO: u64 = 1_000;
    const MEGA: u64 = 1_000 * KILO;
    const GIGA: u64 = 1_000 * MEGA;
    const TERA: u64 = 1_000 * GIGA;
    if is_exact || value < 100 * MEGA {
        return value.to_string();
    }
    let (unit, suffix) = match value {
        _ if value < GIGA => (KILO, 'K'),
        _ if value < 100 * GIGA => (MEGA, 'M'),
        _ if value < 100 * TERA => (GIGA, 'G'),
        _ => (TERA, 'T'),
    };
    format!("{}{suffix}", value / unit)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_is_shortened_where_ipvsadm_shortens_it() {
        for (value, short) in [
            (0, "0"),
            (99_999_999, "99999999"),
            (100_000_000, "100000K"),
            (999_999_999, "999999K"),
            (1_000_000_000, "1000M"),
            (99_999_999_999, "99999M"),
            (100_000_000_000, "100G"),
            (99_999_999_999_999, "99999G"),
            (100_000_000_000_000, "100T"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(number(value, false), short);
            assert_eq!(number(value, true), value.to_string());
        }
    }
}
