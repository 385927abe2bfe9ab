//! Tests `evenkeel zero`: counters of services in scope are reset, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;

use evenkeel_lab_tests::ipvsadm::{Numbers, numbers};
use evenkeel_lab_tests::nlmon::{Capture, Change, Object, Verb};

use super::*;
use crate::local_traffic::{add_to_lo, connect, send_datagrams, settled};

/// Its scope leaves out the address 192.0.2.9.
const SPEC: &str = "version: 1
scope: { vips: [ 192.0.2.1, \"2001:db8::1\" ], fwmarks: [ 7 ] }
defaults: { scheduler: rr, forward: nat }
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 192.0.2.100, port: 8080 } ] }
  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, real_servers: [ { address: 192.0.2.100, port: 9 } ] }
  - { name: six, vip: \"2001:db8::1\", port: 53, protocol: udp, real_servers: [ { address: \"2001:db8::100\", port: 9 } ] }
  - { name: marked, fwmark: 7, family: ipv4, real_servers: [ { address: 192.0.2.100, port: 9 } ] }
";

const FOREIGN: &str = "-A -u 192.0.2.9:53 -s rr\n-a -u 192.0.2.9:53 -r 192.0.2.100:9 -m";

/// The services in scope, in the order of their keys.
const LABELS: [&str; 4] = [
    "dns/192.0.2.1:53/udp",
    "web/192.0.2.1:80/tcp",
    "six/[2001:db8::1]:53/udp",
    "marked/fwmark-7/ipv4",
];

/// A host with that spec applied, a foreign service, and traffic through all services. Its TCP
/// connection lasts as long as this.
struct Busy {
    fixture: Fixture,
    _open: Vec<TcpStream>,
}

impl Busy {
    fn new() -> Self {
        let fixture = Fixture::new(FOREIGN);
        add_to_lo(&["192.0.2.1/32", "192.0.2.9/32", "192.0.2.100/32", "192.0.2.101/32"]);
        add_to_lo(&["2001:db8::1/128", "2001:db8::100/128"]);
        fixture.apply(SPEC);
        let listener = TcpListener::bind("192.0.2.100:8080").unwrap();
        let open = connect("192.0.2.1:80", &listener, 1);
        for (to, mark) in [
            ("192.0.2.1:53", 0),
            ("192.0.2.9:53", 0),
            ("192.0.2.101:53", 7),
            ("[2001:db8::1]:53", 0),
        ] {
            send_datagrams(to, mark, 3, 10);
        }
        Self { fixture, _open: open }
    }
}

fn counters() -> Numbers {
    numbers("--stats --exact")
}

/// The counters once the kernel has counted all that was sent.
fn counted() -> Numbers {
    settled(|| {
        let found = counters();
        match found.values().all(|row| row[1] > 0) {
            true => Ok(found),
            false => Err(format!("{found:?}")),
        }
    })
}

/// Those counters with 0 in these services and their real servers.
fn with_zero(counters: &Numbers, services: &[&str]) -> Numbers {
    let row = |(name, row): (&String, &Vec<u64>)| {
        let service = name.split(' ').next().unwrap();
        let is_zero = services.iter().any(|label| label.ends_with(&format!("/{service}")));
        (name.clone(), if is_zero { vec![0; row.len()] } else { row.clone() })
    };
    counters.iter().map(row).collect()
}

/// The lines that report these services, and the last line.
fn report(labels: &[&str]) -> String {
    let lines = labels.iter().map(|label| format!("~ reset counters of {label}: done\n"));
    format!("{}Zero: {} done.\n", lines.collect::<String>(), labels.len())
}

#[test]
fn all_services_in_scope_are_reset_by_one_message_each_and_others_are_not_touched() {
    let Busy { fixture, _open } = Busy::new();
    let before = counted();
    let table = (run("ipvsadm -Ln"), ipvsadm::save());
    let mut capture = Capture::start();
    let answer = fixture.evenkeel("zero --yes");
    let changes = capture.changes();
    assert_eq!(counters(), with_zero(&before, &LABELS));
    assert_ne!(counters()["192.0.2.9:53/udp"], [0; 5], "a foreign service");
    assert_eq!((answer.status, &*answer.stdout), (0, &*report(&LABELS)), "{answer:?}");
    assert!(answer.stderr.starts_with("warning: the counters in monitoring restart"), "{answer:?}");
    let keys = LABELS.map(|label| label.split_once('/').unwrap().1);
    let is_expected = |(change, key): (&Change, &str)| match &change.object {
        Object::Service(service) => change.verb == Verb::Zero && service.to_string() == key,
        _ => false,
    };
    assert_eq!(changes.len(), keys.len(), "{changes:?}");
    assert!(changes.iter().zip(keys).all(is_expected), "{changes:?}");
    // Connections, weights and services are as before.
    assert_eq!((run("ipvsadm -Ln"), ipvsadm::save()), table);
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn named_services_are_reset_by_name_or_key() {
    let Busy { fixture, _open } = Busy::new();
    let before = counted();
    for (selector, label) in [("dns", LABELS[0]), ("[2001:db8::1]:53/udp", LABELS[2])] {
        let expected = with_zero(&counters(), &[label]);
        let answer = fixture.evenkeel(&format!("zero --yes {selector}"));
        assert_eq!((answer.status, &*answer.stdout), (0, &*report(&[label])), "{answer:?}");
        assert_eq!(counters(), expected);
    }
    assert_eq!(counters(), with_zero(&before, &[LABELS[0], LABELS[2]]));

    let unchanged = counters();
    let unknown = fixture.evenkeel("zero --yes wbe");
    assert_eq!(unknown.status, 64, "{unknown:?}");
    assert!(unknown.stderr.contains("no service of this host is called `wbe`"), "{unknown:?}");
    let foreign = fixture.evenkeel("zero --yes web 192.0.2.9:53/udp");
    assert_eq!(foreign.status, 64, "{foreign:?}");
    let text = "service 192.0.2.9:53/udp is out of the scope of the spec, which is vips 192.0.2.1";
    assert!(foreign.stderr.contains(text), "{foreign:?}");
    assert_eq!(counters(), unchanged);

    // As a document.
    let answer = fixture.evenkeel("zero --yes --output json dns");
    let document: serde_json::Value = serde_json::from_str(&answer.stdout).expect(&answer.stdout);
    assert_eq!((answer.status, &document["command"]), (0, &"zero".into()), "{answer:?}");
    let [service] = document["services"].as_array().unwrap().as_slice() else {
        panic!("{answer:?}")
    };
    assert_eq!(service["service"]["name"], "dns");
    assert_eq!(service["outcome"], "reset");
    assert_eq!(document["absent"], serde_json::json!([]));
    let asked = fixture.evenkeel("zero --output json dns");
    assert_eq!(asked.status, 64, "{asked:?}");

    // A service of the spec that is not there.
    run("ipvsadm -D -f 7");
    let absent = fixture.evenkeel("zero --yes marked");
    assert_eq!((absent.status, &*absent.stdout), (0, "Nothing to reset.\n"), "{absent:?}");
    assert!(absent.stderr.contains("marked/fwmark-7/ipv4 is not in the table"), "{absent:?}");
}

#[test]
fn the_scope_is_that_of_the_spec_given_and_without_any_spec_nothing_is_reset() {
    let Busy { fixture, _open } = Busy::new();
    let before = counted();
    // Another state directory has no last applied spec.
    let other = Fixture::here();
    let refused = other.evenkeel("zero --yes");
    assert_eq!(refused.status, 64, "{refused:?}");
    assert!(refused.stderr.contains("no spec is known"), "{refused:?}");
    assert!(refused.stderr.contains("name the spec whose scope counts with --spec"), "{refused:?}");
    assert_eq!(counters(), before);
    other.write("narrow.yaml", "version: 1\nscope: { vips: [ 192.0.2.9 ] }\nservices: []\n");
    let answer = other.evenkeel("zero --yes --spec narrow.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stdout.contains("~ reset counters of 192.0.2.9:53/udp: done"), "{answer:?}");
    assert_eq!(counters(), with_zero(&before, &["/192.0.2.9:53/udp"]));
    // A part of a spec says nothing about its scope.
    fixture.write("whole.yaml", SPEC);
    let partial = other.evenkeel(&format!(
        "apply --yes --target web {}",
        fixture.path().join("whole.yaml").display()
    ));
    assert_eq!(partial.status, 0, "{partial:?}");
    assert_eq!(other.evenkeel("zero --yes").status, 64);
    drop(fixture);
}

/// A `zero` on a terminal that waits at its question.
struct Asking(Child);

impl Asking {
    fn start(fixture: &Fixture) -> Self {
        let mut command = Command::new("script");
        let state = fixture.path().join("state");
        let line = format!("{} zero --state-dir {}", program().display(), state.display());
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.current_dir(fixture.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut shown = Vec::new();
        while !shown.ends_with(b"Reset these counters? [y/N]") {
            let mut byte = [0];
            let read = child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(read, 1, "{}", String::from_utf8_lossy(&shown));
            shown.push(byte[0]);
        }
        Self(child)
    }

    fn answer(mut self, typed: &str) -> Answer {
        self.0.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        self.0.wait_with_output().unwrap().into()
    }
}

#[test]
fn it_asks_without_the_lock_and_resets_only_what_it_showed() {
    let Busy { fixture, _open } = Busy::new();
    let before = counted();
    let refused = fixture.evenkeel("zero");
    assert_eq!(refused.status, 64, "{refused:?}");
    assert!(refused.stderr.contains("or use `evenkeel show --stats`"), "{refused:?}");

    let asking = Asking::start(&fixture);
    // A writer does not find the lock taken.
    fixture.done("apply --yes spec.yaml");
    let answer = asking.answer("n\n");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stdout.contains("declined; nothing was changed"), "{answer:?}");
    assert_eq!(counters(), before);

    let asking = Asking::start(&fixture);
    run("ipvsadm -A -u 192.0.2.1:5353 -s rr");
    // It asks again.
    let answer = asking.answer("y\nn\n");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stdout.contains("the services in scope have changed"), "{answer:?}");
    assert!(answer.stdout.contains("~ reset counters of 192.0.2.1:5353/udp"), "{answer:?}");
    run("ipvsadm -D -u 192.0.2.1:5353");
    assert_eq!(counters(), before);

    let answer = Asking::start(&fixture).answer("y\n");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(counters(), with_zero(&before, &LABELS));
}

#[test]
fn an_unconfirmed_apply_keeps_counters_as_they_are() {
    let Busy { fixture, _open } = Busy::new();
    let before = counted();
    fixture.write("spec.yaml", SPEC.replace("scheduler: rr", "scheduler: wrr"));
    let apply = fixture.evenkeel("apply --yes spec.yaml --confirm 1h");
    assert_eq!(apply.status, 0, "{apply:?}");
    let refused = fixture.evenkeel("zero --yes");
    assert_eq!(refused.status, 3, "{refused:?}");
    assert!(refused.stderr.contains("waits for confirmation until"), "{refused:?}");
    assert_eq!(counters(), before);
    fixture.done("confirm");
    assert_eq!(fixture.evenkeel("zero --yes").status, 0);
    assert_eq!(counters(), with_zero(&before, &LABELS));
}
