//! The daemon in a network namespace that goes by a name, while that is deleted and made anew.

use super::*;

/// A network namespace with a name, which is deleted when dropped.
struct Named(String);

impl Named {
    fn new(of: &str) -> Self {
        let named = Self(format!("evenkeel-{of}-{}", std::process::id()));
        named.make();
        named
    }

    fn make(&self) {
        run(&format!("ip netns add {}", self.0));
        run(&format!("ip -n {} link set lo up", self.0));
    }

    fn delete(&self) {
        run(&format!("ip netns del {}", self.0));
    }

    fn table(&self) -> String {
        run(&format!("ip netns exec {} ipvsadm -Sn", self.0))
    }

    fn daemon(&self, host: &Host) -> Daemon {
        let daemon = host.watch("specs/spec.yaml", &format!("--interval 1s --netns {}", self.0));
        let is_enforced = || self.table().contains("10.0.0.10");
        assert!(within(Duration::from_secs(10), is_enforced), "{}", daemon.log());
        daemon
    }

    /// What the daemon says of it as it ends.
    fn last_words(&self, mut daemon: Daemon) -> String {
        assert_eq!(daemon.ended().code(), Some(1), "{}", daemon.log());
        let log = daemon.log();
        let of_it = |line: &&str| line.contains(&self.0) && line.contains("deleted");
        let lines: Vec<&str> = log.lines().filter(of_it).collect();
        assert_eq!(lines.len(), 1, "{log}");
        lines[0].to_owned()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut command = Command::new("ip");
        // One that is gone by now is told by nobody.
        let _deleted = command.args(["netns", "del", &self.0]).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_daemon_whose_namespace_is_made_anew_ends_and_the_next_one_keeps_the_new_one() {
    let (host, named, other) = (Host::new(), Named::new("blue"), Named::new("red"));
    host.write("spec.yaml", spec("10.0.0.10"));
    let mut daemon = named.daemon(&host);
    // What becomes of others is not its business.
    other.delete();
    other.make();
    std::thread::sleep(Duration::from_secs(3));
    assert!(daemon.child.try_wait().unwrap().is_none(), "{}", daemon.log());
    named.delete();
    named.make();
    let words = named.last_words(daemon);
    assert!(words.starts_with("error: ") && words.contains("made anew"), "{words}");
    assert_eq!(named.table(), "");
    let mut daemon = named.daemon(&host);
    std::thread::sleep(Duration::from_secs(3));
    assert!(daemon.child.try_wait().unwrap().is_none(), "{}", daemon.log());
}

#[test]
fn a_daemon_whose_namespace_is_deleted_ends() {
    let (host, named) = (Host::new(), Named::new("blue"));
    host.write("spec.yaml", spec("10.0.0.10"));
    let daemon = named.daemon(&host);
    named.delete();
    let words = named.last_words(daemon);
    assert!(words.starts_with("error: ") && words.contains("nothing left"), "{words}");
}
