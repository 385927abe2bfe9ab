//! Which spec is in force, and what is the matter with a newer one.

use std::sync::Arc;

use evenkeel_engine::{History, Journal, StateDir};
use evenkeel_model::{Desired, Names};
use evenkeel_plan::{Op, cut_off, lost_files};
use tracing::{info, warn};

use crate::metrics::Reload;
use crate::source::{SpecSource, SpecText};
use crate::status::{InForce, Problem};

/// The specs that the daemon knows.
pub(crate) struct Specs {
    source: Box<dyn SpecSource>,
    /// Read and good, and not in force yet.
    newest: Option<Arc<SpecText>>,
    in_force: Option<Arc<SpecText>>,
    told: Option<InForce>,
    /// What the host was brought to last, for the causes of steps. Behind `in_force` until that is
    /// reached.
    reached: Option<Arc<SpecText>>,
    problem: Option<Problem>,
}

impl Specs {
    pub(crate) fn new(source: Box<dyn SpecSource>) -> Self {
        Self { source, newest: None, in_force: None, told: None, reached: None, problem: None }
    }

    /// Takes up the last applied spec of the journal: it is enforced until a newer one is good.
    pub(crate) fn remember(&mut self, state: &StateDir, journal: &Journal, now: u64) {
        let last = match state.last_spec(journal) {
            Ok(Some(last)) => last,
            Ok(None) => return,
            Err(lost) => return warn!("{lost}"),
        };
        match self.source.remembered(last) {
            Some(spec) => {
                let spec = Arc::new(spec);
                self.reached = Some(Arc::clone(&spec));
                self.enforce(spec, now);
            }
            None => warn!("this version does not take the last applied spec; it is not enforced"),
        }
    }

    /// What the spec that a journal names as the last applied one asks for; `None` where that cannot
    /// be known.
    pub(crate) fn stored(&mut self, state: &StateDir, journal: &Journal) -> Option<Arc<Desired>> {
        let last = state.last_spec(journal).ok().flatten()?;
        Some(self.source.remembered(last)?.desired)
    }

    /// Reads the spec as it is now; nothing comes of it before [`Self::take`].
    pub(crate) fn read(&mut self) -> Result<SpecText, String> {
        self.source.read()
    }

    /// Takes what was read, at that time in seconds since 1970; tells how it is.
    pub(crate) fn take(&mut self, read: Result<SpecText, String>, now: u64) -> Reload {
        match read {
            Ok(spec) => {
                if self.problem.take().is_some() {
                    info!("the spec is good again");
                }
                let is_news = self.newest.as_ref().is_none_or(|newest| !newest.is_same(&spec));
                if is_news && !spec.warnings.is_empty() {
                    warn!("{}", spec.warnings.trim_end());
                }
                let is_in_force = self.in_force.as_ref().is_some_and(|old| old.is_same(&spec));
                self.newest = (!is_in_force).then(|| Arc::new(spec));
                Reload::Good
            }
            Err(text) => {
                self.newest = None;
                if self.problem.as_ref().is_none_or(|problem| problem.text != text) {
                    let kept = match &self.in_force {
                        Some(_) => "the last good one stays in force",
                        None => "none is in force",
                    };
                    warn!("the spec is bad; {kept}:\n{}", text.trim_end());
                    self.problem = Some(Problem { since: now, text });
                }
                Reload::Bad
            }
        }
    }

    /// The newest good spec, where it is not in force.
    pub(crate) fn newest(&self) -> Option<Arc<SpecText>> {
        self.newest.clone()
    }

    /// The one that is enforced.
    pub(crate) fn in_force(&self) -> Option<Arc<SpecText>> {
        self.in_force.clone()
    }

    /// The newest one comes into force.
    pub(crate) fn accept(&mut self, now: u64) {
        let Some(spec) = self.newest.take() else { return };
        // What departs with it drains by what the one before said.
        self.reached = self.in_force.take();
        self.enforce(spec, now);
    }

    fn enforce(&mut self, spec: Arc<SpecText>, now: u64) {
        let generation = self.told.as_ref().map_or(0, |told| told.generation) + 1;
        let digest = spec.digest();
        info!(digest = &digest[..12], generation, "spec in force");
        self.told = Some(InForce { digest, generation, since: now });
        self.in_force = Some(spec);
    }

    /// The host is as the spec in force asks.
    pub(crate) fn is_reached(&mut self) {
        self.reached.clone_from(&self.in_force);
    }

    /// What plans for that spec should know of the one before. What its files list is compared
    /// only where those operations take something away.
    pub(crate) fn history(&self, spec: &SpecText, ops: &[Op]) -> History {
        let last = self.before(spec).map(|last| Desired::clone(&last.desired));
        let Some(before) = self.in_force.as_ref().filter(|before| !before.is_same(spec)) else {
            return History { last, ..History::default() };
        };
        let lost_files = match ops.iter().any(Op::may_go_with_a_file) {
            true => lost_files(&self.source.contents(before), &self.source.contents(spec)),
            false => Vec::new(),
        };
        History { last, cut_off: cut_off(&spec.texts(), &before.texts()), lost_files }
    }

    /// What services are called in plans for that spec.
    pub(crate) fn names<'a>(&'a self, spec: &'a SpecText) -> Names<'a> {
        Names { desired: &spec.desired, last: self.before(spec).map(|last| &*last.desired) }
    }

    /// The spec before that one.
    fn before(&self, spec: &SpecText) -> Option<&SpecText> {
        let is_in_force = self.in_force.as_ref().is_some_and(|it| it.is_same(spec));
        if is_in_force { self.reached.as_deref() } else { self.in_force.as_deref() }
    }

    /// What the spec in force asks for; nothing where there is none.
    pub(crate) fn desired(&self) -> Arc<Desired> {
        self.in_force.as_ref().map(|spec| Arc::clone(&spec.desired)).unwrap_or_default()
    }

    pub(crate) fn told(&self) -> Option<&InForce> {
        self.told.as_ref()
    }

    pub(crate) fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }
}
