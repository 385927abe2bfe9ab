//! Files of the spec in force whose content is gone: a failed mount or half a checkout looks like a
//! spec that lists less.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use evenkeel_model::{FileContents, ServiceKey};

use crate::{Op, Verb};

/// A file of the spec in force whose content is gone from the new spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFile {
    /// What it listed.
    pub contents: FileContents,
    /// Why its content is taken for lost.
    pub loss: Loss,
}

/// Why a file's content is taken for lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The file is gone.
    Missing,
    /// The file lists new addresses or marks, and fewer than half of its former ones are left in
    /// any file.
    Replaced,
}

/// The files of the spec in force that are gone, or list other objects, in the new spec.
///
/// A file is found again by its path, else by its base name, as where another directory is named.
/// One that is renamed or split is gone as well; what it listed and the new files list too does not
/// go with it. One that lists nothing any more was emptied on purpose, and is not lost when it goes
/// later. A spec of one file before and after is the same file whatever its name.
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
            // The guard `mass-delete` judges the others.
            true => former.len() > 1 && survivors == 0,
            false => survivors * 2 < former.len(),
        };
        let lists_others = identities(found).any(|it| !listed.contains(&it));
        // The file to mend is the one that is there.
        let contents = FileContents { name: found.name.clone(), ..file.clone() };
        (is_replaced && lists_others).then_some(LostFile { contents, loss: Loss::Replaced })
    };
    before.iter().filter(|file| !file.is_empty()).filter_map(lost).collect()
}

/// What clients know a service or a VIP by: its address, or its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Address(IpAddr),
    Marked(ServiceKey),
}

fn identities(file: &FileContents) -> impl Iterator<Item = Identity> + '_ {
    let addresses = file.addresses().map(Identity::Address);
    addresses.chain(file.marked().copied().map(Identity::Marked))
}

/// Whether [`lost_files`] may have something to say of those operations. It takes a second reading
/// of both specs, which changes of weights and additions are spared.
pub fn may_have_lost_files(ops: &[Op], before: &[(&str, &[u8])], after: &[(&str, &[u8])]) -> bool {
    let takes = |op: &Op| {
        matches!(op.verb(), Verb::Delete | Verb::Unbind) || matches!(op, Op::EditSysctl { .. })
    };
    let edits = |op: &Op| op.verb() == Verb::Edit;
    let is_missing = || {
        let is_there = |name| after.iter().any(|(other, _)| base_name(other) == base_name(name));
        before.iter().any(|(name, _)| !is_there(name))
    };
    let is_same = || before.iter().map(|(_, text)| text).eq(after.iter().map(|(_, text)| text));
    (ops.iter().any(takes) && !is_same()) || (ops.iter().any(edits) && is_missing())
}

/// The last part of a path.
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
    fn a_file_that_is_gone_is_lost_unless_it_listed_nothing() {
        let before = [file("a", &[A]), file("b", &[B]), file("empty", &[])];
        assert_eq!(losses(&before, &before[..1]), [("b".to_owned(), Loss::Missing)]);
        assert_eq!(losses(&before, &before), []);
        assert_eq!(losses(&before, &[file("a", &[A]), file("b", &[])]), [], "emptied");
    }

    #[test]
    fn a_file_is_found_under_another_directory_and_not_under_another_name() {
        let before = [file("/old/a.yaml", &[A, MARK]), file("/old/b.yaml", &[B])];
        assert_eq!(losses(&before, &[file("a.yaml", &[A]), file("b.yaml", &[])]), []);
        // What new files list of it does not go with it.
        let both = ["/old/a.yaml", "/old/b.yaml"].map(|name| (name.to_owned(), Loss::Missing));
        let renamed = [file("c.yaml", &[A, MARK]), file("d.yaml", &[B])];
        assert_eq!(losses(&before, &renamed), both);
    }

    #[test]
    fn a_file_of_another_cluster_in_its_place_is_a_loss() {
        let before = [file("a", &[A, MARK]), file("b", &[B])];
        let other = [file("a", &["10.9.9.9:80/tcp"]), file("b", &[B])];
        assert_eq!(losses(&before, &other), [("a".to_owned(), Loss::Replaced)]);
        // Half of what clients know it by is left.
        for left in [MARK, "10.0.0.1:8080/tcp"] {
            let some = [file("a", &[left, "10.9.9.9:80/tcp"]), file("b", &[B])];
            assert_eq!(losses(&before, &some), []);
        }
        // Fewer, but it lists nothing else: that was taken out on purpose.
        let three = [file("a", &[A, MARK, "10.0.0.2:80/tcp"]), file("b", &[B])];
        assert_eq!(losses(&three, &[file("a", &[A]), file("b", &[B])]), []);
        // One mark in common with another cluster does not make it the same file.
        let common = [file("a", &[MARK, "10.9.9.9:80/tcp"]), file("b", &[B])];
        assert_eq!(losses(&three, &common), [("a".to_owned(), Loss::Replaced)]);
        // It moved to another file.
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
