use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use evenkeel_control::{SpecProblem, State};

use super::*;
use crate::test_fixtures::status;

/// An endpoint on its own thread, which runs until the test process ends.
struct Fixture {
    address: SocketAddr,
    status: watch::Sender<Arc<Status>>,
    liveness: Arc<Liveness>,
}

impl Fixture {
    fn new() -> Self {
        Self::within(LIMITS)
    }

    fn within(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number");
        let (sender, receiver) = watch::channel(Arc::new(status()));
        let liveness = Arc::new(Liveness::new());
        let endpoint = Endpoint {
            metrics: Metrics::new("1.2.3", None),
            status: receiver,
            liveness: Arc::clone(&liveness),
            patience: Duration::from_millis(100),
            allowed_hosts: Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        std::thread::spawn(move || runtime.block_on(serve_within(listener, endpoint, limits)));
        Self { address, status: sender, liveness }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        stream
    }

    /// Sends a request and returns the status code, the head and the body.
    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        let code = head.split(' ').nth(1).expect(head).parse().expect("a code");
        (code, head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (code, _, body) = self.ask("GET", path, "");
        (code, body)
    }
}

#[test]
fn it_is_healthy_while_the_reconciler_is_alive() {
    let fixture = Fixture::new();
    fixture.liveness.mark_alive();
    assert_eq!(fixture.get("/healthz"), (200, "ok\n".to_owned()));
    std::thread::sleep(Duration::from_millis(150));
    let (code, text) = fixture.get("/healthz");
    assert_eq!(code, 503);
    assert!(text.contains("the reconciler has made no progress"), "{text}");
    fixture.liveness.mark_alive();
    assert_eq!(fixture.get("/healthz").0, 200);
}

#[test]
fn readiness_follows_the_state_and_lists_every_reason() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get("/readyz"), (503, "starting\n".to_owned()));
    fixture.status.send_modify(|status| Arc::make_mut(status).state = State::Ok);
    assert_eq!(fixture.get("/readyz"), (200, "ok\n".to_owned()));
    fixture.status.send_modify(|status| {
        let status = Arc::make_mut(status);
        status.state = State::Degraded;
        status.reasons = vec!["the spec is bad".into(), "a step failed".into()];
    });
    let expected = "degraded\nthe spec is bad\na step failed\n".to_owned();
    assert_eq!(fixture.get("/readyz"), (503, expected));
    // A paused daemon is ready as long as no step is pending.
    for (pending_steps, code) in [(vec![], 200), (vec!["+ bind vip".to_owned()], 503)] {
        fixture.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            (status.state, status.pending_steps) = (State::Paused, pending_steps.clone());
        });
        assert_eq!(fixture.get("/readyz").0, code, "{pending_steps:?}");
    }
}

#[test]
fn a_peer_gets_no_excerpt_of_the_spec_and_no_control_characters() {
    let fixture = Fixture::new();
    let text = "error: bad\n --> web.yaml:3:5\n  | 3 | password: hunter2\n";
    fixture.status.send_modify(|status| {
        let status = Arc::make_mut(status);
        status.state = State::Degraded;
        let problem = SpecProblem { since: 1, text: text.into(), temporary: false };
        status.reasons = vec![
            format!("the spec is invalid; no spec is active: {}", text.trim()),
            "a \u{1b}[2Jstep \u{202e}failed".into(),
        ];
        status.spec.problem = Some(problem);
    });
    let expected = "degraded\n\
                    the spec is invalid; no spec is active: `evenkeel status` on the host shows why\n\
                    a \\u001b[2Jstep \\u202efailed\n";
    assert_eq!(fixture.get("/readyz"), (503, expected.to_owned()));
    let (_, body) = fixture.get("/status");
    assert!(!body.contains("hunter2") && !body.contains('\u{202e}'), "{body}");
    let read: Status = serde_json::from_str(&body).expect("a status");
    assert_eq!(read.reasons[1], "a \u{1b}[2Jstep \u{202e}failed");
}

#[test]
fn another_host_name_is_refused_on_every_page() {
    let fixture = Fixture::new();
    for path in ["/", "/metrics", "/healthz", "/readyz", "/status", "/nothing"] {
        let mut stream = fixture.connect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: attacker.example\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 421 "), "{path}: {answer}");
        assert!(!answer.contains("1.2.3"), "{answer}");
    }
}

#[test]
fn the_status_is_the_whole_document() {
    let fixture = Fixture::new();
    let (code, head, body) = fixture.ask("GET", "/status", "");
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    let read: Status = serde_json::from_str(&body).expect("a status");
    assert_eq!(read, status());
}

#[test]
fn metrics_are_sent_in_the_accepted_format() {
    let fixture = Fixture::new();
    let (code, head, body) = fixture.ask("GET", "/metrics", "");
    assert_eq!(code, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("\nevenkeel_build_info{version=\"1.2.3\"} 1\n"), "{body}");
    assert!(!body.contains("# EOF"), "{body}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (_, head, body) = fixture.ask("GET", "/metrics", accept);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[test]
fn the_index_links_to_every_page() {
    let fixture = Fixture::new();
    let (code, page) = fixture.get("/");
    assert_eq!(code, 200);
    for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().expect("an end")) {
        assert_ne!(fixture.get(link).0, 404, "{link}");
    }
    assert_eq!(fixture.get("/nothing").0, 404);
    assert_eq!(fixture.get("/metrics/").0, 404);
}

#[test]
fn only_get_and_head_are_allowed() {
    let fixture = Fixture::new();
    for path in ["/", "/metrics", "/healthz", "/readyz", "/status"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            assert_eq!(fixture.ask(method, path, "").0, 405, "{method} {path}");
        }
        let (_, head, body) = fixture.ask("HEAD", path, "");
        assert!(body.is_empty() && head.contains("content-type"), "{path}");
    }
}

#[test]
fn a_silent_client_is_disconnected() {
    let head = Duration::from_millis(100);
    let fixture = Fixture::within(Limits { head, ..LIMITS });
    let mut silent = fixture.connect();
    let began = Instant::now();
    silent.write_all(b"GET /metrics HT").expect("it is sent");
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

/// A time that is far below the one for the head of a request.
const SOON: Duration = Duration::from_secs(2);

#[test]
fn idle_connections_delay_no_other_client() {
    let fixture = Fixture::new();
    let _idle: Vec<TcpStream> = (0..200).map(|_| fixture.connect()).collect();
    fixture.liveness.mark_alive();
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        let began = Instant::now();
        fixture.get(path);
        assert!(began.elapsed() < SOON, "{path}: {:?}", began.elapsed());
    }
}

#[test]
fn the_oldest_idle_connection_ends_for_a_new_one() {
    let fixture = Fixture::within(Limits { connections: 2, ..LIMITS });
    let [mut oldest, mut second] = [fixture.connect(), fixture.connect()];
    assert_eq!(fixture.get("/").0, 200);
    let mut answer = Vec::new();
    let began = Instant::now();
    let _ = oldest.read_to_end(&mut answer);
    assert!(answer.is_empty() && began.elapsed() < SOON, "{:?}", began.elapsed());
    second.write_all(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it is sent");
    let _ = second.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn health_checks_are_answered_beside_clients_that_read_no_answer() {
    let fixture = Fixture::within(Limits { connections: 4, ..LIMITS });
    // More than the kernel buffers.
    let reason = "x".repeat(6 * 1024 * 1024);
    fixture.status.send_modify(|status| Arc::make_mut(status).reasons = vec![reason]);
    let mut clients: Vec<TcpStream> = (0..20).map(|_| fixture.connect()).collect();
    for client in &mut clients {
        let _ended = client.write_all(b"GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n");
    }
    let has_answer = |client: &TcpStream| client.peek(&mut [0]).is_ok_and(|length| length > 0);
    clients.iter().for_each(|client| client.set_nonblocking(true).expect("it can be set"));
    while clients.iter().filter(|client| has_answer(client)).count() < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let began = Instant::now();
    fixture.get("/healthz");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn requests_without_a_turn_wait_for_it() {
    let fixture = Fixture::within(Limits { connections: 2, ..LIMITS });
    for _ in 0..3 {
        let mut clients = [fixture.connect(), fixture.connect()];
        for client in &mut clients {
            let request = b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
            client.write_all(request).expect("it is sent");
        }
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        }
    }
}

#[test]
fn the_body_and_an_overlong_head_of_a_request_are_not_read() {
    let fixture = Fixture::new();
    let (code, _, _) = fixture.ask("GET", "/readyz", "Content-Length: 100000000\r\n");
    assert_eq!(code, 503);
    let long = format!("X: {}\r\n", "y".repeat(1024 * 1024));
    let mut stream = fixture.connect();
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{long}\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(fixture.get("/").0, 200);
}
