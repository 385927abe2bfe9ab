//! Tests every fault of a single file in a directory of specs: no fault may delete an object that
//! was not removed on purpose.
//!
//! The expected outcome of each fault is defined in [`files`] beforehand. `cargo xtask sweep` runs
//! all of them and prints the table; among the other tests a part of them runs. `cargo xtask sweep
//! --git` does the same for everyday edits of a Git repository ([`git`]).

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;

use evenkeel_lab_tests::say;

use files::{Expected, Fault, Found, Layout, SpecFile, files};
use host::{Daemon, Host, Observed, Status};

mod files;
mod git;
mod host;

/// Every guard: overriding them all makes a good directory active again, whatever was before.
const ALL_GUARDS: &str =
    "empty,cut-off,take-over,mass-delete,wider-scope,missing-file,no-server,unbind-in-use";

/// The short sweep tests one of this many cuts.
const CUTS: usize = 8;

/// The outcome of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    BadSpec,
    /// By a guard of `apply`, or held by the daemon.
    Refused(BTreeSet<String>),
    InSync,
    Applied(String),
    /// Neither of these.
    Other(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSpec => f.write_str("bad spec"),
            Self::Refused(guards) => {
                let guards: Vec<&str> = guards.iter().map(|it| &**it).collect();
                write!(f, "refused: {}", guards.join(", "))
            }
            Self::InSync => f.write_str("in sync"),
            Self::Applied(changes) => write!(f, "applied: {changes}"),
            Self::Other(text) => write!(f, "?: {text}"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSpec => f.write_str("bad spec"),
            Self::Refused(guard) => write!(f, "refused: {guard}"),
            Self::InSync { .. } => f.write_str("in sync"),
            Self::Applied { changes, .. } => write!(f, "applied: {changes}"),
        }
    }
}

impl Expected {
    fn is_met(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::BadSpec, Outcome::BadSpec) | (Self::InSync { .. }, Outcome::InSync) => true,
            (Self::Refused(guard), Outcome::Refused(guards)) => guards.contains(*guard),
            (Self::Applied { changes, .. }, Outcome::Applied(found)) => changes == found,
            _ => false,
        }
    }

    /// Returns why the fault is accepted, or `None` if it is not.
    fn why(&self) -> Option<&'static str> {
        match self {
            Self::InSync { why } | Self::Applied { why, .. } => Some(why),
            Self::BadSpec | Self::Refused(_) => None,
        }
    }
}

/// A fault of a file in a layout, and its outcome.
struct Row {
    layout: Layout,
    file: &'static str,
    fault: Fault,
    apply: Option<Outcome>,
    watch: Option<Outcome>,
}

impl Row {
    fn is_met(&self) -> bool {
        [&self.apply, &self.watch].into_iter().flatten().all(|it| self.fault.expected.is_met(it))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, file, fault, apply, watch } = self;
        let scope = if layout.scope { "present" } else { "absent" };
        let mark = if layout.mark { "yes" } else { "no" };
        let shown = |outcome: &Option<Outcome>| {
            outcome.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        let (apply, watch) = (shown(apply), shown(watch));
        let watch = if apply == watch { "the same".to_owned() } else { watch };
        let verdict = if self.is_met() { "" } else { "  <-- UNEXPECTED" };
        write!(
            f,
            "{file:<14} {:<42} {scope:<8} {mark:<4} {apply:<48} {watch:<48} {}{verdict}",
            fault.name, fault.expected
        )
    }
}

/// Writes all files in their active version.
fn write_all(host: &Host, files: &[SpecFile], layout: Layout) {
    for file in files {
        fs::write(host.specs().join(file.name), file.good(layout)).unwrap();
    }
}

/// Puts this in place of a file.
fn put(path: &Path, found: &Found) {
    match found {
        // In place, as an editor or a copy does.
        Found::Text(text) => return fs::write(path, text).unwrap(),
        Found::NoPermission => {
            return fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
        }
        Found::Nothing | Found::DanglingLink | Found::Directory => fs::remove_file(path).unwrap(),
    }
    match found {
        Found::DanglingLink => symlink("nowhere", path).unwrap(),
        Found::Directory => fs::create_dir(path).unwrap(),
        Found::Nothing | Found::Text(_) | Found::NoPermission => {}
    }
}

/// Replaces whatever is there by the good text.
fn put_back(path: &Path, good: &str) {
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    } else if path.symlink_metadata().is_ok() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, good).unwrap();
}

/// Returns the outcome of an apply on a host whose state before is given.
fn applied(output: &Output, before: &Observed) -> Outcome {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let now = Observed::now();
    let changes = before.changes(&now);
    let outcome = match output.status.code() {
        Some(0) if changes.is_empty() => Outcome::InSync,
        Some(0) => Outcome::Applied(changes),
        Some(_) if !changes.is_empty() => Outcome::Other(format!("{}: {changes}", output.status)),
        Some(65) => Outcome::BadSpec,
        Some(3) => {
            let lines = stderr.lines().filter_map(|line| line.strip_prefix("refused: guard "));
            Outcome::Refused(
                lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect(),
            )
        }
        _ => Outcome::Other(stderr.into_owned()),
    };
    harmed(before, &now, outcome)
}

/// Returns the outcome of a change under the daemon on a host whose state before is given.
fn watched(daemon: &Daemon, generation: u64, before: &Observed) -> Outcome {
    let is_seen = |it: &Status| {
        it.is_bad() || it.held().is_some() || (it.generation() > generation && it.is_ok())
    };
    let status = daemon.wait_for(is_seen);
    let now = Observed::now();
    let changes = before.changes(&now);
    let outcome = match status {
        Err(status) => Outcome::Other(format!("{} {changes}", status.reasons())),
        Ok(status) if status.generation() > generation => match changes.is_empty() {
            true => Outcome::InSync,
            false => Outcome::Applied(changes),
        },
        Ok(_) if !changes.is_empty() => Outcome::Other(format!("not in force, and yet {changes}")),
        Ok(status) if status.is_bad() => Outcome::BadSpec,
        Ok(status) => Outcome::Refused(status.guards()),
    };
    harmed(before, &now, outcome)
}

/// Returns the outcome, unless another program lost an object, which no fault may cause.
fn harmed(before: &Observed, now: &Observed, outcome: Outcome) -> Outcome {
    let changes = before.foreign().changes(&now.foreign());
    match changes.is_empty() {
        true => outcome,
        false => Outcome::Other(format!("{outcome}; others lost {changes}")),
    }
}

/// Runs `apply` on every fault.
fn sweep_apply(rows: &mut [Row], files: &[SpecFile], layout: Layout) {
    let host = Host::new(layout.scope);
    write_all(&host, files, layout);
    let first = host.apply("");
    assert!(first.status.success(), "{first:?}");
    let before = Observed::now();
    for row in rows.iter_mut() {
        let file = files.iter().find(|it| it.name == row.file).unwrap();
        let path = host.specs().join(file.name);
        put(&path, &row.fault.found);
        row.apply = Some(applied(&host.apply(""), &before));
        put_back(&path, &file.good(layout));
        if !matches!(row.apply, Some(Outcome::BadSpec | Outcome::Refused(_))) {
            let back = host.apply(ALL_GUARDS);
            assert!(back.status.success(), "{}: {back:?}", row.fault.name);
            host.restore_foreign();
            assert_eq!(before.changes(&Observed::now()), "", "after {}", row.fault.name);
        }
    }
    let last = host.apply("");
    assert!(last.stdout.starts_with(b"In sync"), "{last:?}");
}

/// Runs one daemon through every fault, each from the good directory.
fn sweep_watch<'a>(rows: impl Iterator<Item = &'a mut Row>, files: &[SpecFile], layout: Layout) {
    let host = Host::new(layout.scope);
    write_all(&host, files, layout);
    let daemon = host.watch();
    let mut status = daemon.wait_for(Status::is_ok).unwrap();
    let before = Observed::now();
    for row in rows {
        let file = files.iter().find(|it| it.name == row.file).unwrap();
        let path = host.specs().join(file.name);
        put(&path, &row.fault.found);
        row.watch = Some(watched(&daemon, status.generation(), &before));
        status = daemon.status();
        let was_accepted = status.held().is_none() && !status.is_bad();
        let generation = status.generation() + u64::from(was_accepted);
        put_back(&path, &file.good(layout));
        status = back_to_good(&daemon, generation);
        host.restore_foreign();
        assert_eq!(before.changes(&Observed::now()), "", "after {}", row.fault.name);
    }
}

/// Waits until the good directory is active again, from that generation on.
fn back_to_good(daemon: &Daemon, generation: u64) -> Status {
    let is_good = |it: &Status| {
        it.is_ok() && it.generation() >= generation && it.held().is_none() && !it.is_bad()
    };
    daemon.wait_for(is_good).unwrap_or_else(|last| panic!("not back to good: {last:?}"))
}

/// Whether the whole sweep is to be run.
fn is_full() -> bool {
    std::env::var_os("EVENKEEL_SWEEP").is_some()
}

#[test]
fn no_fault_of_a_single_file_deletes_objects_that_were_not_removed_on_purpose() {
    let mut all = Vec::new();
    for (scope, mark) in [(true, false), (true, true), (false, false), (false, true)] {
        let layout = Layout { scope, mark };
        let files = files(layout);
        let mut rows = Vec::new();
        for file in &files {
            let faults = file.faults(layout).into_iter().enumerate();
            let faults = faults.filter(|(at, it)| is_full() || !it.is_cut || at % CUTS == 0);
            rows.extend(faults.map(|(_, fault)| Row {
                layout,
                file: file.name,
                fault,
                apply: None,
                watch: None,
            }));
        }
        // The short sweep runs `apply` in two of the layouts and the daemon in the others.
        if is_full() || scope != mark {
            sweep_apply(&mut rows, &files, layout);
        }
        if is_full() {
            sweep_watch(rows.iter_mut(), &files, layout);
        } else if scope == mark {
            sweep_watch(rows.iter_mut().step_by(3), &files, layout);
        }
        all.extend(rows);
    }
    report(&all);
    let unexpected: Vec<String> =
        all.iter().filter(|row| !row.is_met()).map(ToString::to_string).collect();
    assert!(unexpected.is_empty(), "{} rows:\n{}", unexpected.len(), unexpected.join("\n"));
}

/// Prints the table, or only its totals among the other tests.
fn report(rows: &[Row]) {
    let runs: usize =
        rows.iter().map(|row| [&row.apply, &row.watch].into_iter().flatten().count()).sum();
    if is_full() {
        say_expected(rows);
        say(&format!(
            "\n{:<14} {:<42} {:<8} {:<4} {:<48} {:<48} expected",
            "file", "fault", "scope", "mark", "apply", "watch"
        ));
        rows.iter().for_each(|row| say(&row.to_string()));
        say("");
    }
    let count =
        |is: fn(&Expected) -> bool| rows.iter().filter(|row| is(&row.fault.expected)).count();
    say(&format!(
        "sweep: {} faults, {runs} runs; expected: {} bad specs, {} refused, {} in sync, {} applied; \
         unexpected: {}",
        rows.len(),
        count(|it| matches!(it, Expected::BadSpec)),
        count(|it| matches!(it, Expected::Refused(_))),
        count(|it| matches!(it, Expected::InSync { .. })),
        count(|it| matches!(it, Expected::Applied { .. })),
        rows.iter().filter(|row| !row.is_met()).count(),
    ));
}

/// Prints the expectations: which faults are accepted and why, and which guard refuses the other
/// valid specs.
fn say_expected(rows: &[Row]) {
    let mut accepted: Vec<(String, BTreeSet<String>)> = Vec::new();
    let mut refused: Vec<(String, BTreeSet<String>)> = Vec::new();
    let add = |to: &mut Vec<(String, BTreeSet<String>)>, key: String, row: &Row| {
        let Layout { scope, mark } = row.layout;
        let layout = format!(
            "{}{}",
            if scope { "scope" } else { "no scope" },
            if mark { " and mark" } else { "" }
        );
        match to.iter_mut().find(|(known, _)| *known == key) {
            Some((_, layouts)) => _ = layouts.insert(layout),
            None => to.push((key, BTreeSet::from([layout]))),
        }
    };
    for row in rows {
        let Row { file, fault: Fault { name, expected, is_cut, .. }, .. } = row;
        let what = if *is_cut { "cut" } else { name };
        match (expected, expected.why()) {
            (_, Some(why)) => add(&mut accepted, format!("{file:<14} {what:<40} {why}"), row),
            (Expected::Refused(guard), _) => {
                add(&mut refused, format!("{file:<14} {what:<40} {guard}"), row);
            }
            _ => {}
        }
    }
    for (title, list) in [("Accepted, and why", accepted), ("Only a guard refuses", refused)] {
        say(&format!("\n{title}:"));
        for (line, layouts) in list {
            let layouts: Vec<String> = layouts.into_iter().collect();
            say(&format!("  {line}  [{}]", layouts.join("; ")));
        }
    }
}
