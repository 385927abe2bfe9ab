//! Network namespaces with a name, as ip-netns(8) keeps them.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::{enter_namespace, run, this_namespace};

/// A network namespace with a name of this process's own. It is deleted when this is dropped, and the calling thread
/// is back then in the namespace from which it was made.
#[derive(Debug)]
pub struct NamedNamespace {
    /// Its name under `/run/netns`.
    pub name: String,
    home: File,
}

impl NamedNamespace {
    /// Makes one, with `lo` up, whose name contains that word.
    ///
    /// # Panics
    /// Where that is not permitted.
    #[must_use]
    pub fn new(word: &str) -> Self {
        let name = format!("evenkeel-{word}-{}", std::process::id());
        let named = Self { name, home: this_namespace() };
        named.make();
        named
    }

    /// Makes the one of that name, with `lo` up.
    ///
    /// # Panics
    /// Where there is one.
    pub fn make(&self) {
        run(&format!("ip netns add {}", self.name));
        run(&format!("ip -n {} link set lo up", self.name));
    }

    /// Deletes it; it lives on while there is a process in it.
    ///
    /// # Panics
    /// Where there is none.
    pub fn delete(&self) {
        run(&format!("ip netns del {}", self.name));
    }

    /// Puts the calling thread into it.
    ///
    /// # Panics
    /// Where there is none.
    pub fn enter(&self) {
        let path = format!("/run/netns/{}", self.name);
        enter_namespace(&File::open(path).expect("a namespace of that name"));
    }

    /// Deletes it, makes one anew under the same name and puts the calling thread into that.
    ///
    /// # Panics
    /// Where there is none.
    pub fn replace(&self) {
        enter_namespace(&self.home);
        self.delete();
        self.make();
        self.enter();
    }

    /// What a command writes that is run in it.
    ///
    /// # Panics
    /// If it fails.
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
