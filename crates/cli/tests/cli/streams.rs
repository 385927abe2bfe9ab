//! Tests stdout and stderr: what goes where, colours, closed pipes.

use std::io::Read;
use std::process::Stdio;

use crate::program::{command, evenkeel_in, folder_with, root};

#[test]
fn a_reader_that_closes_the_pipe_early_is_no_error() {
    // More than a pipe's capacity, so that the program is still writing when the reader closes the
    // pipe.
    let real_servers: String =
        (0..60).map(|last| format!("      - {{ address: 10.0.0.{last} }}\n")).collect();
    let ports: Vec<String> = (1..=60).map(|port| port.to_string()).collect();
    let text = format!(
        "version: 1\nservices:\n  - name: web\n    vip: 192.0.2.1\n    ports: [{}]\n    real_servers:\n{real_servers}",
        ports.join(", ")
    );
    let folder = folder_with(&[("large.yaml", &text)]);
    for form in ["text", "json", "diff"] {
        let mut command =
            command(folder.path(), &format!("plan large.yaml --live none --output {form}"));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut [0; 1]).expect("it answers");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{form}");
    }
}

#[test]
fn help_for_a_reader_that_has_closed_the_pipe_is_no_error() {
    let mut child = command(&root(), "--help").stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").code() == Some(0));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let full = std::fs::File::create("/dev/full").expect("the device");
    for arguments in ["plan examples/pool.yaml --live none", "validate examples/dr.yaml", "schema"]
    {
        let output = command(&root(), arguments).stdout(full.try_clone().expect("a copy")).output();
        let output = output.expect("it ends");
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with("error: cannot write the answer: "), "{stderr}");
    }
}

#[test]
fn colours_depend_on_the_terminal_or_the_option() {
    let root = root();
    let plan = "plan examples/pool.yaml --live none";
    let plain = evenkeel_in(&root, plan).stdout;
    assert!(!plain.contains('\x1b'), "{plain}");
    assert_eq!(evenkeel_in(&root, &format!("{plan} --color never")).stdout, plain);
    let coloured = evenkeel_in(&root, &format!("{plan} --color always")).stdout;
    assert!(coloured.starts_with("\x1b[32m+ add service api/"), "{coloured:?}");
    let codes = ["\x1b[32m", "\x1b[0m"];
    assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain);
    for form in ["json", "diff"] {
        let answer = evenkeel_in(&root, &format!("{plan} --color always --output {form}"));
        assert!(!answer.stdout.contains('\x1b'), "a document has no colours: {form}");
    }
}

#[test]
fn errors_are_coloured_alike() {
    let folder = folder_with(&[("bad.yaml", "version: 1\nservice: []\n")]);
    for spec in ["bad.yaml", "missing.yaml"] {
        let plain = evenkeel_in(folder.path(), &format!("validate {spec}")).stderr;
        assert!(plain.starts_with("error: ") && !plain.contains('\x1b'), "{plain}");
        assert!(plain.ends_with('\n') && !plain.ends_with("\n\n"), "{plain:?}");
        let coloured =
            evenkeel_in(folder.path(), &format!("validate --color always {spec}")).stderr;
        assert!(coloured.contains("\x1b["), "{coloured:?}");
    }
}

#[test]
fn each_warning_starts_on_its_own_line() {
    let service = |number| {
        format!(
            "  - {{ name: s{number}, vip: 192.0.2.{number}, port: 80, real_servers: [], unchecked: true }}\n"
        )
    };
    let spec = |last| {
        let services: String = (1..=last).map(service).collect();
        format!("version: 1\nservices:\n{services}")
    };
    let folder = folder_with(&[("spec.yaml", &spec(2)), ("live.yaml", &spec(5))]);
    let answer = evenkeel_in(folder.path(), "plan spec.yaml --live live.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    for (at, _) in answer.stderr.match_indices("warning:") {
        assert!(at == 0 || answer.stderr[..at].ends_with('\n'), "{}", answer.stderr);
    }
    // Two for the spec, one for services without real servers, one for those not judged, one for the guard,
    // none for the live state.
    assert_eq!(answer.stderr.matches("warning:").count(), 5, "{}", answer.stderr);
    assert!(answer.stderr.ends_with('\n'), "{answer:?}");
}

#[test]
fn the_log_goes_to_stderr_and_in_json_too() {
    let root = root();
    let text = evenkeel_in(&root, "plan examples/pool.yaml --live none -v");
    let loud = evenkeel_in(&root, "plan examples/pool.yaml --live none -vvv --log-format json");
    assert_eq!(loud.stdout, text.stdout);
    for line in loud.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}
