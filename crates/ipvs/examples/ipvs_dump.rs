//! Prints the table of this network namespace as the rules that `ipvsadm -Sn` prints, so that the
//! two can be compared line by line. Like those, it leaves thresholds and counters out; with
//! `--all` it prints them behind the rules.
use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;

use evenkeel_ipvs::{
    Client, DestinationEntry, Family, Netmask, Service, ServiceKey, flags, forward, protocol,
    tunnel_flags, tunnel_kind,
};

fn main() -> Result<(), Box<dyn Error>> {
    let all = std::env::args().any(|argument| argument == "--all");
    let mut out = BufWriter::new(io::stdout().lock());
    let mut client = Client::connect()?;
    for entry in client.services()? {
        let service = key(&entry.service.key);
        writeln!(out, "-A {service}{}", settings(&entry.service))?;
        if all {
            writeln!(out, "# {:?} {:?}", entry.statistics, entry.unknown)?;
        }
        for entry in client.destinations(&entry.service.key)? {
            writeln!(out, "-a {service}{}", rule(&entry))?;
            if all {
                writeln!(out, "# {entry:?}")?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

fn key(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Fwmark { family: Family::Ipv6, fwmark } => {
            format!("-f {} -6", fwmark.cast_signed())
        }
        // ipvsadm prints marks from 2^31 on as negative numbers.
        ServiceKey::Fwmark { fwmark, .. } => format!("-f {}", fwmark.cast_signed()),
        ServiceKey::Address { address, port, protocol } => {
            let option = match protocol {
                protocol::UDP => "-u",
                protocol::SCTP => "--sctp-service",
                _ => "-t",
            };
            format!("{option} {}", SocketAddr::new(address, port))
        }
    }
}

fn settings(service: &Service) -> String {
    let mut text = format!(" -s {}", service.scheduler);
    if service.flags & flags::PERSISTENT != 0 {
        text += &format!(" -p {}", service.timeout);
        match service.netmask {
            mask if mask == Netmask::host(service.key.family()) => {}
            Netmask::Ipv4(mask) => text += &format!(" -M {mask}"),
            Netmask::Ipv6(prefix) | Netmask::Other(prefix) => text += &format!(" -M {prefix}"),
        }
    }
    if let Some(engine) = service.persistence_engine {
        text += &format!(" --pe {engine}");
    }
    if service.flags & flags::ONE_PACKET != 0 {
        text += " -o";
    }
    let hashing = service.scheduler == "sh" || service.scheduler == "mh";
    let named =
        [(flags::SCHED1, "fallback", 1), (flags::SCHED2, "port", 2), (flags::SCHED3, "flag-3", 3)];
    let set: Vec<String> = named
        .iter()
        .filter(|(bit, ..)| service.flags & bit != 0)
        .map(|(_, name, number)| match hashing && *number < 3 {
            true => format!("{}-{name}", service.scheduler),
            false => format!("flag-{number}"),
        })
        .collect();
    if !set.is_empty() {
        text += &format!(" -b {}", set.join(","));
    }
    text
}

fn rule(entry: &DestinationEntry) -> String {
    let destination = &entry.destination;
    let tunnel = &destination.tunnel;
    let method = match destination.forward {
        forward::MASQ => "-m",
        forward::TUNNEL => "-i",
        forward::DROUTE => "-g",
        _ => "?",
    };
    let key = destination.key();
    let mut text = format!(" -r {key} {method} -w {}", destination.weight);
    if destination.forward == forward::TUNNEL && tunnel.kind == tunnel_kind::IPIP {
        text += " --tun-type ipip";
    } else if destination.forward == forward::TUNNEL {
        match tunnel.kind {
            tunnel_kind::GUE => text += &format!(" --tun-type gue --tun-port {}", tunnel.port),
            _ => text += " --tun-type gre",
        }
        text += match tunnel.flags {
            tunnel_flags::REMCSUM => " --tun-remcsum",
            tunnel_flags::CSUM => " --tun-csum",
            _ => " --tun-nocsum",
        };
    }
    text
}
