//! Plans that are refused, and how they are let through.

use std::process::Stdio;

use super::*;

const STRANGER: &str = "-A -t 203.0.113.1:80 -s rr\n-a -t 203.0.113.1:80 -r 10.0.0.9:80 -g -w 1\n";

/// A spec of so many services, each with a real server, with those lines at its top.
fn spec(head: &str, services: usize) -> String {
    let list: String = (1..=services)
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

/// How many services there are.
fn services() -> usize {
    ipvsadm::save().iter().filter(|line| line.starts_with("-A")).count()
}

fn assert_refused(site: &Site, options: &str, guard: &str) {
    let before = (ipvsadm::save(), addresses());
    let answer = site.evenkeel(&format!("apply --yes spec.yaml {options}"));
    assert_eq!((answer.status, &*answer.stdout), (3, ""), "{answer:?}");
    assert!(answer.stderr.contains(&format!("refused: guard {guard}: ")), "{answer:?}");
    assert!(answer.stderr.contains(&format!("--allow {guard}")), "{answer:?}");
    assert_eq!((ipvsadm::save(), addresses()), before);
}

#[test]
fn an_empty_spec_is_refused_until_it_is_allowed() {
    let site = Site::new(STRANGER);
    site.write("spec.yaml", spec("scope: all\n", 0));
    assert_refused(&site, "", "empty");
    assert_refused(&site, "--allow mass-delete,take-over", "empty");
    site.done("apply --yes spec.yaml --allow empty");
    assert_eq!(services(), 0);
}

#[test]
fn the_first_apply_deletes_no_stranger_and_a_later_one_does() {
    let site = Site::new(STRANGER);
    site.write("spec.yaml", spec("", 1));
    assert_refused(&site, "", "take-over");
    assert_refused(&site, "--allow empty --allow mass-delete", "take-over");
    assert_eq!(services(), 1);
    let plan = site.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(plan.status, 2, "{plan:?}");
    assert!(plan.stderr.contains("without --allow take-over"), "{plan:?}");

    site.done("apply --yes spec.yaml --allow take-over");
    assert_eq!(services(), 1);
    run_with("ipvsadm -R", STRANGER);
    let plan = site.evenkeel("plan spec.yaml");
    assert_eq!((plan.status, &*plan.stderr), (0, ""), "an apply is on record");
    site.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn a_first_apply_that_finds_everything_in_place_is_on_record_too() {
    let site = Site::new("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n");
    site.apply(&spec("", 1));
    run_with("ipvsadm -R", STRANGER);
    site.done("apply --yes spec.yaml");
    assert_eq!(services(), 1);
}

#[test]
fn a_spec_that_says_scope_takes_over_without_a_word() {
    let site = Site::new(STRANGER);
    site.apply(&spec("scope: all\n", 1));
    assert_eq!(services(), 1);
    let site = Site::new(STRANGER);
    site.apply(&spec("scope: { vips: [192.0.2.0/24] }\n", 1));
    assert_eq!(services(), 2);
}

#[test]
fn a_spec_with_less_than_half_is_refused_until_it_is_allowed() {
    let site = Site::new("");
    site.apply(&spec("", 5));
    site.write("spec.yaml", spec("", 2));
    assert_refused(&site, "", "mass-delete");
    assert_refused(&site, "--allow empty,take-over", "mass-delete");
    assert_eq!(services(), 5);
    site.done("apply --yes spec.yaml --allow mass-delete");
    assert_eq!(services(), 2);
    site.apply(&spec("", 1));
    assert_eq!(services(), 1);
}

#[test]
fn each_guard_that_holds_is_named() {
    let site = Site::new("");
    site.apply(&spec("", 4));
    std::fs::remove_dir_all(site.path().join("state")).unwrap();
    site.write("spec.yaml", spec("", 0));
    for guard in ["empty", "take-over", "mass-delete"] {
        assert_refused(&site, "", guard);
    }
    assert_refused(&site, "--allow empty,mass-delete", "take-over");
    site.done("apply --yes spec.yaml --allow empty,mass-delete,take-over");
    assert_eq!(services(), 0);
}

/// Runs the program on a terminal and types that.
fn on_a_terminal(site: &Site, arguments: &str, typed: &str) -> Answer {
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
    let site = Site::new("");
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
