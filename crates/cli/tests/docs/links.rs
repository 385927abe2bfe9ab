//! Links between pages, and to files of the source tree, lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::markdown::pages;
use crate::root;

/// The texts with links: the pages, and those beside the README.
fn texts() -> Vec<PathBuf> {
    let pages = pages(&root()).into_iter().map(|page| page.path);
    pages.chain(["ARCHITECTURE.md", "CHANGELOG.md"].map(PathBuf::from)).collect()
}

/// The text without its code blocks.
fn prose(path: &Path) -> String {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The targets of the links of a text.
fn targets(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')').map(|(target, _)| target)).collect()
}

/// The anchors of a text's headings, as the book and code hosts name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let root = root();
    let mut checked = 0;
    for path in texts() {
        let text = prose(&root.join(&path));
        for target in targets(&text).into_iter().filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let from = format!("{}: {target}", path.display());
            let to = match file {
                "" => root.join(&path),
                _ => root.join(path.parent().expect("a folder")).join(file),
            };
            assert!(to.exists(), "{from}");
            let is_found = anchor.is_empty() || anchors(&prose(&to)).contains(anchor);
            assert!(is_found, "{from}: there is no such heading");
            let is_page = to.extension().is_some_and(|it| it == "md");
            let is_in_book = to.canonicalize().expect("a path").starts_with(root.join("docs"));
            let is_from_book = path.starts_with("docs");
            // The book turns a link to a page into one to its HTML, which only its own pages have.
            assert!(!is_from_book || !is_page || is_in_book, "{from} leaves the book");
            checked += 1;
        }
    }
    assert!(checked >= 40, "only {checked} links were found");
}

#[test]
fn the_book_has_every_page() {
    let root = root();
    let summary = fs::read_to_string(root.join("docs/SUMMARY.md")).expect("the summary");
    let listed: BTreeSet<&str> = targets(&summary).into_iter().collect();
    for page in pages(&root) {
        let Ok(name) = page.path.strip_prefix("docs") else { continue };
        let name = name.to_str().expect("text");
        assert!(name == "SUMMARY.md" || listed.contains(name), "{name} is not in SUMMARY.md");
    }
}

#[test]
fn every_code_block_is_fenced_so_that_its_commands_are_tested() {
    for page in pages(&root()) {
        let text = prose(&root().join(&page.path));
        let is_indented = |pair: &&[&str]| pair[0].is_empty() && pair[1].starts_with("    ");
        let lines: Vec<&str> = text.lines().collect();
        let found = lines.windows(2).find(is_indented);
        assert_eq!(found, None, "{}", page.path.display());
        let is_nested = lines.iter().any(|line| line.starts_with(' ') && line.contains("```"));
        assert!(!is_nested, "{}: fences begin at the margin", page.path.display());
    }
}
