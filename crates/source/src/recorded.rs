//! Parses specs that were read before, with the values that their parameters had then.

use std::collections::BTreeMap;
use std::path::Path;

use evenkeel_model::{Desired, FileContents, HostInputs};
use evenkeel_spec::{HOST_INPUTS, RememberedParameters, Source, load_with};

use crate::parameters::Macs;

/// The values of a spec's parameters, by the text between their braces.
pub type ParameterValues = BTreeMap<Box<str>, Box<str>>;

/// Returns what each of the texts lists, by absolute names; empty where they are not a valid spec.
pub fn contents(sources: &[Source], parameters: &ParameterValues) -> Vec<FileContents> {
    let loaded = load_with(sources, &RememberedParameters(parameters.clone()));
    let mut contents = loaded.map(|loaded| loaded.contents(sources)).unwrap_or_default();
    for file in &mut contents {
        file.name = absolute_name(&file.name);
    }
    contents
}

/// Returns the MAC addresses that a gateway learned for a spec with these values.
pub fn macs_of(parameters: &ParameterValues) -> Macs {
    let inputs = parameters.get(HOST_INPUTS).and_then(|text| text.parse::<HostInputs>().ok());
    inputs.map(|inputs| inputs.macs).unwrap_or_default()
}

/// Returns the absolute name of a text; a name such as `<stdin>` that is not a file's stays unchanged.
pub fn absolute_name(name: &str) -> String {
    match name.starts_with('<') {
        true => name.to_owned(),
        false => std::path::absolute(Path::new(name))
            .map_or_else(|_| name.to_owned(), |path| path.display().to_string()),
    }
}

/// Returns what recorded texts ask for; `None` if an earlier version accepted them and this version does
/// not.
pub fn desired(texts: Vec<(String, Vec<u8>)>, parameters: ParameterValues) -> Option<Desired> {
    let sources: Vec<Source> =
        texts.into_iter().map(|(name, text)| Source::new(name, text)).collect();
    let loaded = load_with(&sources, &RememberedParameters(parameters));
    loaded.ok().map(|loaded| loaded.desired)
}
