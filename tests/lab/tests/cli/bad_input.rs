//! Bad input leaves the live table unchanged.

use super::*;

#[path = "../../../../crates/cli/tests/cli/bad_input/inputs.rs"]
mod inputs;

#[test]
fn no_bad_input_changes_anything() {
    let fixture = Fixture::new(
        "-A -t 198.51.100.7:25 -s wrr -p 300
        -a -t 198.51.100.7:25 -r 10.9.0.1:25 -g -w 5 -x 10 -y 5
        ",
    );
    run("ip addr add 198.51.100.7/32 dev eth0");
    let before = everything();
    for input in inputs::all() {
        fixture.write("bad.yaml", &input.bytes);
        let allow = "--allow empty,take-over,mass-delete";
        let answer = fixture.evenkeel(&format!("apply --yes {allow} bad.yaml"));
        assert_eq!((answer.status, &*answer.stdout), (65, ""), "{}: {answer:?}", input.title);
        let (message, _) = input.answer.split_once("; ").unwrap();
        let (_, message) = message.split_once(": ").unwrap();
        assert!(answer.stderr.contains(message), "{}: {}", input.title, answer.stderr);
        assert!(everything() == before, "{}", input.title);
    }
    for place in ["missing", "missing.yaml", "."] {
        let empty = fixture.path().join("empty");
        std::fs::create_dir_all(&empty).unwrap();
        let place = if place == "." { "empty" } else { place };
        let answer = fixture.evenkeel(&format!("apply --yes {place}"));
        assert_eq!(answer.status, 65, "{answer:?}");
        assert!(everything() == before, "{place}");
    }
    assert!(!fixture.path().join("state").exists(), "not even the journal is there");
}

/// Runs the program with a limit of time, whose end is status 124.
fn limited(fixture: &Fixture, arguments: &str) -> Answer {
    let mut command = Command::new("timeout");
    command.arg("10").arg(program()).args(arguments.split_whitespace());
    command.stdin(Stdio::null());
    fixture.output(command)
}

#[test]
fn a_file_that_never_ends_is_refused_at_once_wherever_a_file_is_named() {
    let fixture = Fixture::new("");
    std::fs::create_dir(fixture.path().join("specs")).unwrap();
    fixture.write("specs/good.yaml", "version: 1\nservices: []\n");
    let before = everything();
    run(&format!("mkfifo {}", fixture.path().join("pipe").display()));
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path().join("socket")).unwrap();
    // Files of the kernel that are regular by their metadata: one waits for messages at its end.
    for place in ["pipe", "socket", "/dev/zero", "/dev/tty", "/proc/kmsg"] {
        let link = fixture.path().join("specs/never.yaml");
        std::os::unix::fs::symlink(fixture.path().join(place), &link).unwrap();
        for (arguments, status) in [
            (format!("validate {place}"), 65),
            (format!("plan {place}"), 65),
            (format!("apply --yes {place}"), 65),
            ("validate specs".to_owned(), 65),
            ("plan specs".to_owned(), 65),
            ("apply --yes specs".to_owned(), 65),
            (format!("plan specs/good.yaml --live {place}"), 65),
            (format!("apply --yes --plan {place}"), 1),
        ] {
            let answer = limited(&fixture, &arguments);
            assert_eq!((answer.status, &*answer.stdout), (status, ""), "{arguments}: {answer:?}");
            assert!(answer.stderr.contains("it is not a regular file"), "{arguments}: {answer:?}");
        }
        std::fs::remove_file(&link).unwrap();
    }
    assert!(everything() == before);
}

#[test]
fn a_pipe_without_a_name_is_read_like_stdin() {
    let fixture = Fixture::new("");
    let text = "version: 1\nscope: all\nservices: [ { name: web, vip: 192.0.2.1, port: 80, real_servers: [] } ]\n";
    fixture.write("spec.yaml", text);
    let shell = |command: &str| {
        let line = command.replace("evenkeel", &program().display().to_string());
        let mut shell = Command::new("bash");
        shell.args(["-c", &line]).current_dir(fixture.path());
        Answer::from(shell.output().unwrap())
    };
    let piped = shell("evenkeel plan <(cat spec.yaml) --live <(evenkeel snapshot)");
    assert_eq!(piped.status, 0, "{piped:?}");
    assert!(piped.stdout.contains("add service web/192.0.2.1:80/tcp"), "{piped:?}");
    let stdin = shell("cat spec.yaml | evenkeel plan /dev/stdin");
    assert!(stdin.status == 0 && stdin.stdout.contains("add service web/"), "{stdin:?}");
}
