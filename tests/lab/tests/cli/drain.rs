//! Tests drains with connections that are really open: the real servers are sockets of this host
//! behind address translation.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::clock::Stepped;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

const VIP: &str = "192.0.2.1:80";

/// A host with sockets at 127.0.0.1 to 127.0.0.3 that accept connections and keep them open.
struct Farm {
    fixture: Fixture,
    _servers: Vec<TcpListener>,
}

impl Farm {
    fn new() -> Self {
        let fixture = Fixture::new("");
        let at = |number: u8| TcpListener::bind(SocketAddr::from(([127, 0, 0, number], 80)));
        Self { fixture, _servers: (1..=3).map(|number| at(number).unwrap()).collect() }
    }

    /// Returns a spec with these real servers and this drain.
    fn spec(&self, real_servers: &[u8], drain: &str) {
        let list: String = real_servers
            .iter()
            .map(|number| {
                format!("      - {{ address: 127.0.0.{number}, weight: {} }}\n", number + 4)
            })
            .collect();
        let list = if list.is_empty() { " []\n".to_owned() } else { format!("\n{list}") };
        self.fixture.write(
            "spec.yaml",
            format!(
                "version: 1\nscope: all\nvips: [ {{ address: 192.0.2.1, interface: eth0 }} ]\n\
                 sysctls: {{ net.ipv4.vs.expire_nodest_conn: 1 }}\nservices:\n  - name: web\n    \
                 vip: 192.0.2.1\n    port: 80\n    scheduler: rr\n    forward: nat\n    drain: \
                 {drain}\n    real_servers:{list}"
            ),
        );
    }

    fn apply(&self, options: &str) -> Answer {
        self.fixture.evenkeel(&format!("apply --yes spec.yaml {options}"))
    }

    /// Starts an apply, and returns the process and its stderr.
    fn start(&self, options: &str) -> (Child, BufReader<std::process::ChildStderr>) {
        let mut command = Command::new(program());
        command.args(["apply", "--yes", "spec.yaml"]).args(options.split_whitespace());
        command.arg("--state-dir").arg(self.fixture.path().join("state"));
        command.current_dir(self.fixture.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        (child, stderr)
    }
}

fn connect() -> TcpStream {
    TcpStream::connect(VIP).unwrap()
}

/// Returns the real servers of the service by their last numbers, with weights and active
/// connections, as `ipvsadm` lists them.
fn listed() -> Vec<(u8, u32, u32)> {
    let text = run("ipvsadm -Ln");
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix("-> 127.0.0."));
    rows.map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let number = words[0].split(':').next().unwrap().parse().unwrap();
        (number, words[2].parse().unwrap(), words[3].parse().unwrap())
    })
    .collect::<BTreeSet<_>>()
    .into_iter()
    .collect()
}

fn until(stderr: &mut impl BufRead, word: &str) -> String {
    let (mut said, mut line) = (String::new(), String::new());
    while !line.contains(word) {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended without `{word}`: {said}");
        said.push_str(&line);
    }
    line
}

#[test]
fn a_removed_real_server_keeps_its_connections_until_they_end() {
    let farm = Farm::new();
    farm.spec(&[1, 2], "60s");
    assert_eq!(farm.apply("").status, 0);
    let mut open = [connect(), connect()];
    assert_eq!(listed(), [(1, 5, 1), (2, 6, 1)]);

    farm.spec(&[2], "60s");
    let plan = farm.fixture.done("plan spec.yaml");
    assert!(plan.contains("~ drain real server 127.0.0.1:80 of web/192.0.2.1:80/tcp: weight 5 -> 0, for 1m at most"), "{plan}");
    assert!(plan.contains("1 connection"), "{plan}");
    let (child, mut stderr) = farm.start("");
    let line = until(&mut stderr, "draining");
    assert!(line.contains("127.0.0.1:80 of web/192.0.2.1:80/tcp: 1 connection, 1m left"), "{line}");
    // New clients reach other real servers; the open connections stay.
    assert_eq!(listed(), [(1, 0, 1), (2, 6, 1)]);
    open.iter_mut().for_each(|stream| stream.write_all(b"still here").unwrap());
    let others: Vec<TcpStream> = (0..4).map(|_| connect()).collect();
    assert_eq!(listed(), [(1, 0, 1), (2, 6, 5)]);
    drop(others);
    let begin = Instant::now();
    drop(open);
    until(&mut stderr, "drained");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(begin.elapsed() < Duration::from_secs(20), "the connection was gone long before");
    assert_eq!(listed().len(), 1);
    farm.fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_drain_ends_at_its_deadline_and_the_report_shows_the_remaining_connections() {
    let farm = Farm::new();
    farm.spec(&[1], "2s");
    assert_eq!(farm.apply("").status, 0);
    let _open = connect();
    farm.spec(&[2], "2s");
    let begin = Instant::now();
    let answer = farm.apply("");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(begin.elapsed() >= Duration::from_secs(2));
    assert!(answer.stderr.contains("1 connection broke"), "{answer:?}");
    assert_eq!(listed(), [(2, 6, 0)]);
}

#[test]
fn a_drain_that_is_not_waited_for_continues_in_the_next_apply_and_is_cancelled_by_listing_again() {
    let farm = Farm::new();
    farm.spec(&[1, 2], "1h");
    assert_eq!(farm.apply("").status, 0);
    let open = [connect(), connect()];
    farm.spec(&[2, 3], "1h");
    let answer = farm.apply("--no-wait");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(
        answer.stdout.contains("- delete real server 127.0.0.1:80")
            && answer.stdout.contains(": draining"),
        "{answer:?}"
    );
    // Steps that do not depend on the drain are done.
    assert_eq!(listed(), [(1, 0, 1), (2, 6, 1), (3, 7, 0)]);
    let plan = farm.fixture.evenkeel("plan --detailed-exitcode spec.yaml");
    assert_eq!(plan.status, 2, "{plan:?}");
    assert!(!plan.stdout.contains("# drift"), "{plan:?}");

    farm.spec(&[1, 2, 3], "1h");
    assert_eq!(farm.apply("").status, 0);
    assert_eq!(listed(), [(1, 5, 1), (2, 6, 1), (3, 7, 0)]);
    farm.fixture.assert_in_sync("spec.yaml");

    farm.spec(&[2, 3], "1h");
    assert_eq!(farm.apply("--no-wait").status, 0);
    drop(open);
    // A closed connection may count as active for at most half a minute.
    let end = Instant::now() + Duration::from_secs(30);
    while listed().len() > 2 {
        assert!(Instant::now() < end, "{:?}", listed());
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(farm.apply("--no-wait").status, 0);
    }
    farm.fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_removed_service_drains_with_its_vip_bound() {
    let farm = Farm::new();
    farm.spec(&[1, 2], "1h");
    assert_eq!(farm.apply("").status, 0);
    let mut open = connect();
    farm.fixture.write("spec.yaml", "version: 1\nscope: all\nservices: []\n");
    let (child, mut stderr) = farm.start("--allow empty");
    until(&mut stderr, "draining");
    assert!(listed().iter().all(|(_, weight, _)| *weight == 0), "{:?}", listed());
    assert!(addresses().contains("192.0.2.1/32 eth0"));
    open.write_all(b"still here").unwrap();
    // New clients are refused immediately.
    assert!(TcpStream::connect_timeout(&VIP.parse().unwrap(), Duration::from_secs(5)).is_err());
    drop(open);
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(ipvsadm::save().is_empty() && addresses().is_empty());
}

#[test]
fn a_drain_interrupted_by_ctrl_c_or_a_kill_is_finished_by_the_next_apply() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let farm = Farm::new();
        farm.spec(&[1, 2], "1h");
        assert_eq!(farm.apply("").status, 0);
        let open = [connect(), connect()];
        farm.spec(&[2], "1h");
        let (mut child, mut stderr) = farm.start("");
        until(&mut stderr, "draining");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let mut words = String::new();
        stderr.read_to_string(&mut words).unwrap();
        let status = child.wait().unwrap();
        if signal != Signal::SIGKILL {
            assert_eq!(status.code(), Some(1), "{words}");
            assert!(words.contains("interrupted"), "{words}");
        }
        assert_eq!(listed(), [(1, 0, 1), (2, 6, 1)]);
        drop(open);
        let answer = farm.apply("");
        assert_eq!(answer.status, 0, "{answer:?}");
        assert_eq!(listed().len(), 1);
        farm.fixture.assert_in_sync("spec.yaml");
    }
}

#[test]
fn an_ignored_weight_is_restored_when_a_drain_is_cancelled() {
    let farm = Farm::new();
    let spec = |real_servers: &[u8]| {
        farm.spec(real_servers, "1h");
        let path = farm.fixture.path().join("spec.yaml");
        let text = std::fs::read_to_string(path).unwrap();
        farm.fixture
            .write("spec.yaml", text.replace("    drain:", "    ignore: [weight]\n    drain:"));
    };
    spec(&[1, 2]);
    assert_eq!(farm.apply("").status, 0);
    run("ipvsadm -e -t 192.0.2.1:80 -r 127.0.0.1:80 -m -w 77");
    let _open = [connect(), connect()];
    spec(&[2]);
    assert_eq!(farm.apply("--no-wait").status, 0);
    assert_eq!(listed()[0], (1, 0, 1));
    spec(&[1, 2]);
    assert_eq!(farm.apply("").status, 0);
    assert_eq!(listed()[0], (1, 77, 1));
}

#[test]
fn on_a_terminal_a_bar_shows_the_connections_left_and_the_time() {
    let farm = Farm::new();
    farm.spec(&[1, 2], "3s");
    assert_eq!(farm.apply("").status, 0);
    let _open = [connect(), connect()];
    farm.spec(&[2], "3s");
    let state = farm.fixture.path().join("state");
    let apply =
        format!("{} apply --yes spec.yaml --state-dir {}", program().display(), state.display());
    let mut terminal = Command::new("script");
    // A terminal that can move its cursor, whatever the one is in which the tests run.
    terminal.env("TERM", "xterm");
    terminal.args(["-qec", &apply, "/dev/null"]).current_dir(farm.fixture.path());
    let output = terminal.stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    for words in ["draining real server 127.0.0.1:80", "1 connection, 3s left"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let counted_down = ["1 connection, 2s left", "1 connection, 1s left"];
    assert!(counted_down.iter().any(|words| shown.contains(words)), "{shown}");
}

#[test]
fn a_draining_real_server_whose_weight_another_program_raises_is_lowered_again() {
    let farm = Farm::new();
    farm.spec(&[1, 2], "60s");
    assert_eq!(farm.apply("").status, 0);
    let open = [connect(), connect()];
    farm.spec(&[2], "60s");
    let (child, mut stderr) = farm.start("");
    until(&mut stderr, "draining");
    for _ in 0..3 {
        assert_eq!(listed()[0], (1, 0, 1));
        run(&format!("ipvsadm -e -t {VIP} -r 127.0.0.1:80 -m -w 9"));
        let end = Instant::now() + Duration::from_secs(5);
        while listed()[0] != (1, 0, 1) {
            assert!(Instant::now() < end, "it keeps its weight: {:?}", listed());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    drop(open);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(listed().len(), 1);
}

#[test]
fn a_real_server_that_another_program_adds_to_a_departing_service_drains_too() {
    let farm = Farm::new();
    farm.spec(&[1], "20s");
    assert_eq!(farm.apply("").status, 0);
    let open = connect();
    farm.fixture.write("spec.yaml", "version: 1\n# nothing\nscope: all\n");
    let (child, mut stderr) = farm.start("--allow empty");
    until(&mut stderr, "draining");
    run(&format!("ipvsadm -a -t {VIP} -r 127.0.0.2:80 -m -w 1"));
    let mut other = connect();
    assert_eq!(listed(), [(1, 0, 1), (2, 1, 1)]);
    drop(open);
    // The wait for the first drain is over; the second one runs now, with the VIP bound.
    let end = Instant::now() + Duration::from_secs(15);
    while listed().iter().any(|(number, weight, _)| (*number, *weight) == (2, 1)) {
        assert!(Instant::now() < end, "it keeps its weight: {:?}", listed());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(addresses().iter().any(|address| address.contains("192.0.2.1")), "{:?}", addresses());
    assert_eq!(listed().last(), Some(&(2, 0, 1)));
    other.write_all(b"still here").unwrap();
    drop(other);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("another program added real server "), "{rest}");
    assert!(!rest.contains("drain deadline"), "{rest}");
    assert_eq!(listed(), []);
}

#[test]
fn a_drain_lasts_exactly_its_time_even_if_the_clock_is_set() {
    const HOUR: i64 = 3_600;
    for (step, options) in [(HOUR, ""), (-HOUR, ""), (HOUR, "--no-wait"), (-HOUR, "--no-wait")] {
        let farm = Farm::new();
        farm.spec(&[1], "6s");
        assert_eq!(farm.apply("").status, 0);
        let _open = connect();
        farm.spec(&[2], "6s");
        let begin = Instant::now();
        let (child, mut stderr) = if options.is_empty() {
            let (child, mut stderr) = farm.start("");
            until(&mut stderr, "draining");
            std::thread::sleep(Duration::from_secs(1));
            let stepped = Stepped::by(step);
            (child, (stderr, stepped))
        } else {
            assert_eq!(farm.apply(options).status, 0);
            let stepped = Stepped::by(step);
            std::thread::sleep(Duration::from_secs(2));
            let plan = farm.fixture.done("plan spec.yaml");
            assert!(["5s left", "4s left"].iter().any(|left| plan.contains(left)), "{plan}");
            let (child, stderr) = farm.start("");
            (child, (stderr, stepped))
        };
        let mut said = String::new();
        stderr.0.read_to_string(&mut said).unwrap();
        let output = child.wait_with_output().unwrap();
        let took = begin.elapsed();
        assert!(output.status.success(), "{step} {options}: {said}");
        assert!(said.contains("1 connection broke"), "{step} {options}: {said}");
        let (least, most) = (Duration::from_secs(6), Duration::from_secs(10));
        assert!(least <= took && took < most, "{step} {options}: {took:?}");
        assert_eq!(listed(), [(2, 6, 0)]);
    }
}
