//! Plans that guards refuse, and how they are allowed: each guard reports its numbers, and only its
//! own name lets it pass.

use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use super::*;

const GUARDS: [&str; 8] = [
    "empty",
    "cut-off",
    "take-over",
    "mass-delete",
    "wider-scope",
    "missing-file",
    "no-server",
    "unbind-in-use",
];

const FOREIGN_SERVICE: &str =
    "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1\n";

/// A spec of so many services, each with a real server, with those lines at its top. The first
/// one comes last, so that no such spec is the beginning of another one.
fn spec(head: &str, services: usize) -> String {
    let list: String = (1..=services)
        .rev()
        .map(|last| {
            format!(
                "  - {{ name: s{last}, vip: 192.0.2.{last}, port: 80, real_servers: [ {{ address: 10.0.0.1 }} ] }}\n"
            )
        })
        .collect();
    if services == 0 {
        format!("version: 1\n{head}services: []\n")
    } else {
        format!("version: 1\n{head}services:\n{list}")
    }
}

/// A spec of one service on 192.0.2.1, with those real servers.
fn web(head: &str, real_servers: &str) -> String {
    format!(
        "version: 1\nscope: all\n{head}services:\n  - {{ name: web, vip: 192.0.2.1, port: 80, \
         forward: nat, real_servers: [{real_servers}] }}\n"
    )
}

/// How many services there are.
fn services() -> usize {
    ipvsadm::save().iter().filter(|line| line.starts_with("-A")).count()
}

/// Every guard but one, for `--allow`.
fn all_but(guard: &str) -> String {
    GUARDS.into_iter().filter(|other| *other != guard).collect::<Vec<_>>().join(",")
}

/// The guards that refuse an apply, which changes nothing.
fn refusals(fixture: &Fixture, options: &str) -> Vec<String> {
    let before = everything();
    let answer = fixture.evenkeel(&format!("apply --yes spec.yaml {options}"));
    assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
    assert_eq!(everything(), before);
    let refused = answer.stderr.lines().filter_map(|line| line.strip_prefix("refused: guard "));
    let refused: Vec<String> = refused.map(ToOwned::to_owned).collect();
    // One hint names all that it takes.
    let hint = "hint: nothing was changed; if this is intended, pass --allow ";
    let mut hints = answer.stderr.lines().filter_map(|line| line.strip_prefix(hint));
    let allowed: Vec<&str> = hints.next().unwrap_or_default().split(',').collect();
    assert_eq!(hints.next(), None, "{answer:?}");
    for refusal in &refused {
        let guard = refusal.split(':').next().unwrap();
        assert!(allowed.contains(&guard), "{guard}: {answer:?}");
    }
    refused
}

/// Asserts that the apply is refused by this guard alone, with that message, whatever else is
/// allowed, and that a plan says so too.
fn assert_holds(fixture: &Fixture, guard: &str, message: &str) {
    for options in [String::new(), format!("--allow {}", all_but(guard))] {
        assert_eq!(refusals(fixture, &options), [format!("{guard}: {message}")]);
    }
    let plan = fixture.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(plan.status, 2, "{plan:?}");
    assert!(plan.stderr.contains(&format!("without --allow {guard}")), "{plan:?}");
}

/// Allows this guard and no other.
fn yields(fixture: &Fixture, guard: &str) -> String {
    fixture.done(&format!("apply --yes spec.yaml --allow {guard}"))
}

#[test]
fn an_empty_spec_is_refused_until_it_is_allowed() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("scope: all\n", 1));
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    fixture.write("spec.yaml", spec("scope: all\n", 0));
    assert_holds(
        &fixture,
        "empty",
        "the spec lists no service and no VIP, so everything in its scope would be deleted; a \
         file cut short looks the same",
    );
    yields(&fixture, "empty");
    assert_eq!(services(), 0);
}

#[test]
fn a_spec_cut_short_is_refused_until_it_is_allowed() {
    let fixture = Fixture::expiring("");
    let whole = "version: 1
scope: all
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    real_servers:
      - address: 10.0.0.1
        weight: 10
";
    let without_end = whole.replace("weight: 10\n", "weight: 20");
    let (cut, length) = (&whole[..whole.len() - 2], whole.len());
    let first = format!(
        "spec.yaml is the first {} of {length} bytes of a file of the spec in force, and may not have been written in full; if it is complete, end it with a line `...`, which says so for certain",
        cut.len()
    );
    let ended = format!(
        "spec.yaml, {} bytes, does not end with a newline as the spec in force does, and may not \
         have been written in full; if it is complete, end its last line, or end it with a line \
         `...`",
        without_end.len()
    );
    for (text, weight, message) in [(cut, 1, first), (&without_end, 20, ended)] {
        fixture.apply(whole);
        fixture.write("spec.yaml", text);
        assert_holds(&fixture, "cut-off", &message);
        let answer = yields(&fixture, "cut-off");
        assert!(answer.contains(&format!("weight 10 -> {weight}: applied")), "{answer}");
    }
    // What is cut off of it asks for nothing.
    fixture.apply(&format!("{whole}# and nothing else\n"));
    fixture.write("spec.yaml", whole);
    assert!(fixture.done("apply --yes spec.yaml").starts_with("In sync; "));
}

#[test]
fn the_first_apply_deletes_no_foreign_service_and_a_later_one_does() {
    let fixture = Fixture::expiring(FOREIGN_SERVICE);
    fixture.write("spec.yaml", spec("", 1));
    assert_holds(
        &fixture,
        "take-over",
        "nothing was applied here before, and the spec has no `scope`, so it governs the whole \
         table: this plan would delete 1 live object that it does not list (service \
         203.0.113.1:80/tcp); list them, or narrow `scope` to what is the spec's own",
    );
    yields(&fixture, "take-over");
    assert_eq!(services(), 1);
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    let plan = fixture.evenkeel("plan spec.yaml");
    assert_eq!((plan.status, &*plan.stderr), (0, ""), "an apply is on record");
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn a_first_apply_that_finds_everything_in_place_is_recorded_too() {
    let fixture =
        Fixture::expiring("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n");
    fixture.apply(&spec("", 1));
    run_with("ipvsadm -R", FOREIGN_SERVICE);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn the_first_apply_deletes_no_unlisted_service_whatever_scope_the_spec_has() {
    for scope in ["all", "{ vips: [192.0.2.0/24, 203.0.113.1] }"] {
        let fixture = Fixture::expiring(FOREIGN_SERVICE);
        fixture.write("spec.yaml", spec(&format!("scope: {scope}\n"), 1));
        assert_eq!(refusals(&fixture, "").len(), 1, "{scope}");
        yields(&fixture, "take-over");
        assert_eq!(services(), 1, "{scope}");
    }
    for scope in ["{ vips: [192.0.2.0/24] }", "{ services: [192.0.2.1:80/tcp] }"] {
        let fixture = Fixture::expiring(FOREIGN_SERVICE);
        fixture.apply(&spec(&format!("scope: {scope}\n"), 1));
        assert_eq!(services(), 2, "{scope}");
    }
}

#[test]
fn a_snapshot_governs_what_it_lists_and_nothing_that_comes_later() {
    let fixture = Fixture::expiring(FOREIGN_SERVICE);
    let snapshot = fixture.done("snapshot");
    assert!(snapshot.contains("scope:\n  services:\n    - 203.0.113.1:80/tcp\n"), "{snapshot}");
    fixture.apply(&snapshot);
    run("ipvsadm -A -u 198.51.100.7:53");
    fixture.assert_in_sync("spec.yaml");
    // The scope is lost: services that the snapshot did not list still belong to others.
    fixture.write("spec.yaml", spec("", 1));
    let refused = refusals(&fixture, "");
    assert!(refused[0].starts_with("wider-scope: the spec has no `scope`"), "{refused:?}");
    assert_eq!(services(), 2);
}

#[test]
fn a_single_service_is_governed_and_its_neighbour_on_the_same_vip_is_not() {
    let rules = "-A -t 10.20.30.99:80 -s rr\n-A -u 10.20.30.99:53 -s rr\n";
    let fixture = Fixture::expiring(rules);
    let head = "version: 1\nscope: { services: [10.20.30.99:80/tcp] }\nvips: [ { address: 10.20.30.99, interface: eth0 } ]\nservices:\n";
    let web =
        "  - { name: web, vip: 10.20.30.99, port: 80, real_servers: [ { address: 10.0.0.1 } ] }\n";
    fixture.apply(&format!("{head}{web}"));
    assert_eq!(services(), 2);
    fixture.assert_in_sync("spec.yaml");
    fixture.write("spec.yaml", format!("{head}{}", web.replace("port: 80", "port: 81")));
    assert_eq!(fixture.evenkeel("apply --yes spec.yaml").status, 65, "outside its own scope");
}

#[test]
fn a_lost_scope_deletes_no_foreign_services() {
    let fixture = Fixture::expiring(FOREIGN_SERVICE);
    std::fs::create_dir(fixture.path().join("conf")).unwrap();
    fixture.write("conf/00-scope.yaml", "version: 1\nscope: { vips: [192.0.2.0/24] }\n");
    fixture.write("conf/10-team.yaml", spec("", 5));
    fixture.done("apply --yes conf");
    let before = everything();
    std::fs::rename(
        fixture.path().join("conf/00-scope.yaml"),
        fixture.path().join("conf/00-scope.bak"),
    )
    .unwrap();
    let plan = fixture.evenkeel("plan conf");
    let line = "~ edit scope: vips 192.0.2.0/24 -> the whole table, as no `scope` is written, \
                which newly covers 1 live service\n";
    assert!(plan.stdout.starts_with(line), "{plan:?}");
    let answer = fixture.evenkeel("apply --yes conf");
    assert_eq!(answer.status, 3, "{answer:?}");
    assert!(answer.stderr.contains("refused: guard wider-scope: "), "{answer:?}");
    assert_eq!(everything(), before);
    // A wider scope that touches nothing passes, and counts from then on.
    fixture.write(
        "conf/00-scope.yaml",
        "version: 1\nscope: { vips: [192.0.2.0/24, 198.51.100.0/24] }\n",
    );
    let plan = fixture.evenkeel("plan --detailed-exitcode conf");
    assert_eq!((plan.status, &*plan.stderr), (2, ""), "{plan:?}");
    fixture.done("apply --yes conf");
    fixture.assert_in_sync("conf");
}

#[test]
fn a_missing_file_deletes_no_services_until_it_was_emptied() {
    let fixture = Fixture::expiring("");
    std::fs::create_dir(fixture.path().join("conf")).unwrap();
    fixture.write("conf/10-a.yaml", spec("scope: all\n", 5));
    let team = "services:\n  - { name: dns, vip: \"2001:db8::1\", port: 53, protocol: udp, real_servers: [ { address: \"2001:db8::2\" } ] }\n";
    fixture.write(
        "conf/20-b.yaml",
        format!("{team}vips:\n  - {{ address: \"2001:db8::1\", interface: eth0 }}\n"),
    );
    fixture.done("apply --yes conf");
    let before = everything();
    std::fs::remove_file(fixture.path().join("conf/20-b.yaml")).unwrap();
    let answer = fixture.evenkeel("apply --yes conf");
    assert_eq!(answer.status, 3, "{answer:?}");
    for words in [
        "guard missing-file: ",
        "20-b.yaml",
        "service dns/[2001:db8::1]:53/udp",
        "vip 2001:db8::1/128 on eth0",
    ] {
        assert!(answer.stderr.contains(words), "{words}: {answer:?}");
    }
    assert_eq!(everything(), before);
    // Another cluster's file in its place.
    fixture.write("conf/20-b.yaml", team.replace("2001:db8::1", "2001:db8:9::1"));
    let answer = fixture.evenkeel("apply --yes conf");
    assert!(answer.status == 3 && answer.stderr.contains("guard missing-file: "), "{answer:?}");
    assert_eq!(everything(), before);
    // Renamed, it is still there.
    std::fs::remove_file(fixture.path().join("conf/20-b.yaml")).unwrap();
    fixture.write(
        "conf/30-dns.yaml",
        format!("{team}vips:\n  - {{ address: \"2001:db8::1\", interface: eth0 }}\n"),
    );
    fixture.done("apply --yes conf");
    // Emptied in one change and removed in a later one.
    fixture.write("conf/30-dns.yaml", "services: []\n");
    fixture.done("apply --yes conf");
    assert_eq!(services(), 5);
    std::fs::remove_file(fixture.path().join("conf/30-dns.yaml")).unwrap();
    fixture.done("apply --yes conf");
}

#[test]
fn an_end_mark_says_that_a_file_is_complete() {
    let fixture = Fixture::expiring("");
    let (two, one) = (spec("scope: all\n", 2), spec("scope: all\n", 1));
    let first: String = two.lines().take(4).map(|line| format!("{line}\n")).collect();
    fixture.apply(&format!("{two}...\n"));
    // The beginning of it, complete for certain.
    fixture.write("spec.yaml", format!("{first}...\n"));
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
    // Without the mark it is incomplete, whatever else changed.
    fixture.write("spec.yaml", &two);
    let refused = refusals(&fixture, "");
    assert!(refused[0].starts_with("cut-off: spec.yaml is incomplete: "), "{refused:?}");
    fixture.write("spec.yaml", format!("{one}...\n"));
    fixture.done("apply --yes spec.yaml");
}

#[test]
fn a_spec_of_the_same_size_for_another_cluster_is_a_mass_deletion() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("scope: all\n", 6));
    fixture
        .write("spec.yaml", spec("scope: all\n", 6).replace("vip: 192.0.2.", "vip: 198.51.100."));
    let message = "mass-delete: 0 of 6 live services would be left (mass_delete: 50%)";
    assert_eq!(refusals(&fixture, "--allow missing-file"), [message]);
    assert_eq!(refusals(&fixture, "").len(), 2, "it lists other addresses, too");
    // A pool is replaced without a word.
    fixture.write("spec.yaml", spec("scope: all\n", 6).replace("10.0.0.1 ", "10.0.0.77 "));
    fixture.done("apply --yes spec.yaml");
}

#[test]
fn one_change_cannot_loosen_a_guard_and_pass_it() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("scope: all\n", 5));
    fixture.write("spec.yaml", spec("scope: all\nguards: { mass_delete: off }\n", 1));
    let message = "1 of 5 live services would be left (mass_delete: 50%, in force before this \
                   spec, whose off counts from the next on)";
    assert_eq!(refusals(&fixture, ""), [format!("mass-delete: {message}")]);
    let loose = |services| spec("scope: all\nguards: { mass_delete: off }\n", services);
    fixture.write("spec.yaml", loose(5));
    applies_looser_guards(&fixture);
    fixture.apply(&loose(1));
    assert_eq!(services(), 1);
}

#[test]
fn a_spec_with_less_than_half_is_refused_until_it_is_allowed() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("", 5));
    fixture.write("spec.yaml", spec("", 2));
    let message = "2 of 5 live services would be left (mass_delete: 50%)";
    assert_holds(&fixture, "mass-delete", message);
    yields(&fixture, "mass-delete");
    assert_eq!(services(), 2);
    fixture.apply(&spec("", 1));
    assert_eq!(services(), 1, "with so few it is everyday work");
}

#[test]
fn the_thresholds_of_a_mass_deletion_are_the_specs() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("", 5));
    let falls = |guards: &str, services| {
        fixture.write("spec.yaml", spec(&format!("guards: {{ {guards} }}\n"), services));
    };
    falls("mass_delete: 90%", 4);
    let message = "4 of 5 live services would be left (mass_delete: 90%)";
    assert_holds(&fixture, "mass-delete", message);
    falls("mass_delete: 80%", 4);
    fixture.done("apply --yes spec.yaml");
    // Looser ones count from the next spec on.
    falls("mass_delete: 40%, mass_delete_from: 5", 1);
    assert_eq!(fixture.evenkeel("apply --yes spec.yaml").status, 3);
    falls("mass_delete: 40%, mass_delete_from: 5", 4);
    applies_looser_guards(&fixture);
    falls("mass_delete: 40%, mass_delete_from: 5", 1);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);

    fixture.apply(&spec("", 3));
    falls("mass_delete_from: 3", 1);
    let message = "1 of 3 live services would be left (mass_delete: 50%)";
    assert_holds(&fixture, "mass-delete", message);
    falls("mass_delete_from: 3, mass_delete: off", 3);
    applies_looser_guards(&fixture);
    falls("mass_delete_from: 3, mass_delete: off", 1);
    fixture.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

/// Applies a spec whose guards are looser than those in force, which a warning says.
fn applies_looser_guards(fixture: &Fixture) {
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("looser guards count from the next spec on"), "{answer:?}");
}

#[test]
fn a_service_that_loses_its_last_server_is_refused_until_it_is_allowed() {
    let two = "{ address: 10.0.0.1, weight: 10 }, { address: 10.0.0.2 }";
    for (left, weights) in [
        ("", vec![]),
        ("{ address: 10.0.0.1, weight: 0 }", vec!["10.0.0.1:80 -m -w 0"]),
        (
            "{ address: 10.0.0.2, weight: 0 }, { address: 10.0.0.3, weight: 0 }",
            vec!["10.0.0.2:80 -m -w 0", "10.0.0.3:80 -m -w 0"],
        ),
    ] {
        let fixture = Fixture::expiring("");
        fixture.apply(&web("", two));
        fixture.write("spec.yaml", web("", left));
        assert_holds(
            &fixture,
            "no-server",
            "web/192.0.2.1:80/tcp would have no real server with a positive weight left (2 now) and \
             refuse all clients; list one with a positive weight, or remove it from the spec",
        );
        yields(&fixture, "no-server");
        let mut expected = lines("-A -t 192.0.2.1:80 -s wlc");
        expected.extend(weights.iter().map(|it| format!("-a -t 192.0.2.1:80 -r {it}")));
        assert_eq!(ipvsadm::save(), expected);
        // It has none to lose.
        fixture.apply(&web("", "{ address: 10.0.0.4, weight: 0 }"));
    }
}

#[test]
fn a_service_whose_only_ready_server_leaves_is_refused_though_the_spec_gives_others_weight() {
    let fixture = Fixture::expiring("");
    let spec = |list: &str| web("", list).replace("forward: nat", "forward: nat, ignore: [weight]");
    fixture.apply(&spec("{ address: 10.0.0.1 }, { address: 10.0.0.2 }"));
    // A health checker set this one to weight 0.
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0");
    fixture.write("spec.yaml", spec("{ address: 10.0.0.1 }"));
    assert_holds(
        &fixture,
        "no-server",
        "web/192.0.2.1:80/tcp would have no real server with a positive weight left (1 now) and \
         refuse all clients; list one with a positive weight, or remove it from the spec",
    );
    yields(&fixture, "no-server");
}

const VIP: &str = "vips: [ { address: 192.0.2.1, interface: eth0 } ]\n";
const OTHER: &str = "version: 1
scope: all
services:
  - { name: other, vip: 192.0.2.9, port: 80, real_servers: [] }
";

#[test]
fn a_vip_that_a_service_needs_is_kept_until_it_is_allowed_to_go() {
    let fixture = Fixture::expiring("");
    fixture.apply(&web(VIP, "{ address: 10.0.0.1 }"));
    fixture.write("spec.yaml", web("", "{ address: 10.0.0.1 }"));
    assert_holds(
        &fixture,
        "unbind-in-use",
        "unbinding 192.0.2.1 takes it from this host, but web/192.0.2.1:80/tcp needs it; keep it \
         under `vips`, or remove its services from the spec",
    );
    yields(&fixture, "unbind-in-use");
    assert!(addresses().is_empty());
}

#[test]
fn a_label_is_not_changed_while_connections_come_in_by_the_vip_unless_they_may_break() {
    let fixture = Fixture::expiring("");
    let _server = TcpListener::bind("127.0.0.1:80").unwrap();
    let labelled = |label: &str| {
        let vip = VIP.replace(" }", &format!(", label: '{label}', route: true }}"));
        web(&vip, "{ address: 127.0.0.1 }")
    };
    let labels = || run("ip -4 -o addr show dev eth0");
    fixture.apply(&labelled("eth0:0"));
    let open = TcpStream::connect("192.0.2.1:80").unwrap();
    rustix::net::sockopt::set_socket_linger(&open, Some(Duration::ZERO)).unwrap();
    fixture.write("spec.yaml", labelled("eth0:1"));
    assert_holds(
        &fixture,
        "unbind-in-use",
        "changing the label of 192.0.2.1 unbinds it for a moment, which may break 1 connection to \
         web/192.0.2.1:80/tcp (unbind_in_use: 0); wait until they have ended, or keep the label that \
         it has",
    );
    let plan = fixture.evenkeel("plan spec.yaml").stdout;
    let impact = "1 connection may break: their packets reach no service until it is bound again";
    assert!(plan.contains(impact), "{plan}");
    assert!(labels().contains("eth0:0"));
    yields(&fixture, "unbind-in-use");
    assert!(labels().contains("eth0:1"));
    drop(open);
    fixture.apply(&labelled("eth0:2"));
    assert!(labels().contains("eth0:2"));
}

#[test]
fn a_vip_with_open_connections_is_kept_unless_so_many_may_break() {
    let fixture = Fixture::expiring("");
    let _server = TcpListener::bind("127.0.0.1:80").unwrap();
    fixture.apply(&web(&format!("{VIP}defaults: {{ drain: 0s }}\n"), "{ address: 127.0.0.1 }"));
    let connect = || {
        let stream = TcpStream::connect("192.0.2.1:80").unwrap();
        // Closed without its VIP, it would hold this namespace, and the module, for minutes.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        stream
    };
    let open = [connect(), connect()];
    let message = |allowed: &str| {
        format!(
            "unbinding 192.0.2.1 would break 2 connections to web/192.0.2.1:80/tcp (unbind_in_use: \
             {allowed}); give the service a `drain` and apply that before you remove it"
        )
    };
    fixture.write("spec.yaml", OTHER);
    assert_holds(&fixture, "unbind-in-use", &message("0"));
    // A looser threshold counts from the next spec on.
    fixture.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 2 }}\n"));
    let postponed = "0, in force before this spec, whose 2 counts from the next on";
    assert_eq!(refusals(&fixture, ""), [format!("unbind-in-use: {}", message(postponed))]);
    let in_force = |allowed: u32| {
        let guards =
            format!("{VIP}defaults: {{ drain: 0s }}\nguards: {{ unbind_in_use: {allowed} }}\n");
        fixture.write("spec.yaml", web(&guards, "{ address: 127.0.0.1 }"));
        applies_looser_guards(&fixture);
    };
    in_force(1);
    fixture.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 1 }}\n"));
    assert_holds(&fixture, "unbind-in-use", &message("1"));
    in_force(2);
    let before = everything();
    fixture.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 2 }}\n"));
    assert_eq!(fixture.evenkeel("plan --detailed-exitcode spec.yaml").stderr, "");
    assert_eq!(everything(), before);
    fixture.write("spec.yaml", OTHER);
    yields(&fixture, "unbind-in-use");
    assert!(addresses().is_empty());
    drop(open);
}

#[test]
fn a_vip_that_leaves_the_scope_stays_with_the_services_on_it() {
    let fixture = Fixture::expiring("");
    fixture.apply(&web(VIP, "{ address: 10.0.0.1 }"));
    run("ipvsadm -A -t 192.0.2.1:443 -s rr");
    let before = everything();
    fixture.apply("version: 1\nscope: { vips: [192.0.2.128/25] }\nvips: [ { address: 192.0.2.129, interface: eth0 } ]\nservices: []\n");
    run("ip addr del 192.0.2.129/32 dev eth0");
    assert_eq!(everything(), before);
}

#[test]
fn each_guard_that_holds_is_named() {
    let fixture = Fixture::expiring("");
    fixture.apply(&spec("", 4));
    std::fs::remove_dir_all(fixture.path().join("state")).unwrap();
    fixture.write("spec.yaml", spec("", 0));
    let named = |options| -> Vec<String> {
        let refusals = refusals(&fixture, options).into_iter();
        refusals.map(|it| it.split_once(": ").unwrap().0.to_owned()).collect()
    };
    assert_eq!(named(""), ["empty", "take-over", "mass-delete"]);
    assert_eq!(named("--allow empty --allow mass-delete"), ["take-over"]);
    fixture.done("apply --yes spec.yaml --allow empty,mass-delete,take-over");
    assert_eq!(services(), 0);
}

/// Runs the program on a terminal and types that.
pub(super) fn on_a_terminal(fixture: &Fixture, arguments: &str, typed: &str) -> Answer {
    let mut command = Command::new("script");
    let state = fixture.path().join("state");
    let line = format!("{} {arguments} --state-dir {}", program().display(), state.display());
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.current_dir(fixture.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn on_a_terminal_apply_prompts_and_accepts_only_yes() {
    let fixture = Fixture::expiring("");
    fixture.write("spec.yaml", spec("", 1));
    for typed in ["n\n", "\n", "maybe\n", "\x04"] {
        let answer = on_a_terminal(&fixture, "apply spec.yaml", typed);
        assert_eq!(answer.status, 3, "{answer:?}");
        assert!(answer.stdout.contains("Apply this plan? [y/N]"), "{answer:?}");
        assert!(answer.stdout.contains("declined; nothing was changed"), "{answer:?}");
        assert_eq!(services(), 0);
    }
    let answer = on_a_terminal(&fixture, "apply spec.yaml", "y\n");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(services(), 1);
    let answer = on_a_terminal(&fixture, "apply spec.yaml", "");
    assert_eq!(answer.status, 0, "in sync, nothing is asked: {answer:?}");
}
