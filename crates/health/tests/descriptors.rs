//! A process that has few file descriptors. The test is alone in its binary: the limit is the process's.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use evenkeel_health::{Attempts, Environment, Fault, Job, Outcome, probe_limit, run_round};
use evenkeel_model::Verdict;
use evenkeel_model::check::{Check, Kind, TcpOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

#[test]
fn a_thousand_checks_with_64_descriptors_take_nothing_out() {
    // Connections are accepted by the kernel, and take no descriptor of the server here.
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0).into()).unwrap();
    listener.listen(4096).unwrap();
    let target: SocketAddr = listener.local_addr().unwrap().as_socket().unwrap();
    let jobs: Vec<Job> = (0..1000)
        .map(|number| {
            let mut check = Check::new(Kind::Tcp(TcpOptions::default()));
            // So that they are different ones.
            check.interval += Duration::from_millis(number);
            check.timeout = Duration::from_secs(30);
            Job { target: target.into(), check, first: Verdict::Up }
        })
        .collect();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    assert_eq!(probe_limit(), 32);
    let round = |limit| {
        let environment = Environment::of_host(vec![]);
        run_round(environment, jobs.clone(), limit, Attempts::Once).unwrap()
    };
    let reports = round(probe_limit());
    assert_eq!(reports.len(), 1000);
    assert!(reports.iter().all(|it| it.outcome.is_pass()));
    // A round that ignores the limit finds out nothing, and reports no failure.
    let reports = round(1000);
    let unknown = Outcome::Unknown(Fault::Descriptors);
    assert!(reports.iter().all(|it| it.outcome.is_pass() || it.outcome == unknown));
    assert!(reports.iter().any(|it| it.outcome == unknown));
}
