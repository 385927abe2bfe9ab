//! Reads journals that programs of earlier versions wrote, from `fixtures`.
//!
//! Versions 2 and 3 were copied in the lab while `evenkeel apply --confirm` waited for drains. Before that, the
//! program had adopted a service, applied a whole spec, and applied one service by `--target`. Version
//! 4 is the same with a labelled VIP and its route.

use std::fs;
use std::path::Path;

use evenkeel_model::{Drain, NamedService, Scheduler, Service, ServiceKey};
use evenkeel_model::{Forward, Protocol, RealServer, RealServerKey, Scope};
use evenkeel_plan::Op;
use tempfile::TempDir;

use super::*;
use crate::StoredSpecTexts;

const VERSIONS: [(u32, &str); 3] = [(2, "v2"), (3, "v3"), (4, "v4")];

/// A copy of a fixture in a state directory, and its text.
fn fixture(name: &str) -> (TempDir, StateDir, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "blue");
    fs::create_dir(state.folder()).expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/journal/fixtures").join(name);
    for entry in fs::read_dir(source).expect("the fixture") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), state.folder().join(entry.file_name())).expect("a copy");
    }
    let text = fs::read(state.path()).expect("a journal");
    (folder, state, text)
}

fn parse(text: &[u8]) -> Journal {
    file::parse(text).unwrap_or_else(|problem| panic!("{problem:?}"))
}

fn on(address: &str, port: u16, protocol: Protocol) -> ServiceKey {
    ServiceKey::Address { address: address.parse().expect("an address"), port, protocol }
}

fn real_server(address: &str, port: u16) -> RealServerKey {
    RealServerKey { address: address.parse().expect("an address"), port }
}

fn service(scheduler: &str, real_servers: &[(RealServerKey, u32)]) -> Service {
    let scheduler = Scheduler::new(scheduler).expect("a scheduler");
    let value = |weight| RealServer::new(Forward::Dr, weight);
    Service {
        config: evenkeel_model::ServiceConfig::new(scheduler),
        real_servers: real_servers.iter().map(|(key, weight)| (*key, value(*weight))).collect(),
    }
}

#[test]
fn an_earlier_journal_is_read_with_everything_in_it() {
    for (version, name) in VERSIONS {
        let (_folder, state, text) = fixture(name);
        assert!(text.starts_with(format!("{{\"version\":{version},").as_bytes()), "{name}");
        let journal = parse(&text);
        let PriorState {
            applied,
            scope,
            claims,
            others,
            attempted_claims,
            guards,
            end_marks: _,
            sysctls,
            side_effects,
            left,
            handed_over,
            foreign_vips,
            sync_links,
            former_timeouts,
            timeouts,
            drains,
            overlaid,
            withheld_vips,
            unfilled,
            replaced,
            real_server: role,
        } = &journal.record;
        assert!(claims.is_empty() && others.is_empty(), "{name}");
        assert_eq!(*attempted_claims, None, "{name}");
        assert!(*applied && replaced.is_empty() && role.is_none(), "{name}");
        assert!(sync_links.is_empty(), "{name}");
        assert!(foreign_vips.is_empty() && unfilled.is_empty() && overlaid.is_empty(), "{name}");
        assert!(withheld_vips.is_empty(), "{name}");
        assert!(left.is_empty() && handed_over.is_empty() && former_timeouts.is_empty(), "{name}");
        let expected = ["expire_nodest_conn", "expire_quiescent_template"]
            .map(|key| (format!("net.ipv4.vs.{key}").into(), "0".into()));
        assert_eq!(*sysctls, expected.into(), "{name}");
        assert!(side_effects.is_empty(), "{name}");
        assert_eq!((timeouts.tcp, timeouts.tcp_fin, timeouts.udp), (Some(3_600), None, Some(600)));
        let (dns, dns6) =
            (on("192.0.2.20", 53, Protocol::Udp), on("2001:db8::20", 53, Protocol::Udp));
        let places: Vec<_> = drains.0.keys().copied().collect();
        let expected = [
            (dns, real_server("10.0.0.32", 53)),
            (dns6, real_server("2001:db8:1::31", 53)),
            (dns6, real_server("2001:db8:1::32", 53)),
        ];
        assert_eq!(places, expected, "{name}");
        for draining in drains.0.values() {
            assert_eq!((draining.weight, draining.limit), (1, Drain(3_600)), "{name}");
            assert!(draining.since > 1_795_649_000 && draining.uptime.is_some(), "{draining:?}");
        }
        let bind = |address: &str, interface| {
            Binding::host(address.parse().expect("an address"), interface)
        };
        let expected = [("192.0.2.20", "vips"), ("192.0.2.21", "web0"), ("2001:db8::20", "eth0")];
        assert_eq!(journal.addresses, expected.map(|(it, on)| bind(it, on)).into(), "{name}");
        assert_eq!(journal.dummies, ["vips".into(), "web0".into()].into(), "{name}");
        let diameter = on("192.0.2.20", 3868, Protocol::Sctp);
        let asked = service("wrr", &[(real_server("10.0.0.41", 3868), 4)]);
        let asked = NamedService { drain: Drain(3_600), ..NamedService::new("diameter", asked) };
        let asked =
            evenkeel_model::Desired { services: [(diameter, asked)].into(), ..Default::default() };
        assert_eq!(journal.targeted, PartialApplies::new(&[diameter].into(), &asked), "{name}");
        assert_eq!((&journal.attempted, &*journal.notices), (&PartialApplies::default(), &[][..]));

        // Version 4 added host objects.
        let route = evenkeel_model::HostRoute {
            destination: [192, 0, 2, 21].into(),
            interface: "web0".into(),
        };
        let routes = (version > 3).then(|| route.into()).into_iter().collect();
        assert_eq!(journal.host_objects, routes, "{name}");
        // Version 2 had neither a scope and guards on record, nor adoption, nor an identity.
        assert_eq!(scope.is_some(), version > 2, "{name}");
        assert_eq!(guards.map(|it| it.mass_delete), (version > 2).then_some(75), "{name}");
        let found =
            service("wlc", &[(real_server("10.0.0.31", 53), 7), (real_server("10.0.0.32", 53), 1)]);
        let adopted = if version > 2 { [(dns, found)].into() } else { BTreeMap::new() };
        assert_eq!(journal.adopted.services, adopted, "{name}");
        assert_eq!(journal.namespace.is_some(), version > 2, "{name}");
        if let Some(Scope::Limited(limits)) = scope {
            assert_eq!((limits.vips.len(), limits.fwmarks.len()), (3, 1), "{name}");
        }
        assert_eq!(state.read(false).expect("it can be read").1, None, "{name}");
    }
}

#[test]
fn the_pending_apply_of_an_earlier_journal_has_all_its_steps() {
    for (version, name) in VERSIONS {
        let pending = parse(&fixture(name).2).pending.expect("a pending apply");
        assert_eq!((pending.timeout_seconds, pending.deadline), (600, None), "{name}");
        assert_eq!(pending.watchdog, Some(755), "{name}");
        assert!(!pending.is_of_this_boot(), "{name}");
        let steps: Vec<String> = pending
            .steps
            .iter()
            .map(|op| format!("{} {}", op.verb().as_str(), op.object()))
            .collect();
        let route = (version > 3).then_some("add route 192.0.2.21 dev web0");
        let expected = STEPS[..12].iter().copied().chain(route).chain(STEPS[12..].iter().copied());
        assert_eq!(steps, expected.collect::<Vec<_>>(), "{name}");
        let edit = pending.steps.iter().find_map(|op| match op {
            Op::EditRealServer { before, after, .. } => Some((before.weight, after.weight)),
            _ => None,
        });
        assert_eq!(edit, Some((4, 5)), "{name}");
    }
}

const STEPS: [&str; 19] = [
    "edit sysctl net.ipv4.vs.expire_quiescent_template",
    "delete sync daemon master",
    "edit timeouts",
    "add dummy device web0",
    "add service 192.0.2.21:80/tcp",
    "add real server 10.0.0.61:8080 of 192.0.2.21:80/tcp",
    "add real server 10.0.0.62:80 of 192.0.2.21:80/tcp",
    "add service fwmark-7/ipv4",
    "add real server 10.0.0.51:0 of fwmark-7/ipv4",
    "edit service 192.0.2.20:53/udp",
    "edit real server 10.0.0.41:3868 of 192.0.2.20:3868/sctp",
    "bind vip 192.0.2.21/32 on web0",
    "drain real server 10.0.0.32:53 of 192.0.2.20:53/udp",
    "drain real server [2001:db8:1::31]:53 of [2001:db8::20]:53/udp",
    "drain real server [2001:db8:1::32]:53 of [2001:db8::20]:53/udp",
    "delete real server 10.0.0.32:53 of 192.0.2.20:53/udp",
    "unbind vip 2001:db8::20/128 on eth0",
    "delete service [2001:db8::20]:53/udp",
    "add sync daemon master",
];

#[test]
fn the_spec_texts_of_an_earlier_journal_are_read_with_it() {
    for (_, name) in VERSIONS {
        let (_folder, state, text) = fixture(name);
        let journal = parse(&text);
        let last = state.last_spec(&journal).expect("it is complete");
        assert_spec(last, "3", "- { address: 10.0.0.32 }");
        let attempt = journal.of_attempt().expect("a spec that was being applied");
        let next = state.last_spec(&attempt).expect("it is complete");
        assert_spec(next, "5", "fwmark: 7");
    }
}

fn assert_spec(found: Option<StoredSpecTexts>, weight: &str, line: &str) {
    let StoredSpecTexts { texts, parameters } = found.expect("a spec");
    assert_eq!(parameters, [("weight".into(), weight.into())].into());
    let names: Vec<Option<&str>> = texts.iter().map(|(name, _)| name.rsplit('/').next()).collect();
    assert_eq!(names, [Some("host.yaml"), Some("services.yaml")]);
    assert!(String::from_utf8_lossy(&texts[1].1).contains(line), "{texts:?}");
}

#[test]
fn an_earlier_journal_is_written_in_this_version_and_nothing_of_it_changes() {
    for (_, name) in VERSIONS {
        let (_folder, state, text) = fixture(name);
        let journal = parse(&text);
        state.write(&journal).expect("it can be written");
        let written = fs::read(state.path()).expect("it is there");
        assert!(written.starts_with(format!("{{\"version\":{VERSION},").as_bytes()), "{name}");
        assert_eq!(parse(&written), journal, "{name}");
        assert!(state.last_spec(&journal).expect("it is complete").is_some(), "{name}");
    }
}

/// Today's format, to the byte: a field that is renamed by accident shows here, although this build
/// would read what it writes itself.
#[test]
fn a_journal_of_this_version_is_written_as_it_was() {
    let text = fixture("v4").2;
    let parts = file::written(&parse(&text)).expect("it can be written");
    assert_eq!(String::from_utf8_lossy(&parts.concat()), String::from_utf8_lossy(&text));
}

#[test]
fn an_intact_journal_of_the_next_version_is_refused_and_kept() {
    let (_folder, state, text) = fixture("v4");
    let end = text.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
    let next = [file::ENVELOPE.header(VERSION + 1, &text[end..]).as_bytes(), &text[end..]].concat();
    fs::write(state.path(), &next).expect("it can be written");
    for is_writer in [false, true] {
        let error = state.read(is_writer).expect_err("it is refused");
        assert!(matches!(error, JournalError::Newer { version: 5, .. }), "{error}");
        assert_eq!(fs::read(state.path()).expect("it is there"), next);
    }
}
