//! Checks the links of the book's pages, and puts the files that they lead to beside the book.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::Error;

/// What mdBook leaves in a page where it cannot include a file.
const NOT_INCLUDED: &str = "{{#";

/// Checks the links of all pages of the book, and returns how many pages there are. Files outside of
/// `docs`, such as the examples, are copied to where the links lead.
pub(super) fn check(docs: &Path, book: &Path) -> Result<usize, Error> {
    let pages = pages(book).map_err(claim(book))?;
    let mut problems = Vec::new();
    for (path, text) in &pages {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if text.contains(NOT_INCLUDED) {
            problems.push(format!("{name} includes a file that cannot be read"));
        }
        for target in targets(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { path.clone() } else { book.join(normalized(file)) };
            if !to.exists() && !copy(docs, book, file)? {
                problems.push(format!("{name} has a broken link: {target}"));
                continue;
            }
            let has_anchor = |text: &String| text.contains(&format!("id=\"{anchor}\""));
            if !anchor.is_empty() && !pages.get(&to).is_some_and(has_anchor) {
                problems
                    .push(format!("{name} has a link to a heading that does not exist: {target}"));
            }
        }
    }
    if problems.is_empty() {
        Ok(pages.len())
    } else {
        Err(Error::Claim(problems.join("\nerror: ")))
    }
}

fn claim(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Claim(format!("{}: {error}", path.display()))
}

/// The pages of the book, which are all in one directory, with their texts.
fn pages(book: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(book)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "html") {
            let text = fs::read_to_string(&path)?;
            pages.insert(path, text);
        }
    }
    Ok(pages)
}

/// The relative targets of a page's links.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let attributes = ["href=\"", "src=\""].into_iter().flat_map(|name| text.split(name).skip(1));
    let targets = attributes.filter_map(|rest| rest.split_once('"').map(|(target, _)| target));
    targets.filter(|target| !target.contains(':') && !target.starts_with('/'))
}

/// Copies the file of the source tree to which a link leads; whether there is one.
fn copy(docs: &Path, book: &Path, file: &str) -> Result<bool, Error> {
    let (from, to) = (docs.join(file), book.join(file));
    if !from.is_file() {
        return Ok(false);
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(claim(folder))?;
    }
    fs::copy(&from, &to).map_err(claim(&from))?;
    Ok(true)
}

/// The path without `.`, so that it is found among the pages.
fn normalized(file: &str) -> PathBuf {
    Path::new(file).components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A book with that page beside `b.html`, which has a heading `known`.
    fn checked(page: &str) -> Result<usize, String> {
        let folder = std::env::temp_dir().join(format!("evenkeel-book-{}", std::process::id()));
        let (docs, book) = (folder.join("docs"), folder.join("book"));
        for path in [&docs, &book] {
            fs::create_dir_all(path).expect("a folder");
        }
        fs::write(folder.join("example.yaml"), "version: 1\n").expect("a file");
        fs::write(book.join("a.html"), page).expect("a page");
        fs::write(book.join("b.html"), "<h2 id=\"known\">").expect("a page");
        let result = check(&docs, &book);
        fs::remove_dir_all(folder).expect("it is there");
        result.map_err(|error| match error {
            Error::Claim(text) => text,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn links_to_pages_headings_and_files_of_the_source_tree_are_followed() {
        let good = ["b.html", "b.html#known", "./b.html#known", "#own", "https://example.org/x"];
        for target in good {
            let page = format!("<p id=\"own\"><a href=\"{target}\">");
            assert_eq!(checked(&page), Ok(2), "{target}");
        }
        for target in ["c.html", "b.html#unknown", "#unknown", "../missing.yaml"] {
            let found = checked(&format!("<a href=\"{target}\">")).expect_err("a broken link");
            assert!(found.contains(target), "{found}");
        }
        assert!(checked("{{#include gone.md}}").is_err());
    }
}
