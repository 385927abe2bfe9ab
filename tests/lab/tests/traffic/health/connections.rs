//! What becomes of a UDP flow, an established TCP connection and a persistent client of a real server that dies.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// After this long a real server that is down and has connections is removed.
const CUT_AFTER: Duration = Duration::from_secs(12);

fn spec(nodest: u8, quiescent: u8) -> String {
    format!(
        r#"version: 1
scope: all
vips:
  - {{ address: 10.9.0.100, interface: eth0 }}
  - {{ address: "fd09::100", interface: eth0 }}
sysctls:
  net.ipv4.vs.expire_nodest_conn: {nodest}
  net.ipv4.vs.expire_quiescent_template: {quiescent}
defaults:
  scheduler: rr
  forward: nat
  check: {{ icmp: {{}}, interval: 500ms, fast: 200ms, timeout: 200ms, fall: 2 }}
  health: {{ cut_after: {}s }}
services:
  - name: tcp
    vips: [10.9.0.100, "fd09::100"]
    port: 7
    real_servers: &both
      - {{ address: 10.0.0.11 }}
      - {{ address: 10.0.0.12 }}
      - {{ address: "fd00::11" }}
      - {{ address: "fd00::12" }}
  - name: udp
    vips: [10.9.0.100, "fd09::100"]
    port: 7
    protocol: udp
    real_servers: *both
    # A flow moves at once.
    health: {{ cut_after: 0s }}
  - name: persistent
    vips: [10.9.0.100, "fd09::100"]
    port: 80
    persistence: {{ timeout: 5m }}
    real_servers: *both
"#,
        CUT_AFTER.as_secs()
    )
}

/// Threads of a machine that echo over TCP and UDP with the machine's name, until dropped.
struct Echo(Arc<AtomicBool>);

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn echo(cluster: &Cluster, machine: &'static str) -> Echo {
    let is_over = Arc::new(AtomicBool::new(false));
    let (tcp, udp) = cluster.site.machines[machine]
        .run(|| (TcpListener::bind("[::]:7").unwrap(), UdpSocket::bind("[::]:7").unwrap()))
        .unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let end = is_over.clone();
    std::thread::spawn(move || {
        let mut streams: Vec<TcpStream> = Vec::new();
        while !end.load(Ordering::SeqCst) {
            if let Ok((stream, _)) = tcp.accept() {
                stream.set_nonblocking(true).unwrap();
                streams.push(stream);
            }
            for stream in &mut streams {
                if matches!(stream.read(&mut [0; 64]), Ok(count) if count > 0) {
                    let _ = stream.write_all(machine.as_bytes());
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let end = is_over.clone();
    std::thread::spawn(move || {
        while !end.load(Ordering::SeqCst) {
            if let Ok((_, peer)) = udp.recv_from(&mut [0; 64]) {
                let _ = udp.send_to(machine.as_bytes(), peer);
            }
        }
    });
    Echo(is_over)
}

/// Asks over a connected socket, and returns the answer: a machine's name, or how it failed.
fn ask_udp(socket: &UdpSocket) -> Result<String, ErrorKind> {
    let mut reply = [0; 64];
    socket.send(b"who").map_err(|error| error.kind())?;
    let count = socket.recv(&mut reply).map_err(|error| error.kind())?;
    Ok(String::from_utf8_lossy(&reply[..count]).into_owned())
}

fn ask_tcp(stream: &mut TcpStream) -> Result<String, ErrorKind> {
    let mut reply = [0; 64];
    stream.write_all(b"who").map_err(|error| error.kind())?;
    match stream.read(&mut reply).map_err(|error| error.kind())? {
        0 => Err(ErrorKind::UnexpectedEof),
        count => Ok(String::from_utf8_lossy(&reply[..count]).into_owned()),
    }
}

fn hangs<T>(result: &Result<T, ErrorKind>) -> bool {
    matches!(result, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// The clients of one family.
struct Clients {
    udp: UdpSocket,
    tcp: TcpStream,
    persistent: SocketAddr,
}

impl Clients {
    fn connect(cluster: &Cluster, vip: &str) -> Self {
        let at = |port: u16| -> SocketAddr { format!("{vip}:{port}").parse().unwrap() };
        let (udp, tcp) = cluster.site.machines["client"]
            .run(|| {
                let any = if vip.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
                let udp = UdpSocket::bind(any).unwrap();
                udp.connect(at(7)).unwrap();
                (udp, TcpStream::connect(at(7)).unwrap())
            })
            .unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        tcp.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Self { udp, tcp, persistent: at(80) }
    }

    fn ask_persistent(&self, cluster: &Cluster) -> Result<String, String> {
        let get = || evenkeel_lab::net::get(self.persistent, Duration::from_secs(1));
        cluster.site.machines["client"].run(get).unwrap().map_err(|error| error.to_string())
    }
}

fn check(nodest: u8, quiescent: u8) {
    let cluster = Cluster::new();
    for machine in ["rs1", "rs2"] {
        cluster
            .site
            .run(machine, "ip route add default via 10.0.0.1; ip -6 route add default via fd00::1");
    }
    cluster.site.run("director", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    let echoes = ["rs1", "rs2"].map(|machine| (machine, echo(&cluster, machine)));
    let spec = spec(nodest, quiescent);
    cluster.site.write("director", &spec);
    let daemon = cluster.site.watch("director");
    cluster.site.wait_until_in_sync(&daemon, &spec);
    cluster.eventually("all are up", &daemon, || {
        cluster.weights().len() == 12 && cluster.weights().values().all(|weight| *weight == 1)
    });
    let plan = cluster.plan(&spec);
    let warnings = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert_eq!(warnings.contains("expire_nodest_conn is 0"), nodest == 0, "{warnings}");
    assert_eq!(warnings.contains("expire_quiescent_template is 0"), quiescent == 0, "{warnings}");
    let mut clients = ["10.9.0.100", "[fd09::100]"].map(|vip| Clients::connect(&cluster, vip));
    // Each family has its own order: the host on which all of one are, dies.
    let of_persistent = clients[0].ask_persistent(&cluster).unwrap();
    let dying: &'static str = if of_persistent.trim() == "rs1" { "rs1" } else { "rs2" };
    let other = if dying == "rs1" { "rs2" } else { "rs1" };
    let is_on = |result: &Result<String, ErrorKind>, machine: &str| {
        result.as_ref().is_ok_and(|name| name == machine)
    };
    for it in &mut clients {
        let vip = it.persistent.ip();
        // Round robin: the next one is on the other real server.
        let vip = if vip.is_ipv6() { format!("[{vip}]") } else { vip.to_string() };
        for _ in 0..4 {
            if is_on(&ask_tcp(&mut it.tcp), dying) && is_on(&ask_udp(&it.udp), dying) {
                break;
            }
            let again = Clients::connect(&cluster, &vip);
            if !is_on(&ask_tcp(&mut it.tcp), dying) {
                it.tcp = again.tcp;
            }
            if !is_on(&ask_udp(&it.udp), dying) {
                it.udp = again.udp;
            }
        }
        assert!(is_on(&ask_tcp(&mut it.tcp), dying));
        assert!(is_on(&ask_udp(&it.udp), dying));
    }
    cluster.site.run(dying, "ip link set eth0 down");
    let end = if dying == "rs1" { "11" } else { "12" };
    let at = |service: &str, port: u16| {
        cluster
            .weights()
            .into_iter()
            .filter(|((key, server), _)| {
                key.starts_with(service) && server.contains(&format!("{end}:{port}"))
                    || key.starts_with(service) && server.contains(&format!("{end}]:{port}"))
            })
            .map(|(_, weight)| weight)
            .collect::<Vec<u32>>()
    };
    let udp_rows =
        || cluster.site.run("director", "ipvsadm -Sn | grep -- '-a -u' | grep -c ':7 -m' || true");
    // UDP is cut at once: its flow moves with the next packet, if the kernel may forget it.
    cluster.eventually("UDP is cut", &daemon, || udp_rows().trim() == "2");
    for it in &clients {
        let _first = ask_udp(&it.udp);
        let result = ask_udp(&it.udp);
        match nodest {
            0 => assert!(hangs(&result), "{result:?}"),
            _ => assert!(is_on(&result, other), "{result:?}"),
        }
    }
    // TCP and persistent clients: at weight 0 first.
    cluster.eventually("TCP is at weight 0", &daemon, || at("-t 10.9.0.100:7", 7).contains(&0));
    for it in &mut clients {
        assert!(hangs(&ask_tcp(&mut it.tcp)), "at weight 0 the connection hangs");
    }
    let persistent = clients[0].ask_persistent(&cluster);
    match quiescent {
        0 => assert!(persistent.is_err(), "it stays on weight 0: {persistent:?}"),
        _ => assert_eq!(persistent.as_deref().map(str::trim), Ok(other)),
    }
    // Then removed.
    cluster.eventually("what has connections is removed", &daemon, || {
        at("-t 10.9.0.100:7", 7).is_empty() && at("-t [fd09::100]:7", 7).is_empty()
    });
    for it in &mut clients {
        // Its next packet is one that TCP sends again, ever more rarely.
        let end = Instant::now() + PATIENCE;
        let mut result = ask_tcp(&mut it.tcp);
        while hangs(&result) && nodest == 1 && Instant::now() < end {
            result = ask_tcp(&mut it.tcp);
        }
        match nodest {
            0 => assert!(hangs(&result), "{result:?}"),
            _ => assert!(matches!(result, Err(ErrorKind::ConnectionReset)), "{result:?}"),
        }
    }
    if quiescent == 0 {
        cluster.eventually("the persistent client is free", &daemon, || {
            clients[0].ask_persistent(&cluster).is_ok_and(|name| name.trim() == other)
        });
    }
    // Back: it is listed again, once it passes.
    cluster.site.run(dying, "ip link set eth0 up; ip route replace default via 10.0.0.1; ip -6 route replace default via fd00::1");
    cluster.eventually("all are up again", &daemon, || {
        cluster.weights().len() == 12 && cluster.weights().values().all(|weight| *weight == 1)
    });
    drop(echoes);
}

#[test]
fn connections_of_a_dead_real_server_move_or_end_with_both_sysctls() {
    check(1, 1);
}

#[test]
fn connections_of_a_dead_real_server_hang_without_the_sysctls() {
    check(0, 0);
}
