//! Identifies the calling thread's network namespace, and names it.
//!
//! A thread's namespace may differ from its process's, hence `/proc/thread-self`.

mod identity;

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::capability::Capability;
use crate::error::{Action, Error};
use crate::input_file::{AnonymousPipes, InputFile};

pub use identity::NamespaceIdentity;

/// Where ip-netns(8) keeps its namespaces.
const NAMED: &str = "/run/netns";

/// A setting that the kernel shows in its first namespace only (`net_core_table` of
/// net/core/sysctl_net_core.c), for callers that may not look at process 1.
const INITIAL_ONLY: &str = "/proc/sys/net/core/netdev_budget";

/// A network namespace and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its identity, which no other namespace has, not even one that was deleted.
    pub identity: NamespaceIdentity,
    /// Whether process 1 is in it, or, where that cannot be read, as by a process that is not
    /// root's, whether it is the kernel's first.
    pub initial: bool,
    /// Its name under `/run/netns`, the first in order if there are several.
    pub name: Option<String>,
}

/// The namespace that a name under `/run/netns` refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceState {
    /// The calling thread's namespace.
    This,
    /// Another one: the name of the calling thread's namespace was deleted, and a new namespace was
    /// created under it.
    Another,
    /// None, or none yet: ip-netns(8) first makes a file and then mounts the namespace on it.
    Nothing,
}

impl Namespace {
    /// The calling thread's.
    ///
    /// # Errors
    /// [`Error::Read`] if `/proc` is not there; [`Error::Io`] if the kernel cannot be asked.
    pub fn current() -> Result<Self, Error> {
        let (device, inode) = current_nsfs()?;
        let is_first = Path::new(INITIAL_ONLY).exists();
        Ok(Self {
            identity: NamespaceIdentity::current((device, inode), is_first)?,
            initial: match nsfs(Path::new("/proc/1/ns/net")) {
                Ok(init) => init == (device, inode),
                Err(_) => is_first,
            },
            name: name_in(Path::new(NAMED), (device, inode)),
        })
    }

    /// Moves the calling thread into the namespace of that name, as ip-netns(8) keeps them. Threads
    /// it starts from now on and sockets it opens are in there; everything else of the process
    /// stays where it is.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_SYS_ADMIN; [`Error::Io`] if there is no such namespace.
    pub fn enter(name: &str) -> Result<(), Error> {
        let action = || Action::EnterNamespace(name.to_owned());
        let failed = |source| Error::Io { action: action(), source };
        if name.is_empty() || name.contains('/') {
            return Err(failed(std::io::Error::from(std::io::ErrorKind::InvalidInput)));
        }
        let opened = InputFile::open(&Path::new(NAMED).join(name), AnonymousPipes::Refused);
        let file = opened.map_err(|error| failed(error.into()))?.file;
        let kind = rustix::thread::LinkNameSpaceType::Network;
        match rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind)) {
            Err(rustix::io::Errno::PERM) => {
                Err(Error::NotPermitted { action: action(), capability: Capability::SysAdmin })
            }
            moved => moved.map_err(|errno| failed(errno.into())),
        }
    }

    /// Checks which namespace that name refers to now.
    ///
    /// # Errors
    /// [`Error::Read`] if that cannot be determined.
    pub fn state(name: &str) -> Result<NamespaceState, Error> {
        state_in(Path::new(NAMED), name, current_nsfs()?)
    }

    /// A name that is safe as that of a directory: `init`, the name under `/run/netns`, or
    /// `net-INODE`.
    ///
    /// A name that has one of the other two forms, or that contains anything but ASCII letters,
    /// digits, `.`, `_` and `-`, is replaced by `net-INODE`.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.name {
            _ if self.initial => "init".into(),
            Some(name) if is_plain(name) => name.clone(),
            _ => format!("net-{}", self.identity.inode),
        }
    }

    /// Whether its label is a name that someone chose, so that a later namespace of that label is
    /// meant to take its place. An inode number says nothing about who uses it next.
    #[must_use]
    pub fn is_known_by_name(&self) -> bool {
        self.initial || self.name.as_deref().is_some_and(is_plain)
    }
}

/// Device and inode of the calling thread's network namespace: its identity among existing ones.
pub(crate) fn current_nsfs() -> Result<(u64, u64), Error> {
    let path = Path::new("/proc/thread-self/ns/net");
    nsfs(path).map_err(|source| Error::Read { path: path.into(), source })
}

fn nsfs(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn name_in(directory: &Path, wanted: (u64, u64)) -> Option<String> {
    // A host without named namespaces has no such directory: no name, and no error.
    let entries = fs::read_dir(directory).ok()?;
    entries
        .filter_map(Result::ok)
        .filter(|entry| nsfs(&entry.path()).is_ok_and(|found| found == wanted))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .min()
}

fn state_in(directory: &Path, name: &str, this: (u64, u64)) -> Result<NamespaceState, Error> {
    let path = directory.join(name);
    match nsfs(&path) {
        Ok(found) if found == this => Ok(NamespaceState::This),
        // All namespaces are on one device, and nothing else is.
        Ok((device, _)) if device == this.0 => Ok(NamespaceState::Another),
        Ok(_) => Ok(NamespaceState::Nothing),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(NamespaceState::Nothing),
        Err(source) => Err(Error::Read { path, source }),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name != "init"
        && !name.starts_with('.')
        && !name.starts_with("net-")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(initial: bool, name: Option<&str>) -> Namespace {
        let identity = NamespaceIdentity {
            boot: "0f3c".into(),
            cookie: Some(7),
            device: 4,
            inode: 4_026_532_008,
            is_first: false,
        };
        Namespace { identity, initial, name: name.map(str::to_owned) }
    }

    #[test]
    fn the_initial_namespace_is_init_whatever_its_name() {
        assert_eq!(namespace(true, None).label(), "init");
        assert_eq!(namespace(true, Some("blue")).label(), "init");
    }

    #[test]
    fn a_named_namespace_goes_by_its_name() {
        assert_eq!(namespace(false, Some("lb-1.blue_2")).label(), "lb-1.blue_2");
    }

    #[test]
    fn a_nameless_namespace_goes_by_its_inode() {
        assert_eq!(namespace(false, None).label(), "net-4026532008");
    }

    #[test]
    fn a_name_that_misleads_or_is_unsafe_is_passed_over() {
        for name in ["init", "net-7", ".", "..", ".hidden", "a b", "ü", "a\n", ""] {
            assert_eq!(namespace(false, Some(name)).label(), "net-4026532008", "{name:?}");
        }
    }

    #[test]
    fn the_first_name_with_the_same_inode_is_found() {
        let directory =
            std::env::temp_dir().join(format!("evenkeel-namespace-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("other"), "").unwrap();
        fs::write(directory.join("b"), "").unwrap();
        fs::hard_link(directory.join("b"), directory.join("a")).unwrap();
        let wanted = nsfs(&directory.join("b")).unwrap();
        let found = name_in(&directory, wanted);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.as_deref(), Some("a"));
        assert_eq!(name_in(&directory, wanted), None, "the directory is gone");
    }

    #[test]
    fn a_name_stands_for_this_namespace_another_one_or_none() {
        let here = Path::new("/proc/thread-self/ns");
        let this = current_nsfs().unwrap();
        let state = |name: &str| state_in(here, name, this).unwrap();
        assert_eq!(state("net"), NamespaceState::This);
        // A namespace of another kind, but on the same device.
        assert_eq!(state("mnt"), NamespaceState::Another);
        assert_eq!(state("nosuch"), NamespaceState::Nothing);
        assert_eq!(state("../status"), NamespaceState::Nothing);
        assert!(state_in(Path::new("/proc/version"), "net", this).is_err());
    }

    #[test]
    fn a_thread_is_in_one_namespace_at_a_time() {
        let namespace = Namespace::current().unwrap();
        let NamespaceIdentity { device, inode, .. } = namespace.identity;
        assert_eq!((device, inode), current_nsfs().unwrap());
    }

    #[test]
    fn only_a_label_that_someone_chose_is_a_name() {
        for (initial, name, is_known) in [
            (true, None, true),
            (true, Some("a b"), true),
            (false, Some("blue"), true),
            (false, Some("a b"), false),
            (false, Some("net-7"), false),
            (false, None, false),
        ] {
            assert_eq!(namespace(initial, name).is_known_by_name(), is_known, "{initial} {name:?}");
        }
    }
}
