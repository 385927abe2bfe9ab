//! Tables in the syntax of `ipvsadm`, generated here and compared with that program's output: a way
//! to read the kernel that shares only the model with evenkeel's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use evenkeel_model::{
    Checksum, Family, Forward, Protocol, RealServer, RealServerKey, SchedulerFlags, Service,
    ServiceConfig, ServiceKey, TunnelKind,
};

use crate::{run, run_with};

/// A table as in the model.
pub type Table = BTreeMap<ServiceKey, Service>;

/// The largest threshold that `ipvsadm` accepts; the kernel accepts 32 bits.
pub const MAX_THRESHOLD: u32 = i32::MAX as u32;

/// Returns the expected output of `ipvsadm -Sn` for a table; the order of lines carries no meaning.
///
/// # Panics
/// Panics on protocols and forwarding methods of other tools, which ipvsadm's command line cannot
/// express.
#[must_use]
pub fn saved(table: &Table) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (key, service) in table {
        // Marks from 2^31 on are printed as negative numbers.
        let name = service_name(key, |mark| mark.cast_signed().to_string());
        lines.insert(format!("-A {name}{}", settings(&service.config, key, Saved)));
        for (real_server, value) in &service.real_servers {
            lines.insert(format!("-a {name} -r {real_server}{}", values(value)));
        }
    }
    lines
}

/// Returns the output of `ipvsadm -Sn` in this namespace.
#[must_use]
pub fn save() -> BTreeSet<String> {
    run("ipvsadm -Sn").lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Adds a table with `ipvsadm -R`. Thresholds that it cannot express are left at 0.
///
/// # Panics
/// Panics if `ipvsadm` refuses it.
pub fn restore(table: &Table) {
    let mut rules = String::new();
    for (key, service) in table {
        let name = service_name(key, |mark| mark.to_string());
        rules += &format!("-A {name}{}\n", settings(&service.config, key, Restored));
        for (real_server, value) in service.real_servers.in_order() {
            rules += &format!("-a {name} -r {real_server}{}{}\n", values(value), limits(value));
        }
    }
    if !rules.is_empty() {
        run_with("ipvsadm -R", &rules);
    }
}

/// Service, real server, upper and lower threshold.
pub type Limits = (String, String, u32, u32);

/// Returns the expected output of `ipvsadm -Ln --thresholds` for a table.
#[must_use]
pub fn thresholds(table: &Table) -> BTreeSet<Limits> {
    let mut all = BTreeSet::new();
    for (key, service) in table {
        for (real_server, value) in &service.real_servers {
            let RealServer { upper_threshold, lower_threshold, .. } = *value;
            let service = listed_name(key);
            all.insert((service, real_server.to_string(), upper_threshold, lower_threshold));
        }
    }
    all
}

/// Returns the thresholds that `ipvsadm -Ln --thresholds` prints in this namespace.
///
/// # Panics
/// Panics if the output is not such a list.
#[must_use]
pub fn listed_thresholds() -> BTreeSet<Limits> {
    let mut all = BTreeSet::new();
    let mut service = String::new();
    for line in run("ipvsadm -Ln --thresholds").lines().skip(3) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["->", real_server, upper, lower, ..] => {
                let number = |word: &str| word.parse().expect("a number");
                all.insert((service.clone(), real_server.into(), number(upper), number(lower)));
            }
            ["FWM", mark, "IPv6", ..] => service = format!("FWM {mark} IPv6"),
            [kind, name, ..] => service = format!("{kind} {name}"),
            _ => panic!("an unknown line: {line}"),
        }
    }
    all
}

/// The numbers of each service, and of each real server under `SERVICE REAL-SERVER`. Services have
/// the form of [`ServiceKey`]'s text.
pub type Numbers = BTreeMap<String, Vec<u64>>;

/// Returns the numbers that `ipvsadm -Ln` prints with this option in this namespace; services are left
/// out where it prints none for them.
///
/// # Panics
/// Panics if the output is not such a list.
#[must_use]
pub fn numbers(option: &str) -> Numbers {
    let mut all = Numbers::new();
    let mut service = String::new();
    for line in run(&format!("ipvsadm -Ln {option}")).lines().skip(3) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, cells) = match words[..] {
            ["->", real_server, ref cells @ ..] => (format!("{service} {real_server}"), cells),
            [kind, name, ref cells @ ..] => {
                let is_ipv6 = cells.first() == Some(&"IPv6");
                service = match kind {
                    "FWM" => format!("fwmark-{name}/{}", if is_ipv6 { "ipv6" } else { "ipv4" }),
                    protocol => format!("{name}/{}", protocol.to_lowercase()),
                };
                (service.clone(), if is_ipv6 { &cells[1..] } else { cells })
            }
            _ => panic!("an unknown line: {line}"),
        };
        // A service may have its scheduler in place of numbers.
        if let Ok(numbers) = cells.iter().map(|cell| cell.parse()).collect::<Result<Vec<_>, _>>()
            && !numbers.is_empty()
        {
            all.insert(name, numbers);
        }
    }
    all
}

fn listed_name(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address { address, port, protocol } => {
            let protocol = protocol.to_string().to_uppercase();
            format!("{protocol} {}", SocketAddr::new(address, port))
        }
        ServiceKey::Fwmark { family, fwmark } => {
            let family = if family == Family::Ipv6 { " IPv6" } else { "" };
            format!("FWM {}{family}", fwmark.cast_signed())
        }
    }
}

fn service_name(key: &ServiceKey, mark: impl Fn(u32) -> String) -> String {
    match *key {
        ServiceKey::Address { address, port, protocol } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
                Protocol::Other(number) => panic!("protocol {number} has no option"),
            };
            format!("{option} {}", SocketAddr::new(address, port))
        }
        ServiceKey::Fwmark { family: Family::Ipv4, fwmark } => format!("-f {}", mark(fwmark)),
        ServiceKey::Fwmark { family: Family::Ipv6, fwmark } => format!("-f {} -6", mark(fwmark)),
    }
}

/// The purpose of the text: `ipvsadm` omits on output some of what it accepts as input.
#[derive(PartialEq, Eq, Clone, Copy)]
enum For {
    Saved,
    Restored,
}
use For::{Restored, Saved};

fn settings(config: &ServiceConfig, key: &ServiceKey, purpose: For) -> String {
    let ServiceConfig { scheduler, scheduler_flags, persistence, engine, one_packet } = config;
    let mut text = format!(" -s {scheduler}");
    if let Some(persistence) = persistence {
        text += &format!(" -p {}", persistence.timeout);
        if persistence.netmask != evenkeel_model::Netmask::host(key.family()) {
            text += &match persistence.netmask {
                evenkeel_model::Netmask::V4(mask) => format!(" -M {mask}"),
                evenkeel_model::Netmask::V6(length) => format!(" -M {length}"),
            };
        }
    }
    if let Some(engine) = engine {
        text += &format!(" --pe {engine}");
    }
    if *one_packet {
        text += " -o";
    }
    if *scheduler_flags != SchedulerFlags::EMPTY {
        let mut names: Vec<&str> = scheduler_flags.names(scheduler).collect();
        // `ipvsadm` accepts this flag for any scheduler and does not print it for those with flags
        // of their own.
        if purpose == Saved && matches!(scheduler.as_str(), "sh" | "mh") {
            names.retain(|name| *name != "flag-3");
        }
        text += &format!(" -b {}", names.join(","));
    }
    text.trim_end().to_owned()
}

fn values(real_server: &RealServer) -> String {
    let method = match real_server.forward {
        Forward::Dr => "-g",
        Forward::Nat => "-m",
        Forward::Tun(_) => "-i",
        other => panic!("{other} has no option"),
    };
    let mut text = format!(" {method} -w {}", real_server.weight);
    if let Forward::Tun(tunnel) = real_server.forward {
        text += &match tunnel.kind {
            TunnelKind::Ipip => " --tun-type ipip".to_owned(),
            TunnelKind::Gue => format!(" --tun-type gue --tun-port {}", tunnel.port),
            TunnelKind::Gre => " --tun-type gre".to_owned(),
            TunnelKind::Other(number) => panic!("tunnel {number} has no option"),
        };
        text += match (tunnel.kind, tunnel.checksum) {
            (TunnelKind::Ipip, _) => "",
            (_, Checksum::None) => " --tun-nocsum",
            (_, Checksum::Full) => " --tun-csum",
            (_, Checksum::Remote) => " --tun-remcsum",
            (_, Checksum::Other(flags)) => panic!("checksum {flags} has no option"),
        };
    }
    text
}

fn limits(real_server: &RealServer) -> String {
    let RealServer { upper_threshold: upper, lower_threshold: lower, .. } = *real_server;
    match (upper, lower) {
        (0, _) | (MAX_THRESHOLD.., _) => String::new(),
        (_, 0) => format!(" -x {upper}"),
        _ => format!(" -x {upper} -y {lower}"),
    }
}

/// Returns the real servers whose thresholds [`restore`] leaves at 0.
pub fn beyond(table: &Table) -> impl Iterator<Item = (ServiceKey, RealServerKey, RealServer)> {
    table.iter().flat_map(|(key, service)| {
        let real_servers = service.real_servers.iter();
        let beyond = real_servers.filter(|(_, value)| value.upper_threshold >= MAX_THRESHOLD);
        beyond.map(|(real_server, value)| (*key, *real_server, *value))
    })
}
