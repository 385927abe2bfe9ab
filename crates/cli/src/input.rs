//! Reads and parses specs for commands that run once, and prints their warnings.

use std::path::{Path, PathBuf};

use evenkeel_source::{HostRequest, SourceCache, read, read_snapshot};
use evenkeel_spec::{
    Loaded, NoParameters, Problem, RememberedParameters, Severity, Source, load_with, named_owner,
};

use crate::args::{GlobalArgs, ParameterArgs};
use crate::error::{BadSpec, Error};
use crate::host::this_host;
use crate::output::Output;
use crate::parameters::host_parameters;

/// Reads and merges the specs at these paths for no host in particular, and prints their warnings.
///
/// # Errors
/// A path that cannot be read, or every problem of the texts at once.
pub(crate) fn spec(
    places: &[PathBuf],
    parameters: &ParameterArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<Loaded, Error> {
    Ok(spec_and_texts(places, parameters, HostRequest::AnyHost, global, output)?.0)
}

/// Reads specs as [`spec`] does, for a host, and also returns the texts, which give the positions.
pub(crate) fn spec_and_texts(
    places: &[PathBuf],
    parameters: &ParameterArgs,
    host: HostRequest,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<(Loaded, SourceCache), Error> {
    load(texts(places)?, parameters, host, global, output)
}

fn texts(places: &[PathBuf]) -> Result<SourceCache, Error> {
    if places.iter().filter(|place| *place == Path::new("-")).count() > 1 {
        return Err(Error::Usage("`-` can be given only once".to_owned()));
    }
    Ok(read(places)?)
}

fn load(
    texts: SourceCache,
    parameters: &ParameterArgs,
    host: HostRequest,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<(Loaded, SourceCache), Error> {
    let known = host_parameters(parameters, global.netns.as_deref(), host)?;
    let known = known.of_owner(global.owner.clone());
    let sources = texts.read()?;
    let loaded = merged(&sources, &known, output)?;
    for name in known.unused() {
        let message = format!("--set gives `{name}` a value, but no spec has `${{{name}}}`");
        output.warning(&message);
        let (severity, place, context, remedy) = (Severity::Warning, None, None, None);
        let related = Vec::new();
        let problem = Problem { severity, place, context, message, remedy, related };
        output.note_spec_warnings([&problem]);
    }
    if !loaded.warnings.is_empty() {
        output.note_spec_warnings(&loaded.warnings);
        let rendered = loaded.warnings.render(&sources, output.colors_errors());
        output.message(&format!("{}\n", rendered.trim_end()));
    }
    drop(sources);
    Ok((loaded, texts.release()))
}

/// A spec that was loaded for this host.
pub(crate) struct HostSpec {
    pub(crate) loaded: Loaded,
    /// Its texts, which give the positions.
    pub(crate) texts: SourceCache,
    /// The options, with the owner that the spec or they name.
    pub(crate) global: GlobalArgs,
}

/// Reads specs as [`spec`] does, for this host and the owner that they name. What the host was before depends
/// on the owner.
///
/// # Errors
/// As [`spec`]; also if `--owner` names another owner than the spec.
pub(crate) fn of_this_host(
    places: &[PathBuf],
    parameters: &ParameterArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<HostSpec, Error> {
    let texts = texts(places)?;
    let named = named_owner(&texts.read()?);
    // An owner that was not seen in the texts is an error when they are loaded.
    let owner = global.owner.clone().or(named).unwrap_or_default();
    let global = GlobalArgs { owner: Some(owner), ..global.clone() };
    let (loaded, texts) = load(texts, parameters, this_host(&global)?, &global, output)?;
    Ok(HostSpec { loaded, texts, global })
}

/// Reads a snapshot. Does not print its warnings, which describe the host and not a mistake.
///
/// # Errors
/// As [`spec`].
pub(crate) fn snapshot(place: &Path, output: &Output) -> Result<Loaded, Error> {
    merged(&read_snapshot(place)?.read()?, &NoParameters, output)
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
    load_with(sources, parameters).map_err(|problems| {
        let rendered = problems.render(sources, output.colors_errors());
        Error::BadSpec(Box::new(BadSpec { problems, rendered }))
    })
}
