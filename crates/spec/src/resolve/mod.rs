//! From what is written to what is desired: merging, defaults, expansion, and every rule that
//! needs more than one value to judge.
//!
//! The kernel enforces few of these rules. What it takes in silence, and then does not do as one
//! would think, is refused here.

mod config;
mod defaults;
mod finding;
mod guards;
mod origins;
mod pool;
mod real_server;
mod scope;
mod selection;
mod service;
mod sync;
mod sysctls;
mod target;
mod timeouts;
mod vip;

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::Desired;

use self::service::Around;
use crate::path::{At, Path};
use crate::spec::Spec;
use crate::yaml::{Reading, Torn};
pub(crate) use finding::{Finding, Findings, Spot};
pub(crate) use origins::Object;

/// The desired state of all sources together, and what is wrong with it. `None` among the specs
/// is a source that could not be read; `complete` says that there is none, so that what is not
/// found is really not there.
///
/// # Errors
/// [`Torn`] if services that were still to be read cannot be.
pub(crate) fn resolve(
    readings: &mut [Option<Reading<'_>>],
    complete: bool,
    findings: &mut Findings,
) -> Result<Desired, Torn> {
    let lists = readings.iter_mut().flatten().map(Reading::take_services).collect();
    let sources: Vec<(At<'_>, &Spec)> = readings
        .iter()
        .enumerate()
        .filter_map(|(index, reading)| Some((At::Root(index), &reading.as_ref()?.spec)))
        .collect();
    check_version(&sources, complete, findings);
    let scope = scope::merge(&sources, findings);
    let defaults = defaults::merge(&sources, findings);
    let pools = pool::collect(&sources, complete, findings);
    let vips = vip::collect(&sources, &scope, findings);
    let timeouts = timeouts::merge(&sources, findings);
    let sync = sync::merge(&sources, findings);
    let sysctls = sysctls::merge(&sources, findings);
    let guards = guards::merge(&sources, findings);
    let around = Around { scope: &scope, defaults: &defaults, pools: &pools, sync: sync.written };
    let services = service::expand(lists, &sources, &around, findings)?;
    let (scope, drain) = (scope.scope, defaults.drain);
    let sync = sync.daemons;
    Ok(Desired { scope, services, vips, timeouts, sync, sysctls, guards, drain })
}

/// The same leaf in two sources is an error.
fn once(written: &mut Option<Path>, at: &At<'_>, message: &str, findings: &mut Findings) {
    match written {
        None => *written = Some(at.path()),
        Some(first) => {
            findings
                .error(at, message)
                .remedy("keep one of them")
                .related(first.clone(), "first written here");
        }
    }
}

/// Each source may say its version, and one has to.
fn check_version(sources: &[(At<'_>, &Spec)], complete: bool, findings: &mut Findings) {
    let said = sources.iter().any(|(_, spec)| !spec.version.is_absent());
    if let (false, true, Some((at, _))) = (said, complete, sources.first()) {
        findings.error(at, "`version` is missing").remedy("write `version: 1` at the top");
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
