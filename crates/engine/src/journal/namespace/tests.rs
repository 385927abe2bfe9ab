use std::collections::BTreeSet;

use evenkeel_model::{
    AttemptedClaims, Binding, Claims, DefaultRoute, DefaultRouteValue, Desired, DesiredTimeouts,
    Drain, Family, ForeignMarks, FormerRole, Guards, LeftScope, OverlayEffect, RealServerKey,
    Scope, SyncState,
};
use evenkeel_plan::{
    DrainRecords, Draining, OtherOwners, OverlaidServer, OverlayOrigin, OverlayRecords, PartRecord,
    RealServerRecords, ReplacedObjects, SyncLink,
};
use tempfile::TempDir;

use super::*;
use crate::Notice;
use crate::execute::tests::web;
use crate::{Found, ParameterValues, PartialApplies, StoredSpecTexts};

/// An identity with that boot and cookie.
fn identity(boot: &str, cookie: Option<u64>) -> NamespaceIdentity {
    NamespaceIdentity { boot: boot.into(), cookie, device: 4, inode: 100, is_first: false }
}

fn first(boot: &str) -> Namespace {
    let identity = NamespaceIdentity { is_first: true, ..identity(boot, Some(1)) };
    Namespace { identity, initial: true, name: None }
}

/// The initial namespace of a container.
fn container(cookie: u64) -> Namespace {
    Namespace { identity: identity("a", Some(cookie)), initial: true, name: None }
}

fn named(cookie: Option<u64>) -> Namespace {
    Namespace {
        identity: identity("a", cookie),
        initial: false,
        name: Some("evenkeel-none".into()),
    }
}

fn nameless(cookie: u64) -> Namespace {
    Namespace { identity: identity("a", Some(cookie)), initial: false, name: None }
}

/// A journal with a value in every field that a new namespace could inherit.
fn full() -> Journal {
    let draining = Draining { since: 5, weight: 3, limit: Drain::default(), uptime: None };
    let server = RealServerKey { address: [10, 0, 0, 1].into(), port: 80 };
    let (service, _) = web([], Drain::default());
    let route = DefaultRoute { family: Family::Ipv4 };
    let gateway = DefaultRouteValue::Gateway([192, 0, 2, 254].into());
    let targeted = PartialApplies::new(&[service].into(), &Desired::default());
    assert!(!targeted.is_empty());
    Journal {
        record: PriorState {
            applied: true,
            end_marks: true,
            scope: Some(Scope::All),
            guards: Some(Guards::default()),
            sysctls: [("net.ipv4.vs.conn_reuse_mode".into(), "1".into())].into(),
            side_effects: [(
                "net.ipv4.ip_forward".into(),
                [("net.ipv4.conf.eth0.forwarding".into(), "0".into())].into(),
            )]
            .into(),
            left: LeftScope { services: [service].into(), ..LeftScope::default() },
            former_timeouts: DesiredTimeouts { tcp: Some(600), ..Default::default() },
            timeouts: DesiredTimeouts { tcp: Some(900), ..Default::default() },
            drains: DrainRecords([((service, server), draining)].into()),
            overlaid: OverlayRecords(
                [(
                    (service, server),
                    OverlaidServer {
                        effect: OverlayEffect::Out,
                        before: Some(3),
                        origin: OverlayOrigin::Health,
                    },
                )]
                .into(),
            ),
            withheld_vips: [[192, 0, 2, 1].into()].into(),
            unfilled: [service].into(),
            handed_over: ForeignMarks { dummies: ["old".into()].into(), ..ForeignMarks::default() },
            claims: Claims { dummies: ["vips".into()].into(), ..Claims::default() },
            attempted_claims: Some(AttemptedClaims::of(&Desired::default())),
            others: OtherOwners::default(),
            sync_links: [(SyncState::Backup, SyncLink { interface: "eth1".into(), index: 3 })]
                .into(),
            foreign_vips: [Binding::host([192, 0, 2, 2].into(), "eth0")].into(),
            replaced: ReplacedObjects([(route.into(), gateway.into())].into()),
            real_server: RealServerRecords {
                former: Some(FormerRole::Gateway),
                in_force: [(service, PartRecord::default())].into(),
                ..RealServerRecords::default()
            },
        },
        addresses: BTreeSet::from([Binding::host([192, 0, 2, 1].into(), "eth0")]),
        dummies: BTreeSet::from(["vips".into()]),
        pending: Some(Pending::begin(5, 120, Vec::new()).expect("this boot has a name")),
        notices: vec![Notice::Message("something happened".into())],
        targeted,
        ..Journal::default()
    }
}

/// A state directory with a full journal of that namespace, with a last spec and one that is being
/// applied.
fn written(namespace: Namespace) -> (TempDir, Journal) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::of(folder.path(), namespace);
    let mut journal = full();
    let values = ParameterValues::new();
    state.store_spec(&mut journal, &[("a.yaml", b"version: 1\n")], &values).expect("room");
    journal.promote_next_spec();
    state.store_spec(&mut journal, &[("b.yaml", b"version: 1\n\n")], &values).expect("room");
    state.write(&journal).expect("it can be written");
    let (read, warning) = state.read(true).expect("it can be read");
    assert_eq!((&read.namespace, warning), (&state.identity().cloned(), None));
    assert_eq!(Journal { namespace: None, ..read }, journal, "all of it, in the same namespace");
    (folder, journal)
}

fn read(folder: &TempDir, namespace: Namespace) -> Journal {
    let state = StateDir::of(folder.path(), namespace);
    let Ok(Found::Valid(found)) = state.find() else { panic!("it is there") };
    let (journal, warning) = state.read(true).expect("it can be read");
    assert_eq!((&journal, warning), (&*found, None), "readers and writers read the same");
    assert_eq!(journal.namespace.as_ref(), state.identity());
    journal
}

/// The journal that remains by name, with a notice about the pending apply that ends with `end`.
fn kept(before: &Journal, here: &Namespace, applied: bool, end: &str) -> Journal {
    let mut journal = Journal {
        namespace: Some(here.identity.clone()),
        record: PriorState {
            applied,
            end_marks: before.record.end_marks,
            scope: before.record.scope.clone(),
            guards: before.record.guards,
            foreign_vips: match applied {
                true => before.record.foreign_vips.clone(),
                false => BTreeSet::new(),
            },
            real_server: RealServerRecords {
                former: applied.then_some(FormerRole::Gateway),
                ..RealServerRecords::default()
            },
            ..PriorState::default()
        },
        spec: before.spec.clone(),
        notices: before.notices.clone(),
        ..Journal::default()
    };
    let text = format!(
        "an apply of 1970-01-01 00:00:05 UTC was not confirmed when {end}; its changes to the \
         kernel were lost with it, and nothing is left to confirm or roll back"
    );
    let notices = [Notice::LostWithNamespace { begun: 5 }, Notice::LostAtBoot { begun: 5 }];
    journal.notices.extend(notices.into_iter().find(|notice| notice.to_string() == text));
    journal
}

const DELETED: &str = "its network namespace was deleted";

#[test]
fn in_another_namespace_of_the_same_name_only_what_the_user_intended_is_kept() {
    for (before, here) in [
        (named(Some(7)), named(Some(8))),
        (container(7), container(8)),
        // Without cookies, namespaces are distinguished by their inodes.
        (
            named(None),
            Namespace {
                identity: NamespaceIdentity { inode: 101, ..identity("a", None) },
                ..named(None)
            },
        ),
        // A state directory that a container shares with its host, in one boot.
        (first("a"), container(8)),
        (container(8), first("a")),
    ] {
        let (folder, journal) = written(before);
        assert_eq!(read(&folder, here.clone()), kept(&journal, &here, false, DELETED));
        let state = StateDir::of(folder.path(), here.clone());
        let last = state.last_spec(&read(&folder, here)).expect("it is whole");
        let texts = vec![("a.yaml".to_owned(), b"version: 1\n".to_vec())];
        assert_eq!(last, Some(StoredSpecTexts { texts, parameters: ParameterValues::new() }));
    }
}

#[test]
fn only_the_first_namespace_keeps_across_boots_that_a_spec_was_applied() {
    let (folder, journal) = written(first("a"));
    let here = first("b");
    assert_eq!(read(&folder, here.clone()), kept(&journal, &here, true, DELETED));

    let in_boot = |boot: &str, namespace: Namespace| Namespace {
        identity: NamespaceIdentity { boot: boot.into(), ..namespace.identity.clone() },
        ..namespace
    };
    // The same cookie and inode in another boot are another namespace's.
    for before in [named(Some(7)), named(None), container(7)] {
        let (folder, journal) = written(before.clone());
        let here = in_boot("b", before);
        assert_eq!(read(&folder, here.clone()), kept(&journal, &here, false, DELETED));
    }
    // A container's apply in an earlier boot does not count for this host.
    let (folder, journal) = written(container(7));
    assert_eq!(read(&folder, first("b")), kept(&journal, &first("b"), false, DELETED));
}

#[test]
fn a_pending_apply_of_another_boot_ended_with_it() {
    let (folder, journal) = written(first("a"));
    let state = StateDir::of(folder.path(), first("a"));
    let pending = journal.pending.clone().map(|it| Pending { boot: "another".into(), ..it });
    state.write(&Journal { pending, ..journal.clone() }).expect("it can be written");
    let here = first("b");
    assert_eq!(read(&folder, here.clone()), kept(&journal, &here, true, "this host went down"));
}

#[test]
fn a_nameless_namespace_inherits_nothing() {
    let (folder, _) = written(nameless(7));
    let here = nameless(8);
    let namespace = Some(here.identity.clone());
    let expected = Journal { namespace, ..Journal::default() };
    assert_eq!(read(&folder, here.clone()), expected);
    // The first write removes the texts of the foreign spec.
    let state = StateDir::of(folder.path(), here);
    state.write(&expected).expect("it can be written");
    let names = std::fs::read_dir(state.folder()).expect("it is there");
    assert_eq!(names.count(), 1, "the journal alone");
}

#[test]
fn a_journal_without_an_identity_counts_as_this_namespaces_and_gets_one_when_written() {
    for here in [first("a"), container(7), named(Some(7)), named(None), nameless(7)] {
        let folder = tempfile::tempdir().expect("a folder");
        StateDir::new(folder.path(), &here.label()).write(&full()).expect("it can be written");
        let state = StateDir::of(folder.path(), here.clone());
        let (journal, _) = state.read(true).expect("it can be read");
        let identity = Some(here.identity);
        assert_eq!(journal, Journal { namespace: identity.clone(), ..full() });
        // A journal that was not read here gets the identity, too.
        state.write(&full()).expect("it can be written");
        let Ok(Found::Valid(written)) = StateDir::new(folder.path(), &here_label(&state)).find()
        else {
            panic!("it is there")
        };
        assert_eq!(written.namespace, identity);
    }
}

fn here_label(state: &StateDir) -> String {
    state.folder().file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn an_inherited_journal_is_written_as_this_namespaces_own() {
    let (folder, _) = written(named(Some(7)));
    let here = named(Some(8));
    let journal = read(&folder, here.clone());
    StateDir::of(folder.path(), here.clone()).write(&journal).expect("it can be written");
    assert_eq!(read(&folder, here), journal);
}
