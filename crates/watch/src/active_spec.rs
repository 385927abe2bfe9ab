//! Which spec is in force, and what is the matter with a newer one.

use std::sync::Arc;

use evenkeel_engine::{Journal, LastApplied, StateDir};
use evenkeel_model::{Desired, Names};
use evenkeel_plan::{Op, cut_off, lost_files, may_have_lost_files};
use tracing::{info, warn};

use crate::metrics::Reload;
use crate::spec_source::{SpecSource, SpecText};
use crate::status::{ActiveSpec, Problem};

/// The specs that the daemon knows.
pub(crate) struct SpecVersions {
    source: Box<dyn SpecSource>,
    /// Read and good, and not in force yet.
    newest: Option<Arc<SpecText>>,
    active: Option<Arc<SpecText>>,
    active_status: Option<ActiveSpec>,
    /// What the host was brought to last, for the causes of steps. Behind `active` until that is
    /// reached.
    reached: Option<Arc<SpecText>>,
    problem: Option<Problem>,
}

impl SpecVersions {
    pub(crate) fn new(source: Box<dyn SpecSource>) -> Self {
        Self {
            source,
            newest: None,
            active: None,
            active_status: None,
            reached: None,
            problem: None,
        }
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
                let is_active = self.active.as_ref().is_some_and(|old| old.is_same(&spec));
                self.newest = (!is_active).then(|| Arc::new(spec));
                Reload::Good
            }
            Err(text) => {
                self.newest = None;
                if self.problem.as_ref().is_none_or(|problem| problem.text != text) {
                    let kept = match &self.active {
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
    pub(crate) fn active(&self) -> Option<Arc<SpecText>> {
        self.active.clone()
    }

    /// The newest one comes into force.
    pub(crate) fn accept(&mut self, now: u64) {
        let Some(spec) = self.newest.take() else { return };
        // What departs with it drains by what the one before said.
        self.reached = self.active.take();
        self.enforce(spec, now);
    }

    fn enforce(&mut self, spec: Arc<SpecText>, now: u64) {
        let generation =
            self.active_status.as_ref().map_or(0, |active_status| active_status.generation) + 1;
        let digest = spec.digest();
        info!(digest = &digest[..12], generation, "spec in force");
        self.active_status = Some(ActiveSpec { digest, generation, since: now });
        self.active = Some(spec);
    }

    /// The host is as the spec in force asks.
    pub(crate) fn set_reached(&mut self) {
        self.reached.clone_from(&self.active);
    }

    /// What plans for that spec should know of the one before. What its files list is compared
    /// only where those operations take something away.
    pub(crate) fn history(&self, spec: &SpecText, ops: &[Op]) -> LastApplied {
        let last = self.before(spec).filter(|_| !ops.is_empty());
        let last = last.map(|last| Desired::clone(&last.desired));
        let Some(before) = self.active.as_ref().filter(|before| !before.is_same(spec)) else {
            return LastApplied { last, ..LastApplied::default() };
        };
        let lost_files = match may_have_lost_files(ops, &before.texts(), &spec.texts()) {
            true => lost_files(&self.source.contents(before), &self.source.contents(spec)),
            false => Vec::new(),
        };
        LastApplied { last, cut_off: cut_off(&spec.texts(), &before.texts()), lost_files }
    }

    /// What services are called in plans for that spec.
    pub(crate) fn names<'a>(&'a self, spec: &'a SpecText) -> Names<'a> {
        Names { desired: &spec.desired, last: self.before(spec).map(|last| &*last.desired) }
    }

    /// The spec before that one.
    fn before(&self, spec: &SpecText) -> Option<&SpecText> {
        let is_active = self.active.as_ref().is_some_and(|it| it.is_same(spec));
        if is_active { self.reached.as_deref() } else { self.active.as_deref() }
    }

    /// What the spec in force asks for; nothing where there is none.
    pub(crate) fn desired(&self) -> Arc<Desired> {
        self.active.as_ref().map(|spec| Arc::clone(&spec.desired)).unwrap_or_default()
    }

    pub(crate) fn active_status(&self) -> Option<&ActiveSpec> {
        self.active_status.as_ref()
    }

    pub(crate) fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }
}
