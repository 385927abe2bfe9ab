//! `evenkeel check`, and health checks of `plan` and `apply` without a daemon.

use super::*;

const SPEC: &str = r#"version: 1
scope: all
defaults: { forward: nat, scheduler: wrr, check: { http: { path: / }, fast: 100ms, timeout: 500ms, fall: 2 } }
services:
  - name: web
    vip: 10.9.0.100
    port: 80
    real_servers: [{ address: 10.0.0.11, weight: 5 }, { address: 10.0.0.12, weight: 5 }]
  - name: web6
    vip: "fd09::100"
    port: 80
    real_servers: [{ address: "fd00::11", weight: 5 }, { address: "fd00::12", weight: 5 }]
"#;

impl Cluster {
    fn with_spec(&self, arguments: &[&str]) -> Output {
        let path = self.site.spec_path();
        std::fs::write(&path, SPEC).unwrap();
        self.site.command("director", arguments).arg(path).output().unwrap()
    }

    #[track_caller]
    fn apply(&self, arguments: &[&str]) -> String {
        let output = self.with_spec(&[&["apply", "--yes"], arguments].concat());
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        assert!(output.status.success(), "{stdout}{stderr}");
        format!("{stdout}{stderr}")
    }
}

#[test]
fn check_makes_each_check_once_and_ends_with_the_result() {
    let cluster = Cluster::new();
    let check = |services: &[&str]| {
        let path = cluster.site.spec_path();
        std::fs::write(&path, SPEC).unwrap();
        let mut command = cluster.site.command("director", &["check"]);
        let output = command.args(services).arg("--spec").arg(path).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = check(&[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.ends_with("4 checks: 4 passed, 0 not.\n"), "{text}");
    cluster.stop("rs1");
    let (status, text) = check(&[]);
    assert_eq!(status, Some(1), "{text}");
    assert_eq!(text.matches("connection refused").count(), 2, "{text}");
    let (status, text) = check(&["web6"]);
    assert_eq!(status, Some(1));
    assert!(text.contains("[fd00::11]:80") && !text.contains("10.0.0.11"), "{text}");
    let (status, _) = check(&["wbe"]);
    assert_eq!(status, Some(64));
    // It changes nothing.
    assert_eq!(cluster.weights(), BTreeMap::new());
}

#[test]
fn without_a_daemon_apply_checks_what_it_adds_or_raises() {
    let cluster = Cluster::new();
    cluster.stop("rs1");
    let weights = || (cluster.weights_of("11"), cluster.weights_of("12"));
    // What is added is checked.
    let plan = cluster.with_spec(&["plan"]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    let text = cluster.apply(&[]);
    assert_eq!(weights(), (vec![0, 0], vec![5, 5]), "{text}");
    let steps = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.trim_start().starts_with('+'))
            .map(|line| line.trim_end_matches(": applied").to_owned())
            .collect()
    };
    assert_eq!(steps(&plan), steps(&text), "plan and apply do the same");
    assert!(!steps(&plan).is_empty());
    // What is down is held, and nothing is to be done.
    let again = cluster.with_spec(&["plan", "--detailed-exitcode"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    // What is in use is not checked.
    cluster.stop("rs2");
    cluster.apply(&[]);
    assert_eq!(weights(), (vec![0, 0], vec![5, 5]));
    // What is raised is checked.
    cluster.start("rs1");
    cluster.apply(&["--health", "live"]);
    assert_eq!(weights(), (vec![0, 0], vec![5, 5]), "what the kernel does not have in use is down");
    cluster.apply(&[]);
    assert_eq!(weights(), (vec![5, 5], vec![5, 5]));
    // All down: they are kept in use, which is no verdict. A second apply has nothing to do.
    cluster.site.run("director", "ipvsadm -C");
    cluster.stop("rs1");
    let text = cluster.apply(&[]);
    assert_eq!(weights(), (vec![5, 5], vec![5, 5]), "{text}");
    let again = cluster.with_spec(&["plan", "--detailed-exitcode"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("kept by `when_none: keep`"));
    // Nothing is checked.
    cluster.site.run("director", "ipvsadm -C");
    cluster.stop("rs1");
    cluster.apply(&["--health", "off"]);
    assert_eq!(weights(), (vec![5, 5], vec![5, 5]));
}

#[test]
fn with_a_daemon_apply_and_show_follow_its_verdicts() {
    let cluster = Cluster::new();
    cluster.site.write("director", SPEC);
    let daemon = cluster.site.watch("director");
    cluster.eventually("all are up", &daemon, || cluster.weights_of("11") == [5, 5]);
    cluster.stop("rs1");
    cluster.eventually("rs1 is out", &daemon, || cluster.weights_of("11") == [0, 0]);
    // Beside a daemon, only its own spec may be applied.
    let followed = cluster.site.spec_path().with_file_name("director.yaml");
    let output = cluster.site.command("director", &["apply", "--yes"]).arg(followed).output();
    assert!(output.unwrap().status.success());
    assert_eq!(cluster.weights_of("11"), [0, 0]);
    let shown = cluster.with_spec(&["show"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let row = shown.lines().find(|line| line.contains("10.0.0.11:80")).unwrap();
    assert!(
        row.contains("down") && row.contains("http") && row.ends_with("connection refused"),
        "{shown}"
    );
    let row = shown.lines().find(|line| line.contains("[fd00::12]:80")).unwrap();
    assert!(row.contains("up"), "{shown}");
    // Drift under a verdict is repaired.
    cluster.site.run("director", "ipvsadm -e -t 10.9.0.100:80 -r 10.0.0.11:80 -m -w 9");
    cluster.eventually("drift is repaired", &daemon, || cluster.weights_of("11") == [0, 0]);
    // The daemon is gone: its verdicts hold for a minute.
    drop(daemon);
    cluster.apply(&["--health", "live"]);
    assert_eq!(cluster.weights_of("11"), [0, 0]);
}
