//! A snapshot of a real server is no spec for it, which evenkeel says when it is written and when it is
//! applied.

use super::cases::{DIRECTOR, DR, NAT, TUN_IPIP};
use super::state::State;

const WRITTEN: &str = "the snapshot describes the host, and is no spec for it";
const IGNORED: &str = "this host was a real server, and the spec lists no directors";

#[test]
fn a_snapshot_of_a_real_server_is_warned_of_when_it_is_written_and_applied() {
    for case in [&DR, &TUN_IPIP, &NAT] {
        case.load_modules();
        let host = case.host();
        host.done("snapshot");
        host.apply(case.spec);
        let applied = State::read();
        let snapshot = host.evenkeel("snapshot");
        assert!(snapshot.status == 0 && snapshot.stderr.contains(WRITTEN), "{snapshot:?}");
        std::fs::write(host.path("snapshot.yaml"), &snapshot.stdout).unwrap();

        let is_any = snapshot.stdout.contains("interface:");
        let answer = host.evenkeel("plan snapshot.yaml");
        assert!(answer.stdout.contains(" stay"), "{}: {answer:?}", case.name);
        assert_eq!(answer.stderr.contains(IGNORED), is_any, "{}: {answer:?}", case.name);
        if is_any {
            assert!(answer.stderr.contains("snapshot.yaml:"), "{answer:?}");
            for way_out in ["`--role director`", "`evenkeel teardown`"] {
                assert!(answer.stderr.contains(way_out), "{answer:?}");
            }
        }
        let answer = host.evenkeel("plan snapshot.yaml --role director");
        assert!(!answer.stderr.contains(IGNORED), "{}: {answer:?}", case.name);
        let now = State::read();
        assert!(now == applied, "{}: {}", case.name, now.changes_since(&applied));

        // Afterwards, the host is as any other.
        assert_eq!(host.evenkeel("teardown --yes").status, 0);
        let answer = host.evenkeel("plan snapshot.yaml");
        assert!(!answer.stderr.contains(IGNORED), "{}: {answer:?}", case.name);
        host.done("snapshot");
    }
}

#[test]
fn a_snapshot_of_a_director_is_a_spec_for_it() {
    let host = DIRECTOR.host();
    host.apply(DIRECTOR.spec);
    host.done("snapshot");
}
