//! A service that reaches this real server by another forwarding method than before.

use evenkeel_model::{Family, Link, TunnelDevice, TunnelKind};

use super::*;

const RP_FILTER: &str = "net.ipv4.conf.tunl0.rp_filter";

fn tunl0() -> (HostObject, HostValue) {
    let needed = TunnelDevice::for_tunnel(TunnelKind::Ipip, Family::Ipv4, Family::Ipv4);
    let (device, value) = needed.expect("a known kind");
    (device.into(), value.into())
}

fn on_tunnel() -> Binding {
    Binding { interface: "tunl0".into(), ..vip(1) }
}

/// The real server of the service, which is reached by TUN.
fn tunnelled() -> Desired {
    let mut desired = real_server(&[], &[]);
    let (device, value) = tunl0();
    desired.vips.insert(on_tunnel(), Vip::default());
    desired.host_objects.insert(device.clone(), value);
    desired.sysctls.extend([(ARP.into(), "1".into()), (RP_FILTER.into(), "0".into())]);
    let part = RealServerPart {
        name: "web".into(),
        drain: Drain(20),
        vips: [on_tunnel()].into(),
        host_objects: [device].into(),
        sysctls: [ARP.into(), RP_FILTER.into()].into(),
    };
    desired.real_server.insert(key(1), part);
    desired
}

fn host() -> Host {
    let mut host = Host::new();
    host.live.links =
        Some([("lo".into(), Link { up: true, dummy: false, owner: Owner::Other })].into());
    host.live.sysctls.insert(RP_FILTER.into(), "1".into());
    host.live.host_objects.read.insert(tunl0().0.kind());
    host
}

fn names(staying: &[StayingObject]) -> Vec<String> {
    staying.iter().map(|it| it.object.to_string()).collect()
}

#[test]
fn the_tunnel_stays_while_directors_may_still_send_through_it() {
    let mut host = host();
    host.apply(&tunnelled());
    let direct = real_server(&[1], &[]);
    let staying = host.apply(&direct);
    assert_eq!(names(&staying), ["sysctl net.ipv4.conf.tunl0.rp_filter", "tunnel device tunl0"]);
    // The VIP is where the spec wants it, and the kernel delivers to it what tunl0 unpacks.
    assert_eq!(host.live.addresses.keys().collect::<Vec<_>>(), [&vip(1)]);
    assert!(host.live.host_objects.objects.contains_key(&tunl0().0));
    host.pass(15, 0);
    assert_eq!(names(&host.apply(&direct)).len(), 2);
    host.pass(16, 0);
    assert_eq!(host.apply(&direct), []);
    assert!(!host.live.host_objects.objects.contains_key(&tunl0().0));
    assert_eq!(&*host.live.sysctls[RP_FILTER], "1");
    assert!(host.record.real_server.leaving.is_empty());
}

#[test]
fn nothing_stays_where_the_new_method_needs_as_much() {
    let mut host = host();
    host.apply(&real_server(&[1], &[]));
    // The route of the VIP is for the host itself: it goes at once.
    assert_eq!(host.apply(&tunnelled()), []);
    assert_eq!(host.live.addresses.keys().collect::<Vec<_>>(), [&on_tunnel()]);
}

#[test]
fn a_service_that_then_leaves_keeps_what_stays_of_both_methods() {
    let mut host = host();
    host.apply(&tunnelled());
    host.apply(&real_server(&[1], &[]));
    host.pass(20, 0);
    let none = real_server(&[], &[]);
    let staying = names(&host.apply(&none));
    for name in ["tunnel device tunl0", "vip 192.0.2.1/32 on lo"] {
        assert!(staying.contains(&name.to_owned()), "{staying:?}");
    }
    host.pass(29, 0);
    assert_eq!(host.bound(), [1].into());
    assert_eq!(names(&host.apply(&none)).len(), staying.len());
    host.pass(2, 0);
    assert_eq!(host.apply(&none), []);
    assert_eq!(host.bound(), BTreeSet::new());
    assert!(host.live.host_objects.objects.is_empty());
}
