//! One pass of the daemon: the same plan, guards, order and verification as `apply`.
//!
//! Where `apply` goes back after a failure, the daemon goes on: the object is left alone until its
//! time comes, with all that depends on it ([`evenkeel_plan::without`]), and the rest is done.

mod carry_out;
mod judge;

use std::collections::BTreeSet;
use std::error::Error;

use evenkeel_engine::{
    CONNECTION_SYSCTLS, KernelError, LockError, Sysctls, hidden, in_full, prepare,
};
use evenkeel_model::{Desired, Live};
use evenkeel_plan::{Object, Op, Plan};
use tracing::{info, warn};

use super::{Ground, Keeper, Known, Trouble};
use crate::Reason;
use crate::source::SpecText;
use crate::status::Mode;
use judge::lines;

/// Up to so many services a table is read as a whole each time: that costs little, and nothing is
/// hidden from it.
const SMALL: usize = 64;

/// How often the lock is found taken before its holder is asked for.
const PATIENCE: u32 = 10;

/// How a pass ended.
pub(super) struct End {
    /// A word for logs and metrics.
    pub(super) result: &'static str,
    /// How many operations were carried out.
    pub(super) changes: usize,
    /// Another pass at once does what this one left.
    pub(super) follows_up: bool,
    /// It read the whole kernel.
    pub(super) is_worth_telling: bool,
}

impl End {
    fn quiet(result: &'static str) -> Self {
        Self { result, changes: 0, follows_up: false, is_worth_telling: true }
    }
}

impl<K: Ground> Keeper<K> {
    pub(super) fn make_pass(&mut self, reason: Reason) -> End {
        if matches!(reason, Reason::Resync | Reason::Address) {
            match self.is_as_it_was() {
                Ok(true) => {
                    self.last_success = Some(self.clock.wall());
                    return End { is_worth_telling: false, ..End::quiet("unchanged") };
                }
                Ok(false) => {}
                Err(error) => return self.give_up(Trouble::of(&error)),
            }
        }
        let end = self.full_pass();
        // It was for that pass, unless there was none.
        if !matches!(end, Err(Trouble::Locked(_))) {
            self.approved = None;
        }
        match end {
            Ok(end) => {
                if self.trouble.take().is_some() {
                    info!("able to work again");
                }
                self.troubles = 0;
                end
            }
            Err(trouble) => self.give_up(trouble),
        }
    }

    fn give_up(&mut self, trouble: Trouble) -> End {
        self.troubles = self.troubles.saturating_add(1);
        self.known = None;
        let result = match &trouble {
            Trouble::Locked(_) => "locked",
            Trouble::Other(words) => {
                self.kernel = None;
                if self.troubles.is_power_of_two() {
                    warn!(times = self.troubles, "{words}");
                }
                "failed"
            }
        };
        self.trouble = Some(trouble);
        End::quiet(result)
    }

    /// Whether the host looks as it did when it was last in sync; not asked for where that is old,
    /// or not known.
    fn is_as_it_was(&mut self) -> Result<bool, KernelError> {
        let now = self.clock.now();
        let (Some(kernel), Some(known)) = (&mut self.kernel, &self.known) else { return Ok(false) };
        if known.until <= now || self.specs.newest().is_some() {
            return Ok(false);
        }
        kernel.is_unchanged(&known.glance, &known.live, &known.hidden, &known.sysctls)
    }

    fn full_pass(&mut self) -> Result<End, Trouble> {
        self.known = None;
        let is_hands_off = self.is_hands_off();
        let _lock = if is_hands_off { None } else { Some(self.lock()?) };
        self.read_journal(is_hands_off)?;
        let (live, glance, sysctls) = self.observe()?;
        (self.held, self.obstacles, self.to_do) = (None, Vec::new(), Vec::new());
        if !is_hands_off {
            self.keep_on_record(&live);
        }
        self.judge_newest(&live)?;
        let spec = match self.options.mode {
            // Nothing comes into force; what is told is what would be done.
            Mode::Observe => self.specs.newest().or_else(|| self.specs.in_force()),
            Mode::Enforce => self.specs.in_force(),
        };
        let Some(spec) = spec else {
            return Ok(End::quiet(if self.held.is_some() { "held" } else { "no_spec" }));
        };
        let (plan, last) = self.plan(&spec, &live)?;
        self.unmanaged = plan.out_of_scope;
        self.note(&plan.warnings);
        self.forget(&plan);
        if plan.is_in_sync() {
            self.is_in_sync(&spec, is_hands_off)?;
            self.remember(live, glance, &spec, sysctls);
            return Ok(End::quiet("in_sync"));
        }
        if is_hands_off {
            // A newer spec that waits for the end of a pause is what will be done then.
            if self.to_do.is_empty() {
                self.to_do = lines(&plan, self.specs.names(&spec));
            }
            return Ok(End::quiet("drifted"));
        }
        let taken = self.held_by_drift(&plan, &spec);
        self.carry_out(plan, &spec, last.as_ref(), (live, taken))
    }

    /// What plans are worth a word for; logged when it is news.
    fn note(&mut self, warnings: &[String]) {
        for warning in warnings.iter().filter(|it| !self.warnings.contains(it)) {
            warn!("{warning}");
        }
        self.warnings = warnings.to_vec();
    }

    fn lock(&mut self) -> Result<K::Right, Trouble> {
        match K::try_lock() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => return Err(Trouble::of(&error)),
        }
        if self.troubles == PATIENCE {
            return K::lock().map_err(|error| match error {
                LockError::Held(_) => Trouble::Locked(error.to_string()),
                _ => Trouble::of(&error),
            });
        }
        Err(match &self.trouble {
            Some(known @ Trouble::Locked(_)) => known.clone(),
            _ => {
                let words = "another process is changing this network namespace";
                Trouble::Locked(words.to_owned())
            }
        })
    }

    fn read_journal(&mut self, is_hands_off: bool) -> Result<(), Trouble> {
        let (mut journal, warning) =
            self.options.state.read(!is_hands_off).map_err(|error| Trouble::of(&error))?;
        if let Some(warning) = warning {
            warn!("{warning}");
        }
        journal.forget_moot();
        if !is_hands_off {
            journal.check_writable(self.clock.wall()).map_err(|error| Trouble::of(&error))?;
            if let Some(notice) = journal.notice.take() {
                warn!("{notice}");
                self.options.state.write(&journal).map_err(|error| Trouble::of(&error))?;
            }
        }
        self.journal = journal;
        Ok(())
    }

    /// Reads the kernel. For a large table a glance is taken first: what changes in between shows
    /// as a difference later.
    fn observe(&mut self) -> Result<(Live, Option<K::Glance>, Sysctls), Trouble> {
        let addresses = self.journal.addresses.clone();
        let kernel = match &mut self.kernel {
            Some(kernel) => {
                kernel.set_journalled(addresses);
                kernel
            }
            None => {
                let connected = (self.connect)(addresses).map_err(|error| Trouble::of(&error))?;
                self.kernel.insert(connected)
            }
        };
        let specs = [self.specs.newest(), self.specs.in_force()];
        let desired = specs.iter().flatten().map(|spec| &spec.desired);
        let is_large = desired.clone().any(|desired| desired.services.len() > SMALL);
        let mut sysctls: Sysctls = CONNECTION_SYSCTLS.map(Into::into).into();
        sysctls.extend(desired.flat_map(|desired| desired.sysctls.keys().cloned()));
        sysctls.extend(self.journal.record.sysctls.keys().cloned());
        let read = || -> Result<(Live, Option<K::Glance>), KernelError> {
            let glance = if is_large { Some(kernel.glance()?) } else { None };
            Ok((kernel.observe(&sysctls)?, glance))
        };
        let (live, glance) = { read }().map_err(|error| Trouble::of(&error))?;
        Ok((live, glance, sysctls))
    }

    /// What the next looks are compared with.
    fn remember(
        &mut self,
        live: Live,
        glance: Option<K::Glance>,
        spec: &SpecText,
        sysctls: Sysctls,
    ) {
        let Some(glance) = glance else { return };
        let hidden = hidden(&spec.desired, &live);
        let until = self.clock.now() + self.options.full_interval;
        self.known = Some(Known { glance, live, hidden, sysctls, until });
    }

    fn plan(&mut self, spec: &SpecText, live: &Live) -> Result<(Plan, Option<Desired>), Trouble> {
        let Self { kernel, specs, journal, .. } = self;
        let kernel = connected(kernel)?;
        let known = |ops: &[Op]| specs.history(spec, ops);
        let (plan, history) = prepare(kernel, &spec.desired, live, &journal.record, known)
            .map_err(|error| Trouble::of(&error))?;
        Ok((plan, history.last))
    }

    fn forget(&mut self, plan: &Plan) {
        let planned: BTreeSet<Object> = match self.failing.is_empty() && self.fights.is_empty() {
            true => BTreeSet::new(),
            false => plan.steps.iter().map(Op::object).collect(),
        };
        self.failing.retain(&planned);
        self.fights.forget(&planned, self.clock.now());
    }

    fn is_in_sync(&mut self, spec: &SpecText, is_hands_off: bool) -> Result<(), Trouble> {
        self.last_success = Some(self.clock.wall());
        if is_hands_off {
            return Ok(());
        }
        self.specs.is_reached();
        self.granted = None;
        let mut journal = self.journal.clone();
        journal.is_in_force(&spec.desired);
        if journal != self.journal {
            self.options.state.write(&journal).map_err(|error| Trouble::of(&error))?;
            self.journal = journal;
        }
        Ok(())
    }
}

impl Trouble {
    fn of(error: &dyn Error) -> Self {
        Self::Other(in_full(error))
    }
}

/// Every pass that reads the kernel has connected to it before.
fn connected<K>(kernel: &mut Option<K>) -> Result<&mut K, Trouble> {
    kernel.as_mut().ok_or_else(|| Trouble::Other("the kernel is not connected".to_owned()))
}

#[cfg(test)]
mod tests;
