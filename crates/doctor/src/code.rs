//! The codes of findings, with the table from which `--explain` and docs/doctor.md are made.

use std::fmt;
use std::str::FromStr;

/// Declares the codes; each has a number that never changes and is never used again, a title and an
/// explanation.
macro_rules! codes {
    ($($variant:ident = $number:literal, $title:literal, $explanation:literal;)*) => {
        /// The kind of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its stable name: `EK012`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => concat!("EK", $number),)* }
            }

            /// Returns what is wrong, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// Returns why it keeps traffic from flowing, when it is found, and what to do: a paragraph.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $explanation,)* }
            }
        }
    };
}

codes! {
    LoopbackDown = "001", "`lo` is down",
        "The kernel delivers packets to its own addresses through `lo`. While it is down, no VIP accepts \
         packets, and the kernel refuses every new real server. Run `ip link set lo up`.";
    InterfaceDown = "002", "an interface that traffic needs is down",
        "The interface carries a VIP, or the packets to and from real servers, and is administratively \
         down: nothing passes it. Run `ip link set INTERFACE up`, and let the program that configures the \
         network do so at boot.";
    NoCarrier = "003", "an interface that traffic needs has no carrier",
        "The interface carries a VIP, or the packets to and from real servers. It is up, but its link is \
         not: a cable, a switch port or the other end of a virtual link is missing. Restore the link.";
    Differs = "004", "the host is not as the spec asks",
        "`evenkeel plan` shows what is missing, superfluous or different. Other findings may follow from \
         it. Run `evenkeel apply`; if evenkeel changed it before, another program changes it back: see \
         EK007.";
    VipNotBound = "005", "a VIP is not bound on this host",
        "The host drops packets to an address that it does not have, before IPVS sees them. A VIP that the \
         spec lists under `vips`, or that a real server needs, is bound by `evenkeel apply`. A VIP that it \
         does not list is bound by another program (VRRP, BGP): list it, or start that program. A VIP that \
         the spec does not list is not looked for where it lists several directors or a program runs that \
         moves VIPs (keepalived, Pacemaker, kube-vip, vrrpd), as another director may have it; nor is a \
         listed one that another program had bound.";
    ModuleMissing = "006", "a kernel module is not installed",
        "IPVS, a scheduler, a persistence engine, a tunnel device or the UDP port of GUE needs a module that is \
         neither loaded nor built in nor installed for the running kernel. Install it, often as a package of extra modules, \
         or boot the kernel that is installed. Not found where the list of installed modules cannot be \
         read, as in most containers.";
    OtherWriter = "007", "another program changes the same objects",
        "A program that is known to change IPVS or addresses runs, and the host differs from the spec in \
         what that program changes: kube-proxy (in its IPVS mode) deletes services that it does not know, \
         unless `excludeCIDRs` covers them; keepalived and ldirectord have services and addresses of their \
         own; Pacemaker, kube-vip and vrrpd move addresses; systemd-networkd removes addresses that it does not know, unless \
         `ManageForeignAddresses=no`. Give each object one owner: configure that program to leave it \
         alone, or leave it out of the spec with `scope` or `ignore`.";
    Impossible = "008", "the host cannot have what the spec asks for",
        "`arp: arptables` and `forward: fullnat` need rules of nftables (the first can use arptables \
         instead): a kernel with the tables, the program, and no table of another program by the name of \
         evenkeel's. Without the rules, a real server answers ARP for its VIPs, or answers of real servers \
         miss the director. The message says what is missing. Install it, or use the sysctls (without \
         `arp`), or `forward: nat` with `gateway`.";
    NotForwarding = "010", "a director does not forward the answers of NAT",
        "Under NAT, answers of real servers pass the director, which forwards them to clients like a \
         router: the interface on which they arrive needs `net.ipv4.conf.INTERFACE.forwarding` 1 (set for \
         all by `net.ipv4.ip_forward`), and IPv6 `net.ipv6.conf.all.forwarding` 1. Write the sysctl under \
         `sysctls`, or list `directors`: evenkeel then sets it.";
    Redirects = "011", "a director redirects real servers past itself",
        "Under NAT with clients and real servers on one network, the director receives an answer and sends \
         it on through the same interface. It then sends an ICMP redirect, and the real server sends \
         further answers past the director, with an address that clients do not know. Set \
         `net.ipv4.conf.all.send_redirects` and that of the interface to 0 (the kernel sends redirects if \
         either is 1), or list `directors`: evenkeel then sets them.";
    NotOnNetwork = "012", "a real server under DR is not on a network of the director",
        "Direct routing changes only the MAC address of a packet, so that nothing but a host on the same \
         network can receive it. The route to the real server leads through a router, which would route \
         the packet by its destination, back to the VIP. Connect the director to the network of the real \
         server, or use `forward: tun` or `nat`. The route is the one that the kernel looks up for the \
         address.";
    NoRoute = "013", "there is no route to a real server",
        "The kernel has no route to the address of the real server, or one that refuses packets \
         (`unreachable`, `blackhole`, `prohibit`). Connections that are assigned to it fail. Add a route, \
         or correct the address.";
    PortMapped = "014", "a port is mapped where packets are not changed",
        "DR and tunnels deliver packets unchanged, so the real server sees the port of the service and not \
         the port of its entry. It refuses the connection unless it listens there. Use the port of the \
         service, or `forward: nat`, which maps ports. A spec can ask for this only with `unchecked: \
         true`; other programs write it, too.";
    TunnelMtu = "015", "the way to a tunnelled real server is too narrow",
        "A packet in a tunnel has to fit with its outer headers into the MTU of the way to the real server. \
         Over IPv6 the kernel drops every packet if less than 1280 bytes remain, over IPv4 if less than \
         68. IPv6 packets need 1280 bytes in either case, which hosts send whatever the MTU of the way: \
         larger ones than fit are lost. Raise the MTU of the interface or of the route.";
    NoRealServer = "016", "a service has no real server that takes connections",
        "All real servers of the service have weight 0, or there are none: new connections are refused. \
         Raise a weight, or add a real server.";
    HashedToZero = "017", "a scheduler chooses a real server of weight 0",
        "`sh`, `mh` and `dh` tie each client to a real server by a hash. One of weight 0 keeps its share of \
         the clients, and their connections are refused. Write `scheduler_flags: [sh-fallback]` or \
         `[mh-fallback]`, which pass them on, or remove the real server; `dh` has no such flag.";
    StuckAtZero = "018", "persistent clients stay with a real server of weight 0",
        "A client that persistence ties to a real server stays with it at weight 0: its new connections are \
         still sent there, a drain does not end before its time limit, and then they break. Write \
         `net.ipv4.vs.expire_quiescent_template: 1` under `sysctls`; such a client is then sent to \
         another real server.";
    DroppedAfterDrain = "019", "connections are dropped silently after a drain",
        "A real server is being drained or deleted, and `net.ipv4.vs.expire_nodest_conn` is 0: packets of \
         connections that remain then, and of clients that use a source port again, are dropped without \
         an answer until the entry times out. Write `net.ipv4.vs.expire_nodest_conn: 1` under `sysctls`: \
         the connections are ended at once.";
    WildcardListener = "020", "a program of the director is reachable through a VIP",
        "A TCP or UDP socket on 0.0.0.0 or `::` accepts packets to every address of the host, and so to a \
         VIP, on each port that no service has: clients reach the director itself, such as its SSH daemon, \
         under the address of a service. Let the program listen on the director's own address, or drop \
         packets to the VIP and that port. Doctor does not see such rules: then, and if it is \
         intended, `--ignore EK020`. UDP sockets on ports of \
         `net.ipv4.ip_local_port_range`, which clients get, and those of DHCP clients are left out.";
    Untracked = "021", "a rule of the packet filter relies on connections that are not tracked",
        "While `net.ipv4.vs.conntrack` is 0, IPVS keeps the connections that it forwards from connection \
         tracking. Rules of the table `nat` then replace no source address of their packets, and answers \
         behind NAT that pass the director belong to no connection that rules know: `--ctstate INVALID -j \
         DROP` drops them, `--ctstate ESTABLISHED -j ACCEPT` does not match. Write \
         `net.ipv4.vs.conntrack: 1` under `sysctls`, or accept the packets before by their addresses. \
         Found for a source rule with `-m ipvs`, or with the address and port of a real server behind \
         NAT, and for rules of states at the beginning of the chain FORWARD, in what iptables-save \
         shows; other rules are not judged. `forward: fullnat` needs the sysctl, too.";
    NoAnswer = "022", "a host that packets are to be sent to does not answer",
        "A director sends packets to the MAC address of a real server, or of the router to it, and a \
         gateway to that of a director. The host did not say which one it has: it is down, on another \
         network, or does not have that address. Connections that are assigned to the real server fail. \
         Start it, or set its weight to 0. Looked for only with `--probe`, which asks three times within a \
         second; not where the weight is 0, a program has set the MAC address, or a gateway learned it \
         (`mac: learn`).";
    ContestedVip = "023", "another host answers for a VIP",
        "Hosts that ask for the VIP (ARP, NDP) take the first answer, so that packets of clients come to \
         the other host, past the director. It is a real server that is not quiet, another director, or a \
         host with the same address by mistake. Run `evenkeel doctor` on the real servers; in the tables \
         of switches and DHCP servers, the MAC address leads to the host. Looked for only with `--probe`: \
         a director must be the only one to answer, and a real server finds several that do. Not looked \
         for where the spec lists `gateways`, which send packets to the director whichever hosts answer.";
    SourceMissing = "024", "the source address of full NAT is none of the director's",
        "With `source`, real servers under full NAT see this address as their client and answer to it. The \
         director has to receive these answers, so one of its interfaces must have the address. Bind it \
         under `vips`, correct it, or leave `source` out: the director then uses its own address on the \
         network of the real server.";
    AnswersArp = "030", "a real server answers ARP for a VIP",
        "A real server that has the VIP answers ARP requests for it on other interfaces than the VIP's, \
         unless `arp_ignore` is 1 (or 2, or 8), or ARP rules (`arp: arptables`) hide the VIP. Clients and routers then send packets to this real server, \
         past the director. The kernel uses the maximum of `net.ipv4.conf.all.arp_ignore` and that of the \
         interface that receives the request. Set 1, or the rules; evenkeel does so on real servers of a \
         spec with `directors`.";
    AnnouncesVip = "031", "a real server announces a VIP in its ARP requests",
        "When a real server answers from the VIP, its ARP requests name the VIP as their sender unless \
         `arp_announce` is 2 or ARP rules name another address, and neighbours learn the MAC address of this real server for it: the VIP is \
         taken from the director. The kernel uses the maximum of `net.ipv4.conf.all.arp_announce` and \
         that of the interface. Set 2, or the rules; evenkeel does so on real servers of a spec with \
         `directors`.";
    FiltersTunnel = "032", "a real server drops what a tunnel unpacks",
        "A packet from a tunnel has the client as its source, which is reached through another interface. \
         With `rp_filter` 1 the kernel drops it. The kernel uses the maximum of \
         `net.ipv4.conf.all.rp_filter` and that of the tunnel device. Set both to 0 (2 works if the host \
         has a route to every client); evenkeel does so on real servers of a spec with `directors`.";
    AnsweredElsewhere = "033", "a real server has a VIP where it answers neighbours",
        "The VIP is bound on an interface on which hosts ask for addresses, and this real server answers: \
         packets of clients come to it, past the director. Remove the address there; a real server has a \
         VIP only on `lo` or a tunnel device.";
    ReturnPath = "034", "answers of a real server behind NAT do not return through the director",
        "Under NAT the director has to see the answers, to put the VIP in the place of the real server's \
         address. The default route of this real server does not lead to it, and clients drop answers \
         from an address that they do not know. Write `gateway: director` in the service, or change the \
         route. Routes to single networks are not considered.";
    ThroughDirector = "035", "answers under DR or from tunnels go to the director",
        "The answers have the VIP as their source. The default route of this real server leads to the \
         director, which has that address itself, and drops packets that arrive from it. Only clients on a \
         network of the real server get answers. Let the default route lead to a router. Not looked for on \
         a real server that is behind NAT as well, and where the spec lists several directors.";
    SeveralAnswer = "040", "several interfaces answer ARP for one address",
        "Two interfaces are on one network, and the kernel answers ARP requests for any address of the host \
         on both. Neighbours take the first answer: packets arrive on another interface than the one that \
         has the address, which filters and switches may drop, and which fails with a link that the \
         address does not use. Set `net.ipv4.conf.all.arp_ignore` 1, or `net.ipv4.conf.all.arp_filter` 1, \
         with `net.ipv4.conf.all.arp_announce` 2.";
    SecondaryVip = "041", "a VIP goes with another address",
        "The VIP is a secondary address: it is in the same subnet as another address of its interface, \
         which was bound before. If that is deleted, the kernel deletes the VIP with it, because \
         `promote_secondaries` is 0. Bind VIPs as /32, or set \
         `net.ipv4.conf.all.promote_secondaries` to 1.";
    GatewayRoute = "050", "a gateway does not send packets for a VIP to the director",
        "The neighbour entry of a VIP counts only if the route to the VIP is through its interface, or \
         through an address of a director. The kernel looks up another one, so that packets of clients \
         take another way, or none. Choose a VIP in the network of the director, or add a route to it: \
         `ip route add VIP dev INTERFACE`.";
    GatewayEntry = "051", "a gateway has another MAC address for a VIP",
        "A neighbour entry of the VIP was added by another program, with a MAC address that is not the \
         director's in the spec: packets of clients go to another host, or to none. evenkeel leaves \
         entries of other programs as they are. Delete it, and apply the spec; or correct the `mac` of \
         the director.";
    OtherMac = "052", "a director has another MAC address than in the spec",
        "The director answers for its own address with another MAC address than its `mac` in the spec, to \
         which the gateway sends packets for VIPs: they reach no host, or another one. Its network card \
         was replaced, or `mac` is that of another interface. Write the right one, and apply the spec on \
         the gateways. Looked for only with `--probe`.";
    GatewayNotForwarding = "053", "a gateway does not forward packets",
        "A gateway is a router: it forwards packets of clients to the director. For IPv4 no interface has \
         `net.ipv4.conf.INTERFACE.forwarding` 1, or for IPv6 `net.ipv6.conf.all.forwarding` is 0. Set \
         `net.ipv4.ip_forward` or the latter to 1, and let the host do so at boot. evenkeel sets no \
         sysctls on gateways.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no code of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCode;

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Code::ALL.first().map_or("", |code| code.name());
        let last = Code::ALL.last().map_or("", |code| code.name());
        write!(f, "there is no such code; docs/doctor.md lists them, {first} to {last}")
    }
}

impl std::error::Error for UnknownCode {}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads a name in capital or small letters, with or without space around it, as in a list.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let mut codes = Self::ALL.iter().copied();
        codes.find(|code| code.name().eq_ignore_ascii_case(text.trim())).ok_or(UnknownCode)
    }
}
