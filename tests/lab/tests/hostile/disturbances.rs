//! Disturbances of the daemon and of what it uses; those of links and addresses are in [`super::network`]. Each is a
//! function that runs on a thread of its own until the run is over, and then leaves all as it was.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::clock::Stepped;
use evenkeel_lab_tests::descriptors::FewDescriptors;
use evenkeel_lab_tests::dice::TestRng;
use evenkeel_lab_tests::disk::SmallDisk;
use evenkeel_lab_tests::endpoint::{ENDPOINT, get};
use nix::sys::signal::Signal;

use super::Host;
use super::timeline::Disturbance;
use crate::disturbed::specs::{Kind, Writer};
use crate::disturbed::table;
use crate::squatters::Squatter;

/// Clients that connect and send nothing: more than the daemon serves at a time.
const IDLE: usize = 200;

/// The most descriptors that a daemon with few of them may still open.
const FEW: usize = 8;

/// Fills the disk of the state directory, and makes room again.
pub(super) fn fill_disk(host: &Host<'_>, mut rng: TestRng, disk: &SmallDisk) {
    while host.pause(&mut rng, 2_000..=6_000) {
        let _during = host.timeline.during(Disturbance::FullDisk);
        let ballast = disk.fill();
        host.pause(&mut rng, 1_000..=4_000);
        fs::remove_file(ballast).unwrap();
    }
}

/// Does not read the log, and reads it again.
pub(super) fn hold_log(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 5_000..=15_000) {
        let _during = host.timeline.during(Disturbance::LogNotRead);
        host.daemon.hold_log(true);
        host.pause(&mut rng, 2_000..=6_000);
        host.daemon.hold_log(false);
    }
}

/// Leaves the daemon few descriptors, and gives them back.
pub(super) fn limit_descriptors(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 4_000..=10_000) {
        let few = FewDescriptors::leave(host.daemon.pid(), rng.between(0, FEW));
        let during = host.timeline.during(Disturbance::FewDescriptors);
        host.pause(&mut rng, 1_000..=3_000);
        drop(few);
        drop(during);
    }
}

/// Holds all names and ports that a process without privileges can hold, but for the endpoint's.
pub(super) fn squat(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 3_000..=8_000) {
        let _during = host.timeline.during(Disturbance::Squatters);
        let squatting = rng.one_of(&Squatter::ALL).start_without_port();
        host.pause(&mut rng, 15_000..=40_000);
        drop(squatting);
    }
}

/// Steps the wall clock, and steps it back.
pub(super) fn step_clock(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 3_000..=10_000) {
        let _during = host.timeline.during(Disturbance::ClockStep);
        let seconds = i64::try_from(rng.between(1, 7_200)).unwrap();
        let _stepped = Stepped::by(if rng.percent(50) { seconds } else { -seconds });
        host.pause(&mut rng, 200..=3_000);
    }
}

/// Stops the process, and continues it.
pub(super) fn stop(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 10_000..=25_000) {
        let during = host.timeline.during(Disturbance::Stop);
        host.daemon.stopped(|| {
            host.pause(&mut rng, 100..=1_200);
        });
        drop(during);
    }
}

/// Sends SIGHUP.
pub(super) fn reload(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 2_000..=6_000) {
        let _during = host.timeline.during(Disturbance::Reload);
        host.daemon.signal(Signal::SIGHUP);
    }
}

/// Writes version after version of the spec, good and bad ones, in place and at once, some with SIGHUP half-way.
pub(super) fn rewrite(host: &Host<'_>, mut rng: TestRng, writer: &mut Writer) {
    while host.pause(&mut rng, 400..=1_500) {
        let (kind, text) = writer.next();
        host.count(match kind {
            Kind::Good => "good versions of the spec",
            _ => "bad versions of the spec",
        });
        match rng.below(10) {
            0 => {
                let _during = host.timeline.during(Disturbance::ReloadInRewrite);
                host.fixture.overwrite(&text, || {
                    host.pause(&mut rng, 0..=300);
                    host.daemon.signal(Signal::SIGHUP);
                    host.pause(&mut rng, 0..=600);
                });
            }
            1 | 2 => {
                let _during = host.timeline.during(Disturbance::Rewrite);
                host.fixture.overwrite(&text, || {
                    host.pause(&mut rng, 0..=100);
                });
            }
            _ => {
                let _during = host.timeline.during(Disturbance::Rewrite);
                host.fixture.replace(&text);
            }
        }
    }
}

/// Changes the table.
pub(super) fn edit_table(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 500..=2_000) {
        let _during = host.timeline.during(Disturbance::ForeignEdit);
        if table::break_one(&mut rng) {
            host.count("breaks of the table");
        }
    }
}

/// Keeps connections to the endpoint that send nothing, and opens them again when the daemon closes them.
pub(super) fn idle(host: &Host<'_>, mut rng: TestRng) {
    let endpoint: SocketAddr = ENDPOINT.parse().unwrap();
    let mut clients: Vec<TcpStream> = Vec::new();
    loop {
        clients.retain_mut(|client| {
            let read = client.read(&mut [0; 16]);
            read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        while clients.len() < IDLE && host.run.is_running() {
            let connected = TcpStream::connect_timeout(&endpoint, Duration::from_millis(100));
            let Ok(client) = connected else { break };
            client.set_nonblocking(true).unwrap();
            clients.push(client);
            host.count("idle connections");
        }
        if !host.pause(&mut rng, 3_000..=6_000) {
            return;
        }
    }
}

/// Requests the status and the metrics, and checks that no loss of a VIP is a conflict.
pub(super) fn scrape(host: &Host<'_>, mut rng: TestRng) {
    while host.pause(&mut rng, 2_000..=5_000) {
        let _during = host.timeline.during(Disturbance::Scrape);
        for path in ["/status", "/metrics", "/healthz"] {
            let begin = Instant::now();
            let answer = get(path);
            let is_absent = host.timeline.is_absent(begin, Instant::now());
            match answer {
                Some((200, body)) if path == "/status" => host.check_conflicts(&body),
                Some((200, _)) => {}
                // A daemon without descriptors accepts no client.
                None => {
                    host.count("requests without an answer");
                    continue;
                }
                Some(_) if is_absent => {}
                Some((code, body)) => host.run.fail(format!("{path} answers {code}: {body}")),
            }
            host.count("answers to requests");
        }
    }
}
