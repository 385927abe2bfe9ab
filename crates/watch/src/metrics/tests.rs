use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use evenkeel_control::{
    ActiveSpec, Conflict, ConflictChange, HealthStatus, Held, OverriddenServer, OverrideStatus,
    PassStatus, Pause, ServiceHealthStatus, SpecProblem, State, Status,
};
use evenkeel_health::{CheckId, Counts, Hysteresis, LastProbe, Moment, Outcome, Report};
use evenkeel_model::Verdict;
use evenkeel_model::check::{Check, Kind, KindName, Target};
use evenkeel_model::statistics::{Rates, RealServerStatistics, Statistics, Traffic};
use evenkeel_spec::Source;

use super::*;
use crate::test_fixtures;

/// The table of every metric.
const DOCUMENTED: &str = include_str!("../../../../deploy/metrics.md");

/// The alerts on them.
const ALERTS: &str = include_str!("../../../../deploy/evenkeel.rules.yaml");

/// A kernel with the desired state of a spec and counters that are not 0.
struct Kernel {
    spec: String,
    readings: Arc<AtomicUsize>,
    is_down: bool,
}

impl TrafficReader for Kernel {
    fn read(&mut self) -> Result<TrafficReading, String> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        if self.is_down {
            return Err("the kernel does not answer".into());
        }
        let loaded = evenkeel_spec::load(&[Source::new("spec", self.spec.as_str())]);
        let loaded = loaded.expect("a good spec");
        let desired = Arc::new(loaded.desired.clone());
        let live = loaded.into_live();
        let mut statistics = Statistics::default();
        for (key, service) in &live.services {
            let counted = statistics.services.entry(*key).or_default();
            counted.traffic = traffic();
            for (key, _) in &service.real_servers {
                let real_server = RealServerStatistics {
                    active_connections: 11,
                    inactive_connections: 12,
                    persistent_connections: 13,
                    traffic: traffic(),
                };
                counted.real_servers.insert(*key, real_server);
            }
        }
        Ok(TrafficReading { desired, live, statistics })
    }
}

/// More than a 32-bit counter or a float can represent.
const MANY: u64 = (1 << 53) + 1;

fn traffic() -> Traffic {
    let rates = Rates { connections: 6, packets_in: 7, packets_out: 8, bytes_in: 9, bytes_out: 10 };
    Traffic { connections: 1, packets_in: 2, packets_out: 3, bytes_in: MANY, bytes_out: 5, rates }
}

fn spec() -> String {
    "version: 1\n\
     services:\n\
     - name: web\n  vip: 192.0.2.1\n  ports: [80, 443]\n  scheduler: wrr\n  forward: dr\n  real_servers:\n\
     \x20 - { address: 192.0.2.11, weight: 3 }\n  - { address: 192.0.2.12, weight: 1 }\n\
     - name: mail\n  fwmark: 7\n  family: ipv6\n  scheduler: wrr\n  forward: dr\n  real_servers:\n\
     \x20 - { address: \"2001:db8::11\", weight: 2 }\n"
        .to_owned()
}

fn metrics_of(spec: String, options: TrafficOptions) -> (Metrics, Arc<AtomicUsize>) {
    let readings = Arc::new(AtomicUsize::new(0));
    let kernel = Kernel { spec, readings: Arc::clone(&readings), is_down: false };
    (Metrics::new("1.2.3", Some((Box::new(kernel), options))), readings)
}

/// Returns the exposition in the older format, whose names are those that queries use.
fn text(metrics: &Metrics) -> String {
    text_in(metrics, Format::Classic)
}

fn text_in(metrics: &Metrics, format: Format) -> String {
    metrics.text(format).iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

fn conflict(object: &str) -> Conflict {
    let change = ConflictChange { field: "weight".into(), expected: "1".into(), found: "2".into() };
    Conflict { object: object.into(), change, times: 5, next: 1 }
}

/// Returns a status in which nearly every gauge has a value of its own.
fn eventful() -> Status {
    let held = Held { id: "x".into(), since: 71, guards: BTreeMap::default(), steps: 3 };
    let problem = SpecProblem { since: 72, text: "bad".into(), temporary: false };
    let active = ActiveSpec { digest: "ab12".into(), generation: 73, since: 74 };
    let pass = PassStatus {
        at: 75,
        trigger: Trigger::Start,
        result: "changed".into(),
        milliseconds: 1,
        changes: 1,
    };
    let mut status = test_fixtures::status();
    status.state = State::Held;
    status.spec.held = Some(held);
    status.spec.problem = Some(problem);
    status.spec.active = Some(active);
    status.paused = Some(Pause { since: 1, until: None });
    status.last_pass = Some(pass);
    status.last_success = Some(76);
    status.draining = 77;
    status.unmanaged = 78;
    status.services_not_local = 84;
    status.services_without_servers = 85;
    status.services = 79;
    status.real_servers = 80;
    status.vips = 81;
    status.conflicts = ["a", "a", "b"].map(conflict).into();
    status.pending_steps = vec!["a step".into(); 82];
    status.known_writers = vec!["keepalived".into(); 83];
    status.overrides = ["weight 3", "drain"].map(overridden).into();
    let service = "web/192.0.2.1:80/tcp".into();
    let services = vec![ServiceHealthStatus { service, quorum: false, out: 2 }];
    status.health = Some(HealthStatus { checks: 1, held: Vec::new(), services });
    status
}

/// A check that passed after a failure.
fn checked() -> Report {
    let check = Check::new(Kind::Icmp);
    let target = Target { address: [10, 0, 0, 1].into(), port: 80 };
    let (at, duration) = (Moment::now(), Duration::from_millis(250));
    Report {
        id: CheckId::of(target, &check),
        target,
        kind: KindName::Icmp,
        state: Hysteresis::assumed(Verdict::Up, at),
        last: Some(LastProbe { outcome: Outcome::Passed, at, duration }),
        counts: Counts { passed: 1, failed: 1, unknown: 0, late: 2 },
    }
}

/// An override of the real server of the service `web`.
fn overridden(action: &str) -> OverrideStatus {
    OverrideStatus {
        target: "10.0.0.1".into(),
        action: action.into(),
        by: "root".into(),
        reason: String::new(),
        since: 5,
        until: None,
        real_servers: vec![OverriddenServer {
            service: "web/192.0.2.1:80/tcp".into(),
            real_server: "10.0.0.1:80".into(),
        }],
    }
}

#[test]
fn a_real_server_has_the_override_that_is_in_force() {
    let text = text(&busy());
    let series: Vec<&str> =
        text.lines().filter(|line| line.starts_with("evenkeel_override{")).collect();
    let expected = "evenkeel_override{service=\"web/192.0.2.1:80/tcp\",real_server=\"10.0.0.1:80\",action=\"drain\"} 1";
    assert_eq!(series, [expected]);
}

/// Returns metrics in which every event has been counted.
fn busy() -> Metrics {
    let (metrics, _) = metrics_of(spec(), TrafficOptions::default());
    metrics.pass(Trigger::Resync, "in_sync", Duration::from_millis(3));
    metrics.drift("service");
    metrics.operation("add", "applied");
    metrics.reload(Reload::Bad);
    metrics.status(Arc::new(eventful()));
    let checked = checked();
    metrics.checks().lock().insert(checked.id, checked);
    metrics
}

/// The type, the names of the labels and the help text, by name.
type Described = BTreeMap<String, (String, BTreeSet<String>, String)>;

fn described(text: &str) -> Described {
    let mut all = Described::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|it| it.split_once(' ')) {
            let help = help.to_owned();
            let before = all.insert(name.to_owned(), (String::new(), BTreeSet::new(), help));
            assert_eq!(before, None, "{name} is there twice");
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' '))
        {
            all.get_mut(name).expect(name).0 = kind.to_owned();
        } else {
            let name = line.split(['{', ' ']).next().expect("a name");
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|name| all.contains_key(*name))
                .unwrap_or(name);
            let labels = line.split("=\"").map(|piece| piece.rsplit(['{', ',']).next());
            let labels = labels.flatten().map(str::to_owned);
            let labels: BTreeSet<_> = labels.filter(|it| !it.contains(['"', ' '])).collect();
            all.get_mut(family).expect(line).1.extend(labels);
        }
    }
    all
}

const SERVICE: [&str; 6] = ["service", "vip", "port", "protocol", "fwmark", "family"];

/// Reads the table: name, type, labels, meaning.
fn documented() -> Described {
    let rows = DOCUMENTED.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("{row}") };
        let labels: Vec<_> = match labels {
            "of a service" => SERVICE.to_vec(),
            "of a real server" => [&SERVICE[..], &["real_server"]].concat(),
            labels => labels.split(", ").map(|label| label.trim_matches('`')).collect(),
        };
        let labels = labels.into_iter().filter(|label| !label.is_empty()).map(str::to_owned);
        let labels = labels.collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels, meaning.to_owned()))
    });
    rows.collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let mut there = described(&text(&busy()));
    // The bounds of the buckets are part of the format.
    there.get_mut("evenkeel_pass_duration_seconds").expect("a histogram").1.remove("le");
    let documented = documented();
    for (name, found) in &there {
        assert_eq!(documented.get(name), Some(found), "{name}");
    }
    for name in documented.keys() {
        assert!(there.contains_key(name), "{name} is documented but does not exist");
    }
}

#[test]
fn alerts_use_existing_metrics() {
    let documented = documented();
    let expressions = ALERTS.split(|each: char| !each.is_ascii_alphanumeric() && each != '_');
    let names: BTreeSet<_> = expressions.filter(|word| word.starts_with("evenkeel_")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(documented.contains_key(name), "{name}");
    }
}

#[test]
fn events_are_counted_by_their_labels() {
    let metrics = busy();
    metrics.pass(Trigger::Resync, "in_sync", Duration::from_secs(2));
    metrics.pass(Trigger::Spec, "failed", Duration::from_secs(100));
    let text = text(&metrics);
    for line in [
        "evenkeel_passes_total{trigger=\"resync\",result=\"in_sync\"} 2",
        "evenkeel_passes_total{trigger=\"spec\",result=\"failed\"} 1",
        "evenkeel_pass_duration_seconds_bucket{le=\"0.0025\"} 0",
        "evenkeel_pass_duration_seconds_bucket{le=\"0.005\"} 1",
        "evenkeel_pass_duration_seconds_bucket{le=\"30.0\"} 2",
        "evenkeel_pass_duration_seconds_count 3",
        "evenkeel_drift_total{kind=\"service\"} 1",
        "evenkeel_operations_total{verb=\"add\",outcome=\"applied\"} 1",
        "evenkeel_spec_loads_total{result=\"good\"} 0",
        "evenkeel_spec_loads_total{result=\"bad\"} 1",
        "evenkeel_spec_loads_total{result=\"held\"} 0",
        "evenkeel_build_info{version=\"1.2.3\"} 1",
    ] {
        assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
    }
}

#[test]
fn gauges_show_the_last_status() {
    let metrics = busy();
    let shown = |line: &str| text(&metrics).lines().any(|each| each == line);
    for (name, value) in [
        ("state{state=\"held\"}", 1),
        ("state{state=\"ok\"}", 0),
        ("ready", 0),
        ("enforcing", 1),
        ("paused", 1),
        ("plan_held", 1),
        ("plan_held_since_timestamp_seconds", 71),
        ("spec_problem", 1),
        ("spec_problem_since_timestamp_seconds", 72),
        ("spec_generation", 73),
        ("spec_info{digest=\"ab12\"}", 1),
        ("last_pass_timestamp_seconds", 75),
        ("last_success_timestamp_seconds", 76),
        ("draining_real_servers", 77),
        ("unmanaged_services", 78),
        ("services_not_local", 84),
        ("services_without_servers", 85),
        ("services", 79),
        ("real_servers", 80),
        ("vips", 81),
        ("pending_steps", 82),
        ("known_writers", 83),
        ("failing_objects", 0),
        ("conflicts", 2),
    ] {
        assert!(shown(&format!("evenkeel_{name} {value}")), "{name}\n{}", text(&metrics));
    }
    metrics.status(Arc::new(Status { state: State::Ok, ..test_fixtures::status() }));
    for line in ["ready 1", "state{state=\"ok\"} 1", "state{state=\"held\"} 0", "plan_held 0"] {
        assert!(shown(&format!("evenkeel_{line}")), "{line}");
    }
    assert!(!text(&metrics).contains("spec_info"));
}

#[test]
fn health_checks_show_their_verdict_their_last_probe_and_their_counts() {
    let text = text(&busy());
    let (checked, service) = (checked(), "service=\"web/192.0.2.1:80/tcp\"");
    let id = checked.id.to_string();
    let check = format!("target=\"10.0.0.1:80\",check=\"icmp\",id=\"{}\"", &id[..8]);
    for line in [
        format!("check_up{{{check}}} 1"),
        format!("check_duration_seconds{{{check}}} 0.25"),
        format!("checks_total{{{check},result=\"passed\"}} 1"),
        format!("checks_total{{{check},result=\"failed\"}} 1"),
        format!("checks_total{{{check},result=\"unknown\"}} 0"),
        format!("checks_late_total{{{check}}} 2"),
        format!("health_out{{{service}}} 2"),
        format!("health_quorum{{{service}}} 0"),
    ] {
        let line = format!("evenkeel_{line}");
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}

#[test]
fn before_the_first_status_the_state_is_starting() {
    let metrics = Metrics::new("1.2.3", None);
    let text = text(&metrics);
    assert!(text.contains("evenkeel_state{state=\"starting\"} 1\n"), "{text}");
    assert!(text.contains("evenkeel_ready 0\n"), "{text}");
    assert!(!text.contains("traffic"), "{text}");
}

#[test]
fn traffic_is_exported_completely_under_the_names_of_the_spec() {
    let text = text(&busy());
    let web = "service=\"web\",vip=\"192.0.2.1\",port=\"443\",protocol=\"tcp\"";
    let mail = "service=\"mail\",fwmark=\"7\",family=\"ipv6\"";
    let web_11 = &format!("{web},real_server=\"192.0.2.11:443\"");
    let mail_11 = &format!("{mail},real_server=\"[2001:db8::11]:0\"");
    for (name, labels, value) in [
        ("service_connections_total", web, 1),
        ("service_incoming_packets_total", mail, 2),
        ("service_outgoing_packets_total", web, 3),
        ("service_incoming_bytes_total", web, MANY),
        ("service_outgoing_bytes_total", web, 5),
        ("service_connections_per_second", web, 6),
        ("service_incoming_packets_per_second", web, 7),
        ("service_outgoing_packets_per_second", web, 8),
        ("service_incoming_bytes_per_second", web, 9),
        ("service_outgoing_bytes_per_second", web, 10),
        ("service_active_connections", web, 22),
        ("service_inactive_connections", mail, 12),
        ("service_persistent_connections", web, 26),
        ("real_server_incoming_bytes_total", web_11, MANY),
        ("real_server_active_connections", web_11, 11),
        ("real_server_weight", web_11, 3),
        ("real_server_weight", mail_11, 2),
        ("traffic_readable", "", 1),
        ("traffic_objects_omitted", "", 0),
    ] {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let line = format!("evenkeel_{name}{labels} {value}");
        assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("evenkeel_service_weight"), "{text}");
}

#[test]
fn many_scrapes_cost_one_reading() {
    let (metrics, readings) = metrics_of(spec(), TrafficOptions::default());
    let scrapes: Vec<_> = (0..8)
        .map(|number| {
            let metrics = metrics.clone();
            let format = if number % 2 == 0 { Format::Classic } else { Format::OpenMetrics };
            std::thread::spawn(move || text_in(&metrics, format).len())
        })
        .collect();
    assert!(scrapes.into_iter().all(|each| each.join().expect("a text") > 1000));
    assert_eq!(readings.load(Ordering::Relaxed), 1);
    std::thread::sleep(Duration::from_millis(1100));
    text(&metrics);
    assert_eq!(readings.load(Ordering::Relaxed), 2);
}

#[test]
fn beyond_the_limit_real_servers_are_omitted_first_and_then_services() {
    // 3 services, with 2, 2 and 1 real servers.
    let count = |limit, detail| {
        let (metrics, _) = metrics_of(spec(), TrafficOptions { detail, limit });
        let text = text(&metrics);
        let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        let omitted = text.lines().find(|line| line.starts_with("evenkeel_traffic_objects_"));
        let omitted = omitted.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        (
            lines("evenkeel_service_connections_total{"),
            lines("evenkeel_real_server_weight{"),
            omitted.expect("a number"),
        )
    };
    assert_eq!(count(8, Detail::RealServers), (3, 5, 0));
    assert_eq!(count(7, Detail::RealServers), (3, 0, 5));
    assert_eq!(count(3, Detail::RealServers), (3, 0, 5));
    assert_eq!(count(2, Detail::RealServers), (2, 0, 6));
    assert_eq!(count(0, Detail::RealServers), (0, 0, 8));
    assert_eq!(count(3, Detail::Services), (3, 0, 0));
    assert_eq!(count(1, Detail::Services), (1, 0, 2));
}

#[test]
fn traffic_that_is_off_is_not_read() {
    let off = TrafficOptions { detail: Detail::Off, ..TrafficOptions::default() };
    let (metrics, readings) = metrics_of(spec(), off);
    assert!(!text(&metrics).contains("traffic"));
    assert_eq!(readings.load(Ordering::Relaxed), 0);
}

#[test]
fn an_unreadable_kernel_removes_only_its_own_counters() {
    let kernel = Kernel { spec: spec(), readings: Arc::default(), is_down: true };
    let metrics = Metrics::new("1.2.3", Some((Box::new(kernel), TrafficOptions::default())));
    let text = text(&metrics);
    assert!(text.contains("evenkeel_traffic_readable 0\n"), "{text}");
    assert!(!text.contains("evenkeel_service_"), "{text}");
    assert!(text.contains("evenkeel_ready 0\n"), "{text}");
}

#[test]
fn openmetrics_has_one_end_mark_at_the_end() {
    for metrics in [busy(), Metrics::new("1.2.3", None)] {
        let text = text_in(&metrics, Format::OpenMetrics);
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.contains("# TYPE evenkeel_passes counter\n") || !text.contains("_passes"));
    }
}
