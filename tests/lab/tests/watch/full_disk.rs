//! Tests the daemon on a disk without room, or that can only be read.

use std::fs;

use evenkeel_lab_tests::disk::SmallDisk;

use super::*;

/// How many KiB a state directory has.
const SIZE: u32 = 64;

fn journal(state: &SmallDisk) -> PathBuf {
    let namespaces = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().path());
    let journals = namespaces.map(|folder| folder.join("journal.json"));
    journals.into_iter().find(|journal| journal.exists()).unwrap()
}

/// Takes away a VIP and a service, and waits until they are back.
fn assert_repaired() {
    let before = table();
    run("ipvsadm -D -t 192.0.2.1:80");
    run("ip addr del 192.0.2.1/32 dev eth0");
    let is_back = || table() == before && run("ip -br addr show dev eth0").contains("192.0.2.1/32");
    assert!(within(Duration::from_secs(3), is_back), "{}", table());
}

#[test]
fn drift_repair_continues_on_a_full_disk() {
    let host = Host::new();
    let state = SmallDisk::mount(host.path("state"), SIZE);
    let text = spec("10.0.0.10") + "vips: [ { address: 192.0.2.1, interface: eth0 } ]\n";
    let daemon = host.watching(&text, "--interval 1s");
    let before = table();
    let ballast = state.fill();
    assert_repaired();
    // A new spec cannot be recorded, and is not started.
    host.write("spec.yaml", text.replace("10.0.0.10", "10.0.0.11"));
    assert!(within(Duration::from_secs(3), || host.reasons().contains("No space left")));
    assert_eq!(table(), before);
    std::fs::remove_file(ballast).unwrap();
    assert!(within(Duration::from_secs(5), || table().contains("0A00000B")), "{}", table());
    host.wait_for_state("ok");
    drop(daemon);
}

#[test]
fn a_drain_continues_and_ends_on_a_full_disk() {
    let host = Host::new();
    let state = SmallDisk::mount(host.path("state"), SIZE);
    let _servers =
        [1, 2].map(|it| std::net::TcpListener::bind((format!("127.0.0.{it}"), 80)).unwrap());
    let of = |listed: &str| draining("8s", listed);
    let _daemon = host.watching(&of("{ address: 127.0.0.1 }"), "--interval 1s");
    let _open = std::net::TcpStream::connect("192.0.2.1:80").unwrap();
    host.write("spec.yaml", of("{ address: 127.0.0.2 }"));
    let begun = Instant::now();
    assert!(within(Duration::from_secs(3), || table().contains("7F000001:0050 Masq 0")));
    let ballast = state.fill();
    // Another program raises the weight, and adds a real server.
    run("ipvsadm -e -t 192.0.2.1:80 -r 127.0.0.1 -m -w 9");
    run("ipvsadm -a -t 192.0.2.1:80 -r 127.0.0.3 -m -w 9");
    let is_as_before = || table().contains("7F000001:0050 Masq 0") && !table().contains("7F000003");
    assert!(within(Duration::from_secs(4), is_as_before), "{}", table());
    // The drain that began again has its whole time.
    let is_over = || !table().contains("7F000001");
    assert!(within(Duration::from_secs(20), is_over), "{}", table());
    assert!(begun.elapsed() >= Duration::from_secs(8), "{:?}", begun.elapsed());
    fs::remove_file(ballast).unwrap();
    host.wait_for_state("ok");
}

#[test]
fn a_journal_that_cannot_be_read_stops_no_repair() {
    let host = Host::new();
    let state = SmallDisk::mount(host.path("state"), SIZE);
    let text = spec("10.0.0.10") + "vips: [ { address: 192.0.2.1, interface: eth0 } ]\n";
    let _daemon = host.watching(&text, "--interval 1s");
    let journal = journal(&state);
    let kept = fs::read(&journal).unwrap();

    // A directory is in its place.
    fs::remove_file(&journal).unwrap();
    fs::create_dir_all(journal.join("inside")).unwrap();
    assert_repaired();
    assert!(within(Duration::from_secs(3), || host.reasons().contains("not a regular file")));
    fs::remove_dir_all(&journal).unwrap();
    fs::write(&journal, &kept).unwrap();
    host.wait_for_state("ok");

    // It is damaged, on a disk that can only be read.
    fs::write(&journal, &kept[..kept.len() / 2]).unwrap();
    run(&format!("mount -o remount,ro {}", state.path().display()));
    assert_repaired();
    assert!(within(Duration::from_secs(3), || host.reasons().contains("Read-only file system")));
    run(&format!("mount -o remount,rw {}", state.path().display()));
    host.wait_for_state("ok");
}
