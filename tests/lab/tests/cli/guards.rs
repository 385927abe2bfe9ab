//! Plans that are refused, and how they are let through: each guard holds with its numbers, and
//! yields to its own name only.

use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use super::*;

const GUARDS: [&str; 6] =
    ["empty", "cut-off", "take-over", "mass-delete", "no-server", "unbind-in-use"];

const STRANGER: &str = "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1\n";

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
fn refusals(site: &Site, options: &str) -> Vec<String> {
    let before = everything();
    let answer = site.evenkeel(&format!("apply --yes spec.yaml {options}"));
    assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
    assert_eq!(everything(), before);
    let refused = answer.stderr.lines().filter_map(|line| line.strip_prefix("refused: guard "));
    let refused: Vec<String> = refused.map(ToOwned::to_owned).collect();
    // One hint names all that it takes.
    let hint = "hint: nothing was changed; if it is meant, pass --allow ";
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
fn assert_holds(site: &Site, guard: &str, message: &str) {
    for options in [String::new(), format!("--allow {}", all_but(guard))] {
        assert_eq!(refusals(site, &options), [format!("{guard}: {message}")]);
    }
    let plan = site.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(plan.status, 2, "{plan:?}");
    assert!(plan.stderr.contains(&format!("without --allow {guard}")), "{plan:?}");
}

/// Lets the guard, and no other, yield.
fn yields(site: &Site, guard: &str) -> String {
    site.done(&format!("apply --yes spec.yaml --allow {guard}"))
}

#[test]
fn an_empty_spec_is_refused_until_it_is_allowed() {
    let site = Site::expiring(STRANGER);
    site.write("spec.yaml", spec("scope: all\n", 0));
    assert_holds(
        &site,
        "empty",
        "the spec lists no service and no VIP, so everything in its scope would be deleted; a \
         file cut short looks the same",
    );
    yields(&site, "empty");
    assert_eq!(services(), 0);
}

#[test]
fn a_spec_cut_short_is_refused_until_it_is_allowed() {
    let site = Site::expiring("");
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
    let first =
        format!("spec.yaml is the first {} of {length} bytes of the last applied spec", cut.len());
    let ended = format!(
        "spec.yaml, {} bytes, has no end of line at its end, as the last applied spec had",
        without_end.len()
    );
    for (text, weight, what) in [(cut, 1, first), (&without_end, 20, ended)] {
        site.apply(whole);
        site.write("spec.yaml", text);
        assert_holds(
            &site,
            "cut-off",
            &format!(
                "{what}: it may not have been written in full; look at its end and write it again"
            ),
        );
        let answer = yields(&site, "cut-off");
        assert!(answer.contains(&format!("weight 10 -> {weight}: applied")), "{answer}");
    }
    // What is cut off of it asks for nothing.
    site.apply(&format!("{whole}# and nothing else\n"));
    site.write("spec.yaml", whole);
    assert!(site.done("apply --yes spec.yaml").starts_with("In sync; "));
}

#[test]
fn the_first_apply_deletes_no_stranger_and_a_later_one_does() {
    let site = Site::expiring(STRANGER);
    site.write("spec.yaml", spec("", 1));
    assert_holds(
        &site,
        "take-over",
        "this is the first apply here and the spec has no `scope`, so it would delete 1 live \
         service it does not list (203.0.113.1:80/tcp); write `scope: all` if the whole table is \
         the spec's, or list under `scope` what is",
    );
    yields(&site, "take-over");
    assert_eq!(services(), 1);
    run_with("ipvsadm -R", STRANGER);
    let plan = site.evenkeel("plan spec.yaml");
    assert_eq!((plan.status, &*plan.stderr), (0, ""), "an apply is on record");
    site.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn a_first_apply_that_finds_everything_in_place_is_on_record_too() {
    let site =
        Site::expiring("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n");
    site.apply(&spec("", 1));
    run_with("ipvsadm -R", STRANGER);
    site.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn a_spec_that_says_scope_takes_over_without_a_word() {
    let site = Site::expiring(STRANGER);
    site.apply(&spec("scope: all\n", 1));
    assert_eq!(services(), 1);
    let site = Site::expiring(STRANGER);
    site.apply(&spec("scope: { vips: [192.0.2.0/24] }\n", 1));
    assert_eq!(services(), 2);
}

#[test]
fn a_spec_with_less_than_half_is_refused_until_it_is_allowed() {
    let site = Site::expiring("");
    site.apply(&spec("", 5));
    site.write("spec.yaml", spec("", 2));
    let message = "services fall from 5 to 2 and real servers fall from 5 to 2: fewer than half \
                   would be left";
    assert_holds(&site, "mass-delete", message);
    yields(&site, "mass-delete");
    assert_eq!(services(), 2);
    site.apply(&spec("", 1));
    assert_eq!(services(), 1, "with so few it is everyday work");
}

#[test]
fn the_thresholds_of_a_mass_deletion_are_the_specs() {
    let site = Site::expiring("");
    site.apply(&spec("", 5));
    let falls = |guards: &str, services| {
        site.write("spec.yaml", spec(&format!("guards: {{ {guards} }}\n"), services));
    };
    falls("mass_delete: 90%", 4);
    let message = "services fall from 5 to 4 and real servers fall from 5 to 4: fewer than 90% \
                   would be left";
    assert_holds(&site, "mass-delete", message);
    falls("mass_delete: 80%", 4);
    site.done("apply --yes spec.yaml");
    falls("mass_delete: 40%, mass_delete_from: 5", 1);
    site.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);

    site.apply(&spec("", 3));
    falls("mass_delete_from: 3", 1);
    let message = "services fall from 3 to 1 and real servers fall from 3 to 1: fewer than half \
                   would be left";
    assert_holds(&site, "mass-delete", message);
    falls("mass_delete_from: 3, mass_delete: off", 1);
    site.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
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
        let site = Site::expiring("");
        site.apply(&web("", two));
        site.write("spec.yaml", web("", left));
        assert_holds(
            &site,
            "no-server",
            "web/192.0.2.1:80/tcp would keep no real server of a positive weight, of 2 now, and \
             refuse all clients; list one with a weight, or take it out of the spec",
        );
        yields(&site, "no-server");
        let mut expected = lines("-A -t 192.0.2.1:80 -s wlc");
        expected.extend(weights.iter().map(|it| format!("-a -t 192.0.2.1:80 -r {it}")));
        assert_eq!(ipvsadm::save(), expected);
        // It has none to lose.
        site.apply(&web("", "{ address: 10.0.0.4, weight: 0 }"));
    }
}

#[test]
fn a_service_whose_only_ready_server_leaves_is_refused_though_the_spec_gives_others_weight() {
    let site = Site::expiring("");
    let spec = |list: &str| web("", list).replace("forward: nat", "forward: nat, ignore: [weight]");
    site.apply(&spec("{ address: 10.0.0.1 }, { address: 10.0.0.2 }"));
    // A health checker took this one out.
    run("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0");
    site.write("spec.yaml", spec("{ address: 10.0.0.1 }"));
    assert_holds(
        &site,
        "no-server",
        "web/192.0.2.1:80/tcp would keep no real server of a positive weight, of 1 now, and \
         refuse all clients; list one with a weight, or take it out of the spec",
    );
    yields(&site, "no-server");
}

const VIP: &str = "vips: [ { address: 192.0.2.1, interface: eth0 } ]\n";
const OTHER: &str = "version: 1
scope: all
services:
  - { name: other, vip: 192.0.2.9, port: 80, real_servers: [] }
";

#[test]
fn a_vip_that_a_service_needs_is_kept_until_it_is_allowed_to_go() {
    let site = Site::expiring("");
    site.apply(&web(VIP, "{ address: 10.0.0.1 }"));
    site.write("spec.yaml", web("", "{ address: 10.0.0.1 }"));
    assert_holds(
        &site,
        "unbind-in-use",
        "unbinding 192.0.2.1 takes it from this host, but web/192.0.2.1:80/tcp needs it; keep it \
         under `vips`, or take what is on it out",
    );
    yields(&site, "unbind-in-use");
    assert!(addresses().is_empty());
}

#[test]
fn a_vip_with_open_connections_is_kept_unless_so_many_may_break() {
    let site = Site::expiring("");
    let _server = TcpListener::bind("127.0.0.1:80").unwrap();
    site.apply(&web(&format!("{VIP}defaults: {{ drain: 0s }}\n"), "{ address: 127.0.0.1 }"));
    let connect = || {
        let stream = TcpStream::connect("192.0.2.1:80").unwrap();
        // Closed without its VIP, it would hold this namespace, and the module, for minutes.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        stream
    };
    let open = [connect(), connect()];
    site.write("spec.yaml", OTHER);
    let message = |allowed| {
        format!(
            "unbinding 192.0.2.1 would break 2 connections to web/192.0.2.1:80/tcp, where {allowed} \
             may break; give the service a `drain` and apply that before you take it out"
        )
    };
    assert_holds(&site, "unbind-in-use", &message(0));
    site.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 1 }}\n"));
    assert_holds(&site, "unbind-in-use", &message(1));
    let before = everything();
    site.write("spec.yaml", format!("{OTHER}guards: {{ unbind_in_use: 2 }}\n"));
    assert_eq!(site.evenkeel("plan --detailed-exitcode spec.yaml").stderr, "");
    assert_eq!(everything(), before);
    site.write("spec.yaml", OTHER);
    yields(&site, "unbind-in-use");
    assert!(addresses().is_empty());
    drop(open);
}

#[test]
fn a_vip_that_leaves_the_scope_stays_with_the_services_on_it() {
    let site = Site::expiring("");
    site.apply(&web(VIP, "{ address: 10.0.0.1 }"));
    run("ipvsadm -A -t 192.0.2.1:443 -s rr");
    let before = everything();
    site.apply("version: 1\nscope: { vips: [192.0.2.128/25] }\nguards: { mass_delete: 0% }\nvips: [ { address: 192.0.2.129, interface: eth0 } ]\nservices: []\n");
    run("ip addr del 192.0.2.129/32 dev eth0");
    assert_eq!(everything(), before);
}

#[test]
fn each_guard_that_holds_is_named() {
    let site = Site::expiring("");
    site.apply(&spec("", 4));
    std::fs::remove_dir_all(site.path().join("state")).unwrap();
    site.write("spec.yaml", spec("", 0));
    let named = |options| -> Vec<String> {
        let refusals = refusals(&site, options).into_iter();
        refusals.map(|it| it.split_once(": ").unwrap().0.to_owned()).collect()
    };
    assert_eq!(named(""), ["empty", "take-over", "mass-delete"]);
    assert_eq!(named("--allow empty --allow mass-delete"), ["take-over"]);
    site.done("apply --yes spec.yaml --allow empty,mass-delete,take-over");
    assert_eq!(services(), 0);
}

/// Runs the program on a terminal and types that.
pub(super) fn on_a_terminal(site: &Site, arguments: &str, typed: &str) -> Answer {
    let mut command = Command::new("script");
    let state = site.path().join("state");
    let line = format!("{} {arguments} --state-dir {}", program().display(), state.display());
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.current_dir(site.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn on_a_terminal_it_asks_and_only_a_yes_is_one() {
    let site = Site::expiring("");
    site.write("spec.yaml", spec("", 1));
    for typed in ["n\n", "\n", "maybe\n", "\x04"] {
        let answer = on_a_terminal(&site, "apply spec.yaml", typed);
        assert_eq!(answer.status, 3, "{answer:?}");
        assert!(answer.stdout.contains("Apply this plan? [y/N]"), "{answer:?}");
        assert!(answer.stdout.contains("declined; nothing was changed"), "{answer:?}");
        assert_eq!(services(), 0);
    }
    let answer = on_a_terminal(&site, "apply spec.yaml", "y\n");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(services(), 1);
    let answer = on_a_terminal(&site, "apply spec.yaml", "");
    assert_eq!(answer.status, 0, "in sync, nothing is asked: {answer:?}");
}
