//! Which files of a directory belong to a spec.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::SourceError;

/// Whether a file of this name in a directory is a part of the spec. Hidden files are not: editors
/// create such temporary files, and Kubernetes the directories behind its symbolic links.
pub(super) fn is_spec(name: &OsStr) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|it| it == "yaml" || it == "yml")
        && !name.as_encoded_bytes().starts_with(b".")
}

/// Returns every spec file of a directory, by name.
///
/// # Errors
/// The directory cannot be read, or it has no spec in it.
pub(super) fn of_directory(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let fail = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let file = entry.path();
        if is_spec(&entry.file_name()) && !file.is_dir() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(SourceError::NoSpecInDirectory { path: path.to_owned() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_as_its_visible_yaml_files_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.yml", "a.yaml", ".a.yaml.swp", ".hidden.yaml", "notes.txt"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        fs::create_dir(folder.path().join("c.yaml")).expect("a folder");
        let files = of_directory(folder.path()).expect("it has specs");
        let expected = ["a.yaml", "b.yml"].map(|name| folder.path().join(name));
        assert_eq!(files, expected);
    }

    #[test]
    fn a_directory_without_a_spec_is_an_error_and_not_an_empty_spec() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = of_directory(folder.path());
        assert!(matches!(read, Err(SourceError::NoSpecInDirectory { .. })));
    }
}
