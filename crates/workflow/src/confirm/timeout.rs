//! The confirm timeout: waits until a pending apply has to be rolled back, and rolls it back.

use std::time::{Duration, Instant};

use evenkeel_control::PendingMarker;
use evenkeel_engine::{
    Found, Journal, Kernel, KernelError, Notice, Pending, PendingState, StateDir,
};

use super::rollback::abort_in;
use crate::error::WorkflowError;
use crate::wall_clock::now;

/// How the wait for a confirmation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutEnd {
    /// The apply was confirmed or rolled back by another process, or an earlier boot made it.
    NotPending,
    /// The apply was rolled back.
    RolledBack {
        /// Whether everything that it touched was restored.
        is_complete: bool,
    },
}

/// Waits until the apply with that id has to be rolled back, because it was not confirmed in time or
/// ended prematurely, and rolls it back. A notice in the journal reports it.
///
/// `connect` opens the kernel, given the journal of the apply. `reserve` sets aside, while its argument is
/// true, what a rollback needs to open files and sockets, and releases it otherwise. An attempt that fails
/// is repeated until one succeeds.
pub fn roll_back_at_timeout<K: Kernel>(
    state: StateDir,
    id: &str,
    marker: PendingMarker,
    mut connect: impl FnMut(&Journal) -> Result<K, KernelError>,
    mut reserve: impl FnMut(bool),
) -> TimeoutEnd {
    let mut watch = PendingWatch { id, known: None };
    let mut end = None;
    for pause in RETRIES.into_iter().chain(std::iter::repeat(RETRIES[RETRIES.len() - 1])) {
        let attempt = wait::<K>(&state, &mut watch, &mut end, &marker, &mut reserve);
        match attempt
            .and_then(|due| due.map(|due| roll_back(due, &state, &mut connect)).transpose())
        {
            // The lock is released after the marker, so that the next writer does not find a marker
            // without an apply.
            Ok(Some((is_complete, lock))) => {
                drop(marker);
                drop(lock);
                return TimeoutEnd::RolledBack { is_complete };
            }
            Ok(None) => return TimeoutEnd::NotPending,
            Err(_) => std::thread::sleep(pause),
        }
    }
    TimeoutEnd::NotPending
}

/// Between an attempt that failed and the next one; the last one is for all further ones.
const RETRIES: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// Rolls the apply back and reports it with a notice in the journal. Returns whether everything was
/// restored, and the lock.
fn roll_back<K: Kernel>(
    due: TimedOut<K::LockGuard>,
    state: &StateDir,
    connect: &mut impl FnMut(&Journal) -> Result<K, KernelError>,
) -> Result<(bool, K::LockGuard), WorkflowError> {
    let TimedOut { mut journal, pending, lock } = due;
    let is_unfinished = matches!(pending.state(now()), PendingState::Unfinished);
    // A damaged journal is set aside, and does not prevent the rollback.
    let _aside = state.read(true);
    let mut kernel = connect(&journal)?;
    let is_complete = abort_in(&mut kernel, state, &mut journal)?.rollback.is_clean();
    let notice = Notice::RolledBack { begun: pending.begun, is_unfinished, is_complete };
    if journal.notices.last() != Some(&notice) {
        journal.notices.push(notice);
    }
    state.write(&journal)?;
    Ok((is_complete, lock))
}

/// An apply that has to be rolled back.
struct TimedOut<L> {
    /// The journal with the apply.
    journal: Journal,
    pending: Pending,
    lock: L,
}

/// Waits until the apply has to be rolled back; `None` if it is no longer pending.
fn wait<K: Kernel>(
    state: &StateDir,
    watch: &mut PendingWatch<'_>,
    end: &mut Option<Instant>,
    marker: &PendingMarker,
    reserve: &mut impl FnMut(bool),
) -> Result<Option<TimedOut<K::LockGuard>>, WorkflowError> {
    let lock = K::Lock::default();
    loop {
        marker.maintain();
        let remaining = match watch.poll(state) {
            TimeLeft::Nothing => return Ok(None),
            remaining => remaining,
        };
        // The wall clock may be stepped, so the remaining time is measured from here on.
        let is_over = match remaining {
            TimeLeft::Time(remaining) => {
                Instant::now() >= *end.get_or_insert(Instant::now() + remaining)
            }
            TimeLeft::Nothing | TimeLeft::Unknown | TimeLeft::Unfinished => true,
        };
        reserve(!is_over);
        // The applying process holds the lock while it runs.
        if is_over && let Some(lock) = K::try_lock(&lock)? {
            // The apply may have finished between the reading and the lock.
            match (remaining, watch.poll(state)) {
                (_, TimeLeft::Nothing | TimeLeft::Unknown) => return Ok(None),
                (TimeLeft::Unknown | TimeLeft::Unfinished, TimeLeft::Time(_)) => {}
                _ => {
                    let timed_out = |(journal, pending): (Box<Journal>, Pending)| TimedOut {
                        journal: *journal,
                        pending,
                        lock,
                    };
                    return Ok(watch.known.clone().map(timed_out));
                }
            }
        }
        std::thread::sleep(PendingMarker::POLL_INTERVAL);
    }
}

/// Follows the pending apply in the journal. Only an intact journal without it ends the wait: that is how
/// `confirm` confirms it. A journal that is lost or damaged meanwhile is remembered.
struct PendingWatch<'a> {
    /// The id of the apply.
    id: &'a str,
    /// The last journal with the apply, and the apply itself.
    known: Option<(Box<Journal>, Pending)>,
}

/// The time that is left to confirm an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeLeft {
    /// It is no longer pending.
    Nothing,
    /// It is not in the journal yet.
    Unknown,
    /// Its steps are not done.
    Unfinished,
    /// This much.
    Time(Duration),
}

impl PendingWatch<'_> {
    /// Reads the journal, and returns the time that is left.
    fn poll(&mut self, state: &StateDir) -> TimeLeft {
        match state.find() {
            Ok(Found::Valid(journal)) => match &journal.pending {
                Some(pending) if *pending.id == *self.id => {
                    let pending = pending.clone();
                    self.known = Some((journal, pending));
                }
                _ if self.known.is_some() => return TimeLeft::Nothing,
                _ => {}
            },
            // The journal is lost or cannot be read now; its last content is remembered.
            Ok(Found::Nothing | Found::Damaged(_)) | Err(_) => {}
        }
        let Some((_, pending)) = &self.known else { return TimeLeft::Unknown };
        match pending.state(now()) {
            PendingState::EarlierBoot => TimeLeft::Nothing,
            PendingState::Unfinished => TimeLeft::Unfinished,
            PendingState::Waiting { remaining } => {
                TimeLeft::Time(Duration::from_secs(remaining.into()))
            }
            PendingState::Overdue => TimeLeft::Time(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A journal in a directory of its own, with a pending apply whose deadline is in so many seconds.
    fn waiting(seconds: u64) -> (tempfile::TempDir, StateDir, Journal, Pending) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        let pending = Pending::begin(now(), 600, Vec::new()).expect("this boot has a name");
        let pending = Pending { deadline: Some(now() + seconds), ..pending };
        let journal = Journal { pending: Some(pending.clone()), ..Journal::default() };
        state.write(&journal).expect("it can be written");
        (folder, state, journal, pending)
    }

    #[test]
    fn a_journal_that_is_lost_meanwhile_is_remembered() {
        let (folder, state, journal, pending) = waiting(600);
        let file = folder.path().join("init/journal.json");
        let losses: [fn(&std::path::Path); 4] = [
            |file| fs::remove_file(file).expect("it is there"),
            |file| fs::write(file, "{\"version\":2,").expect("it can be written"),
            |file| fs::write(file, "{\"version\":9}").expect("it can be written"),
            |file| {
                fs::remove_file(file).expect("it is there");
                fs::create_dir(file).expect("a folder");
            },
        ];
        let mut watch = PendingWatch { id: &pending.id, known: None };
        for lose in losses {
            state.write(&journal).expect("it can be written");
            assert!(matches!(watch.poll(&state), TimeLeft::Time(_)));
            lose(&file);
            assert!(matches!(watch.poll(&state), TimeLeft::Time(_)));
            let known = watch.known.as_ref().map(|(journal, _)| (**journal).clone());
            assert_eq!(known, Some(journal.clone()));
        }
    }

    #[test]
    fn an_intact_journal_without_the_apply_ends_the_wait() {
        let (_folder, state, journal, pending) = waiting(600);
        let mut watch = PendingWatch { id: &pending.id, known: None };
        assert!(matches!(watch.poll(&state), TimeLeft::Time(_)));
        state.write(&Journal { pending: None, ..journal }).expect("it can be written");
        assert_eq!(watch.poll(&state), TimeLeft::Nothing);
    }

    #[test]
    fn an_apply_that_was_never_recorded_is_unknown() {
        let (_folder, state, _, _) = waiting(600);
        let mut watch = PendingWatch { id: "another", known: None };
        assert_eq!(watch.poll(&state), TimeLeft::Unknown);
    }
}
