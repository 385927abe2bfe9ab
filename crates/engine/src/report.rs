//! What became of each step of a pass.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_plan::{Object, Op};
use rustix::io::Errno;

use crate::Refused;

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Report {
    /// The steps in the order of execution. Those of a further round, which the plan did not
    /// hold, follow behind.
    steps: Vec<Op>,
    /// The outcomes that are not [`Outcome::Applied`], by the place of their step.
    exceptions: BTreeMap<usize, Outcome>,
    /// Operations that would still be needed though everything was done: someone else is changing
    /// the same objects.
    pub mismatches: Vec<Op>,
    /// What should be known and stood in the way of nothing.
    pub warnings: Vec<String>,
}

/// A step and its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done<'a> {
    /// The operation.
    pub op: &'a Op,
    /// What became of it.
    pub outcome: &'a Outcome,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel did it, and shows it.
    Applied,
    /// Someone else had done it already.
    AlreadyInPlace,
    /// The kernel refused it.
    Failed(Box<Refused>),
    /// It was not tried, or could not be done, because of an earlier failure or because its
    /// object is gone.
    Skipped,
}

impl Outcome {
    /// The word in texts and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::AlreadyInPlace => "already in place",
            Self::Failed(_) => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    /// Adds the steps of a round, applied but for the exceptions, which are counted from the
    /// first of them.
    pub(crate) fn extend(&mut self, steps: Vec<Op>, exceptions: BTreeMap<usize, Outcome>) {
        let first = self.steps.len();
        if first == 0 {
            self.steps = steps;
        } else {
            self.steps.extend(steps);
        }
        let placed = exceptions.into_iter().map(|(place, outcome)| (first + place, outcome));
        self.exceptions.extend(placed);
    }

    /// The steps from that place on.
    pub(crate) fn steps_from(&self, first: usize) -> &[Op] {
        &self.steps[first..]
    }

    /// Takes back that the last step on an object was applied: a reading has shown otherwise.
    pub(crate) fn not_applied(&mut self, object: &Object) {
        let last = self.steps.iter().rposition(|op| op.object() == *object);
        if let Some(place) = last {
            self.exceptions.entry(place).or_insert(Outcome::Skipped);
        }
    }

    /// Each step with its outcome, in the order of execution.
    pub fn iter(&self) -> impl Iterator<Item = Done<'_>> {
        self.steps.iter().enumerate().map(|(place, op)| {
            let outcome = self.exceptions.get(&place).unwrap_or(&Outcome::Applied);
            Done { op, outcome }
        })
    }

    /// How many steps there were.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the live state is as desired.
    pub fn is_success(&self) -> bool {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        self.mismatches.is_empty() && !self.exceptions.values().any(failed)
    }

    /// How many steps have that outcome, by its word.
    pub fn count(&self, word: &str) -> usize {
        let applied = self.steps.len() - self.exceptions.len();
        let exceptional = self.exceptions.values().filter(|outcome| outcome.word() == word);
        exceptional.count() + if word == Outcome::Applied.word() { applied } else { 0 }
    }
}

/// The kernel's refusal of one operation in words: what the error number means there, and what
/// to do about it.
///
/// The same number means different things to different operations: ENOENT is a missing module
/// when a service is added, and a missing object when a real server is edited (table in
/// `libipvs.c` of ipvsadm).
pub(crate) fn explain(op: &Op, refused: &Refused) -> String {
    let meaning = match (op, refused.errno) {
        (Op::AddService { after, .. } | Op::EditService { after, .. }, Errno::NOENT) => {
            let engine = match &after.engine {
                Some(engine) => format!(" or persistence engine {engine}"),
                None => String::new(),
            };
            format!("the kernel has no scheduler {}{engine}", after.scheduler)
        }
        (Op::AddModule { module }, _) => format!(
            "module {module} cannot be loaded; `modprobe {module}` tells more. Install it, or use \
             a scheduler or engine that this kernel has"
        ),
        (Op::AddSync { after, .. }, Errno::NODEV) => {
            format!("interface {} does not exist", after.interface)
        }
        (Op::AddSync { after, .. }, Errno::NETUNREACH) => {
            format!("interface {} is down", after.interface)
        }
        (Op::AddSync { after, .. }, Errno::ADDRNOTAVAIL) => {
            format!("interface {} has no usable address of the group's family", after.interface)
        }
        (Op::AddSync { .. }, Errno::INVAL) => {
            "the kernel runs no sync daemon beside real servers of the other family".to_owned()
        }
        (_, Errno::EXIST) => "it exists already".to_owned(),
        (Op::Bind { binding }, Errno::NODEV) => {
            format!("interface {} does not exist", binding.interface)
        }
        (_, Errno::SRCH) => "its service does not exist".to_owned(),
        (_, Errno::NOENT) => "it does not exist".to_owned(),
        (Op::AddRealServer { key, .. }, Errno::INVAL) => format!(
            "the kernel takes {} for no address of a real server: it must be unicast, of the \
             service's family unless tunnelled, and interface lo must be up",
            key.address
        ),
        (_, Errno::RANGE) => "a weight or threshold is out of range".to_owned(),
        (_, Errno::AFNOSUPPORT) => "the kernel has no support for its address family".to_owned(),
        (_, Errno::PERM | Errno::ACCESS) => "CAP_NET_ADMIN is needed".to_owned(),
        (_, Errno::NOMEM | Errno::NOBUFS) => "the kernel is out of memory".to_owned(),
        (_, errno) => errno.to_string(),
    };
    match &refused.message {
        Some(message) => format!("{meaning} (errno {}: {message})", refused.errno.raw_os_error()),
        None => format!("{meaning} (errno {})", refused.errno.raw_os_error()),
    }
}

impl Done<'_> {
    /// Why it failed, in words; `None` unless it did.
    pub fn failure(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed(refused) => Some(explain(self.op, refused)),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
