//! What this host offers to checks: directories for the files that they name, and how programs run.

use std::path::{Component, Path, PathBuf};

use crate::outcome::Fault;

/// The host's part of checks. A spec names files in these directories and can bring none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Authorities, client certificates and keys.
    pub tls_directory: PathBuf,
    /// The authorities that the host trusts, as PEM.
    pub ca_bundle: PathBuf,
    /// What other programs write for `file` checks.
    pub file_directory: PathBuf,
    /// Programs.
    pub exec: ExecEnvironment,
}

/// How programs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecEnvironment {
    /// The programs. They can be used once root has made this directory.
    pub directory: PathBuf,
    /// The owner of the directory, its files and all above them: root.
    pub owner: u32,
    /// The user as whom a program runs that names none, if evenkeel runs as root.
    pub default_user: String,
    /// A command that does [`supervisor::run`](crate::supervisor::run): evenkeel itself.
    pub supervisor: Vec<PathBuf>,
}

impl Environment {
    /// The usual directories, and the command of a supervisor.
    pub fn of_host(supervisor: Vec<PathBuf>) -> Self {
        Self {
            tls_directory: "/etc/evenkeel/tls".into(),
            ca_bundle: "/etc/ssl/certs/ca-certificates.crt".into(),
            file_directory: "/run/evenkeel/checks".into(),
            exec: ExecEnvironment {
                directory: "/etc/evenkeel/checks.d".into(),
                owner: 0,
                default_user: "evenkeel-checks".to_owned(),
                supervisor,
            },
        }
    }
}

/// The path of a file that a check names.
///
/// # Errors
/// If the name leads out of the directory.
pub(crate) fn inside(directory: &Path, name: &Path) -> Result<PathBuf, Fault> {
    let is_name = |it| matches!(it, Component::Normal(_));
    if name.components().next().is_none() || !name.components().all(is_name) {
        let error = format!(
            "{}: not the name of a file in {} (no `..`, no `/` at its start)",
            name.display(),
            directory.display()
        );
        return Err(Fault::Setup { error });
    }
    Ok(directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_of_their_directory() {
        let directory = Path::new("/etc/evenkeel/tls");
        let path = |name: &str| inside(directory, Path::new(name)).ok();
        assert_eq!(path("ca.pem"), Some("/etc/evenkeel/tls/ca.pem".into()));
        assert_eq!(path("a/ca.pem"), Some("/etc/evenkeel/tls/a/ca.pem".into()));
        for bad in ["", ".", "..", "../ca.pem", "a/../../ca.pem", "/etc/shadow", "./a"] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }
}
