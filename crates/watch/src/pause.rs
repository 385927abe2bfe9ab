//! A pause outlives the daemon: hands-on work must not be undone because a process was restarted.
//! It is in a file of its own beside the journal, which only whoever holds the lock may write.

use std::fs;
use std::io;

use evenkeel_engine::StateDir;
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

/// The pause that goes on at that time in seconds since 1970.
pub(crate) fn read(state: &StateDir, now: u64) -> Option<Pause> {
    let path = state.folder().join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!("cannot read {}: {error}", path.display());
            // Whoever paused the daemon knows how to resume it.
            return Some(Pause { since: now, until: None });
        }
    };
    let pause = serde_json::from_slice(&text).unwrap_or_else(|error| {
        warn!("{} is damaged ({error}): paused until `evenkeel resume`", path.display());
        Pause { since: now, until: None }
    });
    Some(pause).filter(|pause| pause.until.is_none_or(|until| until > now))
}

/// Keeps it, so that a crash leaves it or what was before.
pub(crate) fn write(state: &StateDir, pause: &Pause) -> Result<(), PauseError> {
    let folder = state.folder();
    let fail = |tried| {
        let path = folder.join(NAME).display().to_string();
        move |source| PauseError { tried, path, source }
    };
    let (path, new) = (folder.join(NAME), folder.join("paused.json.new"));
    fs::create_dir_all(folder).map_err(fail("write"))?;
    let text = serde_json::to_vec(pause).map_err(io::Error::from).map_err(fail("write"))?;
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
    use super::*;

    #[test]
    fn a_pause_is_kept_until_its_time_or_until_it_is_taken_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        assert_eq!(read(&state, 5), None);
        let pause = Pause { since: 5, until: Some(10) };
        write(&state, &pause).expect("it is kept");
        assert_eq!(read(&state, 9), Some(pause));
        assert_eq!(read(&state, 10), None);
        let pause = Pause { since: 5, until: None };
        write(&state, &pause).expect("it is kept");
        assert_eq!(read(&state, u64::MAX), Some(pause));
        remove(&state).expect("it is taken out");
        remove(&state).expect("again");
        assert_eq!(read(&state, 5), None);
    }

    #[test]
    fn one_that_cannot_be_understood_is_a_pause_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        fs::create_dir_all(state.folder()).expect("a folder");
        fs::write(state.folder().join(NAME), "{").expect("a file");
        assert_eq!(read(&state, 7), Some(Pause { since: 7, until: None }));
    }
}
