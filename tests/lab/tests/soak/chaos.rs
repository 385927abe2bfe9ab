//! Threads that disturb the daemon or query it continuously; each runs until it is stopped.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use evenkeel_lab_tests::endpoint::get;

use super::Shared;
use crate::disturbed::specs::VIP;
use crate::disturbed::table;
use evenkeel_lab_tests::dice::TestRng;

/// Longer than the daemon's interval; changes of addresses are reported to it anyway.
const AWAY: Duration = Duration::from_secs(3);

/// Changes the table, in scope, with `ipvsadm`.
pub(super) fn break_table(shared: &Shared, mut rng: TestRng) {
    while shared.run.is_running() {
        sleep(Duration::from_millis(rng.between(100, 500) as u64));
        if table::break_one(&mut rng) {
            shared.counts().breaks += 1;
        }
    }
}

/// Unbinds the VIP repeatedly, and measures how long it is missing.
pub(super) fn take_vip(shared: &Shared, mut rng: TestRng) {
    while shared.run.is_running() {
        sleep(Duration::from_millis(rng.between(700, 1300) as u64));
        let alone = shared.is_alone.load(Ordering::SeqCst);
        let Some(away) = taken_away() else { continue };
        let mut counts = shared.counts();
        counts.taken += 1;
        if alone {
            counts.away.push(away);
            if away > AWAY {
                drop(counts);
                shared.run.fail(format!("the VIP was away for {away:?}"));
            }
        }
    }
}

/// Returns how long the VIP was missing after it was unbound, or `None` if it was not bound.
fn taken_away() -> Option<Duration> {
    let taker = Command::new("ip")
        .args(["address", "delete", &format!("{VIP}/32"), "dev", "eth0"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut taker = taker.unwrap();
    let mut gone = None;
    // It may be bound again before the unbinding command has ended.
    while gone.is_none() && is_running(&mut taker) {
        if !is_here() {
            gone = Some(Instant::now());
        }
        sleep(Duration::from_micros(500));
    }
    let was_taken = taker.wait().unwrap().success();
    if gone.is_none() && !is_here() {
        gone = Some(Instant::now());
    }
    let Some(gone) = gone else { return was_taken.then_some(Duration::ZERO) };
    // In the first half the daemon may be down for a while, and nothing restores it.
    while !is_here() && gone.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(1));
    }
    was_taken.then(|| gone.elapsed())
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

/// A socket can be bound only to an address of the host.
fn is_here() -> bool {
    UdpSocket::bind((VIP, 0)).is_ok()
}

/// Requests every path of the HTTP endpoint.
pub(super) fn scrape(shared: &Shared) {
    while shared.run.is_running() {
        let alone = shared.is_alone.load(Ordering::SeqCst);
        for (path, codes) in [
            ("/metrics", &[200][..]),
            ("/status", &[200]),
            ("/readyz", &[200, 503]),
            ("/healthz", &[200]),
        ] {
            match get(path) {
                Some((code, body)) if codes.contains(&code) && !body.is_empty() => {
                    shared.counts().scrapes += 1;
                }
                None if !alone => {}
                answer => shared.run.fail(format!("{path} answers {answer:?}")),
            }
        }
        sleep(Duration::from_secs(1));
    }
}
