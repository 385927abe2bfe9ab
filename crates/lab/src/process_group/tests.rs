use super::*;

fn shell(script: &str) -> ProcessGroup {
    ProcessGroup::start(Command::new("sh").args(["-c", script])).expect("sh starts")
}

fn is_gone(group: Pid) -> bool {
    // Orphans are reaped by their new parent, which may take a moment.
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        rustix::process::test_kill_process_group(group) == Err(rustix::io::Errno::SRCH)
    })
}

fn watch(group: ProcessGroup, limit: Duration) -> End {
    group.watch::<io::Error>(Some(limit), || Ok(())).expect("the group can be watched")
}

#[test]
fn a_process_that_ends_in_time_gives_its_status() {
    let end = watch(shell("exit 7"), Duration::from_secs(20));
    assert!(matches!(end, End::Exited(status) if status.code() == Some(7)), "{end:?}");
}

#[test]
fn a_process_past_its_limit_is_ended_with_its_children() {
    let group = shell("sleep 1000 & sleep 1000");
    let id = group.id;
    let start = Instant::now();
    assert!(matches!(watch(group, Duration::from_millis(200)), End::TimedOut));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(is_gone(id));
}

#[test]
fn a_process_that_ignores_sigterm_is_killed() {
    let group = shell("trap '' TERM; while :; do sleep 1; done");
    let id = group.id;
    assert!(matches!(watch(group, Duration::from_millis(300)), End::TimedOut));
    assert!(is_gone(id));
}

#[test]
fn children_left_behind_by_a_process_are_ended() {
    let group = shell("sleep 1000 & exit 0");
    let id = group.id;
    assert!(matches!(watch(group, Duration::from_secs(20)), End::Exited(_)));
    assert!(is_gone(id));
}

#[test]
fn a_failing_tick_ends_the_group() {
    let group = shell("sleep 1000");
    let id = group.id;
    let result = group.watch(None, || Err(io::Error::other("no")));
    assert_eq!(result.map(drop).map_err(|error| error.to_string()), Err("no".to_owned()));
    assert!(is_gone(id));
}
