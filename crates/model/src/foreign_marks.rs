//! What carries evenkeel's mark in the kernel, and is no longer evenkeel's.
//!
//! The mark of an object stays when the scope leaves it to another program: the kernel edits none of
//! them. So the journal records what was handed over, and a reading shows it as another program's.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Binding, HostObject, LeftScope, Live, Owner};

/// Objects of other programs with evenkeel's mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignMarks {
    /// Addresses.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub addresses: BTreeSet<Binding>,
    /// Host objects.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub host_objects: BTreeSet<HostObject>,
    /// Dummy devices.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dummies: BTreeSet<Box<str>>,
}

impl ForeignMarks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what leaves the scope and stays.
    pub fn hand_over(&mut self, kept: &LeftScope) {
        self.addresses.extend(kept.vips.iter().cloned());
        self.host_objects.extend(kept.host_objects.iter().cloned());
        self.dummies.extend(kept.dummies.iter().cloned());
    }

    /// Removes what is gone: what has its place later is not what was handed over.
    pub fn retain_live(&mut self, live: &Live) {
        self.addresses.retain(|binding| live.addresses.contains_key(binding));
        self.host_objects.retain(|object| !live.host_objects.is_gone(object));
        let links = live.links.as_ref();
        self.dummies.retain(|name| links.is_none_or(|links| links.contains_key(name)));
    }

    /// Shows them as other programs' in a reading.
    pub fn disown(&self, live: &mut Live) {
        if self.is_empty() {
            return;
        }
        let Self { addresses, host_objects, dummies } = self;
        let found = live.addresses.iter_mut().filter(|(binding, _)| addresses.contains(*binding));
        found.for_each(|(_, owner)| *owner = Owner::Other);
        let found = live.host_objects.objects.iter_mut();
        let found = found.filter(|(object, _)| host_objects.contains(*object));
        found.for_each(|(_, live)| live.owner = Owner::Other);
        let found = live.links.iter_mut().flatten();
        let found = found.filter(|(name, _)| dummies.contains(*name));
        found.for_each(|(_, link)| link.owner = Owner::Other);
    }
}
