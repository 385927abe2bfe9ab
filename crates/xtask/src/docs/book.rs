//! Builds the book.

use std::fs;
use std::io;
use std::path::PathBuf;

use mdbook_driver::MDBook;

use crate::error::Error;
use crate::workspace::Workspace;

/// Builds the book of `docs` and returns its directory, in a directory of its own: see `docs/book.toml`.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf, Error> {
    let claim = |error: mdbook_driver::errors::Error| Error::Claim(format!("mdBook: {error:#}"));
    let mut book = MDBook::load(workspace.root.join("docs")).map_err(claim)?;
    let parent = workspace.target.join("book");
    // A file that a page of an earlier build led to must not hide a broken link.
    match fs::remove_dir_all(&parent) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::Claim(format!("{}: {error}", parent.display())));
        }
        _ => {}
    }
    let directory = parent.join("docs");
    book.config.build.build_dir.clone_from(&directory);
    book.build().map_err(claim)?;
    Ok(directory)
}
