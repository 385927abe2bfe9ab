//! Tests the texts of this crate against `tests/wording/engine.txt`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use evenkeel_host::Capability;
use evenkeel_ipvs as ipvs;
use evenkeel_model::{Binding, DefaultRoute, Family};

use crate::{
    ExecutionWarning, FileError, JournalError, KernelError, MissingCapabilities, MissingCapability,
    Notice, Outcome, Pending, PendingState, error_chain,
};

mod explanations;
#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, displayed, section};

/// 2026-01-01 12:00:03 UTC.
const NOON: u64 = 1_767_268_803;

#[test]
fn every_text_is_as_reviewed() {
    let mut golden = Golden::new("engine.txt");
    section!(golden, KernelError { NotPermitted, NoIpvs, Failed }, chained(kernel_errors()));
    golden.add_texts("MissingCapabilities", missing_capabilities());
    section!(
        golden,
        Outcome {
            Applied,
            AlreadyInPlace,
            LeftToKernel,
            Failed,
            Skipped,
            Draining,
            Undone,
            Unknown,
        },
        displayed(outcomes())
    );
    explanations::add(&mut golden);
    section!(
        golden,
        ExecutionWarning {
            NotAnnounced,
            RouteNotRestored,
            Interrupted,
            OutcomeNotRecorded,
            SelectionNotRecorded,
        },
        displayed(warnings())
    );
    section!(
        golden,
        Notice { LostAtBoot, LostWithNamespace, RolledBack, Message },
        displayed(notices())
    );
    section!(golden, PendingState { EarlierBoot, Unfinished, Waiting, Overdue }, pending());
    section!(
        golden,
        FileError { Failed, Symlink, NotRegular },
        file_errors().into_iter().map(|it| {
            let text = format!("{}\n  remedy: {}", error_chain(&it), it.remedy());
            (it, text)
        })
    );
    section!(
        golden,
        JournalError { File, Newer, Replaced },
        journal_errors().into_iter().map(|it| {
            let text = format!("{}\n  remedy: {}", error_chain(&it), it.remedy());
            (it, text)
        })
    );
    golden.check();
}

fn vip() -> Binding {
    Binding::host([192, 0, 2, 1].into(), "eth0")
}

fn vip_ipv6() -> Binding {
    Binding::host("2001:db8::1".parse().expect("an address"), "eth0")
}

fn refusal() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn kernel_errors() -> Vec<KernelError> {
    let (operation, object) = (ipvs::Operation::GetServices, ipvs::CommandObject::Table);
    let denied = ipvs::Error::PermissionDenied { operation, object };
    let socket = ipvs::Error::Socket { action: "receiving", source: refusal() };
    vec![
        KernelError::NotPermitted {
            tried: "reading services",
            capability: "CAP_NET_ADMIN",
            source: denied.into(),
        },
        KernelError::NoIpvs(ipvs::Error::ModuleMissing { source: None }.into()),
        KernelError::Failed { tried: "reading services", source: socket.into() },
        KernelError::Failed { tried: "reading /proc/net/ip_vs", source: refusal().into() },
    ]
}

fn missing_capabilities() -> Vec<String> {
    let missing = |capability, what: &str| MissingCapability { capability, what: what.to_owned() };
    let admin = missing(Capability::NetAdmin, "change the IPVS table, addresses and sysctls");
    let raw = missing(Capability::NetRaw, "announce 192.0.2.1/32 on eth0");
    vec![
        MissingCapabilities(vec![admin.clone()]).to_string(),
        MissingCapabilities(vec![admin, raw]).to_string(),
    ]
}

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Applied,
        Outcome::AlreadyInPlace,
        Outcome::LeftToKernel,
        Outcome::Failed(Box::new(rustix::io::Errno::PERM.into())),
        Outcome::Skipped,
        Outcome::Draining,
        Outcome::Undone,
        Outcome::Unknown,
    ]
}

fn warnings() -> Vec<ExecutionWarning> {
    let full = || {
        let path = "/var/lib/evenkeel/init/journal.json".as_ref();
        error_chain(&FileError::new("write", path)(refusal()))
    };
    let announced = |binding| ExecutionWarning::NotAnnounced {
        binding,
        error: "cannot announce it without CAP_NET_RAW".to_owned(),
    };
    vec![
        announced(vip()),
        announced(vip_ipv6()),
        ExecutionWarning::RouteNotRestored {
            route: DefaultRoute { family: Family::Ipv4 },
            former: "via 192.0.2.254 dev eth0 metric 100".to_owned(),
            error: "there is no interface eth0".to_owned(),
        },
        ExecutionWarning::Interrupted { cause: "no answer from the kernel".to_owned() },
        ExecutionWarning::OutcomeNotRecorded { error: full() },
        ExecutionWarning::SelectionNotRecorded { error: full() },
    ]
}

fn notices() -> Vec<Notice> {
    let begun = NOON;
    let rolled_back =
        |is_unfinished, is_complete| Notice::RolledBack { begun, is_unfinished, is_complete };
    vec![
        Notice::LostAtBoot { begun },
        Notice::LostWithNamespace { begun },
        rolled_back(false, true),
        rolled_back(false, false),
        rolled_back(true, true),
        rolled_back(true, false),
        Notice::Message("a message of an earlier version".to_owned()),
    ]
}

/// The descriptions of pending applies, which refuse changes. The id of the watchdog is `PID`.
fn pending() -> Vec<(PendingState, String)> {
    let mut watchdog = Command::new("sleep").arg0("watchdog").arg("60").spawn().expect("sleep");
    let pid = watchdog.id();
    let unfinished = Pending::begin(NOON, 120, Vec::new()).expect("this boot has an id");
    let waiting = Pending { deadline: Some(NOON + 130), ..unfinished.clone() };
    let watched = |pending: &Pending| Pending { watchdog: Some(pid), ..pending.clone() };
    // Until it is executed, it has the name of this program.
    let is_watched = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        watched(&waiting).is_watched()
    });
    assert!(is_watched);
    let at = |pending: Pending, now| {
        let text = pending.description(now);
        (pending.state(now), text.replace(&format!("process {pid} "), "process PID "))
    };
    let described = vec![
        at(Pending { boot: "another".into(), ..waiting.clone() }, NOON),
        at(unfinished.clone(), NOON),
        at(watched(&unfinished), NOON),
        at(waiting.clone(), NOON + 100),
        at(watched(&waiting), NOON + 100),
        at(waiting.clone(), NOON + 200),
        at(watched(&waiting), NOON + 200),
    ];
    watchdog.kill().expect("it can be ended");
    watchdog.wait().expect("it ends");
    described
}

fn file_errors() -> Vec<FileError> {
    let path = "/var/lib/evenkeel/init/journal.json";
    let failed = ["read", "write", "open", "set aside"];
    let failed = failed.map(|tried| FileError::new(tried, path.as_ref())(refusal()));
    let directory = std::io::Error::from(std::io::ErrorKind::IsADirectory);
    let found = [
        FileError::new("replace", path.as_ref())(directory),
        FileError::Symlink { path: path.into() },
        FileError::NotRegular { path: path.into() },
    ];
    failed.into_iter().chain(found).collect()
}

fn journal_errors() -> Vec<JournalError> {
    let folder = "/var/lib/evenkeel/blue";
    vec![
        JournalError::File(FileError::Symlink { path: folder.into() }),
        JournalError::Newer { path: format!("{folder}/journal.json").into(), version: 99 },
        JournalError::Replaced { name: "blue".to_owned(), folder: folder.into() },
    ]
}
