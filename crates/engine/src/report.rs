//! Reports the outcome of each step of a pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use evenkeel_model::{Family, RealServerKey, ServiceKey};
use evenkeel_plan::{Object, ObjectTrace, Op};
use rustix::io::Errno;

use crate::{ExecutionWarning, KernelError, Refused};

/// The result of executing a plan.
#[derive(Debug, Default)]
pub struct Report {
    /// The steps in the order of execution, followed by those of further rounds, which the plan did
    /// not contain.
    steps: Vec<Op>,
    /// The outcomes other than [`Outcome::Applied`], by the index of their step.
    exceptions: BTreeMap<usize, Outcome>,
    /// Operations that are still needed although every step was done: another program is changing
    /// the same objects.
    pub mismatches: Vec<Op>,
    /// Warnings that did not prevent any step.
    pub warnings: Vec<ExecutionWarning>,
    /// The error that prevented reading or writing the kernel during the pass.
    pub error: Option<KernelError>,
    /// Whether it was interrupted; it stopped at a point at which the state still serves clients.
    pub interrupted: bool,
    /// Real servers that were deleted at the deadline of their drain, with the number of connections
    /// that were left.
    pub cut: BTreeMap<(ServiceKey, RealServerKey), u64>,
    /// Real servers that another program deleted while they drained, with their last known number
    /// of connections.
    pub deleted_by_others: BTreeMap<(ServiceKey, RealServerKey), u64>,
    /// Real servers that another program added to a departing service, or whose weight it raised
    /// again, while the service drained. They drain before the service is deleted.
    pub added_by_others: BTreeSet<(ServiceKey, RealServerKey)>,
    /// The rollback, if one was done.
    pub rollback: Option<Rollback>,
}

/// The result of a rollback.
#[derive(Debug, Default)]
pub struct Rollback {
    /// The operations that the rollback still needs and could not do.
    pub remaining: Vec<Op>,
    /// The operations that the kernel refused during the rollback.
    pub refused: Vec<(Op, Refused)>,
    /// Objects that are neither as before nor as the steps left them: another program changed them
    /// meanwhile, and the rollback left them alone.
    pub foreign: BTreeSet<Object>,
    /// The values before, as planned, and as last read, of each object that was not as before at the
    /// last reading.
    pub traces: BTreeMap<Object, ObjectTrace>,
    /// The number of connections that broke because added objects were deleted again.
    pub broken: u64,
    /// The error that prevented reading or writing the kernel.
    pub error: Option<KernelError>,
}

impl Rollback {
    /// Whether operations are still needed, so that a pending apply stays pending.
    pub fn is_pending(&self) -> bool {
        self.error.is_some() || !self.remaining.is_empty()
    }

    /// Whether every touched object is as it was before.
    pub fn is_clean(&self) -> bool {
        self.remaining.is_empty() && self.foreign.is_empty() && self.error.is_none()
    }
}

/// A step and its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done<'a> {
    /// The operation.
    pub op: &'a Op,
    /// Its outcome.
    pub outcome: &'a Outcome,
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel executed it, and a reading confirms it.
    Applied,
    /// Another program had done it already.
    AlreadyInPlace,
    /// A module was not loaded, as the process may not or cannot do that: the kernel loads it itself when
    /// an operation needs it, if it can.
    LeftToKernel,
    /// The kernel refused it.
    Failed(Box<Refused>),
    /// It was not tried, or not possible, because of an earlier failure or because its object is
    /// gone.
    Skipped,
    /// It waits for a drain and is left to a later pass.
    Draining,
    /// It was applied, and rolled back after a failure.
    Undone,
    /// It was sent, but the kernel could not be read again to verify it.
    Unknown,
}

impl Outcome {
    /// The name of every outcome, in the order of the counts.
    pub const NAMES: [&'static str; 8] = [
        "applied",
        "already in place",
        "left to the kernel",
        "failed",
        "skipped",
        "draining",
        "undone",
        "unknown",
    ];

    /// The name in texts and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::AlreadyInPlace => "already in place",
            Self::LeftToKernel => "left to the kernel",
            Self::Failed(_) => "failed",
            Self::Skipped => "skipped",
            Self::Draining => "draining",
            Self::Undone => "undone",
            Self::Unknown => "unknown",
        }
    }
}

impl Report {
    /// Adds the steps of a round: all applied, except for the exceptions, whose indices count from
    /// the first of these steps.
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

    /// The steps from that index on.
    pub(crate) fn steps_from(&self, first: usize) -> &[Op] {
        &self.steps[first..]
    }

    /// Marks the last step on each of those objects as not applied, because a reading showed otherwise.
    pub(crate) fn not_applied(&mut self, mut objects: BTreeSet<Object>) {
        for (place, op) in self.steps.iter().enumerate().rev() {
            if objects.is_empty() {
                break;
            }
            if objects.remove(&op.object()) {
                self.exceptions.entry(place).or_insert(Outcome::Skipped);
            }
        }
    }

    /// Marks the steps from that index on as not verified.
    pub(crate) fn unverified(&mut self, first: usize, error: KernelError) {
        for place in first..self.steps.len() {
            self.exceptions.entry(place).or_insert(Outcome::Unknown);
        }
        self.error.get_or_insert(error);
    }

    /// Marks the applied steps as rolled back, except for those on the remaining objects, and for
    /// modules, which stay loaded.
    pub(crate) fn mark_rolled_back(&mut self, remaining: &BTreeSet<Object>) {
        for (place, op) in self.steps.iter().enumerate() {
            let object = op.object();
            if !remaining.contains(&object) && !matches!(object, Object::Module(_)) {
                let outcome = self.exceptions.entry(place).or_insert(Outcome::Undone);
                if *outcome == Outcome::Unknown {
                    *outcome = Outcome::Undone;
                }
            }
        }
    }

    /// Records the real servers that were deleted with connections left.
    pub(crate) fn record_deadlines(&mut self, over: BTreeMap<(ServiceKey, RealServerKey), u64>) {
        self.cut = over.into_iter().filter(|(_, connections)| *connections > 0).collect();
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

    /// Whether the live state is as desired, or will be as soon as the drains end.
    pub fn is_success(&self) -> bool {
        self.mismatches.is_empty() && !self.has_failed() && !self.interrupted
    }

    /// Whether the kernel refused a step, or could not be read or written.
    pub fn has_failed(&self) -> bool {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        self.error.is_some() || self.exceptions.values().any(failed)
    }

    /// Whether a step changed something, as far as known; a failed one may have, too.
    pub(crate) fn has_changed(&self) -> bool {
        let is_change = |done: Done<'_>| {
            let stays = matches!(done.op, Op::AddModule { .. } | Op::EditDummy { .. });
            !stays
                && matches!(done.outcome, Outcome::Applied | Outcome::Failed(_) | Outcome::Unknown)
        };
        self.iter().any(is_change)
    }

    /// How many steps have the outcome of that name.
    pub fn count(&self, name: &str) -> usize {
        let applied = self.steps.len() - self.exceptions.len();
        let exceptional = self.exceptions.values().filter(|outcome| outcome.as_str() == name);
        exceptional.count() + if name == Outcome::Applied.as_str() { applied } else { 0 }
    }
}

/// Explains the kernel's refusal of an operation: what the error number means for it, and what to
/// do.
///
/// The same number means different things to different operations: ENOENT is a missing module
/// when a service is added, and a missing object when a real server is edited (table in
/// `libipvs.c` of ipvsadm).
pub fn explain(op: &Op, refused: &Refused) -> String {
    let meaning = match (op, refused.errno) {
        (Op::AddService { after, .. } | Op::EditService { after, .. }, Errno::NOENT) => {
            let engine = match &after.engine {
                Some(engine) => format!(" or persistence engine {engine}"),
                None => String::new(),
            };
            format!("the kernel has no scheduler {}{engine}", after.scheduler)
        }
        (Op::AddModule { module }, _) => format!(
            "module {module} cannot be loaded; `modprobe {module}` shows why. Install it, or use \
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
            "the kernel does not run a sync daemon while services have real servers of the other \
             family"
                .to_owned()
        }
        (
            Op::EditSysctl { key, after, .. } | Op::RestoreSysctl { key, after, .. },
            Errno::ROFS | Errno::PERM | Errno::ACCESS,
        ) => sysctl_forbidden(key, after, refused.errno),
        (Op::EditSysctl { key, .. } | Op::RestoreSysctl { key, .. }, Errno::NOENT) => {
            format!("the kernel has no sysctl {key}")
        }
        (_, Errno::EXIST) => "it already exists".to_owned(),
        (Op::AddHostObject { object, .. }, Errno::NETDOWN) => {
            format!("interface {} is down", object.interface().unwrap_or_default())
        }
        (Op::AddHostObject { object, .. }, Errno::NODEV) => {
            format!("interface {} does not exist", object.interface().unwrap_or_default())
        }
        (Op::Bind { binding, .. }, Errno::NODEV) => {
            format!("interface {} does not exist", binding.interface)
        }
        (Op::EditHostObject { .. } | Op::DeleteHostObject { .. }, Errno::SRCH) => {
            "it does not exist".to_owned()
        }
        (_, Errno::SRCH) => "its service does not exist".to_owned(),
        (_, Errno::NOENT) => "it does not exist".to_owned(),
        (Op::AddRealServer { service, key, .. }, Errno::INVAL)
            if Family::from(key.address) != service.family() =>
        {
            "the kernel accepts real servers of the other family only with tunnelling, and not \
             while a sync daemon runs"
                .to_owned()
        }
        (Op::AddRealServer { key, .. }, Errno::INVAL) => format!(
            "the kernel rejects {} as the address of a real server: it must be unicast, of the \
             service's family unless tunnelled, and interface lo must be up",
            key.address
        ),
        (_, Errno::RANGE) => "a weight or threshold is out of range".to_owned(),
        (_, Errno::AFNOSUPPORT) => "the kernel has no support for its address family".to_owned(),
        // `inet6_addr_add`; IPv4 has no such sysctl.
        (Op::Bind { binding, .. }, Errno::ACCESS) if binding.address.is_ipv6() => format!(
            "IPv6 is disabled on the interface: net.ipv6.conf.{}.disable_ipv6 is 1",
            binding.interface.replace('.', "/")
        ),
        (_, errno) => general_meaning(errno),
    };
    with_number(&meaning, refused)
}

/// Explains the kernel's refusal to reset the counters of a service.
pub fn explain_zero(refused: &Refused) -> String {
    let meaning = match refused.errno {
        Errno::SRCH => "it does not exist any more".to_owned(),
        errno => general_meaning(errno),
    };
    with_number(&meaning, refused)
}

/// Why a sysctl cannot be set, and what to do.
fn sysctl_forbidden(key: &str, value: &str, errno: Errno) -> String {
    let cause = match errno {
        Errno::ROFS => "/proc/sys is read-only here, as in most containers",
        _ => {
            "it needs CAP_NET_ADMIN and root in the user namespace that owns the network namespace"
        }
    };
    format!(
        "sysctl {key} cannot be set: {cause}; set it to {value} where the container is started (Docker: \
         `--sysctl`, Kubernetes: `securityContext.sysctls`), or run evenkeel on the host"
    )
}

/// What an error number means for any operation.
fn general_meaning(errno: Errno) -> String {
    match errno {
        Errno::PERM | Errno::ACCESS => "CAP_NET_ADMIN is needed".to_owned(),
        Errno::NOMEM | Errno::NOBUFS => "the kernel is out of memory".to_owned(),
        errno => {
            let text = errno.to_string();
            let number = format!(" (os error {})", errno.raw_os_error());
            // The error number is appended to the explanation.
            text.strip_suffix(&number).unwrap_or(&text).to_owned()
        }
    }
}

fn with_number(meaning: &str, refused: &Refused) -> String {
    match &refused.message {
        Some(message) => format!("{meaning} (errno {}: {message})", refused.errno.raw_os_error()),
        None => format!("{meaning} (errno {})", refused.errno.raw_os_error()),
    }
}

impl Done<'_> {
    /// Why the step failed; `None` unless it did.
    pub fn failure(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed(refused) => Some(explain(self.op, refused)),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_contains_its_errno_once() {
        let (key, before, after) = ("net.ipv4.ip_forward".into(), "0".into(), "1".into());
        let op = Op::EditSysctl { key, before, after, rewrites: BTreeMap::new() };
        for errno in [Errno::ROFS, Errno::NOENT, Errno::from_raw_os_error(4000)] {
            for message in [None, Some("read-only".into())] {
                let text = explain(&op, &Refused { errno, message });
                let number = format!("(errno {}", errno.raw_os_error());
                assert!(text.matches(&number).count() == 1 && !text.contains("os error"), "{text}");
            }
        }
        let op = Op::AddDummy { interface: "vips".into() };
        let text = explain(&op, &Errno::ROFS.into());
        assert!(text.contains("ead-only file system (errno 30)"), "{text}");
    }

    #[test]
    fn a_forbidden_sysctl_is_named_with_its_errno_and_a_remedy() {
        let key: Box<str> = "net.ipv4.conf.lo.arp_ignore".into();
        let rewrites = BTreeMap::new();
        let op = Op::EditSysctl { key, before: "0".into(), after: "1".into(), rewrites };
        for errno in [Errno::ROFS, Errno::ACCESS, Errno::PERM] {
            let text = explain(&op, &errno.into());
            let number = format!("(errno {})", errno.raw_os_error());
            for part in ["net.ipv4.conf.lo.arp_ignore", &number, "set it to 1"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }
}
