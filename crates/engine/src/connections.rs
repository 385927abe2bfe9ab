//! Reads the connection table and assigns its entries to services.
//!
//! The table is returned as an iterator, because it may have millions of entries.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use evenkeel_ipvs::{self as ipvs, ConnectionProtocol, ConnectionTable, ConnectionTableError};
use evenkeel_model::{Family, Protocol, Service, ServiceKey};

use crate::KernelError;

/// A connection, or a persistence template, which directs future connections of a client to one
/// real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The transport protocol by its name or number; `any` of a fwmark service's template.
    pub protocol: Box<str>,
    /// The client; port 0 means the clients that a template applies to.
    pub client: SocketAddr,
    /// The destination of the client's packets; `None` for a template of a fwmark service.
    pub to: Option<SocketAddr>,
    /// The service; `None` where it cannot be determined: it was deleted, it is one of several
    /// fwmark services with the same real server, or the connection belongs to another connection
    /// (FTP).
    pub service: Option<ServiceKey>,
    /// The real server that its packets are forwarded to.
    pub real_server: SocketAddr,
    /// The state as the kernel names it (`ESTABLISHED`).
    pub state: Box<str>,
    /// Seconds until the entry expires without traffic.
    pub expires: u64,
    /// The persistence engine and the data by which it identifies the client; the client chose the
    /// data.
    pub engine: Option<(Box<str>, Box<str>)>,
}

/// Reads the connection table of the calling thread's network namespace.
///
/// # Errors
/// [`KernelError::NoIpvs`], or a file that cannot be read; for an entry, also a line that cannot be
/// parsed.
pub fn connections(
    services: &BTreeMap<ServiceKey, Service>,
) -> Result<impl Iterator<Item = Result<Connection, KernelError>>, KernelError> {
    let table = ConnectionTable::open().map_err(table_error)?;
    let owners = Owners::new(services);
    Ok(table.map(move |entry| entry.map(|entry| owners.connection(entry)).map_err(table_error)))
}

fn table_error(error: ConnectionTableError) -> KernelError {
    let is_missing =
        matches!(&error, ConnectionTableError::Read(why) if why.kind() == io::ErrorKind::NotFound);
    if is_missing {
        return KernelError::NoIpvs(error.into());
    }
    KernelError::Failed { tried: "reading the connection table", source: error.into() }
}

/// Finds the service that a connection belongs to.
struct Owners<'a> {
    services: &'a BTreeMap<ServiceKey, Service>,
    /// The fwmark service with a real server on this address; `None` where several have one.
    fwmarks: BTreeMap<(Family, IpAddr), Option<ServiceKey>>,
}

impl<'a> Owners<'a> {
    fn new(services: &'a BTreeMap<ServiceKey, Service>) -> Self {
        let mut fwmarks = BTreeMap::new();
        for (key, service) in services {
            if let ServiceKey::Fwmark { family, .. } = key {
                for (real_server, _) in &service.real_servers {
                    let owner = fwmarks.entry((*family, real_server.address)).or_insert(Some(*key));
                    *owner = owner.filter(|owner| owner == key);
                }
            }
        }
        Self { services, fwmarks }
    }

    fn connection(&self, entry: ipvs::Connection) -> Connection {
        let owner = self.owner(&entry);
        let mark = entry.fwmark();
        let ipvs::Connection { protocol, client, service, destination, state, expires, engine } =
            entry;
        Connection {
            protocol: match (protocol, mark) {
                (_, Some(_)) => "any".into(),
                (ConnectionProtocol::Number(number), None) => {
                    Protocol::from(u16::from(number)).to_string().into()
                }
                (ConnectionProtocol::Other(name), None) => name,
            },
            client,
            to: mark.is_none().then_some(service),
            service: owner,
            real_server: destination,
            state,
            expires,
            engine: engine.map(|it| (it.engine, String::from_utf8_lossy(&it.data).into())),
        }
    }

    fn owner(&self, entry: &ipvs::Connection) -> Option<ServiceKey> {
        let family = Family::from(entry.service.ip());
        if let Some(fwmark) = entry.fwmark() {
            return Some(ServiceKey::Fwmark { family, fwmark });
        }
        let ConnectionProtocol::Number(number) = entry.protocol else { return None };
        let (address, protocol) = (entry.service.ip(), Protocol::from(u16::from(number)));
        let on = |port| ServiceKey::Address { address, port, protocol };
        let mut keys = [on(entry.service.port()), on(0)].into_iter();
        if let Some(key) = keys.find(|key| self.services.contains_key(key)) {
            return Some(key);
        }
        // A connection of a fwmark service keeps the address that the client chose, and with
        // persistence its port too, whatever that of the real server is (`ip_vs_sched_persist`).
        *self.fwmarks.get(&(family, entry.destination.ip()))?
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{
        Forward, RealServer, RealServerKey, RealServers, Scheduler, ServiceConfig,
    };

    use super::*;

    fn service(real_servers: &[&str]) -> Service {
        let value = RealServer::new(Forward::Dr, 1);
        let keys = real_servers.iter().map(|text| {
            let address: SocketAddr = text.parse().expect("an address and a port");
            RealServerKey { address: address.ip(), port: address.port() }
        });
        Service {
            config: ServiceConfig::new(Scheduler::wlc()),
            real_servers: keys.map(|key| (key, value)).collect::<RealServers>(),
        }
    }

    fn tcp(port: u16) -> ServiceKey {
        ServiceKey::Address { address: [10, 0, 0, 100].into(), port, protocol: Protocol::Tcp }
    }

    fn marked(fwmark: u32) -> ServiceKey {
        ServiceKey::Fwmark { family: Family::Ipv4, fwmark }
    }

    fn owner(services: &[(ServiceKey, &[&str])], line: &str) -> Option<ServiceKey> {
        let services = services.iter().map(|(key, servers)| (*key, service(servers))).collect();
        let entry = ipvs::Connection::from_line(line.as_bytes()).expect("a line");
        Owners::new(&services).connection(entry).service
    }

    const WEB: &str = "TCP 0A000009 D3F2 0A000064 0050 0A00000B 1F90 ESTABLISHED     899";

    #[test]
    fn a_connection_belongs_to_the_service_of_its_port_rather_than_to_that_of_any_port() {
        assert_eq!(owner(&[(tcp(0), &[]), (tcp(80), &[])], WEB), Some(tcp(80)));
        assert_eq!(owner(&[(tcp(0), &[]), (tcp(81), &[])], WEB), Some(tcp(0)));
        assert_eq!(owner(&[(tcp(81), &[])], WEB), None);
    }

    #[test]
    fn a_connection_belongs_to_the_only_fwmark_service_that_has_its_real_server() {
        let one: (_, &[&str]) = (marked(7), &["10.0.0.11:0", "10.0.0.11:81"]);
        let same: (_, &[&str]) = (marked(8), &["10.0.0.11:0"]);
        let other: (_, &[&str]) = (marked(9), &["10.0.0.12:0"]);
        assert_eq!(owner(&[one, other], WEB), Some(marked(7)));
        assert_eq!(owner(&[one, same], WEB), None);
        assert_eq!(owner(&[one, (tcp(80), &[])], WEB), Some(tcp(80)));
    }

    #[test]
    fn a_template_names_its_mark_even_when_the_service_was_deleted() {
        let line = "IP  0A000009 0000 00000007 0000 0A00000B 0000 NONE            240";
        assert_eq!(owner(&[], line), Some(marked(7)));
    }
}
