//! Tests a spec in a working tree of Git, which does not rename new files into place: it unlinks
//! the old ones and creates them again, one after the other.

use evenkeel_lab_tests::nlmon::{Capture, Object, Verb};

use super::writers::of_services;
use super::*;

/// A repository, and a clone of it whose working tree is the watched directory.
struct Repository {
    host: Host,
}

impl Repository {
    /// Creates it with a file for each team, with services of every kind.
    fn new() -> Self {
        let repository = Self { host: Host::new() };
        std::fs::create_dir(repository.host.path("origin")).unwrap();
        repository.git("origin", "init --quiet --initial-branch main");
        for (name, services) in [
            ("00-common.yaml", "scope: all\ndefaults: { drain: 0s }\n".to_owned()),
            ("10-web.yaml", web("10.0.0.10")),
            ("20-dns.yaml", "services:\n  - { name: dns, vip: '2001:db8::1', port: 53, protocol: udp, real_servers: [ { address: 'fd00::1' } ] }\n".to_owned()),
            ("30-mark.yaml", "services:\n  - { name: mark, fwmark: 7, family: ipv4, real_servers: [ { address: 10.0.0.2 } ] }\n".to_owned()),
            ("40-sig.yaml", sig("10.0.0.3")),
        ] {
            repository.write(name, &services);
        }
        repository.commit("the first spec");
        repository.git(".", "clone --quiet origin specs");
        repository
    }

    /// Runs `git` in a directory of the host, with its own configuration.
    #[track_caller]
    fn git(&self, folder: &str, arguments: &str) {
        let output = Command::new("git")
            .args(arguments.split_whitespace())
            .current_dir(self.host.path(folder))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.host.path("."))
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_EDITOR", "true")])
            .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
            .envs([("GIT_COMMITTER_NAME", "A"), ("GIT_COMMITTER_EMAIL", "a@example.org")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments}: {}: {text}", output.status);
    }

    /// Writes a file of the repository from which is pulled.
    fn write(&self, name: &str, services: &str) {
        let text = format!("version: 1\n{services}");
        std::fs::write(self.host.path("origin").join(name), text).unwrap();
    }

    fn commit(&self, subject: &str) {
        self.git("origin", "add --all");
        self.git("origin", &format!("commit --quiet --message {}", subject.replace(' ', "-")));
    }

    /// Starts a daemon on the working tree.
    fn watch(&self) -> Daemon {
        let daemon = self.host.watch("specs", "");
        self.host.wait_for_state("ok");
        daemon
    }

    /// Runs `git` in the working tree, and checks that the result is active in time, by nothing but
    /// changes of these real servers.
    #[track_caller]
    fn check(&self, capture: &mut Capture, arguments: &str, added: &[&str], deleted: &[&str]) {
        assert_eq!(capture.changes(), []);
        self.git("specs", arguments);
        let begin = Instant::now();
        for address in added {
            assert_enforced(address, begin);
        }
        self.host.wait_for_state("ok");
        // Time for the effects of a partial reading, or of a second one.
        std::thread::sleep(Duration::from_millis(300));
        let changes = capture.changes();
        assert!(of_services(&changes).is_empty(), "git {arguments}: {changes:#?}");
        let addresses = |verb| {
            let changes = changes.iter().filter(move |change| change.verb == verb);
            let mut addresses: Vec<_> = changes
                .filter_map(|change| match change.object {
                    Object::Destination(_, key) => Some(key.address.to_string()),
                    _ => None,
                })
                .collect();
            addresses.sort();
            addresses
        };
        assert_eq!(addresses(Verb::New), added, "git {arguments}");
        assert_eq!(addresses(Verb::Delete), deleted, "git {arguments}");
    }
}

fn web(address: &str) -> String {
    format!(
        "services:\n  - {{ name: web, vip: 192.0.2.1, port: 80, real_servers: [ {{ address: {address} }} ] }}\n"
    )
}

fn sig(address: &str) -> String {
    format!(
        "services:\n  - {{ name: sig, vip: 192.0.2.1, port: 2905, protocol: sctp, real_servers: [ {{ address: {address} }} ] }}\n"
    )
}

#[test]
fn git_pull_in_the_watched_directory() {
    let repository = Repository::new();
    let _daemon = repository.watch();
    let mut capture = Capture::start();
    for (number, [web_before, web_after, sig_before, sig_after]) in [
        ["10.0.0.10", "10.0.0.11", "10.0.0.3", "10.0.0.4"],
        ["10.0.0.11", "10.0.0.12", "10.0.0.4", "10.0.0.5"],
        ["10.0.0.12", "10.0.0.13", "10.0.0.5", "10.0.0.6"],
    ]
    .into_iter()
    .enumerate()
    {
        repository.write("10-web.yaml", &web(web_after));
        repository.write("40-sig.yaml", &sig(sig_after));
        repository.commit(&format!("edit {number}"));
        let (added, deleted) = ([web_after, sig_after], [web_before, sig_before]);
        repository.check(&mut capture, "pull --quiet --ff-only", &added, &deleted);
    }
}

/// The service is in neither file for a moment, or in both.
#[test]
fn git_pull_of_a_service_that_moves_to_another_file_and_of_a_file_that_is_renamed() {
    let repository = Repository::new();
    let _daemon = repository.watch();
    let mut capture = Capture::start();
    let both = format!("{}{}", web("10.0.0.10"), sig("10.0.0.3").replace("services:\n", ""));
    repository.git("origin", "rm --quiet 40-sig.yaml");
    repository.write("10-web.yaml", &both);
    repository.commit("one file for both");
    repository.check(&mut capture, "pull --quiet --ff-only", &[], &[]);
    repository.git("origin", "mv 10-web.yaml 90-all.yaml");
    repository.commit("another name");
    repository.check(&mut capture, "pull --quiet --ff-only", &[], &[]);
    repository.git("origin", "rm --quiet 90-all.yaml");
    repository.write("10-web.yaml", &web("10.0.0.11"));
    repository.write("40-sig.yaml", &sig("10.0.0.3"));
    repository.commit("two files again");
    repository.check(&mut capture, "pull --quiet --ff-only", &["10.0.0.11"], &["10.0.0.10"]);
}

#[test]
fn git_revert_and_git_checkout_in_the_watched_directory() {
    let repository = Repository::new();
    repository.write("10-web.yaml", &web("10.0.0.11"));
    repository.commit("another web server");
    repository.git("specs", "pull --quiet --ff-only");
    let _daemon = repository.watch();
    let mut capture = Capture::start();
    let (old, new) = (["10.0.0.10"], ["10.0.0.11"]);
    repository.check(&mut capture, "revert --no-edit HEAD", &old, &new);
    repository.check(&mut capture, "revert --no-edit HEAD", &new, &old);
    repository.check(&mut capture, "checkout --quiet HEAD~1", &old, &new);
    repository.check(&mut capture, "checkout --quiet main", &new, &old);
    repository.check(&mut capture, "checkout HEAD~1 -- 10-web.yaml", &old, &new);
    repository.check(&mut capture, "reset --quiet --hard HEAD", &new, &old);
}
