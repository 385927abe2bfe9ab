//! Maps values of a source to their positions and to the service, pool or check they belong to.

use crate::problem::Position;
use crate::source::Lines;
use crate::spanned::{Content, Mark, Node, Tree};
use crate::suggest;

/// The text of a source with what is needed to determine positions in it.
pub(crate) struct Located<'t> {
    pub(crate) tree: Tree<'t>,
    pub(crate) lines: Lines<'t>,
    source: usize,
    name: &'t str,
    /// The start and end of each named service, pool and check.
    contexts: Vec<(Mark, Mark, String)>,
}

impl<'t> Located<'t> {
    pub(crate) fn new(tree: Tree<'t>, lines: Lines<'t>, source: usize, name: &'t str) -> Self {
        let contexts = contexts(&tree);
        Self { tree, lines, source, name, contexts }
    }

    /// The position of a node: a scalar's text; of a list or map its part on its first line.
    pub(crate) fn place(&self, node: usize) -> Position {
        let node = self.tree.node(node);
        let start = begin(&self.tree, node).offset as usize;
        let end = (node.end.offset as usize).max(start);
        self.lines.place(self.source, self.name, start..end)
    }

    /// The service, pool or check that a value belongs to: `service web`.
    pub(crate) fn context(&self, node: usize) -> Option<String> {
        let mark = self.tree.node(node).start;
        let behind = self.contexts.partition_point(|(start, _, _)| *start <= mark);
        let (_, end, name) = self.contexts.get(behind.checked_sub(1)?)?;
        (mark <= *end).then(|| name.clone())
    }
}

/// The start of a node. The parser reports a block map's start at its first value, not its first
/// key.
fn begin(tree: &Tree<'_>, node: &Node<'_>) -> Mark {
    match &node.content {
        Content::Map(entries) => {
            entries.first().map_or(node.start, |(key, _)| tree.node(*key).start.min(node.start))
        }
        Content::Scalar { .. } | Content::Unreadable | Content::List(_) => node.start,
    }
}

fn contexts(tree: &Tree<'_>) -> Vec<(Mark, Mark, String)> {
    let mut named = Vec::new();
    for (key, what) in [("services", "service"), ("pools", "pool")] {
        let Some((_, list)) = tree.root.and_then(|root| tree.entry(root, key)) else { continue };
        let Content::List(items) = &tree.node(list).content else { continue };
        for item in items {
            let name = tree.entry(*item, "name").and_then(|(_, name)| tree.text(name));
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                let name = format!("{what} {}", suggest::shorten(name));
                named.push((begin(tree, tree.node(*item)), tree.end(*item), name));
            }
        }
    }
    let checks = tree.root.and_then(|root| tree.entry(root, "checks"));
    if let Some(Content::Map(entries)) = checks.map(|(_, map)| &tree.node(map).content) {
        for (key, value) in entries {
            let name = tree.text(*key).filter(|name| !name.is_empty());
            if let Some(name) = name {
                let name = format!("check {}", suggest::shorten(name));
                named.push((tree.node(*key).start, tree.end(*value), name));
            }
        }
    }
    named.sort();
    named
}
