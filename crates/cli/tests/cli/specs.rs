//! Tests the sources of specs: files, directories, stdin, and several of them.

use crate::program::{evenkeel_in, evenkeel_reading, examples, folder_with, root};

const HEAD: &str = "version: 1\nservices:\n";
const WEB: &str = "  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [] }\n";
const DNS: &str = "  - { name: dns, vip: 192.0.2.2, port: 53, protocol: udp, pool: all }\n";
const POOL: &str =
    "version: 1\npools:\n  - { name: all, real_servers: [ { address: 10.0.0.1 } ] }\n";

#[test]
fn every_example_is_valid_and_plans_on_empty_hosts_with_nothing_on_stderr() {
    for example in examples() {
        let text = std::fs::read_to_string(root().join(&example)).expect("an example");
        let hosts = if text.contains("\ndirectors:") { "--all-hosts" } else { "--live none" };
        for command in [format!("validate {example}"), format!("plan {example} {hosts}")] {
            let answer = evenkeel_in(&root(), &command);
            assert_eq!((answer.status, &*answer.stderr), (0, ""), "{command}");
            assert!(!answer.stdout.is_empty(), "{command}");
        }
    }
}

#[test]
fn a_spec_is_read_from_stdin() {
    let folder = folder_with(&[("pool.yaml", POOL)]);
    let text = format!("{HEAD}{DNS}");
    let answer = evenkeel_reading(folder.path(), "validate - pool.yaml", &text);
    assert_eq!(answer.stdout, "valid: 1 service, 1 real server, 0 VIPs\n", "{answer:?}");
    let answer = evenkeel_reading(folder.path(), "plan pool.yaml - --live none", &text);
    assert!(answer.stdout.starts_with("+ add service dns/192.0.2.2:53/udp: "), "{answer:?}");
    let answer = evenkeel_reading(folder.path(), "validate -", "version: 1\n");
    assert_eq!(answer.status, 0, "{answer:?}");
    let answer = evenkeel_reading(folder.path(), "validate -", "version: 1\nservices: 7\n");
    assert!(answer.stderr.contains("--> <stdin>:2:11"), "{answer:?}");
    let answer = evenkeel_reading(folder.path(), "validate - -", &text);
    assert_eq!(answer.status, 64, "{answer:?}");
}

#[test]
fn files_and_directories_are_merged() {
    let (web, dns) = (format!("{HEAD}{WEB}"), format!("{HEAD}{DNS}"));
    let folder = folder_with(&[
        ("lvs.d/10-web.yaml", &web),
        ("lvs.d/20-dns.yml", &dns),
        ("lvs.d/.20-dns.yml.swp", "\0"),
        ("lvs.d/README", "not a spec"),
        ("pools.yaml", POOL),
    ]);
    let answer = evenkeel_in(folder.path(), "validate lvs.d pools.yaml");
    assert_eq!(answer.stdout, "valid: 2 services, 1 real server, 0 VIPs\n", "{answer:?}");
    let answer = evenkeel_in(folder.path(), "validate lvs.d");
    assert_eq!(answer.status, 65, "the pool is missing: {answer:?}");
    assert!(answer.stderr.contains("lvs.d/20-dns.yml:3:65"), "{answer:?}");
    let both = evenkeel_in(folder.path(), "plan lvs.d pools.yaml --live none").stdout;
    let turned = evenkeel_in(folder.path(), "plan pools.yaml lvs.d --live none").stdout;
    assert_eq!(both, turned);
}

#[test]
fn a_verbose_plan_shows_where_each_step_comes_from() {
    let folder = folder_with(&[("dns.yaml", &format!("{HEAD}{DNS}")), ("pools.yaml", POOL)]);
    let answer = evenkeel_in(folder.path(), "plan -v dns.yaml pools.yaml --live none");
    let lines: Vec<_> = answer.stdout.lines().collect();
    assert!(lines[0].ends_with(": scheduler wlc  (dns.yaml:3)"), "{answer:?}");
    assert!(lines[1].ends_with(": forward dr, weight 1  (pools.yaml:3)"), "{answer:?}");
    let quiet = evenkeel_in(folder.path(), "plan dns.yaml pools.yaml --live none").stdout;
    assert!(!quiet.contains(".yaml"), "{quiet}");
}

#[test]
fn the_same_service_in_two_files_is_an_error_that_names_both_places() {
    let web = format!("{HEAD}{WEB}");
    let folder = folder_with(&[("a.yaml", &web), ("b.yaml", &web)]);
    let answer = evenkeel_in(folder.path(), "validate .");
    assert_eq!(answer.status, 65, "{answer:?}");
    for place in ["./a.yaml:3:", "./b.yaml:3:"] {
        assert!(answer.stderr.contains(place), "{answer:?}");
    }
}

#[test]
fn an_empty_directory_and_a_missing_path_are_errors() {
    let folder = folder_with(&[("empty/notes.txt", "")]);
    for (place, message) in [
        ("empty", ["there is no *.yaml or *.yml file in empty", "does not count as an empty spec"]),
        ("missing", ["cannot read missing: No such file or directory", "name a file"]),
        ("missing/web.yaml", ["cannot read missing/web.yaml: ", "name a file"]),
    ] {
        for command in [
            format!("validate {place}"),
            format!("plan {place} --live none"),
            format!("plan {place} --live none --detailed-exitcode"),
            format!("apply --yes {place}"),
            format!("show {place}"),
            format!("snapshot --names {place}"),
        ] {
            let answer = evenkeel_in(folder.path(), &command);
            assert_eq!((answer.status, &*answer.stdout), (65, ""), "{command}: {answer:?}");
            let (error, hint) = answer.stderr.split_once("\nhint: ").expect("a remedy");
            assert!(error.starts_with("error: ") && error.contains(message[0]), "{answer:?}");
            assert!(hint.contains(message[1]), "{answer:?}");
        }
    }
}

#[test]
fn a_plan_can_use_a_snapshot_instead_of_the_kernel() {
    let case = root().join("tests/plan/drift");
    let answer = evenkeel_in(&case, "plan live.yaml --live live.yaml --detailed-exitcode");
    assert_eq!(answer.status, 0, "{answer:?}");
    let answer = evenkeel_in(&case, "plan live.yaml --live missing.yaml");
    assert_eq!(answer.status, 65, "{answer:?}");
}
