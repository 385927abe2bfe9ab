//! Gives a tree of unpacked packages the shape of a host whose `/bin`, `/lib` and `/sbin` lead into `/usr`.
//!
//! Packages still hold files under the old names. Beneath such a host's tree in an overlay, its links
//! would hide them.

use std::fs;
use std::path::Path;

use crate::error::{Context, Error};

const TOP: [&str; 5] = ["bin", "lib", "lib32", "lib64", "sbin"];

/// Moves each of the old top-level folders of `tree` into its `usr`, where `host` has a link instead.
pub(crate) fn usr_merge(tree: &Path, host: &Path) -> Result<(), Error> {
    for name in TOP {
        let from = tree.join(name);
        let is_folder = fs::symlink_metadata(&from).is_ok_and(|meta| meta.is_dir());
        let is_link = fs::symlink_metadata(host.join(name)).is_ok_and(|meta| meta.is_symlink());
        if is_folder && is_link {
            merge(&from, &tree.join("usr").join(name))?;
        }
    }
    Ok(())
}

/// Moves `from` to `to`; folders on both sides are merged, a file of `from` replaces one of `to`.
fn merge(from: &Path, to: &Path) -> Result<(), Error> {
    let folders = is_dir(from) && is_dir(to);
    if !folders {
        fs::create_dir_all(to.parent().unwrap_or(to)).on("create", to)?;
        return fs::rename(from, to).on("move", from);
    }
    for entry in fs::read_dir(from).on("read", from)? {
        let entry = entry.on("read", from)?;
        merge(&entry.path(), &to.join(entry.file_name()))?;
    }
    fs::remove_dir(from).on("remove", from)
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, "x").expect("a file");
    }

    #[test]
    fn files_under_old_names_are_found_under_usr() {
        let tree = tempfile::tempdir().expect("a folder");
        let host = tempfile::tempdir().expect("a folder");
        symlink("usr/lib", host.path().join("lib")).expect("a link");
        symlink("usr/sbin", host.path().join("sbin")).expect("a link");
        write(&tree.path().join("lib/x/one.so"));
        write(&tree.path().join("usr/lib/x/two.so"));
        write(&tree.path().join("sbin/tool"));
        usr_merge(tree.path(), host.path()).expect("a merge");
        for path in ["usr/lib/x/one.so", "usr/lib/x/two.so", "usr/sbin/tool"] {
            assert!(tree.path().join(path).exists(), "{path}");
        }
        assert!(!tree.path().join("lib").exists());
    }

    #[test]
    fn a_host_with_real_folders_gets_the_tree_as_it_was() {
        let tree = tempfile::tempdir().expect("a folder");
        let host = tempfile::tempdir().expect("a folder");
        fs::create_dir(host.path().join("sbin")).expect("a folder");
        write(&tree.path().join("sbin/tool"));
        usr_merge(tree.path(), host.path()).expect("a merge");
        assert!(tree.path().join("sbin/tool").exists());
    }
}
