//! The second, slower reading: a tree that keeps the position of each value, and a deserialiser
//! over it that does not stop at the first error.

mod bounds;
mod error;
mod read;
mod tree;

pub(crate) use bounds::needs_measuring;
pub(crate) use read::{Noted, read};
pub(crate) use tree::{Broken, Content, Mark, Node, Replaced, Tree, build};

#[cfg(test)]
mod tests;
