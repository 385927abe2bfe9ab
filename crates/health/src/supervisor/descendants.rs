//! All that a program started, also what left its process group and session: the supervisor adopts what
//! loses its parent (`PR_SET_CHILD_SUBREAPER`), so nothing gets away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus, getpid, kill_process, kill_process_group};

use super::reap_one;

/// How long to try. Killed processes end at once, except in the middle of a device's operation.
const PATIENCE: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(1);

/// Reaps whatever has ended; the status of the program once it has.
pub(crate) fn reap(program: Pid) -> Option<WaitStatus> {
    let mut status = None;
    while let Ok(Some((pid, ended))) = reap_one() {
        if pid == program {
            status = Some(ended);
        }
    }
    status
}

/// Kills the program's process group and every descendant of this process, until there is none.
pub(crate) fn kill_all(program: Pid) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        // Errors: it has ended, or is another user's and this process may not; it is then left.
        let _ = kill_process_group(program, Signal::KILL);
        for pid in descendants() {
            let _ = kill_process(pid, Signal::KILL);
        }
        loop {
            match reap_one() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return,
                Err(_) => break,
            }
        }
        thread::sleep(PAUSE);
    }
}

/// The descendants of this process, by `/proc`. Not every kernel lists children there (`PROC_CHILDREN`).
fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else { continue };
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![getpid().as_raw_nonzero().get()];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found.into_iter().filter_map(Pid::from_raw).collect()
}

/// The parent in `/proc/PID/stat`. The name of the program before it may contain anything.
fn parent(stat: &[u8]) -> Option<i32> {
    let name_ends = stat.iter().rposition(|it| *it == b')')?;
    let rest = std::str::from_utf8(&stat[name_ends + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_whatever_the_name() {
        assert_eq!(parent(b"12 (sleep) S 7 12 12 0"), Some(7));
        assert_eq!(parent(b"12 (a) S 1 (b)\xff) R 7 12"), Some(7));
        assert_eq!(parent(b"12 (sleep"), None);
        assert_eq!(parent(b"12 (sleep) S"), None);
    }
}
