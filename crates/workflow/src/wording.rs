//! Tests the texts of this crate against `tests/wording/workflow.txt`.

use std::io;

use evenkeel_control::{AskError, LockError};
use evenkeel_engine::{
    FileError, JournalError, KernelError, MissingCapabilities, MissingCapability, Notice,
    Unconfirmed,
};
use evenkeel_health::{CheckId, Fault, Outcome, RoundReport};
use evenkeel_model::check::{Check, Kind, Target, TcpOptions};
use evenkeel_model::{HostObjectKind, Limits, Protocol, Scope, ServiceKey};
use evenkeel_plan::{Overlap, SharedObject, UnknownSelection};

use crate::{Event, HealthProblem, PlanFileError, SavedPlanError, WorkflowError};

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, displayed, section};

#[test]
fn every_text_is_as_reviewed() {
    let mut golden = Golden::new("workflow.txt");
    section!(
        golden,
        WorkflowError {
            Kernel,
            Journal,
            Lock,
            Unconfirmed,
            NotPermitted,
            UnknownSelection,
            OutOfScope,
            Overlap,
            NoSpec,
            SpecUnavailable,
            NothingPending,
            Watchdog,
            Unrecorded,
            Watched,
            Ask,
            Health,
            SavedPlan,
        },
        chained(errors()).into_iter().map(|(it, text)| (it, in_state_dir(&text)))
    );
    section!(
        golden,
        SavedPlanError {
            NoPlan,
            Format,
            Changed,
            Version,
            Host,
            Boot,
            Namespace,
            NamespaceRecreated,
            Role,
            Stale,
        },
        saved_plan_errors().into_iter().map(|it| {
            let text = it.to_string().replace(env!("CARGO_PKG_VERSION"), "VERSION");
            (it, text)
        })
    );
    section!(
        golden,
        PlanFileError { Unreadable, Unwritable, Refused },
        chained(plan_file_errors())
    );
    section!(
        golden,
        Event {
            Notice,
            Unconfirmed,
            JournalDamaged,
            LastSpecUnavailable,
            TextsUnavailable,
            CheckNotMade,
            SnapshotOfHeld,
            SnapshotWithoutChecks,
            SnapshotOfRealServer,
            SnapshotWithout,
        },
        displayed(events()).into_iter().map(|(it, text)| (it, in_state_dir(&text)))
    );
    golden.check();
}

fn refusal() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn journal_error() -> JournalError {
    FileError::new("write", "/var/lib/evenkeel/init/journal.json".as_ref())(refusal()).into()
}

fn errors() -> Vec<WorkflowError> {
    let out_of_scope = |service: ServiceKey, net: &str| WorkflowError::OutOfScope {
        service,
        scope: Scope::Limited(Limits {
            vips: vec![net.parse().expect("a net")],
            ..Limits::default()
        }),
    };
    let on = |address: &str| ServiceKey::Address {
        address: address.parse().expect("an address"),
        port: 80,
        protocol: Protocol::Tcp,
    };
    let missing = MissingCapability {
        capability: evenkeel_host::Capability::NetAdmin,
        what: "change the IPVS table, addresses and sysctls".to_owned(),
    };
    let unknown = UnknownSelection { selector: "wbe".to_owned(), near: vec!["web".to_owned()] };
    vec![
        WorkflowError::Kernel(KernelError::Failed {
            tried: "reading services",
            source: refusal().into(),
        }),
        WorkflowError::Journal(journal_error()),
        WorkflowError::Lock(LockError::Held(None)),
        WorkflowError::Unconfirmed(Unconfirmed("an apply waits for confirmation".to_owned())),
        WorkflowError::NotPermitted(MissingCapabilities(vec![missing])),
        WorkflowError::UnknownSelection(unknown),
        out_of_scope(on("192.0.2.1"), "198.51.100.0/24"),
        out_of_scope(on("2001:db8::1"), "2001:db8:1::/48"),
        WorkflowError::Overlap(Box::new(Overlap {
            other: "web".parse().expect("a name"),
            shared: SharedObject::Timeout { name: "tcp", here: 900, there: 600 },
        })),
        WorkflowError::NoSpec,
        WorkflowError::SpecUnavailable(spec_unavailable()),
        WorkflowError::NothingPending,
        WorkflowError::Watchdog(refusal()),
        WorkflowError::Unrecorded(journal_error()),
        WorkflowError::Watched("the daemon follows another spec".to_owned()),
        WorkflowError::Ask(AskError::NoDaemon),
        WorkflowError::Health(HealthProblem::Start(refusal())),
        WorkflowError::SavedPlan(SavedPlanError::Boot),
    ]
}

/// The text with the default state directory instead of a temporary one.
fn in_state_dir(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.rsplit_once("/spec-") {
        Some((_, digest)) => format!("/var/lib/evenkeel/init/spec-{digest}"),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Texts of a last applied spec that are missing.
fn spec_unavailable() -> evenkeel_engine::SpecUnavailable {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = evenkeel_engine::StoredSpec::new(&[("web.yaml", b"version: 1\n")], &[].into());
    let journal = evenkeel_engine::Journal { spec: Some(spec), ..Default::default() };
    let namespace = evenkeel_host::Namespace::current().expect("this namespace");
    let state = evenkeel_engine::StateDir::of(folder.path(), namespace);
    state.last_spec(&journal).expect_err("its file is missing")
}

fn saved_plan_errors() -> Vec<SavedPlanError> {
    let path = || "saved.plan".into();
    let (made, here) = (|it: &str| it.to_owned(), |it: &str| it.to_owned());
    vec![
        SavedPlanError::NoPlan(path()),
        SavedPlanError::Format { path: path(), format: 99 },
        SavedPlanError::Changed(path()),
        SavedPlanError::Version { made: made("9.0.0") },
        SavedPlanError::Host { made: made("lb1"), here: here("lb2") },
        SavedPlanError::Boot,
        SavedPlanError::Namespace { made: made("blue"), here: here("init") },
        SavedPlanError::NamespaceRecreated("blue".to_owned()),
        SavedPlanError::Role { made: made("director"), here: here("real server") },
        SavedPlanError::Stale("-+ add service web/192.0.2.1:80/tcp: scheduler wlc\n".to_owned()),
    ]
}

fn plan_file_errors() -> Vec<PlanFileError> {
    let path = || "saved.plan".into();
    vec![
        PlanFileError::Unreadable { path: path(), source: io::Error::from_raw_os_error(2) },
        PlanFileError::Unwritable { path: path(), source: refusal() },
        PlanFileError::Refused(SavedPlanError::Boot),
    ]
}

fn events() -> Vec<Event> {
    let target = Target { address: [10, 0, 0, 1].into(), port: 80 };
    let check = Check::new(Kind::Tcp(TcpOptions::default()));
    vec![
        Event::Notice(Notice::LostAtBoot { begun: 1_767_268_803 }),
        Event::Unconfirmed(Unconfirmed("an apply waits for confirmation".to_owned())),
        Event::JournalDamaged("the journal is damaged".to_owned()),
        Event::LastSpecUnavailable(spec_unavailable()),
        Event::TextsUnavailable("cannot read web.yaml".to_owned()),
        Event::CheckNotMade(Box::new(RoundReport {
            id: CheckId::of(target, &check),
            target,
            kind: check.kind.name(),
            outcome: Outcome::Unknown(Fault::Descriptors),
            duration: std::time::Duration::ZERO,
            attempts: 3,
        })),
        Event::SnapshotOfHeld { real_servers: 2 },
        Event::SnapshotWithoutChecks,
        Event::SnapshotOfRealServer,
        Event::SnapshotWithout {
            kind: HostObjectKind::SourceNat,
            why: "the program nft is not installed".into(),
        },
    ]
}
