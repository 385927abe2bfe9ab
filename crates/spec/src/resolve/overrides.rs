//! Resolves the overrides of a spec, and the directory of maintenances.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path as FilePath;

use evenkeel_model::{
    NamedService, OverlayEffect, Override, OverrideTarget, RealServerKey, ServiceKey,
};

use super::once;
use crate::path::{At, Path};
use crate::recovering_de::List;
use crate::resolve::Diagnostics;
use crate::spec::{Action, OverrideEntry, Spec};
use crate::suggest::{nearest, quote};

/// Who is shown as the operator.
const BY: &str = "the spec";

/// How many names a remedy lists.
const SOME: usize = 10;

/// Merges the overrides of all sources. A target that names no real server of these services is an error;
/// `None` if they are not fully known.
pub(crate) fn collect(
    sources: &[(At<'_>, &Spec)],
    services: Option<&BTreeMap<ServiceKey, NamedService>>,
    diagnostics: &mut Diagnostics,
) -> Vec<Override> {
    let is_written = sources.iter().any(|(_, spec)| spec.overrides.value().is_some());
    let servers = services.filter(|_| is_written).map(ListedServers::new);
    let mut written: BTreeMap<String, Path> = BTreeMap::new();
    let mut overrides = Vec::new();
    for (root, spec) in sources {
        let at = root.key("overrides");
        for (index, entry) in spec.overrides.value().into_iter().flat_map(List::values) {
            let at = at.item(index);
            let Some(found) = read(entry, &at, diagnostics) else { continue };
            let at = at.key("target");
            if let Some(first) = written.get(&found.target.to_string()) {
                diagnostics
                    .error(&at, format!("two overrides are of `{}`", found.target))
                    .remedy("keep one of them")
                    .related(first.clone(), "the first one");
                continue;
            }
            written.insert(found.target.to_string(), at.path());
            if let Some(servers) = &servers {
                servers.check(&found.target, &at, diagnostics);
            }
            overrides.push(found);
        }
    }
    overrides
}

/// Reads one override; `None` if it breaks a rule or could not be read.
fn read(entry: &OverrideEntry, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<Override> {
    let OverrideEntry { target, action, weight, until, reason } = entry;
    if target.is_absent() {
        diagnostics
            .error(at, "the override has no `target`")
            .remedy("write the real server, such as `target: web/10.0.0.5`");
    }
    if action.is_absent() {
        diagnostics
            .error(at, "the override has no `action`")
            .remedy("write one of: drain, disable, enable, weight");
    }
    let written = action.value().map(|it| it.0);
    if written == Some(Action::Weight) && weight.is_absent() {
        diagnostics
            .error(&at.key("action"), "`action: weight` needs a `weight`")
            .remedy("write it too, such as `weight: 3`");
    }
    if written.is_some_and(|it| it != Action::Weight) && !weight.is_absent() {
        diagnostics
            .error(&at.key("weight"), "`weight` is only for `action: weight`")
            .at_key()
            .remedy("remove it, or write `action: weight`");
        return None;
    }
    let effect = match written? {
        Action::Drain => OverlayEffect::Weight(0),
        Action::Disable => OverlayEffect::Out,
        Action::Enable => OverlayEffect::AsSpec,
        Action::Weight => OverlayEffect::Weight(weight.value()?.0),
    };
    if until.is_bad() || reason.is_bad() {
        return None;
    }
    Some(Override {
        target: target.value()?.0.clone(),
        effect,
        since: 0,
        until: until.value().map(|it| it.0),
        by: BY.into(),
        reason: reason.value().map(|it| it.0.clone()).unwrap_or_default(),
    })
}

/// The directory of maintenances.
pub(crate) fn maintenance_dir(
    sources: &[(At<'_>, &Spec)],
    diagnostics: &mut Diagnostics,
) -> Option<Box<FilePath>> {
    let (mut written, mut found) = (None, None);
    for (root, spec) in sources {
        let Some(path) = spec.maintenance_dir.value() else { continue };
        let at = root.key("maintenance_dir");
        once(&mut written, &at, "`maintenance_dir` is written twice", diagnostics);
        found = Some(path.0.clone());
    }
    found
}

/// The real servers of services by address.
pub(crate) struct ListedServers<'a> {
    services: &'a BTreeMap<ServiceKey, NamedService>,
    by_address: BTreeMap<IpAddr, Vec<Listed<'a>>>,
    names: BTreeSet<&'a str>,
}

struct Listed<'a> {
    service: ServiceKey,
    name: &'a str,
    port: u16,
}

impl<'a> ListedServers<'a> {
    pub(crate) fn new(services: &'a BTreeMap<ServiceKey, NamedService>) -> Self {
        let mut by_address: BTreeMap<IpAddr, Vec<Listed<'a>>> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for (service, named) in services {
            names.insert(&*named.name);
            for (key, _) in named.service.real_servers.iter() {
                let listed = Listed { service: *service, name: &named.name, port: key.port };
                by_address.entry(key.address).or_default().push(listed);
            }
        }
        Self { services, by_address, names }
    }

    /// Whether a target names one of them.
    pub(crate) fn has(&self, target: &OverrideTarget) -> bool {
        self.matching(target).next().is_some()
    }

    fn matching<'t>(&'t self, target: &'t OverrideTarget) -> impl Iterator<Item = &'t Listed<'a>> {
        let service = target.service.as_deref().map(ServiceText::new);
        let listed = self.by_address.get(&target.address).into_iter().flatten();
        listed.filter(move |it| {
            target.port.is_none_or(|port| port == it.port)
                && service.is_none_or(|text| text.names(it.name, &it.service))
        })
    }

    /// Reports a target that names none of them, or several where one was meant.
    fn check(&self, target: &OverrideTarget, at: &At<'_>, diagnostics: &mut Diagnostics) {
        let mut ports: BTreeMap<ServiceKey, Vec<String>> = BTreeMap::new();
        for Listed { service, port, .. } in self.matching(target) {
            let key = RealServerKey { address: target.address, port: *port };
            ports.entry(*service).or_default().push(key.to_string());
        }
        let alone = OverrideTarget { service: None, ..target.clone() };
        if !ports.is_empty() {
            let several = ports.into_values().find(|ports| ports.len() > 1);
            if let (Some(ports), Some(service)) = (several, &target.service) {
                diagnostics
                    .error(at, format!("the service `{service}` has `{alone}` with several ports"))
                    .remedy(format!("name one of {}", listed(ports)));
            }
            return;
        }
        let Some(service) = &target.service else {
            let others: BTreeSet<IpAddr> = self.by_address.keys().copied().collect();
            let diagnostic =
                diagnostics.error(at, format!("no service has a real server `{alone}`"));
            diagnostic.remedy(self.remedy(target, &alone, &others));
            return;
        };
        let text = ServiceText::new(service);
        let is_named = |(key, named): &(&ServiceKey, &NamedService)| text.names(&named.name, key);
        let of_service: Vec<_> = self.services.iter().filter(is_named).collect();
        if of_service.is_empty() {
            let message = format!("there is no service {}", quote(service));
            diagnostics.error(at, message).remedy(
                match nearest(service, self.names.iter().copied()) {
                    Some(name) => format!("did you mean `{name}/{alone}`?"),
                    None => format!(
                        "the services are {}",
                        listed(self.names.iter().map(ToString::to_string).collect())
                    ),
                },
            );
            return;
        }
        let others: BTreeSet<IpAddr> = of_service
            .iter()
            .flat_map(|(_, named)| named.service.real_servers.iter())
            .map(|(key, _)| key.address)
            .collect();
        let message = format!("the service `{service}` has no real server `{alone}`");
        diagnostics.error(at, message).remedy(self.remedy(target, &alone, &others));
    }

    /// What may be meant instead of a target: the ports of its address, or the addresses that there are.
    fn remedy(
        &self,
        target: &OverrideTarget,
        alone: &OverrideTarget,
        others: &BTreeSet<IpAddr>,
    ) -> String {
        let service = target.service.as_deref();
        let any_port = OverrideTarget { port: None, ..target.clone() };
        let ports: BTreeSet<String> = self
            .matching(&any_port)
            .map(|it| RealServerKey { address: target.address, port: it.port }.to_string())
            .collect();
        if !ports.is_empty() {
            return format!("with that address there is {}", listed(ports.into_iter().collect()));
        }
        let shown: Vec<String> = others.iter().map(ToString::to_string).collect();
        let near = nearest(&target.address.to_string(), shown.iter().map(String::as_str));
        match (near.and_then(|it| it.parse().ok()), shown.is_empty()) {
            (Some(address), _) => {
                let near = OverrideTarget { address, ..alone.clone() };
                let service = service.map(|it| format!("{it}/")).unwrap_or_default();
                format!("did you mean `{service}{near}`?")
            }
            (None, true) => "it has none: remove the override".to_owned(),
            (None, false) => format!("there are {}", listed(shown)),
        }
    }
}

/// A service, as a target names it: by its name, by its key, or by both.
#[derive(Clone, Copy)]
struct ServiceText<'t> {
    written: &'t str,
    key: Option<ServiceKey>,
    both: Option<(&'t str, ServiceKey)>,
}

impl<'t> ServiceText<'t> {
    fn new(written: &'t str) -> Self {
        let both = written.split_once('/');
        let both = both.and_then(|(name, key)| Some((name, ServiceKey::parse(key)?)));
        Self { written, key: ServiceKey::parse(written), both }
    }

    fn names(self, name: &str, key: &ServiceKey) -> bool {
        self.written == name || self.key == Some(*key) || self.both == Some((name, *key))
    }
}

fn listed(all: Vec<String>) -> String {
    let more = all.len().saturating_sub(SOME);
    let mut shown: Vec<String> = all.iter().take(SOME).map(|it| format!("`{it}`")).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}
