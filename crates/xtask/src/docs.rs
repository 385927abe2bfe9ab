//! `cargo xtask docs`: builds the documentation as a book, and checks its links.
//!
//! mdBook is used as a library, so that nothing has to be installed. Its packages are compiled only
//! for this task: with the feature `book`, with which the task starts this program again.

#[cfg(feature = "book")]
mod book;
#[cfg(any(feature = "book", test))]
mod links;

use clap::Args;

use crate::error::Error;
use crate::workspace::Workspace;

/// Arguments of `cargo xtask docs`.
#[derive(Args)]
pub(crate) struct Docs {}

impl Docs {
    #[cfg(not(feature = "book"))]
    pub(crate) fn run(self) -> Result<u8, Error> {
        let run = ["run", "--quiet", "--package=evenkeel-xtask", "--features=book", "--", "docs"];
        Workspace::find()?.cargo(&run)?;
        Ok(0)
    }

    #[cfg(feature = "book")]
    pub(crate) fn run(self) -> Result<u8, Error> {
        let workspace = Workspace::find()?;
        let book = book::build(&workspace)?;
        let pages = links::check(&workspace.root.join("docs"), &book)?;
        println!("{} ({pages} pages)", book.join("index.html").display());
        Ok(0)
    }
}
