//! Compares plans with golden files, byte by byte: each directory of `tests/plan` is a case.
//!
//! `desired.yaml` is the spec (`example-NAME` uses the example of that name), and `live.yaml` the
//! live state (without it, an empty host). The expected output is beside them: `plan.txt`, in some
//! cases `plan.json` and `plan.diff`, and `plan.err` if there is output on stderr. A case with a
//! `last.yaml`, the last applied spec, runs the libraries instead of the program, which reads that
//! spec from its journal only. A case whose spec lists `directors` has `hosts.txt` instead: the plans
//! of all hosts. `UPDATE=1` rewrites the expected output; read the difference before committing it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use evenkeel_model::Names;
use evenkeel_plan::render::{self, Labels, Line, Remark};
use evenkeel_plan::{Inputs, PriorState, simulate};
use evenkeel_spec::{Loaded, Source, WriteInput, load};

use crate::program::{Answer, difference, evenkeel_in, examples, root};

/// The golden files of a case, with the output format of each.
const FORMS: [(&str, &str); 3] =
    [("plan.txt", "text"), ("plan.json", "json"), ("plan.diff", "diff")];
const ERRORS: &str = "plan.err";
/// The plans of all hosts of a cluster.
const HOSTS: &str = "hosts.txt";

fn folders() -> Vec<PathBuf> {
    let listed = fs::read_dir(root().join("tests/plan")).expect("the cases");
    let mut folders: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    folders
}

/// The cases of a single host, and those of a cluster.
fn cases_and_clusters() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let is_case = |case: &PathBuf| {
        let text = fs::read_to_string(case.join(inputs(case).0)).expect("a spec");
        !text.lines().any(|line| line == "directors:")
    };
    folders().into_iter().partition(is_case)
}

fn cases() -> Vec<PathBuf> {
    cases_and_clusters().0
}

fn name(case: &Path) -> &str {
    case.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// The arguments for the spec and the live state, relative to the directory of the case.
fn inputs(case: &Path) -> (String, &'static str) {
    let spec = match name(case).strip_prefix("example-") {
        Some(example) => format!("../../../examples/{example}.yaml"),
        None => "desired.yaml".to_owned(),
    };
    (spec, if case.join("live.yaml").exists() { "live.yaml" } else { "none" })
}

fn plan(case: &Path, form: &str) -> Answer {
    if case.join("last.yaml").exists() {
        return plan_with_last(case, form);
    }
    let (spec, live) = inputs(case);
    evenkeel_in(case, &format!("plan {spec} --live {live} --output {form} --detailed-exitcode"))
}

fn plan_with_last(case: &Path, form: &str) -> Answer {
    let read = |name: &str| -> Loaded {
        let text = fs::read(case.join(name)).expect("it is there");
        load(&[Source::new(name, text)]).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let (desired, last, snapshot) =
        (read("desired.yaml").desired, read("last.yaml"), read("live.yaml"));
    let statistics = snapshot.statistics().cloned();
    let (live, record) = (snapshot.into_live(), PriorState::for_snapshot());
    let plan = evenkeel_plan::plan(Inputs {
        last: Some(&last.desired),
        statistics: statistics.as_ref(),
        ..Inputs::new(&desired, &live, &record)
    });
    let names = Names { desired: &desired, last: Some(&last.desired) };
    let stdout = match form {
        "json" => format!("{:#}\n", render::json(&plan, names)),
        "diff" => {
            let write =
                |live| evenkeel_spec::write(&WriteInput::of_live(live, &desired).expanded());
            render::unified_diff(&write(&live), &write(&simulate(&live, &plan.steps)))
        }
        _ => {
            let labels = Labels::new(names);
            let steps = plan.steps.iter().enumerate().map(|(place, op)| {
                let line = Line { op, labels: &labels };
                format!("{line}{}\n", Remark::new(&plan, place, false))
            });
            steps.chain([render::summary(&plan) + "\n"]).collect()
        }
    };
    let refusals = plan.refusals.iter().map(ToString::to_string);
    let stderr = plan
        .warnings
        .iter()
        .map(ToString::to_string)
        .chain(refusals)
        .map(|line| format!("{line}\n"))
        .collect();
    Answer { status: if plan.is_in_sync() { 0 } else { 2 }, stdout, stderr }
}

/// Compares an output with its golden file, or rewrites that.
fn compare(path: PathBuf, found: &str, wrong: &mut String) {
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected == found {
        return;
    }
    if std::env::var_os("UPDATE").is_none() {
        *wrong += &format!("{}\n{}\n", path.display(), difference(&expected, found));
    } else if found.is_empty() {
        fs::remove_file(&path).expect("it can be removed");
    } else {
        fs::write(&path, found).expect("it can be written");
    }
}

#[test]
fn every_cluster_has_the_plans_of_its_hosts() {
    let mut wrong = String::new();
    let (_, clusters) = cases_and_clusters();
    assert!(clusters.len() >= 10, "{clusters:?}");
    for case in clusters {
        let command = format!("plan {} --all-hosts", inputs(&case).0);
        let text = evenkeel_in(&case, &command);
        assert_eq!((text.status, &*text.stderr), (0, ""), "{}", case.display());
        compare(case.join(HOSTS), &text.stdout, &mut wrong);
        let json = evenkeel_in(&case, &format!("{command} --output json"));
        let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
        let listed: Vec<&str> = json["hosts"]
            .as_array()
            .expect("a list")
            .iter()
            .flat_map(|host| host["addresses"].as_array().expect("a list"))
            .map(|address| address.as_str().expect("an address"))
            .collect();
        for address in &listed {
            let title = |line: &str| !line.starts_with(' ') && line.contains(*address);
            assert!(text.stdout.lines().any(title), "{}: {address}", case.display());
        }
        assert!(listed.len() >= 2, "{}: {listed:?}", case.display());
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_case_has_its_plan() {
    let mut wrong = String::new();
    for case in cases() {
        for (file, form) in FORMS {
            let path = case.join(file);
            if file == "plan.txt" || path.exists() {
                let Answer { status, stdout, stderr } = plan(&case, form);
                compare(path, &stdout, &mut wrong);
                compare(case.join(ERRORS), &stderr, &mut wrong);
                let in_sync = fs::read_to_string(case.join("plan.txt"))
                    .is_ok_and(|text| text.starts_with("In sync"));
                let expected = match stderr.contains("apply would refuse this plan") {
                    true => 3,
                    false if in_sync => 0,
                    false => 2,
                };
                assert_eq!(status, expected, "{}: {stderr}", case.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_example_is_a_case() {
    let cases: BTreeSet<String> = folders().iter().map(|case| name(case).to_owned()).collect();
    for example in examples() {
        let stem = Path::new(&example).file_stem().and_then(|stem| stem.to_str()).expect("a name");
        assert!(cases.contains(&format!("example-{stem}")), "{example}");
    }
}

#[test]
fn no_case_has_changes_on_a_host_in_its_desired_state() {
    for case in cases() {
        let (spec, _) = inputs(&case);
        let answer = evenkeel_in(&case, &format!("plan {spec} --live {spec} --detailed-exitcode"));
        // The guard `empty` refuses an empty spec even where nothing would be deleted.
        let expected = if answer.stderr.contains("--allow empty") { 3 } else { 0 };
        assert_eq!(answer.status, expected, "{}: {answer:?}", case.display());
        assert!(answer.stdout.starts_with("In sync; "), "{answer:?}");
    }
}

#[test]
fn all_output_formats_agree_whether_there_are_changes() {
    for case in cases() {
        let [text, json, diff] = FORMS.map(|(_, form)| plan(&case, form).stdout);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let steps = json["steps"].as_array().expect("a list").len();
        assert_eq!(steps, text.lines().count() - 1, "{}", case.display());
        assert_eq!(json["in_sync"], steps == 0);
        // An existing dummy device is not part of a spec's state.
        assert_eq!(diff.is_empty(), steps == 0, "{}: {diff}", case.display());
    }
}
