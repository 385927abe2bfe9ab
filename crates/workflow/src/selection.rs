//! Selects services by name or by key, for use cases on the live table.

use evenkeel_model::{Desired, Live, NamedService, RealServers, Service};
use evenkeel_plan::{ServiceSelection, UnknownSelection};

/// Selects services of the spec, or live services that it does not list, by their keys; `None` for
/// all, which no selector means.
///
/// # Errors
/// A selector matches neither.
pub fn select_live(
    selectors: &[String],
    named: &Desired,
    live: &Live,
) -> Result<Option<ServiceSelection>, UnknownSelection> {
    if selectors.is_empty() {
        return Ok(None);
    }
    let nameless = live.services.iter().map(|(key, service)| {
        let service = Service { config: service.config.clone(), real_servers: RealServers::new() };
        (*key, NamedService::new(key.to_string(), service))
    });
    let nameless = Desired { services: nameless.collect(), ..Desired::default() };
    ServiceSelection::new(selectors, named, Some(&nameless)).map(Some)
}
