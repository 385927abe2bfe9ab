//! Applies beside another program that adds, edits and deletes entries with `ipvsadm` all the time:
//! no report of an apply is false, objects out of scope are never changed, and after the other
//! program stops, one more apply converges.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel_lab_tests::property::cases;

use super::*;

/// The largest number of services in a spec.
const MOST: u64 = 5;

/// A table as `ipvsadm -Sn` prints it: the identity of each entry (`-t 192.0.2.1:80`, for a real
/// server with ` -r 10.0.0.1:80` behind it), and the rest of its line.
type Entries = BTreeMap<String, String>;

fn entries(saved: &BTreeSet<String>) -> Entries {
    let entry = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        let name = if words[0] == "-A" { 3 } else { 5 };
        (words[1..name].join(" "), words[name..].join(" "))
    };
    saved.iter().map(entry).collect()
}

/// Returns the entries of a table that are out of scope.
fn foreign(table: &Entries) -> Entries {
    let is_foreign = |entry: &String| entry.contains(" 198.51.100.") || entry.starts_with("-f 33");
    let foreign = table.iter().filter(|(entry, _)| is_foreign(entry));
    foreign.map(|(entry, rest)| (entry.clone(), rest.clone())).collect()
}

fn scheduler(rng: &mut TestRng) -> String {
    format!("-s {}", ["rr", "wrr", "lc", "wlc"][usize::try_from(rng.up_to(4)).unwrap()])
}

fn values(rng: &mut TestRng) -> String {
    format!("-g -w {}", rng.up_to(100))
}

/// Returns a command of `ipvsadm` in scope, which may be refused.
fn command(rng: &mut TestRng) -> (&'static str, String, String) {
    let (service, port) = match rng.up_to(MOST + 1) {
        0 => ("-f 7".to_owned(), 0),
        // No spec lists the last one.
        number => (format!("-t 192.0.2.{number}:80"), 80),
    };
    let real_server = format!("{service} -r 10.0.0.{}:{port}", 1 + rng.up_to(22));
    match rng.up_to(12) {
        0 => ("-A", service, scheduler(rng)),
        1 => ("-E", service, scheduler(rng)),
        2 => ("-D", service, String::new()),
        3..=6 => ("-a", real_server, values(rng)),
        7 | 8 => ("-e", real_server, values(rng)),
        _ => ("-d", real_server, String::new()),
    }
}

/// Pseudo-random numbers, the same each time.
struct TestRng(u64);

impl TestRng {
    fn up_to(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Returns one of the specs between which the applies alternate, and the table that it requests.
fn spec(rng: &mut TestRng) -> (String, Entries) {
    let mut text = "version: 1
scope: { vips: [192.0.2.0/24], fwmarks: [1-9] }
guards: { mass_delete: off }
"
    .to_owned();
    let mut table = Entries::new();
    if rng.up_to(2) == 0 {
        text += "vips: [ { address: 192.0.2.100, interface: eth0 } ]\n";
    }
    writeln!(text, "defaults: {{ drain: {}s }}", 30 * rng.up_to(2)).unwrap();
    text += "services:\n";
    for number in 0..MOST {
        // Most real servers are always listed.
        if rng.up_to(4) == 0 {
            continue;
        }
        let (place, name, port) = match number {
            0 => ("fwmark: 7, family: ipv4".to_owned(), "-f 7".to_owned(), 0),
            _ => {
                (format!("vip: 192.0.2.{number}, port: 80"), format!("-t 192.0.2.{number}:80"), 80)
            }
        };
        let scheduler = scheduler(rng);
        let word = scheduler.trim_start_matches("-s ");
        write!(text, "  - {{ name: s{number}, {place}, scheduler: {word}, real_servers: [")
            .unwrap();
        for last in 1..=20 {
            if last == 1 || rng.up_to(3) > 0 {
                let weight = 1 + rng.up_to(99);
                write!(text, " {{ address: 10.0.0.{last}, weight: {weight} }},").unwrap();
                table.insert(format!("{name} -r 10.0.0.{last}:{port}"), format!("-g -w {weight}"));
            }
        }
        table.insert(name, scheduler);
        text += " ] }\n";
    }
    (text, table)
}

/// The other program, and its instructions.
#[derive(Default)]
struct Writer {
    ipvsadm: Option<Child>,
    /// When each entry was last written, and how many writes there were.
    at: BTreeMap<String, Instant>,
    number: usize,
    /// The entries out of scope, which only this program changes.
    foreign: Entries,
}

/// Writes in the calling thread's namespace until the writer is stopped.
fn start(writer: &Arc<Mutex<Writer>>, is_over: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (writer, is_over) = (Arc::clone(writer), Arc::clone(is_over));
    std::thread::spawn(move || {
        let mut rng = TestRng(7);
        while !is_over.load(Ordering::Relaxed) {
            writer.lock().unwrap().write(&mut rng);
            // A process that sleeps gets the processor as soon as it wakes up, even while others
            // are running.
            std::thread::sleep(Duration::from_micros(300));
        }
    })
}

/// Waits until all requested writes are done.
fn hold(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    let mut writer = writer.lock().unwrap();
    if let Some(mut ipvsadm) = writer.ipvsadm.take() {
        drop(ipvsadm.stdin.take());
        ipvsadm.wait().unwrap();
    }
    writer
}

impl Writer {
    /// Adds, edits or deletes an entry; half of them are out of scope.
    fn write(&mut self, rng: &mut TestRng) {
        let (verb, name, rest) = match rng.up_to(2) {
            0 => self.foreign_command(rng),
            _ => command(rng),
        };
        let ipvsadm = self.ipvsadm.get_or_insert_with(|| {
            let mut ipvsadm = Command::new("ipvsadm");
            // Commands such as adding an existing entry fail; `ipvsadm` reports them and continues.
            ipvsadm.arg("-R").stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        });
        let stdin = ipvsadm.stdin.as_mut().unwrap();
        stdin.write_all(format!("{verb} {name} {rest}\n").as_bytes()).unwrap();
        self.number += 1;
        self.at.insert(name, Instant::now());
    }

    /// Returns a command that succeeds, because no other program writes there.
    fn foreign_command(&mut self, rng: &mut TestRng) -> (&'static str, String, String) {
        let (service, port) = match rng.up_to(3) {
            0 => ("-f 33".to_owned(), 0),
            number => (format!("-t 198.51.100.{number}:80"), 80),
        };
        let real_server = format!("{service} -r 10.0.0.{}:{port}", 1 + rng.up_to(4));
        let (has_service, has_real_server) =
            (self.foreign.contains_key(&service), self.foreign.contains_key(&real_server));
        let is_about_the_service = !has_service || rng.up_to(4) == 0;
        let is_deleted = rng.up_to(4) == 0;
        if is_about_the_service && has_service && is_deleted {
            self.foreign.retain(|entry, _| !belongs(entry, &service));
            return ("-D", service, String::new());
        }
        if !is_about_the_service && has_real_server && is_deleted {
            self.foreign.remove(&real_server);
            return ("-d", real_server, String::new());
        }
        let (verb, name, rest) = match (is_about_the_service, has_service, has_real_server) {
            (true, false, _) => ("-A", service, scheduler(rng)),
            (true, true, _) => ("-E", service, scheduler(rng)),
            (false, _, false) => ("-a", real_server, values(rng)),
            (false, _, true) => ("-e", real_server, values(rng)),
        };
        self.foreign.insert(name.clone(), rest.clone());
        (verb, name, rest)
    }

    /// Whether an entry, or its service, was written since then.
    fn has_written(&self, entry: &str, since: Instant) -> bool {
        let is_recent = |name: &str| self.at.get(name).is_some_and(|at| *at >= since);
        is_recent(entry) || is_recent(service(entry))
    }
}

/// Returns the service of an entry.
fn service(entry: &str) -> &str {
    entry.split(" -r ").next().unwrap()
}

/// Whether an entry is that service, or one of its real servers.
fn belongs(entry: &str, name: &str) -> bool {
    service(entry) == name
}

/// Returns the entry of a line in an apply's report, and whether it exists afterwards; `None` for a
/// line without a claim about an entry.
fn claim(line: &str) -> Option<(String, bool)> {
    let (line, outcome) = line.rsplit_once(": ")?;
    if !matches!(outcome, "applied" | "already in place") {
        return None;
    }
    // The name is followed by values, or by a space and a remark.
    let first = |text: &str| text.split([' ']).next().unwrap().trim_end_matches(':').to_owned();
    let service = |label: &str| {
        let label = first(label);
        let key = label.split_once('/').filter(|(name, _)| name.starts_with('s'));
        let key = key.map_or(&*label, |(_, key)| key);
        match key.strip_prefix("fwmark-") {
            Some(mark) => format!("-f {}", mark.split('/').next().unwrap()),
            None => format!("-t {}", key.split('/').next().unwrap()),
        }
    };
    let (verb, object) = line[2..].split_once(' ')?;
    let is_there = verb != "delete";
    if let Some(rest) = object.strip_prefix("service ") {
        return Some((service(rest), is_there));
    }
    let rest = object.strip_prefix("real server ")?;
    let (_, label) = rest.split_once(" of ").or_else(|| rest.split_once(" to "))?;
    // Drained real servers are deleted by a step of their own.
    (verb != "drain").then(|| (format!("{} -r {}", service(label), first(rest)), is_there))
}

/// The results of the applies, and how many claims of their reports were checked.
#[derive(Debug, Default)]
struct OutcomeCounts {
    statuses: BTreeMap<i32, usize>,
    /// Claims that the kernel confirmed.
    confirmed: usize,
    /// Claims about entries that were written again before the check.
    overwritten: usize,
    /// Lines by their outcome.
    outcomes: BTreeMap<String, usize>,
    /// The first lines of errors.
    reported: BTreeMap<String, usize>,
}

impl OutcomeCounts {
    /// Compares the report of an apply with the kernel, while the writer is stopped.
    fn check(&mut self, answer: &Answer, wanted: &Entries, writer: &Writer, since: Instant) {
        let found = entries(&ipvsadm::save());
        for line in answer.stdout.lines() {
            let Some((entry, is_there)) = claim(line) else { continue };
            let expected = wanted.get(&entry).filter(|_| is_there);
            if found.get(&entry) == expected {
                self.confirmed += 1;
            } else {
                assert!(
                    writer.has_written(&entry, since),
                    "{line}: {entry}: {found:?}\n{answer:?}"
                );
                self.overwritten += 1;
            }
        }
    }

    fn count(&mut self, answer: &Answer) {
        *self.statuses.entry(answer.status).or_default() += 1;
        for line in answer.stdout.lines().filter(|line| !line.starts_with("Apply: ")) {
            let (_, outcome) = line.rsplit_once(": ").unwrap_or(("", line));
            *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        }
        for line in answer.stderr.lines() {
            let head: String = line.chars().take(60).collect();
            *self.reported.entry(head).or_default() += 1;
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that counts its cases says how many")]
fn beside_another_writer_every_apply_succeeds_or_reports_what_it_found() {
    let fixture = Fixture::new("");
    let mut rng = TestRng(1);
    let specs: Vec<_> = (0..4).map(|_| spec(&mut rng)).collect();
    for (number, (text, _)) in specs.iter().enumerate() {
        fixture.write(&format!("{number}.yaml"), text);
    }
    let (writer, is_over) = (Arc::<Mutex<Writer>>::default(), Arc::<AtomicBool>::default());
    let mut held = hold(&writer);
    let thread = start(&writer, &is_over);
    let mut counts = OutcomeCounts::default();
    let applies = cases(40) as usize;
    let begin = Instant::now();
    for number in 0..applies {
        let which = number % specs.len();
        let mut command = Command::new(program());
        command
            .args(["apply", "--yes", "--allow", "take-over,mass-delete", &format!("{which}.yaml")])
            .current_dir(fixture.path());
        command.arg("--state-dir").arg(fixture.path().join("state"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let since = Instant::now();
        drop(held);
        let child = command.spawn().unwrap();
        // In every other apply the writer stops at some point, and then nothing that the apply
        // reports at its end is overwritten before the check.
        let early = (number % 2 == 0).then(|| {
            std::thread::sleep(Duration::from_millis(rng.up_to(200)));
            hold(&writer)
        });
        let answer: Answer = child.wait_with_output().unwrap().into();
        held = early.unwrap_or_else(|| hold(&writer));
        counts.count(&answer);
        match answer.status {
            0 => counts.check(&answer, &specs[which].1, &held, since),
            // The apply could not converge, and names the objects.
            1 => assert!(
                answer.stderr.contains("another program keeps changing what was applied"),
                "{answer:?}"
            ),
            4 => assert!(answer.stderr.contains("rolled back"), "{answer:?}"),
            _ => panic!("{answer:?}"),
        }
        assert_eq!(foreign(&entries(&ipvsadm::save())), held.foreign, "out of scope");
    }
    is_over.store(true, Ordering::Relaxed);
    drop(held);
    thread.join().unwrap();
    let Writer { number: written, foreign, .. } = std::mem::take(&mut *hold(&writer));
    let seconds = begin.elapsed().as_secs();
    println!("{seconds} s, {applies} applies beside {written} writes: {counts:?}");
    assert!(counts.confirmed > applies && written > applies);

    for (number, (_, wanted)) in specs.iter().enumerate() {
        let answer =
            fixture.evenkeel(&format!("apply --yes --allow take-over,mass-delete {number}.yaml"));
        assert_eq!(answer.status, 0, "{answer:?}");
        fixture.assert_in_sync(&format!("{number}.yaml"));
        let mut expected = wanted.clone();
        expected.extend(foreign.clone());
        assert_eq!(entries(&ipvsadm::save()), expected);
    }
}
