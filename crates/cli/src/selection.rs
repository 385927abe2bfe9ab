//! Selects services by name or by key, for commands on the live table.

use evenkeel_model::{Desired, Live, NamedService, RealServers, Service};
use evenkeel_plan::ServiceSelection;

use crate::error::Error;

/// Selects services of the spec, or live services that it does not list, by their keys; `None` for
/// all, which no selector means.
///
/// # Errors
/// A selector matches neither.
pub(crate) fn select_live(
    selectors: &[String],
    named: &Desired,
    live: &Live,
) -> Result<Option<ServiceSelection>, Error> {
    if selectors.is_empty() {
        return Ok(None);
    }
    let nameless = live.services.iter().map(|(key, service)| {
        let service = Service { config: service.config.clone(), real_servers: RealServers::new() };
        (*key, NamedService::new(key.to_string(), service))
    });
    let nameless = Desired { services: nameless.collect(), ..Desired::default() };
    let selection = ServiceSelection::new(selectors, named, Some(&nameless));
    selection.map(Some).map_err(|unknown| Error::Usage(unknown.to_string()))
}
