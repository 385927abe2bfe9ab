//! Hosts with their roles: what they have before, their spec, and what it changes.

use evenkeel_lab_tests::{modules, packet_rules, run};

use super::host::Host;
use super::state::State;

/// A host in a role.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What the host has before, as [`Host::new`] takes it.
    pub(super) host: &'static str,
    pub(super) spec: &'static str,
    /// Parts of the state that the spec leads to.
    pub(super) shows: &'static [&'static str],
    /// The modules that the role needs, those that use others before them.
    pub(super) modules: &'static [&'static str],
    /// The devices that these modules create in every network namespace, and that stay with them.
    pub(super) leaves: &'static [&'static str],
    /// The devices of these that the role sets up.
    pub(super) uses: &'static [&'static str],
}

impl Case {
    pub(super) fn host(&self) -> Host {
        Host::new(self.host)
    }

    /// Unloads the modules, as on a host that never had the role.
    pub(super) fn unload_modules(&self) {
        // It uses ip6_tunnel.
        modules::unload("ip6_gre");
        self.modules.iter().for_each(|module| modules::unload(module));
    }

    /// Loads the modules, so that nothing of them appears later.
    pub(super) fn load_modules(&self) {
        self.modules.iter().for_each(|module| drop(run(&format!("modprobe {module}"))));
    }

    /// Loads the modules, and sets the devices up once, on a host of this case: the kernel then has a queue
    /// for each, and sysctls of IPv6, which stay.
    pub(super) fn use_devices(&self) {
        self.load_modules();
        for device in self.uses {
            run(&format!("ip link set {device} up"));
            run(&format!("ip link set {device} down"));
        }
    }

    /// Returns what the modules leave on such a host once their devices were up.
    pub(super) fn left(&self) -> State {
        self.unload_modules();
        let _host = self.host();
        self.use_devices();
        State::read().take_devices(self.leaves)
    }
}

/// Settings that differ from each other and from the kernel's, so that restoring is seen.
const REAL_SERVER: &str = "address add 192.0.2.11/24 dev eth0
    address add 2001:db8::11/64 dev eth0 nodad
    address add 198.51.100.11/24 dev eth1
    sysctl net/ipv4/conf/all/rp_filter=1
    sysctl net/ipv4/conf/default/rp_filter=2
    sysctl net/ipv4/conf/all/arp_announce=1
    sysctl net/ipv4/conf/lo/arp_ignore=2";

/// Returns the cases that are possible on this kernel.
pub(super) fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain([FULL_NAT].iter().filter(|_| packet_rules::has_nftables()))
}

const CASES: &[Case] = &[
    DIRECTOR,
    DR,
    DR_ARPTABLES,
    NAT,
    NAT_WITH_ROUTES,
    LOCAL_NODE,
    TUN_IPIP,
    TUN_GUE,
    TUN_GRE,
    TUN_MIXED,
    GATEWAY,
];

pub(super) const DIRECTOR: Case = Case {
    name: "director",
    host: "address add 192.0.2.2/24 dev eth0
        address add 10.0.0.2/24 dev eth1
        address add 2001:db8::2/64 dev eth0 nodad
        address add fd00::2/64 dev eth1 nodad
        route add default via 192.0.2.254
        -6 route add default via 2001:db8::fe
        sysctl net/ipv4/conf/eth1/forwarding=1
        sysctl net/ipv4/conf/eth0/accept_redirects=0
        sysctl net/ipv4/conf/default/accept_redirects=0
        sysctl net/ipv6/conf/eth1/forwarding=1
        sysctl net/ipv6/conf/eth0/accept_redirects=0",
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, 10.0.0.2, '2001:db8::2', 'fd00::2'] } ]
defaults: { drain: 0s }
vips:
  - { address: 192.0.2.1, interface: eth0, label: 'eth0:0', route: true }
  - { address: '2001:db8::1', interface: eth0, route: true }
  - { address: 192.0.2.3, interface: vips, dummy: true }
sysctls: { net.ipv4.vs.conntrack: 1 }
services:
  - name: inner
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    forward: nat
    gateway: director
    real_servers: [ { address: 10.0.0.11, port: 8080 }, { address: 'fd00::11', port: 8080 } ]
  - { name: dns, vip: 192.0.2.3, port: 53, protocol: udp, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: call, vip: 192.0.2.1, port: 36412, protocol: sctp, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: marked, fwmark: 7, family: ipv4, forward: nat, real_servers: [ { address: 10.0.0.11 } ] }
",
    shows: &[
        "sysctl net.ipv4.ip_forward = 1",
        "sysctl net.ipv4.conf.eth0.accept_redirects = 0",
        "sysctl net.ipv4.conf.eth1.send_redirects = 0",
        "sysctl net.ipv6.conf.eth0.forwarding = 1",
        "ipvs -a -t 192.0.2.1:80 -r 10.0.0.11:8080 -m -w 1",
    ],
    modules: &[],
    leaves: &[],
    uses: &[],
};

pub(super) const DR: Case = Case {
    name: "DR real server",
    host: REAL_SERVER,
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 0s, forward: dr }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    on_real_servers: { label: 'lo:0', route: true }
    real_servers: [ { address: 192.0.2.11 }, { address: 192.0.2.12 }, { address: '2001:db8::11' } ]
  - { name: dns, vip: 192.0.2.3, port: 53, protocol: udp, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: call, vip: '2001:db8::3', port: 36412, protocol: sctp, real_servers: [ { address: '2001:db8::11' } ] }
  - name: marked
    fwmark: 7
    family: ipv4
    on_real_servers: { vips: [ 192.0.2.4 ] }
    real_servers: [ { address: 192.0.2.11 } ]
",
    shows: &[
        "\"label\":\"lo:0\",\"local\":\"192.0.2.1\"",
        "\"local\":\"2001:db8::1\"",
        "\"local\":\"192.0.2.4\"",
        "sysctl net.ipv4.conf.lo.arp_ignore = 1",
        "sysctl net.ipv4.conf.all.arp_announce = 2",
    ],
    modules: &[],
    leaves: &[],
    uses: &[],
};

const NAT_SPEC: &str = "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 0s, forward: nat }
services:
  - name: inner
    vips: [ 203.0.113.1, '2001:db8:1::1' ]
    port: 80
    gateway: director
    real_servers: [ { address: 192.0.2.11, port: 8080 }, { address: '2001:db8::11', port: 8080 } ]
";

pub(super) const NAT: Case = Case {
    name: "NAT real server without a default route",
    host: REAL_SERVER,
    spec: NAT_SPEC,
    shows: &["\"gateway\":\"192.0.2.2\"", "\"gateway\":\"2001:db8::2\""],
    modules: &[],
    leaves: &[],
    uses: &[],
};

pub(super) const NAT_WITH_ROUTES: Case = Case {
    name: "NAT real server with default routes",
    host: "address add 192.0.2.11/24 dev eth0
    address add 2001:db8::11/64 dev eth0 nodad
    route add default via 192.0.2.254 dev eth0 proto dhcp src 192.0.2.11 metric 100 mtu 1400
    route add default via 192.0.2.253 dev eth0 metric 200
    -6 route add default via fe80::1 dev eth0 proto ra metric 1024 pref high hoplimit 50",
    spec: NAT_SPEC,
    shows: &["\"gateway\":\"192.0.2.2\"", "\"gateway\":\"2001:db8::2\""],
    modules: &[],
    leaves: &[],
    uses: &[],
};

/// It is a director and a real server of its own service and of the other director's.
pub(super) const LOCAL_NODE: Case = Case {
    name: "local node",
    host: "address add 192.0.2.2/24 dev eth0
    address add 2001:db8::2/64 dev eth0 nodad
    sysctl net/ipv4/conf/all/arp_announce=1",
    spec: "version: 1
directors:
  - { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] }
  - { name: lb2, addresses: [192.0.2.3, '2001:db8::3'] }
defaults: { drain: 0s }
vips:
  - { address: 192.0.2.1, interface: eth0, on: lb1 }
  - { address: '2001:db8::1', interface: eth0, on: lb1 }
  - { address: 192.0.2.4, interface: eth0, on: lb2 }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    forward: dr
    real_servers:
      - { address: 192.0.2.2 }
      - { address: 192.0.2.3 }
      - { address: '2001:db8::2' }
  - { name: nat, vip: 192.0.2.1, port: 81, forward: nat, real_servers: [ { address: 192.0.2.3 } ] }
  - { name: other, vip: 192.0.2.4, port: 80, forward: dr, real_servers: [ { address: 192.0.2.2 } ] }
",
    shows: &[
        "\"dev\":\"lo\",\"family\":\"inet\",\"label\":\"lo\",\"local\":\"192.0.2.4\"",
        "\"dev\":\"eth0\",\"family\":\"inet\",\"label\":\"eth0\",\"local\":\"192.0.2.1\"",
        "ipvs -a -t 192.0.2.1:80 -r 192.0.2.2:80 -g -w 1",
        "sysctl net.ipv4.conf.eth0.send_redirects = 0",
    ],
    modules: &[],
    leaves: &[],
    uses: &[],
};

pub(super) const TUN_IPIP: Case = Case {
    name: "TUN real server, ipip",
    host: REAL_SERVER,
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2] } ]
defaults: { drain: 0s, forward: tun }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    on_real_servers: { label: 'tunl0:0', route: true }
    real_servers: [ { address: 192.0.2.11 }, { address: 192.0.2.12 } ]
  - { name: dns, vip: 192.0.2.3, port: 53, protocol: udp, real_servers: [ { address: 192.0.2.11 } ] }
  - name: marked
    fwmark: 7
    family: ipv4
    on_real_servers: { vips: [ 192.0.2.4 ] }
    real_servers: [ { address: 192.0.2.11 } ]
",
    shows: &[
        "\"dev\":\"tunl0\",\"family\":\"inet\",\"label\":\"tunl0:0\",\"local\":\"192.0.2.1\"",
        "\"dev\":\"tunl0\",\"family\":\"inet\",\"label\":\"tunl0\",\"local\":\"192.0.2.4\"",
        "sysctl net.ipv4.conf.all.rp_filter = 0",
        "sysctl net.ipv4.conf.tunl0.rp_filter = 0",
        "sysctl net.ipv4.conf.tunl0.arp_ignore = 1",
    ],
    modules: &["ipip"],
    leaves: &["tunl0"],
    uses: &["tunl0"],
};

pub(super) const TUN_GUE: Case = Case {
    name: "TUN real server, gue",
    host: REAL_SERVER,
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2] } ]
defaults: { drain: 0s, forward: tun }
services:
  - name: web
    vip: 192.0.2.1
    port: 80
    tunnel: { type: gue, port: 6080 }
    real_servers: [ { address: 192.0.2.11 } ]
  - name: web6
    vip: '2001:db8::1'
    port: 80
    tunnel: { type: gue, port: 6081 }
    real_servers: [ { address: 192.0.2.11 } ]
",
    shows: &[
        "fou port 6080 gue",
        "fou port 6081 gue",
        "\"dev\":\"tunl0\",\"family\":\"inet\",\"label\":\"tunl0\",\"local\":\"192.0.2.1\"",
        "\"dev\":\"sit0\",\"family\":\"inet6\",\"local\":\"2001:db8::1\"",
    ],
    modules: &["fou", "ipip", "sit"],
    leaves: &["tunl0", "sit0"],
    uses: &["tunl0", "sit0"],
};

pub(super) const TUN_GRE: Case = Case {
    name: "TUN real server, gre",
    host: REAL_SERVER,
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 0s, forward: tun }
services:
  - { name: web, vip: 192.0.2.1, port: 80, tunnel: { type: gre }, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: web6, vip: '2001:db8::1', port: 80, tunnel: { type: gre }, real_servers: [ { address: '2001:db8::11' } ] }
",
    shows: &[
        "\"dev\":\"gre0\",\"family\":\"inet\",\"label\":\"gre0\",\"local\":\"192.0.2.1\"",
        "\"dev\":\"ip6gre0\",\"family\":\"inet6\",\"local\":\"2001:db8::1\"",
        "sysctl net.ipv4.conf.gre0.rp_filter = 0",
    ],
    modules: &["ip6_gre", "ip6_tunnel", "ip_gre"],
    // The modules of GRE have devices for Ethernet and ERSPAN too, and use the one of IPv6.
    leaves: &["gre0", "gretap0", "erspan0", "ip6gre0", "ip6tnl0"],
    uses: &["gre0", "ip6gre0"],
};

pub(super) const TUN_MIXED: Case = Case {
    name: "TUN real server, mixed families",
    host: REAL_SERVER,
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 0s, forward: tun }
services:
  - { name: six-in-four, vip: '2001:db8::1', port: 80, real_servers: [ { address: 192.0.2.11 } ] }
  - { name: four-in-six, vip: 192.0.2.1, port: 80, real_servers: [ { address: '2001:db8::11' } ] }
  - { name: six-in-six, vip: '2001:db8::3', port: 80, real_servers: [ { address: '2001:db8::11' } ] }
  - name: gue-in-six
    vip: 192.0.2.4
    port: 80
    tunnel: { type: gue, port: 6080 }
    real_servers: [ { address: '2001:db8::11' } ]
",
    shows: &[
        "\"dev\":\"sit0\",\"family\":\"inet6\",\"local\":\"2001:db8::1\"",
        "\"dev\":\"ip6tnl0\",\"family\":\"inet\",\"label\":\"ip6tnl0\",\"local\":\"192.0.2.1\"",
        "\"dev\":\"ip6tnl0\",\"family\":\"inet6\",\"local\":\"2001:db8::3\"",
        "fou -6 port 6080 gue",
    ],
    modules: &["fou", "ip6_tunnel", "sit"],
    leaves: &["sit0", "ip6tnl0"],
    uses: &["sit0", "ip6tnl0"],
};

/// Rules of other programs are beside its own.
const DR_ARPTABLES: Case = Case {
    name: "DR real server, arptables",
    host: "address add 192.0.2.11/24 dev eth0
        address add 2001:db8::11/64 dev eth0 nodad
        arptables-legacy -A INPUT -d 192.0.2.66 -j DROP
        arptables-legacy -A OUTPUT -s 192.0.2.66 -j mangle --mangle-ip-s 192.0.2.11
        arptables-legacy -N others",
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2] } ]
defaults: { drain: 0s, arp: arptables }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    real_servers: [ { address: 192.0.2.11 }, { address: '2001:db8::11' } ]
  - { name: dns, vip: 192.0.2.3, port: 53, protocol: udp, real_servers: [ { address: 192.0.2.11 } ] }
",
    shows: &[
        "arptables -j DROP -d 192.0.2.66",
        "\"label\":\"lo\",\"local\":\"192.0.2.1\"",
        "sysctl net.ipv4.conf.all.arp_ignore = 0",
    ],
    modules: &[],
    leaves: &[],
    uses: &[],
};

/// Tables of other programs are beside its own.
const FULL_NAT: Case = Case {
    name: "director, full NAT",
    host: "address add 192.0.2.2/24 dev eth0
        address add 2001:db8::2/64 dev eth0 nodad
        address add 10.0.0.2/24 dev eth1
        nft add table ip nat
        nft add chain ip nat postrouting { type nat hook postrouting priority 90; }
        nft add rule ip nat postrouting ip daddr 10.0.0.66 masquerade
        nft add table ip6 empty",
    spec: "version: 1
directors: [ { name: lb1, addresses: [192.0.2.2, '2001:db8::2'] } ]
defaults: { drain: 0s, forward: fullnat }
vips:
  - { address: 192.0.2.1, interface: eth0 }
  - { address: '2001:db8::1', interface: eth0 }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    real_servers: [ { address: 10.0.0.11, port: 8080 }, { address: '2001:db8::11' } ]
  - name: call
    vip: 192.0.2.1
    port: 36412
    protocol: sctp
    source: 192.0.2.2
    real_servers: [ { address: 10.0.0.12 } ]
  - { name: marked, fwmark: 7, family: ipv4, real_servers: [ { address: 10.0.0.13 } ] }
",
    shows: &[
        "ip daddr 10.0.0.11 tcp dport 8080 ct original ip daddr 192.0.2.1 ct original proto-dst 80 masquerade",
        "ip daddr 10.0.0.12 sctp dport 36412 ct original ip daddr 192.0.2.1 ct original proto-dst 36412 snat to 192.0.2.2",
        "ip6 daddr 2001:db8::11 tcp dport 80 ct original ip6 daddr 2001:db8::1 ct original proto-dst 80",
        "ip daddr 10.0.0.13 meta mark 0x00000007 ct original ip daddr != 10.0.0.13 masquerade",
        "sysctl net.ipv4.ip_forward = 1",
    ],
    modules: &[],
    leaves: &[],
    uses: &[],
};

/// Entries of other programs are beside its own.
pub(super) const GATEWAY: Case = Case {
    name: "gateway",
    host: "address add 192.0.2.254/24 dev eth0
    address add 2001:db8::fe/64 dev eth0 nodad
    address add 198.51.100.1/24 dev eth1
    neigh add 192.0.2.66 lladdr 02:00:00:00:00:66 dev eth0 nud permanent
    neigh add 2001:db8::66 lladdr 02:00:00:00:00:66 dev eth0 nud permanent
    neigh add 192.0.2.1 lladdr 02:00:00:00:00:66 dev eth1 nud permanent",
    spec: "version: 1
directors:
  - { name: lb1, addresses: [192.0.2.2, '2001:db8::2'], mac: '02:00:00:00:02:01' }
  - { name: lb2, addresses: [198.51.100.2], mac: '02:00:00:00:02:02' }
gateways: [ { name: r1, addresses: [192.0.2.254, '2001:db8::fe', 198.51.100.1] } ]
defaults: { drain: 0s }
vips:
  - { address: 192.0.2.1, interface: lo, on: lb1 }
  - { address: '2001:db8::1', interface: lo, on: lb1 }
  - { address: 198.51.100.9, interface: lo, on: lb2 }
services:
  - name: web
    vips: [ 192.0.2.1, '2001:db8::1' ]
    port: 80
    forward: dr
    real_servers: [ { address: 192.0.2.11 }, { address: '2001:db8::11' } ]
  - { name: moved, vip: 192.0.2.3, port: 80, real_servers: [ { address: 192.0.2.11 } ] }
",
    shows: &[
        "\"dev\":\"eth0\",\"dst\":\"192.0.2.1\",\"lladdr\":\"02:00:00:00:02:01\"",
        "\"dev\":\"eth0\",\"dst\":\"2001:db8::1\",\"lladdr\":\"02:00:00:00:02:01\"",
        "\"dev\":\"eth1\",\"dst\":\"198.51.100.9\",\"lladdr\":\"02:00:00:00:02:02\"",
    ],
    modules: &[],
    leaves: &[],
    uses: &[],
};
