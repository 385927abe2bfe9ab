use std::collections::BTreeMap;

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Statistics};
use evenkeel_model::{
    Binding, Drain, Family, FileContents, Guards, IgnoredField, Limits, Live, NamedService, Owner,
    Scope, Service, SyncDaemon, SyncState, Vip,
};

use super::*;
use crate::test_fixtures::{self, at, on};
use crate::{DrainRecords, Draining, Loss, LostFile, Plan, PriorState, plan};

/// A service whose real servers have those weights.
fn weighing(weights: &[u32]) -> Service {
    let real_servers = (1..).map(at).zip(weights.iter().copied().map(test_fixtures::weighing));
    Service { config: test_fixtures::scheduled_by("wlc"), real_servers: real_servers.collect() }
}

fn spec(services: impl IntoIterator<Item = (ServiceKey, Service)>, drain: Drain) -> Desired {
    let named = |service| NamedService { drain, ..NamedService::new("web", service) };
    Desired {
        scope: Scope::All,
        services: services.into_iter().map(|(key, service)| (key, named(service))).collect(),
        drain,
        ..Desired::default()
    }
}

fn host(services: impl IntoIterator<Item = (ServiceKey, Service)>) -> Live {
    Live { services: services.into_iter().collect(), ..Live::default() }
}

fn planned(desired: &Desired, live: &Live) -> Plan {
    plan(Inputs::new(desired, live, &PriorState::for_snapshot()))
}

/// Returns the only refusal: its guard and its message. Only the name of that guard lifts it.
fn refused(plan: &Plan) -> Option<(Guard, &str)> {
    let [refusal] = &plan.refusals[..] else {
        assert_eq!(plan.refusals, []);
        return None;
    };
    for guard in Guard::ALL {
        assert_eq!(plan.refused(&[guard]).count(), usize::from(guard != refusal.guard));
    }
    assert_eq!(plan.refused(&[]).count(), 1);
    Some((refusal.guard, &refusal.message))
}

#[test]
fn every_guard_is_found_by_its_name() {
    for guard in Guard::ALL {
        assert_eq!(guard.name().parse(), Ok(guard));
        assert_eq!(serde_json::to_value(guard).expect("a word"), guard.name());
    }
    let unknown = "mass_delete".parse::<Guard>().expect_err("there is none");
    assert_eq!(
        unknown.to_string(),
        "there is no guard `mass_delete`; the guards are empty, cut-off, take-over, mass-delete, \
         wider-scope, missing-file, no-server, unbind-in-use"
    );
}

#[test]
fn an_empty_spec_is_refused_even_if_nothing_would_be_deleted() {
    let plan = planned(&spec([], Drain::NONE), &Live::default());
    assert_eq!(refused(&plan).map(|(guard, _)| guard), Some(Guard::Empty));
    let plan = planned(&spec([(on(1), weighing(&[]))], Drain::NONE), &Live::default());
    assert_eq!(refused(&plan), None);
}

#[test]
fn the_first_apply_refuses_to_delete_what_it_does_not_list_whatever_its_scope() {
    let mut wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    wanted.guards.mass_delete = 0;
    let unlisted = |number: u8| host((2..2 + number).map(|last| (on(last), weighing(&[]))));
    let first = |desired: &Desired, live: &Live| -> Option<String> {
        // The thresholds are recorded already, as for a namespace that was created again.
        let record = PriorState { guards: Some(desired.guards), ..PriorState::default() };
        let plan = plan(Inputs::new(desired, live, &record));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::TakeOver);
            message.to_owned()
        })
    };
    let network = vec!["192.0.2.0/24".parse().expect("a net")];
    let limited = Scope::Limited(Limits { vips: network, ..Limits::default() });
    for (scope, governed) in [
        (Scope::Implied, "the spec has no `scope`, so it governs the whole table"),
        (Scope::All, "the spec's scope is the whole table"),
        (limited, "the spec's scope covers more than it lists"),
    ] {
        wanted.scope = scope;
        let message = |number: &str, which: &str| {
            Some(format!(
                "nothing was applied here before, and {governed}: this plan would delete {number} \
                 that it does not list ({which}); list them, or narrow `scope` to what is the \
                 spec's own"
            ))
        };
        let one = "service 192.0.2.2:80/tcp";
        assert_eq!(first(&wanted, &unlisted(1)), message("1 live object", one));
        let more = "service 192.0.2.2:80/tcp, service 192.0.2.3:80/tcp, service 192.0.2.4:80/tcp \
                    and 2 more";
        assert_eq!(first(&wanted, &unlisted(5)), message("5 live objects", more));
        assert_eq!(refused(&planned(&wanted, &unlisted(1))), None, "not the first apply");
        assert_eq!(first(&wanted, &Live::default()), None);
        // Listed objects are intended: that is how a host is adopted.
        assert_eq!(first(&wanted, &host([(on(1), weighing(&[5]))])), None);
    }
    wanted.scope = Scope::Limited(Limits { services: [on(1)].into(), ..Limits::default() });
    assert_eq!(first(&wanted, &unlisted(5)), None, "they are out of scope");
}

#[test]
fn the_first_apply_refuses_to_stop_a_sync_daemon_that_it_does_not_list() {
    let mut wanted = spec([(on(1), weighing(&[]))], Drain::NONE);
    let live = Live { sync: [(SyncState::Backup, daemon())].into(), ..host([]) };
    let first = |desired: &Desired| {
        let plan = plan(Inputs::new(desired, &live, &PriorState::default()));
        refused(&plan).map(|(guard, _)| guard)
    };
    assert_eq!(first(&wanted), None, "it belongs to another program");
    wanted.sync = Some(BTreeMap::new());
    assert_eq!(first(&wanted), Some(Guard::TakeOver));
    wanted.sync = Some([(SyncState::Backup, SyncDaemon { id: 9, ..daemon() })].into());
    assert_eq!(first(&wanted), None, "it is listed, and changed");
}

/// A spec of one service with that scope, and the record of one with another.
fn widened(before: Scope, after: Scope) -> (Desired, PriorState) {
    let desired = Desired { scope: after, ..spec([(on(1), weighing(&[1]))], Drain::NONE) };
    (desired, PriorState { scope: Some(before), ..PriorState::for_snapshot() })
}

fn services(keys: impl IntoIterator<Item = ServiceKey>) -> Scope {
    Scope::Limited(Limits { services: keys.into_iter().collect(), ..Limits::default() })
}

#[test]
fn a_wider_scope_does_not_touch_what_it_newly_covers() {
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    let guards = |before: Scope, after: Scope, live: &Live| {
        let (desired, record) = widened(before, after);
        let plan = plan(Inputs::new(&desired, live, &record));
        let refused = refused(&plan).map(|(guard, _)| guard);
        (plan.wider_scope.map(|it| it.services), refused)
    };
    let refuses = Some(Guard::WiderScope);
    for whole in [Scope::Implied, Scope::All] {
        // The unlisted service on 192.0.2.2 would be deleted.
        assert_eq!(guards(services([on(1)]), whole.clone(), &live), (Some(1), refuses));
        assert_eq!(guards(whole.clone(), Scope::All, &live), (None, None), "as wide as before");
        // A written scope may not change newly covered objects; a missing one also covers later
        // objects.
        let own = host([(on(1), weighing(&[1]))]);
        let lost = (whole == Scope::Implied).then_some(Guard::WiderScope);
        assert_eq!(guards(services([on(1)]), whole.clone(), &own), (Some(0), lost));
        assert_eq!(guards(whole, services([on(1)]), &live), (None, None), "narrower");
    }
    // A listed service would be edited, or gets a real server.
    for weights in [&[5][..], &[]] {
        let live = host([(on(1), weighing(weights))]);
        assert_eq!(guards(services([]), services([on(1)]), &live), (Some(1), refuses));
    }
    // A service that matches the spec is covered without a change; an absent one is added.
    for live in [host([(on(1), weighing(&[1]))]), host([])] {
        assert_eq!(guards(services([]), services([on(1)]), &live).1, None);
    }
}

#[test]
fn a_wider_scope_is_reported_with_both_scopes_and_what_would_change() {
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    let (desired, record) = widened(services([on(1)]), Scope::Implied);
    let plan = plan(Inputs::new(&desired, &live, &record));
    let message = "the spec has no `scope`, so it governs the whole table; the one in force governs \
                   services 192.0.2.1:80/tcp; bring the `scope` back, or write `scope: all` if the \
                   whole table is meant";
    assert_eq!(refused(&plan), Some((Guard::WiderScope, message)));
    let (all, record) = widened(services([on(1)]), Scope::All);
    let message = "the spec in force does not govern 1 live object that this plan would change \
                   (192.0.2.2:80/tcp): its scope is services 192.0.2.1:80/tcp, and that of this \
                   spec is all";
    let written = crate::plan(Inputs::new(&all, &live, &record));
    assert_eq!(refused(&written), Some((Guard::WiderScope, message)));
    let line = "~ edit scope: services 192.0.2.1:80/tcp -> the whole table, as no `scope` is \
                written, which newly covers 1 live service";
    assert_eq!(plan.wider_scope.as_ref().map(ToString::to_string).as_deref(), Some(line));
    assert_eq!(plan.counts().edit, 1);
}

#[test]
fn a_wider_scope_unbinds_no_vip_and_a_spec_that_newly_has_sync_stops_no_daemon() {
    let (desired, record) = widened(services([on(1)]), Scope::All);
    let live = bound(host([(on(1), weighing(&[1]))]), [vip(9)]);
    let plan_of = |desired: &Desired, live: &Live, last: Option<&Desired>| {
        let plan = plan(Inputs { last, ..Inputs::new(desired, live, &record) });
        refused(&plan).map(|(guard, _)| guard)
    };
    assert_eq!(plan_of(&desired, &live, None), Some(Guard::WiderScope));
    let sync = [(SyncState::Master, daemon())].into();
    let live = Live { sync, ..host([(on(1), weighing(&[1]))]) };
    let stops = Desired { sync: Some(BTreeMap::new()), ..desired.clone() };
    assert_eq!(plan_of(&stops, &live, Some(&desired)), Some(Guard::WiderScope));
    assert_eq!(plan_of(&stops, &live, Some(&stops)), None, "the last spec governed them too");
}

#[test]
fn objects_of_a_missing_file_are_not_deleted() {
    let wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    let live = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(2)]);
    let record = PriorState::for_snapshot();
    let file = |services: &[ServiceKey], loss| LostFile {
        contents: FileContents {
            name: "b.yaml".to_owned(),
            services: services.iter().copied().collect(),
            vips: [vip(2)].into(),
            ..FileContents::default()
        },
        loss,
    };
    let message = |live: &Live, lost: LostFile| {
        let plan = plan(Inputs { lost_files: &[lost], ..Inputs::new(&wanted, live, &record) });
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::MissingFile);
            message.to_owned()
        })
    };
    assert_eq!(
        message(&live, file(&[on(2), on(3)], Loss::Missing)).expect("it is refused"),
        "b.yaml is a file of the spec in force and is missing; with it would go vip 192.0.2.2/32 on \
         eth0 and service 192.0.2.2:80/tcp; bring it back, or empty it (`services: []`) in one \
         change and remove it in a later one"
    );
    let replaced = message(&live, file(&[on(2)], Loss::Replaced)).expect("it is refused");
    assert!(replaced.starts_with("b.yaml lists other addresses than"), "{replaced}");
    // Its objects are absent, or stay.
    let gone = host([(on(1), weighing(&[1]))]);
    assert_eq!(message(&gone, file(&[on(2)], Loss::Missing)), None);
    assert_eq!(message(&gone, file(&[on(1)], Loss::Missing)), None);
}

#[test]
fn a_missing_file_of_defaults_is_refused() {
    let wanted = spec([(on(1), weighing(&[5])), (on(2), weighing(&[1]))], Drain::NONE);
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    let record = PriorState::for_snapshot();
    let name = "defaults.yaml".to_owned();
    let contents = FileContents { name, defaults: true, ..FileContents::default() };
    let lost_files = [LostFile { contents, loss: Loss::Missing }];
    let plan = plan(Inputs { lost_files: &lost_files, ..Inputs::new(&wanted, &live, &record) });
    let (guard, message) = refused(&plan).expect("it is refused");
    assert_eq!(guard, Guard::MissingFile);
    assert!(message.contains("its `defaults`, by which 1 service would be edited"), "{message}");
}

#[test]
fn sync_daemons_and_sysctls_of_a_missing_file_are_not_reset() {
    let key: Box<str> = "net.ipv4.ip_forward".into();
    let wanted =
        Desired { sync: Some(BTreeMap::new()), ..spec([(on(1), weighing(&[1]))], Drain::NONE) };
    let live = Live {
        sync: [(SyncState::Master, daemon())].into(),
        sysctls: [(key.clone(), "1".into())].into(),
        ..host([(on(1), weighing(&[1]))])
    };
    let record =
        PriorState { sysctls: [(key.clone(), "0".into())].into(), ..PriorState::for_snapshot() };
    let contents = FileContents {
        name: "settings.yaml".to_owned(),
        sync: [SyncState::Master].into(),
        sysctls: [key].into(),
        ..FileContents::default()
    };
    let lost_files = [LostFile { contents, loss: Loss::Missing }];
    let plan = plan(Inputs { lost_files: &lost_files, ..Inputs::new(&wanted, &live, &record) });
    let (guard, message) = refused(&plan).expect("it is refused");
    assert_eq!(guard, Guard::MissingFile);
    let gone = "sysctl net.ipv4.ip_forward, which would go back to 0";
    assert!(message.contains(gone) && message.contains("sync daemon master"), "{message}");
}

#[test]
fn a_mass_deletion_leaves_less_than_the_configured_share_of_the_configured_minimum() {
    let many = |number: u8| (0..number).map(|last| (on(last), weighing(&[])));
    let falls = |guards: Guards, from: u8, to: u8| -> Option<String> {
        let wanted = Desired { guards, ..spec(many(to), Drain::NONE) };
        let plan = planned(&wanted, &host(many(from)));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::MassDelete);
            message.to_owned()
        })
    };
    let usual = Guards::default();
    assert_eq!(falls(usual, 3, 1), None);
    assert_eq!(falls(usual, 4, 2), None);
    assert_eq!(
        falls(usual, 4, 1),
        Some("1 of 4 live services would be left (mass_delete: 50%)".to_owned())
    );
    assert_eq!(
        falls(usual, 5, 2),
        Some("2 of 5 live services would be left (mass_delete: 50%)".to_owned())
    );
    let strict = Guards { mass_delete: 90, mass_delete_from: 10, ..usual };
    assert_eq!(falls(strict, 9, 1), None);
    assert_eq!(falls(strict, 10, 9), None);
    assert_eq!(
        falls(strict, 10, 8),
        Some("8 of 10 live services would be left (mass_delete: 90%)".to_owned())
    );
    let off = Guards { mass_delete: 0, mass_delete_from: 1, ..usual };
    assert_eq!(falls(off, 100, 1), None);
    let every = Guards { mass_delete: 100, mass_delete_from: 1, ..usual };
    assert_eq!(falls(every, 2, 2), None);
    assert!(falls(every, 2, 1).is_some());
}

#[test]
fn deleting_real_servers_of_one_service_can_be_a_mass_deletion() {
    let found = host([(on(1), weighing(&[1, 1, 1, 1]))]);
    let plan = planned(&spec([(on(1), weighing(&[1]))], Drain::NONE), &found);
    let message = "1 of 4 real servers of web/192.0.2.1:80/tcp would be left (mass_delete: 50%)";
    assert_eq!(refused(&plan), Some((Guard::MassDelete, message)));
    // A pool can be replaced by one of the same size.
    let others = (5..=8).map(|last| (at(last), test_fixtures::weighing(1))).collect();
    let pool = Service { real_servers: others, ..weighing(&[]) };
    assert_eq!(refused(&planned(&spec([(on(1), pool)], Drain::NONE), &found)), None);
}

#[test]
fn replacements_are_not_survivors() {
    let many = |first: u8| (first..first + 6).map(|last| (on(last), weighing(&[])));
    let plan = planned(&spec(many(11), Drain::NONE), &host(many(1)));
    let message = "0 of 6 live services would be left (mass_delete: 50%)";
    assert_eq!(refused(&plan), Some((Guard::MassDelete, message)));
    // Half of them survive, and the others are new.
    assert_eq!(refused(&planned(&spec(many(4), Drain::NONE), &host(many(1)))), None);
}

#[test]
fn vips_that_move_to_another_interface_survive_a_mass_deletion() {
    let found = bound(host([(on(1), weighing(&[]))]), (1..=4).map(vip));
    let wanted = |vips: Vec<Binding>| Desired {
        vips: vips.into_iter().map(|vip| (vip, Vip::default())).collect(),
        ..spec([(on(1), weighing(&[]))], Drain::NONE)
    };
    let plan = planned(&wanted(vec![vip(1), vip(7), vip(8), vip(9)]), &found);
    let message = "1 of 4 live VIPs would be left (mass_delete: 50%)";
    assert_eq!(refused(&plan), Some((Guard::MassDelete, message)));
    let on_lo = |last| Binding::host([192, 0, 2, last].into(), "lo");
    assert_eq!(refused(&planned(&wanted((1..=4).map(on_lo).collect()), &found)), None);
}

#[test]
fn a_spec_cannot_loosen_the_guards_that_judge_it() {
    let many = |number: u8| (0..number).map(|last| (on(last), weighing(&[])));
    let loose = Guards { mass_delete: 0, ..Guards::default() };
    let judged = |before: Option<Guards>, after: Guards, applied| {
        let wanted = Desired { guards: after, ..spec(many(1), Drain::NONE) };
        let record = PriorState { guards: before, applied, ..PriorState::for_snapshot() };
        let plan = plan(Inputs::new(&wanted, &host(many(4)), &record));
        let refusal = plan.refusals.iter().find(|it| it.guard == Guard::MassDelete);
        (refusal.map(|it| it.message.clone()), plan.warnings)
    };
    let (refusal, warnings) = judged(Some(Guards::default()), loose, true);
    let message = "1 of 4 live services would be left (mass_delete: 50%, in force before this \
                   spec, whose off counts from the next on)";
    assert_eq!(refusal.as_deref(), Some(message));
    let warning = "looser guards count from the next spec on, stricter ones at once: \
                   `mass_delete: off` (50% judges this plan)";
    assert_eq!(warnings, [warning]);
    // It applies from the next spec on.
    assert_eq!(judged(Some(loose), loose, true), (None, vec![]));
    // A stricter one applies at once.
    assert!(judged(Some(loose), Guards::default(), true).0.is_some());
    // Before the first spec the default thresholds are in force.
    assert!(judged(None, loose, false).0.is_some());
    // Offline only the spec is known.
    assert_eq!(judged(None, loose, true), (None, vec![]));
}

#[test]
fn objects_out_of_scope_do_not_count_as_a_mass_deletion() {
    let mut wanted = spec([(on(1), weighing(&[]))], Drain::NONE);
    wanted.scope = Scope::Limited(Limits {
        vips: vec!["192.0.2.1/32".parse().expect("a net")],
        ..Limits::default()
    });
    let found = host((1..=5).map(|last| (on(last), weighing(&[]))));
    assert_eq!(refused(&planned(&wanted, &found)), None);
}

#[test]
fn a_drain_that_has_started_does_not_count_again() {
    let found = host((1..=5).map(|last| (on(last), weighing(&[0]))));
    let wanted = spec([(on(1), weighing(&[0]))], Drain(30));
    assert!(refused(&planned(&wanted, &found)).is_some());
    let draining = Draining { since: 1, weight: 1, limit: Drain::default(), uptime: None };
    let drains = (2..=5).map(|last| ((on(last), at(1)), draining)).collect();
    let record = PriorState { drains: DrainRecords(drains), ..PriorState::for_snapshot() };
    let plan = plan(Inputs::new(&wanted, &found, &record));
    assert_eq!((refused(&plan), plan.steps.len()), (None, 8));
}

#[test]
fn an_incomplete_file_deletes_nothing() {
    let wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    let (edited, empty) = (host([(on(1), weighing(&[5]))]), host([]));
    let record = PriorState::for_snapshot();
    let cut = |live: &Live, lacks| {
        let cut_off = CutOff { name: "web.yaml".to_owned(), length: 412, lacks };
        let plan = plan(Inputs { cut_off: Some(&cut_off), ..Inputs::new(&wanted, live, &record) });
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::CutOff);
            message.to_owned()
        })
    };
    let rest = Lack::Rest { of: 1830 };
    assert_eq!(
        cut(&edited, rest).expect("it is refused"),
        "web.yaml is the first 412 of 1830 bytes of a file of the spec in force, and may not have \
         been written in full; if it is complete, end it with a line `...`, which says so for \
         certain"
    );
    assert!(cut(&edited, Lack::Newline).expect("it is refused").contains("a newline"));
    assert!(cut(&edited, Lack::EndMark).expect("it is refused").contains("is incomplete"));
    // Additions delete nothing, but a file that is certainly incomplete is refused.
    assert_eq!(cut(&empty, rest), None);
    assert_eq!(cut(&empty, Lack::Newline), None);
    assert!(cut(&empty, Lack::EndMark).is_some());
    let same = host([(on(1), weighing(&[1]))]);
    for lacks in [rest, Lack::Newline] {
        assert_eq!(cut(&same, lacks), None, "nothing would change");
    }
    // The missing part may be its scope or its guards.
    assert!(cut(&same, Lack::EndMark).is_some());
}

#[test]
fn a_service_that_stays_keeps_a_real_server_of_a_positive_weight() {
    let bare = |live: &[u32], desired: &[u32], drain| -> Option<String> {
        let wanted = spec([(on(1), weighing(desired))], drain);
        let plan = planned(&wanted, &host([(on(1), weighing(live))]));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::NoServer);
            message.to_owned()
        })
    };
    let message = |number| {
        Some(format!(
            "web/192.0.2.1:80/tcp would have no real server with a positive weight left ({number} \
             now) and refuse all clients; list one with a positive weight, or remove it from the \
             spec"
        ))
    };
    for drain in [Drain::NONE, Drain(30)] {
        assert_eq!(bare(&[1, 2], &[], drain), message(2), "deleted");
        assert_eq!(bare(&[1, 0], &[0, 0], drain), message(1), "set to 0");
        assert_eq!(bare(&[5, 0], &[0, 0, 0], drain), message(1), "and one added with weight 0");
        assert_eq!(bare(&[5, 0], &[0, 1], drain), None);
        assert_eq!(bare(&[5], &[0, 1], drain), None);
        assert_eq!(bare(&[0, 0], &[0], drain), None, "it had none before");
        assert_eq!(bare(&[0, 0], &[], drain), None, "it had none before");
    }
}

#[test]
fn ignored_weights_count_with_their_live_values() {
    let mut wanted = spec([(on(1), weighing(&[7]))], Drain::NONE);
    for named in wanted.services.values_mut() {
        named.ignore = [IgnoredField::Weight].into_iter().collect();
    }
    // The second one is removed, and a health checker has set the first to 0.
    let plan = planned(&wanted, &host([(on(1), weighing(&[0, 1]))]));
    assert_eq!(refused(&plan).map(|(guard, _)| guard), Some(Guard::NoServer));
    let plan = planned(&wanted, &host([(on(1), weighing(&[3, 1]))]));
    assert_eq!(refused(&plan), None);
}

fn daemon() -> SyncDaemon {
    SyncDaemon {
        interface: "eth1".into(),
        id: 1,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    }
}

fn vip(last: u8) -> Binding {
    Binding::host([192, 0, 2, last].into(), "eth0")
}

fn bound(live: Live, vips: impl IntoIterator<Item = Binding>) -> Live {
    let addresses = vips.into_iter().map(|vip| (vip, Owner::Evenkeel)).collect();
    Live { addresses, ..live }
}

fn connected(services: impl IntoIterator<Item = (ServiceKey, u32)>) -> Statistics {
    let counted = |active_connections| ServiceStatistics {
        real_servers: BTreeMap::from([(
            at(1),
            RealServerStatistics { active_connections, ..RealServerStatistics::default() },
        )]),
        ..ServiceStatistics::default()
    };
    Statistics { services: services.into_iter().map(|(key, it)| (key, counted(it))).collect() }
}

#[test]
fn a_vip_stays_while_a_service_on_it_stays_or_is_added() {
    let found = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(1), vip(2)]);
    let mut wanted = spec([(on(1), weighing(&[1])), (on(2), weighing(&[1]))], Drain::NONE);
    wanted.vips.insert(vip(1), Vip::default());
    let message = "unbinding 192.0.2.2 takes it from this host, but web/192.0.2.2:80/tcp needs it; \
                   keep it under `vips`, or remove its services from the spec";
    let plan = planned(&wanted, &found);
    assert_eq!(refused(&plan), Some((Guard::UnbindInUse, message)));

    // On another interface, or with another prefix length, the VIP stays on the host.
    for place in [Binding::host([192, 0, 2, 2].into(), "eth1"), Binding { prefix: 24, ..vip(2) }] {
        let mut wanted = wanted.clone();
        wanted.vips.insert(place, Vip::default());
        assert_eq!(refused(&planned(&wanted, &found)), None);
    }
    let mut elsewhere = found.clone();
    elsewhere.addresses.insert(Binding::host([192, 0, 2, 2].into(), "lo"), Owner::Other);
    assert_eq!(refused(&planned(&wanted, &elsewhere)), None);

    // A new service needs it as much.
    let empty = bound(host([(on(1), weighing(&[1]))]), [vip(1), vip(2)]);
    assert_eq!(refused(&planned(&wanted, &empty)), Some((Guard::UnbindInUse, message)));
    wanted.services.remove(&on(2));
    assert_eq!(refused(&planned(&wanted, &found)), None, "it is unbound with its service");
}

fn mark(family: Family) -> ServiceKey {
    ServiceKey::Fwmark { family, fwmark: 7 }
}

#[test]
fn a_vip_without_a_service_of_its_own_stays_while_fwmark_services_have_connections() {
    let found = bound(host([(mark(Family::Ipv4), weighing(&[1]))]), [vip(2)]);
    let counted = connected([(mark(Family::Ipv4), 17)]);
    let idle = connected([(mark(Family::Ipv4), 0)]);
    let record = PriorState::for_snapshot();
    let unbinding =
        |found: &Live, drain, stays: bool, statistics| -> (Option<String>, Vec<String>) {
            let services = stays.then(|| (mark(Family::Ipv4), weighing(&[1])));
            let mut wanted = spec(services, drain);
            wanted.services.extend(spec([(on(9), weighing(&[]))], drain).services);
            let plan = plan(Inputs { statistics, ..Inputs::new(&wanted, found, &record) });
            (refused(&plan).map(|(_, message)| message.to_owned()), plan.warnings)
        };
    let message = "unbinding 192.0.2.2, which has no service of its own, could break up to 17 \
                   connections to web/fwmark-7/ipv4 (unbind_in_use: 0); keep it under `vips` until \
                   they have ended";
    let refusal = |drain, stays, statistics| unbinding(&found, drain, stays, statistics).0;
    assert_eq!(refusal(Drain(30), true, Some(&counted)).as_deref(), Some(message));
    assert!(refusal(Drain::NONE, false, Some(&counted)).is_some());
    assert_eq!(refusal(Drain(30), false, Some(&counted)), None, "they have time to end");
    assert_eq!(refusal(Drain(30), true, Some(&idle)), None);
    assert_eq!(refusal(Drain(30), true, None), None, "not counted");

    // Packets of the other family use other addresses.
    let other = bound(host([(mark(Family::Ipv6), weighing(&[1]))]), [vip(2)]);
    let counted_there = connected([(mark(Family::Ipv6), 17)]);
    let mut wanted = spec([(mark(Family::Ipv6), weighing(&[1]))], Drain::NONE);
    wanted.guards.unbind_in_use = 0;
    let statistics = Some(&counted_there);
    let elsewhere = plan(Inputs { statistics, ..Inputs::new(&wanted, &other, &record) });
    assert_eq!(refused(&elsewhere), None);

    // The VIP may exist for its own service alone: a warning, and no refusal.
    let mut both = found.clone();
    both.services.insert(on(2), weighing(&[]));
    let (refusal, warnings) = unbinding(&both, Drain(30), true, Some(&counted));
    assert_eq!(refusal, None);
    let warning = "17 connections to web/fwmark-7/ipv4: those that use 192.0.2.2 break when \
                   it is unbound";
    assert_eq!(warnings, [warning]);
    assert_eq!(unbinding(&both, Drain(30), true, None).1, Vec::<String>::new());
}

#[test]
fn a_vip_may_be_unbound_after_drains_but_not_with_open_connections() {
    let found = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(2)]);
    let (counted, idle) = (connected([(on(1), 5), (on(2), 17)]), connected([(on(2), 0)]));
    let record = PriorState::for_snapshot();
    let unbinding = |drain, allowed, statistics| -> Option<String> {
        let mut wanted = spec([(on(1), weighing(&[1]))], drain);
        wanted.guards.unbind_in_use = allowed;
        let plan = plan(Inputs { statistics, ..Inputs::new(&wanted, &found, &record) });
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::UnbindInUse);
            message.to_owned()
        })
    };
    assert_eq!(
        unbinding(Drain::NONE, 0, Some(&counted)),
        Some(
            "unbinding 192.0.2.2 would break 17 connections to 192.0.2.2:80/tcp (unbind_in_use: \
             0); give the service a `drain` and apply that before you remove it"
                .to_owned()
        )
    );
    assert!(unbinding(Drain::NONE, 16, Some(&counted)).is_some());
    assert_eq!(unbinding(Drain::NONE, 17, Some(&counted)), None);
    assert_eq!(unbinding(Drain(30), 0, Some(&counted)), None);
    assert_eq!(unbinding(Drain::NONE, 0, Some(&idle)), None);
    assert_eq!(unbinding(Drain::NONE, 0, None), None, "not counted");
}

#[test]
fn a_label_changes_only_while_no_more_connections_come_in_by_the_vip_than_the_spec_allows() {
    let relabelled = |guards| {
        let mut wanted = Desired { guards, ..spec([(on(1), weighing(&[1]))], Drain::NONE) };
        let label = Some("eth0:1".into());
        wanted.vips.insert(vip(1), Vip { label, ..Vip::default() });
        wanted
    };
    let found = bound(host([(on(1), weighing(&[1]))]), [vip(1)]);
    let planned = |guards: Guards, live: &Live, number| {
        let (wanted, record) = (relabelled(guards), PriorState::for_snapshot());
        let statistics = connected([(on(1), number)]);
        let inputs = Inputs::new(&wanted, live, &record);
        plan(Inputs { statistics: Some(&statistics), ..inputs })
    };
    let usual = Guards::default();
    assert_eq!(refused(&planned(usual, &found, 0)), None);
    let plan = planned(usual, &found, 3);
    let (guard, message) = refused(&plan).expect("it is refused");
    assert_eq!(guard, Guard::UnbindInUse);
    let words = "changing the label of 192.0.2.1 unbinds it for a moment, which may break \
                 3 connections to web/192.0.2.1:80/tcp (unbind_in_use: 0)";
    assert!(message.starts_with(words), "{message}");
    let impact = plan.impacts.get(&0).expect("it has an impact");
    let words = "3 connections may break: their packets reach no service until it is bound again";
    assert_eq!((impact.to_string().as_str(), impact.is_notable()), (words, true));
    assert_eq!(refused(&planned(Guards { unbind_in_use: 3, ..usual }, &found, 3)), None);
    // The address stays on the host through another interface.
    let elsewhere = Binding::host([192, 0, 2, 1].into(), "lo");
    let mut both = found;
    both.addresses.insert(elsewhere, Owner::Other);
    assert_eq!(refused(&planned(usual, &both, 3)), None);
}
