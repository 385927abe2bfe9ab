//! Networks that several tests use: a client, a director `ds1`, and the real servers `rs1` and
//! `rs2`.

use evenkeel_lab::net::{Forward, Host, Network, Topology};

/// The VIPs of [`dual_stack_cluster`]; [`ipv4_cluster`] has the first.
pub(crate) const VIPS: [&str; 2] = ["10.0.0.100", "fd00::100"];

/// Builds an IPv4 cluster in direct routing, with real servers at 10.0.0.11 and 10.0.0.12, port 80.
pub(crate) fn ipv4_cluster() -> Network {
    let topology = Topology {
        forward: Forward::Dr,
        vips: vec![VIPS[0].parse().unwrap()],
        client: Host::new("client", &["10.0.0.9/24"]),
        director: Host::new("ds1", &["10.0.0.1/24"]),
        real_servers: vec![
            Host::new("rs1", &["10.0.0.11/24"]),
            Host::new("rs2", &["10.0.0.12/24"]),
        ],
        ports: vec![80],
    };
    topology.build().unwrap()
}

/// Builds a cluster of both families whose real servers answer on this port. For NAT its client is
/// in another network.
pub(crate) fn dual_stack_cluster(forward: Forward, port: u16) -> Network {
    let client: &[&str] = match forward {
        Forward::Nat => &["10.9.0.9/24", "fd09::9/64"],
        Forward::Dr | Forward::Tun => &["10.0.0.9/24", "fd00::9/64"],
    };
    let mut director = vec!["10.0.0.1/24", "fd00::1/64"];
    if forward == Forward::Nat {
        director.extend(["10.9.0.1/24", "fd09::1/64"]);
    }
    let topology = Topology {
        forward,
        vips: VIPS.map(|vip| vip.parse().unwrap()).to_vec(),
        client: Host::new("client", client),
        director: Host::new("ds1", &director),
        real_servers: vec![
            Host::new("rs1", &["10.0.0.11/24", "fd00::11/64"]),
            Host::new("rs2", &["10.0.0.12/24", "fd00::12/64"]),
        ],
        ports: vec![port],
    };
    topology.build().unwrap()
}
