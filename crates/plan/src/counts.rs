//! The number of operations of each kind in a plan.

use serde::Serialize;

use crate::{Op, Verb};

/// Operations by verb.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Services, real servers and devices added.
    pub add: usize,
    /// Services and real servers edited in place.
    pub edit: usize,
    /// Real servers that drain.
    pub drain: usize,
    /// Services and real servers deleted; a service counts once, whatever real servers are deleted
    /// with it.
    pub delete: usize,
    /// VIPs bound.
    pub bind: usize,
    /// VIPs unbound.
    pub unbind: usize,
}

impl Counts {
    /// Counts those operations.
    pub fn of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Self {
        let mut counts = Self::default();
        for op in ops {
            *counts.slot(op.verb()) += 1;
        }
        counts
    }

    /// Returns the number of operations of that verb.
    pub fn get(mut self, verb: Verb) -> usize {
        *self.slot(verb)
    }

    fn slot(&mut self, verb: Verb) -> &mut usize {
        match verb {
            Verb::Add => &mut self.add,
            Verb::Edit => &mut self.edit,
            Verb::Drain => &mut self.drain,
            Verb::Delete => &mut self.delete,
            Verb::Bind => &mut self.bind,
            Verb::Unbind => &mut self.unbind,
        }
    }
}
