//! Sysctls: those that the kernel rewrites with others, those of a real server, and those that a
//! container forbids.

use evenkeel_host::set_sysctl;
use evenkeel_lab_tests::sysctls::{changed, of_interfaces};

use super::*;

const ETH0: &str = "net.ipv4.conf.eth0.forwarding";
const ARP: &str = "net.ipv4.conf.lo.arp_ignore";
/// A sysctl that can be set in the first network namespace only.
const SHOWN: &str = "net.ipv4.tcp_allowed_congestion_control";

/// A spec with a service and those sysctls.
fn spec(sysctls: &str) -> String {
    let service = "name: web, vip: 203.0.113.9, port: 80, drain: 0s, real_servers: []";
    format!("version: 1\nservices: [ {{ {service} }} ]\nsysctls: {{ {sysctls} }}\n")
}

/// A namespace whose interfaces differ in what they forward.
fn host() -> Fixture {
    let fixture = Fixture::new("");
    run("ip link add eth0.100 up type dummy");
    run("ip link add eth1 up type dummy");
    for (key, value) in [
        ("net.ipv4.conf.all.accept_redirects", "0"),
        ("net.ipv4.conf.eth0/100.forwarding", "1"),
        ("net.ipv6.conf.eth1.forwarding", "1"),
        ("net.ipv6.conf.default.forwarding", "1"),
    ] {
        set_sysctl(key, value).unwrap();
    }
    fixture
}

fn value(key: &str) -> String {
    of_interfaces()[key].clone()
}

#[test]
fn a_teardown_brings_back_every_sysctl_that_the_kernel_rewrote() {
    let fixture = host();
    let before = of_interfaces();
    let both = "net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1";
    let answer = fixture.apply(&spec(&format!("{both}, {ETH0}: 0")));
    assert!(answer.contains(&format!("~ edit sysctl {ETH0}: 1 -> 0: applied\n")), "{answer}");
    assert_eq!((&*value(ETH0), &*value("net.ipv4.conf.eth1.forwarding")), ("0", "1"));
    assert_eq!(fixture.evenkeel("plan --detailed-exitcode spec.yaml").status, 0);

    // An interface that appears later has no value from before, and follows the kernel.
    run("ip link add late up type dummy");
    let answer = fixture.evenkeel("teardown --yes");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(value("net.ipv4.conf.late.forwarding"), "0");
    run("ip link delete late");
    assert_eq!(changed(&before, &of_interfaces()), [].into());
    assert_eq!(fixture.done("teardown --yes"), "Nothing to undo.\n");
}

#[test]
fn a_spec_that_names_the_master_no_longer_restores_all_and_one_that_finds_it_set_records_nothing() {
    let fixture = host();
    let before = of_interfaces();
    fixture.apply(&spec("net.ipv4.ip_forward: 1"));
    fixture.apply(&spec(&format!("{ETH0}: 0")));
    assert_eq!(changed(&before, &of_interfaces()), [].into());
    fixture.apply(&spec("net.ipv4.conf.all.forwarding: 1"));
    // The same value by its other name.
    assert_eq!(value(ETH0), "1");
    fixture.apply(&spec("net.ipv4.ip_forward: 1"));
    fixture.apply(&spec(""));
    assert_eq!(changed(&before, &of_interfaces()), [].into());

    set_sysctl("net.ipv4.ip_forward", "1").unwrap();
    set_sysctl(ETH0, "0").unwrap();
    let before = of_interfaces();
    fixture.apply(&spec("net.ipv4.ip_forward: 1"));
    assert_eq!(fixture.evenkeel("teardown --yes").status, 0);
    assert_eq!(changed(&before, &of_interfaces()), [].into());
}

#[test]
fn a_failed_and_an_unconfirmed_apply_bring_the_side_effects_back() {
    let fixture = host();
    let before = of_interfaces();
    let both = "net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1";
    // The kernel refuses that value.
    fixture.write("bad.yaml", spec(&format!("{both}, net.ipv6.conf.eth0.addr_gen_mode: 9")));
    let answer = fixture.evenkeel("apply --yes bad.yaml");
    assert_eq!(answer.status, 4, "{answer:?}");
    assert_eq!(changed(&before, &of_interfaces()), [].into(), "{answer:?}");

    fixture.write("good.yaml", spec(both));
    assert_eq!(fixture.evenkeel("apply --yes good.yaml --confirm 60s").status, 0);
    assert_eq!(value(ETH0), "1");
    let answer = fixture.evenkeel("confirm --abort");
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(changed(&before, &of_interfaces()), [].into(), "{answer:?}");
}

#[test]
fn a_vip_on_lo_is_bound_after_its_arp_sysctl_and_unbound_before_it_is_restored() {
    let fixture = Fixture::new("");
    let vip = "vips: [ { address: 192.0.2.1, interface: lo } ]\n";
    let answer = fixture.apply(&format!("{}{vip}", spec(&format!("{ARP}: 1"))));
    let place = |text: &str, words: &str| text.find(words).unwrap_or_else(|| panic!("{text}"));
    assert!(place(&answer, ARP) < place(&answer, "+ bind vip 192.0.2.1/32 on lo"), "{answer}");
    fixture.write("spec.yaml", spec(""));
    let answer = fixture.evenkeel("apply --yes spec.yaml --allow unbind-in-use").stdout;
    assert!(place(&answer, "- unbind vip 192.0.2.1/32 on lo") < place(&answer, ARP), "{answer}");
    assert_eq!(value(ARP), "0");
}

#[test]
fn a_read_only_proc_is_one_clear_error_and_no_vip_is_bound_on_lo() {
    let fixture = Fixture::new("");
    let vip = "vips: [ { address: 192.0.2.1, interface: lo } ]\n";
    fixture.write("spec.yaml", format!("{}{vip}", spec(&format!("{ARP}: 1"))));
    let mut contained = Command::new("unshare");
    let script = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && \
                  exec \"$0\" \"$@\"";
    contained.args(["--mount", "sh", "-c", script]).arg(program());
    contained.args(["apply", "--yes", "spec.yaml"]);
    let answer = fixture.output(contained);
    assert_eq!(answer.status, 1, "{answer:?}");
    let words = "/proc/sys is read-only here, as in most containers, and evenkeel cannot set";
    assert_eq!(answer.stderr.matches(&format!("{words} {ARP}=1; set")).count(), 1, "{answer:?}");
    assert!(answer.stderr.contains("--sysctl"), "{answer:?}");
    assert!(!run("ip -o address show dev lo").contains("192.0.2.1"));
    assert_eq!(value(ARP), "0");
}

#[test]
fn a_sysctl_that_cannot_be_read_or_set_stops_an_apply_before_its_first_change() {
    let fixture = Fixture::new("");
    let vip = "vips: [ { address: 203.0.113.9, interface: eth0 } ]\n";
    for (key, words) in [
        ("net.ipv6.conf.eth0.stable_secret", "the kernel does not show the value of sysctl"),
        (SHOWN, "the kernel does not permit to set it"),
        ("net.ipv4.ip_forward.more", "this kernel has no sysctl"),
    ] {
        fixture.write("spec.yaml", format!("{}{vip}", spec(&format!("{key}: 1, {ARP}: 1"))));
        assert_eq!(fixture.evenkeel("validate spec.yaml").status, 0);
        let plan = fixture.evenkeel("plan spec.yaml");
        assert_eq!(plan.status, 0, "{plan:?}");
        let answer = fixture.evenkeel("apply --yes spec.yaml");
        assert_eq!((answer.status, &*answer.stdout), (1, ""), "{answer:?}");
        for stderr in [&plan.stderr, &answer.stderr] {
            assert!(stderr.contains(words) && stderr.contains(key), "{stderr}");
        }
        assert!(answer.stderr.contains("nothing was changed"), "{answer:?}");
        assert_eq!((&*value(ARP), &*run("ipvsadm -Sn")), ("0", ""));
    }
    // A sysctl that only shows its value is no obstacle while it has that of the spec.
    let shown = std::fs::read_to_string(format!("/proc/sys/{}", SHOWN.replace('.', "/"))).unwrap();
    let shown = format!("{SHOWN}: '{}'", shown.trim());
    fixture.apply(&format!("{}{vip}", spec(&format!("{shown}, {ARP}: 1"))));
    assert_eq!(value(ARP), "1");
    assert!(run("ip -o address show dev eth0").contains("203.0.113.9"));
}

#[test]
fn what_no_kernel_can_read_and_set_is_no_valid_spec() {
    let fixture = Fixture::new("");
    for (key, words) in [
        ("net.ipv4.route.flush", "it is a command to the kernel"),
        ("net.ipv4.vs", "it is a directory of sysctls"),
        ("net.ipv6.vs.conntrack", "below net.ipv4.vs"),
        ("net.netfilter.nf_conntrack_count", "it cannot be set"),
    ] {
        fixture.write("spec.yaml", spec(&format!("{key}: 1")));
        let answer = fixture.evenkeel("validate spec.yaml");
        assert_eq!(answer.status, 65, "{answer:?}");
        assert!(answer.stderr.contains(words) && answer.stderr.contains(key), "{answer:?}");
    }
}

/// In the first network namespace, where no sysctl is fixed for this namespace alone.
#[test]
fn every_sysctl_that_the_kernel_only_shows_is_no_valid_spec() {
    let fixture = Fixture::new("");
    let found = run("nsenter --target 1 --net find /proc/sys/net -type f -perm 0444");
    let paths = found.lines().filter_map(|path| path.strip_prefix("/proc/sys/"));
    // In a key, a dot of a name is written as a slash.
    let keys: Vec<String> = paths
        .map(|path| {
            path.split('/').map(|part| part.replace('.', "/")).collect::<Vec<_>>().join(".")
        })
        .collect();
    assert!(keys.iter().any(|key| key.ends_with(".mc_forwarding")), "{keys:?}");
    for key in keys {
        fixture.write("spec.yaml", spec(&format!("{key}: 1")));
        let answer = fixture.evenkeel("validate spec.yaml");
        assert_eq!(answer.status, 65, "{key}: {answer:?}");
    }
}
