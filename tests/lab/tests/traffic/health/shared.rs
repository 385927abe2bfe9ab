//! A pool that many services share is probed once.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn a_pool_of_50_in_100_services_makes_50_probes() {
    let cluster = Cluster::new();
    let servers = 50_u8;
    cluster.site.run("rs1", "ip route add local 10.1.0.0/24 dev lo");
    cluster.site.run("director", "ip route add 10.1.0.0/24 via 10.0.0.11");
    let count = Arc::new(AtomicUsize::new(0));
    let listener =
        cluster.site.machines["rs1"].run(|| TcpListener::bind("0.0.0.0:8080").unwrap()).unwrap();
    let counted = count.clone();
    std::thread::spawn(move || {
        // Counted by the one that is probed.
        while listener.accept().is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let list: String = (1..=servers)
        .map(|last| format!("      - {{ address: 10.1.0.{last}, port: 8080 }}\n"))
        .collect();
    let ports: Vec<String> = (1_000..1_100).map(|port: u16| port.to_string()).collect();
    let spec = format!(
        "version: 1\nscope: all\npools:\n  - name: shared\n    real_servers:\n{list}services:\n  - name: web\n    vip: 10.9.0.100\n    ports: [{}]\n    forward: nat\n    pool: shared\n    check: {{ tcp: {{}}, interval: 2s, jitter: 0% }}\n",
        ports.join(", ")
    );
    cluster.site.write("director", &spec);
    let daemon = cluster.site.watch("director");
    cluster.eventually("all are up", &daemon, || {
        let weights = cluster.weights();
        weights.len() == 5_000 && weights.values().all(|weight| *weight == 1)
    });
    std::thread::sleep(Duration::from_secs(3));
    let (before, begin) = (count.load(Ordering::SeqCst), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let probes = count.load(Ordering::SeqCst) - before;
    let intervals = begin.elapsed().as_secs_f64() / 2.0;
    let each = probes as f64 / intervals;
    say(&format!(
        "{probes} connections in {intervals:.2} intervals: {each:.1} for each, of {servers} real servers in 100 services"
    ));
    assert!((45.0..=55.0).contains(&each), "{each}");
}
