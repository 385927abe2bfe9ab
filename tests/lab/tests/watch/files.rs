//! Tests all ways to change the files of a spec: a new spec is active within half a second of its
//! last byte, a bad one changes nothing and is reported with its position, and a good one after it
//! recovers.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// Writes specs repeatedly in some way, and checks the daemon's reaction.
fn check(host: &Host, mut write: impl FnMut(&str)) {
    for number in [11, 12] {
        let address = format!("10.0.0.{number}");
        write(&spec(&address));
        assert_enforced(&address, Instant::now());
    }
    let before = settled();
    write("version: 1\nservices:\n  - { name: web, vip: 192.0.2.1, prot: 80, real_servers: [] }\n");
    // The state alone is not enough, as writing may have degraded it before.
    let is_reported = within(REPORTED, || {
        let reasons = host.reasons();
        reasons.contains("prot") && reasons.contains(":3:")
    });
    assert!(is_reported, "{:#}", host.status());
    assert_eq!(host.status()["state"], "degraded");
    assert_eq!(table(), before);
    write(&spec("10.0.0.13"));
    assert_enforced("10.0.0.13", Instant::now());
    host.wait_for_state("ok");
}

/// Returns the table when all steps of the last change are done.
fn settled() -> String {
    let (mut last, mut since) = (table(), Instant::now());
    while since.elapsed() < Duration::from_millis(100) {
        let now = table();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// Replaces a file as an editor or `mv` does.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_file_that_is_written_in_place() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    check(&host, |text| host.write("spec.yaml", text));
}

#[test]
fn a_file_that_is_written_piece_by_piece_is_read_when_it_is_complete() {
    use std::io::Write;
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    let slowly = |text: &str| {
        let mut file = File::create(host.path("specs/spec.yaml")).unwrap();
        for piece in text.as_bytes().chunks(16) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            // The service that is listed all the time is never deleted.
            assert!(table().contains("C0000201:0050"), "{}", table());
        }
    };
    check(&host, slowly);
}

#[test]
fn a_file_that_is_replaced_by_another() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    check(&host, |text| replace(&host.path("specs/spec.yaml"), text));
}

#[test]
fn an_editor_with_its_swap_and_backup_files() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    let path = host.path("specs/spec.yaml");
    check(&host, |text| {
        let beside = |name: &str| path.with_file_name(name);
        fs::write(beside(".spec.yaml.swp"), "b0VIM").unwrap();
        fs::write(beside("4913"), "").unwrap();
        fs::remove_file(beside("4913")).unwrap();
        fs::rename(&path, beside("spec.yaml~")).unwrap();
        fs::write(&path, text).unwrap();
        fs::remove_file(beside("spec.yaml~")).unwrap();
        fs::remove_file(beside(".spec.yaml.swp")).unwrap();
    });
}

/// Mounts the spec as Kubernetes mounts a ConfigMap: the file is a link through `..data`, which is
/// swapped. The daemon watches the file or its directory.
fn check_config_map(place: &str) {
    let host = Host::new();
    let folder = host.path("specs");
    let mut number = 0;
    let mut publish = |text: &str| {
        number += 1;
        let version = format!("..2026_{number}");
        fs::create_dir(folder.join(&version)).unwrap();
        fs::write(folder.join(&version).join("spec.yaml"), text).unwrap();
        symlink(&version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        if number > 1 {
            fs::remove_dir_all(folder.join(format!("..2026_{}", number - 1))).unwrap();
        }
    };
    publish(&spec("10.0.0.10"));
    symlink("..data/spec.yaml", folder.join("spec.yaml")).unwrap();
    let _daemon = host.watch(place, "");
    host.wait_for_state("ok");
    check(&host, &mut publish);
}

#[test]
fn a_config_map_whose_link_is_swapped() {
    check_config_map("specs/spec.yaml");
}

#[test]
fn a_config_map_as_a_directory() {
    check_config_map("specs");
}

#[test]
fn a_file_that_is_removed_and_created_again() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    let path = host.path("specs/spec.yaml");
    check(&host, |text| {
        let before = settled();
        fs::remove_file(&path).unwrap();
        assert!(within(REPORTED, || host.reasons().contains("cannot read")), "{}", host.reasons());
        assert_eq!(table(), before);
        fs::write(&path, text).unwrap();
    });
}

#[test]
fn a_directory_that_is_removed_and_created_again() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    let folder = host.path("specs");
    check(&host, |text| {
        fs::remove_dir_all(&folder).unwrap();
        assert!(within(REPORTED, || host.status()["state"] == "degraded"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("spec.yaml"), text).unwrap();
    });
}

#[test]
fn a_directory_that_is_unmounted_and_mounted() {
    let host = Host::new();
    let folder = host.path("specs");
    let mount = format!("mount -t tmpfs none {}", folder.display());
    let unmount = format!("umount {}", folder.display());
    run(&mount);
    let _daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    let before = table();
    run(&unmount);
    assert!(within(Duration::from_secs(3), || host.status()["state"] == "degraded"));
    assert_eq!(table(), before);
    run(&mount);
    fs::write(folder.join("spec.yaml"), spec("10.0.0.11")).unwrap();
    assert_enforced("10.0.0.11", Instant::now());
    host.wait_for_state("ok");
    check(&host, |text| replace(&folder.join("spec.yaml"), text));
    run(&unmount);
}

#[test]
fn a_path_that_does_not_exist_yet() {
    let host = Host::new();
    let daemon = host.watch("specs/a/b/spec.yaml", "");
    assert!(within(Duration::from_secs(5), || !daemon.log().is_empty()));
    host.wait_for_state("degraded");
    assert_eq!(table(), "");
    fs::create_dir_all(host.path("specs/a/b")).unwrap();
    fs::write(host.path("specs/a/b/spec.yaml"), spec("10.0.0.10")).unwrap();
    assert_enforced("10.0.0.10", Instant::now());
    check(&host, |text| replace(&host.path("specs/a/b/spec.yaml"), text));
}

#[test]
fn a_directory_in_which_one_file_becomes_invalid() {
    let host = Host::new();
    let other = "version: 1\nservices:\n  - { name: dns, vip: 192.0.2.1, port: 53, protocol: udp, \
                 drain: 0s, real_servers: [ { address: 10.0.0.99 } ] }\n";
    host.write("10-web.yaml", spec("10.0.0.10"));
    host.write("20-dns.yaml", other);
    let _daemon = host.watch("specs", "");
    host.wait_for_state("ok");
    let before = table();
    host.write("20-dns.yaml", "version: 1\nservices: [ {");
    assert!(within(REPORTED, || host.reasons().contains("20-dns.yaml")), "{}", host.reasons());
    assert_eq!(table(), before);
    host.write("20-dns.yaml", other);
    host.wait_for_state("ok");
    check(&host, |text| host.write("10-web.yaml", text));
    host.write("30-more.yaml", other.replace("dns", "more").replace("53", "54"));
    assert!(within(ENFORCED, || table().contains(":0036")), "{}", table());
    assert!(table().contains("UDP C0000201:0035"));
}

#[test]
fn a_file_that_is_replaced_a_thousand_times_in_a_second() {
    let host = Host::new();
    let _daemon = host.watching(&spec("10.0.0.10"), "");
    let path = host.path("specs/spec.yaml");
    let begin = Instant::now();
    for number in 0..1_000_u32 {
        replace(&path, &spec(&format!("10.0.{}.{}", 1 + number / 200, 1 + number % 200)));
        let due = Duration::from_millis(u64::from(number));
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    assert_enforced("10.0.5.200", Instant::now());
    host.wait_for_state("ok");
    check(&host, |text| replace(&path, text));
}

/// A change without an event is detected at the next interval.
#[test]
fn a_filesystem_without_events() {
    let host = Host::new();
    // No inotify watches are left.
    let limit = "/proc/sys/fs/inotify/max_user_watches";
    let before = fs::read_to_string(limit).unwrap();
    fs::write(limit, "0").unwrap();
    host.write("spec.yaml", spec("10.0.0.10"));
    let daemon = host.watch("specs/spec.yaml", "--interval 1s");
    host.wait_for_state("ok");
    fs::write(limit, before.trim()).unwrap();
    assert!(daemon.log().contains("polling every interval"), "{}", daemon.log());
    host.write("spec.yaml", spec("10.0.0.11"));
    assert!(within(Duration::from_millis(1_600), || table().contains("0A00000B")), "{}", table());
}

#[test]
fn a_pipe_in_place_of_the_file_is_reported_and_does_not_block() {
    let host = Host::new();
    let mut daemon = host.watching(&spec("10.0.0.10"), "--interval 1s");
    let before = table();
    let path = host.path("specs/spec.yaml");
    fs::remove_file(&path).unwrap();
    run(&format!("mkfifo {}", path.display()));
    assert!(
        within(REPORTED, || host.reasons().contains("not a regular file")),
        "{}",
        host.reasons()
    );
    run("ipvsadm -D -t 192.0.2.1:80");
    assert!(within(Duration::from_secs(2), || table() == before), "{}", table());
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ended().code(), Some(0));
}
