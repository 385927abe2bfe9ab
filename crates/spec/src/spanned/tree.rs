//! A YAML document with the position of every value.
//!
//! Nodes are kept in one vector and referred to by index, so that neither building nor dropping
//! recurses, and an alias is one more index of the same node. The size to which aliases would
//! expand is counted while the tree is built: a text that would expand without bounds is refused
//! before the tree is traversed.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use crate::path::{Path, Step};

/// How deep lists and maps may nest: a spec needs eight levels, the observations of a snapshot
/// some more.
const DEEPEST: usize = 64;

/// How many values all aliases together may expand to.
const MOST_ALIASED: u64 = 1_000_000;

/// A position in the text: its byte offset, and its line, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) offset: u32,
    pub(crate) line: u32,
}

/// The index of a [`Node`].
pub(crate) type NodeId = usize;

/// A value and its position.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) content: Content<'t>,
    pub(crate) start: Mark,
    /// Directly after the value; for a block list or map somewhere after it.
    pub(crate) end: Mark,
}

#[derive(Debug)]
pub(crate) enum Content<'t> {
    Scalar {
        text: Cow<'t, str>,
        plain: bool,
    },
    /// A scalar whose value could not be determined, which has been reported.
    Unreadable,
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
}

/// A document.
#[derive(Debug)]
pub(crate) struct Tree<'t> {
    nodes: Vec<Node<'t>>,
    /// `None` if there is no document in the text.
    pub(crate) root: Option<NodeId>,
    /// The first value that has a tag. This reading ignores tags.
    pub(crate) tagged: Option<NodeId>,
}

/// The replacement of a scalar.
pub(crate) enum Replaced {
    /// The scalar stays.
    Not,
    /// Another text; with `is_plain` it counts as unquoted, else the quoting stays the same.
    By { text: String, is_plain: bool },
    /// The scalar has no value.
    Unreadable,
}

/// Why there is no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) at: Mark,
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
}

impl<'t> Tree<'t> {
    pub(crate) fn node(&self, id: NodeId) -> &Node<'t> {
        &self.nodes[id]
    }

    /// The number of values, with keys.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The text of a scalar.
    pub(crate) fn text(&self, id: NodeId) -> Option<&str> {
        match &self.node(id).content {
            Content::Scalar { text, .. } => Some(text),
            Content::Unreadable | Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Replaces the texts of scalars that are not keys.
    pub(crate) fn replace_values(&mut self, mut replace: impl FnMut(NodeId, &str) -> Replaced) {
        let mut is_key = vec![false; self.nodes.len()];
        for node in &self.nodes {
            let Content::Map(entries) = &node.content else { continue };
            for (key, _) in entries {
                is_key[*key] = true;
            }
        }
        for (id, node) in self.nodes.iter_mut().enumerate().filter(|(id, _)| !is_key[*id]) {
            let Content::Scalar { text, plain } = &mut node.content else { continue };
            match replace(id, text) {
                Replaced::Not => {}
                Replaced::By { text: other, is_plain } => {
                    *text = Cow::Owned(other);
                    *plain |= is_plain;
                }
                Replaced::Unreadable => node.content = Content::Unreadable,
            }
        }
    }

    /// The key and the value of an entry.
    pub(crate) fn entry(&self, map: NodeId, key: &str) -> Option<(NodeId, NodeId)> {
        let Content::Map(entries) = &self.node(map).content else { return None };
        entries.iter().copied().find(|(name, _)| self.text(*name) == Some(key))
    }

    /// The node at the end of a path, or the nearest existing one, together with its key.
    pub(crate) fn find(&self, path: &Path) -> Option<(Option<NodeId>, NodeId)> {
        let (mut key, mut node) = (None, self.root?);
        for step in &path.steps {
            let next = match (step, &self.node(node).content) {
                (Step::Key(name), Content::Map(_)) => self.entry(node, name),
                (Step::NamedService(name), Content::Map(_)) => self.entry(node, name),
                (Step::Item(index), Content::List(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    (key, node) = (None, *item);
                    continue;
                }
                _ => None,
            };
            let Some((name, value)) = next else { break };
            (key, node) = (Some(name), value);
        }
        Some((key, node))
    }

    /// The position directly after the last value inside a node.
    pub(crate) fn end(&self, id: NodeId) -> Mark {
        let node = self.node(id);
        let last = match &node.content {
            Content::Scalar { .. } | Content::Unreadable => None,
            Content::List(items) => items.last(),
            Content::Map(entries) => entries.last().map(|(_, value)| value),
        };
        // An alias points backwards, and a list or map in brackets ends after its last value.
        last.map_or(node.end, |last| self.end(*last).max(self.node(id).start))
    }

    /// Keys that occur more than once in a map: the first, and each repetition.
    pub(crate) fn repeated_keys(&self) -> Vec<(NodeId, NodeId)> {
        let mut repeated = Vec::new();
        for node in &self.nodes {
            let Content::Map(entries) = &node.content else { continue };
            let mut seen = HashMap::with_capacity(entries.len());
            for (key, _) in entries {
                let Some(text) = self.text(*key) else { continue };
                if let Some(first) = seen.get(text) {
                    repeated.push((*first, *key));
                } else {
                    seen.insert(text, *key);
                }
            }
        }
        repeated
    }
}

/// Parses a text that holds one document or none.
pub(crate) fn build(text: &str) -> Result<Tree<'_>, Broken> {
    let mut builder = Builder {
        cursor: Cursor { text, character: 0, offset: 0 },
        nodes: Vec::new(),
        sizes: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
        tagged: None,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => return Err(builder.scan_error(&error)),
        }
    }
    Ok(Tree { nodes: builder.nodes, root: builder.root, tagged: builder.tagged })
}

/// Converts the parser's positions from characters to bytes. They arrive nearly in order, so the
/// distance from the previous one is short.
struct Cursor<'t> {
    text: &'t str,
    character: usize,
    offset: usize,
}

impl Cursor<'_> {
    fn mark(&mut self, marker: Marker) -> Mark {
        let wanted = marker.index();
        let rest = &self.text[self.offset..];
        if wanted >= self.character {
            let step = rest.char_indices().nth(wanted - self.character);
            self.offset += step.map_or(rest.len(), |(offset, _)| offset);
        } else {
            let mut before = self.text[..self.offset].char_indices();
            let step = before.nth_back(self.character - wanted - 1);
            self.offset = step.map_or(0, |(offset, _)| offset);
        }
        self.character = wanted;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Mark { offset: narrow(self.offset), line: narrow(marker.line().max(1)) }
    }
}

struct Builder<'t> {
    cursor: Cursor<'t>,
    nodes: Vec<Node<'t>>,
    /// How many values each node expands to, aliases included; 0 while it is open.
    sizes: Vec<u64>,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    aliased: u64,
    root: Option<NodeId>,
    tagged: Option<NodeId>,
}

/// A list or map whose end has not been reached.
struct Open {
    id: NodeId,
    /// The key whose value comes next.
    key: Option<NodeId>,
    size: u64,
}

impl<'t> Builder<'t> {
    fn broken(&mut self, at: Marker, message: String, remedy: &str) -> Broken {
        Broken { at: self.cursor.mark(at), message, remedy: Some(remedy.to_owned()) }
    }

    fn scan_error(&mut self, error: &ScanError) -> Broken {
        let at = *error.marker();
        if error.info().contains("recursion limit") {
            return self.too_deep(at);
        }
        if error.info().contains("unknown anchor") {
            let message = "there is no anchor for this alias before it".to_owned();
            return self.broken(at, message, "write `&name` before the value that it refers to");
        }
        Broken { at: self.cursor.mark(at), message: error.info().to_owned(), remedy: None }
    }

    fn too_deep(&mut self, at: Marker) -> Broken {
        let message = format!("lists and maps are nested more than {DEEPEST} deep");
        self.broken(at, message, "a spec needs eight levels")
    }

    fn take(&mut self, event: Event<'t>, span: Span) -> Result<(), Broken> {
        let (Event::Scalar(.., tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag)) =
            &event
        else {
            return self.take_untagged(event, span);
        };
        if tag.is_some() {
            self.tagged.get_or_insert(self.nodes.len());
        }
        self.take_untagged(event, span)
    }

    fn take_untagged(&mut self, event: Event<'t>, span: Span) -> Result<(), Broken> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                if self.root.is_some() {
                    let message = "a second YAML document begins here".to_owned();
                    let remedy = "write one document: remove the `---` or `...` before it, or move it to another file";
                    return Err(self.broken(span.start, message, remedy));
                }
            }
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let id = self.push(Content::Scalar { text, plain }, anchor, span);
                self.sizes[id] = 1;
                self.place(id, 1);
            }
            Event::SequenceStart(anchor, _) => self.start(Content::List(vec![]), anchor, span)?,
            Event::MappingStart(anchor, _) => self.start(Content::Map(vec![]), anchor, span)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { id, size, .. }) = self.open.pop() {
                    self.nodes[id].end = self.cursor.mark(span.end);
                    self.sizes[id] = size;
                    self.place(id, size);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, content: Content<'t>, anchor: usize, span: Span) -> NodeId {
        let id = self.nodes.len();
        let (start, end) = (self.cursor.mark(span.start), self.cursor.mark(span.end));
        self.nodes.push(Node { content, start, end });
        self.sizes.push(0);
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    fn start(&mut self, content: Content<'t>, anchor: usize, span: Span) -> Result<(), Broken> {
        if self.open.len() >= DEEPEST {
            return Err(self.too_deep(span.start));
        }
        let id = self.push(content, anchor, span);
        self.open.push(Open { id, key: None, size: 1 });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Broken> {
        let target = self.anchors.get(&anchor).map(|id| (*id, self.sizes[*id]));
        let Some((id, size @ 1..)) = target else {
            let message = "this alias is inside its own anchor".to_owned();
            return Err(self.broken(span.start, message, "write the value out"));
        };
        self.aliased = self.aliased.saturating_add(size);
        if self.aliased > MOST_ALIASED {
            let message =
                format!("the aliases up to here expand to more than {MOST_ALIASED} values");
            let remedy = "write the values out, or share real servers through a pool";
            return Err(self.broken(span.start, message, remedy));
        }
        self.place(id, size);
        Ok(())
    }

    /// Adds a finished value to its parent.
    fn place(&mut self, id: NodeId, size: u64) {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(id);
            return;
        };
        parent.size = parent.size.saturating_add(size);
        match &mut self.nodes[parent.id].content {
            Content::List(items) => items.push(id),
            Content::Map(entries) => match parent.key.take() {
                None => parent.key = Some(id),
                Some(key) => entries.push((key, id)),
            },
            Content::Scalar { .. } | Content::Unreadable => {}
        }
    }
}
