//! Overrides of operators beside health checks.

use super::*;

fn enforced() -> String {
    r#"version: 1
scope: all
defaults:
  scheduler: wrr
  forward: nat
  check: { tcp: {}, interval: 500ms, fast: 200ms, timeout: 300ms, fall: 2, rise: 1 }
  health: { max_out: 50%, cut_after: 1h }
services:
  - name: web
    vip: 10.9.0.100
    port: 80
    real_servers: [{ address: 10.0.0.11, weight: 5 }, { address: 10.0.0.12, weight: 5 }]
  - name: web6
    vip: "fd09::100"
    port: 80
    real_servers: [{ address: "fd00::11", weight: 5 }, { address: "fd00::12", weight: 5 }]
"#
    .to_owned()
}

#[test]
fn an_operator_is_above_health_and_floors_never_bring_back_what_one_took_out() {
    let cluster = Cluster::new();
    let spec = enforced();
    cluster.site.write("director", &spec);
    let daemon = cluster.site.watch("director");
    let is = |first: &[u32], second: &[u32]| {
        cluster.weights_of("11") == first && cluster.weights_of("12") == second
    };
    cluster.eventually("all are up", &daemon, || is(&[5, 5], &[5, 5]));
    cluster.done(&["drain", "10.0.0.12", "--for", "1h", "--reason", "disks"]);
    cluster.done(&["disable", "[fd00::12]", "--for", "1h"]);
    cluster.eventually("rs2 is out", &daemon, || is(&[5, 5], &[0]));
    // The only other real server fails. It is kept, and rs2 does not come back.
    cluster.stop("rs1");
    cluster
        .eventually("rs1 is down", &daemon, || daemon.log().matches(" down target=").count() >= 2);
    std::thread::sleep(Duration::from_secs(1));
    assert!(is(&[5, 5], &[0]), "{:?}", cluster.weights());
    let plan = cluster.plan(&spec);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_eq!(plan.status.code(), Some(0), "{text}");
    assert!(text.contains("kept by `when_none: keep`, down since"), "{text}");
    assert!(text.contains("override of root, disks, until"), "{text}");
    // Both are there: health takes out half.
    cluster.done(&["clear", "--all"]);
    cluster.eventually("rs1 is out", &daemon, || is(&[0, 0], &[5, 5]));
    // Against a failing check.
    cluster.done(&["enable", "10.0.0.11", "--for", "1h"]);
    cluster.done(&["weight", "7", "[fd00::11]", "--for", "1h"]);
    cluster.eventually("rs1 is enabled", &daemon, || is(&[5, 7], &[5, 5]));
    assert_eq!(cluster.plan(&spec).status.code(), Some(0));
    cluster.done(&["clear", "--all"]);
    cluster.eventually("health decides again", &daemon, || is(&[0, 0], &[5, 5]));
}
