//! The table: commands of ipvsadm, and the spec for the state they leave.

/// Commands, and the keys of a spec beside `version` and `scope: all`.
pub(super) struct Row {
    /// Arguments of ipvsadm, one command after the other; the row tests the last one.
    pub(super) commands: &'static [&'static str],
    pub(super) spec: &'static str,
}

const fn row(commands: &'static [&'static str], spec: &'static str) -> Row {
    Row { commands, spec }
}

/// Options without a row, and the reasons.
pub(super) const EXCEPTED: &[(&[&str], &str)] = &[
    (&["--zero", "-Z"], "counters are not part of a desired state"),
    (&["--restore", "-R"], "reads the same commands from a text; the snapshot law is held with it"),
    (&["--save", "-S", "--list", "-L", "-l", "--help", "-h"], "only reads"),
    (
        &[
            "--connection",
            "-c",
            "--timeout",
            "--daemon",
            "--stats",
            "--rate",
            "--exact",
            "--thresholds",
            "--persistent-conn",
            "--tun-info",
            "--nosort",
            "--sort",
            "--numeric",
            "-n",
        ],
        "says how to list",
    ),
];

const WEB: &str = "-A -t 192.0.2.1:80 -s wrr";

pub(super) const ROWS: &[Row] = &[
    // Services.
    row(
        &["-A -t 192.0.2.1:80"],
        "services: [{ name: s, vip: 192.0.2.1, port: 80, real_servers: [] }]",
    ),
    row(
        &["-A -u 192.0.2.1:53 -s rr"],
        "services:
          - { name: s, vip: 192.0.2.1, port: 53, protocol: udp, scheduler: rr, real_servers: [] }",
    ),
    row(
        &["-A --sctp-service [2001:db8::1]:80 -s lc"],
        "services:
          - name: s
            vip: 2001:db8::1
            port: 80
            protocol: sctp
            scheduler: lc
            real_servers: []",
    ),
    row(
        &["-A -f 7 -s nq"],
        "services: [{ name: s, fwmark: 7, family: ipv4, scheduler: nq, real_servers: [] }]",
    ),
    row(
        &["-A -f 7", "-A -f 7 -6 -s sed"],
        "services:
          - { name: four, fwmark: 7, family: ipv4, real_servers: [] }
          - { name: six, fwmark: 7, family: ipv6, scheduler: sed, real_servers: [] }",
    ),
    // Its manual says 300 seconds.
    row(
        &["-A -t 192.0.2.1:80 -p"],
        "services:
          - { name: s, vip: 192.0.2.1, port: 80, persistence: { timeout: 6m }, real_servers: [] }",
    ),
    row(
        &["-A -t 192.0.2.1:0 -p 77"],
        "services:
          - { name: s, vip: 192.0.2.1, port: 0, persistence: { timeout: 77 }, real_servers: [] }",
    ),
    row(
        &["-A -t 192.0.2.1:80 -p 2678400 -M 255.255.255.0"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            persistence: { timeout: 31d, netmask: 24 }
            real_servers: []",
    ),
    row(
        &["-A -t [2001:db8::1]:80 -p 60 -M 64"],
        "services:
          - name: s
            vip: 2001:db8::1
            port: 80
            persistence: { timeout: 1m, netmask: 64 }
            real_servers: []",
    ),
    row(
        &["-A -u 192.0.2.1:5060 -p 60 --pe sip"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 5060
            protocol: udp
            persistence: { timeout: 60, engine: sip }
            real_servers: []",
    ),
    row(
        &["-A -u 192.0.2.1:5060 --pe sip"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 5060
            protocol: udp
            engine: sip
            unchecked: true
            real_servers: []",
    ),
    row(
        &["-A -u 192.0.2.1:53 -o"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 53
            protocol: udp
            one_packet: true
            real_servers: []",
    ),
    row(
        &["-A -t 192.0.2.1:80 -s sh -b sh-fallback,sh-port"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: sh
            scheduler_flags: [sh-fallback, sh-port]
            real_servers: []",
    ),
    row(
        &["-A -t 192.0.2.1:80 -s mh -b mh-port"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: mh
            scheduler_flags: [mh-port]
            real_servers: []",
    ),
    row(
        &["-A -t 192.0.2.1:80 -s wlc -b flag-1,flag-3"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler_flags: [flag-1, flag-3]
            real_servers: []",
    ),
    row(
        &[
            "-A -u 192.0.2.1:53 -s rr -p 60 -M 255.255.0.0 --pe sip -o",
            "-E -u 192.0.2.1:53 -s mh -b mh-fallback",
        ],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 53
            protocol: udp
            scheduler: mh
            scheduler_flags: [mh-fallback]
            real_servers: []",
    ),
    row(
        &["-A -f 9 -6 -s rr", "-E -f 9 -6 -s wrr -p 5 -M 48 -o"],
        "services:
          - name: s
            fwmark: 9
            family: ipv6
            scheduler: wrr
            persistence: { timeout: 5, netmask: 48 }
            one_packet: true
            real_servers: []",
    ),
    row(
        &[WEB, "-A -u 192.0.2.1:80", "-D -t 192.0.2.1:80"],
        "services:
          - { name: s, vip: 192.0.2.1, port: 80, protocol: udp, real_servers: [] }",
    ),
    row(&[WEB, "-a -t 192.0.2.1:80 -r 10.0.0.1", "-C"], "services: []"),
    // Real servers.
    row(
        &[WEB, "-a -t 192.0.2.1:80 -r 10.0.0.1", "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            real_servers: [{ address: 10.0.0.1 }, { address: 10.0.0.2, weight: 0 }]",
    ),
    row(
        &[WEB, "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 2147483647"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            forward: nat
            real_servers: [{ address: 10.0.0.1, port: 8080, weight: 2147483647 }]",
    ),
    row(
        &[WEB, "-a -t 192.0.2.1:80 -r 10.0.0.1 -i"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            forward: tun
            real_servers: [{ address: 10.0.0.1 }]",
    ),
    row(
        &[WEB, "-a -t 192.0.2.1:80 -r [2001:db8::9]:80 -i --tun-type ipip"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            forward: tun
            tunnel: { type: ipip }
            real_servers: [{ address: 2001:db8::9 }]",
    ),
    row(
        &[
            "-A -t [2001:db8::1]:80",
            "-a -t [2001:db8::1]:80 -r 10.0.0.1:80 -i --tun-type gue --tun-port 6080 --tun-nocsum",
        ],
        "services:
          - name: s
            vip: 2001:db8::1
            port: 80
            forward: tun
            tunnel: { type: gue, port: 6080 }
            real_servers: [{ address: 10.0.0.1 }]",
    ),
    row(
        &[WEB, "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-port 65535 --tun-csum"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            forward: tun
            tunnel: { type: gue, port: 65535, checksum: full }
            real_servers: [{ address: 10.0.0.1 }]",
    ),
    row(
        &[WEB, "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-port 1 --tun-remcsum"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            forward: tun
            real_servers:
              - { address: 10.0.0.1, tunnel: { type: gue, port: 1, checksum: remote } }",
    ),
    row(
        &[
            WEB,
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gre --tun-nocsum",
            "-a -t 192.0.2.1:80 -r 10.0.0.2 -i --tun-type gre --tun-csum",
        ],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            forward: tun
            tunnel: { type: gre, checksum: none }
            real_servers:
              - { address: 10.0.0.1 }
              - { address: 10.0.0.2, tunnel: { type: gre, checksum: full } }",
    ),
    row(
        &[WEB, "-a -t 192.0.2.1:80 -r 10.0.0.1 -x 100 -y 80"],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            real_servers: [{ address: 10.0.0.1, upper_threshold: 100, lower_threshold: 80 }]",
    ),
    row(
        &["-A -f 7 -s rr", "-a -f 7 -r 10.0.0.1:0 -g -w 3", "-a -f 7 -r 10.0.0.2:8080 -m"],
        "services:
          - name: s
            fwmark: 7
            family: ipv4
            scheduler: rr
            real_servers:
              - { address: 10.0.0.1, weight: 3 }
              - { address: 10.0.0.2, port: 8080, forward: nat }",
    ),
    row(
        &[
            WEB,
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 -x 9 -y 8",
            "-a -t 192.0.2.1:80 -r 10.0.0.2 -g -w 5",
            "-e -t 192.0.2.1:80 -r 10.0.0.1 -m -w 4",
        ],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            real_servers:
              - { address: 10.0.0.1, forward: nat, weight: 4 }
              - { address: 10.0.0.2, weight: 5 }",
    ),
    row(
        &[
            WEB,
            "-a -t 192.0.2.1:80 -r 10.0.0.1",
            "-a -t 192.0.2.1:80 -r 10.0.0.2",
            "-d -t 192.0.2.1:80 -r 10.0.0.1",
        ],
        "services:
          - name: s
            vip: 192.0.2.1
            port: 80
            scheduler: wrr
            real_servers: [{ address: 10.0.0.2 }]",
    ),
    // Settings of the namespace.
    row(
        &["--set 7200 60 30"],
        "services: []
timeouts: { tcp: 2h, tcp_fin: 1m, udp: 30s }",
    ),
    row(&["--set 0 0 10"], "services: []\ntimeouts: { udp: 10 }"),
    row(
        &["--start-daemon master --mcast-interface eth0"],
        "services: []\nsync: [{ state: master, interface: eth0 }]",
    ),
    row(
        &["--start-daemon backup --mcast-interface eth0 --syncid 255 --sync-maxlen 4000 \
             --mcast-group 224.0.0.99 --mcast-port 9000 --mcast-ttl 255"],
        "services: []
sync:
  - state: backup
    interface: eth0
    id: 255
    max_length: 4000
    group: 224.0.0.99
    port: 9000
    ttl: 255",
    ),
    row(
        &[
            "--start-daemon backup --mcast-interface eth0 --syncid 1",
            "--start-daemon master --mcast-interface eth0 --syncid 2 --mcast-group ff02::81",
        ],
        "services: []
sync:
  - { state: backup, interface: eth0, id: 1 }
  - { state: master, interface: eth0, id: 2, group: \"ff02::81\" }",
    ),
    row(
        &[
            "--start-daemon backup --mcast-interface eth0 --syncid 1",
            "--start-daemon master --mcast-interface eth0 --syncid 1",
            "--stop-daemon master",
        ],
        "services: []\nsync: [{ state: backup, interface: eth0, id: 1 }]",
    ),
    row(
        &["--start-daemon backup --mcast-interface eth0 --syncid 1", "--stop-daemon backup"],
        "services: []\nsync: []",
    ),
];
