//! Network namespaces with names, as ip-netns(8) manages them.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::{enter_namespace, run, this_namespace};

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
