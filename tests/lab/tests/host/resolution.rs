//! Tests what the kernel knows of neighbours, and that it asks for them.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_host::{Error, Host, Resolution};
use evenkeel_lab::net::{Machine, Machines};
use evenkeel_lab_tests::run;

use crate::watch::within;

/// The hardware address of the neighbour.
const MAC: [u8; 6] = [2, 0, 0, 0, 1, 0];
const ADDRESSES: [&str; 2] = ["192.0.2.2", "2001:db8::2"];
/// The kernel asks three times, once a second.
const GIVEN_UP: Duration = Duration::from_secs(6);

/// Builds a host with a neighbour of both families, and enters the host.
fn neighbours() -> Machines {
    let on = |name: &str, addresses: &[&str]| Machine::new(name).on("lan", "eth0", addresses);
    let host = on("host", &["192.0.2.1/24", "2001:db8::1/64"]);
    let machines = Machines::build(&[host, on("neighbour", &["192.0.2.2/24", "2001:db8::2/64"])]);
    let machines = machines.unwrap();
    machines["host"].enter().unwrap();
    machines
}

#[test]
fn a_neighbour_that_is_asked_for_is_confirmed_again_after_it_was_not() {
    let _machines = neighbours();
    let host = Host::connect().unwrap();
    for address in ADDRESSES {
        let ip: IpAddr = address.parse().unwrap();
        let resolution = || host.resolution(ip, "eth0").unwrap();
        assert_eq!(resolution(), Resolution::Unknown);
        host.resolve(ip, "eth0").unwrap();
        assert!(within(GIVEN_UP, || resolution() == Resolution::Confirmed(MAC)), "{address}");
        run(&format!("ip neigh change {address} dev eth0 nud stale"));
        assert_eq!(resolution(), Resolution::Unconfirmed(MAC));
        host.resolve(ip, "eth0").unwrap();
        assert!(within(GIVEN_UP, || resolution() == Resolution::Confirmed(MAC)), "{address}");
    }
}

#[test]
fn a_neighbour_that_has_left_becomes_unknown_and_one_at_another_mac_is_found() {
    let machines = neighbours();
    let host = Host::connect().unwrap();
    for address in ADDRESSES {
        run(&format!("ip neigh add {address} lladdr 02:00:00:00:00:99 dev eth0 nud stale"));
        let ip: IpAddr = address.parse().unwrap();
        host.resolve(ip, "eth0").unwrap();
        let resolution = || host.resolution(ip, "eth0").unwrap();
        assert!(within(GIVEN_UP, || resolution() == Resolution::Unknown), "{address}");
        host.resolve(ip, "eth0").unwrap();
        assert!(within(GIVEN_UP, || resolution() == Resolution::Confirmed(MAC)), "{address}");
        run(&format!("ip neigh del {address} dev eth0"));
    }
    machines["neighbour"].ip("link set eth0 down").unwrap();
    for address in ADDRESSES {
        let ip: IpAddr = address.parse().unwrap();
        host.resolve(ip, "eth0").unwrap();
        let resolution = || host.resolution(ip, "eth0").unwrap();
        assert_eq!(resolution(), Resolution::Pending, "{address}");
        assert!(within(GIVEN_UP, || resolution() == Resolution::Unknown), "{address}");
    }
}

#[test]
fn an_entry_of_a_program_is_confirmed_and_an_interface_that_is_missing_is_named() {
    let _machines = neighbours();
    let host = Host::connect().unwrap();
    run("ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
    let ip: IpAddr = "192.0.2.7".parse().unwrap();
    let added = Resolution::Confirmed([2, 0, 0, 0, 0, 7]);
    assert_eq!(host.resolution(ip, "eth0").unwrap(), added);
    let missing = host.resolution(ip, "eth7").unwrap_err();
    assert!(
        matches!(&missing, Error::InterfaceMissing { interface } if interface == "eth7"),
        "{missing:?}"
    );
}
