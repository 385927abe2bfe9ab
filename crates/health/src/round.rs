//! One round of a set of checks, without a daemon.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::check_id::CheckId;
use crate::checker::{Checkers, Probed};
use crate::environment::Environment;
use crate::job::Job;
use crate::outcome::Outcome;
use evenkeel_model::check::Target;
use evenkeel_model::check::{Check, KindName};

/// How often a check is made in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// Once.
    Once,
    /// Until it passes, by its fast interval, but at most as often as it takes to count as down.
    UntilDown,
}

/// The result of a check in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundReport {
    /// Which one.
    pub id: CheckId,
    /// What was probed.
    pub target: Target,
    /// How.
    pub kind: KindName,
    /// What the last probe found.
    pub outcome: Outcome,
    /// How long that one took.
    pub duration: Duration,
    /// How many there were.
    pub attempts: u32,
}

/// Makes all checks, so many at once, each one once however many jobs ask for it. Reports are in the order
/// of targets. It blocks until the last one has ended, and no program that a check started outlives it.
///
/// # Errors
/// If the kernel has nothing to wait for events with.
pub fn run_round(
    environment: Environment,
    jobs: Vec<Job>,
    limit: usize,
    attempts: Attempts,
) -> io::Result<Vec<RoundReport>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let jobs: BTreeMap<CheckId, Job> = jobs.into_iter().map(|it| (it.id(), it)).collect();
    let mut reports = runtime.block_on(async {
        let checkers = Checkers::new(environment);
        let places = Arc::new(Semaphore::new(limit.max(1)));
        let mut running = JoinSet::new();
        for (id, job) in jobs {
            let (checkers, places) = (checkers.clone(), places.clone());
            running.spawn(async move {
                let _place = places.acquire_owned().await;
                report(&checkers, id, &job, attempts).await
            });
        }
        let reports = running.join_all().await;
        checkers.have_ended().await;
        reports
    });
    reports.sort_by_key(|it| (it.target, it.kind, it.id));
    Ok(reports)
}

async fn report(checkers: &Checkers, id: CheckId, job: &Job, attempts: Attempts) -> RoundReport {
    let most = match attempts {
        Attempts::Once => 1,
        Attempts::UntilDown => job.check.fall.get(),
    };
    let mut made = 0;
    loop {
        let started = Instant::now();
        let Probed { outcome, duration, .. } = checkers.probe(job.target, &job.check).await;
        made += 1;
        if outcome.is_pass() || made >= most {
            let Check { kind, .. } = &job.check;
            let (target, kind) = (job.check.destination(job.target), kind.name());
            return RoundReport { id, target, kind, outcome, duration, attempts: made };
        }
        tokio::time::sleep(job.check.fast.saturating_sub(started.elapsed())).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::checker::test_servers::{LOOPBACKS, closed_port, environment, patient, tcp_server};
    use crate::outcome::Failure;
    use evenkeel_model::Verdict;
    use evenkeel_model::check::Kind;
    use evenkeel_model::check::TcpOptions;

    fn job(target: SocketAddr) -> Job {
        let options = TcpOptions { send: vec![], expect: Some(b"220".to_vec()) };
        let check = patient(Kind::Tcp(options));
        let check = Check { fast: Duration::from_millis(10), ..check };
        Job { target: target.into(), check, first: Verdict::Down }
    }

    /// A server that greets from the given connection on.
    fn greets_from(first: u32) -> (SocketAddr, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let at = tcp_server(LOOPBACKS[0], move |mut stream| {
            use std::io::Write;
            if counted.fetch_add(1, Ordering::SeqCst) >= first {
                let _ = stream.write_all(b"220 ready\r\n");
            }
        });
        (at, count)
    }

    #[test]
    fn each_check_is_made_once_however_many_ask_for_it() {
        let (server, count) = greets_from(0);
        let closed = closed_port(LOOPBACKS[1]);
        let jobs = vec![job(closed), job(server), job(server), job(server)];
        let reports = run_round(environment(), jobs, 2, Attempts::Once).unwrap();
        let outcomes: Vec<_> = reports.iter().map(|it| (it.target, it.outcome.clone())).collect();
        let refused = Failure::Refused.into();
        assert_eq!(outcomes, [(server.into(), Outcome::Passed), (closed.into(), refused)]);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn attempts_end_with_a_pass_or_with_as_many_failures_as_count() {
        let until_down = |target| {
            let reports =
                run_round(environment(), vec![job(target)], 9, Attempts::UntilDown).unwrap();
            (reports[0].outcome.clone(), reports[0].attempts)
        };
        assert_eq!(until_down(greets_from(1).0), (Outcome::Passed, 2));
        assert_eq!(until_down(greets_from(9).0), (Failure::Closed.into(), 3));
        let once =
            run_round(environment(), vec![job(greets_from(1).0)], 9, Attempts::Once).unwrap();
        assert_eq!(once[0].outcome, Failure::Closed.into());
    }

    #[test]
    fn many_checks_share_few_places() {
        let running = Arc::new(AtomicU32::new(0));
        let most = Arc::new(AtomicU32::new(0));
        let (now, highest) = (running.clone(), most.clone());
        let server = tcp_server(LOOPBACKS[0], move |mut stream| {
            use std::io::{Read, Write};
            highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            let _ = stream.write_all(b"220\r\n");
            let _ = stream.read(&mut [0]);
            now.fetch_sub(1, Ordering::SeqCst);
        });
        // The same server by many addresses.
        let jobs =
            (1..=60_u8).map(|it| job(SocketAddr::new([127, 0, 2, it].into(), server.port())));
        // It listens on one of them only: the others are refused, which takes no time.
        let jobs = jobs.chain((1..60_u64).map(|it| {
            let mut job = job(server);
            job.check.interval = Duration::from_secs(10 + it);
            job
        }));
        let reports = run_round(environment(), jobs.collect(), 4, Attempts::Once).unwrap();
        assert_eq!(reports.iter().filter(|it| it.outcome.is_pass()).count(), 59);
        // A server's thread may see its connection end a little later than the probe.
        assert!(most.load(Ordering::SeqCst) <= 8, "{most:?}");
    }
}
