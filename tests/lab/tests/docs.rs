//! The console sessions of the documentation on a real kernel.

use evenkeel_lab_tests::root;

use crate::console::markdown::{Block, pages};
use crate::console::{Form, describe, play};

#[test]
fn the_pages_show_what_happens() {
    let (mut played, mut wrong) = (0, String::new());
    for page in pages(&root()) {
        let mut commands = page.blocks.iter().flat_map(Block::commands);
        if commands.any(|it| it.is_privileged && it.text.starts_with("evenkeel ")) {
            wrong += &describe(&page, &play(&page, Form::Documentation));
            played += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(played >= 4, "only {played} pages have commands for a live host");
}
