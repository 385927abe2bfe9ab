//! Whether a text may be read without measuring it first.

/// How deep brackets may nest, and how many list marks may share a line, in a text that is read
/// at once.
const DEEP: usize = 32;

/// The bytes that mean nothing here behind the first of a line: nearly all of a text.
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

/// Whether a text has to be measured by [`super::build`] before serde_yaml may see it, which
/// keeps no bounds on aliases, takes time quadratic in the depth of brackets, and much memory for
/// each level. Nearly no spec has either.
pub(crate) fn needs_measuring(text: &str) -> bool {
    let (mut anchors, mut aliases) = (false, false);
    // Brackets that are open, and `-` and `?` that begin a line together: each is a level.
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
