//! Probes: one file for each kind of check, and what they share. They run on the event loop of the caller.

mod connect;
mod dns;
mod exec;
mod file;
mod grpc;
mod http;
mod http_exchange;
mod icmp;
mod problem;
mod reply;
mod tcp;
#[cfg(test)]
pub(crate) mod test_servers;
mod tls;
mod tls_config;
mod udp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::outcome::{Failure, Fault, Outcome, Stage};
use evenkeel_model::check::Target;
use evenkeel_model::check::{Check, Kind};

use exec::ExecSlots;
use icmp::IcmpSockets;
use problem::Problem;
use tls_config::TlsConfigs;

/// How late a deadline may be noticed and still be the target's failure, unless a quarter of the timeout is
/// more. A loop that is later than that may also have been late to read the answer.
const TOLERANCE: Duration = Duration::from_millis(100);

/// A probe that has ended.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
    /// How long it waited for a place before that.
    pub(crate) waited: Duration,
}

/// What probes share: sockets, TLS configurations, places for programs.
#[derive(Debug)]
pub(crate) struct Checkers {
    environment: Environment,
    icmp: IcmpSockets,
    tls: TlsConfigs,
    exec: ExecSlots,
}

/// What a probe is doing, for the reason of a timeout.
#[derive(Debug)]
pub(crate) struct Progress(AtomicU8);

impl Checkers {
    pub(crate) fn new(environment: Environment) -> Arc<Self> {
        Arc::new(Self {
            tls: TlsConfigs::new(&environment),
            environment,
            icmp: IcmpSockets::default(),
            exec: ExecSlots::default(),
        })
    }

    /// Waits for the programs of probes whose time has ended.
    pub(crate) async fn have_ended(&self) {
        self.exec.are_empty().await;
    }

    /// Makes one probe. The deadline covers all of it, except waiting for a place among the programs.
    pub(crate) async fn probe(&self, target: Target, check: &Check) -> Probed {
        let asked = Instant::now();
        let place = match &check.kind {
            Kind::Exec(_) => match self.exec.place(check.interval.max(check.timeout)).await {
                Ok(place) => Some(place),
                Err(fault) => {
                    let waited = asked.elapsed();
                    return Probed { outcome: fault.into(), duration: Duration::ZERO, waited };
                }
            },
            _ => None,
        };
        let started = Instant::now();
        let progress = Progress::new(match check.kind {
            Kind::Exec(_) => Stage::Program,
            Kind::Udp(_) | Kind::Icmp | Kind::Dns(_) => Stage::Reply,
            _ => Stage::Connect,
        });
        let destination = check.destination(target).into();
        // Large futures are boxed, so that those of other kinds, of which there are many, stay small.
        let exchange = async {
            match &check.kind {
                Kind::Tcp(options) => tcp::probe(options, destination, check, &progress).await,
                Kind::Udp(options) => udp::probe(options, destination, check).await,
                Kind::Icmp => self.icmp.probe(target.address, check.source).await,
                Kind::File(options) => file::probe(options, &self.environment.file_directory),
                Kind::Dns(options) => Box::pin(dns::probe(options, destination, check)).await,
                Kind::Http(options) => {
                    Box::pin(http::probe(options, destination, check, &self.tls, &progress)).await
                }
                Kind::Tls(options) => {
                    Box::pin(tls::probe(options, destination, check, &self.tls, &progress)).await
                }
                Kind::Grpc(options) => {
                    Box::pin(grpc::probe(options, destination, check, &self.tls, &progress)).await
                }
                Kind::Exec(options) => {
                    let place = place.expect("programs have a place");
                    let (target, exec) = (check.destination(target), &self.environment.exec);
                    Box::pin(exec::probe(options, target, check.timeout, exec, place)).await
                }
            }
        };
        let result = tokio::time::timeout(check.timeout, exchange).await;
        let duration = started.elapsed();
        let outcome = match result {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(Problem::Failure(failure))) => failure.into(),
            Ok(Err(Problem::Fault(fault))) => fault.into(),
            Err(_) => at_deadline(check, progress.stage(), duration),
        };
        Probed { outcome, duration, waited: started.duration_since(asked) }
    }
}

/// The outcome of a probe that the deadline ended.
fn at_deadline(check: &Check, stage: Stage, duration: Duration) -> Outcome {
    let late = duration.saturating_sub(check.timeout);
    if late > TOLERANCE.max(check.timeout / 4) {
        return Fault::Late { by: late }.into();
    }
    match &check.kind {
        Kind::Udp(options) if options.expect.is_none() => Outcome::Passed,
        _ => Failure::Timeout { stage, after: check.timeout }.into(),
    }
}

impl Progress {
    fn new(stage: Stage) -> Self {
        let progress = Self(AtomicU8::new(0));
        progress.reaches(stage);
        progress
    }

    fn reaches(&self, stage: Stage) {
        let number = match stage {
            Stage::Connect => 0,
            Stage::Handshake => 1,
            Stage::Send => 2,
            Stage::Reply => 3,
            Stage::Program => 4,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    fn stage(&self) -> Stage {
        match self.0.load(Ordering::Relaxed) {
            0 => Stage::Connect,
            1 => Stage::Handshake,
            2 => Stage::Send,
            3 => Stage::Reply,
            _ => Stage::Program,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::check::{TcpOptions, UdpOptions};

    #[test]
    fn a_deadline_noticed_late_is_no_failure_of_the_target() {
        let check = Check::new(Kind::Tcp(TcpOptions::default()));
        let after = |millis| at_deadline(&check, Stage::Connect, Duration::from_millis(millis));
        let timeout = Failure::Timeout { stage: Stage::Connect, after: check.timeout };
        assert_eq!(after(1001), timeout.clone().into());
        assert_eq!(after(1250), timeout.into());
        assert_eq!(after(1251), Fault::Late { by: Duration::from_millis(251) }.into());
    }

    #[test]
    fn a_loop_that_is_held_up_takes_nothing_out() {
        let silent = test_servers::tcp_server(test_servers::LOOPBACKS[0], |stream| {
            std::thread::sleep(Duration::from_secs(1));
            drop(stream);
        });
        let expect = Some(b"220".to_vec());
        let check = test_servers::quick(Kind::Tcp(TcpOptions { send: vec![], expect }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let checkers = Checkers::new(test_servers::environment());
            tokio::spawn(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                std::thread::sleep(Duration::from_millis(500));
            });
            checkers.probe(silent.into(), &check).await.outcome
        });
        assert!(matches!(outcome, Outcome::Unknown(Fault::Late { .. })), "{outcome:?}");
    }

    #[test]
    fn silence_passes_where_no_answer_is_expected() {
        let udp = |expect| Check::new(Kind::Udp(UdpOptions { send: vec![], expect }));
        let at = Duration::from_secs(1);
        assert_eq!(at_deadline(&udp(None), Stage::Reply, at), Outcome::Passed);
        assert!(matches!(
            at_deadline(&udp(Some(vec![])), Stage::Reply, at),
            Outcome::Failed(Failure::Timeout { stage: Stage::Reply, .. })
        ));
        assert!(matches!(at_deadline(&udp(None), Stage::Reply, at * 2), Outcome::Unknown(_)));
    }
}
