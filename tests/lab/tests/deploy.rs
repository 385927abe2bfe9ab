//! Checks the files shipped with the program, units and alerts, with the programs that read them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use evenkeel_lab_tests::{install_program, modules, root};

mod prometheus;
mod service;

/// The highest permitted exposure of a unit, in tenths, as `systemd-analyze security` counts.
const EXPOSURE: u32 = 25;

fn deploy() -> PathBuf {
    root().join("deploy")
}

fn units() -> Vec<PathBuf> {
    let entries = fs::read_dir(deploy()).expect("the folder").flatten().map(|entry| entry.path());
    let units: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "service")).collect();
    assert!(units.len() >= 2, "{units:?}");
    units
}

/// Runs a command, asserts success and returns its output.
fn passed(command: &mut Command) -> String {
    let ended = command.output().expect("it runs");
    let words = [ended.stdout, ended.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(ended.status.success(), "{command:?}: {}", words.concat());
    words.concat()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    install_program();
    for unit in units() {
        // `systemd-analyze` also reads and reports other units of the host, which are not ours.
        let words = passed(Command::new("systemd-analyze").arg("verify").arg(&unit));
        let name = unit.file_name().expect("a name").to_string_lossy().into_owned();
        let ours: Vec<_> = words.lines().filter(|line| line.contains(&name)).collect();
        assert_eq!(ours, Vec::<&str>::new());
    }
}

#[test]
fn the_modules_of_the_list_are_loaded_at_boot() {
    let list = deploy().join("evenkeel.modules.conf");
    modules::unload("ip_vs");
    passed(Command::new("/lib/systemd/systemd-modules-load").arg(&list));
    let text = fs::read_to_string(&list).expect("the list");
    let named: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(named.contains(&"ip_vs_wlc"), "{named:?}");
    assert!(named.iter().all(|module| modules::is_loaded(module)), "{named:?}");
}

#[test]
fn no_unit_is_more_exposed_than_permitted() {
    for unit in units() {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--no-pager", "--offline=true"]);
        passed(analyze.arg(format!("--threshold={EXPOSURE}")).arg(&unit));
    }
}

#[test]
fn prometheus_accepts_the_alerts_and_their_conditions_raise_them() {
    let words = passed(
        Command::new("promtool").args(["check", "rules"]).arg(deploy().join("evenkeel.rules.yaml")),
    );
    assert!(words.contains("SUCCESS"), "{words}");
    let tests = deploy().join("evenkeel.rules.test.yaml");
    let words = passed(Command::new("promtool").args(["test", "rules"]).arg(&tests));
    assert!(words.contains("SUCCESS"), "{words}");
    let rules = fs::read_to_string(deploy().join("evenkeel.rules.yaml")).expect("the alerts");
    let tests = fs::read_to_string(tests).expect("their tests");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        // Alone or in a flow mapping.
        let is_raised = tests.contains(&format!("- alertname: {alert}\n"));
        assert!(is_raised, "{alert} is raised by no test");
    }
}
