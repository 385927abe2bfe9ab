//! Fills the types of the spec from a [`Tree`]; records errors and continues.
//!
//! Scalars are interpreted as numbers, booleans and text exactly as serde_yaml does, so that both
//! readings accept the same specs.

use std::cell::RefCell;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::NodeError;
use super::tree::{Content, NodeId, Tree};
use crate::problem::Problems;
use crate::recovering_de::RECOVER;
use crate::scalar::{float, is_null, negative, parse_integer};

/// An error at a node.
pub(crate) struct Noted {
    pub(crate) node: NodeId,
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
}

/// Reads a `T` from the root. Also returns the errors, and how many more there were.
pub(crate) fn read<'t, T: Deserialize<'t>>(
    tree: &'t Tree<'t>,
    root: NodeId,
) -> (Option<T>, Vec<Noted>, usize) {
    let notes = RefCell::new(Notes::default());
    let reader = Reader { tree, notes: &notes, node: root, key: None };
    let read = T::deserialize(reader).map_err(|error| reader.note(error)).ok();
    let Notes { list, left_out } = notes.into_inner();
    (read, list, left_out)
}

#[derive(Default)]
struct Notes {
    list: Vec<Noted>,
    left_out: usize,
}

#[derive(Clone, Copy)]
struct Reader<'t, 'n> {
    tree: &'t Tree<'t>,
    notes: &'n RefCell<Notes>,
    node: NodeId,
    /// The key of this value.
    key: Option<NodeId>,
}

impl<'t> Reader<'t, '_> {
    fn note(&self, error: NodeError) {
        let (node, message, remedy) = match error {
            NodeError::Value { message, remedy } => (self.node, message, remedy),
            NodeError::Key { message, remedy } => (self.key.unwrap_or(self.node), message, remedy),
            NodeError::Empty { form } => {
                let key = self.key.and_then(|key| self.tree.text(key));
                let message = match key {
                    Some(key) => format!("`{key}` has no value"),
                    None => "there is no value here".to_owned(),
                };
                let form = if form == "a list" { "a list, `[]` for none" } else { &form };
                (self.node, message, Some(format!("write {form}")))
            }
            NodeError::Number { what, form } => {
                (self.node, format!("this number is not {what}"), Some(format!("write {form}")))
            }
            NodeError::Reported => return,
        };
        let mut notes = self.notes.borrow_mut();
        if notes.list.len() < Problems::MAX {
            notes.list.push(Noted { node, message, remedy });
        } else {
            notes.left_out += 1;
        }
    }

    fn content(&self) -> &'t Content<'t> {
        &self.tree.node(self.node).content
    }

    fn child(&self, node: NodeId, key: Option<NodeId>) -> Self {
        Self { node, key, ..*self }
    }
}

impl<'t> Deserializer<'t> for Reader<'t, '_> {
    type Error = NodeError;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self.content() {
            Content::Unreadable => Err(NodeError::Reported),
            Content::Scalar { text, plain: true } => {
                plain(text, visitor).map_err(|error| error.of_number(text))
            }
            Content::Scalar { text, plain: false } => visitor.visit_borrowed_str(text),
            Content::List(items) => visitor.visit_seq(Items { reader: self, items: items.iter() }),
            Content::Map(entries) => {
                visitor.visit_map(Entries { reader: self, entries: entries.iter(), value: None })
            }
        }
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match self.content() {
            // serde_yaml returns any other null as its text.
            Content::Scalar { text, plain } if !(*plain && matches!(&**text, "" | "~")) => {
                visitor.visit_borrowed_str(text)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        if name == RECOVER {
            return visitor.visit_seq(Recover(Some(self)));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, NodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// Deserialises a [`crate::recovering_de::Field`]: one value, or none after recording the error.
struct Recover<'t, 'n>(Option<Reader<'t, 'n>>);

impl<'t> SeqAccess<'t> for Recover<'t, '_> {
    type Error = NodeError;

    fn next_element_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, NodeError> {
        let Some(reader) = self.0.take() else { return Ok(None) };
        Ok(seed.deserialize(reader).map_err(|error| reader.note(error)).ok())
    }
}

struct Items<'t, 'n> {
    reader: Reader<'t, 'n>,
    items: std::slice::Iter<'t, NodeId>,
}

impl<'t> SeqAccess<'t> for Items<'t, '_> {
    type Error = NodeError;

    fn next_element_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, NodeError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.reader.child(*item, None)).map(Some)
    }
}

struct Entries<'t, 'n> {
    reader: Reader<'t, 'n>,
    entries: std::slice::Iter<'t, (NodeId, NodeId)>,
    value: Option<Reader<'t, 'n>>,
}

impl<'t> MapAccess<'t> for Entries<'t, '_> {
    type Error = NodeError;

    fn next_key_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, NodeError> {
        for (key, value) in self.entries.by_ref() {
            let Some(text) = self.reader.tree.text(*key) else {
                let message = "a key must be a word, not a list or a map".to_owned();
                let remedy = Some("write one such as `name`".to_owned());
                self.reader.child(*key, None).note(NodeError::Value { message, remedy });
                continue;
            };
            self.value = Some(self.reader.child(*value, Some(*key)));
            return seed.deserialize(text.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, NodeError> {
        let value = self.value.take().ok_or_else(|| NodeError::custom("a value without a key"))?;
        seed.deserialize(value)
    }
}

/// A plain scalar by the rules of serde_yaml's `visit_untagged_scalar`.
fn plain<'t, V: Visitor<'t>>(text: &'t str, visitor: V) -> Result<V::Value, NodeError> {
    match text {
        _ if is_null(text) => visitor.visit_unit(),
        "true" | "True" | "TRUE" => visitor.visit_bool(true),
        "false" | "False" | "FALSE" => visitor.visit_bool(false),
        _ => {
            if let Some(number) = parse_integer(text, u64::from_str_radix) {
                visitor.visit_u64(number)
            } else if let Some(number) = negative(text) {
                visitor.visit_i64(number)
            } else if let Some(number) = float(text) {
                visitor.visit_f64(number)
            } else {
                visitor.visit_borrowed_str(text)
            }
        }
    }
}
