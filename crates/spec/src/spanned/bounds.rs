//! Decides whether a text may be parsed without measuring it first.

/// How deep brackets may nest, and how many list marks may share a line, in a text that is parsed
/// without being measured.
const DEEP: usize = 32;

/// The bytes that have no meaning here after the first one of a line: nearly all of a text.
const ORDINARY: [bool; 256] = {
    let mut ordinary = [true; 256];
    let special = b"\n\r&*[]{}";
    let mut at = 0;
    while at < special.len() {
        ordinary[special[at] as usize] = false;
        at += 1;
    }
    ordinary
};

/// Whether a text has to be measured by [`super::build`] before serde_yaml parses it: serde_yaml
/// does not limit aliases, takes time quadratic in the depth of brackets, and needs much memory for
/// each level. Almost no spec has aliases or deep nesting.
pub(crate) fn needs_measuring(text: &str) -> bool {
    let (mut anchors, mut aliases) = (false, false);
    // Open brackets, and each `-` and `?` at the beginning of a line, are a level.
    let (mut depth, mut marks, mut deepest) = (0usize, 0usize, 0);
    let mut in_front = true;
    for byte in text.bytes() {
        if !in_front && ORDINARY[usize::from(byte)] {
            continue;
        }
        match byte {
            b'\n' | b'\r' => (in_front, marks) = (true, 0),
            b' ' | b'\t' => {}
            b'-' | b'?' | b':' if in_front => marks += 1,
            other => {
                in_front = false;
                match other {
                    b'&' => anchors = true,
                    b'*' => aliases = true,
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
        deepest = deepest.max(depth).max(marks);
    }
    (anchors && aliases) || deepest > DEEP
}
