//! Predicts which guards refuse an edit, from the texts before and after it alone: a second
//! implementation of the documentation of each guard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_model::{Desired, Service, ServiceKey};
use evenkeel_spec::{Source, load};

use super::tree::MARK;

/// From this number of live objects on, this share of them must survive.
const MASS_FROM: usize = 4;
const MASS_PERCENT: usize = 50;

/// The services of other programs on the host.
const OTHERS: [&str; 3] = ["203.0.113.1:80/tcp", "[2001:db8:f::1]:53/udp", "fwmark-100/ipv4"];

/// Texts by the names of their files.
pub(super) type Texts = BTreeMap<String, String>;

/// Returns the desired state of these texts.
pub(super) fn desired(texts: &Texts) -> Desired {
    let sources: Vec<Source> =
        texts.iter().map(|(name, text)| Source::new(name, text.as_bytes().to_vec())).collect();
    load(&sources).unwrap_or_else(|problems| panic!("{}", problems.render(&sources, false))).desired
}

/// An object that a file lists, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Listed {
    Service(ServiceKey),
    Vip(IpAddr),
}

/// The identity of an object for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    Address(IpAddr),
    Mark(ServiceKey),
}

impl Client {
    fn of(listed: &Listed) -> Self {
        match listed {
            Listed::Vip(address) => Self::Address(*address),
            Listed::Service(key) => key.vip().map_or(Self::Mark(*key), Self::Address),
        }
    }
}

/// Returns the guards that refuse an edit on a host that matches the texts before it.
pub(super) fn refusals(before: &Texts, after: &Texts) -> BTreeSet<&'static str> {
    let change = Change { old: desired(before), new: desired(after), before, after };
    let guards = [
        ("cut-off", change.is_cut_off()),
        ("wider-scope", change.covers_others()),
        ("missing-file", change.is_file_missing()),
        ("mass-delete", change.is_mass_deletion()),
        ("no-server", change.has_bare_service()),
        ("unbind-in-use", change.unbinds_in_use()),
    ];
    guards.into_iter().filter(|(_, refuses)| *refuses).map(|(name, _)| name).collect()
}

struct Change<'a> {
    old: Desired,
    new: Desired,
    before: &'a Texts,
    after: &'a Texts,
}

impl Change<'_> {
    /// Returns the services that stay, before and after the edit.
    fn kept(&self) -> impl Iterator<Item = (&Service, &Service)> {
        self.old.services.iter().filter_map(|(key, old)| {
            let new = self.new.services.get(key)?;
            Some((&old.service, &new.service))
        })
    }

    /// Whether no live object is edited or deleted.
    fn only_adds(&self) -> bool {
        let keeps_vips = self.old.vips.keys().all(|vip| self.new.vips.contains_key(vip));
        let keeps_services = self.kept().count() == self.old.services.len();
        let adds_servers = self.kept().all(|(old, new)| {
            let is_kept = |(key, value)| new.real_servers.get(key) == Some(value);
            old.config == new.config && old.real_servers.iter().all(is_kept)
        });
        keeps_vips && keeps_services && adds_servers
    }

    fn is_cut_off(&self) -> bool {
        let pairs =
            || self.before.iter().filter_map(|(name, old)| Some((old, self.after.get(name)?)));
        let is_beginning =
            |(old, new): (&String, &String)| old != new && old.starts_with(new.as_str());
        let lost_mark =
            |(old, new): (&String, &String)| old.ends_with(MARK) && !new.ends_with(MARK);
        (pairs().any(is_beginning) && !self.only_adds()) || pairs().any(lost_mark)
    }

    /// Returns the services and VIPs that the file of that name lists, alone.
    fn listed(texts: &Texts, name: &str) -> BTreeSet<Listed> {
        let all = desired(texts);
        let mut others = texts.clone();
        others.remove(name);
        let rest = desired(&others);
        let services = all.services.keys().filter(|key| !rest.services.contains_key(key));
        let vips = all.vips.keys().filter(|vip| !rest.vips.contains_key(vip));
        let vips = vips.map(|vip| Listed::Vip(vip.address));
        services.copied().map(Listed::Service).chain(vips).collect()
    }

    fn is_file_missing(&self) -> bool {
        let of_new = |listed: &Listed| match listed {
            Listed::Service(key) => self.new.services.contains_key(key),
            Listed::Vip(address) => self.new.vips.keys().any(|vip| vip.address == *address),
        };
        let everything: BTreeSet<Listed> =
            self.before.keys().flat_map(|name| Self::listed(self.before, name)).collect();
        self.before.keys().any(|name| {
            let old = Self::listed(self.before, name);
            let takes = old.iter().any(|it| !of_new(it));
            let is_gone = if self.after.contains_key(name) {
                let new = Self::listed(self.after, name);
                let former: BTreeSet<Client> = old.iter().map(Client::of).collect();
                let left = former.iter().filter(|client| self.serves(client)).count();
                let known: BTreeSet<Client> = everything.iter().map(Client::of).collect();
                let lists_others = new.iter().any(|it| !known.contains(&Client::of(it)));
                left * 2 < former.len() && lists_others
            } else {
                true
            };
            takes && is_gone
        })
    }

    /// Whether the new spec has an object with that address or mark.
    fn serves(&self, client: &Client) -> bool {
        let services = self.new.services.keys().copied().map(Listed::Service);
        let vips = self.new.vips.keys().map(|vip| Listed::Vip(vip.address));
        services.chain(vips).any(|it| Client::of(&it) == *client)
    }

    /// Whether services of other programs are in the new scope and were not in the old one: no spec
    /// here lists them, so they would be deleted.
    fn covers_others(&self) -> bool {
        let others = OTHERS.map(|service| ServiceKey::parse(service).unwrap());
        others.iter().any(|key| self.new.scope.contains(key) && !self.old.scope.contains(key))
    }

    fn is_mass_deletion(&self) -> bool {
        let falls =
            |live: usize, left: usize| live >= MASS_FROM && left * 100 < live * MASS_PERCENT;
        let vips = self.old.vips.keys().filter(|vip| self.new.vips.contains_key(vip)).count();
        falls(self.old.services.len(), self.kept().count())
            || falls(self.old.vips.len(), vips)
            || self.kept().any(|(old, new)| falls(old.real_servers.len(), new.real_servers.len()))
    }

    fn has_bare_service(&self) -> bool {
        let weighs = |service: &Service| service.real_servers.iter().any(|(_, it)| it.weight > 0);
        self.kept().any(|(old, new)| weighs(old) && !weighs(new))
    }

    fn unbinds_in_use(&self) -> bool {
        let gone = self.old.vips.keys().filter(|vip| !self.new.vips.contains_key(vip));
        let needs = |address: IpAddr| {
            let is_on = |key: &ServiceKey| match key {
                ServiceKey::Address { address: on, .. } => *on == address,
                ServiceKey::Fwmark { .. } => false,
            };
            self.new.services.keys().any(is_on)
        };
        gone.into_iter().any(|vip| needs(vip.address))
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_lab_tests::dice::TestRng;

    use super::super::edits::{Author, Kind};
    use super::*;

    #[test]
    fn edits_are_valid_specs_and_trigger_each_predicted_guard() {
        let mut author = Author::new(TestRng::new(1));
        let mut tree = author.first();
        let mut before_last = tree.clone();
        let (mut met, mut passed) = (BTreeSet::new(), 0);
        for at in 0..600 {
            let before = tree.clone();
            let kind = match at {
                300 => {
                    author.make(Kind::Mark, &mut tree);
                    Kind::Mark
                }
                _ => author.edit(&mut tree).0,
            };
            if kind == Kind::Revert {
                tree = std::mem::replace(&mut before_last, before.clone());
            } else {
                before_last = before.clone();
            }
            let guards = refusals(&before.texts(), &tree.texts());
            passed += usize::from(guards.is_empty());
            if guards.contains("wider-scope") {
                before_last = std::mem::replace(&mut tree, before);
            }
            met.extend(guards);
        }
        let all =
            ["cut-off", "mass-delete", "missing-file", "no-server", "unbind-in-use", "wider-scope"];
        assert_eq!(met, BTreeSet::from(all));
        assert!(passed > 400, "{passed}");
    }
}
