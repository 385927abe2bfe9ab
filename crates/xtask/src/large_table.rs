//! The large table that benchmarks and profiles load.

use std::net::IpAddr;

use evenkeel_ipvs::{
    Command as Change, Destination, DestinationKey, Name, Service, ServiceKey, forward, protocol,
};

use crate::error::Error;

const PORT: u16 = 80;

/// A table of services that all have the same number of real servers.
pub(crate) struct LargeTable {
    pub(crate) services: usize,
    pub(crate) real_servers: usize,
}

impl LargeTable {
    fn vip(number: usize) -> IpAddr {
        address(10, number)
    }

    fn real_server(number: usize, of: usize) -> IpAddr {
        address(20, of % 250 * 250 + number)
    }

    /// The input of `ipvsadm -R`.
    pub(crate) fn rules(&self) -> String {
        let mut text = String::new();
        for service in 0..self.services {
            let vip = Self::vip(service);
            text.push_str(&format!("-A -t {vip}:{PORT} -s wrr\n"));
            for number in 0..self.real_servers {
                let real_server = Self::real_server(number, service);
                text.push_str(&format!("-a -t {vip}:{PORT} -r {real_server}:{PORT} -g -w 1\n"));
            }
        }
        text
    }

    /// The spec of the table: every service with its own list, every real server with its weight,
    /// nothing shared; lists as YAML emitters indent them.
    pub(crate) fn spec(&self) -> String {
        let mut text = "version: 1\nscope: all\nservices:\n".to_owned();
        for service in 0..self.services {
            let vip = Self::vip(service);
            text.push_str(&format!(
                "- name: s{service}\n  vip: {vip}\n  port: {PORT}\n  scheduler: wrr\n  \
                 real_servers:\n"
            ));
            for number in 0..self.real_servers {
                let real_server = Self::real_server(number, service);
                text.push_str(&format!("  - {{ address: {real_server}, weight: 1 }}\n"));
            }
        }
        text
    }

    /// The commands that load the table into an empty kernel.
    pub(crate) fn changes(&self) -> Result<Vec<Change>, Error> {
        let wrr = Name::new("wrr").map_err(|error| Error::Claim(error.to_string()))?;
        let mut changes = Vec::new();
        for service in 0..self.services {
            let address = Self::vip(service);
            let key = ServiceKey::Address { address, port: PORT, protocol: protocol::TCP };
            changes.push(Change::NewService(Service::new(key, wrr)));
            changes.extend((0..self.real_servers).map(|number| {
                let address = Self::real_server(number, service);
                let real_server = DestinationKey { address, port: PORT };
                Change::NewDestination(key, Destination::new(real_server, forward::DROUTE))
            }));
        }
        Ok(changes)
    }

    /// The number of lines that `ipvsadm -Sn` prints of it.
    pub(crate) fn lines(&self) -> usize {
        self.services * (1 + self.real_servers)
    }
}

fn address(first: u8, number: usize) -> IpAddr {
    let byte = |value: usize| u8::try_from(value % 256).unwrap_or_default();
    [first, byte(number / 62_500 + 1), byte(number / 250 % 250), byte(number % 250 + 1)].into()
}
