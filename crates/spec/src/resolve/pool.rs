//! Resolves pools: named lists of real servers.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::health::{ListChecks, NamedChecks};
use super::real_server;
use crate::path::{At, Path};
use crate::recovering_de::List;
use crate::resolve::Diagnostics;
use crate::spec::{RealServer, Spec};
use crate::suggest;

/// All pools of all sources.
pub(crate) struct Pools<'s> {
    by_name: BTreeMap<&'s str, Pool<'s>>,
    /// One of them could not be read, so a name that is not found may be its name.
    doubtful: bool,
}

/// A pool that has a name.
pub(crate) struct Pool<'s> {
    pub(crate) source: usize,
    pub(crate) index: usize,
    /// `None` if it is missing or could not be read, which is reported once, here.
    pub(crate) real_servers: Option<&'s List<RealServer>>,
    /// The checks of its real servers, as far as the pool says it.
    pub(crate) checks: Rc<ListChecks>,
}

impl<'s> Pools<'s> {
    /// The pool of that name; reports a missing one.
    pub(crate) fn get(
        &self,
        name: &str,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<&Pool<'s>> {
        let pool = self.by_name.get(name);
        if pool.is_none() && !self.doubtful {
            let diagnostic = diagnostics.error(at, format!("there is no pool `{name}`"));
            diagnostic.remedy(if self.by_name.is_empty() {
                "write it under `pools`".to_owned()
            } else {
                suggest::remedy(name, "the pools are", self.by_name.keys().copied())
            });
        }
        pool
    }
}

pub(crate) fn collect<'s>(
    sources: &[(At<'_>, &'s Spec)],
    complete: bool,
    named: &NamedChecks<'_>,
    diagnostics: &mut Diagnostics,
) -> Pools<'s> {
    let mut pools = Pools { by_name: BTreeMap::new(), doubtful: !complete };
    let mut written: BTreeMap<&str, Path> = BTreeMap::new();
    for (source, (root, spec)) in sources.iter().enumerate() {
        let at = root.key("pools");
        pools.doubtful |= spec.pools.is_bad();
        let Some(list) = spec.pools.value() else { continue };
        pools.doubtful |= list.has_bad();
        for (index, pool) in list.values() {
            let at = at.item(index);
            if pool.name.is_absent() {
                diagnostics
                    .error(&at, "the pool has no `name`")
                    .remedy("give it one, such as `name: app`");
            }
            if pool.real_servers.is_absent() {
                diagnostics
                    .error(&at, "the pool has no `real_servers`")
                    .remedy("list them, or write `real_servers: []`");
            }
            let own = named.level(&pool.check, &at.key("check"), diagnostics);
            let list_at = at.key("real_servers");
            let checks = match pool.real_servers.value() {
                Some(list) => {
                    real_server::check_alone(list, &list_at, diagnostics);
                    ListChecks::read(list, &list_at, Some(own), named, diagnostics)
                }
                None => {
                    ListChecks::read(&List(Vec::new()), &list_at, Some(own), named, diagnostics)
                }
            };
            let Some(name) = pool.name.value() else {
                pools.doubtful |= pool.name.is_bad();
                continue;
            };
            let at = at.key("name");
            if let Some(first) = written.get(&*name.0) {
                diagnostics
                    .error(&at, format!("the pool `{}` is defined twice", name.0))
                    .remedy("give each pool a name of its own")
                    .related(first.clone(), "first written here");
                continue;
            }
            written.insert(&name.0, at.path());
            let real_servers = pool.real_servers.value();
            pools
                .by_name
                .insert(&name.0, Pool { source, index, real_servers, checks: Rc::new(checks) });
        }
    }
    pools
}
