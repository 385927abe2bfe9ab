use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::*;

/// Runs one of the `as_a_service` tests below in its own process with the environment of a service,
/// and returns the datagrams that it sent.
fn sent_by(test: &str, more: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut service = Command::new(std::env::current_exe().expect("the tests' program"));
    service.args(["--exact", "--ignored", &format!("systemd::tests::as_a_service::{test}")]);
    service.env("NOTIFY_SOCKET", &path).envs(more.iter().copied());
    // Read concurrently, since the kernel queues only a few datagrams.
    let end = UnixDatagram::unbound().expect("a socket");
    let reader = std::thread::spawn(move || {
        let mut datagrams = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let size = socket.recv(&mut buffer).expect("a datagram");
            match std::str::from_utf8(&buffer[..size]).expect("text") {
                END => return datagrams,
                text => datagrams.push(text.to_owned()),
            }
        }
    });
    let ended = service.output().expect("it runs");
    end.send_to(END.as_bytes(), &path).expect("it is sent");
    let message = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && message.contains("1 passed"), "{message}");
    reader.join().expect("datagrams")
}

/// Sent by the test itself when nothing more can arrive.
const END: &str = "the end";

#[test]
fn the_service_manager_is_notified_of_start_reload_and_stop() {
    let sent = sent_by("notifies_all", &[]);
    let [ready, status, reloading, again, stopping] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(ready, "READY=1\nSTATUS=ok: 3 services\n");
    assert_eq!(status, "STATUS=degraded READY=1 x\n");
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(reloading);
    assert!(time.trim_end().parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
    assert_eq!(again, "READY=1\nSTATUS=ok\n");
    assert_eq!(stopping, "STOPPING=1\n");
}

#[test]
fn watchdog_notifications_come_at_half_the_interval_while_the_reconciler_lives() {
    let sent = sent_by("lives_and_falls_silent", &[("WATCHDOG_USEC", "100000")]);
    // 300 ms at 50 ms each; the reconciler is alive in the first half only.
    assert!((3..=5).contains(&sent.len()), "{sent:?}");
    assert!(sent.iter().all(|datagram| datagram == "WATCHDOG=1\n"), "{sent:?}");
}

#[test]
fn no_keep_alives_are_sent_without_a_watchdog_for_this_process() {
    assert!(sent_by("lives", &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]).is_empty());
    assert!(sent_by("lives", &[("WATCHDOG_USEC", "0")]).is_empty());
    assert!(sent_by("lives", &[]).is_empty());
    assert!(!sent_by("lives", &[("WATCHDOG_USEC", "1000")]).is_empty());
}

#[test]
fn a_status_is_one_line_of_bounded_length() {
    assert_eq!(one_line("a\nREADY=1"), "a READY=1");
    assert_eq!(one_line(&"é".repeat(1000)).chars().count(), SHOWN);
}

/// Run by [`sent_by`]; they test nothing by themselves.
mod as_a_service {
    use super::*;

    #[test]
    #[ignore = "run by other tests in its own process"]
    fn notifies_all() {
        let notifier = Notifier::new();
        notifier.ready("ok: 3 services");
        notifier.status("degraded\nREADY=1\tx");
        notifier.reloading();
        notifier.ready("ok");
        notifier.stopping();
    }

    #[test]
    #[ignore = "run by other tests in its own process"]
    fn lives_and_falls_silent() {
        let patience = Duration::from_millis(170);
        keep_alive_for(Duration::from_millis(300), patience);
    }

    #[test]
    #[ignore = "run by other tests in its own process"]
    fn lives() {
        keep_alive_for(Duration::from_millis(20), Duration::from_secs(5));
    }

    fn keep_alive_for(time: Duration, patience: Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let notifier = Notifier::new();
        let alive = notifier.keep_alive(Arc::new(Liveness::new()), patience);
        let _ =
            runtime.expect("a runtime").block_on(async { tokio::time::timeout(time, alive).await });
    }
}
