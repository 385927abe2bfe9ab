//! Values as YAML writes them.

use std::net::IpAddr;

/// An address, fit to stand in braces.
pub(super) fn address(address: IpAddr) -> String {
    text(&address.to_string())
}

/// `[a, b]` of values that are written already.
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(", "))
}

/// A text, in quotes where YAML could take it for something else.
pub(super) fn text(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let word = text.bytes().all(|byte| plain(byte) || byte == b':')
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && !text.ends_with(':')
        && !matches!(text.to_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no");
    if word {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
