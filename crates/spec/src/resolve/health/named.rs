//! Resolves the checks of `checks`, and where checks are used.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use evenkeel_model::check::{Check, Flap};

use super::Choice;
use super::check::check;
use crate::path::{At, Path};
use crate::recovering_de::Field;
use crate::resolve::Diagnostics;
use crate::spec::{CheckKeys, CheckRef, CheckText, NONE, Name, Spec};
use crate::suggest::{self, quote};

/// Lists of checks with flap damping, by the address of the list without.
type Damped = HashMap<(usize, Flap), Arc<[Check]>>;

/// All checks that have a name, and each list of checks once, however many real servers have it.
pub(crate) struct NamedChecks<'s> {
    by_name: BTreeMap<&'s str, Named>,
    /// One of them could not be read, so a name that is not found may be its name.
    doubtful: bool,
    /// Lists without flap damping.
    shared: RefCell<HashSet<Arc<[Check]>>>,
    damped: RefCell<Damped>,
}

struct Named {
    at: Path,
    /// `None` if it could not be read, which was reported.
    check: Option<Check>,
    is_used: Cell<bool>,
}

impl<'s> NamedChecks<'s> {
    pub(crate) fn collect(
        sources: &[(At<'_>, &'s Spec)],
        complete: bool,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut by_name: BTreeMap<&str, Named> = BTreeMap::new();
        let mut doubtful = !complete;
        for (root, spec) in sources {
            doubtful |= spec.checks.is_bad();
            let at = root.key("checks");
            for (name, field) in spec.checks.value().into_iter().flat_map(|it| &it.0) {
                let at = at.named(name);
                if let Some(first) = by_name.get(&**name) {
                    diagnostics
                        .error(&at, format!("the check {} is defined twice", quote(name)))
                        .at_key()
                        .remedy("give each check a name of its own")
                        .related(first.at.clone(), "first written here");
                    continue;
                }
                if **name == *NONE || Name::parse(name).is_err() {
                    let remedy = match &**name {
                        NONE => "choose another one: `check: none` means no check",
                        _ => Name::RULE,
                    };
                    let message = format!("{} cannot be the name of a check", quote(name));
                    diagnostics.error(&at, message).at_key().remedy(remedy);
                }
                let check =
                    field.value().and_then(|keys: &CheckKeys| check(keys, &at, diagnostics));
                by_name.insert(name, Named { at: at.path(), check, is_used: Cell::new(false) });
            }
        }
        let (shared, damped) = (RefCell::default(), RefCell::default());
        Self { by_name, doubtful, shared, damped }
    }

    /// Resolves what a `check` says.
    pub(crate) fn read(
        &self,
        field: &Field<Box<CheckText>>,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Choice {
        let text = match field {
            Field::Absent => return Choice::Absent,
            Field::Bad => return Choice::Bad,
            Field::Value(text) => &**text,
        };
        match text {
            CheckText::None => Choice::None,
            CheckText::One(one) => match self.one(one, at, diagnostics) {
                Some(check) => Choice::Checks { all: self.share(vec![check]), is_list: false },
                None => Choice::Bad,
            },
            CheckText::All(list) => {
                if list.0.is_empty() {
                    diagnostics
                        .error(at, "the list of checks is empty")
                        .remedy("write at least one, or `check: none`");
                }
                let all: Vec<Option<Check>> = list
                    .values()
                    .map(|(index, one)| self.one(one, &at.item(index), diagnostics))
                    .collect();
                let all: Option<Vec<Check>> = all.into_iter().collect();
                match all.filter(|all| !all.is_empty() && !list.has_bad()) {
                    Some(all) => Choice::Checks { all: self.share(all), is_list: true },
                    None => Choice::Bad,
                }
            }
        }
    }

    fn one(&self, one: &CheckRef, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<Check> {
        let name = match one {
            CheckRef::Inline(keys) => return check(keys, at, diagnostics),
            CheckRef::Named(name) => &*name.0,
        };
        let Some(named) = self.by_name.get(name) else {
            if !self.doubtful {
                let diagnostic = diagnostics.error(at, format!("there is no check `{name}`"));
                diagnostic.remedy(match CheckKeys::KINDS.contains(&name) {
                    true => format!("a check of that kind is written `{{ {name}: {{}} }}`"),
                    false if self.by_name.is_empty() => "write it under `checks`".to_owned(),
                    false => suggest::remedy(name, "the checks are", self.by_name.keys().copied()),
                });
            }
            return None;
        };
        named.is_used.set(true);
        named.check.clone()
    }

    /// The one list that is equal to this.
    fn share(&self, all: Vec<Check>) -> Arc<[Check]> {
        let mut shared = self.shared.borrow_mut();
        if let Some(found) = shared.get(&*all) {
            return Arc::clone(found);
        }
        let all: Arc<[Check]> = all.into();
        shared.insert(Arc::clone(&all));
        all
    }

    /// Those checks with flap damping. `all` must be from this.
    pub(super) fn damped(&self, all: &Arc<[Check]>, flap: Option<Flap>) -> Arc<[Check]> {
        let Some(flap) = flap else { return Arc::clone(all) };
        // All lists live as long as this does, so that an address belongs to one of them.
        let key = (Arc::as_ptr(all).cast::<Check>().addr(), flap);
        let mut damped = self.damped.borrow_mut();
        let made = damped.entry(key).or_insert_with(|| {
            all.iter().cloned().map(|check| Check { flap: Some(flap), ..check }).collect()
        });
        Arc::clone(made)
    }

    /// Warns of checks that no service, pool or default names.
    pub(crate) fn warn_of_unused(&self, diagnostics: &mut Diagnostics) {
        for (name, named) in self.by_name.iter().filter(|(_, named)| !named.is_used.get()) {
            diagnostics
                .warning(named.at.clone(), format!("nothing uses the check `{name}`"))
                .at_key()
                .remedy(format!("write `check: {name}` where it is meant, or remove it"));
        }
    }
}
