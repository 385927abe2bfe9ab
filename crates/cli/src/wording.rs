//! Tests the errors of commands, with their hints and exit statuses, against `tests/wording/cli.txt`.

use std::io;
use std::sync::Arc;

use evenkeel_control::{AskError, LockError, Process};
use evenkeel_engine::{
    FileError, JournalError, KernelError, MissingCapabilities, MissingCapability, Unconfirmed,
};
use evenkeel_host::{Action, Capability, TooFewDescriptors};
use evenkeel_model::OwnerName;
use evenkeel_plan::{Overlap, SharedObject};
use evenkeel_source::SourceError;
use evenkeel_spec::Problems;
use evenkeel_watch::{BindError, DaemonError, NamespaceLost};
use evenkeel_workflow::{PlanFileError, SavedPlanError};

use crate::error::{BadSpec, Error};

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, section};

#[test]
fn every_error_of_a_command_is_as_reviewed() {
    let mut golden = Golden::new("cli.txt");
    section!(
        golden,
        Error {
            BadSpec,
            Source,
            PlanFile,
            Usage,
            Kernel,
            Journal,
            Lock,
            Unconfirmed,
            NotPermitted,
            Namespace,
            Role,
            Overlap,
            NothingPending,
            Watchdog,
            Unrecorded,
            PendingNotUpdated,
            Signal,
            Watched,
            Ask,
            MissedEvents,
            Listen,
            Descriptors,
            Daemon,
            Prompt,
            NoSpec,
            Health,
            Output,
        },
        chained(errors()).into_iter().map(|(error, text)| {
            let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            let text = format!("{text}{hint}\n  exit status: {}", error.status().code());
            (error, text)
        })
    );
    golden.check();
}

fn refusal(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn errors() -> Vec<Error> {
    let mut errors = of_inputs();
    errors.extend(of_the_kernel());
    errors.extend(of_the_journal());
    errors.extend(of_the_daemon());
    errors
}

fn of_inputs() -> Vec<Error> {
    let plan =
        |number| PlanFileError::Unreadable { path: "saved.plan".into(), source: refusal(number) };
    let source =
        |number| SourceError::Unreadable { path: "web.yaml".into(), source: refusal(number) };
    vec![
        Error::BadSpec(Box::new(BadSpec {
            problems: Problems::default(),
            rendered: String::new(),
        })),
        Error::Source(source(2)),
        Error::Source(source(13)),
        Error::Source(SourceError::NotRegular { path: "/dev/null".into() }),
        Error::Source(SourceError::NoSpecInDirectory { path: "/etc/evenkeel".into() }),
        Error::PlanFile(plan(2)),
        Error::PlanFile(plan(13)),
        Error::PlanFile(PlanFileError::Unwritable {
            path: "saved.plan".into(),
            source: refusal(28),
        }),
        Error::PlanFile(SavedPlanError::Boot.into()),
        Error::Overlap(Box::new(Overlap {
            other: OwnerName::default(),
            shared: SharedObject::Sync,
        })),
        Error::Overlap(Box::new(Overlap {
            other: "web".parse().expect("a name"),
            shared: SharedObject::Sysctl {
                key: "net.ipv4.ip_forward".into(),
                here: "0".into(),
                other_key: "net.ipv4.conf.all.forwarding".into(),
                there: "1".into(),
            },
        })),
        Error::Usage("no service of this host is called `wbe`; there is `web`".to_owned()),
        Error::Signal(refusal(24)),
        Error::Prompt(refusal(5)),
        Error::Output(refusal(28)),
    ]
}

fn of_the_kernel() -> Vec<Error> {
    let unmet = MissingCapability {
        capability: Capability::NetAdmin,
        what: "change the IPVS table, addresses and sysctls".to_owned(),
    };
    let entering = || Action::EnterNamespace("blue".to_owned());
    let missing = evenkeel_host::Error::Io { action: entering(), source: refusal(2) };
    let denied =
        evenkeel_host::Error::NotPermitted { action: entering(), capability: Capability::SysAdmin };
    vec![
        Error::Kernel(KernelError::NotPermitted {
            tried: "connecting to IPVS",
            capability: "CAP_NET_ADMIN",
            source: refusal(1).into(),
        }),
        Error::Kernel(KernelError::NoIpvs(refusal(2).into())),
        Error::Kernel(KernelError::Failed {
            tried: "reading services",
            source: refusal(12).into(),
        }),
        Error::NotPermitted(MissingCapabilities(vec![unmet])),
        Error::Namespace(missing),
        Error::Namespace(denied),
        Error::Role("listing the addresses: Too many open files (os error 24)".to_owned()),
    ]
}

fn of_the_journal() -> Vec<Error> {
    let path = || std::path::PathBuf::from("/var/lib/evenkeel/init/journal.json");
    let full = || -> JournalError { FileError::new("write", &path())(refusal(28)).into() };
    let holder = Process { pid: Some(7), uid: 0, command: Some("evenkeel apply".to_owned()) };
    vec![
        Error::Journal(full()),
        Error::Journal(FileError::Symlink { path: path() }.into()),
        Error::Journal(JournalError::Newer { path: path(), version: 99 }),
        Error::Lock(LockError::Held(Some(holder))),
        Error::Lock(LockError::NotPermitted),
        Error::Lock(LockError::Failed(refusal(24))),
        Error::Unconfirmed(Unconfirmed("an apply waits for confirmation".to_owned())),
        Error::NothingPending,
        Error::Watchdog(refusal(11)),
        Error::Unrecorded(full()),
        Error::PendingNotUpdated(Arc::new(full())),
        Error::NoSpec("no spec is known for this network namespace".to_owned()),
        Error::Health(evenkeel_workflow::HealthProblem::Start(refusal(24))),
    ]
}

fn of_the_daemon() -> Vec<Error> {
    vec![
        Error::Watched("the daemon follows another spec".to_owned()),
        Error::Ask(AskError::NoDaemon),
        Error::Ask(AskError::OtherVersion(Some(9))),
        Error::Ask(AskError::Refused("the daemon already has 16 subscribers".to_owned())),
        Error::Ask(AskError::Failed(refusal(11))),
        Error::MissedEvents,
        Error::Listen { address: "192.0.2.1:80".to_owned(), source: refusal(98) },
        Error::Daemon(DaemonError::Control(BindError::Taken(None))),
        Error::Descriptors(TooFewDescriptors { limit: 20, needed: 64 }),
        Error::Daemon(DaemonError::Descriptors(TooFewDescriptors { limit: 20, needed: 256 })),
        Error::Daemon(DaemonError::ReconcilerHangs),
        Error::Daemon(DaemonError::NamespaceLost(NamespaceLost::Deleted("blue".to_owned()))),
    ]
}
