//! A command that waits for a user, for a reader of its output or for a file does not keep the daemon
//! from its passes: a VIP that is taken away is back as fast as without the command.

use std::fmt::Write as _;
use std::io::Write as _;

use super::*;

/// How often the VIP is taken away in each situation.
const TIMES: usize = 20;

const VIP: &str = "192.0.2.1/32";

/// A spec with a VIP, and as many services on other addresses.
fn spec_of(name: &str, services: usize) -> String {
    let mut text =
        "version: 1\nscope: all\nvips: [ { address: 192.0.2.1, interface: eth0 } ]\nservices:\n"
            .to_owned();
    for number in 0..services {
        let (high, low) = (number / 250, number % 250);
        writeln!(
            text,
            "  - {{ name: {name}-{number}, vip: 10.{}.{high}.{low}, port: 80, drain: 0s, \
             real_servers: [ {{ address: 10.0.0.1 }} ] }}",
            if name == "old" { 1 } else { 2 },
        )
        .unwrap();
    }
    text + "...\n"
}

/// Takes the VIP away, and returns the times until the daemon has bound it again, sorted.
#[track_caller]
fn restorations(situation: &str) -> Vec<Duration> {
    let is_bound = || run("ip -o addr show dev eth0").contains(VIP);
    let mut times = Vec::new();
    for _ in 0..TIMES {
        run("ip addr del 192.0.2.1/32 dev eth0");
        let begin = Instant::now();
        assert!(within(Duration::from_secs(10), is_bound), "{situation}: the VIP is not back");
        times.push(begin.elapsed());
        // The daemon limits how often it repairs the same VIP within a minute.
        std::thread::sleep(Duration::from_millis(50));
    }
    times.sort();
    times
}

fn median(times: &[Duration]) -> Duration {
    (times[TIMES / 2 - 1] + times[TIMES / 2]) / 2
}

/// Waits until a process writes this to its standard output.
fn read_until(child: &mut Child, words: &str) -> std::process::ChildStdout {
    let mut stdout = child.stdout.take().unwrap();
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&seen).contains(words) {
        std::io::Read::read_exact(&mut stdout, &mut byte).unwrap();
        seen.extend(byte);
    }
    stdout
}

#[test]
fn a_vip_is_restored_as_fast_while_a_command_asks_prints_or_reads() {
    let host = Host::new();
    let _daemon = host.watching(&spec_of("old", 8), "--interval 1s");
    // The daemon holds the next spec, because it deletes most services.
    host.write("spec.yaml", spec_of("new", 1_000));
    host.wait_for_state("held");
    let beside_held = restorations("no command");
    let spec = host.path("specs/spec.yaml");
    let state = host.path("state");
    let line = format!(
        "{} apply --allow mass-delete,no-server --state-dir {} {}",
        program().display(),
        state.display(),
        spec.display()
    );
    let mut asking = Command::new("script");
    asking.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    asking.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut asking = asking.spawn().unwrap();
    let _terminal = read_until(&mut asking, "[y/N]");
    let at_question = restorations("an apply at its question");
    asking.stdin.take().unwrap().write_all(b"n\n").unwrap();
    asking.kill().unwrap();
    asking.wait().unwrap();

    let mut reading = host.command("apply");
    reading.args(["--plan", "/dev/stdin"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut reading = reading.spawn().unwrap();
    let at_pipe = restorations("an apply whose plan is a pipe");
    assert_eq!(reading.try_wait().unwrap(), None, "it still reads");
    reading.kill().unwrap();
    reading.wait().unwrap();

    let mut printing = host.command("apply");
    printing.args(["--yes", "--allow", "mass-delete,no-server"]).arg(&spec);
    let mut printing = printing.stdout(Stdio::piped()).spawn().unwrap();
    host.wait_for_state("ok");
    let at_pager = restorations("an apply into a pager that is not read");
    assert_eq!(printing.try_wait().unwrap(), None, "more than 64 KiB wait in its pipe");
    printing.kill().unwrap();
    printing.wait().unwrap();

    let after = restorations("no command, with as many services");
    for (situation, times, without) in [
        ("an apply at its question", &at_question, &beside_held),
        ("an apply whose plan is a pipe", &at_pipe, &beside_held),
        ("an apply into a pager that is not read", &at_pager, &after),
    ] {
        let (with, without) = (median(times), median(without));
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        say(&format!("{situation}: {with:?}, without {without:?}, ratio {ratio:.2}"));
    }
}
