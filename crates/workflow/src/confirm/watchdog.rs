//! Follows a pending apply until it has to be rolled back.

use std::time::Duration;

use evenkeel_engine::{Found, Journal, Pending, PendingState, StateDir};

use crate::host::now;

/// Follows the pending apply in the journal.
pub struct PendingWatch<'a> {
    /// The id of the apply.
    pub id: &'a str,
    /// The last journal with the apply, and the apply itself.
    pub known: Option<(Box<Journal>, Pending)>,
}

/// The time that is left to confirm an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLeft {
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
    pub fn poll(&mut self, state: &StateDir) -> TimeLeft {
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
