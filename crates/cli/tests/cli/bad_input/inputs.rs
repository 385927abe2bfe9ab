//! Invalid specs, each with one problem, and the expected errors. The lab also runs them against a
//! live table, which must not change.
//!
//! `cases.txt` holds those that are texts: a title after `###`, the spec, and after `--->` the
//! error as `LINE:COLUMN: message; remedy`.

use std::fmt::Write;

const CASES: &str = include_str!("cases.txt");
const TOO_MANY: &str = "the aliases up to here expand to more than 1000000 values; write the values \
                        out, or share real servers through a pool";

/// An invalid spec.
pub(crate) struct BadInput {
    /// The problem.
    pub(crate) title: &'static str,
    /// The content of the file.
    pub(crate) bytes: Vec<u8>,
    /// The expected error in one line: position, message and remedy.
    pub(crate) answer: String,
}

pub(crate) fn all() -> Vec<BadInput> {
    let mut all: Vec<BadInput> = texts().collect();
    all.extend([
        BadInput {
            title: "an empty file",
            bytes: Vec::new(),
            answer: "1:1: the spec is empty; write one, or state that nothing is wanted: \
                     `version: 1` and `services: []`"
                .to_owned(),
        },
        BadInput {
            title: "binary garbage",
            bytes: garbage(),
            answer: "1:10: this is not UTF-8 text; a spec is a YAML text file; save it as UTF-8"
                .to_owned(),
        },
        BadInput {
            title: "a billion laughs",
            bytes: laughs().into_bytes(),
            answer: format!("9:17: {TOO_MANY}"),
        },
        BadInput {
            title: "10 MiB of anchors",
            bytes: anchors(10 << 20).into_bytes(),
            answer: format!("19:14: {TOO_MANY}"),
        },
    ]);
    all
}

pub(crate) fn texts() -> impl Iterator<Item = BadInput> {
    CASES.split("### ").skip(1).map(|case| {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (text, answer) = rest.split_once("---> ").expect("an answer");
        BadInput { title, bytes: text.into(), answer: answer.trim_end().to_owned() }
    })
}

/// Returns binary data, the same each time.
fn garbage() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    b"\x7fELF\x02\x01\x01\0".iter().copied().chain(noise.take(4096)).collect()
}

/// Returns ten aliases of ten aliases and so on, which expand to ten thousand million real servers.
fn laughs() -> String {
    let mut text = "version: 1\nobserved:\n  l0: &l0 [ { address: 10.0.0.1 } ]\n".to_owned();
    for level in 1..=9 {
        let ten = vec![format!("*l{}", level - 1); 10].join(", ");
        writeln!(text, "  l{level}: &l{level} [{ten}]").expect("a string");
    }
    text + "services:\n  - { name: web, vip: 192.0.2.1, port: 80, real_servers: *l9 }\n"
}

/// Returns lines of anchors and aliases, as many as fit into `length` bytes.
fn anchors(size: usize) -> String {
    let mut text = String::with_capacity(size + 100);
    text += "version: 1\nobserved:\n  l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n";
    for level in 1.. {
        if text.len() >= size {
            break;
        }
        let below = level - 1;
        writeln!(text, "  l{level}: &l{level} [*l{below}, *l{below}]").expect("a string");
    }
    text
}
