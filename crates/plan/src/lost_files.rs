//! Detects files of the spec in force whose content is gone: after a failed mount or a partial
//! checkout, a spec looks as if it listed less.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use evenkeel_model::{FileContents, ServiceKey};

use crate::{Op, Verb};

/// A file of the spec in force whose content is missing from the new spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFile {
    /// The objects that it listed.
    pub contents: FileContents,
    /// The reason why its content counts as lost.
    pub loss: Loss,
}

/// The reason why the content of a file counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The file is gone.
    Missing,
    /// The file lists new addresses or marks, and fewer than half of its former ones are left in
    /// any file.
    Replaced,
}

/// Returns the files of the spec in force that are gone, or list other objects, in the new spec.
///
/// A file is matched by its path, else by its base name, in case the directory changed. A renamed
/// or split file counts as gone too; objects that the new files also list are unaffected. A file
/// that listed nothing was emptied on purpose, and is not lost when it is removed later. If the
/// spec is a single file before and after, they match under any name.
pub fn lost_files(before: &[FileContents], after: &[FileContents]) -> Vec<LostFile> {
    let is_known = |file: &&FileContents| before.iter().any(|it| it.name == file.name);
    let (_, new): (Vec<_>, Vec<_>) = after.iter().partition(is_known);
    let left: BTreeSet<Identity> = after.iter().flat_map(identities).collect();
    let listed: BTreeSet<Identity> = before.iter().flat_map(identities).collect();
    let is_alone = before.len() == 1 && after.len() == 1;
    let lost = |file: &FileContents| {
        let by_path = after.iter().find(|it| it.name == file.name || is_alone);
        let found = by_path.or_else(|| {
            let same_base = |it: &&&FileContents| base_name(&it.name) == base_name(&file.name);
            new.iter().find(same_base).copied()
        });
        let Some(found) = found else {
            return Some(LostFile { contents: file.clone(), loss: Loss::Missing });
        };
        let former: BTreeSet<Identity> = identities(file).collect();
        let survivors = former.intersection(&left).count();
        let is_replaced = match is_alone {
            // `mass-delete` covers the other cases.
            true => former.len() > 1 && survivors == 0,
            false => survivors * 2 < former.len(),
        };
        let lists_others = identities(found).any(|it| !listed.contains(&it));
        // Names the file that exists, which is the one to repair.
        let contents = FileContents { name: found.name.clone(), ..file.clone() };
        (is_replaced && lists_others).then_some(LostFile { contents, loss: Loss::Replaced })
    };
    before.iter().filter(|file| !file.is_empty()).filter_map(lost).collect()
}

/// The identity of a service or a VIP for clients: its address, or its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Address(IpAddr),
    Marked(ServiceKey),
}

fn identities(file: &FileContents) -> impl Iterator<Item = Identity> + '_ {
    let addresses = file.addresses().map(Identity::Address);
    addresses.chain(file.marked().copied().map(Identity::Marked))
}

/// Whether [`lost_files`] may find anything for those operations. The check avoids reading both
/// specs a second time for changes of weights and additions.
pub fn may_have_lost_files(ops: &[Op], before: &[(&str, &[u8])], after: &[(&str, &[u8])]) -> bool {
    // Real servers go with their service, or are an everyday change of a file that is there.
    let takes = |op: &Op| {
        matches!(
            op,
            Op::DeleteService { .. }
                | Op::Unbind { .. }
                | Op::DeleteHostObject { .. }
                | Op::DeleteSync { .. }
                | Op::RestoreSysctl { .. }
        )
    };
    let edits = |op: &Op| op.verb() == Verb::Edit;
    let is_missing = || {
        let is_there = |name| after.iter().any(|(other, _)| base_name(other) == base_name(name));
        before.iter().any(|(name, _)| !is_there(name))
    };
    let is_same = || before.iter().map(|(_, text)| text).eq(after.iter().map(|(_, text)| text));
    (ops.iter().any(takes) && !is_same()) || (ops.iter().any(edits) && is_missing())
}

/// Returns the last component of a path.
pub(crate) fn base_name(name: &str) -> &str {
    Path::new(name).file_name().and_then(|base| base.to_str()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Binding, SyncState};

    use super::*;

    fn file(name: &str, services: &[&str]) -> FileContents {
        let services = services.iter().map(|it| ServiceKey::parse(it).expect("a service"));
        FileContents { name: name.into(), services: services.collect(), ..Default::default() }
    }

    fn losses(before: &[FileContents], after: &[FileContents]) -> Vec<(String, Loss)> {
        let lost = lost_files(before, after).into_iter();
        lost.map(|it| (it.contents.name, it.loss)).collect()
    }

    const A: &str = "10.0.0.1:80/tcp";
    const B: &str = "[2001:db8::1]:53/udp";
    const MARK: &str = "fwmark-7/ipv4";

    #[test]
    fn a_missing_file_is_lost_unless_it_listed_nothing() {
        let before = [file("a", &[A]), file("b", &[B]), file("empty", &[])];
        assert_eq!(losses(&before, &before[..1]), [("b".to_owned(), Loss::Missing)]);
        assert_eq!(losses(&before, &before), []);
        assert_eq!(losses(&before, &[file("a", &[A]), file("b", &[])]), [], "emptied");
    }

    #[test]
    fn a_file_is_found_under_another_directory_and_not_under_another_name() {
        let before = [file("/old/a.yaml", &[A, MARK]), file("/old/b.yaml", &[B])];
        assert_eq!(losses(&before, &[file("a.yaml", &[A]), file("b.yaml", &[])]), []);
        // Objects that the new files list are unaffected.
        let both = ["/old/a.yaml", "/old/b.yaml"].map(|name| (name.to_owned(), Loss::Missing));
        let renamed = [file("c.yaml", &[A, MARK]), file("d.yaml", &[B])];
        assert_eq!(losses(&before, &renamed), both);
    }

    #[test]
    fn a_file_replaced_by_that_of_another_cluster_is_lost() {
        let before = [file("a", &[A, MARK]), file("b", &[B])];
        let other = [file("a", &["10.9.9.9:80/tcp"]), file("b", &[B])];
        assert_eq!(losses(&before, &other), [("a".to_owned(), Loss::Replaced)]);
        // Half of its identities are left.
        for left in [MARK, "10.0.0.1:8080/tcp"] {
            let some = [file("a", &[left, "10.9.9.9:80/tcp"]), file("b", &[B])];
            assert_eq!(losses(&before, &some), []);
        }
        // Fewer, but it lists nothing else: the objects were removed on purpose.
        let three = [file("a", &[A, MARK, "10.0.0.2:80/tcp"]), file("b", &[B])];
        assert_eq!(losses(&three, &[file("a", &[A]), file("b", &[B])]), []);
        // One mark in common with another cluster does not make it the same file.
        let common = [file("a", &[MARK, "10.9.9.9:80/tcp"]), file("b", &[B])];
        assert_eq!(losses(&three, &common), [("a".to_owned(), Loss::Replaced)]);
        // The content moved to another file.
        let moved = [file("a", &["10.9.9.9:80/tcp"]), file("b", &[A, B])];
        assert_eq!(losses(&before, &moved), []);
    }

    #[test]
    fn a_spec_of_one_file_is_the_same_file_under_any_name() {
        let before = [file("a", &[A, MARK])];
        for name in ["a", "b"] {
            assert_eq!(losses(&before, &[file(name, &[A, "10.9.9.9:80/tcp"])]), []);
            let other = [file(name, &["10.9.9.9:80/tcp"])];
            assert_eq!(losses(&before, &other), [(name.to_owned(), Loss::Replaced)]);
            // The VIP of the only service may change.
            assert_eq!(losses(&[file("a", &[A])], &other), []);
        }
        let two = [file("b", &[B]), file("c", &["10.9.9.9:80/tcp"])];
        assert_eq!(losses(&before, &two), [("a".to_owned(), Loss::Missing)]);
    }

    #[test]
    fn vips_sync_daemons_and_sysctls_are_lost_with_their_file() {
        let vip = Binding::host([10, 0, 0, 1].into(), "eth0");
        let vips = FileContents { name: "v".into(), vips: [vip].into(), ..Default::default() };
        let sync = [SyncState::Master].into();
        let sync = FileContents { name: "s".into(), sync, ..Default::default() };
        let sysctls = ["net.ipv4.ip_forward".into()].into();
        let sysctls = FileContents { name: "c".into(), sysctls, ..Default::default() };
        let all = [vips, sync, sysctls];
        assert_eq!(lost_files(&all, &[]).len(), 3);
        assert_eq!(lost_files(&all, &all), []);
    }
}
