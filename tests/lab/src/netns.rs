//! Network namespaces with names, as ip-netns(8) manages them.

use std::cmp::Ordering;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use crate::{enter_namespace, fresh_namespace, run, this_namespace};

/// A network namespace with a name that no other process uses. Dropping it deletes the namespace
/// and moves the calling thread back into the namespace from which it was created.
#[derive(Debug)]
pub struct NamedNamespace {
    /// The name under `/run/netns`.
    pub name: String,
    home: File,
}

impl NamedNamespace {
    /// Creates a namespace with `lo` up whose name contains this word.
    ///
    /// # Panics
    /// Panics without the privilege to do so.
    #[must_use]
    pub fn new(word: &str) -> Self {
        let name = format!("evenkeel-{word}-{}", std::process::id());
        let named = Self { name, home: this_namespace() };
        named.make();
        named
    }

    /// Creates the namespace of that name, with `lo` up.
    ///
    /// # Panics
    /// Panics if it exists.
    pub fn make(&self) {
        run(&format!("ip netns add {}", self.name));
        run(&format!("ip -n {} link set lo up", self.name));
    }

    /// Deletes it; it continues to exist while a process is in it.
    ///
    /// # Panics
    /// Panics if it does not exist.
    pub fn delete(&self) {
        run(&format!("ip netns del {}", self.name));
    }

    /// Moves the calling thread into it.
    ///
    /// # Panics
    /// Panics if it does not exist.
    pub fn enter(&self) {
        let path = format!("/run/netns/{}", self.name);
        enter_namespace(&File::open(path).expect("a namespace of that name"));
    }

    /// Deletes it, creates another one under the same name and moves the calling thread into that.
    ///
    /// # Panics
    /// Panics if it does not exist.
    pub fn replace(&self) {
        enter_namespace(&self.home);
        self.delete();
        self.make();
        self.enter();
    }

    /// Runs a command in it and returns its output.
    ///
    /// # Panics
    /// Panics if it fails.
    #[must_use]
    pub fn run(&self, command: &str) -> String {
        run(&format!("ip netns exec {} {command}", self.name))
    }
}

impl Drop for NamedNamespace {
    fn drop(&mut self) {
        enter_namespace(&self.home);
        // A test may have deleted it.
        let mut command = Command::new("ip");
        let _deleted = command.args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

/// Moves the calling thread into a new namespace, with `lo` up, that has the inode number of its
/// current one. The current one no longer exists then.
///
/// The kernel gives each namespace the lowest number that is free, and the files below `/proc/net`
/// of a network namespace the following ones (`ns_alloc_inum` and `proc_alloc_inum` in fs/proc).
///
/// # Panics
/// Panics without the privilege to do so, and if the kernel does not free the number within a
/// minute, as when another process is in the current namespace.
pub fn replace_with_same_inode() {
    let former = this_namespace();
    let wanted = inode(&former);
    // Each namespace that is kept has numbers below the wanted one, except the last, in which the
    // thread is.
    let mut lower = Vec::new();
    while lower.last().is_none_or(|last| inode(last) < wanted) {
        fresh_namespace();
        lower.push(this_namespace());
    }
    drop(former);
    let uts = || File::open("/proc/thread-self/ns/uts").expect("the thread's UTS namespace");
    let home = uts();
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        // A UTS namespace has one number and no files.
        unshare(CloneFlags::CLONE_NEWUTS).expect("a new UTS namespace");
        let next = uts();
        setns(&home, CloneFlags::CLONE_NEWUTS).expect("the former UTS namespace");
        match inode(&next).cmp(&wanted) {
            Ordering::Less => lower.push(next),
            Ordering::Equal => {
                drop(next);
                let elsewhere = this_namespace();
                fresh_namespace();
                if inode(&this_namespace()) == wanted {
                    return;
                }
                enter_namespace(&elsewhere);
            }
            // The kernel deletes a network namespace asynchronously.
            Ordering::Greater => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    panic!("inode number {wanted} is not used again");
}

/// Returns the inode number of a namespace.
fn inode(namespace: &File) -> u64 {
    namespace.metadata().expect("a namespace").ino()
}
