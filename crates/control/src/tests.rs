//! The client and the server together.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::abstract_socket::Name;
use crate::event_publisher::EventPublisher;
use crate::test_fixtures;
use crate::{Answer, AskError, Client, Command, Request, Server, Status};

mod subscription;

const LONG: Duration = Duration::from_secs(30);

fn ask(name: &Name, request: &Request) -> Result<Answer, AskError> {
    Client::with_name(name, LONG).ask(request)
}

fn connect(name: &Name) -> UnixStream {
    name.connect(LONG).expect("it can be reached").expect("it listens")
}

/// Starts a daemon on its own thread, which runs until the test process ends.
fn daemon(
    name: &Name,
    events: EventPublisher,
    reconciler: impl Fn(Command) + Send + Sync + 'static,
) -> watch::Sender<Arc<Status>> {
    let server = Server::with_name(name).expect("the name is free");
    let (sender, receiver) = watch::channel(Arc::new(test_fixtures::status()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    std::thread::spawn(move || runtime.block_on(server.serve(receiver, events, reconciler)));
    sender
}

/// Starts a daemon whose reconciler records every request and accepts it.
fn accepted(name: &Name) -> Arc<Mutex<Vec<Request>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&asked);
    daemon(name, EventPublisher::new(), move |Command { request, reply }| {
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
    let name = Name::for_test("status");
    let sender = daemon(&name, EventPublisher::new(), |_| panic!("the reconciler got a command"));
    let expect = |status| {
        assert_eq!(
            ask(&name, &Request::Status).expect("an answer"),
            Answer::Status(Box::new(status))
        )
    };
    expect(test_fixtures::status());
    sender.send_modify(|status| Arc::make_mut(status).reasons.push("a\nreason".into()));
    expect(Status { reasons: vec!["a\nreason".into()], ..test_fixtures::status() });
}

#[test]
fn every_command_reaches_the_reconciler_unchanged() {
    let name = Name::for_test("commands");
    let asked = accepted(&name);
    let requests = [
        Request::Approve { id: "a\"b\n".into() },
        Request::Pause { seconds: Some(u64::MAX) },
        Request::Pause { seconds: None },
        Request::Resume,
        Request::MayApply { sources: vec!["/etc/evenkeel".into(), "/srv/x y".into()] },
    ];
    for request in &requests {
        let answer = ask(&name, request).expect("an answer");
        assert_eq!(answer, Answer::Done("it is done".into()));
    }
    assert_eq!(*asked.lock().expect("a list"), requests);
}

#[test]
fn without_a_listener_there_is_no_daemon() {
    let answer = ask(&Name::for_test("no-daemon"), &Request::Resume);
    assert!(matches!(answer, Err(AskError::NoDaemon)), "{answer:?}");
}

#[test]
fn a_second_daemon_is_refused_with_the_first_ones_name() {
    let name = Name::for_test("second");
    let daemon = Server::with_name(&name).expect("the name is free");
    let refusal = Server::with_name(&name).expect_err("it is taken").to_string();
    let first =
        format!("another daemon manages this network namespace: process {} ", std::process::id());
    assert!(refusal.starts_with(&first), "{refusal}");
    drop(daemon);
    assert!(Server::with_name(&name).is_ok());
}

#[test]
fn a_malformed_request_is_refused_with_the_reason() {
    let name = Name::for_test("malformed");
    let asked = accepted(&name);
    let refused = |sent: &[u8], why: &str| {
        let mut stream = connect(&name);
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
    ask(&name, &Request::Resume).expect("it still answers");
}

#[test]
fn silent_clients_block_no_others_and_are_disconnected() {
    let name = Name::for_test("silent");
    accepted(&name);
    let began = Instant::now();
    let mut silent: Vec<_> = (0..10).map(|_| connect(&name)).collect();
    ask(&name, &Request::Resume).expect("an answer");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let mut line = String::new();
    silent[0].read_to_string(&mut line).expect("an answer");
    assert!(line.contains("no request arrived in time"), "{line}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_reconciler_that_ended_is_reported() {
    let name = Name::for_test("gone");
    daemon(&name, EventPublisher::new(), drop);
    let answer = ask(&name, &Request::Resume).expect("an answer");
    assert_eq!(answer, Answer::Refused("the daemon is stopping".into()));
}

#[test]
fn waiting_for_an_answer_times_out() {
    let name = Name::for_test("mute");
    let listener = name.bind().expect("it can be asked for").expect("the name is free");
    let client = Client::with_name(&name, Duration::from_millis(100));
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
fn untrusted_peers_are_refused_and_not_queried() {
    use std::os::unix::process::CommandExt;
    if rustix::process::geteuid().as_raw() != 0 {
        return;
    }
    let as_untrusted = |test: &str, name: &Name| {
        let mut command = std::process::Command::new("/proc/self/exe");
        command.args(["--exact", "--ignored", "--nocapture"]);
        command.arg(format!("tests::as_untrusted_user::{test}"));
        command.env("EVENKEEL_TEST_NAME", name.to_text());
        command.uid(65_534).gid(65_534).stdout(std::process::Stdio::piped());
        command.stdin(std::process::Stdio::piped()).spawn().expect("it runs")
    };
    let own = Name::for_test("daemon-of-root");
    let asked = accepted(&own);
    let ended = as_untrusted("asks", &own).wait_with_output().expect("it ends");
    let message = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && message.contains("1 passed"), "{message}");
    assert_eq!(*asked.lock().expect("a list"), []);

    let other = Name::for_test("untrusted-daemon");
    let mut daemon = as_untrusted("listens", &other);
    let mut out = BufReader::new(daemon.stdout.take().expect("its output"));
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert_ne!(out.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    match ask(&other, &Request::Status) {
        Err(AskError::Untrusted(who)) => assert_eq!(who.uid, 65_534),
        answer => panic!("{answer:?}"),
    }
    let refusal = Server::with_name(&other).expect_err("it is taken").to_string();
    assert!(refusal.contains("neither root nor"), "{refusal}");
    drop(daemon.stdin.take());
    daemon.wait().expect("it ends");
}

/// Run by the test above as another user; they test nothing by themselves.
mod as_untrusted_user {
    use super::*;

    fn given_name() -> Name {
        Name::parse(std::env::var("EVENKEEL_TEST_NAME").expect("a name"))
    }

    #[test]
    #[ignore = "run by another test, as another user"]
    fn asks() {
        let name = given_name();
        // The client trusts root's daemon; the daemon does not trust it.
        for request in [Request::Status, Request::Resume] {
            match ask(&name, &request).expect("an answer") {
                Answer::Refused(message) => {
                    assert!(message.contains("user 65534 is not permitted"), "{message}")
                }
                answer => panic!("{answer:?}"),
            }
        }
    }

    #[test]
    #[ignore = "run by another test, as another user"]
    #[expect(clippy::print_stdout, reason = "signals the other test that it listens")]
    fn listens() {
        let _socket = Server::with_name(&given_name()).expect("the name is free");
        println!("listening");
        std::io::stdin().read_to_end(&mut Vec::new()).expect("an end");
    }
}
