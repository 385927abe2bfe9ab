//! Tests that what evenkeel stores is its owner's alone.

use std::os::unix::fs::PermissionsExt;

use super::*;

const SPEC: &str = "version: 1
services:
  - { name: \"${env:CLUSTER}\", vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Returns every file below a directory, with its mode, and asserts that directories are private.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(modes(&path)),
            false => all.push((path.display().to_string(), mode(&path))),
        }
    }
    all
}

/// Runs the program by a shell with this umask.
fn with_umask(fixture: &Fixture, umask: &str, arguments: &str) {
    let mut shell = Command::new("sh");
    let script = format!("umask {umask}; exec \"$0\" {arguments} \"$@\"");
    shell.env("CLUSTER", "hunter2").args(["-c", &script]).arg(program());
    let answer = fixture.output(shell);
    assert_eq!(answer.status, 0, "{answer:?}");
}

#[test]
fn the_journal_the_spec_and_saved_plans_are_the_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "277"] {
        let fixture = Fixture::new("");
        fixture.write("spec.yaml", SPEC);
        with_umask(&fixture, umask, "plan spec.yaml --out saved");
        assert_eq!(mode(&fixture.path().join("saved")), 0o600, "{umask}");
        with_umask(&fixture, umask, "apply --yes spec.yaml");
        let files = modes(&fixture.path().join("state"));
        assert!(files.len() >= 2, "{files:?}");
        assert!(files.iter().all(|(_, mode)| *mode == 0o600), "{umask}: {files:?}");
        let journal = files.iter().find(|(name, _)| name.ends_with("journal.json")).unwrap();
        let journal = std::fs::read_to_string(&journal.0).unwrap();
        assert!(journal.contains("hunter2"), "the journal keeps values");
    }
}

/// As earlier versions left it.
#[test]
fn a_state_directory_that_others_can_read_is_closed_with_its_files() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC);
    with_umask(&fixture, "022", "apply --yes spec.yaml");
    let state = fixture.path().join("state");
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (file, _) in modes(&state) {
        open(Path::new(&file), 0o644);
        open(Path::new(&file).parent().unwrap(), 0o755);
    }
    fixture.write("spec.yaml", SPEC.replace("10.0.0.1", "10.0.0.2"));
    with_umask(&fixture, "022", "apply --yes --no-wait spec.yaml");
    let files = modes(&state);
    assert!(files.iter().all(|(_, mode)| *mode == 0o600), "{files:?}");
}
