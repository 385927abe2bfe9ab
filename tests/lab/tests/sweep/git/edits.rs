//! Everyday edits of a repository of specs.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_lab_tests::dice::TestRng;

use super::tree::{FOREIGN, Service, TeamFile, Tree, UNUSED};

/// A kind of edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    AppendService,
    AppendServer,
    Revert,
    RemoveLastServer,
    RemoveLastService,
    RemoveService,
    Reorder,
    RenameFile,
    SplitFile,
    /// The next of the two commits that remove a service: its weights to 0, or its removal.
    Decommission,
    /// The next of the two commits that remove a team: its file emptied, or its removal.
    Retire,
    AddFile,
    /// Removes a file that still lists something.
    RemoveFile,
    Weight,
    Scheduler,
    ReplaceServers,
    /// Leaves one real server of a service that has many.
    ThinOut,
    /// Adds a network without services to the scope, or removes it.
    Scope,
    /// Adds a network to the scope in which other programs have a service.
    WidenScope,
    /// Adds the end mark to every file or removes it from all of them.
    Mark,
}

/// How often each kind occurs before all are shuffled again, as in a deck of cards.
const DECK: [(Kind, usize); 19] = [
    (Kind::AppendService, 3),
    (Kind::AppendServer, 3),
    (Kind::Revert, 2),
    (Kind::RemoveLastServer, 1),
    (Kind::RemoveLastService, 1),
    (Kind::RemoveService, 1),
    (Kind::Reorder, 1),
    (Kind::RenameFile, 1),
    (Kind::SplitFile, 1),
    (Kind::Decommission, 2),
    (Kind::Retire, 2),
    (Kind::AddFile, 1),
    (Kind::RemoveFile, 1),
    (Kind::Weight, 1),
    (Kind::Scheduler, 1),
    (Kind::ReplaceServers, 1),
    (Kind::ThinOut, 1),
    (Kind::Scope, 1),
    (Kind::WidenScope, 1),
];

/// From this number of services on, none is added.
const MANY: usize = 40;

/// Makes one edit after the other.
#[derive(Debug)]
pub(super) struct Author {
    rng: TestRng,
    deck: Vec<Kind>,
    /// The number of the next service, file and team; none is reused.
    next: usize,
}

impl Author {
    pub(super) fn new(rng: TestRng) -> Self {
        Self { rng, deck: Vec::new(), next: 10 }
    }

    /// Returns a repository of four teams with a few services each.
    pub(super) fn first(&mut self) -> Tree {
        let mut tree = Tree { files: BTreeMap::new(), mark: false, networks: BTreeSet::new() };
        for _ in 0..4 {
            self.add_file(&mut tree);
        }
        tree
    }

    /// Chooses a kind of edit, makes it and returns its description. A revert is left to Git.
    pub(super) fn edit(&mut self, tree: &mut Tree) -> (Kind, String) {
        loop {
            let kind = self.draw();
            if let Some(words) = self.make(kind, tree) {
                return (kind, words);
            }
        }
    }

    /// Returns true with this probability in percent.
    pub(super) fn percent(&mut self, share: usize) -> bool {
        self.rng.percent(share)
    }

    fn draw(&mut self) -> Kind {
        if self.deck.is_empty() {
            let kinds = DECK.iter();
            self.deck = kinds.flat_map(|(kind, number)| vec![*kind; *number]).collect();
        }
        let at = self.rng.below(self.deck.len());
        self.deck.swap_remove(at)
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Makes an edit of this kind; `None` if there is nothing to edit that way.
    pub(super) fn make(&mut self, kind: Kind, tree: &mut Tree) -> Option<String> {
        let is_full = tree.services() >= MANY;
        match kind {
            Kind::Revert => Some("revert the last commit".to_owned()),
            Kind::Mark => {
                tree.mark = !tree.mark;
                let what = if tree.mark { "add the end mark to" } else { "take the end mark off" };
                Some(format!("{what} every file"))
            }
            Kind::AppendService => {
                let (name, file) = self.file(tree, |it| !is_full && it.vips)?;
                let service = self.service(file.team);
                let number = service.number;
                file.services.push(service);
                Some(format!("append service s{number} to {name}"))
            }
            Kind::AppendServer => {
                let (service, name) = self.service_of(tree, |it| it.real_servers.len() < 6)?;
                let real_server = self.number() % 250 + 1;
                service.real_servers.retain(|(number, _)| *number != real_server);
                service.real_servers.push((real_server, 1));
                Some(format!("append a real server to {name}"))
            }
            Kind::RemoveLastServer => {
                let has_two = |it: &Service| it.real_servers.len() > 1;
                let (name, file) = self.file(tree, |it| it.services.last().is_some_and(has_two))?;
                file.services.last_mut()?.real_servers.pop();
                Some(format!("remove the last real server of {name}"))
            }
            Kind::RemoveLastService => {
                let (name, file) = self.file(tree, |it| it.services.len() > 1)?;
                let service = file.services.pop()?;
                Some(format!("remove s{}, the last service of {name}", service.number))
            }
            Kind::RemoveService => {
                let (name, file) = self.file(tree, |it| it.services.len() > 2)?;
                let service = file.services.remove(0);
                Some(format!("remove s{}, the first service of {name}", service.number))
            }
            Kind::Reorder => {
                let (name, file) = self.file(tree, |it| it.services.len() > 1)?;
                file.services.rotate_left(1);
                Some(format!("reorder {name}"))
            }
            Kind::RenameFile => {
                let (name, _) = self.file(tree, |_| true)?;
                let new = format!("{}-team-{}.yaml", self.rng.between(10, 99), self.number());
                let file = tree.files.remove(&name)?;
                tree.files.insert(new.clone(), file);
                Some(format!("rename {name} to {new}"))
            }
            Kind::SplitFile => {
                let number = self.number();
                let (name, file) = self.file(tree, |it| it.services.len() > 1)?;
                let services = file.services.split_off(file.services.len() / 2);
                let team = file.team;
                let new = name.replace(".yaml", &format!("-{number}.yaml"));
                tree.files.insert(new.clone(), TeamFile { team, vips: false, services });
                Some(format!("split {name}, its second half is {new}"))
            }
            Kind::Decommission => self.decommission(tree),
            Kind::Retire => self.retire(tree),
            Kind::AddFile => (!is_full).then(|| self.add_file(tree)),
            Kind::RemoveFile => {
                let many = tree.files.len() > 3;
                let (name, _) = self.file(tree, |it| many && !it.lists_nothing())?;
                tree.files.remove(&name);
                Some(format!("remove {name}, which lists something"))
            }
            Kind::Weight => {
                let (service, name) = self.service_of(tree, |it| !it.real_servers.is_empty())?;
                service.real_servers[0].1 += 1;
                Some(format!("raise a weight of {name}"))
            }
            Kind::Scheduler => {
                let (service, name) = self.service_of(tree, |_| true)?;
                service.scheduler = if service.scheduler == "wlc" { "wrr" } else { "wlc" };
                Some(format!("another scheduler for {name}"))
            }
            Kind::ReplaceServers => {
                let first = self.number() * 7 % 200 + 1;
                let (service, name) = self.service_of(tree, |it| !it.is_at_zero())?;
                for (index, (number, weight)) in service.real_servers.iter_mut().enumerate() {
                    (*number, *weight) = (first + index, (*weight).max(1));
                }
                Some(format!("replace every real server of {name}"))
            }
            Kind::ThinOut => {
                let has_many = |it: &Service| it.real_servers.len() > 3 && !it.is_at_zero();
                let (service, name) = self.service_of(tree, has_many)?;
                let kept = service.real_servers.iter().position(|(_, weight)| *weight > 0)?;
                service.real_servers = vec![service.real_servers[kept]];
                Some(format!("leave one real server of {name}"))
            }
            Kind::Scope => match tree.networks.remove(UNUSED) {
                true => Some("narrow the scope by an unused network".to_owned()),
                false => {
                    tree.networks.insert(UNUSED);
                    Some("widen the scope by an unused network".to_owned())
                }
            },
            Kind::WidenScope => tree
                .networks
                .insert(FOREIGN)
                .then(|| "widen the scope by a network of others".to_owned()),
        }
    }

    fn decommission(&mut self, tree: &mut Tree) -> Option<String> {
        let at_zero = tree.files.iter().find_map(|(name, file)| {
            let at = file.services.iter().position(Service::is_at_zero)?;
            Some((name.clone(), at))
        });
        if let Some((name, at)) = at_zero {
            let service = tree.files.get_mut(&name)?.services.remove(at);
            return Some(format!("decommission s{}, second commit: its removal", service.number));
        }
        let (service, name) = self.service_of(tree, |_| true)?;
        service.real_servers.iter_mut().for_each(|(_, weight)| *weight = 0);
        Some(format!("decommission {name}, first commit: its weights to 0"))
    }

    fn retire(&mut self, tree: &mut Tree) -> Option<String> {
        let empty = tree.files.iter().find(|(_, file)| file.lists_nothing());
        if let Some(name) = empty.map(|(name, _)| name.clone()) {
            tree.files.remove(&name);
            return Some(format!("retire {name}, second commit: its removal"));
        }
        let many = tree.files.len() > 3;
        let (name, file) = self.file(tree, |it| many && !it.lists_nothing())?;
        (file.vips, file.services) = (false, Vec::new());
        Some(format!("retire {name}, first commit: it lists nothing"))
    }

    fn add_file(&mut self, tree: &mut Tree) -> String {
        let number = self.number();
        let team = number;
        let services = (0..self.rng.between(2, 4)).map(|_| self.service(team)).collect();
        let name = format!("{}-team-{number}.yaml", self.rng.between(10, 99));
        tree.files.insert(name.clone(), TeamFile { team, vips: true, services });
        format!("add {name}")
    }

    fn service(&mut self, team: usize) -> Service {
        let number = self.number();
        let first = self.rng.between(1, 200);
        let real_servers = (0..self.rng.between(1, 4)).map(|it| (first + it, 1 + it)).collect();
        Service { number, team, scheduler: "rr", real_servers }
    }

    /// Returns a random file that satisfies the condition.
    fn file<'a>(
        &mut self,
        tree: &'a mut Tree,
        is_fit: impl Fn(&TeamFile) -> bool,
    ) -> Option<(String, &'a mut TeamFile)> {
        let fit = tree.files.iter_mut().filter(|(_, file)| is_fit(file));
        let mut fit: Vec<_> = fit.collect();
        if fit.is_empty() {
            return None;
        }
        let (name, file) = fit.swap_remove(self.rng.below(fit.len()));
        Some((name.clone(), file))
    }

    /// Returns the name of a random service that satisfies the condition, with its file.
    fn service_of<'a>(
        &mut self,
        tree: &'a mut Tree,
        is_fit: impl Fn(&Service) -> bool,
    ) -> Option<(&'a mut Service, String)> {
        let all = tree.files.values_mut().flat_map(|file| &mut file.services);
        let mut fit: Vec<_> = all.filter(|service| is_fit(service)).collect();
        if fit.is_empty() {
            return None;
        }
        let service = fit.swap_remove(self.rng.below(fit.len()));
        let name = format!("s{}", service.number);
        Some((service, name))
    }
}
