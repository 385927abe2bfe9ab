//! Executes operations: those on the IPVS table in batches, all others one by one.

use std::io::ErrorKind;
use std::ops::Range;

use evenkeel_host::{Capabilities, Capability};
use evenkeel_ipvs::{self as ipvs, Command, Interrupted, modules};
use evenkeel_model::Binding;
use evenkeel_plan::Op;
use rustix::io::Errno;

use super::packet_rules::source_nat_family;
use super::{HostKernel, host_error, ipvs_error};
use crate::convert::{
    wire_destination, wire_key, wire_service, wire_service_key, wire_sync_daemon, wire_sync_state,
    wire_timeouts,
};
use crate::error::KernelError;
use crate::kernel::{Exception, Refused, Replies};
use crate::warning::ExecutionWarning;

impl HostKernel {
    /// Executes operations on the IPVS table; `first` is the index of the first one in the whole list.
    pub(super) fn execute_ipvs(
        &mut self,
        ops: &[Op],
        first: usize,
        replies: &mut Replies,
    ) -> Result<(), KernelError> {
        let places = first..first + ops.len();
        if ops.iter().any(|op| command(op).is_none()) {
            // A name is longer than the kernel's fields. Nothing is sent, so that no reply can be
            // attributed to another operation.
            let refused = || Exception::Refused(Errno::INVAL.into());
            replies.exceptions.extend(places.map(|place| (place, refused())));
            return Ok(());
        }
        self.send_batch(ops.iter().filter_map(command), places, replies)
    }

    /// Sends commands; `places` are their indices in the replies.
    pub(super) fn send_batch(
        &mut self,
        commands: impl Iterator<Item = Command>,
        places: Range<usize>,
        replies: &mut Replies,
    ) -> Result<(), KernelError> {
        let Range { start: first, end } = places;
        let exceptions = &mut replies.exceptions;
        let (refusals, unknown, cause) = match self.required_ipvs()?.execute(commands) {
            Ok(refusals) => (refusals, places.len()..places.len(), None),
            Err(Interrupted { source: error @ ipvs::Error::PermissionDenied { .. }, .. }) => {
                return Err(ipvs_error("writing the IPVS table", error));
            }
            Err(Interrupted { refusals, unknown, source }) => (refusals, unknown, Some(source)),
        };
        for place in first + unknown.start..end {
            let is_lost = place < first + unknown.end;
            let exception = if is_lost { Exception::Lost } else { Exception::NotSent };
            exceptions.insert(place, exception);
        }
        for ipvs::CommandRefusal { index, refusal } in refusals {
            let refused = Refused {
                errno: Errno::from_raw_os_error(refusal.errno),
                message: refusal.message,
            };
            exceptions.insert(first + index, Exception::Refused(refused));
        }
        if let Some(cause) = cause {
            replies.warnings.push(ExecutionWarning::Interrupted { cause: cause.to_string() });
        }
        Ok(())
    }

    /// Executes operations on anything but the IPVS table, one by one; `first` is the index of the first
    /// one in the whole list.
    ///
    /// An address with which the kernel would remove others of its network is not unbound. If the others
    /// are unbound by the operations that follow, it is tried again after them.
    pub(super) fn execute_others(
        &mut self,
        ops: &[Op],
        first: usize,
        replies: &mut Replies,
    ) -> Result<(), KernelError> {
        let is_unbind = |op: &Op| matches!(op, Op::Unbind { .. });
        let mut first = first;
        let belong_together = |one: &Op, next: &Op| {
            // A family is one transaction.
            let is_next = |family| source_nat_family(next) == Some(family);
            is_unbind(one) && is_unbind(next) || source_nat_family(one).is_some_and(is_next)
        };
        for run in ops.chunk_by(belong_together) {
            if run.len() > 1 && source_nat_family(&run[0]).is_some() {
                let places = first..first + run.len();
                match self.change_source_nat(run) {
                    Ok(()) => {
                        first = places.end;
                        continue;
                    }
                    // Each of them would wait as long, or fail alike.
                    Err(error) if concerns_all(&error) => {
                        if let Some(exception) = host_answer(Err(error))? {
                            let exceptions = places.clone().map(|place| (place, exception.clone()));
                            replies.exceptions.extend(exceptions);
                        }
                        first = places.end;
                        continue;
                    }
                    // One by one, each has a reply of its own.
                    Err(_) => {}
                }
            }
            for (place, op) in (first..).zip(run) {
                self.execute_single(op, place, replies)?;
            }
            for (place, op) in (first..).zip(run).filter(|(_, op)| run.len() > 1 && is_unbind(op)) {
                let exception = replies.exceptions.get(&place);
                if matches!(exception, Some(Exception::Refused(it)) if it.errno == Errno::BUSY) {
                    replies.exceptions.remove(&place);
                    self.execute_single(op, place, replies)?;
                }
            }
            first += run.len();
        }
        Ok(())
    }

    /// Executes one operation on anything but the IPVS table.
    fn execute_single(
        &mut self,
        op: &Op,
        place: usize,
        replies: &mut Replies,
    ) -> Result<(), KernelError> {
        let exception = match op {
            Op::AddModule { module } => load(module),
            Op::EditTimeouts { before, after } => {
                ipvs_refusal(self.required_ipvs()?.set_timeouts(&wire_timeouts(*before, *after)))?
            }
            Op::AddSync { state, after } => match wire_sync_daemon(*state, after) {
                Some(daemon) => ipvs_refusal(self.required_ipvs()?.start_daemon(&daemon))?,
                None => Some(Exception::Refused(Errno::NODEV.into())),
            },
            Op::DeleteSync { state, .. } => {
                ipvs_refusal(self.required_ipvs()?.stop_daemon(wire_sync_state(*state)))?
            }
            Op::EditSysctl { key, after, .. } | Op::RestoreSysctl { key, after, .. } => {
                host_answer(evenkeel_host::set_sysctl(key, after))?
            }
            Op::AddDummy { interface } => host_answer(self.host.create_dummy(interface))?,
            Op::EditDummy { interface } => host_answer(self.host.bring_up_dummy(interface))?,
            Op::DeleteDummy { interface } => host_answer(self.host.delete_dummy(interface))?,
            Op::Bind { binding, label } => {
                host_answer(self.bind(binding, label.as_deref(), &mut replies.warnings))?
            }
            Op::AddHostObject { object, after } => {
                host_answer(self.add_host_object(object, after))?
            }
            Op::EditHostObject { object, before, after } => {
                let warnings = &mut replies.warnings;
                host_answer(self.edit_host_object(object, before, after, warnings))?
            }
            Op::DeleteHostObject { object, .. } => host_answer(self.delete_host_object(object))?,
            Op::Unbind { binding, .. } => host_answer(self.host.unbind(&host_binding(binding)))?,
            Op::AddService { .. }
            | Op::EditService { .. }
            | Op::DeleteService { .. }
            | Op::AddRealServer { .. }
            | Op::EditRealServer { .. }
            | Op::DrainRealServer { .. }
            | Op::DeleteRealServer { .. } => None,
        };
        replies.exceptions.extend(exception.map(|exception| (place, exception)));
        Ok(())
    }

    /// Binds and announces a VIP. A failed announcement is only a warning: the VIP is bound, and
    /// neighbours use it once their cache entries expire.
    fn bind(
        &mut self,
        binding: &Binding,
        label: Option<&str>,
        warnings: &mut Vec<ExecutionWarning>,
    ) -> Result<(), evenkeel_host::Error> {
        self.host.bind_labelled(&host_binding(binding), label)?;
        self.journalled.addresses.insert(binding.clone());
        if let Err(error) = self.host.announce(binding.address, &binding.interface) {
            warnings.push(ExecutionWarning::NotAnnounced {
                binding: binding.clone(),
                error: error.to_string(),
            });
        }
        Ok(())
    }
}

/// Loads a module, so that a module that cannot be loaded is reported before anything is changed.
/// Without the capability, or without modprobe, as in most containers, this is left to the kernel: when
/// a service is added it loads the modules of its scheduler and persistence engine, with the privileges
/// of the kernel (`ip_vs_scheduler_get`).
fn load(module: &str) -> Option<Exception> {
    if Capabilities::current().is_ok_and(|current| !current.has(Capability::SysModule)) {
        let is_there = evenkeel_host::modules(module).is_ok_and(|it| it.contains(module));
        return (!is_there).then_some(Exception::LeftToKernel);
    }
    match modules::load(module) {
        Ok(()) => None,
        Err(modules::ModuleError::NoModprobe { .. }) => Some(Exception::LeftToKernel),
        Err(error) => Some(Exception::Refused(Refused {
            errno: Errno::NOENT,
            message: Some(error.to_string().into()),
        })),
    }
}

/// Extracts the refusal of a single IPVS request, if it was refused.
fn ipvs_refusal(answer: Result<(), ipvs::Error>) -> Result<Option<Exception>, KernelError> {
    match answer {
        Ok(()) => Ok(None),
        Err(ipvs::Error::Refused(refusal)) => Ok(Some(Exception::Refused(Refused {
            errno: Errno::from_raw_os_error(refusal.errno),
            message: refusal.message,
        }))),
        Err(error) => Err(ipvs_error("writing to IPVS", error)),
    }
}

/// Extracts what a change to the host met, if it was refused, or if its program was ended: then it may have
/// been made all the same.
fn host_answer(answer: Result<(), evenkeel_host::Error>) -> Result<Option<Exception>, KernelError> {
    match answer {
        Ok(()) => Ok(None),
        Err(error @ evenkeel_host::Error::NotPermitted { .. }) => {
            Err(host_error("changing the host", error))
        }
        Err(evenkeel_host::Error::Io { source, .. }) if source.kind() == ErrorKind::TimedOut => {
            Ok(Some(Exception::Lost))
        }
        Err(error) => Ok(Some(Exception::Refused(host_refusal(&error)))),
    }
}

/// Whether an error of a program is the same for all operations.
fn concerns_all(error: &evenkeel_host::Error) -> bool {
    use evenkeel_host::Error;
    matches!(error, Error::TablesUnavailable { .. } | Error::NotPermitted { .. } | Error::Io { .. })
}

/// Returns the netlink message of an operation on the IPVS table; `None` for other operations, or if a
/// name is longer than the kernel's fields.
fn command(op: &Op) -> Option<Command> {
    Some(match op {
        Op::AddService { key, after } => Command::NewService(wire_service(key, after)?),
        Op::EditService { key, after, .. } => Command::SetService(wire_service(key, after)?),
        Op::DeleteService { key, .. } => Command::DeleteService(wire_service_key(key)),
        Op::AddRealServer { service, key, after } => {
            Command::NewDestination(wire_service_key(service), wire_destination(key, after))
        }
        Op::EditRealServer { service, key, after, .. } => {
            Command::SetDestination(wire_service_key(service), wire_destination(key, after))
        }
        Op::DrainRealServer { service, key, before, .. } => {
            let after = wire_destination(key, &before.drained());
            Command::SetDestination(wire_service_key(service), after)
        }
        Op::DeleteRealServer { service, key, .. } => {
            Command::DeleteDestination(wire_service_key(service), wire_key(key))
        }
        Op::AddModule { .. }
        | Op::EditSysctl { .. }
        | Op::RestoreSysctl { .. }
        | Op::EditTimeouts { .. }
        | Op::AddSync { .. }
        | Op::DeleteSync { .. }
        | Op::AddDummy { .. }
        | Op::EditDummy { .. }
        | Op::DeleteDummy { .. }
        | Op::Bind { .. }
        | Op::Unbind { .. }
        | Op::AddHostObject { .. }
        | Op::EditHostObject { .. }
        | Op::DeleteHostObject { .. } => return None,
    })
}

fn host_binding(binding: &Binding) -> evenkeel_host::Binding {
    let Binding { address, interface, prefix } = binding;
    evenkeel_host::Binding { address: *address, prefix: *prefix, interface: interface.to_string() }
}

/// Converts a refusal to an error number, with the message of the host crate where the number alone is
/// not clear.
fn host_refusal(error: &evenkeel_host::Error) -> Refused {
    use evenkeel_host::Error;
    match error {
        Error::AlreadyBound(_) | Error::InterfaceExists { .. } | Error::Exists { .. } => {
            Errno::EXIST.into()
        }
        Error::Missing { .. } => Errno::SRCH.into(),
        Error::NotBound(_) => Errno::ADDRNOTAVAIL.into(),
        Error::InterfaceMissing { .. } => Errno::NODEV.into(),
        Error::TunnelUnavailable { .. }
        | Error::FouUnavailable { .. }
        | Error::TablesUnavailable { .. } => {
            Refused { errno: Errno::OPNOTSUPP, message: Some(error.to_string().into()) }
        }
        Error::Refused { source, .. } | Error::DummyUnavailable { source, .. } => Refused {
            errno: Errno::from_raw_os_error(source.errno),
            message: source.message.as_deref().map(Into::into),
        },
        Error::WouldDropSecondaries { .. } | Error::InTheWay { .. } | Error::Changed { .. } => {
            Refused { errno: Errno::BUSY, message: Some(error.to_string().into()) }
        }
        Error::Impossible { .. } => {
            Refused { errno: Errno::INVAL, message: Some(error.to_string().into()) }
        }
        Error::Io { source, .. } => match source.raw_os_error() {
            Some(errno) => Errno::from_raw_os_error(errno).into(),
            None => Refused { errno: Errno::IO, message: Some(source.to_string().into()) },
        },
        other => Refused { errno: Errno::IO, message: Some(other.to_string().into()) },
    }
}
