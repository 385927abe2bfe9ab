//! The transcripts of `tests/transcripts`: what the commands print in every situation, word by word.
//!
//! `UPDATE=1 cargo xtask test --lab transcripts` writes the output that was found to the pages; read the
//! difference before committing it. In a block with `varies`, numbers, times and ids may differ, and
//! stay as they are.

use std::fs;

use evenkeel_lab_tests::root;

use crate::console::markdown::{Page, pages_in};
use crate::console::{Difference, Form, describe, play};

#[test]
fn the_transcripts_show_what_the_commands_print() {
    let is_renewed = std::env::var_os("UPDATE").is_some();
    let pages = pages_in(&root(), "tests/transcripts");
    assert!(pages.len() >= 5, "only {} pages", pages.len());
    let mut wrong = String::new();
    for page in pages {
        let differences = play(&page, Form::Transcript { is_renewed });
        match is_renewed {
            true => renew(&page, &differences),
            false => wrong += &describe(&page, &differences),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Replaces the output that is not as shown.
fn renew(page: &Page, differences: &[Difference]) {
    let path = root().join(&page.path);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    // From the end, so that the numbers of the lines before it stay right.
    for Difference { command, found } in differences.iter().rev() {
        lines.splice(command.line..command.line + command.output.len(), found.lines());
    }
    if !differences.is_empty() {
        fs::write(path, lines.join("\n") + "\n").unwrap();
    }
}
