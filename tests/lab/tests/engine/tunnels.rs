//! Tests what a real server of a tunnel needs, with packets of a director's kernel.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use evenkeel_engine::{Journal, Outcome, StateDir, execute_journalled};
use evenkeel_lab_tests::{enter_namespace, run, this_namespace};
use evenkeel_model::{Binding, Family, FouPort, HostObject, Owner, TunnelDevice, TunnelKind, Vip};
use evenkeel_plan::Op;

use super::*;

const RP_FILTER: &str = "net.ipv4.conf.tunl0.rp_filter";

/// A real server of GUE packets over IPv4, and a FOU port of IPv6.
fn real_server() -> Desired {
    let mut desired = spec([]);
    let needed = TunnelDevice::for_tunnel(TunnelKind::Gue, Family::Ipv4, Family::Ipv4);
    let (device, value) = needed.unwrap();
    for address in ["192.0.2.9", "2001:db8::9"] {
        let binding = Binding::host(address.parse().unwrap(), &device.interface);
        desired.vips.insert(binding, Vip::default());
    }
    desired.host_objects.insert(device.into(), value.into());
    for family in [Family::Ipv4, Family::Ipv6] {
        let port = FouPort { port: 6080, family };
        desired.host_objects.insert(port.into(), port.value());
    }
    desired.sysctls.insert(RP_FILTER.into(), "0".into());
    desired
}

/// A host and its journal.
struct Host {
    kernel: HostKernel,
    journal: Journal,
    state: StateDir,
}

impl Host {
    fn new(directory: &tempfile::TempDir) -> Self {
        let (journal, state) = (Journal::default(), StateDir::new(directory.path(), "default"));
        Self { kernel: host_with(""), journal, state }
    }

    fn observe(&mut self, desired: &Desired) -> Live {
        self.kernel.set_journalled(Journalled::from(&self.journal));
        let request = ReadRequest::for_journal(&self.journal).with_spec(desired);
        self.kernel.observe(&request).unwrap()
    }

    fn plan(&mut self, desired: &Desired) -> Vec<Op> {
        plan_of(desired, &self.observe(desired)).steps
    }

    fn apply(&mut self, desired: &Desired) -> Report {
        let live = self.observe(desired);
        let pass = Pass::new(desired, live.clone(), plan_of(desired, &live).steps);
        let (options, context) = (ApplyOptions::default(), &mut NoopContext);
        let Self { kernel, journal, state } = self;
        let report = execute_journalled(kernel, pass, options, context, state, journal).unwrap();
        assert!(report.is_success(), "{report:?}");
        report
    }
}

/// Returns what a director sends in UDP: a GUE header, and a datagram from 10.0.0.1 to 192.0.2.9:9.
fn gue_packet() -> Vec<u8> {
    const IPPROTO_IPIP: u8 = 4;
    #[rustfmt::skip]
    let mut ip = [
        0x45, 0, 0, 33, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 192, 0, 2, 9,
    ];
    let words = ip.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&u16::try_from(0xffff - folded).unwrap().to_be_bytes());
    let udp = [0x27, 0x0f, 0, 9, 0, 13, 0, 0];
    [&[0, IPPROTO_IPIP, 0, 0][..], &ip, &udp, b"hello"].concat()
}

#[test]
fn packets_of_a_director_arrive_and_everything_goes_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::new(&directory);
    let home = this_namespace();
    let path = format!("/proc/{}/fd/{}", std::process::id(), home.as_raw_fd());
    fresh_namespace();
    let director = this_namespace();
    run("ip link add near type veth peer name far");
    run(&format!("ip link set far netns {path}"));
    run("ip addr add 10.0.0.1/24 dev near");
    run("ip link set near up");
    run("ip link set lo up");
    enter_namespace(&home);
    run("ip addr add 10.0.0.2/24 dev far");
    run("ip link set far up");

    let wanted = real_server();
    host.apply(&wanted);
    assert_eq!(host.plan(&wanted), []);
    assert!(run("ip -d link show dev tunl0").contains("alias evenkeel"));
    assert_eq!(run(&format!("sysctl -n {RP_FILTER}")).trim(), "0");
    let receiver = UdpSocket::bind("192.0.2.9:9").unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    enter_namespace(&director);
    let sender = UdpSocket::bind("10.0.0.1:0").unwrap();
    sender.send_to(&gue_packet(), "10.0.0.2:6080").unwrap();
    enter_namespace(&home);
    let mut buffer = [0; 16];
    assert_eq!(receiver.recv(&mut buffer).unwrap(), 5);

    // IPv6 addresses are lost while the device is down, and bound again with it.
    run("ip link set tunl0 down");
    assert_eq!(host.plan(&wanted).len(), 2);
    host.apply(&wanted);
    assert_eq!(host.plan(&wanted), []);

    // Another process knows from the journal which ports are evenkeel's.
    let live = host.observe(&wanted);
    assert!(live.host_objects.objects.values().all(|it| it.owner == Owner::Evenkeel));
    host.kernel.set_journalled(Journalled::default());
    let live = host.kernel.observe(&ReadRequest::again(&live)).unwrap();
    let port: HostObject = FouPort { port: 6080, family: Family::Ipv4 }.into();
    assert_eq!(live.host_objects.get(&port).unwrap().owner, Owner::Other);

    let report = host.apply(&spec([]));
    assert!(report.iter().all(|done| *done.outcome == Outcome::Applied), "{report:?}");
    assert_eq!(host.plan(&spec([])), []);
    assert!(host.journal.host_objects.is_empty());
    let shown = run("ip -d addr show dev tunl0");
    assert!(!shown.contains("UP") && !shown.contains("evenkeel") && !shown.contains("192.0.2.9"));
    assert_eq!(run("ip fou show").trim(), "");
}

#[test]
fn a_port_of_another_program_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::new(&directory);
    run("modprobe fou");
    run("ip fou add port 6080 gue");
    let mut wanted = spec([]);
    let port = FouPort { port: 6080, family: Family::Ipv4 };
    wanted.host_objects.insert(port.into(), port.value());
    assert_eq!(host.plan(&wanted), []);
    host.apply(&wanted);
    assert_eq!(host.plan(&spec([])), []);
    assert!(run("ip fou show").contains("port 6080 gue"));
}
