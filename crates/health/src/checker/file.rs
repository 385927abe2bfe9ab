//! `file`: what another program wrote.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::environment::inside;
use crate::outcome::{Failure, Fault};
use evenkeel_model::check::FileOptions;

use super::problem::Problem;
use super::reply;

/// How much of the file is read.
const READ: u64 = 1024;

pub(crate) fn probe(options: &FileOptions, directory: &Path) -> Result<(), Problem> {
    let path = inside(directory, &options.path)?;
    let setup = |error: &str| Fault::Setup { error: format!("{}: {error}", path.display()) };
    // Opening a FIFO must not block.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::NoFile.into());
        }
        Err(error) => return Err(setup(&error.to_string()).into()),
    };
    let metadata = file.metadata().map_err(|error| setup(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(setup("not a regular file").into());
    }
    if let Some(max_age) = options.max_age {
        let written = metadata.modified().map_err(|error| setup(&error.to_string()))?;
        // One from the future is new: the wall clock was set back.
        let age = SystemTime::now().duration_since(written).unwrap_or(Duration::ZERO);
        if age > max_age {
            return Err(Failure::FileStale { age }.into());
        }
    }
    let mut text = Vec::new();
    file.take(READ).read_to_end(&mut text).map_err(|error| setup(&error.to_string()))?;
    let text = reply::shown(&text);
    let (word, reason) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
    match word {
        "up" => Ok(()),
        "down" => Err(Failure::FileDown { reason: reason.trim().to_owned() }.into()),
        // Also a file that is being written just now.
        _ => Err(setup("begins with neither `up` nor `down`").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn probed(directory: &Path, name: &str, max_age: Option<Duration>) -> Result<(), Problem> {
        probe(&FileOptions { path: name.into(), max_age }, directory)
    }

    #[test]
    fn a_file_says_up_or_down() {
        let directory = tempfile::tempdir().unwrap();
        let written = |text: &str| {
            fs::write(directory.path().join("a"), text).unwrap();
            probed(directory.path(), "a", None)
        };
        assert_eq!(written("up\n"), Ok(()));
        assert_eq!(written("up since noon"), Ok(()));
        let down = |reason: &str| Err(Failure::FileDown { reason: reason.to_owned() }.into());
        assert_eq!(written("down\n"), down(""));
        assert_eq!(written("down bfd session lost\n"), down("bfd session lost"));
        for other in ["", "upp", "1", "no"] {
            assert!(matches!(written(other), Err(Problem::Fault(Fault::Setup { .. }))), "{other}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_old_fails() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(probed(directory.path(), "a", None), Err(Failure::NoFile.into()));
        let path = directory.path().join("a");
        fs::write(&path, "up").unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(probed(directory.path(), "a", Some(hour)), Ok(()));
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - hour * 2).unwrap();
        assert_eq!(probed(directory.path(), "a", None), Ok(()));
        assert!(matches!(
            probed(directory.path(), "a", Some(hour)),
            Err(Problem::Failure(Failure::FileStale { .. }))
        ));
        file.set_modified(SystemTime::now() + hour).unwrap();
        assert_eq!(probed(directory.path(), "a", Some(hour)), Ok(()));
    }

    #[test]
    fn only_files_in_the_directory_are_read_and_none_that_block() {
        let directory = tempfile::tempdir().unwrap();
        let is_setup = |it| matches!(it, Err(Problem::Fault(Fault::Setup { .. })));
        assert!(is_setup(probed(directory.path(), "../a", None)));
        assert!(is_setup(probed(directory.path(), "/etc/passwd", None)));
        fs::create_dir(directory.path().join("d")).unwrap();
        assert!(is_setup(probed(directory.path(), "d", None)));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.path().join("f"), mode).unwrap();
        assert!(is_setup(probed(directory.path(), "f", None)));
    }
}
