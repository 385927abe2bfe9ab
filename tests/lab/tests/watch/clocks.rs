//! Tests the daemon while the wall clock is set.

use std::time::{SystemTime, UNIX_EPOCH};

use evenkeel_lab_tests::clock::Stepped;

use super::*;

/// The duration of a drain or a pause.
const TIME: Duration = Duration::from_secs(6);

/// Shortly before its end.
const NEARLY: Duration = Duration::from_millis(5_500);

/// The time from there to its end, with the rounding of seconds and one check of the daemon.
const SOON: Duration = Duration::from_secs(4);

const HOUR: i64 = 3_600;

#[test]
fn a_drain_lasts_its_full_time_even_if_the_clock_is_set() {
    for steps in [[HOUR, 0], [-HOUR, 0], [HOUR, -HOUR]] {
        let host = Host::new();
        let _server = std::net::TcpListener::bind("127.0.0.1:80").unwrap();
        let of = |list: &str| draining("6s", list);
        let mut daemon =
            host.watching(&of("{ address: 127.0.0.1 }, { address: 127.0.0.2 }"), "--interval 1s");
        run("ipvsadm -e -t 192.0.2.1:80 -r 127.0.0.2 -m -w 0");
        let _open = std::net::TcpStream::connect("192.0.2.1:80").unwrap();
        host.write("spec.yaml", of("{ address: 127.0.0.2 }"));
        let is_draining = || table().contains("7F000001:0050 Masq 0");
        assert!(within(Duration::from_secs(3), is_draining), "{}", table());
        let begin = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let _stepped = Stepped::by(steps[0]);
        std::thread::sleep(Duration::from_secs(1));
        // Only the journal is left.
        daemon.signal(Signal::SIGKILL);
        assert!(is_signal(daemon.ended()));
        let _again = Stepped::by(steps[1]);
        let _daemon = host.watch("specs/spec.yaml", "--interval 1s");
        while begin.elapsed() < NEARLY {
            assert!(is_draining(), "{steps:?} after {:?}:\n{}", begin.elapsed(), table());
            std::thread::sleep(Duration::from_millis(20));
        }
        let is_over = || !table().contains("7F000001");
        assert!(within(SOON, is_over), "{steps:?}: {}", table());
        assert!(begin.elapsed() >= TIME, "{steps:?}: {:?}", begin.elapsed());
        host.wait_for_state("ok");
    }
}

#[test]
fn a_pause_lasts_as_long_as_requested_even_if_the_clock_is_set() {
    for (step, is_restarted) in [(HOUR, false), (HOUR, true), (-HOUR, false), (-HOUR, true)] {
        let host = Host::new();
        let mut daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
        let before = table();
        let begin = Instant::now();
        assert_eq!(host.evenkeel("pause 6s").0, 0);
        run("ipvsadm -D -t 192.0.2.1:80");
        let _stepped = Stepped::by(step);
        if is_restarted {
            daemon.signal(Signal::SIGKILL);
            assert!(is_signal(daemon.ended()));
            daemon = host.watch("specs/spec.yaml", "--interval 1s");
        }
        while begin.elapsed() < Duration::from_secs(5) {
            assert_eq!(table(), "", "{step} after {:?}", begin.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        let (_, stdout, _) = host.evenkeel("status");
        assert!(stdout.starts_with("paused"), "{stdout}");
        assert!(within(SOON, || table() == before), "{step}: {}", table());
        host.wait_for_state("ok");
        drop(daemon);
    }
}

#[test]
fn ages_in_the_status_do_not_follow_a_wall_clock_that_is_set() {
    for step in [HOUR, -HOUR] {
        let host = Host::new();
        let _daemon = host.watching(&spec("10.0.0.10"), "--interval 30s --listen 127.0.0.1:9479");
        std::thread::sleep(Duration::from_secs(3));
        let _stepped = Stepped::by(step);
        let status = host.status();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for place in ["/started", "/spec/active/since", "/last_pass/at", "/last_success"] {
            let at = status.pointer(place).unwrap().as_u64().unwrap();
            assert!((2..10).contains(&(now - at)), "{place}: {at} at {now}: {status:#}");
        }
        let (_, stdout, _) = host.evenkeel("status");
        let first = stdout.lines().next().unwrap();
        let (_, age) = first.rsplit_once(", for ").unwrap();
        assert!(["2s)", "3s)", "4s)", "5s)", "6s)", "7s)"].contains(&age), "{stdout}");
    }
}
