//! Unloads kernel modules temporarily.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::run;

/// The setting that names the program with which the kernel loads missing modules.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";

/// Whether a module is loaded.
#[must_use]
pub fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// Unloads a module and all others with the same prefix, such as `ip_vs` with its schedulers.
/// Namespaces of earlier tests may still use it for a while.
///
/// # Panics
/// Panics if it stays in use for longer than that.
pub fn unload(module: &str) {
    for _ in 0..100 {
        let listed = run("lsmod");
        let users = listed.lines().filter_map(|line| line.split_whitespace().next());
        let all: Vec<&str> = users.filter(|name| name.starts_with(module)).collect();
        if all.is_empty() {
            return;
        }
        // Modules in use are refused.
        let _in_use = Command::new("rmmod").args(all).output().expect("rmmod");
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{module} is still in use");
}

/// Runs `work` while module loading is disabled.
///
/// # Panics
/// Panics if the setting cannot be changed.
pub fn without_modprobe<T>(work: impl FnOnce() -> T) -> T {
    let program = std::fs::read_to_string(MODPROBE).expect("it can be read");
    let _restored = Restored(program);
    std::fs::write(MODPROBE, "/bin/false").expect("it can be changed");
    work()
}

/// Restores the setting when dropped, also if a test fails meanwhile.
struct Restored(String);

impl Drop for Restored {
    fn drop(&mut self) {
        std::fs::write(MODPROBE, self.0.trim()).expect("it can be restored");
    }
}
