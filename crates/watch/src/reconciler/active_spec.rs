//! Tracks the active spec, the newest one, and why the newest one cannot become active.

use std::sync::Arc;

use evenkeel_control::{ActiveSpec, ParameterStatus, SpecProblem};
use evenkeel_engine::{Journal, LastApplied, StateDir, StoredSpec, StoredSpecTexts, hexadecimal};
use evenkeel_model::{Desired, Names};
use evenkeel_plan::Op;
use evenkeel_source::{Reading, SpecText};
use evenkeel_workflow::compare_texts;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::parameter_changes::ParameterChanges;
use crate::metrics::Reload;

/// The specs known to the daemon, whatever source they come from.
#[derive(Default)]
pub(crate) struct SpecVersions {
    /// Read and valid, and not active yet.
    newest: Option<Arc<SpecText>>,
    active: Option<Arc<SpecText>>,
    active_status: Option<ActiveSpec>,
    /// The spec that the host last reached, for the causes of steps. It is older than `active` until
    /// that is reached.
    reached: Option<Arc<SpecText>>,
    problem: Option<SpecProblem>,
    parameters: ParameterChanges,
}

impl SpecVersions {
    /// Activates the last applied spec of the journal, until a newer one is valid.
    pub(crate) fn remember(&mut self, state: &StateDir, journal: &Journal, now: u64) {
        let last = match state.last_spec(journal) {
            Ok(Some(last)) => last,
            Ok(None) => return,
            Err(lost) => return warn!("{lost}"),
        };
        match remembered(last) {
            Some(spec) => {
                self.parameters.remember(&spec.parameters, now);
                let spec = Arc::new(spec);
                self.reached = Some(Arc::clone(&spec));
                self.enforce(spec, now);
            }
            None => warn!("this version cannot read the last applied spec; it is not enforced"),
        }
    }

    /// Accepts what was read at this time, in seconds since 1970, and returns whether it is valid.
    pub(crate) fn take(&mut self, reading: Reading, now: u64) -> Reload {
        self.parameters.update(&reading.parameters, now);
        match reading.spec {
            Ok(spec) => {
                self.parameters.retain(&spec.parameters);
                if self.problem.take().is_some() {
                    info!("the spec is valid again");
                }
                let is_new = self.newest.as_ref().is_none_or(|newest| !newest.is_same(&spec));
                if is_new && !spec.warnings.is_empty() {
                    warn!("{}", spec.warnings.trim_end());
                }
                let is_active = self.active.as_ref().is_some_and(|old| old.is_same(&spec));
                self.newest = (!is_active).then(|| Arc::new(spec));
                Reload::Good
            }
            Err(error) => {
                self.newest = None;
                if self.problem.as_ref().is_none_or(|problem| problem.text != error.text) {
                    let kept = self.active.is_some();
                    let problem =
                        SpecProblem { since: now, text: error.text, temporary: error.is_temporary };
                    warn!("{}:\n{}", problem.effect(kept), problem.text.trim_end());
                    self.problem = Some(problem);
                }
                Reload::Bad
            }
        }
    }

    /// Returns the newest valid spec, if it is not active.
    pub(crate) fn newest(&self) -> Option<Arc<SpecText>> {
        self.newest.clone()
    }

    /// Returns the active spec.
    pub(crate) fn active(&self) -> Option<Arc<SpecText>> {
        self.active.clone()
    }

    /// Activates the newest spec.
    pub(crate) fn accept(&mut self, now: u64) {
        let Some(spec) = self.newest.take() else { return };
        // What the new spec removes drains as the old one says.
        self.reached = self.active.take();
        self.enforce(spec, now);
    }

    fn enforce(&mut self, spec: Arc<SpecText>, now: u64) {
        let generation =
            self.active_status.as_ref().map_or(0, |active_status| active_status.generation) + 1;
        let digest = digest(&spec);
        info!(digest = &digest[..12], generation, "spec activated");
        self.active_status = Some(ActiveSpec { digest, generation, since: now });
        self.active = Some(spec);
    }

    /// Records that the host has reached the active spec.
    pub(crate) fn set_reached(&mut self) {
        self.reached.clone_from(&self.active);
    }

    /// Returns what a plan for this spec needs of the spec before it. The contents of their files are
    /// compared only if these operations remove something.
    pub(crate) fn history(&self, spec: &SpecText, ops: &[Op]) -> LastApplied {
        let last = self.before(spec).filter(|_| !ops.is_empty());
        let last = last.map(|last| Desired::clone(&last.desired));
        let Some(before) = self.active.as_ref().filter(|before| !before.is_same(spec)) else {
            return LastApplied { last, ..LastApplied::default() };
        };
        LastApplied { last, ..compare_texts(&**before, spec, ops) }
    }

    /// Returns the names of services for plans of this spec.
    pub(crate) fn names<'a>(&'a self, spec: &'a SpecText) -> Names<'a> {
        Names { desired: &spec.desired, last: self.before(spec).map(|last| &*last.desired) }
    }

    /// Returns the spec before this one.
    fn before(&self, spec: &SpecText) -> Option<&SpecText> {
        let is_active = self.active.as_ref().is_some_and(|it| it.is_same(spec));
        if is_active { self.reached.as_deref() } else { self.active.as_deref() }
    }

    /// Returns the desired state of the active spec; an empty one if there is none.
    pub(crate) fn desired(&self) -> Arc<Desired> {
        self.active.as_ref().map(|spec| Arc::clone(&spec.desired)).unwrap_or_default()
    }

    pub(crate) fn active_status(&self) -> Option<&ActiveSpec> {
        self.active_status.as_ref()
    }

    pub(crate) fn problem(&self) -> Option<&SpecProblem> {
        self.problem.as_ref()
    }

    /// Lists the parameters that changed or have no value.
    pub(crate) fn parameters(&self) -> Vec<ParameterStatus> {
        self.parameters.status()
    }
}

/// Returns the SHA-256 of a spec's texts, in hexadecimal digits.
pub(crate) fn digest(spec: &SpecText) -> String {
    StoredSpec::new(&spec.texts(), &spec.parameters).digest.into()
}

/// Returns the digest of a spec's texts together with the values of its parameters: what a user approved
/// for one value says nothing about another.
pub(crate) fn digest_with_parameters(spec: &SpecText) -> String {
    let mut hash = Sha256::new();
    hash.update(digest(spec));
    for (name, value) in &spec.parameters {
        for part in [name, value] {
            hash.update(part.len().to_ne_bytes());
            hash.update(part.as_bytes());
        }
    }
    hexadecimal(&hash.finalize())
}

/// Whether it is the spec that the journal records. Names are not compared.
pub(crate) fn is_stored_as(spec: &SpecText, stored: &StoredSpec) -> bool {
    spec.parameters == stored.parameters && *digest(spec) == *stored.digest
}

/// Parses the texts of a spec that was applied before; `None` if this version does not accept them any
/// more.
fn remembered(last: StoredSpecTexts) -> Option<SpecText> {
    let StoredSpecTexts { texts, parameters } = last;
    SpecText::recorded(texts, parameters)
}
