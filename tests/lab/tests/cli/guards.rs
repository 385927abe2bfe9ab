//! Tests plans that guards refuse, and overrides: each guard reports its numbers, and only its own
//! name overrides it.

use super::*;

mod cut_off;
mod left_scope;
mod mass_delete;
mod missing_file;
mod no_server;
mod sessions;
mod take_over;
mod unbind_in_use;
mod wider_scope;

const GUARDS: [&str; 9] = [
    "empty",
    "cut-off",
    "take-over",
    "mass-delete",
    "wider-scope",
    "left-scope",
    "missing-file",
    "no-server",
    "unbind-in-use",
];

const FOREIGN_SERVICE: &str =
    "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1\n";

/// Returns a spec of this many services, each with a real server, with these lines at its top. The
/// first service comes last, so that no such spec is a prefix of another one.
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

/// Returns a spec of one service on 192.0.2.1 with these real servers.
fn web(head: &str, real_servers: &str) -> String {
    format!(
        "version: 1\nscope: all\n{head}services:\n  - {{ name: web, vip: 192.0.2.1, port: 80, \
         forward: nat, real_servers: [{real_servers}] }}\n"
    )
}

/// Returns the number of services in the kernel.
fn services() -> usize {
    ipvsadm::save().iter().filter(|line| line.starts_with("-A")).count()
}

/// Returns every guard but one, for `--allow`.
fn all_but(guard: &str) -> String {
    GUARDS.into_iter().filter(|other| *other != guard).collect::<Vec<_>>().join(",")
}

/// Runs an apply that is refused and changes nothing, and returns the refusals.
fn refusals(fixture: &Fixture, options: &str) -> Vec<String> {
    let before = everything();
    let answer = fixture.evenkeel(&format!("apply --yes spec.yaml {options}"));
    assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
    assert_eq!(everything(), before);
    let refused = answer.stderr.lines().filter_map(|line| line.strip_prefix("refused: guard "));
    let refused: Vec<String> = refused.map(ToOwned::to_owned).collect();
    // One hint names all guards to be overridden.
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

/// Asserts that this guard alone refuses the apply, with this message, even if all others are
/// overridden, and that a plan reports it too.
fn assert_holds(fixture: &Fixture, guard: &str, message: &str) {
    for options in [String::new(), format!("--allow {}", all_but(guard))] {
        assert_eq!(refusals(fixture, &options), [format!("{guard}: {message}")]);
    }
    let plan = fixture.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(plan.status, 3, "{plan:?}");
    assert!(plan.stderr.contains(&format!("without --allow {guard}")), "{plan:?}");
}

/// Applies with this guard overridden and no other.
fn yields(fixture: &Fixture, guard: &str) -> String {
    fixture.done(&format!("apply --yes spec.yaml --allow {guard}"))
}

/// Applies a spec whose guards are looser than those in force, and asserts the warning.
fn applies_looser_guards(fixture: &Fixture) {
    let answer = fixture.evenkeel("apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.stderr.contains("looser guards apply from the next spec on"), "{answer:?}");
}

#[test]
fn each_guard_that_refuses_is_named() {
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
