//! Resolves the spec as written into the desired state: merging, defaults, expansion, and every
//! rule that needs more than one value.
//!
//! The kernel enforces few of these rules. What it accepts silently and then handles in an
//! unexpected way is refused here.

mod defaults;
mod diagnostic;
mod guards;
mod health;
mod neighbour;
mod origins;
mod overrides;
mod owner;
mod pool;
mod real_server;
mod role;
mod scope;
mod server_expansion;
mod service;
mod service_address;
mod service_config;
mod sync;
mod sysctls;
mod timeouts;
mod vip;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_model::{Desired, OwnerName};

use self::health::NamedChecks;
use self::role::{Directors, Gateways, ServiceRoles};
use self::service::ServiceContext;
use crate::path::{At, Path};
use crate::spec::Spec;
use crate::yaml::{PieceError, Reading};
pub(crate) use diagnostic::{Diagnostic, Diagnostics, SpanTarget};
pub(crate) use origins::SpecObject;
pub(crate) use overrides::ListedServers;
pub(crate) use role::{
    ClusterParts, ClusterSpec, RoleMessage, ignored_message, place as place_of_roles, role_message,
};

/// What is known beforehand of the sources.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// Whether all of them could be read, at least in part.
    pub(crate) complete: bool,
    /// Whether no problem has been found in them, so that nothing of them is left out.
    pub(crate) is_clean: bool,
    /// A spec of another owner is an error.
    pub(crate) owner: Option<&'a OwnerName>,
}

/// Resolves all sources together for the whole cluster, with diagnostics. `None` among the specs
/// is a source that could not be read; `known.complete` states that there is none, so that something
/// which is not found is really missing.
///
/// # Errors
/// [`PieceError`] if services that were not read yet cannot be read.
pub(crate) fn resolve(
    readings: &mut [Option<Reading<'_>>],
    known: Known<'_>,
    diagnostics: &mut Diagnostics,
) -> Result<ClusterSpec, PieceError> {
    let Known { complete, is_clean, owner: expected_owner } = known;
    let lists = readings.iter_mut().flatten().map(Reading::take_services).collect();
    let sources: Vec<(At<'_>, &Spec)> = readings
        .iter()
        .enumerate()
        .filter_map(|(index, reading)| Some((At::Root(index), &reading.as_ref()?.spec)))
        .collect();
    check_version(&sources, complete, diagnostics);
    let owner = owner::merge(&sources, expected_owner, diagnostics);
    let scope = scope::merge(&sources, diagnostics);
    let checks = NamedChecks::collect(&sources, complete, diagnostics);
    let defaults = defaults::merge(&sources, &checks, diagnostics);
    let pools = pool::collect(&sources, complete, &checks, diagnostics);
    let directors = Directors::collect(&sources, diagnostics);
    let gateways = Gateways::collect(&sources, &directors, diagnostics);
    let mut host_objects = BTreeMap::new();
    let vip::Vips { vips, on } =
        vip::collect(&sources, &scope, &directors, &mut host_objects, diagnostics);
    neighbour::collect(&sources, &scope, &mut host_objects, diagnostics);
    let timeouts = timeouts::merge(&sources, diagnostics);
    let sync = sync::merge(&sources, diagnostics);
    let sysctls = sysctls::merge(&sources, diagnostics);
    let guards = guards::merge(&sources, diagnostics);
    let bound: BTreeSet<IpAddr> = vips.keys().map(|binding| binding.address).collect();
    let context = ServiceContext {
        scope: &scope,
        defaults: &defaults,
        pools: &pools,
        checks: &checks,
        bound: &bound,
        sync: sync.written,
        directors: &directors,
    };
    let mut roles = ServiceRoles::new(&directors, defaults.arp);
    let services =
        service::expand(lists, &sources, &context, &mut roles, &mut host_objects, diagnostics)?;
    sysctls.check_connection_tracking(&host_objects, diagnostics);
    // Something that is wrong elsewhere may hide a use.
    let is_clean = is_clean && complete && !diagnostics.has_errors();
    if is_clean {
        checks.warn_of_unused(diagnostics);
    }
    let overrides = overrides::collect(&sources, is_clean.then_some(&services), diagnostics);
    let maintenance_dir = overrides::maintenance_dir(&sources, diagnostics);
    let (scope, when_left, drain) = (scope.scope, scope.when_left, defaults.drain);
    let sync = sync.daemons;
    let whole = Desired {
        owner,
        scope,
        when_left,
        services,
        vips,
        host_objects,
        timeouts,
        sync,
        sysctls: sysctls.values,
        guards,
        drain,
        overrides,
        maintenance_dir,
        ..Desired::default()
    };
    let parts = ClusterParts { whole, directors, gateways, on, services: roles };
    Ok(ClusterSpec::new(parts, diagnostics))
}

/// Reports a leaf that occurs in two sources.
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

/// Checks that at least one source states its version.
fn check_version(sources: &[(At<'_>, &Spec)], complete: bool, diagnostics: &mut Diagnostics) {
    let said = sources.iter().any(|(_, spec)| !spec.version.is_absent());
    if let (false, true, Some((at, _))) = (said, complete, sources.first()) {
        diagnostics.error(at, "`version` is missing").remedy("write `version: 1` at the top");
    }
}

/// Why an address cannot be a VIP or a real server; `None` if it can.
pub(crate) fn not_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("is the unspecified address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        IpAddr::V4(address) if address.octets()[0] == 0 => Some("is no address of a host"),
        _ => None,
    }
}
