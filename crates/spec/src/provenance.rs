//! Records where the objects of a desired state were written. This is computed only on request,
//! because it takes a second reading of the sources, the one that keeps positions.

use std::collections::BTreeMap;

use evenkeel_model::{Binding, FileContents, HostObject, RealServerKey, ServiceKey, SyncState};

use crate::load::Loaded;
use crate::parameter::NoParameters;
use crate::problem::Position;
use crate::resolve::{self, Diagnostics, SpecObject};
use crate::source::{self, Lines, Source};
use crate::spanned;
use crate::spans::Located;
use crate::spec::Spec;
use crate::yaml::Reading;

/// The position of each object of a desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance(BTreeMap<SpecObject, Position>);

impl Loaded {
    /// Where the objects of the desired state were written. `sources` must be those it was loaded
    /// from; others give no positions.
    pub fn provenance(&self, sources: &[Source]) -> Provenance {
        let mut values = self.values.clone();
        let texts: Vec<Option<&str>> =
            sources.iter().map(|source| source::text(source).ok()).collect();
        let mut located: Vec<Option<Located<'_>>> = Vec::with_capacity(texts.len());
        let mut readings: Vec<Option<Reading<'_>>> = Vec::with_capacity(texts.len());
        for (index, (text, source)) in texts.into_iter().zip(sources).enumerate() {
            let found = text.and_then(|text| {
                let mut tree = spanned::build(text).ok()?;
                values.expand(&mut tree, &NoParameters);
                Some(Located::new(tree, Lines::new(text), index, &source.name))
            });
            let read = found
                .as_ref()
                .and_then(|located| spanned::read::<Spec>(&located.tree, located.tree.root?).0);
            readings.push(read.map(Reading::from));
            located.push(found);
        }
        let mut diagnostics = Diagnostics::with_origins();
        let known = resolve::Known { complete: true, is_clean: true, owner: None };
        let Ok(mut cluster) = resolve::resolve(&mut readings, known, &mut diagnostics) else {
            return Provenance::default();
        };
        if let Some(inputs) = self.values.host() {
            cluster.record_origins(inputs, &mut diagnostics);
        }
        let places = diagnostics.into_origins().into_iter().filter_map(|(object, path)| {
            let located = located.get(path.source)?.as_ref()?;
            let (_, node) = located.tree.find(&path)?;
            Some((object, located.place(node)))
        });
        Provenance(places.collect())
    }
}

impl Loaded {
    /// The objects that each of the sources lists, in the order of the sources. `sources` must be
    /// those it was loaded from.
    pub fn contents(&self, sources: &[Source]) -> Vec<FileContents> {
        let empty =
            |source: &Source| FileContents { name: source.name.clone(), ..FileContents::default() };
        let mut contents: Vec<FileContents> = sources.iter().map(empty).collect();
        for (object, place) in self.provenance(sources).0 {
            let Some(file) = contents.get_mut(place.source) else { continue };
            match object {
                SpecObject::Service(key) => drop(file.services.insert(key)),
                SpecObject::Vip(binding) => drop(file.vips.insert(binding)),
                SpecObject::Sync(state) => drop(file.sync.insert(state)),
                SpecObject::Sysctl(key) => drop(file.sysctls.insert(key)),
                SpecObject::Defaults(_) => file.defaults = true,
                SpecObject::Host(object) => drop(file.host_objects.insert(object)),
                SpecObject::RealServer(..) | SpecObject::Timeout(_) | SpecObject::Guard(_) => {}
            }
        }
        contents
    }
}

impl Provenance {
    /// The service of the spec that expands to this one.
    pub fn service(&self, key: &ServiceKey) -> Option<&Position> {
        self.0.get(&SpecObject::Service(*key))
    }

    /// The real server's item in its service's list, or in that of its pool.
    pub fn real_server(&self, service: &ServiceKey, key: &RealServerKey) -> Option<&Position> {
        self.0.get(&SpecObject::RealServer(*service, *key))
    }

    /// The VIP's item.
    pub fn vip(&self, binding: &Binding) -> Option<&Position> {
        self.0.get(&SpecObject::Vip(binding.clone()))
    }

    /// The item that asks for a host object: for a route, that of its VIP.
    pub fn host_object(&self, object: &HostObject) -> Option<&Position> {
        self.0.get(&SpecObject::Host(object.clone()))
    }

    /// The value of a timeout: `tcp`, `tcp_fin` or `udp`.
    pub fn timeout(&self, key: &str) -> Option<&Position> {
        let key = ["tcp", "tcp_fin", "udp"].into_iter().find(|known| *known == key)?;
        self.0.get(&SpecObject::Timeout(key))
    }

    /// The value of a guard's threshold: `mass_delete`, `mass_delete_from` or `unbind_in_use`.
    pub fn guard(&self, key: &str) -> Option<&Position> {
        let keys = ["mass_delete", "mass_delete_from", "unbind_in_use"];
        self.0.get(&SpecObject::Guard(keys.into_iter().find(|known| *known == key)?))
    }

    /// The sync daemon's item.
    pub fn sync(&self, state: SyncState) -> Option<&Position> {
        self.0.get(&SpecObject::Sync(state))
    }

    /// The value of a sysctl.
    pub fn sysctl(&self, key: &str) -> Option<&Position> {
        self.0.get(&SpecObject::Sysctl(key.into()))
    }
}
