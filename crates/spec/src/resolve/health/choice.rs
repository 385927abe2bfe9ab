//! Which check a real server has: its own, or that of the nearest list, service or default.

use std::sync::Arc;

use evenkeel_model::check::Check;

use super::NamedChecks;
use crate::path::{At, Path, Step};
use crate::recovering_de::{Field, List};
use crate::resolve::Diagnostics;
use crate::spec::{CheckText, RealServer};

/// What one `check` says.
#[derive(Debug, Clone, Default)]
pub(crate) enum Choice {
    /// Nothing is written.
    #[default]
    Absent,
    /// It could not be read, which was reported.
    Bad,
    /// `none`.
    None,
    /// Checks, all of which must pass, without flap damping.
    Checks {
        all: Arc<[Check]>,
        /// Whether they are written as a list, so that each has a place of its own.
        is_list: bool,
    },
}

/// A `check` with its place.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    pub(crate) choice: Choice,
    pub(crate) at: Path,
}

/// The checks of a list of real servers: those of its members, and that of the pool whose list it is.
#[derive(Debug)]
pub(crate) struct ListChecks {
    /// By the index of the real server, in their order. Most lists have none.
    own: Vec<(usize, Choice)>,
    /// Where the list is written.
    list: Path,
    /// That of the pool.
    pool: Option<Level>,
}

impl Choice {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether something is checked, as far as it could be read.
    pub(crate) fn may_check(&self) -> bool {
        matches!(self, Self::Checks { .. } | Self::Bad)
    }
}

impl ListChecks {
    /// Reads the checks of a list and of its pool, with all that is wrong with them by themselves.
    pub(crate) fn read(
        list: &List<RealServer>,
        at: &At<'_>,
        pool: Option<Level>,
        named: &NamedChecks<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let written = list.values().filter(|(_, it)| !it.check.is_absent());
        let own = written.map(|(index, real_server)| {
            let choice = named.read(&real_server.check, &at.item(index).key("check"), diagnostics);
            (index, choice)
        });
        let own = own.collect();
        Self { own, list: at.path(), pool: pool.filter(|it| !it.choice.is_absent()) }
    }

    /// Whether neither the pool nor one of the real servers says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.pool.is_none()
    }

    /// The check of a real server, if its service, or whatever is further away, says this.
    pub(crate) fn of<'a>(&'a self, index: usize, outer: Option<&'a Level>) -> Found<'a> {
        match self.own.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => Found { choice: &self.own[at].1, place: Place::Own(&self.list, index) },
            Err(_) => match self.pool.as_ref().or(outer) {
                Some(level) => Found { choice: &level.choice, place: Place::Level(&level.at) },
                None => Found { choice: &Choice::Absent, place: Place::Own(&self.list, index) },
            },
        }
    }

    /// The first place of a check in the list or of its pool.
    pub(crate) fn first(&self) -> Option<Path> {
        let own = self.own.iter().filter(|(_, choice)| choice.may_check());
        let own = own.map(|(index, _)| Place::Own(&self.list, *index).path());
        let pool = self.pool.iter().filter(|it| it.choice.may_check()).map(|it| it.at.clone());
        own.chain(pool).next()
    }
}

/// The check of a real server, and where it is written.
pub(crate) struct Found<'a> {
    pub(crate) choice: &'a Choice,
    pub(crate) place: Place<'a>,
}

/// Where a check is written, in a form that allocates nothing.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// At the real server of that index in a list.
    Own(&'a Path, usize),
    /// Elsewhere.
    Level(&'a Path),
}

impl Place<'_> {
    pub(crate) fn path(self) -> Path {
        match self {
            Self::Own(list, index) => list.clone().then(Step::Item(index)).then(Step::Key("check")),
            Self::Level(path) => path.clone(),
        }
    }
}

impl NamedChecks<'_> {
    /// Reads a `check` together with its place.
    pub(crate) fn level(
        &self,
        field: &Field<Box<CheckText>>,
        at: &At<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Level {
        Level { choice: self.read(field, at, diagnostics), at: at.path() }
    }
}
