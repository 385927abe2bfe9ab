//! Files of the spec in force whose content is gone: a failed mount or half a checkout looks like a
//! spec that lists less.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use evenkeel_model::{FileContents, ServiceKey};

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
    /// The file is gone, and no new one holds at least half of what it listed.
    OmittedSteps,
    /// The file lists other objects, and none of its addresses and marks is left in any file.
    Replaced,
}

/// The files of the spec in force whose content is gone from the new spec.
///
/// A file is found again by its path; else by its base name, as where another directory is named;
/// else as renamed or split, where new files hold at least half of what it listed. One that lists
/// nothing any more was emptied on purpose, and is not lost when it goes later. A spec of one file
/// before and after is judged as a whole, by the guard `mass-delete`, whatever its name.
pub fn lost_files(before: &[FileContents], after: &[FileContents]) -> Vec<LostFile> {
    if let ([_], [_]) = (before, after) {
        return Vec::new();
    }
    let is_known = |file: &&FileContents| before.iter().any(|it| it.name == file.name);
    let (_, new): (Vec<_>, Vec<_>) = after.iter().partition(is_known);
    let addresses: BTreeSet<IpAddr> = after.iter().flat_map(FileContents::addresses).collect();
    let marked: BTreeSet<&ServiceKey> = after.iter().flat_map(FileContents::marked).collect();
    let loss = |file: &FileContents| {
        let by_path = after.iter().find(|it| it.name == file.name);
        let found = by_path.or_else(|| {
            let same_base = |it: &&&FileContents| base_name(&it.name) == base_name(&file.name);
            new.iter().find(same_base).copied()
        });
        let Some(found) = found else {
            let is_renamed = file.shared_with(&new) * 2 >= file.len();
            return (!is_renamed).then_some(Loss::OmittedSteps);
        };
        let is_left = file.addresses().any(|it| addresses.contains(&it))
            || file.marked().any(|it| marked.contains(it));
        let lists = |file: &FileContents| !(file.services.is_empty() && file.vips.is_empty());
        (lists(file) && lists(found) && !is_left).then_some(Loss::Replaced)
    };
    let listing = before.iter().filter(|file| !file.is_empty());
    listing
        .filter_map(|file| Some(LostFile { loss: loss(file)?, contents: file.clone() }))
        .collect()
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
        assert_eq!(losses(&before, &before[..1]), [("b".to_owned(), Loss::OmittedSteps)]);
        assert_eq!(losses(&before, &before), []);
        assert_eq!(losses(&before, &[file("a", &[A]), file("b", &[])]), [], "emptied");
    }

    #[test]
    fn a_file_is_found_under_another_directory_and_under_another_name() {
        let before = [file("/old/a.yaml", &[A, MARK]), file("/old/b.yaml", &[B])];
        assert_eq!(losses(&before, &[file("a.yaml", &[A]), file("b.yaml", &[])]), []);
        assert_eq!(losses(&before, &[file("c.yaml", &[A]), file("d.yaml", &[B])]), []);
        let none = [file("c.yaml", &[B]), file("d.yaml", &["10.0.0.9:80/tcp"])];
        assert_eq!(losses(&before, &none), [("/old/a.yaml".to_owned(), Loss::OmittedSteps)]);
        // Split in two.
        let split = [file("c.yaml", &[A]), file("d.yaml", &[MARK]), file("/old/b.yaml", &[B])];
        assert_eq!(losses(&before, &split), []);
    }

    #[test]
    fn a_file_of_another_cluster_in_its_place_is_a_loss() {
        let before = [file("a", &[A, MARK]), file("b", &[B])];
        let other = [file("a", &["10.9.9.9:80/tcp"]), file("b", &[B])];
        assert_eq!(losses(&before, &other), [("a".to_owned(), Loss::Replaced)]);
        // One of its marks, or another port of its address, is left.
        for left in [MARK, "10.0.0.1:8080/tcp"] {
            assert_eq!(losses(&before, &[file("a", &[left]), file("b", &[B])]), []);
        }
        // It moved to another file.
        let moved = [file("a", &["10.9.9.9:80/tcp"]), file("b", &[A, B])];
        assert_eq!(losses(&before, &moved), []);
    }

    #[test]
    fn a_spec_of_one_file_is_no_matter_of_files() {
        let before = [file("a", &[A, MARK])];
        for name in ["a", "b"] {
            assert_eq!(losses(&before, &[file(name, &["10.9.9.9:80/tcp"])]), []);
        }
        let two = [file("b", &[B]), file("c", &["10.9.9.9:80/tcp"])];
        assert_eq!(losses(&before, &two), [("a".to_owned(), Loss::OmittedSteps)]);
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
