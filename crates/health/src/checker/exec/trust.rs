//! Which programs may run: those that root put into a directory that only root can write.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::environment::inside;
use crate::outcome::Fault;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
const EXECUTABLE: u32 = 0o111;
const ROOT: u32 = 0;

/// The path of a program in the directory.
///
/// # Errors
/// If there is none, or somebody else than the owner could have put it there or could replace it.
pub(crate) fn program(directory: &Path, name: &str, owner: u32) -> Result<PathBuf, Fault> {
    let path = inside(directory, Path::new(name))?;
    if !directory.is_absolute() {
        return Err(refused(directory, "not an absolute path"));
    }
    if !directory.exists() {
        return Err(refused(
            directory,
            "does not exist: `exec` checks are off until root makes it",
        ));
    }
    let mut above: Vec<&Path> = directory.ancestors().skip(1).collect();
    above.reverse();
    for part in above {
        let metadata = of_directory(part)?;
        // In a sticky directory, no user can replace another's file.
        let is_safe = metadata.mode() & WRITABLE_BY_OTHERS == 0 || metadata.mode() & STICKY != 0;
        if !is_safe || (metadata.uid() != owner && metadata.uid() != ROOT) {
            return Err(refused(part, "others than root can change what is in it"));
        }
    }
    let below = path.ancestors().skip(1).take_while(|it| it.starts_with(directory));
    for part in below {
        let metadata = of_directory(part)?;
        if metadata.uid() != owner || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(refused(part, "must be owned by root, and writable by no other user"));
        }
    }
    let metadata = read(&path)?;
    if !metadata.is_file() {
        return Err(refused(&path, "not a regular file"));
    }
    if metadata.uid() != owner || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(refused(&path, "must be owned by root, and writable by no other user"));
    }
    if metadata.mode() & EXECUTABLE == 0 {
        return Err(refused(&path, "not executable"));
    }
    Ok(path)
}

/// A directory that is no link to one.
fn of_directory(path: &Path) -> Result<Metadata, Fault> {
    let metadata = read(path)?;
    if metadata.is_dir() { Ok(metadata) } else { Err(refused(path, "not a directory")) }
}

fn read(path: &Path) -> Result<Metadata, Fault> {
    fs::symlink_metadata(path).map_err(|error| refused(path, &error.to_string()))
}

fn refused(path: &Path, error: &str) -> Fault {
    Fault::Setup { error: format!("{}: {error}", path.display()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::process::geteuid;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_program_of_the_owner_alone_may_run() {
        let made = tempfile::tempdir().unwrap();
        let directory = made.path().join("checks.d");
        let owner = geteuid().as_raw();
        let tried = |name: &str| program(&directory, name, owner);
        let refusal = |name: &str| match tried(name) {
            Err(Fault::Setup { error }) => error,
            other => panic!("{name}: {other:?}"),
        };
        assert!(refusal("a").contains("off until root makes it"));
        fs::create_dir(&directory).unwrap();
        set_mode(&directory, 0o755);
        assert!(refusal("a").contains("No such file"));
        let path = directory.join("a");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        set_mode(&path, 0o644);
        assert!(refusal("a").contains("not executable"));
        set_mode(&path, 0o755);
        assert_eq!(tried("a"), Ok(path.clone()));
        for mode in [0o775, 0o757] {
            set_mode(&path, mode);
            assert!(refusal("a").contains("writable by no other user"));
        }
        set_mode(&path, 0o755);
        for mode in [0o775, 0o757, 0o1777] {
            set_mode(&directory, mode);
            assert!(refusal("a").contains("checks.d: must be owned"));
        }
        set_mode(&directory, 0o755);
        set_mode(made.path(), 0o777);
        assert!(refusal("a").contains("others than root"));
        set_mode(made.path(), 0o1777);
        assert!(tried("a").is_ok());
        set_mode(made.path(), 0o755);
        // Another's.
        let other = program(&directory, "a", owner + 1);
        assert!(matches!(other, Err(Fault::Setup { .. })));
        for name in ["../checks.d/a", "/bin/sh", "", ".", "b/../a"] {
            assert!(refusal(name).contains("not the name of a file"), "{name}");
        }
        symlink("/bin/sh", directory.join("link")).unwrap();
        assert!(refusal("link").contains("not a regular file"));
        symlink("/bin", directory.join("bin")).unwrap();
        assert!(refusal("bin/sh").contains("not a directory"));
        let linked = made.path().join("linked.d");
        symlink(&directory, &linked).unwrap();
        assert!(program(&linked, "a", owner).is_err());
        // A directory below it counts like itself.
        let below = directory.join("below");
        fs::create_dir(&below).unwrap();
        fs::copy(&path, below.join("a")).unwrap();
        set_mode(&below, 0o755);
        assert!(tried("below/a").is_ok());
        set_mode(&below, 0o777);
        assert!(refusal("below/a").contains("below: must be owned"));
    }
}
