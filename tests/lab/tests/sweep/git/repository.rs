//! Two clones: the one in which authors commit, and the one that a host has pulled.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clone in which edits are committed.
pub(super) struct Repository {
    author: PathBuf,
    /// The directory that a daemon watches.
    host: PathBuf,
}

impl Repository {
    /// Creates it with a first commit of those files, and clones it to the directory of the host's
    /// spec.
    pub(super) fn new(author: PathBuf, host: PathBuf, texts: &BTreeMap<String, String>) -> Self {
        fs::create_dir(&author).unwrap();
        let repository = Self { author, host };
        repository.git(&repository.author, &["init", "--quiet"]);
        repository.commit(texts, "the first specs");
        let from = repository.author.to_str().unwrap();
        repository.git(&repository.host, &["clone", "--quiet", from, "."]);
        repository
    }

    /// Commits these files in place of the existing ones.
    pub(super) fn commit(&self, texts: &BTreeMap<String, String>, message: &str) {
        for name in self.read(&self.author).into_keys().filter(|it| !texts.contains_key(it)) {
            fs::remove_file(self.author.join(name)).unwrap();
        }
        for (name, text) in texts {
            fs::write(self.author.join(name), text).unwrap();
        }
        self.git(&self.author, &["add", "--all"]);
        self.git(&self.author, &["commit", "--quiet", "--allow-empty", "--message", message]);
    }

    /// Reverts the last commit.
    pub(super) fn revert(&self) {
        self.git(&self.author, &["revert", "--no-edit", "HEAD"]);
    }

    /// Updates the host's clone.
    pub(super) fn pull(&self) {
        self.git(&self.host, &["pull", "--quiet", "--ff-only"]);
    }

    /// Returns the files that are checked out at the host.
    pub(super) fn pulled(&self) -> BTreeMap<String, String> {
        self.read(&self.host)
    }

    fn read(&self, folder: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.extension().is_some_and(|it| it == "yaml"));
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        files.map(|path| (name(&path), fs::read_to_string(path).unwrap())).collect()
    }

    fn git(&self, folder: &Path, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.current_dir(folder).args(arguments);
        // The machine's own configuration is ignored.
        command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Operator");
            command.env(format!("GIT_{who}_EMAIL"), "operator@example.org");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
    }
}
