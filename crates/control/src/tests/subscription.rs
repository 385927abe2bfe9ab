//! Subscriptions: from the publisher through a socket to a client.

use std::thread;

use super::*;
use crate::event::{EndReason, Event, EventKind};
use crate::event_publisher::Limits;
use crate::{SpecProblem, State, Subscription};

/// Starts a daemon that answers no commands, and returns its publisher.
fn publisher(role: Role, limits: Limits) -> EventPublisher {
    let events = EventPublisher::with_limits(limits);
    daemon(role, events.clone(), drop);
    events
}

fn subscribe(role: Role) -> Result<Subscription, AskError> {
    Client::of_role(role, LONG).subscribe()
}

/// An event that is recognized by its number and as long as the given text.
fn event(number: u64, text: &str) -> Event {
    let problem = SpecProblem { since: number, text: text.to_owned(), temporary: false };
    Event { at: number, kind: EventKind::SpecRejected { problem } }
}

fn numbers(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    subscription.by_ref().take(count).map(|event| event.expect("an event").at).collect()
}

fn wait_until_disconnected(events: &EventPublisher) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let waited = runtime
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(LONG, events.disconnected()).await });
    waited.expect("all are disconnected");
}

#[track_caller]
fn assert_soon(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_subscriber_gets_the_status_and_then_every_event_in_order() {
    let Some(role) = role("subscribe") else { return };
    let events = publisher(role, Limits::default());
    assert!(!events.has_subscribers());
    events.publish([event(0, "before")]);
    let mut subscription = subscribe(role).expect("it is accepted");
    assert_eq!(*subscription.status, test_fixtures::status());
    assert!(events.has_subscribers());
    events.publish([event(1, "a\nb"), event(2, "")]);
    assert_eq!(subscription.next().expect("an event").expect("an event"), event(1, "a\nb"));
    let state = EventKind::State { from: State::Ok, to: State::Held, summary: "held".into() };
    events.publish([Event { at: 3, kind: state.clone() }]);
    assert_eq!(numbers(&mut subscription, 1), [2]);
    assert_eq!(subscription.next().expect("an event").expect("an event").kind, state);
    ask(role, &Request::Status).expect("requests are answered meanwhile");
}

#[test]
fn at_the_end_each_subscriber_gets_all_events_and_a_last_line() {
    let Some(role) = role("subscribe-end") else { return };
    let events = publisher(role, Limits::default());
    let mut all: Vec<_> = (0..3).map(|_| subscribe(role).expect("it is accepted")).collect();
    events.publish((0..100).map(|number| event(number, "text")));
    events.end();
    for subscription in &mut all {
        assert_eq!(numbers(subscription, 100), (0..100).collect::<Vec<u64>>());
        let last = subscription.next().expect("an end").expect("an end");
        assert_eq!(last.kind, EventKind::End { reason: EndReason::Stopping });
        assert!(subscription.next().is_none());
    }
    match subscribe(role) {
        Err(AskError::Refused(message)) => assert_eq!(message, "the daemon is stopping"),
        answer => panic!("{answer:?}"),
    }
    events.publish([event(0, "without a subscriber")]);
    wait_until_disconnected(&events);
}

#[test]
fn a_slow_subscriber_is_disconnected_with_a_last_line_and_delays_no_one() {
    let Some(role) = role("subscribe-slow") else { return };
    let events = publisher(role, Limits { queue: 64, ..Limits::default() });
    let slow = subscribe(role).expect("it is accepted");
    let fast = subscribe(role).expect("it is accepted");
    let (sender, read) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        for event in fast {
            let _sent = sender.send(event.expect("an event").at);
        }
    });
    // Far more than the socket's buffer and the queue hold.
    let text = "x".repeat(8 * 1024);
    for number in 0..1_000 {
        let begin = Instant::now();
        events.publish([event(number, &text)]);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(read.recv_timeout(LONG), Ok(number), "the other subscriber gets it");
    }
    let received: Vec<_> = slow.map(|event| event.expect("an event")).collect();
    let (last, before) = received.split_last().expect("events");
    assert_eq!(last.kind, EventKind::End { reason: EndReason::TooSlow });
    assert!(before.len() < 200, "{} events were kept", before.len());
    let expected: Vec<u64> = (0..before.len() as u64).collect();
    assert_eq!(before.iter().map(|event| event.at).collect::<Vec<_>>(), expected, "no gap");
    events.end();
    reader.join().expect("it ends");
}

#[test]
fn a_subscriber_that_never_reads_is_disconnected_after_some_time() {
    let Some(role) = role("subscribe-stuck") else { return };
    let limits = Limits { subscribers: 1, queue: 4, linger: Duration::from_secs(2) };
    let events = publisher(role, limits);
    let stuck = subscribe(role).expect("it is accepted");
    let text = "x".repeat(64 * 1024);
    assert_soon("it is too slow", || {
        events.publish([event(1, &text)]);
        !events.has_subscribers()
    });
    assert!(matches!(subscribe(role), Err(AskError::Refused(_))), "its place is not free yet");
    assert_soon("its place is free", || subscribe(role).is_ok());
    // Its last line was lost with the rest; that it is incomplete is an error, not an end.
    let last = stuck.last().expect("a result");
    assert!(matches!(last, Err(AskError::Failed(_))), "{last:?}");
}

#[test]
fn the_number_of_subscribers_is_bounded_and_a_place_is_free_after_a_disconnect() {
    let Some(role) = role("subscribe-many") else { return };
    let events = publisher(role, Limits::default());
    let mut all: Vec<_> = (0..16).map(|_| subscribe(role).expect("it is accepted")).collect();
    match subscribe(role) {
        Err(AskError::Refused(message)) => {
            assert!(message.contains("16 subscribers, the maximum"), "{message}")
        }
        answer => panic!("{answer:?}"),
    }
    ask(role, &Request::Status).expect("requests are answered all the same");
    events.publish([event(1, "to all")]);
    for subscription in &mut all {
        assert_eq!(numbers(subscription, 1), [1]);
    }
    drop(all.pop());
    // Without any event in between.
    let mut last = None;
    assert_soon("a place is free", || {
        last = subscribe(role).ok();
        last.is_some()
    });
    events.publish([event(2, "to the new one")]);
    assert_eq!(numbers(&mut last.expect("it is accepted"), 1), [2]);
    drop(all);
    assert_soon("there are no subscribers", || !events.has_subscribers());
}

#[test]
fn many_subscribers_at_once_all_get_the_same() {
    let Some(role) = role("subscribe-crowd") else { return };
    let events = publisher(role, Limits::default());
    let readers: Vec<_> = (0..16)
        .map(|_| {
            let subscription = subscribe(role).expect("it is accepted");
            thread::spawn(move || subscription.map(|event| event.expect("an event")).collect())
        })
        .collect();
    for number in 0..500 {
        events.publish([event(number, "text")]);
    }
    events.end();
    for reader in readers {
        let received: Vec<Event> = reader.join().expect("it ends");
        assert_eq!(received.len(), 501);
        assert_eq!(received[500].kind, EventKind::End { reason: EndReason::Stopping });
    }
}

#[test]
fn a_daemon_that_dies_is_an_error_and_not_an_end() {
    let Some(role) = role("subscribe-dead") else { return };
    let claim = role.claim().expect("it can be made").expect("it is free");
    let listener = claim.listener().try_clone().expect("a descriptor");
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = String::new();
        BufReader::new(&stream).read_line(&mut request).expect("a request");
        assert_eq!(request, "{\"version\":1,\"request\":\"subscribe\"}\n");
        let answer = Answer::Status(Box::new(test_fixtures::status()));
        let answer = serde_json::json!({ "version": 1, "answer": answer });
        let event = serde_json::to_string(&event(1, "")).expect("JSON");
        write!(stream, "{answer}\n{event}\n{{\"at\":2,").expect("the client reads");
    });
    let mut subscription = subscribe(role).expect("it is accepted");
    assert_eq!(numbers(&mut subscription, 1), [1]);
    match subscription.next() {
        Some(Err(AskError::Failed(error))) => {
            assert!(error.to_string().contains("without a last event"), "{error}")
        }
        event => panic!("{event:?}"),
    }
    assert!(subscription.next().is_none());
    daemon.join().expect("it ends");
}

#[test]
fn what_a_subscriber_writes_is_ignored() {
    let Some(role) = role("subscribe-talks") else { return };
    let events = publisher(role, Limits::default());
    let mut stream = connect(role);
    stream.write_all(b"\"subscribe\"\n\"resume\"\n").expect("it is taken");
    let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
    let first = lines.next().expect("an answer").expect("an answer");
    assert!(first.starts_with("{\"status\":"), "without a version, as it was asked: {first}");
    stream.write_all(&[b'x'; 100_000]).expect("it is taken");
    events.publish([event(1, "")]);
    events.end();
    // The kernel reports a connection with unread requests as reset, once all lines are read.
    let rest: Vec<_> = lines.take(2).map(|line| line.expect("a line")).collect();
    assert!(rest[1].ends_with("\"event\":\"end\",\"reason\":\"stopping\"}"), "{rest:?}");
}

#[test]
fn an_end_without_a_reader_is_over_when_it_disconnects() {
    let Some(role) = role("subscribe-leaves") else { return };
    let events = publisher(role, Limits { linger: LONG, ..Limits::default() });
    let subscription = subscribe(role).expect("it is accepted");
    let text = "x".repeat(64 * 1024);
    events.publish((0..100).map(|number| event(number, &text)));
    events.end();
    let begin = Instant::now();
    drop(subscription);
    wait_until_disconnected(&events);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
