//! The demo's hosts: runs programs on them, shows what they print, and reads their state.

use std::net::SocketAddr;
use std::path::Path;

use evenkeel_lab::net::{Namespace, Network};

use crate::error::Error;

/// The network and the evenkeel program.
pub(super) struct Stage<'a> {
    pub(super) evenkeel: &'a Path,
    pub(super) network: Network,
}

/// The exit status and output of a program.
pub(super) struct Ended {
    pub(super) status: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Stage<'_> {
    /// All hosts that evenkeel sets up: the director first.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Namespace> {
        std::iter::once(&self.network.director).chain(&self.network.real_servers)
    }

    /// Runs evenkeel on a host.
    pub(super) fn evenkeel(&self, host: &Namespace, arguments: &[&str]) -> Result<Ended, Error> {
        let output = host.try_output(&self.evenkeel.to_string_lossy(), arguments)?;
        Ok(Ended {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs evenkeel on a host, shows its output, requires success, and returns its answer.
    pub(super) fn show_evenkeel(
        &self,
        host: &Namespace,
        arguments: &[&str],
    ) -> Result<String, Error> {
        let line = format!("{}$ evenkeel {}", host.name(), arguments.join(" "));
        println!("{line}");
        let ended = self.evenkeel(host, arguments)?;
        print!("{}{}", ended.stdout, ended.stderr);
        if ended.status == Some(0) { Ok(ended.stdout) } else { Err(Error::Failed(line)) }
    }

    /// Runs another program on a host and shows its output.
    pub(super) fn show(
        &self,
        host: &Namespace,
        program: &str,
        arguments: &[&str],
    ) -> Result<(), Error> {
        println!("{}$ {program} {}", host.name(), arguments.join(" "));
        print!("{}", host.output(program, arguments)?);
        Ok(())
    }

    /// Sends requests from the client and shows which real servers answered.
    pub(super) fn requests(&self, to: SocketAddr, number: usize) -> Result<Vec<String>, Error> {
        let answers = self.network.ask(to, number)?;
        println!("{}", answers.join(" "));
        for name in ["rs1", "rs2"] {
            let count = answers.iter().filter(|answer| *answer == name).count();
            println!("{name}: {count} of {number}");
        }
        Ok(answers)
    }
}

/// The MAC address to which a host sends packets for an address.
pub(super) fn neighbour(host: &Namespace, address: &str) -> Result<String, Error> {
    let shown = host.output("ip", &["neigh", "show", address])?;
    word_after(&shown, "lladdr")
}

/// The host's own MAC address.
pub(super) fn mac(host: &Namespace) -> Result<String, Error> {
    word_after(&host.output("ip", &["-o", "link", "show", "eth0"])?, "link/ether")
}

/// What evenkeel may change on a host, as other programs show it: addresses, routes and sysctls of IPv4, and
/// the IPVS table. The kernel changes the link-local addresses of IPv6 meanwhile.
pub(super) fn state(host: &Namespace) -> Result<String, Error> {
    let mut state = String::new();
    for (program, arguments) in [
        ("ip", &["-d", "-4", "address"][..]),
        ("ip", &["-4", "route", "show", "table", "all"]),
        (
            "grep",
            &[
                "-rs",
                ".",
                "/proc/sys/net/ipv4/conf",
                "/proc/sys/net/ipv4/ip_forward",
                "/proc/sys/net/ipv4/vs",
            ],
        ),
        ("ipvsadm", &["-Sn"]),
    ] {
        state += &host.output(program, arguments)?;
    }
    Ok(state)
}

/// The value of a sysctl, a path below `/proc/sys/net`.
pub(super) fn sysctl(host: &Namespace, path: &str) -> Result<String, Error> {
    let value = host.output("cat", &[format!("/proc/sys/net/{path}")])?;
    Ok(value.trim_end().to_owned())
}

fn word_after(text: &str, key: &str) -> Result<String, Error> {
    let mut words = text.split_whitespace().skip_while(|word| *word != key).skip(1);
    let word = words.next().map(ToOwned::to_owned);
    word.ok_or_else(|| Error::Claim(format!("there is no {key} in {text:?}")))
}
