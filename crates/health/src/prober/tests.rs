use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::*;
use crate::batch::{Change, Report};
use crate::checker::test_servers::{LOOPBACKS, environment, tcp_server};
use crate::clock::Moment;
use crate::hysteresis::{Basis, Hysteresis};
use crate::outcome::{Failure, Fault, Outcome};
use crate::routes::NoRoutes;
use crate::stored::StoredVerdict;
use evenkeel_model::Verdict;
use evenkeel_model::check::TcpOptions;
use evenkeel_model::check::{Check, Kind};

/// A server that greets while it is well, and counts connections.
struct Server {
    at: SocketAddr,
    is_well: Arc<AtomicBool>,
    probes: Arc<AtomicUsize>,
}

fn server() -> Server {
    let (is_well, probes) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (well, count) = (is_well.clone(), probes.clone());
    let at = tcp_server(LOOPBACKS[0], move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        if well.load(Ordering::SeqCst) {
            let _ = stream.write_all(b"220\r\n");
        }
    });
    Server { at, is_well, probes }
}

fn check() -> Check {
    let options = TcpOptions { send: vec![], expect: Some(b"220".to_vec()) };
    Check {
        interval: Duration::from_millis(50),
        fast: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
        ..Check::new(Kind::Tcp(options))
    }
}

fn job(at: SocketAddr, first: Verdict) -> Job {
    Job { target: at.into(), check: check(), first }
}

/// A host with one link, which may be down.
#[derive(Debug)]
struct OneLink(Arc<AtomicBool>);

impl Routes for OneLink {
    fn learn(&mut self, _: std::net::IpAddr, _: Moment) {}

    fn is_cut_off(&mut self, _: std::net::IpAddr, _: Moment) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A prober with what it has reported.
struct Probed {
    prober: Prober,
    batches: Receiver<Batch>,
    reports: HashMap<CheckId, Report>,
    changes: Vec<Change>,
}

impl Probed {
    fn start(stored: Vec<StoredVerdict>, limit: usize) -> Self {
        Self::start_with(stored, limit, Box::new(NoRoutes))
    }

    fn start_with(stored: Vec<StoredVerdict>, limit: usize, routes: Box<dyn Routes>) -> Self {
        let (sender, batches) = sync_channel(1);
        let options =
            ProberOptions { environment: environment(), limit: Some(limit), stored, routes };
        let prober = Prober::start(options, channel_sink(sender, |it| it, Some)).unwrap();
        Self { prober, batches, reports: HashMap::new(), changes: Vec::new() }
    }

    /// Takes batches until something is true.
    fn until(&mut self, what: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !what(self) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", self.reports);
            if let Ok(batch) = self.batches.recv_timeout(Duration::from_millis(100)) {
                self.changes.extend(batch.changes);
                self.reports.extend(batch.reports.into_iter().map(|it| (it.id, it)));
                batch.removed.iter().for_each(|it| drop(self.reports.remove(it)));
            }
        }
    }

    fn verdict(&self, id: CheckId) -> Option<Verdict> {
        self.reports.get(&id).map(|it| it.state.verdict())
    }
}

#[test]
fn verdicts_follow_a_server() {
    let server = server();
    let one = job(server.at, Verdict::Down);
    let id = one.id();
    let mut probed = Probed::start(vec![], 10);
    probed.prober.set(vec![one]);
    probed.until(|it| it.verdict(id) == Some(Verdict::Up));
    assert_eq!(probed.changes.len(), 1);
    server.is_well.store(false, Ordering::SeqCst);
    probed.until(|it| it.verdict(id) == Some(Verdict::Down));
    let change = probed.changes.last().unwrap();
    assert_eq!(change.transition.failure, Some(Failure::Closed));
    assert_eq!(change.target, server.at.into());
    assert!(probed.reports[&id].state.failures() >= 3);
    server.is_well.store(true, Ordering::SeqCst);
    probed.until(|it| it.verdict(id) == Some(Verdict::Up));
    assert_eq!(probed.changes.len(), 3);
    let counts = probed.reports[&id].counts;
    assert!(counts.passed >= 3 && counts.failed >= 3 && counts.unknown == 0, "{counts:?}");
    probed.prober.set(vec![]);
    probed.until(|it| it.reports.is_empty());
    assert!(probed.prober.is_running());
    assert!(Moment::now().since(probed.prober.last_turn()) < Duration::from_secs(5));
}

#[test]
fn all_services_of_a_server_share_its_probe() {
    let server = server();
    let mut one = job(server.at, Verdict::Down);
    one.check.interval = Duration::from_secs(60);
    let id = one.id();
    let mut probed = Probed::start(vec![], 10);
    probed.prober.set(vec![one; 50]);
    probed.until(|it| it.verdict(id) == Some(Verdict::Up));
    assert_eq!((probed.reports.len(), server.probes.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn a_link_that_is_down_takes_nothing_out() {
    let server = server();
    let one = job(server.at, Verdict::Up);
    let id = one.id();
    let is_down = Arc::new(AtomicBool::new(true));
    let mut probed = Probed::start_with(vec![], 10, Box::new(OneLink(is_down.clone())));
    server.is_well.store(false, Ordering::SeqCst);
    probed.prober.set(vec![one]);
    probed.until(|it| it.reports.get(&id).is_some_and(|it| it.counts.unknown >= 5));
    let report = &probed.reports[&id];
    assert_eq!((report.counts.failed, report.state.verdict()), (0, Verdict::Up));
    assert_eq!(report.last.as_ref().unwrap().outcome, Fault::LinkDown.into());
    is_down.store(false, Ordering::SeqCst);
    probed.until(|it| it.verdict(id) == Some(Verdict::Down));
}

#[test]
fn a_restart_continues_with_the_verdicts_of_before() {
    let server = server();
    let one = job(server.at, Verdict::Up);
    let id = one.id();
    let rare = Check { interval: Duration::from_secs(60), ..check() };
    let other = Job { check: rare, ..job(server.at, Verdict::Up) };
    let mut probed = Probed::start(vec![], 10);
    server.is_well.store(false, Ordering::SeqCst);
    probed.prober.set(vec![one.clone()]);
    probed.until(|it| it.verdict(id) == Some(Verdict::Down));
    let stored: Vec<_> = probed.reports.values().map(Report::to_stored).collect();
    let since = stored[0].state.since();
    drop(probed);
    // The kernel may still have it, so it would be assumed up.
    let mut probed = Probed::start(stored, 10);
    // The spec may be read later.
    probed.prober.set(vec![]);
    probed.prober.set(vec![one]);
    probed.until(|it| it.verdict(id).is_some());
    let state = &probed.reports[&id].state;
    assert_eq!((state.verdict(), state.since()), (Verdict::Down, since));
    assert_eq!(state.basis(), Basis::Probed);
    // A changed check keeps the verdict.
    let id = other.id();
    probed.prober.set(vec![other]);
    probed.until(|it| it.verdict(id).is_some());
    assert_eq!(probed.reports.len(), 1);
    let state = &probed.reports[&id].state;
    assert_eq!((state.verdict(), state.since()), (Verdict::Down, since));
    assert!(probed.changes.is_empty());
}

#[test]
fn a_failure_in_progress_is_neither_lost_nor_invented_by_a_restart() {
    let server = server();
    server.is_well.store(false, Ordering::SeqCst);
    let mut one = job(server.at, Verdict::Up);
    // Nothing more is probed once it is down.
    one.check.interval = Duration::from_secs(60);
    for failures in 0..=2_u32 {
        let mut state = Hysteresis::assumed(Verdict::Up, Moment::now());
        state.record(&one.check, Moment::now(), &Outcome::Passed);
        for _ in 0..failures {
            state.record(&one.check, Moment::now(), &Failure::Refused.into());
        }
        let id = one.id();
        let kind = one.check.kind.name();
        let stored = StoredVerdict { id, target: one.target, kind, state };
        let mut probed = Probed::start(vec![stored], 10);
        probed.prober.set(vec![one.clone()]);
        probed.until(|it| it.verdict(id) == Some(Verdict::Down));
        let counts = probed.reports[&id].counts;
        assert_eq!(counts.failed, u64::from(3 - failures), "{counts:?}");
    }
}

#[test]
fn a_receiver_that_takes_nothing_holds_up_no_probe_and_misses_no_change() {
    let server = server();
    let flips = Check { rise: NonZeroU32::MIN, fall: NonZeroU32::MIN, ..check() };
    let one = Job { check: flips, ..job(server.at, Verdict::Down) };
    let id = one.id();
    let mut probed = Probed::start(vec![], 10);
    probed.prober.set(vec![one]);
    for wanted in [2, 4, 6, 8] {
        let begun = Instant::now();
        while server.probes.load(Ordering::SeqCst) < wanted * 3 {
            assert!(begun.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(1));
        }
        server.is_well.fetch_xor(true, Ordering::SeqCst);
    }
    probed.until(|it| it.changes.len() >= 5);
    let verdicts: Vec<_> = probed.changes.iter().map(|it| it.transition.to).collect();
    assert_eq!(verdicts[..3], [Verdict::Up, Verdict::Down, Verdict::Up]);
    assert!(verdicts.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(probed.reports.contains_key(&id));
}

#[test]
fn more_checks_than_places_are_late_and_never_failures() {
    let server = server();
    let jobs: Vec<Job> = (0..120_u64)
        .map(|it| {
            let mut job = job(server.at, Verdict::Up);
            job.check.interval = Duration::from_millis(100 + it);
            job.check.timeout = Duration::from_secs(8);
            job
        })
        .collect();
    let mut probed = Probed::start(vec![], 4);
    probed.prober.set(jobs);
    probed
        .until(|it| it.reports.len() == 120 && it.reports.values().all(|it| it.counts.passed >= 2));
    assert!(probed.changes.is_empty());
    let sum = |count: fn(&Report) -> u64| probed.reports.values().map(count).sum::<u64>();
    assert_eq!(sum(|it| it.counts.failed), 0);
    assert_eq!(sum(|it| it.counts.unknown), 0);
}

#[test]
fn the_limit_leaves_descriptors_for_all_else() {
    let limit = probe_limit();
    assert!((1..=4096).contains(&limit));
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(limit as u64 <= descriptors.div_ceil(2));
}
