//! Reads specs from files, directories and stdin.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_engine::error_chain;
use evenkeel_spec::{Loaded, NoParameters, RememberedParameters, Source, load_with};
use evenkeel_watch::{SpecText, is_spec};

use crate::args::{GlobalArgs, ParameterArgs};
use crate::bounded_read::bounded;
use crate::error::Error;
use crate::output::Output;
use crate::parameters::HostParameters;
use crate::source_cache::SourceCache;

/// Reads and merges the specs at these paths, and prints their warnings.
///
/// # Errors
/// A path that cannot be read, or every problem of the texts at once.
pub(crate) fn spec(
    places: &[PathBuf],
    parameters: &ParameterArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<Loaded, Error> {
    Ok(spec_and_texts(places, parameters, global, output)?.0)
}

/// Reads specs as [`spec`] does, and also returns the texts, which give the positions.
pub(crate) fn spec_and_texts(
    places: &[PathBuf],
    parameters: &ParameterArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<(Loaded, SourceCache), Error> {
    let known = HostParameters::new(&parameters.set, global)?;
    let (sources, files): (Vec<_>, Vec<_>) = sources(places)?.into_iter().unzip();
    let loaded = merged(&sources, &known, output)?;
    for name in known.unused() {
        output.warning(&format!("--set gives `{name}` a value, but no spec has `${{{name}}}`"));
    }
    if !loaded.warnings.is_empty() {
        let rendered = loaded.warnings.render(&sources, output.colors_errors());
        output.message(&format!("{}\n", rendered.trim_end()));
    }
    Ok((loaded, SourceCache::release(sources, files)))
}

/// Reads and merges the specs at these paths for the daemon: with all their texts, and without
/// printing anything.
///
/// # Errors
/// As [`spec`], as text.
pub(crate) fn text(
    places: &[PathBuf],
    parameters: &ParameterArgs,
    global: &GlobalArgs,
) -> Result<SpecText, String> {
    let read = || -> Result<SpecText, Error> {
        let known = HostParameters::new(&parameters.set, global)?;
        for place in places {
            check_regular(place)?;
        }
        let (sources, _): (Vec<_>, Vec<_>) = sources(places)?.into_iter().unzip();
        let loaded = load_with(&sources, &known)
            .map_err(|problems| Error::BadSpec(problems.render(&sources, false)))?;
        let warnings = match loaded.warnings.is_empty() {
            true => String::new(),
            false => loaded.warnings.render(&sources, false),
        };
        Ok(SpecText {
            parameters: loaded.parameters(),
            desired: Arc::new(loaded.desired),
            texts: sources.into_iter().map(|source| (source.name, source.text)).collect(),
            warnings,
        })
    };
    read().map_err(|error| error_chain(&error))
}

/// Checks that the spec consists of regular files: reading a pipe might block the daemon forever.
fn check_regular(place: &Path) -> Result<(), Error> {
    let files = match place.is_dir() {
        true => directory(place)?,
        false => vec![place.to_owned()],
    };
    for path in files {
        // A file without accessible metadata cannot be read either, which is reported then.
        if fs::metadata(&path).is_ok_and(|it| !it.is_file()) {
            let source = io::Error::other("it is not a regular file, and reading it may never end");
            return Err(Error::Unreadable { path, source });
        }
    }
    Ok(())
}

/// Reads a snapshot. Does not print its warnings, which describe the host and not a mistake.
///
/// # Errors
/// As [`spec`].
pub(crate) fn snapshot(place: &Path, output: &Output) -> Result<Loaded, Error> {
    let (sources, _): (Vec<_>, Vec<_>) = sources(&[place.to_owned()])?.into_iter().unzip();
    merged(&sources, &NoParameters, output)
}

/// Reads the texts of a saved plan again, with the values that their parameters had. The warnings
/// were printed when the plan was made.
///
/// # Errors
/// As [`spec`].
pub(crate) fn remembered(
    sources: &[Source],
    parameters: &RememberedParameters,
    output: &Output,
) -> Result<Loaded, Error> {
    merged(sources, parameters, output)
}

fn merged(
    sources: &[Source],
    parameters: &dyn evenkeel_spec::Parameters,
    output: &Output,
) -> Result<Loaded, Error> {
    load_with(sources, parameters)
        .map_err(|problems| Error::BadSpec(problems.render(sources, output.colors_errors())))
}

/// A text, and its file, if it can be read again.
type Text = (Source, Option<(PathBuf, fs::File)>);

fn sources(places: &[PathBuf]) -> Result<Vec<Text>, Error> {
    let mut sources = Vec::new();
    let mut seen_stdin = false;
    for place in places {
        if place == Path::new("-") {
            if std::mem::replace(&mut seen_stdin, true) {
                return Err(Error::Usage("`-` can be given only once".to_owned()));
            }
            sources.push((stdin()?, None));
        } else if place.is_dir() {
            for file in directory(place)? {
                sources.push(file_source(&file)?);
            }
        } else {
            sources.push(file_source(place)?);
        }
    }
    Ok(sources)
}

/// Reads a single file, up to little more than the maximum length of a spec; the rest would be
/// discarded.
fn file_source(path: &Path) -> Result<Text, Error> {
    let fail = |source| Error::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let text = bounded(&file, metadata.len()).map_err(fail)?;
    // A pipe, such as a shell's `<(...)`, can be read only once.
    let file = metadata.is_file().then(|| (path.to_owned(), file));
    Ok((Source { name: path.display().to_string(), text }, file))
}

fn stdin() -> Result<Source, Error> {
    let fail = |source| Error::Unreadable { path: "-".into(), source };
    let text = bounded(io::stdin().lock(), 0).map_err(fail)?;
    Ok(Source { name: "<stdin>".to_owned(), text })
}

/// Every spec file of a directory, by name.
fn directory(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let fail = |source| Error::Unreadable { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let file = entry.path();
        if is_spec(&entry.file_name()) && !file.is_dir() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::NoSpecInDirectory { path: path.to_owned() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_as_its_visible_yaml_files_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.yml", "a.yaml", ".a.yaml.swp", ".hidden.yaml", "notes.txt"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        fs::create_dir(folder.path().join("c.yaml")).expect("a folder");
        let files = directory(folder.path()).expect("it has specs");
        let expected = ["a.yaml", "b.yml"].map(|name| folder.path().join(name));
        assert_eq!(files, expected);
    }

    #[test]
    fn a_directory_without_a_spec_is_an_error_and_not_an_empty_spec() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(directory(folder.path()), Err(Error::NoSpecInDirectory { .. })));
    }
}
