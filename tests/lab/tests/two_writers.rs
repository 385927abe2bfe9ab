//! Two writers in two mount namespaces of one network namespace never hold the lock at once, although one
//! or the other is killed at random.
//!
//! `cargo xtask sweep --lock` makes 10,000 tries.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use evenkeel_control::Lock;
use evenkeel_lab_tests::dice::TestRng;
use evenkeel_lab_tests::{fresh_namespace, say};
use rustix::fs::{FlockOperation, flock};

/// What a writer reports for each try, as one byte.
const HELD: u8 = b'h';
const REFUSED: u8 = b'r';
const VIOLATION: u8 = b'!';

/// How long a writer has the lock, and how long it waits after a refusal.
const MOMENT: Duration = Duration::from_micros(200);

/// A writer that tries until it is killed. Its mount namespace has an own `/run` and `/tmp`.
fn writer(witness: &Path, results: &Sender<u8>) -> Child {
    const SCRIPT: &str = "mount -t tmpfs none /run && mount -t tmpfs none /var/tmp && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "two_writers::writes"]);
    command.env("EVENKEEL_WITNESS", witness).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = child.stderr.take().unwrap();
    let results = results.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            for byte in &bytes[..length] {
                let _sent = results.send(*byte);
            }
        }
    });
    child
}

/// Run by the test of this file; it tests nothing by itself.
///
/// While it holds the lock, it also holds a lock on a file that both writers have open. The file has a high
/// descriptor, so that the kernel closes it first when it ends a killed process: if another process holds
/// the lock on the file, that process holds the lock of the namespace, too.
#[test]
#[ignore = "run by another test"]
fn writes() {
    let witness = File::open(std::env::var_os("EVENKEEL_WITNESS").unwrap()).unwrap();
    let witness = rustix::io::fcntl_dupfd_cloexec(witness, 500).unwrap();
    let report = |result: u8| std::io::stderr().write_all(&[result]).unwrap();
    loop {
        let Some(guard) = Lock::of_namespace().try_acquire().unwrap() else {
            report(REFUSED);
            std::thread::sleep(MOMENT);
            continue;
        };
        match flock(&witness, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => report(HELD),
            Err(_) => report(VIOLATION),
        }
        // The other one tries meanwhile.
        std::thread::sleep(MOMENT);
        flock(&witness, FlockOperation::Unlock).unwrap();
        drop(guard);
    }
}

/// Counts results until there are so many. A writer is killed sometimes, when both have been at work for a
/// while.
fn count(
    tries: usize,
    results: &Receiver<u8>,
    dice: &mut TestRng,
    mut kill: impl FnMut(usize),
) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    let mut refusals = 0;
    for _ in 0..tries {
        let result = results.recv_timeout(Duration::from_secs(60)).expect("the writers write");
        *counts.entry(char::from(result)).or_default() += 1;
        // A refusal shows that both are at work.
        refusals += usize::from(result == REFUSED);
        if refusals > 10 && dice.percent(10) {
            refusals = 0;
            kill(dice.below(2));
        }
    }
    counts
}

#[test]
fn in_two_mount_namespaces_never_hold_the_lock_at_once() {
    let tries = if std::env::var_os("EVENKEEL_SWEEP").is_some() { 10_000 } else { 500 };
    fresh_namespace();
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    File::create(&witness).unwrap();
    let (sender, results) = channel();
    let mut dice = TestRng::new(u64::from(std::process::id()));
    let mut writers = [writer(&witness, &sender), writer(&witness, &sender)];
    let mut killed = 0;
    let counts = count(tries, &results, &mut dice, |chosen| {
        let chosen = &mut writers[chosen];
        chosen.kill().unwrap();
        chosen.wait().unwrap();
        *chosen = writer(&witness, &sender);
        killed += 1;
    });
    for mut writer in writers {
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
    let of = |result: u8| counts.get(&char::from(result)).copied().unwrap_or_default();
    say(&format!(
        "{tries} tries, {killed} writers killed: {} held, {} refused, {} at once",
        of(HELD),
        of(REFUSED),
        of(VIOLATION)
    ));
    assert_eq!((of(VIOLATION), of(HELD) + of(REFUSED)), (0, tries), "{counts:?}");
    assert!(of(HELD) > 0 && of(REFUSED) > 0 && killed > 0, "{counts:?}");
}
