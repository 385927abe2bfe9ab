//! Values as YAML writes them.

use std::net::IpAddr;

use crate::parameter;

/// An address, quoted where braces require it.
pub(super) fn address(address: IpAddr) -> String {
    text(&address.to_string())
}

/// `[a, b]` of values that are already written as text.
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(", "))
}

/// A text, in quotes where YAML could give it another type.
pub(super) fn text(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let word = text.bytes().all(|byte| plain(byte) || byte == b':')
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && !text.ends_with(':')
        && !matches!(text.to_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no");
    if word { text.to_owned() } else { quoted(text) }
}

/// A value that may be a number or a text: only whole numbers and words are written without quotes.
pub(super) fn value(value: &str) -> String {
    let is_number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    let is_word = value.starts_with(|first: char| first.is_ascii_alphabetic());
    match (is_number, is_word) {
        (true, _) => value.to_owned(),
        (false, true) => text(value),
        (false, false) => quoted(value),
    }
}

/// A text in quotes, with anything escaped that could be read as a parameter.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in parameter::escaped(text).chars() {
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
