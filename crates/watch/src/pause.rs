//! A pause outlives the daemon: hands-on work must not be undone because a process was restarted.
//! It is in a file of its own beside the journal, which only whoever holds the lock may write. It
//! ends with the network namespace it was for, and so with the boot.

use std::fs;
use std::io;

use evenkeel_engine::StateDir;
use evenkeel_host::NamespaceIdentity;
use evenkeel_plan::{Clocks, Uptime};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;

use crate::status::Pause;

const NAME: &str = "paused.json";

/// The pause cannot be kept.
#[derive(Debug, Error)]
#[error("cannot {tried} {path}: {source}")]
pub(crate) struct PauseError {
    tried: &'static str,
    path: String,
    source: io::Error,
}

/// A pause as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(flatten)]
    pause: Pause,
    /// When it began, by a clock that nobody steps; `None` where an earlier version wrote it, or
    /// the kernel has no such clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uptime: Option<Uptime>,
    /// The namespace it is for; `None` where an earlier version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<NamespaceIdentity>,
}

impl Kept {
    /// One that begins now, of so many seconds, in the namespace of that folder.
    pub(crate) fn begin(state: &StateDir, seconds: Option<u64>, now: &Clocks) -> Self {
        let since = now.wall.as_secs();
        let until = seconds.map(|seconds| since.saturating_add(seconds));
        Self {
            pause: Pause { since, until },
            uptime: now.uptime_at(since),
            namespace: state.identity().cloned(),
        }
    }

    /// The pause by the wall's clock as it goes now, whatever was done to it since.
    pub(crate) fn at(&self, now: &Clocks) -> Pause {
        let Self { pause: Pause { since, until }, uptime, namespace: _ } = *self;
        let begin = now.wall_at(since, uptime);
        let until = until.map(|until| begin.saturating_add(until.saturating_sub(since)));
        Pause { since: begin, until }
    }

    /// Whether it goes on.
    fn lasts(&self, now: &Clocks) -> bool {
        self.at(now).until.is_none_or(|until| until > now.wall.as_secs())
    }

    /// Whether it is for the namespace of that folder. One that does not say which is taken for it.
    fn is_for(&self, state: &StateDir) -> bool {
        let both = self.namespace.as_ref().zip(state.identity());
        both.is_none_or(|(kept, here)| kept.is_same(here))
    }
}

/// The pause that goes on.
pub(crate) fn read(state: &StateDir, now: &Clocks) -> Option<Kept> {
    let kept = find(state, now).filter(|kept| kept.is_for(state) && kept.lasts(now))?;
    if now.is_of_this_boot(kept.uptime) {
        return Some(kept);
    }
    // From here on it goes on whatever is done to the wall's clock.
    let pause = kept.at(now);
    let uptime = now.uptime_at(pause.since);
    let kept = Kept { pause, uptime, namespace: state.identity().cloned() };
    if kept.uptime.is_some()
        && let Err(error) = write(state, &kept)
    {
        warn!("{error}; the pause goes by the wall's clock if the daemon is started anew");
    }
    Some(kept)
}

fn find(state: &StateDir, now: &Clocks) -> Option<Kept> {
    let path = state.folder().join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!("cannot read {}: {error}", path.display());
            // Whoever paused the daemon knows how to resume it.
            return Some(Kept::begin(state, None, now));
        }
    };
    let kept = serde_json::from_slice(&text).unwrap_or_else(|error| {
        warn!("{} is damaged ({error}): paused until `evenkeel resume`", path.display());
        Kept::begin(state, None, now)
    });
    Some(kept)
}

/// Keeps it, so that a crash leaves it or what was before.
pub(crate) fn write(state: &StateDir, kept: &Kept) -> Result<(), PauseError> {
    let folder = state.folder();
    let fail = |tried| {
        let path = folder.join(NAME).display().to_string();
        move |source| PauseError { tried, path, source }
    };
    let (path, new) = (folder.join(NAME), folder.join("paused.json.new"));
    fs::create_dir_all(folder).map_err(fail("write"))?;
    let text = serde_json::to_vec(kept).map_err(io::Error::from).map_err(fail("write"))?;
    fs::write(&new, text)
        .and_then(|()| fs::File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, &path))
        .map_err(fail("write"))
}

/// It is over.
pub(crate) fn remove(state: &StateDir) -> Result<(), PauseError> {
    let path = state.folder().join(NAME);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PauseError { tried: "remove", path: path.display().to_string(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_host::Namespace;

    use super::*;

    /// A host that has run for so many seconds, and whose wall's clock shows that.
    fn clocks(boot: char, wall: u64, uptime: u64) -> Clocks {
        let boot = boot.to_string().repeat(32).parse().expect("the name of a boot");
        let uptime = Uptime { boot, milliseconds: uptime * 1_000 };
        Clocks { wall: Duration::from_secs(wall), uptime: Some(uptime) }
    }

    fn place() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        fs::create_dir_all(state.folder()).expect("a folder");
        (folder, state)
    }

    #[test]
    fn a_pause_is_kept_until_its_time_or_until_it_is_taken_out() {
        let (_folder, state) = place();
        assert_eq!(read(&state, &clocks('a', 5, 5)), None);
        let kept = Kept::begin(&state, Some(5), &clocks('a', 5, 5));
        write(&state, &kept).expect("it is kept");
        assert_eq!(read(&state, &clocks('a', 9, 9)), Some(kept));
        assert_eq!(read(&state, &clocks('a', 10, 10)), None);
        let kept = Kept::begin(&state, None, &clocks('a', 5, 5));
        write(&state, &kept).expect("it is kept");
        assert_eq!(read(&state, &clocks('a', 1 << 50, 1 << 50)), Some(kept));
        remove(&state).expect("it is taken out");
        remove(&state).expect("again");
        assert_eq!(read(&state, &clocks('a', 5, 5)), None);
    }

    #[test]
    fn a_pause_lasts_as_long_as_it_was_asked_for_whatever_is_done_to_the_wall_clock() {
        let (_folder, state) = place();
        write(&state, &Kept::begin(&state, Some(60), &clocks('a', 10_000, 500)))
            .expect("it is kept");
        for wall in [1_000, 10_059, 90_000] {
            let now = clocks('a', wall, 559);
            let pause = read(&state, &now).expect("it goes on").at(&now);
            assert_eq!(pause.until, Some(wall + 1), "{pause:?}");
            assert_eq!(read(&state, &clocks('a', wall + 1, 560)), None);
        }
    }

    #[test]
    fn one_of_an_earlier_version_goes_by_the_wall_clock_after_a_reboot_and_from_there_by_the_new_boot()
     {
        let (_folder, state) = place();
        let stored = |pause: &str| {
            fs::write(state.folder().join(NAME), pause).expect("a file");
        };
        let of_before =
            serde_json::to_string(&Kept::begin(&state, Some(60), &clocks('a', 10_000, 500)));
        // One of an earlier version says nothing of any boot.
        for pause in [of_before.expect("text"), r#"{"since":10000,"until":10060}"#.to_owned()] {
            stored(&pause);
            assert_eq!(read(&state, &clocks('b', 10_060, 90)), None);
            let now = clocks('b', 10_020, 50);
            let kept = read(&state, &now).expect("it goes on");
            assert_eq!(kept.at(&now), Pause { since: 10_000, until: Some(10_060) });
            assert_eq!(kept.at(&clocks('b', 7_020, 51)).until, Some(7_059));
            assert_eq!(read(&state, &clocks('b', 7_020, 89)), Some(kept));
            assert_eq!(read(&state, &clocks('b', 7_020, 90)), None);
            // A start in the future is one of now.
            stored(&pause);
            let now = clocks('b', 20, 50);
            assert_eq!(read(&state, &now).expect("it goes on").at(&now).until, Some(81));
            assert_eq!(read(&state, &clocks('b', 81, 111)), None);
        }
    }

    #[test]
    fn it_ends_with_the_namespace_that_it_was_for() {
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
        let now = clocks('a', 7, 7);
        let kept = Kept::begin(&of("a", 1), None, &now);
        write(&of("a", 1), &kept).expect("it is kept");
        assert_eq!(read(&of("a", 1), &now), Some(kept));
        assert_eq!(read(&of("a", 2), &now), None, "another namespace");
        assert_eq!(read(&of("b", 1), &now), None, "another boot");
        // One of an earlier version does not say what it was for.
        let text = r#"{"since":5,"until":null}"#;
        fs::write(of("a", 1).folder().join(NAME), text).expect("a file");
        assert!(read(&of("a", 2), &now).is_some());
    }

    #[test]
    fn one_that_cannot_be_understood_is_a_pause_all_the_same() {
        let (_folder, state) = place();
        fs::write(state.folder().join(NAME), "{").expect("a file");
        let now = clocks('a', 7, 7);
        assert_eq!(read(&state, &now), Some(Kept::begin(&state, None, &now)));
    }
}
