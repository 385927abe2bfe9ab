//! The values of parameters that the command line gives.

use std::collections::BTreeMap;

use evenkeel_source::{HostParameters, HostRequest};

use crate::args::{Assignment, ParameterArgs};
use crate::error::Error;

/// Returns the parameters of a spec: the values of `--set`, the environment, and the addresses of a
/// network namespace; of this process's, if none is named. Specs are loaded for that host.
///
/// # Errors
/// `--set` gives a name twice.
pub(crate) fn host_parameters(
    parameters: &ParameterArgs,
    netns: Option<&str>,
    host: HostRequest,
) -> Result<HostParameters, Error> {
    let mut values = BTreeMap::new();
    for Assignment { name, value } in &parameters.set {
        if values.insert(name.clone(), value.clone()).is_some() {
            return Err(Error::Usage(format!("--set gives `{name}` two values")));
        }
    }
    Ok(HostParameters::new(values, netns, host))
}
