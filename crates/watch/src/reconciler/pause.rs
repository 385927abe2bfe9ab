//! Stores the pause, so that a restart of the daemon does not undo an administrator's manual work.
//! It has its own file beside the journal, because only the holder of the lock may write the journal.
//! A pause ends with the network namespace it is for, and so with the boot.

use std::io;

use evenkeel_control::Pause;
use evenkeel_engine::{FileError, StateDir, error_chain};
use evenkeel_host::NamespaceIdentity;
use evenkeel_plan::{ClockReading, Uptime};
use serde::{Deserialize, Serialize};
use tracing::warn;

const NAME: &str = "paused.json";

/// A pause as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPause {
    #[serde(flatten)]
    pause: Pause,
    /// When it began, by the time since boot, which cannot be set; `None` if an earlier version wrote
    /// it, or the kernel has no such clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uptime: Option<Uptime>,
    /// The namespace it is for; `None` if an earlier version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<NamespaceIdentity>,
}

impl StoredPause {
    /// Creates a pause of so many seconds that begins now, for the namespace of this state directory.
    pub(crate) fn begin(state: &StateDir, seconds: Option<u64>, now: &ClockReading) -> Self {
        let since = now.wall.as_secs();
        let until = seconds.map(|seconds| since.saturating_add(seconds));
        Self {
            pause: Pause { since, until },
            uptime: now.uptime_at(since),
            namespace: state.identity().cloned(),
        }
    }

    /// Returns the pause in terms of the current wall clock, even if that was set since.
    pub(crate) fn at(&self, now: &ClockReading) -> Pause {
        let Self { pause: Pause { since, until }, uptime, namespace: _ } = *self;
        let begin = now.wall_at(since, uptime);
        let until = until.map(|until| begin.saturating_add(until.saturating_sub(since)));
        Pause { since: begin, until }
    }

    /// Whether it has not ended yet.
    fn is_active(&self, now: &ClockReading) -> bool {
        self.at(now).until.is_none_or(|until| until > now.wall.as_secs())
    }

    /// Whether it is for the namespace of this state directory, which is assumed if it names none.
    fn is_for(&self, state: &StateDir) -> bool {
        let both = self.namespace.as_ref().zip(state.identity());
        both.is_none_or(|(stored_pause, here)| stored_pause.is_same(here))
    }
}

/// Reads the pause, if one is active.
pub(crate) fn read(state: &StateDir, now: &ClockReading) -> Option<StoredPause> {
    let stored_pause = find(state, now)
        .filter(|stored_pause| stored_pause.is_for(state) && stored_pause.is_active(now))?;
    if now.is_of_this_boot(stored_pause.uptime) {
        return Some(stored_pause);
    }
    // From here on it lasts as long as intended even if the wall clock is set.
    let pause = stored_pause.at(now);
    let uptime = now.uptime_at(pause.since);
    let stored_pause = StoredPause { pause, uptime, namespace: state.identity().cloned() };
    if stored_pause.uptime.is_some()
        && let Err(error) = write(state, &stored_pause)
    {
        warn!(
            "{}; after a restart of the daemon the pause follows the wall clock",
            error_chain(&error)
        );
    }
    Some(stored_pause)
}

fn find(state: &StateDir, now: &ClockReading) -> Option<StoredPause> {
    let text = match state.read_file(NAME) {
        Ok(text) => text?,
        Err(error) => {
            warn!("{}: paused until `evenkeel resume`", error_chain(&error));
            // The user who paused the daemon knows how to resume it.
            return Some(StoredPause::begin(state, None, now));
        }
    };
    let stored_pause = serde_json::from_slice(&text).unwrap_or_else(|error| {
        let path = state.folder().join(NAME);
        warn!("{} is damaged ({error}): paused until `evenkeel resume`", path.display());
        StoredPause::begin(state, None, now)
    });
    Some(stored_pause)
}

/// Stores the pause durably: after a crash the file holds it or what it held before.
pub(crate) fn write(state: &StateDir, stored_pause: &StoredPause) -> Result<(), FileError> {
    let text = serde_json::to_vec(stored_pause).map_err(io::Error::from);
    let text = text.map_err(FileError::new("write", &state.folder().join(NAME)))?;
    state.replace_file(NAME, &[&text])
}

/// Removes the stored pause.
pub(crate) fn remove(state: &StateDir) -> Result<(), FileError> {
    state.remove_file(NAME)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use evenkeel_host::Namespace;

    use super::*;

    /// Returns the clocks of a host that has been up for so many seconds and has this wall clock.
    fn reading(boot: char, wall: u64, uptime: u64) -> ClockReading {
        let boot = boot.to_string().repeat(32).parse().expect("a boot id");
        let uptime = Uptime { boot, milliseconds: uptime * 1_000 };
        ClockReading { wall: Duration::from_secs(wall), uptime: Some(uptime) }
    }

    fn state_dir() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        fs::create_dir_all(state.folder()).expect("a folder");
        (folder, state)
    }

    #[test]
    fn a_pause_is_stored_until_it_ends_or_is_removed() {
        let (_folder, state) = state_dir();
        assert_eq!(read(&state, &reading('a', 5, 5)), None);
        let stored_pause = StoredPause::begin(&state, Some(5), &reading('a', 5, 5));
        write(&state, &stored_pause).expect("it is stored");
        assert_eq!(read(&state, &reading('a', 9, 9)), Some(stored_pause));
        assert_eq!(read(&state, &reading('a', 10, 10)), None);
        let stored_pause = StoredPause::begin(&state, None, &reading('a', 5, 5));
        write(&state, &stored_pause).expect("it is stored");
        assert_eq!(read(&state, &reading('a', 1 << 50, 1 << 50)), Some(stored_pause));
        remove(&state).expect("it is removed");
        remove(&state).expect("again");
        assert_eq!(read(&state, &reading('a', 5, 5)), None);
    }

    #[test]
    fn a_pause_lasts_as_long_as_requested_even_if_the_wall_clock_is_set() {
        let (_folder, state) = state_dir();
        write(&state, &StoredPause::begin(&state, Some(60), &reading('a', 10_000, 500)))
            .expect("it is stored");
        for wall in [1_000, 10_059, 90_000] {
            let now = reading('a', wall, 559);
            let pause = read(&state, &now).expect("it is active").at(&now);
            assert_eq!(pause.until, Some(wall + 1), "{pause:?}");
            assert_eq!(read(&state, &reading('a', wall + 1, 560)), None);
        }
    }

    #[test]
    fn after_a_reboot_a_pause_follows_the_wall_clock_once_and_then_the_new_boot() {
        let (_folder, state) = state_dir();
        let stored = |pause: &str| {
            fs::write(state.folder().join(NAME), pause).expect("a file");
        };
        let of_before = serde_json::to_string(&StoredPause::begin(
            &state,
            Some(60),
            &reading('a', 10_000, 500),
        ));
        // One of an earlier version has no boot id.
        for pause in [of_before.expect("text"), r#"{"since":10000,"until":10060}"#.to_owned()] {
            stored(&pause);
            assert_eq!(read(&state, &reading('b', 10_060, 90)), None);
            let now = reading('b', 10_020, 50);
            let stored_pause = read(&state, &now).expect("it is active");
            assert_eq!(stored_pause.at(&now), Pause { since: 10_000, until: Some(10_060) });
            assert_eq!(stored_pause.at(&reading('b', 7_020, 51)).until, Some(7_059));
            assert_eq!(read(&state, &reading('b', 7_020, 89)), Some(stored_pause));
            assert_eq!(read(&state, &reading('b', 7_020, 90)), None);
            // A start in the future counts as now.
            stored(&pause);
            let now = reading('b', 20, 50);
            assert_eq!(read(&state, &now).expect("it is active").at(&now).until, Some(81));
            assert_eq!(read(&state, &reading('b', 81, 111)), None);
        }
    }

    #[test]
    fn a_pause_ends_with_its_namespace() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |boot: &str, cookie| {
            let identity = NamespaceIdentity {
                boot: boot.into(),
                cookie: Some(cookie),
                device: 4,
                inode: 100,
                is_first: true,
            };
            StateDir::of(folder.path(), Namespace { identity, initial: true, name: None })
        };
        let now = reading('a', 7, 7);
        let stored_pause = StoredPause::begin(&of("a", 1), None, &now);
        write(&of("a", 1), &stored_pause).expect("it is stored");
        assert_eq!(read(&of("a", 1), &now), Some(stored_pause));
        assert_eq!(read(&of("a", 2), &now), None, "another namespace");
        assert_eq!(read(&of("b", 1), &now), None, "another boot");
        // One of an earlier version names no namespace.
        let text = r#"{"since":5,"until":null}"#;
        fs::write(of("a", 1).folder().join(NAME), text).expect("a file");
        assert!(read(&of("a", 2), &now).is_some());
    }

    #[test]
    fn a_damaged_file_counts_as_a_pause() {
        let (_folder, state) = state_dir();
        fs::write(state.folder().join(NAME), "{").expect("a file");
        let now = reading('a', 7, 7);
        assert_eq!(read(&state, &now), Some(StoredPause::begin(&state, None, &now)));
    }

    #[test]
    fn a_link_in_its_place_is_not_read_and_counts_as_a_pause_that_can_be_resumed() {
        let (folder, state) = state_dir();
        let ended = folder.path().join("ended");
        fs::write(&ended, r#"{"since":5,"until":6}"#).expect("a file");
        let link = state.folder().join(NAME);
        std::os::unix::fs::symlink(&ended, &link).expect("a link");
        let now = reading('a', 7, 7);
        assert_eq!(read(&state, &now), Some(StoredPause::begin(&state, None, &now)));
        let error = remove(&state).err();
        assert!(error.is_none() && ended.exists() && !link.is_symlink(), "{error:?}");
        assert_eq!(read(&state, &now), None);
    }

    #[test]
    fn a_pause_that_cannot_be_stored_is_an_error_that_names_the_file() {
        let (folder, state) = state_dir();
        fs::remove_dir(state.folder()).expect("it is empty");
        std::os::unix::fs::symlink(folder.path(), state.folder()).expect("a link");
        let pause = StoredPause::begin(&state, None, &reading('a', 7, 7));
        let error = write(&state, &pause).expect_err("the directory is a link");
        let message = error.to_string();
        assert!(message.contains("/init is a symbolic link"), "{message}");
    }
}
