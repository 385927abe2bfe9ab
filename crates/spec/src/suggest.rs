//! Suggests what was probably meant by a misspelt name.

/// The candidate nearest to `written`, if one is near enough for `written` to be a misspelling.
pub(crate) fn nearest<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if written.len() > 40 {
        return None;
    }
    let folded = written.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&folded, &candidate.replace('-', "_"));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance * 3 <= candidate.len().max(folded.len()).max(3)
                && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The key that was probably meant by an unknown one.
pub(crate) fn key(written: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let value_of = synonym(written).filter(|value_of| known.contains(value_of));
    value_of.or_else(|| nearest(written, known.iter().copied()))
}

/// The key for a name that other tools use.
fn synonym(key: &str) -> Option<&'static str> {
    Some(match key.to_lowercase().as_str() {
        "lb_algo" | "lvs_sched" | "algorithm" | "lb_method" | "sched" => "scheduler",
        "lb_kind" | "lvs_method" | "method" | "mode" | "forwarding" => "forward",
        "real_server" | "servers" | "backends" | "destinations" | "dests" | "real" => {
            "real_servers"
        }
        "ip" | "addr" | "host" => "address",
        "virtual" | "virtual_ip" | "virtual_ipaddress" => "vip",
        "mark" | "fwm" => "fwmark",
        "persistent" | "persistence_timeout" => "persistence",
        "ops" | "onepacket" => "one_packet",
        "dev" | "device" | "nic" => "interface",
        "uthreshold" | "u_threshold" => "upper_threshold",
        "lthreshold" | "l_threshold" => "lower_threshold",
        "pe" | "pe_name" | "persistence_engine" => "engine",
        "granularity" | "persistence_granularity" => "netmask",
        "kind" => "type",
        _ => return None,
    })
}

/// A remedy: `did you mean `x`?`, or the list of candidates.
pub(crate) fn remedy<'c>(
    written: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'c str> + Clone,
) -> String {
    match nearest(written, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("{what}: {}", candidates.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Quotes text of a file for a message: without control characters, and not too long.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", shorten(text))
}

/// Prepares text as [`quote`] does, without quotes.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(shown_as).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

fn shown_as(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let keys = ["scheduler", "scheduler_flags", "real_servers", "port", "ports", "vip"];
        for (written, value_of) in [
            ("schedular", Some("scheduler")),
            ("real-servers", Some("real_servers")),
            ("realservers", Some("real_servers")),
            ("Port", Some("port")),
            ("prot", Some("port")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, keys), value_of, "{written}");
        }
    }

    #[test]
    fn quoted_text_carries_no_control_character_to_a_terminal() {
        assert_eq!(quote("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quote(&"x".repeat(100)).len(), 65);
    }
}
