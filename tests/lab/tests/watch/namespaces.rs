//! The daemon in a named network namespace that is deleted and created again.

use evenkeel_lab_tests::netns::NamedNamespace;

use super::*;

/// Starts a daemon on the spec in that namespace, and waits until it has enforced it.
fn daemon_in(named: &NamedNamespace, host: &Host) -> Daemon {
    let daemon = host.watch("specs/spec.yaml", &format!("--interval 1s --netns {}", named.name));
    let is_enforced = || table_of(named).contains("10.0.0.10");
    assert!(within(Duration::from_secs(10), is_enforced), "{}", daemon.log());
    daemon
}

fn table_of(named: &NamedNamespace) -> String {
    named.run("ipvsadm -Sn")
}

/// Returns the daemon's message about its namespace as it ends.
fn last_message(named: &NamedNamespace, mut daemon: Daemon) -> String {
    assert_eq!(daemon.ended().code(), Some(1), "{}", daemon.log());
    let log = daemon.log();
    let of_it = |line: &&str| {
        line.starts_with("error: ") && line.contains(&named.name) && line.contains("deleted")
    };
    let lines: Vec<&str> = log.lines().filter(of_it).collect();
    assert_eq!(lines.len(), 1, "{log}");
    lines[0].to_owned()
}

#[test]
fn a_daemon_whose_namespace_is_recreated_ends_and_the_next_one_manages_the_new_one() {
    let (host, named, other) =
        (Host::new(), NamedNamespace::new("blue"), NamedNamespace::new("red"));
    host.write("spec.yaml", spec("10.0.0.10"));
    let mut daemon = daemon_in(&named, &host);
    // Other namespaces do not affect it.
    other.delete();
    other.make();
    std::thread::sleep(Duration::from_secs(3));
    assert!(daemon.child.try_wait().unwrap().is_none(), "{}", daemon.log());
    named.delete();
    named.make();
    let words = last_message(&named, daemon);
    assert!(words.starts_with("error: ") && words.contains("created again"), "{words}");
    assert_eq!(table_of(&named), "");
    let mut daemon = daemon_in(&named, &host);
    std::thread::sleep(Duration::from_secs(3));
    assert!(daemon.child.try_wait().unwrap().is_none(), "{}", daemon.log());
}

#[test]
fn a_daemon_whose_namespace_is_deleted_ends() {
    let (host, named) = (Host::new(), NamedNamespace::new("blue"));
    host.write("spec.yaml", spec("10.0.0.10"));
    let daemon = daemon_in(&named, &host);
    named.delete();
    let words = last_message(&named, daemon);
    assert!(words.starts_with("error: ") && words.contains("nothing left"), "{words}");
}

/// Returns a spec without a scope: the first apply in a namespace deletes nothing that it does not
/// list.
fn unscoped() -> String {
    spec("10.0.0.10").replace("scope: all\n", "")
}

const FOREIGN_SERVICE: &str = "192.0.2.9:http";

/// Creates a namespace, has a daemon enforce the spec in it, and creates it again under the same
/// name, with a service of another program.
fn replaced(word: &str, host: &Host) -> NamedNamespace {
    let named = NamedNamespace::new(word);
    host.write("spec.yaml", unscoped());
    let mut daemon = daemon_in(&named, host);
    daemon.signal(Signal::SIGTERM);
    daemon.ended();
    named.delete();
    named.make();
    let _none = named.run("ipvsadm -A -t 192.0.2.9:80 -s rr");
    named
}

#[test]
fn unlisted_services_in_a_recreated_namespace_are_no_drift() {
    let host = Host::new();
    for is_spec_broken in [false, true] {
        let named = replaced(&format!("unlisted-{is_spec_broken}"), &host);
        if is_spec_broken {
            // The last good spec is still known by name, and its guards still apply.
            host.write("spec.yaml", "version: 1\nservices: [");
        }
        let daemon = daemon_in(&named, &host);
        std::thread::sleep(Duration::from_secs(3));
        let rules = named.run("ipvsadm -S");
        assert!(rules.contains(FOREIGN_SERVICE), "{rules}\n{}", daemon.log());
        let output = host.command("status").args(["--netns", &named.name]).output().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        assert!(status.contains("guard take-over"), "{status}");
    }
}

#[test]
fn a_pause_ends_with_its_namespace() {
    let (host, named) = (Host::new(), NamedNamespace::new("paused"));
    host.write("spec.yaml", spec("10.0.0.10"));
    let mut daemon = daemon_in(&named, &host);
    let (code, _, stderr) = host.evenkeel(&format!("pause --netns {}", named.name));
    assert_eq!(code, 0, "{stderr}");
    daemon.signal(Signal::SIGTERM);
    daemon.ended();
    // In the same namespace the pause continues.
    let mut daemon = host.watch("specs/spec.yaml", &format!("--netns {}", named.name));
    let status = || host.evenkeel(&format!("status --netns {}", named.name)).1;
    assert!(within(Duration::from_secs(10), || status().starts_with("paused")), "{}", status());
    daemon.signal(Signal::SIGTERM);
    daemon.ended();
    named.delete();
    named.make();
    let _daemon = daemon_in(&named, &host);
    assert!(within(Duration::from_secs(10), || status().starts_with("ok")), "{}", status());
}

#[test]
fn a_daemon_of_the_former_namespace_does_not_touch_the_journal_of_the_new_one() {
    let (host, named) = (Host::new(), NamedNamespace::new("late"));
    host.write("spec.yaml", spec("10.0.0.10"));
    // It will not check for a while whether the name still refers to its namespace.
    let options = format!("--interval 10m --netns {}", named.name);
    let mut daemon = host.watch("specs/spec.yaml", &options);
    let is_enforced = || table_of(&named).contains("10.0.0.10");
    assert!(within(Duration::from_secs(10), is_enforced), "{}", daemon.log());
    named.delete();
    named.make();
    let output = host
        .command("apply")
        .args(["--yes", "--netns", &named.name])
        .arg(host.path("specs/spec.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let journal = host.path("state").join(&named.name).join("journal.json");
    let before = std::fs::read(&journal).unwrap();
    daemon.signal(Signal::SIGHUP);
    let is_logged = || daemon.log().contains("was deleted and recreated while");
    assert!(within(Duration::from_secs(10), is_logged), "{}", daemon.log());
    assert!(std::fs::read(&journal).unwrap() == before);
    assert!(daemon.child.try_wait().unwrap().is_none(), "{}", daemon.log());
}
