//! The topology with what each host got, by the hosts' own answers.

use evenkeel_lab::net::Namespace;

use super::stage::sysctl;
use crate::error::Error;

/// The width of a host in the diagram.
const WIDTH: usize = 26;

/// A host, as the diagram shows it.
pub(super) struct DrawnHost {
    /// Its name and its own address.
    pub(super) title: String,
    /// The interface that has the VIP; `None` without it.
    pub(super) vip: Option<String>,
    /// Whether the host answers ARP requests for addresses of other interfaces.
    pub(super) answers_arp: bool,
    /// The services and real servers of its IPVS table.
    pub(super) table: (usize, usize),
}

impl DrawnHost {
    /// Asks the host.
    pub(super) fn of(host: &Namespace, vip: &str) -> Result<Self, Error> {
        let listed = |arguments: &[&str]| host.output("ip", arguments);
        let own = listed(&["-o", "-4", "address", "show", "dev", "eth0", "scope", "global"])?;
        let own = own.lines().filter_map(|line| line.split_whitespace().nth(3));
        let own = own.filter_map(|net| net.split_once('/')).find(|(address, _)| *address != vip);
        let vip = listed(&["-o", "address", "show", "to", vip])?;
        let table = host.output("ipvsadm", &["-Ln"])?;
        let count = |is: fn(&str) -> bool| table.lines().filter(|line| is(line)).count();
        let is_real_server = |line: &str| line.starts_with("  -> ") && !line.contains("Remote");
        Ok(Self {
            title: format!("{} {}", host.name(), own.map_or("", |(address, _)| address)),
            vip: vip.split_whitespace().nth(1).map(ToOwned::to_owned),
            answers_arp: sysctl(host, "ipv4/conf/all/arp_ignore")? == "0",
            table: (count(|line| line.starts_with("TCP ")), count(is_real_server)),
        })
    }

    fn lines(&self) -> [String; 4] {
        let vip = match &self.vip {
            Some(interface) => format!("VIP on {interface}"),
            None => "no VIP".to_owned(),
        };
        let arp = match (&self.vip, self.answers_arp) {
            (None, _) => "",
            (Some(_), true) => "answers ARP for it",
            (Some(_), false) => "silent to ARP for it",
        };
        let table = match self.table {
            (0, _) => "no services".to_owned(),
            (services, real_servers) => format!("{services} service, {real_servers} real servers"),
        };
        [self.title.clone(), vip, arp.to_owned(), table]
    }
}

/// Draws the hosts below one network.
pub(super) fn draw(client: &str, hosts: &[DrawnHost]) -> String {
    let lines: Vec<[String; 4]> = hosts.iter().map(DrawnHost::lines).collect();
    let row = |cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!("  {cell:<WIDTH$}")).collect();
        format!("{}\n", cells.trim_end())
    };
    let mut text = row(vec![client]);
    text += &row(vec!["|"]);
    let network = vec![format!("+{}", "-".repeat(WIDTH + 1)); hosts.len()].concat();
    text += &format!("  {}\n", network.trim_end_matches('-'));
    text += &row(vec!["|"; hosts.len()]);
    for number in 0..4 {
        text += &row(lines.iter().map(|lines| &*lines[number]).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_a_column_below_the_network() {
        let host = |title: &str, vip: Option<&str>, answers_arp, table| DrawnHost {
            title: title.to_owned(),
            vip: vip.map(ToOwned::to_owned),
            answers_arp,
            table,
        };
        let hosts = [
            host("ds1 10.0.0.1", Some("eth0"), true, (1, 2)),
            host("rs1 10.0.0.2", Some("lo"), false, (0, 0)),
            host("rs2 10.0.0.3", None, true, (0, 0)),
        ];
        let expected = "  client
  |
  +---------------------------+---------------------------+
  |                           |                           |
  ds1 10.0.0.1                rs1 10.0.0.2                rs2 10.0.0.3
  VIP on eth0                 VIP on lo                   no VIP
  answers ARP for it          silent to ARP for it
  1 service, 2 real servers   no services                 no services
";
        assert_eq!(draw("client", &hosts), expected);
    }
}
