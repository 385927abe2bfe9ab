//! Measures `evenkeel watch` while nothing happens: the time and the system calls of a poll of one
//! large table that is in sync, by the cheap probe and by a full reading.
//!
//! The lab's kernel counts the processor time of a process in hundredths of a second, which is
//! longer than a poll. So the daemon's own measurement of its passes is shown; if nothing else
//! runs, that is the processor time, or slightly more.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use evenkeel_lab::net::Namespace;

use super::daemon::Daemon;
use crate::error::Error;

const ENDPOINT: &str = "127.0.0.1:9479";
const TRACE: &str = "/tmp/bench.strace";

/// The interval of the measured daemon: a shorter one gives more polls. The cost of a poll does not
/// depend on it.
const INTERVAL: Duration = Duration::from_secs(2);

/// The interval for which the processor share is reported.
const USUAL: Duration = Duration::from_secs(5);

/// About how many polls are measured.
const POLLS: u32 = 6;

/// One way of polling.
struct ProbeKind {
    name: &'static str,
    /// `--full-interval`: if it is shorter than the interval, every poll is a full reading.
    full_interval: &'static str,
    /// The result of a pass that polls this way, in the daemon's metrics.
    result: &'static str,
}

const PROBE_KINDS: [ProbeKind; 2] = [
    ProbeKind { name: "cheap look", full_interval: "1h", result: "unchanged" },
    ProbeKind { name: "full dump", full_interval: "1s", result: "in_sync" },
];

/// The daemon's counters.
#[derive(Clone, Copy)]
struct Polls {
    /// The passes of one way of polling.
    number: u32,
    /// The total duration of all passes.
    seconds: f64,
}

impl Polls {
    fn since(&self, before: &Self) -> Self {
        let number = self.number.saturating_sub(before.number);
        Self { number, seconds: self.seconds - before.seconds }
    }
}

/// The cost of one poll.
struct Cost {
    /// From its start to its end.
    seconds: f64,
    calls: f64,
}

/// Runs the daemon on a host that is in sync, and prints the cost of its polls.
pub(super) fn measure(evenkeel: &Path, spec: &str) -> Result<(), Error> {
    let namespace = Namespace::create("idle")?;
    let state = "/tmp/bench.state";
    let apply = ["apply", "--yes", "--state-dir", state, spec];
    namespace.output(&evenkeel.to_string_lossy(), &apply)?;
    println!(
        "{:<22} {:>12} {:>22} {:>14}",
        "watch, unchanged poll", "each", "processor at 5 s", "system calls"
    );
    for kind in &PROBE_KINDS {
        let Cost { seconds, calls } = namespace.run(|| kind.measure(evenkeel, spec, state))??;
        let share = seconds / USUAL.as_secs_f64() * 100.0;
        let milliseconds = seconds * 1000.0;
        println!("  {:<20} {milliseconds:>9.1} ms {share:>20.2} % {calls:>14.0}", kind.name);
    }
    println!();
    Ok(())
}

impl ProbeKind {
    fn measure(&self, evenkeel: &Path, spec: &str, state: &str) -> Result<Cost, Error> {
        let interval = format!("{}s", INTERVAL.as_secs());
        let mut arguments = vec![spec, "--state-dir", state, "--interval", &interval];
        arguments.extend(["--full-interval", self.full_interval, "--listen", ENDPOINT]);
        arguments.extend(["--traffic", "off"]);
        let daemon = Daemon::start(evenkeel, &arguments)?;
        let before = self.after_poll()?;
        sleep(INTERVAL * POLLS);
        let polls = self.count()?.since(&before);
        if polls.number == 0 {
            return Err(Error::Claim(format!("`evenkeel watch` made no poll by {}", self.name)));
        }
        let calls = self.system_calls(daemon.id())?;
        Ok(Cost { seconds: polls.seconds / f64::from(polls.number), calls })
    }

    /// Waits for the end of a poll and returns the counters at that moment.
    fn after_poll(&self) -> Result<Polls, Error> {
        let begin = Instant::now();
        let mut first = None;
        while begin.elapsed() < Duration::from_secs(60) {
            match (self.count(), first) {
                (Ok(now), Some(before)) if now.number > before => return Ok(now),
                (Ok(now), None) => first = Some(now.number),
                _ => {}
            }
            sleep(Duration::from_millis(20));
        }
        Err(Error::Claim(format!("`evenkeel watch` makes no poll by {}", self.name)))
    }

    /// The daemon's current counters.
    fn count(&self) -> Result<Polls, Error> {
        let metrics = get("/metrics");
        let metrics = metrics.ok_or_else(|| Error::Claim("there are no metrics".to_owned()))?;
        let labels = format!("trigger=\"resync\",result=\"{}\"", self.result);
        let value = |name: &str| {
            let line = metrics.lines().find(|line| line.contains(name));
            line.and_then(|line| line.rsplit(' ').next())
        };
        Ok(Polls {
            number: value(&labels).and_then(|text| text.parse().ok()).unwrap_or(0),
            seconds: value("pass_duration_seconds_sum")
                .and_then(|it| it.parse().ok())
                .unwrap_or(0.0),
        })
    }

    /// How many system calls a poll makes, those between polls included.
    fn system_calls(&self, id: u32) -> Result<f64, Error> {
        let before = self.after_poll()?;
        let mut strace = Command::new("strace");
        strace.args(["-c", "-f", "-o", TRACE, "-p", &id.to_string()]);
        let strace = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut strace = strace.map_err(|error| Error::Start("strace".to_owned(), error))?;
        sleep(INTERVAL * POLLS);
        let interrupted = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
        interrupted.map_err(|error| Error::Start("kill".to_owned(), error))?;
        strace.wait().map_err(|error| Error::Start("strace".to_owned(), error))?;
        let polls = self.count()?.since(&before).number;
        let summary = fs::read_to_string(TRACE).unwrap_or_default();
        let calls = total(&summary);
        match (calls, polls) {
            (Some(calls), 1..) => Ok(f64::from(calls) / f64::from(polls)),
            _ => Err(Error::Claim(format!("strace counted nothing in {polls} polls: {summary}"))),
        }
    }
}

/// The number of calls in the last line of strace's summary: the column before that of errors,
/// which is empty if there were none.
fn total(summary: &str) -> Option<u32> {
    let line = summary.lines().rfind(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn get(path: &str) -> Option<String> {
    let endpoint: SocketAddr = ENDPOINT.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&endpoint, Duration::from_secs(5)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {ENDPOINT}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_a_summary_are_found_with_and_without_errors() {
        let head = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.000123           1        41           read\n";
        let with = "100.00    0.001000           5       123         4 total\n";
        let without = "100.00    0.001000           5        77           total\n";
        assert_eq!(total(&format!("{head}{with}")), Some(123));
        assert_eq!(total(&format!("{head}{without}")), Some(77));
        assert_eq!(total(head), None);
    }
}
