//! Runs a real Prometheus against the daemon's endpoint, with the shipped alerts.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_lab_tests::{fresh_namespace, program, run, run_with};
use serde_json::Value;

use super::deploy;

const DAEMON: &str = "127.0.0.1:9479";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// A process that is killed when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::options().create(true).append(true).open(log).expect("a log");
        let errors = log.try_clone().expect("a log");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        Self(command.spawn().expect("it runs"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the values that a query finds.
fn query(query: &str) -> Vec<(Value, String)> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--get", "--data-urlencode", &format!("query={query}")]);
    let answer = curl.arg(format!("http://{PROMETHEUS}/api/v1/query")).output().expect("curl");
    // The answer is empty until Prometheus listens.
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
    let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let value = |each: &Value| each["value"][1].as_str().unwrap_or_default().to_owned();
    found.iter().map(|each| (each["metric"].clone(), value(each))).collect()
}

#[track_caller]
fn wait_for(log: &Path, what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        let limit = Duration::from_secs(120);
        assert!(began.elapsed() < limit, "{what}\n{}", fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_prometheus_scrapes_the_daemon_and_raises_the_alert_of_a_bad_spec() {
    const SPEC: &str = "version: 1
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    scheduler: wrr
    forward: nat
    real_servers: [{ address: 192.0.2.11, port: 8080, weight: 3 }]
";
    fresh_namespace();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let log = path("log");
    fs::write(path("spec.yaml"), SPEC).expect("a spec");
    let rules = deploy().join("evenkeel.rules.yaml");
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\n\
         scrape_configs:\n  - job_name: evenkeel\n    static_configs: [{{ targets: ['{DAEMON}'] }}]\n",
        rules.display()
    );
    fs::write(path("prometheus.yaml"), config).expect("a file");
    let mut daemon = Command::new(program());
    daemon.arg("watch").arg("--state-dir").arg(path("state")).args(["--listen", DAEMON]);
    let _daemon = Process::start(daemon.arg(path("spec.yaml")), &log);
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", path("prometheus.yaml").display()));
    prometheus.arg(format!("--storage.tsdb.path={}", path("data").display()));
    prometheus.arg(format!("--web.listen-address={PROMETHEUS}")).arg("--log.level=warn");
    let _prometheus = Process::start(&mut prometheus, &log);

    let shows = |expression: &str, value: &str| {
        wait_for(&log, expression, || query(expression).iter().any(|(_, it)| it == value));
    };
    shows("up{job='evenkeel'}", "1");
    shows("evenkeel_ready", "1");
    let web = "service='web', vip='192.0.2.1', port='80', protocol='tcp'";
    shows(&format!("evenkeel_service_connections_total{{{web}}}"), "0");
    shows(&format!("evenkeel_real_server_weight{{{web}, real_server='192.0.2.11:8080'}}"), "3");
    shows("sum(evenkeel_passes_total{trigger='start'})", "1");
    shows("sum(evenkeel_pass_duration_seconds_bucket{le='+Inf'}) > bool 0", "1");
    // Prometheus stores the types of metrics only of a text that it could parse.
    let curl = "curl --silent --fail --max-time 60";
    let kinds = run(&format!("{curl} http://{PROMETHEUS}/api/v1/metadata?metric=evenkeel_passes"));
    assert!(kinds.contains("\"counter\""), "{kinds}");

    let text = run(&format!("{curl} http://{DAEMON}/metrics"));
    assert_eq!(run_with("promtool check metrics", &text), "");

    assert_eq!(query("ALERTS{alertstate='firing'}"), []);
    fs::write(path("spec.yaml"), SPEC.replace("wrr", "no-such")).expect("a spec");
    shows("ALERTS{alertname='EvenkeelBadSpec', alertstate='firing'}", "1");
    fs::write(path("spec.yaml"), SPEC.replace("weight: 3", "weight: 4")).expect("a spec");
    shows("evenkeel_real_server_weight", "4");
    wait_for(&log, "the end of the alert", || query("ALERTS").is_empty());
}
