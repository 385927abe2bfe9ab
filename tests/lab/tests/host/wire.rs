//! Tests announcements as they arrive at the other end of a cable.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use evenkeel_host::{
    Announcement, Binding, HardwareAddress, Host, gratuitous_arp, unsolicited_advertisement,
};
use evenkeel_lab_tests::{enter_namespace, fresh_namespace, run, this_namespace};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use super::{ip, link, settled};

/// Creates a cable from `near`, in the calling thread's namespace, to `far`, in a new namespace
/// that is returned. Both ends are up on return.
pub(super) fn pair() -> File {
    let home = this_namespace();
    fresh_namespace();
    let away = this_namespace();
    let path = format!("/proc/{}/fd/{}", std::process::id(), away.as_raw_fd());
    enter_namespace(&home);
    run("ip link add near type veth peer name far");
    run(&format!("ip link set far netns {path}"));
    run("ip link set near up");
    enter_namespace(&away);
    run("ip link set far up");
    enter_namespace(&home);
    let host = Host::connect().unwrap();
    settled(|| link(&host, "near").running);
    away
}

/// Opens a listener for all frames that reach a namespace.
fn listen(namespace: &File) -> OwnedFd {
    let home = this_namespace();
    enter_namespace(namespace);
    let listener = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::EthAll,
    );
    enter_namespace(&home);
    listener.unwrap()
}

/// Returns all frames of the next moment that come from `hardware` and contain the address.
fn received(listener: &OwnedFd, hardware: HardwareAddress, address: IpAddr) -> Vec<Vec<u8>> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut frames = Vec::new();
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        let mut frame = vec![0; 2048];
        match recv(listener.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) => frame.truncate(length),
            Err(nix::errno::Errno::EAGAIN) => {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        if frame.get(6..12) == Some(&hardware)
            && frame.windows(octets.len()).any(|window| window == octets)
        {
            frames.push(frame);
        }
    }
    frames
}

fn hardware(host: &Host) -> HardwareAddress {
    link(host, "near").hardware_address.try_into().unwrap()
}

#[test]
fn an_ipv4_announcement_arrives_as_a_request_and_a_reply() {
    fresh_namespace();
    let away = pair();
    let host = Host::connect().unwrap();
    let listener = listen(&away);
    let vip = "192.0.2.1".parse().unwrap();
    host.bind(&Binding::host(IpAddr::V4(vip), "near")).unwrap();
    assert_eq!(host.announce(IpAddr::V4(vip), "near").unwrap(), Announcement::Announced);
    assert_eq!(
        received(&listener, hardware(&host), IpAddr::V4(vip)),
        gratuitous_arp(vip, hardware(&host))
    );
}

#[test]
fn an_ipv6_announcement_arrives_as_an_advertisement() {
    fresh_namespace();
    let away = pair();
    let host = Host::connect().unwrap();
    let listener = listen(&away);
    let vip = "2001:db8::1".parse().unwrap();
    for router in [false, true] {
        std::fs::write("/proc/sys/net/ipv6/conf/near/forwarding", if router { "1" } else { "0" })
            .unwrap();
        assert_eq!(host.announce(IpAddr::V6(vip), "near").unwrap(), Announcement::Announced);
        assert_eq!(
            received(&listener, hardware(&host), IpAddr::V6(vip)),
            [unsolicited_advertisement(vip, hardware(&host), router)]
        );
    }
}

#[test]
fn binding_alone_announces_nothing() {
    fresh_namespace();
    let away = pair();
    let host = Host::connect().unwrap();
    let listener = listen(&away);
    for vip in ["192.0.2.1", "2001:db8::1"] {
        let vip: IpAddr = vip.parse().unwrap();
        host.bind(&Binding::host(vip, "near")).unwrap();
        assert_eq!(received(&listener, hardware(&host), vip), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn a_neighbour_with_another_owner_cached_learns_the_new_one() {
    fresh_namespace();
    let away = pair();
    let host = Host::connect().unwrap();
    let home = this_namespace();
    let vips = ["192.0.2.1", "2001:db8::1"];

    enter_namespace(&away);
    run("ip addr add 192.0.2.9/24 dev far");
    run("ip addr add 2001:db8::9/64 dev far nodad");
    for vip in vips {
        run(&format!("ip neigh replace {vip} lladdr 02:00:00:00:00:99 dev far nud reachable"));
    }
    enter_namespace(&home);
    for vip in vips {
        host.announce(vip.parse().unwrap(), "near").unwrap();
    }
    let owner: Vec<String> = hardware(&host).iter().map(|byte| format!("{byte:02x}")).collect();

    enter_namespace(&away);
    for vip in vips {
        let shown = ip(&format!("neigh show to {vip} dev far"));
        assert_eq!(shown[0]["lladdr"], owner.join(":"), "{vip}: {shown}");
    }
}

#[test]
fn an_interface_that_was_made_anew_is_announced_on() {
    fresh_namespace();
    let _away = pair();
    let host = Host::connect().unwrap();
    let vip: IpAddr = "192.0.2.1".parse().unwrap();
    for _ in 0..2 {
        assert_eq!(host.announce(vip, "near").unwrap(), Announcement::Announced);
        run("ip link del near");
        run("ip link add near type veth peer name far");
        run("ip link set near up");
        run("ip link set far up");
        settled(|| link(&host, "near").running);
    }
}
