//! A subscription to the daemon's events.

use std::io::{BufRead, BufReader};

use evenkeel_control::{Client, EndReason, Event, EventKind, State, Subscription, Trigger};

use super::*;

/// Waits for an event of that kind.
#[track_caller]
pub(super) fn wait_for(
    subscription: &mut Subscription,
    what: &str,
    is_it: impl Fn(&EventKind) -> bool,
) -> EventKind {
    let mut others = Vec::new();
    for event in subscription {
        let Event { kind, .. } = event.unwrap();
        if is_it(&kind) {
            return kind;
        }
        assert!(!matches!(kind, EventKind::End { .. }), "no {what}: {others:#?}");
        others.push(kind);
    }
    panic!("no {what}: {others:#?}");
}

#[test]
fn a_subscriber_gets_what_the_daemon_repairs_rejects_and_holds_until_it_stops() {
    let host = Host::new();
    let mut daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    let mut subscription = Client::of_owner(None).subscribe().unwrap();
    assert_eq!(subscription.status.state, State::Ok);
    // Another one does not read; it delays nothing.
    let silent = Client::of_owner(None).subscribe().unwrap();
    let mut follow = host.command("status");
    follow.args(["--follow", "--output", "json"]).stdout(Stdio::piped());
    let mut follow = follow.spawn().unwrap();
    let mut followed = BufReader::new(follow.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&followed.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["event"], &first["status"]["state"]), (&"status".into(), &"ok".into()));

    let before = table();
    run("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.10");
    let repaired =
        |event: &EventKind| matches!(event, EventKind::Pass { pass } if pass.changes > 0);
    let EventKind::Pass { pass } = wait_for(&mut subscription, "repair", repaired) else {
        unreachable!("it is a pass")
    };
    assert_eq!((pass.trigger, &*pass.result, pass.changes), (Trigger::Resync, "changed", 1));
    assert_eq!(table(), before);
    let step = wait_for(&mut subscription, "step", |it| matches!(it, EventKind::Step { .. }));
    let EventKind::Step { step, repairs_drift } = step else { unreachable!("it is a step") };
    let expected = "+ add real server 10.0.0.10:80 to web/192.0.2.1:80/tcp";
    assert!(repairs_drift && step.starts_with(expected), "{step}");
    let shown = followed.find(|line| line.as_ref().unwrap().contains("\"event\":\"step\""));
    let shown: Value = serde_json::from_str(&shown.unwrap().unwrap()).unwrap();
    assert_eq!(shown["step"], step);

    host.write("spec.yaml", "version: 7\n");
    wait_for(&mut subscription, "rejection", |it| matches!(it, EventKind::SpecRejected { .. }));
    host.write("spec.yaml", spec("10.0.0.11"));
    wait_for(&mut subscription, "new spec", |it| matches!(it, EventKind::SpecActivated { .. }));
    host.write("spec.yaml", "version: 1\nscope: all\n");
    let held = wait_for(&mut subscription, "hold", |it| matches!(it, EventKind::PlanHeld { .. }));
    let EventKind::PlanHeld { held } = held else { unreachable!("it is a hold") };
    assert_eq!(host.status()["spec"]["held"]["id"], held.id);
    assert_eq!(host.evenkeel("pause").0, 0);
    wait_for(&mut subscription, "pause", |it| matches!(it, EventKind::Paused { .. }));

    let begin = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let last = subscription.last().unwrap().unwrap();
    assert_eq!(last.kind, EventKind::End { reason: EndReason::Stopping });
    assert!(daemon.ended().success(), "{}", daemon.log());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let last = silent.last().unwrap().unwrap();
    assert_eq!(last.kind, EventKind::End { reason: EndReason::Stopping });
    let last: Value = serde_json::from_str(&followed.last().unwrap().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["reason"]), (&"end".into(), &"stopping".into()));
    assert!(follow.wait().unwrap().success());
}

#[test]
fn status_follow_needs_a_daemon_and_ends_with_its_output() {
    let host = Host::new();
    let (code, stdout, stderr) = host.evenkeel("status --follow");
    assert_eq!((code, &*stdout), (1, ""), "{stderr}");
    assert!(stderr.contains("no daemon runs"), "{stderr}");
    let _daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    let mut follow = host.command("status");
    let mut follow = follow.arg("--follow").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("ok (process "), "{first}");
    let event =
        lines.find(|line| line.as_ref().unwrap().contains(" UTC  pass for resync: in_sync"));
    assert!(event.is_some());
    drop(lines);
    let mut status = None;
    assert!(within(Duration::from_secs(5), || {
        status = follow.try_wait().unwrap();
        status.is_some()
    }));
    assert!(status.unwrap().success());
}
