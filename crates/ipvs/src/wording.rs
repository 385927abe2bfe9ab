//! Tests the errors of this crate against `tests/wording/ipvs.txt`.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;

use crate::modules::ModuleError;
use crate::{
    CommandObject, ConnectionTableError, DecodeError, DestinationKey, EncodeError, Error, Family,
    Interrupted, NameError, Operation, Refusal, RefusalReason, ServiceKey, SyncState, UnknownLine,
    protocol,
};

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, displayed, section};

#[test]
fn every_error_is_as_reviewed() {
    let golden = &mut Golden::new("ipvs.txt");
    section!(
        golden,
        Error {
            ModuleMissing,
            PermissionDenied,
            Socket,
            Timeout,
            Malformed,
            Refused,
            RepliesLost,
            DumpInterrupted,
            Encode,
        },
        chained(errors())
    );
    let interrupted = Interrupted {
        refusals: Vec::new(),
        unknown: 17..20,
        source: Error::Socket { action: "receiving", source: system() },
    };
    golden.add_texts("Interrupted", vec![interrupted.to_string()]);
    refusals(golden);
    section!(
        golden,
        CommandObject { Table, Service, Destination, SyncDaemon },
        displayed(objects())
    );
    section!(golden, ModuleError { BadName, NoModprobe, NotRun, Failed }, chained(module_errors()));
    section!(
        golden,
        DecodeError {
            CutMessage,
            CutAttribute,
            CutDatagram,
            Length,
            Missing,
            UnknownFamily,
            Name,
            NotUtf8,
            UnexpectedMessage,
        },
        chained(decode_errors())
    );
    section!(
        golden,
        NameError { Empty, TooLong, ZeroByte },
        chained(vec![NameError::Empty, NameError::TooLong(16), NameError::ZeroByte])
    );
    section!(
        golden,
        ConnectionTableError { Read, Line },
        chained(vec![
            ConnectionTableError::Read(system()),
            ConnectionTableError::Line(UnknownLine("TCP C0000201\t".to_owned())),
        ])
    );
    golden.check();
}

/// The refusals of every operation, and what each error number means.
fn refusals(golden: &mut Golden) {
    let [_, service, destination, daemon] = &objects()[..4] else { panic!("four objects") };
    let refused = |operation, object: &CommandObject, errno: Errno| {
        let object = *object;
        let refusal = Refusal { operation, object, errno: errno as i32, message: None };
        (operation, refusal.reason(), refusal.to_string())
    };
    use Operation as O;
    let table = &CommandObject::Table;
    let all = [
        refused(O::ResolveFamily, table, Errno::EPERM),
        refused(O::NewService, service, Errno::EEXIST),
        refused(O::SetService, service, Errno::ENOENT),
        refused(O::DeleteService, service, Errno::ESRCH),
        refused(O::ZeroService, service, Errno::ENOPROTOOPT),
        refused(O::GetServices, table, Errno::EBUSY),
        refused(O::NewDestination, destination, Errno::EINVAL),
        refused(O::SetDestination, destination, Errno::ERANGE),
        refused(O::DeleteDestination, destination, Errno::ENOENT),
        refused(O::GetDestinations, service, Errno::ENOMEM),
        refused(O::GetInfo, table, Errno::EAFNOSUPPORT),
        refused(O::GetTimeouts, table, Errno::EBUSY),
        refused(O::SetTimeouts, table, Errno::EINVAL),
        refused(O::GetSyncDaemons, table, Errno::EBUSY),
        refused(O::StartSyncDaemon, daemon, Errno::ENODEV),
        refused(O::StartSyncDaemon, daemon, Errno::EADDRNOTAVAIL),
        refused(O::StartSyncDaemon, daemon, Errno::ENETUNREACH),
        refused(O::StopSyncDaemon, daemon, Errno::ESRCH),
    ];
    section!(
        golden,
        Operation {
            ResolveFamily,
            NewService,
            SetService,
            DeleteService,
            ZeroService,
            GetServices,
            NewDestination,
            SetDestination,
            DeleteDestination,
            GetDestinations,
            GetInfo,
            GetTimeouts,
            SetTimeouts,
            GetSyncDaemons,
            StartSyncDaemon,
            StopSyncDaemon,
        },
        all.iter().map(|(operation, _, text)| (*operation, text.clone()))
    );
    let mut reasons: Vec<RefusalReason> = Vec::new();
    for (_, reason, _) in &all {
        if !reasons.contains(reason) {
            reasons.push(*reason);
        }
    }
    section!(
        golden,
        RefusalReason {
            Exists,
            NoService,
            NoDestination,
            NoSyncDaemon,
            NoInterface,
            NoAddress,
            Unreachable,
            NoScheduler,
            OutOfRange,
            NoAddressFamily,
            Invalid,
            ModuleGone,
            Busy,
            NoMemory,
            Other,
        },
        displayed(reasons)
    );
}

fn system() -> io::Error {
    io::Error::from_raw_os_error(24)
}

fn objects() -> Vec<CommandObject> {
    let address = [192, 0, 2, 1].into();
    let service = ServiceKey::Address { address, port: 80, protocol: protocol::TCP };
    let address = "2001:db8::1".parse().expect("an address");
    let service_ipv6 = ServiceKey::Address { address, port: 53, protocol: protocol::UDP };
    let destination = DestinationKey { address: [10, 0, 0, 1].into(), port: 80 };
    vec![
        CommandObject::Table,
        CommandObject::Service(service),
        CommandObject::Destination(service, destination),
        CommandObject::SyncDaemon(SyncState::Master),
        CommandObject::SyncDaemon(SyncState::Backup),
        CommandObject::Service(service_ipv6),
        CommandObject::Destination(service_ipv6, DestinationKey { address, port: 53 }),
        CommandObject::Service(ServiceKey::Fwmark { family: Family::Ipv6, fwmark: 7 }),
    ]
}

fn errors() -> Vec<Error> {
    let (operation, object) = (Operation::GetServices, CommandObject::Table);
    let refusal = Refusal {
        operation,
        object,
        errno: Errno::EPERM as i32,
        message: Some("no attribute".into()),
    };
    vec![
        Error::ModuleMissing { source: None },
        Error::ModuleMissing {
            source: Some(ModuleError::NoModprobe { module: "ip_vs".to_owned() }),
        },
        Error::PermissionDenied { operation, object },
        Error::Socket { action: "receiving", source: system() },
        Error::Timeout { operation, object, limit: Duration::from_secs(5) },
        Error::Malformed { operation, object, source: DecodeError::CutMessage },
        Error::Refused(refusal),
        Error::RepliesLost { operation, object },
        Error::DumpInterrupted { operation, object },
        Error::Encode(EncodeError("no buffer".to_owned())),
    ]
}

fn module_errors() -> Vec<ModuleError> {
    let module = || "ip_vs_mh".to_owned();
    vec![
        ModuleError::BadName("least conn".to_owned()),
        ModuleError::NoModprobe { module: module() },
        ModuleError::NotRun { module: module(), source: system() },
        ModuleError::Failed {
            module: module(),
            status: ExitStatus::from_raw(256),
            words: "FATAL: Module ip_vs_mh not found".to_owned(),
        },
    ]
}

fn decode_errors() -> Vec<DecodeError> {
    let attribute = "IPVS_SVC_ATTR_PORT";
    vec![
        DecodeError::CutMessage,
        DecodeError::CutAttribute,
        DecodeError::CutDatagram,
        DecodeError::Length { attribute, length: 3 },
        DecodeError::Missing(attribute),
        DecodeError::UnknownFamily(7),
        DecodeError::Name { attribute, source: NameError::Empty },
        DecodeError::NotUtf8(attribute),
        DecodeError::UnexpectedMessage(9),
    ]
}
