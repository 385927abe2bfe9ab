//! Reading specs: files, directories, stdin.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_engine::error_chain;
use evenkeel_spec::{Loaded, MAX_SOURCE, NoParameters, RememberedParameters, Source, load_with};
use evenkeel_watch::{SpecText, is_spec};

use crate::args::{Global, Parameters};
use crate::error::Error;
use crate::output::Output;
use crate::parameters::HostParameters;
use crate::source_cache::SourceCache;

/// Reads and merges the specs at those places, and shows their warnings.
///
/// # Errors
/// A place that cannot be read, and every problem of the texts at once.
pub(crate) fn spec(
    places: &[PathBuf],
    parameters: &Parameters,
    global: &Global,
    output: &mut Output,
) -> Result<Loaded, Error> {
    Ok(spec_and_texts(places, parameters, global, output)?.0)
}

/// The same with the texts, which know where everything stands.
pub(crate) fn spec_and_texts(
    places: &[PathBuf],
    parameters: &Parameters,
    global: &Global,
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

/// Reads and merges the specs at those places for whoever keeps a host on them: with all their
/// texts, and without a word to anyone.
///
/// # Errors
/// As [`spec`], in lines for people.
pub(crate) fn text(
    places: &[PathBuf],
    parameters: &Parameters,
    global: &Global,
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

/// Whether whatever is read there ends by itself: a pipe may have whoever keeps a host wait for
/// ever.
fn check_regular(place: &Path) -> Result<(), Error> {
    let files = match place.is_dir() {
        true => directory(place)?,
        false => vec![place.to_owned()],
    };
    for path in files {
        // What cannot be looked at cannot be read either, and that is told then.
        if fs::metadata(&path).is_ok_and(|it| !it.is_file()) {
            let source = io::Error::other("it is no regular file, and may never end");
            return Err(Error::Unreadable { path, source });
        }
    }
    Ok(())
}

/// Reads a snapshot. What is doubtful in it is how the host is, and nobody's mistake.
///
/// # Errors
/// As [`spec`].
pub(crate) fn snapshot(place: &Path, output: &Output) -> Result<Loaded, Error> {
    let (sources, _): (Vec<_>, Vec<_>) = sources(&[place.to_owned()])?.into_iter().unzip();
    merged(&sources, &NoParameters, output)
}

/// Reads the texts of a saved plan again, with the values that their parameters had. What is
/// doubtful in them was said when the plan was made.
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

/// A text, and the file that it can be read from again, if it can.
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

/// Reads a single file, of at most a little more than a spec may have: the rest would only be
/// thrown away.
fn file_source(path: &Path) -> Result<Text, Error> {
    let fail = |source| Error::Unreadable { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let text = bounded(&file, metadata.len()).map_err(fail)?;
    // A pipe, as a shell's `<(...)` is one, gives its text only once.
    let file = metadata.is_file().then(|| (path.to_owned(), file));
    Ok((Source { name: path.display().to_string(), text }, file))
}

fn stdin() -> Result<Source, Error> {
    let fail = |source| Error::Unreadable { path: "-".into(), source };
    let text = bounded(io::stdin().lock(), 0).map_err(fail)?;
    Ok(Source { name: "<stdin>".to_owned(), text })
}

/// A text of about the length that is expected; no more of it than shows that it is too long.
pub(crate) fn bounded(reader: impl io::Read, expected: u64) -> io::Result<Vec<u8>> {
    let most = MAX_SOURCE as u64 + 1;
    // One byte more, so that the end is seen without the room being doubled for it.
    let mut text = Vec::with_capacity(usize::try_from(most.min(expected) + 1).unwrap_or_default());
    reader.take(most).read_to_end(&mut text)?;
    Ok(text)
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
    fn a_directory_is_its_visible_yaml_files_by_name() {
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
    fn a_directory_without_a_spec_is_an_error_and_no_empty_spec() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(directory(folder.path()), Err(Error::NoSpecInDirectory { .. })));
    }
}
