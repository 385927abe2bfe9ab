//! Tests the probe: the changes it detects, those it cannot detect, and that the services it cannot
//! check are known.

use evenkeel_engine::{TableDigest, not_in_proc};
use evenkeel_lab_tests::run;

use super::*;

/// A host that was found in sync.
struct InSync {
    kernel: HostKernel,
    desired: Desired,
    table_digest: TableDigest,
    live: Live,
    sysctls: ReadRequest,
}

impl InSync {
    /// Creates one with these `ipvsadm` rules, and with a spec of the resulting table.
    fn with(rules: &str) -> Self {
        let mut kernel = host_with(rules);
        let sysctls = ReadRequest::from_iter(["net.ipv4.vs.expire_nodest_conn".into()]);
        let table_digest = kernel.probe().unwrap();
        let live = kernel.observe(&sysctls).unwrap();
        let services = live.services.iter().map(|(key, service)| {
            let desired = spec([(*key, service.clone())]);
            (*key, desired.services[key].clone())
        });
        let desired = Desired { services: services.collect(), ..spec([]) };
        Self { kernel, desired, table_digest, live, sysctls }
    }

    fn not_in_proc(&self) -> BTreeSet<ServiceKey> {
        not_in_proc(&self.desired, &self.live)
    }

    fn is_unchanged_but_for(&mut self, not_in_proc: &BTreeSet<ServiceKey>) -> bool {
        self.kernel
            .is_unchanged(&self.table_digest, &self.live, not_in_proc, &self.sysctls)
            .unwrap()
    }

    fn is_unchanged(&mut self) -> bool {
        let not_in_proc = self.not_in_proc();
        self.is_unchanged_but_for(&not_in_proc)
    }
}

const RULES: &str = "\
-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 198.51.100.2:80 -g -w 1
-A -u 192.0.2.1:53 -s rr -p 300
-a -u 192.0.2.1:53 -r 198.51.100.1:53 -m -w 1
-A -t [2001:db8::99]:80 -s wlc -p 300
-a -t [2001:db8::99]:80 -r [2001:db8::1]:80 -i -w 1
";

#[test]
fn each_change_that_the_file_shows_is_detected_without_a_dump() {
    let mut host = InSync::with(RULES);
    assert_eq!(host.not_in_proc(), BTreeSet::new());
    assert!(host.is_unchanged());
    assert!(host.is_unchanged(), "nor does looking change anything");
    let web = "-t 192.0.2.1:80";
    let dns = "-u 192.0.2.1:53";
    let six = "-t [2001:db8::99]:80";
    for (there, back) in [
        ("-A -t 192.0.2.1:443 -s wrr".into(), "-D -t 192.0.2.1:443".into()),
        ("-A -f 7 -s wrr".into(), "-D -f 7".into()),
        (format!("-E {web} -s wlc"), format!("-E {web} -s wrr")),
        (format!("-E {web} -s wrr -p 60"), format!("-E {web} -s wrr")),
        (format!("-E {dns} -s rr -p 301"), format!("-E {dns} -s rr -p 300")),
        (format!("-E {dns} -s rr -p 300 -M 255.255.255.0"), format!("-E {dns} -s rr -p 300")),
        (format!("-E {dns} -s rr -p 300 -o"), format!("-E {dns} -s rr -p 300")),
        (format!("-E {dns} -s rr"), format!("-E {dns} -s rr -p 300")),
        (format!("-E {six} -s wlc -p 300 -M 64"), format!("-E {six} -s wlc -p 300")),
        (format!("-E {six} -s rr -p 300"), format!("-E {six} -s wlc -p 300")),
        (
            format!("-e {web} -r 198.51.100.1:80 -g -w 2"),
            format!("-e {web} -r 198.51.100.1:80 -g -w 1"),
        ),
        (
            format!("-e {web} -r 198.51.100.1:80 -g -w 0"),
            format!("-e {web} -r 198.51.100.1:80 -g -w 1"),
        ),
        (
            format!("-e {web} -r 198.51.100.1:80 -i -w 1"),
            format!("-e {web} -r 198.51.100.1:80 -g -w 1"),
        ),
        (
            format!("-e {dns} -r 198.51.100.1:53 -g -w 1"),
            format!("-e {dns} -r 198.51.100.1:53 -m -w 1"),
        ),
        (
            format!("-e {six} -r [2001:db8::1]:80 -g -w 1"),
            format!("-e {six} -r [2001:db8::1]:80 -i -w 1"),
        ),
        (format!("-a {six} -r [2001:db8::2]:80 -i -w 1"), format!("-d {six} -r [2001:db8::2]:80")),
        (format!("-a {web} -r 198.51.100.3:80 -g -w 1"), format!("-d {web} -r 198.51.100.3:80")),
        (format!("-d {web} -r 198.51.100.2:80"), format!("-a {web} -r 198.51.100.2:80 -g -w 1")),
    ] {
        run_with("ipvsadm -R", &there);
        assert!(!host.is_unchanged(), "{there}");
        run_with("ipvsadm -R", &back);
        assert!(host.is_unchanged(), "{back}");
    }
    // The order of the kernel's list is reversed now.
    run_with(
        "ipvsadm -R",
        &format!("-d {web} -r 198.51.100.1:80\n-a {web} -r 198.51.100.1:80 -g -w 1"),
    );
    assert!(!host.is_unchanged(), "the order of real servers");
    assert_eq!(host.kernel.observe(&host.sysctls).unwrap(), host.live);
}

#[test]
fn a_service_with_an_attribute_that_the_file_omits_is_dumped() {
    // A service with the attribute, and a change of it that the file does not show.
    for (rules, change) in [
        ("-A -t 192.0.2.1:80 -s sh -b sh-port", "-E -t 192.0.2.1:80 -s sh"),
        ("-A -t 192.0.2.1:80 -s sh -b sh-port", "-E -t 192.0.2.1:80 -s sh -b sh-fallback"),
        ("-A -t 192.0.2.1:80 -s wrr -b flag-3", "-E -t 192.0.2.1:80 -s wrr"),
        ("-A -u 192.0.2.1:5060 -s rr -p 300 --pe sip", "-E -u 192.0.2.1:5060 -s rr -p 300"),
        ("-A -u [2001:db8::99]:53 -s rr -o", "-E -u [2001:db8::99]:53 -s rr"),
        ("-A -f 7 -s rr", "-D -f 7\n-A -f 7 -6 -s rr"),
        ("-A -f 7 -6 -s rr", "-D -f 7 -6\n-A -f 7 -s rr"),
        (
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1 -x 20 -y 10",
            "-e -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1 -x 20 -y 5",
        ),
        (
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1 -x 20",
            "-e -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 1",
        ),
        (
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1 \
             --tun-type gue --tun-port 6080",
            "-e -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1 --tun-type gue --tun-port 6081",
        ),
        (
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1 \
             --tun-type gue --tun-port 6080 --tun-remcsum",
            "-e -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1 --tun-type gue --tun-port 6080",
        ),
        (
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1 \
             --tun-type gre",
            "-e -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w 1",
        ),
    ] {
        let mut host = InSync::with(rules);
        assert_eq!(host.not_in_proc().len(), 1, "{rules}");
        assert!(host.is_unchanged(), "{rules}");
        run_with("ipvsadm -R", change);
        assert!(host.is_unchanged_but_for(&BTreeSet::new()), "it is in the file: {change}");
        assert!(!host.is_unchanged(), "{change}");
        // A service that has the attribute only in the spec is dumped as well.
        host.live = host.kernel.observe(&host.sysctls).unwrap();
        assert!(!host.not_in_proc().is_empty(), "{change}");
    }
}

#[test]
fn more_incomplete_services_than_are_dumped_one_by_one_are_compared_too() {
    let rules: String =
        (1..=20).map(|port| format!("-A -t 192.0.2.1:{port} -s sh -b sh-port\n")).collect();
    let mut host = InSync::with(&rules);
    assert_eq!(host.not_in_proc().len(), 20);
    assert!(host.is_unchanged());
    run_with("ipvsadm -R", "-E -t 192.0.2.1:20 -s sh");
    assert!(!host.is_unchanged());
}

#[test]
fn objects_other_than_services_are_compared_too() {
    let mut host = InSync::with(RULES);
    for (there, back) in [
        ("ip addr add 192.0.2.1/32 dev lo", "ip addr del 192.0.2.1/32 dev lo"),
        ("ip addr add 2001:db8::1/128 dev lo nodad", "ip addr del 2001:db8::1/128 dev lo"),
        ("ip link add d1 type dummy", "ip link del d1"),
        ("ipvsadm --set 901 0 0", "ipvsadm --set 900 0 0"),
        ("ipvsadm --start-daemon master --mcast-interface lo", "ipvsadm --stop-daemon master"),
    ] {
        run(there);
        assert!(!host.is_unchanged(), "{there}");
        run(back);
        assert!(host.is_unchanged(), "{back}");
    }
    for (value, is_unchanged) in [("1", false), ("0", true)] {
        std::fs::write("/proc/sys/net/ipv4/vs/expire_nodest_conn", value).unwrap();
        assert_eq!(host.is_unchanged(), is_unchanged);
    }
}

#[test]
fn a_change_between_the_probe_and_the_reading_is_detected_later() {
    let mut host = InSync::with(RULES);
    let table_digest = host.kernel.probe().unwrap();
    run("ipvsadm -e -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 7");
    host.live = host.kernel.observe(&host.sysctls).unwrap();
    host.table_digest = table_digest;
    assert!(!host.is_unchanged());
}

#[test]
fn traffic_is_not_a_change() {
    let rules = "\
-A -t 127.0.0.2:80 -s rr -p 300
-a -t 127.0.0.2:80 -r 127.0.0.1:80 -m -w 1
-A -t 127.0.0.3:80 -s sh -b sh-port
-a -t 127.0.0.3:80 -r 127.0.0.1:80 -m -w 1
";
    let mut host = InSync::with(rules);
    let shown = || std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap();
    let before = shown();
    let listener = std::net::TcpListener::bind("127.0.0.1:80").unwrap();
    let clients: Vec<_> = ["127.0.0.2:80", "127.0.0.3:80"]
        .iter()
        .map(|vip| std::net::TcpStream::connect(vip).unwrap())
        .collect();
    assert_ne!(shown(), before, "the file counts them");
    assert!(host.is_unchanged());
    drop((clients, listener));
    assert!(host.is_unchanged());
}

#[test]
fn changes_by_evenkeel_itself_are_detected_too() {
    let mut host = InSync::with(RULES);
    host.desired.services.remove(&tcp("192.0.2.1:80"));
    let report = apply(&mut host.kernel, &host.desired);
    assert!(report.is_success(), "{report:?}");
    assert!(!host.is_unchanged());
}
