//! The client and the server together.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::abstract_socket::Name;
use crate::claim::{Role, may_claim};
use crate::event_publisher::EventPublisher;
use crate::test_fixtures;
use crate::{Answer, AskError, BindError, Client, Command, Request, Server, Status};

mod subscription;

const LONG: Duration = Duration::from_secs(30);

fn ask(role: Role, request: &Request) -> Result<Answer, AskError> {
    Client::of_role(role, LONG).ask(request)
}

fn connect(role: Role) -> UnixStream {
    let name = role.holders().expect("a list").pop().expect("it runs");
    let stream = Name::stream().expect("a socket");
    name.connect(stream, LONG).expect("it can be reached").expect("it listens")
}

/// The role of the daemon of one test; `None` where this process may claim none.
fn role(of: &str) -> Option<Role> {
    may_claim().then(|| Role::DAEMON.for_test(of))
}

/// Starts a daemon on its own thread, which runs until the test process ends.
fn daemon(
    role: Role,
    events: EventPublisher,
    reconciler: impl Fn(Command) + Send + Sync + 'static,
) -> watch::Sender<Arc<Status>> {
    let server = Server::of_role(role).expect("the name is free");
    let (sender, receiver) = watch::channel(Arc::new(test_fixtures::status()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    std::thread::spawn(move || runtime.block_on(server.serve(receiver, events, reconciler)));
    sender
}

/// Starts a daemon whose reconciler records every request and accepts it.
fn accepted(role: Role) -> Arc<Mutex<Vec<Request>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&asked);
    daemon(role, EventPublisher::new(), move |Command { request, reply }| {
        recorded.lock().expect("a list").push(request);
        reply.send(Answer::Done("it is done".into())).expect("the client waits");
    });
    asked
}

/// The answer on a connection, without its version.
fn answer(stream: UnixStream) -> Answer {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    let message: serde_json::Value = serde_json::from_str(&line).expect(&line);
    assert_eq!(message["version"], 1, "{line}");
    serde_json::from_value(message["answer"].clone()).expect(&line)
}

#[test]
fn the_status_is_answered_without_the_reconciler() {
    let Some(role) = role("status") else { return };
    let sender = daemon(role, EventPublisher::new(), |_| panic!("the reconciler got a command"));
    let expect = |status| {
        assert_eq!(
            ask(role, &Request::Status).expect("an answer"),
            Answer::Status(Box::new(status))
        )
    };
    expect(test_fixtures::status());
    sender.send_modify(|status| Arc::make_mut(status).reasons.push("a\nreason".into()));
    expect(Status { reasons: vec!["a\nreason".into()], ..test_fixtures::status() });
}

#[test]
fn every_command_reaches_the_reconciler_unchanged() {
    let Some(role) = role("commands") else { return };
    let asked = accepted(role);
    let requests = [
        Request::Approve { id: "a\"b\n".into() },
        Request::Pause { seconds: Some(u64::MAX) },
        Request::Pause { seconds: None },
        Request::Resume,
        Request::MayApply { sources: vec!["/etc/evenkeel".into(), "/srv/x y".into()] },
    ];
    for request in &requests {
        let answer = ask(role, request).expect("an answer");
        assert_eq!(answer, Answer::Done("it is done".into()));
    }
    assert_eq!(*asked.lock().expect("a list"), requests);
}

#[test]
fn without_a_listener_there_is_no_daemon() {
    let answer = ask(Role::DAEMON.for_test("no-daemon"), &Request::Resume);
    assert!(matches!(answer, Err(AskError::NoDaemon)), "{answer:?}");
}

#[test]
fn a_second_daemon_is_refused_with_the_first_ones_name() {
    let Some(role) = role("second") else { return };
    let daemon = Server::of_role(role).expect("the name is free");
    let refusal = Server::of_role(role).expect_err("it is taken").to_string();
    let first =
        format!("another daemon manages this network namespace: process {} ", std::process::id());
    assert!(refusal.starts_with(&first), "{refusal}");
    drop(daemon);
    assert!(Server::of_role(role).is_ok());
}

#[test]
fn a_malformed_request_is_refused_with_the_reason() {
    let Some(role) = role("malformed") else { return };
    let asked = accepted(role);
    let refused = |sent: &[u8], why: &str| {
        let mut stream = connect(role);
        // The daemon may have refused and closed it already.
        let _ = stream.write_all(sent);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        match answer(stream) {
            Answer::Refused(message) => assert!(message.contains(why), "{message}"),
            answer => panic!("{answer:?}"),
        }
    };
    refused(b"", "must be one line");
    refused(b"\"resume\"", "must be one line");
    refused(b"\n", "invalid request");
    refused(b"\xff\xfe\n", "invalid request");
    refused(b"{\"approve\":{\"id\":\"x\",\"force\":true}}\n", "invalid request");
    refused(b"\"resume\" \"resume\"\n", "invalid request");
    refused(&vec![b' '; 1024 * 1024], "must be one line");
    assert_eq!(*asked.lock().expect("a list"), []);
    ask(role, &Request::Resume).expect("it still answers");
}

#[test]
fn silent_clients_block_no_others_and_are_disconnected() {
    let Some(role) = role("silent") else { return };
    accepted(role);
    let began = Instant::now();
    let mut silent: Vec<_> = (0..10).map(|_| connect(role)).collect();
    ask(role, &Request::Resume).expect("an answer");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let mut line = String::new();
    silent[0].read_to_string(&mut line).expect("an answer");
    assert!(line.contains("no request arrived in time"), "{line}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_reconciler_that_ended_is_reported() {
    let Some(role) = role("gone") else { return };
    daemon(role, EventPublisher::new(), drop);
    let answer = ask(role, &Request::Resume).expect("an answer");
    assert_eq!(answer, Answer::Refused("the daemon is stopping".into()));
}

#[test]
fn waiting_for_an_answer_times_out() {
    let Some(role) = role("mute") else { return };
    let claim = role.claim().expect("it can be made").expect("it is free");
    let listener = claim.listener().try_clone().expect("a descriptor");
    let client = Client::of_role(role, Duration::from_millis(100));
    let failed = |message: &str| match client.ask(&Request::Status) {
        Err(AskError::Failed(error)) => assert!(error.to_string().contains(message), "{error}"),
        answer => panic!("{answer:?}"),
    };
    failed("no answer in time");
    std::thread::spawn(move || {
        for answer in [&b""[..], b"{\"done\":", b"{\"done\":7}\n"] {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).expect("a request");
            // The first in the queue is the client that has timed out.
            let _ = stream.write_all(answer);
        }
    });
    failed("the answer is incomplete");
    failed("invalid type");
}

/// Runs as root only: it starts processes as another user.
#[test]
fn peers_without_privileges_can_neither_be_the_daemon_nor_command_it() {
    let (Some(own), Some(other)) = (role("daemon-of-root"), role("no-daemon-of-others")) else {
        return;
    };
    if rustix::process::geteuid().as_raw() != 0 {
        return;
    }
    let asked = accepted(own);
    // Another user, and root without capabilities.
    for (test, role, is_root) in [
        ("is_refused", own, false),
        ("may_only_read", own, true),
        ("cannot_be_the_daemon", other, false),
        ("cannot_be_the_daemon", other, true),
    ] {
        let mut command = std::process::Command::new("setpriv");
        match is_root {
            true => command.args(["--bounding-set=-all", "--inh-caps=-all"]),
            false => command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]),
        };
        command.arg(std::env::current_exe().expect("a program"));
        command.args(["--exact", "--ignored", "--nocapture"]);
        command.arg(format!("tests::without_privileges::{test}"));
        command.env("EVENKEEL_TEST_PART", role.part().to_string());
        let ended = command.output().expect("it runs");
        let message = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && message.contains("1 passed"), "{test}: {message}");
    }
    assert_eq!(*asked.lock().expect("a list"), []);
}

/// Run by the test above without privileges; they test nothing by themselves.
mod without_privileges {
    use super::*;

    fn given_role() -> Role {
        let part = std::env::var("EVENKEEL_TEST_PART").expect("a number");
        Role::DAEMON.with_part(part.parse().expect("a number"))
    }

    fn assert_refused(request: &Request, why: &str) {
        match ask(given_role(), request).expect("an answer") {
            Answer::Refused(message) => assert!(message.contains(why), "{message}"),
            answer => panic!("{answer:?}"),
        }
    }

    #[test]
    #[ignore = "run by another test, as another user"]
    fn is_refused() {
        for request in [Request::Status, Request::Resume] {
            assert_refused(&request, "user 65534 is not permitted");
        }
    }

    #[test]
    #[ignore = "run by another test, as root without capabilities"]
    fn may_only_read() {
        let answer = ask(given_role(), &Request::Status).expect("an answer");
        assert!(matches!(answer, Answer::Status(_)), "{answer:?}");
        let sources = Vec::new();
        let pause = Request::Pause { seconds: None };
        for request in [Request::Resume, pause, Request::MayApply { sources }] {
            assert_refused(&request, "only processes with CAP_NET_ADMIN");
        }
    }

    #[test]
    #[ignore = "run by another test, as another user"]
    fn cannot_be_the_daemon() {
        let refused = Server::of_role(given_role()).expect_err("it is not permitted");
        let BindError::Failed(error) = refused else { panic!("{refused}") };
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        let answer = ask(given_role(), &Request::Status);
        assert!(matches!(answer, Err(AskError::NoDaemon)), "{answer:?}");
    }
}

#[test]
fn clients_that_may_only_read_take_no_places_from_those_that_may_command() {
    let Some(role) = role("places") else { return };
    let asked = accepted(role);
    let mut idle: Vec<UnixStream> = Vec::new();
    let is_answered = |mut idle: &UnixStream| idle.read(&mut [0]).is_ok();
    while !idle.iter().any(is_answered) {
        let stream = connect(role);
        stream.set_nonblocking(true).expect("a socket");
        idle.push(stream);
        assert!(idle.len() < 1_000, "no client is refused");
    }
    ask(role, &Request::Resume).expect("an answer");
    assert_eq!(*asked.lock().expect("a list"), [Request::Resume]);
    // The others, which send nothing for some seconds, have their places still.
    let admitted = idle.iter().filter(|idle| !is_answered(idle)).count();
    assert_eq!(admitted, crate::server::CONNECTIONS);
}
