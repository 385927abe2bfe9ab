//! Tests timeouts, sync daemons and the version of IPVS.

use evenkeel_ipvs::{Error, Refusal, RefusalReason, SyncDaemon, SyncState, Timeouts};
use evenkeel_lab_tests::run;

use super::refusals::unprivileged;
use super::*;

/// The ticks per second with which kernels are built (`CONFIG_HZ`).
const TICKS: [u32; 4] = [100, 250, 300, 1000];

/// Returns a client in a namespace with two interfaces joined by a cable, the first with addresses.
fn wired() -> Client {
    let client = client();
    run("ip link add sync0 type veth peer name sync1");
    for interface in ["sync0", "sync1"] {
        // The address that the kernel generates cannot be used immediately.
        run(&format!("ip link set {interface} addrgenmode none up"));
    }
    run("ip address add 192.0.2.1/24 dev sync0");
    run("ip address add fe80::1/64 dev sync0 nodad");
    client
}

fn daemon(state: SyncState, interface: &str) -> SyncDaemon {
    SyncDaemon::new(state, Name::new(interface).unwrap())
}

/// Returns a daemon whose optional values the kernel chooses.
fn chosen(daemon: SyncDaemon) -> SyncDaemon {
    SyncDaemon {
        max_length: Some(1472),
        group: Some(Ipv4Addr::new(224, 0, 0, 81).into()),
        port: Some(8848),
        ttl: Some(1),
        ..daemon
    }
}

fn running(client: &mut Client) -> Vec<SyncDaemon> {
    let entries = client.daemons().unwrap();
    assert!(entries.iter().all(|entry| entry.unknown.is_empty()), "{entries:?}");
    entries.into_iter().map(|entry| entry.daemon).collect()
}

/// Asserts the output of `ipvsadm --list --daemon`.
fn assert_listed<const N: usize>(lines: [&str; N]) {
    assert_eq!(run("ipvsadm --list --daemon").lines().collect::<Vec<_>>(), lines);
}

fn refused(outcome: Result<(), Error>) -> Refusal {
    match outcome {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn version_and_size_are_those_in_the_first_line_of_ipvsadm() {
    let info = client().info().unwrap();
    let listed = run("ipvsadm -Ln");
    let first = listed.lines().next();
    let size = info.connection_table_size;
    let expected = format!("IP Virtual Server version {} (size={size})", info.version);
    assert_eq!(first, Some(&*expected));
}

#[test]
fn timeouts_are_set_for_ipvsadm_and_read_as_it_set_them() {
    let mut client = client();
    let wanted = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
    assert_eq!(client.timeouts().unwrap(), wanted, "as the kernel is built");

    client.set_timeouts(&Timeouts { tcp: 7200, tcp_fin: 1, udp: 61 }).unwrap();
    assert_eq!(run("ipvsadm --list --timeout"), "Timeout (tcp tcpfin udp): 7200 1 61\n");
    run("ipvsadm --set 11 22 33");
    assert_eq!(client.timeouts().unwrap(), Timeouts { tcp: 11, tcp_fin: 22, udp: 33 });
}

#[test]
fn a_timeout_of_zero_keeps_the_current_one() {
    let mut client = client();
    let none = Timeouts::default();
    client.set_timeouts(&none).unwrap();
    client.set_timeouts(&Timeouts { tcp: 1, ..none }).unwrap();
    client.set_timeouts(&Timeouts { tcp_fin: 2, ..none }).unwrap();
    client.set_timeouts(&Timeouts { udp: 3, ..none }).unwrap();
    client.set_timeouts(&none).unwrap();
    assert_eq!(client.timeouts().unwrap(), Timeouts { tcp: 1, tcp_fin: 2, udp: 3 });
    assert_eq!(run("ipvsadm --list --timeout"), "Timeout (tcp tcpfin udp): 1 2 3\n");
}

#[test]
fn a_timeout_is_limited_by_its_ticks_and_a_refused_one_changes_none() {
    let mut client = client();
    let all = |seconds| Timeouts { tcp: seconds, tcp_fin: seconds, udp: seconds };
    let most = TICKS
        .map(|ticks| i32::MAX as u32 / ticks)
        .into_iter()
        .find(|seconds| client.set_timeouts(&all(*seconds)).is_ok())
        .unwrap();
    let longest = all(most);
    assert_eq!(client.timeouts().unwrap(), longest);
    for tcp_fin in [most + 1, 1 << 31, u32::MAX] {
        let refusal = refused(client.set_timeouts(&Timeouts { tcp: 5, tcp_fin, udp: 5 }));
        assert_eq!(refusal.reason(), RefusalReason::OutOfRange);
        assert_eq!(
            refusal.to_string(),
            "the kernel refused setting the timeouts of the IPVS table: \
             a value is out of range (EINVAL)"
        );
    }
    assert_eq!(client.timeouts().unwrap(), longest);
}

#[test]
fn timeouts_belong_to_the_namespace() {
    let mut one = client();
    one.set_timeouts(&Timeouts { tcp: 1, tcp_fin: 2, udp: 3 }).unwrap();
    let mut other = client();
    assert_eq!(other.timeouts().unwrap(), Timeouts { tcp: 900, tcp_fin: 120, udp: 300 });
    assert_eq!(one.timeouts().unwrap(), Timeouts { tcp: 1, tcp_fin: 2, udp: 3 });
}

#[test]
fn the_kernel_chooses_the_values_that_a_daemon_omits() {
    let mut client = wired();
    assert_eq!(running(&mut client), []);
    let master = SyncDaemon { sync_id: 7, ..daemon(SyncState::Master, "sync0") };
    let backup = daemon(SyncState::Backup, "sync1");
    client.start_daemon(&backup).unwrap();
    client.start_daemon(&master).unwrap();
    assert_eq!(running(&mut client), [chosen(master), chosen(backup)], "the master comes first");
    assert_listed([
        "master sync daemon (mcast=sync0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)",
        "backup sync daemon (mcast=sync1, syncid=0, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)",
    ]);
    client.stop_daemon(SyncState::Master).unwrap();
    assert_eq!(running(&mut client), [chosen(backup)]);
    client.stop_daemon(SyncState::Backup).unwrap();
    assert_eq!(running(&mut client), []);
    assert_listed([]);
}

#[test]
fn a_daemon_can_be_stopped_before_its_first_pass() {
    let mut client = wired();
    for state in [SyncState::Master, SyncState::Backup] {
        // Without a pause in between the kernel's thread seldom runs at all.
        for _ in 0..20 {
            client.start_daemon(&daemon(state, "sync0")).unwrap();
            client.stop_daemon(state).unwrap();
            assert_eq!(refused(client.stop_daemon(state)).reason(), RefusalReason::NoSyncDaemon);
        }
    }
    assert_listed([]);
}

#[test]
fn a_value_of_zero_counts_as_omitted() {
    let mut client = wired();
    for state in [SyncState::Master, SyncState::Backup] {
        let zero = SyncDaemon {
            max_length: Some(0),
            port: Some(0),
            ttl: Some(0),
            ..daemon(state, "sync0")
        };
        client.start_daemon(&zero).unwrap();
        assert_eq!(running(&mut client), [chosen(zero)]);
        client.stop_daemon(state).unwrap();
    }
}

/// Returns a daemon with a distinct value in every field, and `ipvsadm`'s line for it.
fn particular(state: SyncState, group: &str) -> (SyncDaemon, String) {
    let wanted = SyncDaemon {
        sync_id: 255,
        max_length: Some(1400),
        group: Some(group.parse().unwrap()),
        port: Some(0x1234),
        ttl: Some(255),
        ..daemon(state, "sync0")
    };
    let line = format!(
        "{state} sync daemon (mcast=sync0, syncid=255, maxlen=1400, group={group}, port=4660, ttl=255)"
    );
    (wanted, line)
}

#[test]
fn ipvsadm_lists_daemons_that_evenkeel_started() {
    let mut client = wired();
    for state in [SyncState::Master, SyncState::Backup] {
        for group in ["239.1.2.3", "ff02::81", "ff15::1:2"] {
            let (wanted, line) = particular(state, group);
            client.start_daemon(&wanted).unwrap();
            assert_eq!(running(&mut client), [wanted]);
            assert_listed([&*line]);
            client.stop_daemon(state).unwrap();
        }
    }
}

#[test]
fn daemons_started_by_ipvsadm_read_back_unchanged() {
    let mut client = wired();
    for state in [SyncState::Master, SyncState::Backup] {
        for group in ["239.1.2.3", "ff02::81", "ff15::1:2"] {
            let (wanted, line) = particular(state, group);
            run(&format!(
                "ipvsadm --start-daemon {state} --mcast-interface sync0 --syncid 255 \
                 --sync-maxlen 1400 --mcast-group {group} --mcast-port 4660 --mcast-ttl 255"
            ));
            assert_listed([&*line]);
            assert_eq!(running(&mut client), [wanted]);
            run(&format!("ipvsadm --stop-daemon {state}"));
            assert_eq!(running(&mut client), []);
        }
    }
    run("ipvsadm --start-daemon master --mcast-interface sync1");
    let plain = daemon(SyncState::Master, "sync1");
    assert_eq!(running(&mut client), [chosen(plain)], "it sends no id of its own");
}

#[test]
fn lengths_are_clamped_to_the_capacity_of_a_packet_and_a_backup() {
    let mut client = wired();
    run("ip link set sync0 mtu 9000");
    let v4 = Ipv4Addr::new(224, 0, 0, 81).into();
    let v6 = "ff02::81".parse().unwrap();
    let (master, backup) = (SyncState::Master, SyncState::Backup);
    for (state, group, asked, shown) in [
        (master, v4, None, 1472),
        (master, v6, None, 1452),
        (master, v4, Some(1), 1),
        (master, v4, Some(u16::MAX), 65507),
        (master, v6, Some(u16::MAX), 65487),
        // The maximum follows the interface's MTU, as a backup must receive the longest message
        // sent.
        (backup, v4, None, 8972),
        (backup, v6, None, 8952),
        (backup, v4, Some(1), 1024),
        (backup, v6, Some(1023), 1024),
        (backup, v4, Some(u16::MAX), 65507),
    ] {
        let wanted = SyncDaemon { max_length: asked, group: Some(group), ..daemon(state, "sync0") };
        client.start_daemon(&wanted).unwrap();
        let expected = SyncDaemon { max_length: Some(shown), ..chosen(wanted) };
        assert_eq!(running(&mut client), [SyncDaemon { group: Some(group), ..expected }]);
        client.stop_daemon(state).unwrap();
    }
    run("ip link set sync0 mtu 1280");
    client.start_daemon(&daemon(backup, "sync0")).unwrap();
    assert_eq!(running(&mut client), [chosen(daemon(backup, "sync0"))], "1500 at least");
}

#[test]
fn a_sync_id_keeps_all_its_bits() {
    let mut client = wired();
    for sync_id in [256, i32::MAX as u32, u32::MAX] {
        let wanted = SyncDaemon { sync_id, ..daemon(SyncState::Backup, "sync1") };
        client.start_daemon(&wanted).unwrap();
        assert_eq!(running(&mut client), [chosen(wanted)]);
        client.stop_daemon(SyncState::Backup).unwrap();
    }
}

#[test]
fn a_running_daemon_is_neither_started_again_nor_changed() {
    let mut client = wired();
    for state in [SyncState::Master, SyncState::Backup] {
        let (first, _) = particular(state, "239.1.2.3");
        client.start_daemon(&first).unwrap();
        for again in [first, SyncDaemon { sync_id: 1, ..daemon(state, "sync1") }] {
            let refusal = refused(client.start_daemon(&again));
            assert_eq!(
                (refusal.reason(), &*refusal.errno_name()),
                (RefusalReason::Exists, "EEXIST")
            );
            assert_eq!(
                refusal.to_string(),
                format!(
                    "the kernel refused starting the {state} sync daemon: \
                     it exists already (EEXIST)"
                )
            );
        }
        assert_eq!(running(&mut client), [first]);
        client.stop_daemon(state).unwrap();
    }
}

#[test]
fn refusals_of_daemons_have_their_reasons() {
    let mut client = wired();
    let on = |interface| daemon(SyncState::Master, interface);
    let in_group = |text: &str| SyncDaemon { group: Some(text.parse().unwrap()), ..on("sync0") };
    for (wanted, reason) in [
        (on("nosuch0"), RefusalReason::NoInterface),
        (daemon(SyncState::Backup, "nosuch0"), RefusalReason::NoInterface),
        (in_group("192.0.2.9"), RefusalReason::Invalid),
        (in_group("2001:db8::1"), RefusalReason::Invalid),
        (
            SyncDaemon { group: Some("ff02::81".parse().unwrap()), ..on("sync1") },
            RefusalReason::NoAddress,
        ),
        (daemon(SyncState::Other(0), "sync0"), RefusalReason::Invalid),
        (daemon(SyncState::Other(3), "sync0"), RefusalReason::Invalid),
    ] {
        let refusal = refused(client.start_daemon(&wanted));
        assert_eq!(refusal.reason(), reason, "{wanted:?}");
    }
    for (state, reason) in [
        (SyncState::Master, RefusalReason::NoSyncDaemon),
        (SyncState::Backup, RefusalReason::NoSyncDaemon),
        (SyncState::Other(3), RefusalReason::Invalid),
    ] {
        assert_eq!(refused(client.stop_daemon(state)).reason(), reason, "{state:?}");
    }
    assert_eq!(running(&mut client), []);
}

#[test]
fn a_master_needs_its_interface_up_and_no_daemon_needs_it_later() {
    let mut client = wired();
    let [master, backup] =
        [SyncState::Master, SyncState::Backup].map(|state| daemon(state, "sync1"));
    run("ip link set sync1 down");
    assert_eq!(refused(client.start_daemon(&master)).reason(), RefusalReason::Unreachable);
    client.start_daemon(&backup).unwrap();
    // Once it is up, it needs no IPv4 address.
    run("ip link set sync1 up");
    client.start_daemon(&master).unwrap();
    run("ip link delete sync1");
    assert_eq!(running(&mut client), [chosen(master), chosen(backup)]);
    for state in [SyncState::Master, SyncState::Backup] {
        client.stop_daemon(state).unwrap();
    }
    assert_eq!(running(&mut client), []);
}

#[test]
fn daemons_and_destinations_of_another_family_exclude_each_other() {
    let mut client = wired();
    let far = tunnelled("[2001:db8::a]:80", tunnel_kind::IPIP, 0, 0);
    let add = || Command::NewDestination(web().key, far);
    for state in [SyncState::Master, SyncState::Backup] {
        let wanted = daemon(state, "sync0");
        done(&mut client, [Command::NewService(web())]);
        client.start_daemon(&wanted).unwrap();
        let refusals = client.execute([add()]).unwrap();
        let reasons: Vec<RefusalReason> = refusals.iter().map(|it| it.refusal.reason()).collect();
        assert_eq!(reasons, [RefusalReason::Invalid]);
        client.stop_daemon(state).unwrap();

        done(&mut client, [add()]);
        assert_eq!(refused(client.start_daemon(&wanted)).reason(), RefusalReason::Invalid);
        // Either way: deleting the service also deletes its destinations.
        done(&mut client, [Command::DeleteService(web().key)]);
        client.start_daemon(&wanted).unwrap();
        client.stop_daemon(state).unwrap();
    }
}

#[test]
fn nothing_is_permitted_without_cap_net_admin() {
    let mut client = wired();
    let wanted = daemon(SyncState::Master, "sync0");
    unprivileged(|| {
        let denied = |outcome: Result<(), Error>| match outcome {
            Err(Error::PermissionDenied { .. }) => {}
            other => panic!("{other:?}"),
        };
        denied(client.info().map(drop));
        denied(client.timeouts().map(drop));
        denied(client.set_timeouts(&Timeouts { tcp: 1, ..Timeouts::default() }));
        denied(client.daemons().map(drop));
        denied(client.start_daemon(&wanted));
        denied(client.stop_daemon(SyncState::Master));
    });
    assert_eq!(client.timeouts().unwrap().tcp, 900);
    assert_eq!(running(&mut client), []);
}
