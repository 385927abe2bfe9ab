//! From what is written to what is desired: merging, defaults, expansion, and every rule that
//! needs more than one value to judge.
//!
//! The kernel enforces few of these rules. What it takes in silence, and then does not do as one
//! would think, is refused here.

mod config;
mod defaults;
mod diagnostic;
mod guards;
mod origins;
mod pool;
mod real_server;
mod scope;
mod server_expansion;
mod service;
mod service_address;
mod sync;
mod sysctls;
mod timeouts;
mod vip;

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::Desired;

use self::service::ServiceContext;
use crate::path::{At, Path};
use crate::spec::Spec;
use crate::yaml::{PieceError, Reading};
pub(crate) use diagnostic::{Diagnostic, Diagnostics, SpanTarget};
pub(crate) use origins::SpecObject;

/// The desired state of all sources together, and what is wrong with it. `None` among the specs
/// is a source that could not be read; `complete` says that there is none, so that what is not
/// found is really not there.
///
/// # Errors
/// [`PieceError`] if services that were still to be read cannot be.
pub(crate) fn resolve(
    readings: &mut [Option<Reading<'_>>],
    complete: bool,
    diagnostics: &mut Diagnostics,
) -> Result<Desired, PieceError> {
    let lists = readings.iter_mut().flatten().map(Reading::take_services).collect();
    let sources: Vec<(At<'_>, &Spec)> = readings
        .iter()
        .enumerate()
        .filter_map(|(index, reading)| Some((At::Root(index), &reading.as_ref()?.spec)))
        .collect();
    check_version(&sources, complete, diagnostics);
    let scope = scope::merge(&sources, diagnostics);
    let defaults = defaults::merge(&sources, diagnostics);
    let pools = pool::collect(&sources, complete, diagnostics);
    let vips = vip::collect(&sources, &scope, diagnostics);
    let timeouts = timeouts::merge(&sources, diagnostics);
    let sync = sync::merge(&sources, diagnostics);
    let sysctls = sysctls::merge(&sources, diagnostics);
    let guards = guards::merge(&sources, diagnostics);
    let context =
        ServiceContext { scope: &scope, defaults: &defaults, pools: &pools, sync: sync.written };
    let services = service::expand(lists, &sources, &context, diagnostics)?;
    let (scope, drain) = (scope.scope, defaults.drain);
    let sync = sync.daemons;
    Ok(Desired { scope, services, vips, timeouts, sync, sysctls, guards, drain })
}

/// The same leaf in two sources is an error.
fn once(written: &mut Option<Path>, at: &At<'_>, message: &str, diagnostics: &mut Diagnostics) {
    match written {
        None => *written = Some(at.path()),
        Some(first) => {
            diagnostics
                .error(at, message)
                .remedy("keep one of them")
                .related(first.clone(), "first written here");
        }
    }
}

/// Each source may say its version, and one has to.
fn check_version(sources: &[(At<'_>, &Spec)], complete: bool, diagnostics: &mut Diagnostics) {
    let said = sources.iter().any(|(_, spec)| !spec.version.is_absent());
    if let (false, true, Some((at, _))) = (said, complete, sources.first()) {
        diagnostics.error(at, "`version` is missing").remedy("write `version: 1` at the top");
    }
}

/// Why an address cannot be a VIP or a real server, if it cannot.
pub(crate) fn not_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("is the unspecified address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        IpAddr::V4(address) if address.octets()[0] == 0 => Some("is no address of a host"),
        _ => None,
    }
}
