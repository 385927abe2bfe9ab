//! The files of a repository of specs, as its authors see them: teams with a file each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The file with the scope of the others.
pub(super) const SETTINGS: &str = "00-settings.yaml";

/// A network in which there is no service.
pub(super) const UNUSED: &str = "198.51.100.0/24";

/// A network in which other programs have a service.
pub(super) const FOREIGN: &str = "203.0.113.0/24";

/// The end mark of a file.
pub(super) const MARK: &str = "...\n";

/// The content of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, TeamFile>,
    /// Whether every file ends with the end mark.
    pub(super) mark: bool,
    /// Networks in the scope besides those of the teams.
    pub(super) networks: BTreeSet<&'static str>,
}

/// A team's file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TeamFile {
    /// The number of the team, for the comment at the top of the file.
    pub(super) team: usize,
    /// Whether it lists the team's two VIPs.
    pub(super) vips: bool,
    pub(super) services: Vec<Service>,
}

/// A service; its number decides what kind of service it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) number: usize,
    pub(super) team: usize,
    pub(super) scheduler: &'static str,
    /// Number and weight of each.
    pub(super) real_servers: Vec<(usize, usize)>,
}

impl TeamFile {
    pub(super) fn lists_nothing(&self) -> bool {
        !self.vips && self.services.is_empty()
    }

    fn text(&self, mark: bool) -> String {
        let team = self.team;
        let mut text = format!("# Team {team}.\nversion: 1\n");
        if self.vips {
            write!(
                text,
                "vips:\n  - {{ address: {}, interface: eth0 }}\n  \
                 - {{ address: '{}', interface: eth0 }}\n",
                vip(team, false),
                vip(team, true)
            )
            .unwrap();
        }
        if self.services.is_empty() {
            text.push_str("services: []\n");
        } else {
            text.push_str("services:\n");
        }
        self.services.iter().for_each(|service| service.write(&mut text));
        if mark {
            text.push_str(MARK);
        }
        text
    }
}

/// Returns one of a team's VIPs.
fn vip(team: usize, is_ipv6: bool) -> String {
    match is_ipv6 {
        true => format!("2001:db8:1::{team}"),
        false => format!("10.20.{}.{}", team / 250, team % 250 + 1),
    }
}

impl Service {
    fn write(&self, text: &mut String) {
        let Self { number, team, scheduler, real_servers } = self;
        writeln!(text, "  - name: s{number}").unwrap();
        let is_ipv6 = number % 3 == 1;
        match number % 5 {
            4 => {
                let family = if is_ipv6 { "ipv6" } else { "ipv4" };
                writeln!(text, "    fwmark: {}\n    family: {family}", number + 100).unwrap();
            }
            kind => {
                let vip = vip(*team, is_ipv6);
                let protocol = ["tcp", "udp", "tcp", "sctp"][kind];
                writeln!(
                    text,
                    "    vip: '{vip}'\n    port: {}\n    protocol: {protocol}",
                    7000 + number
                )
                .unwrap();
            }
        }
        writeln!(text, "    scheduler: {scheduler}").unwrap();
        if real_servers.is_empty() {
            text.push_str("    real_servers: []\n");
            return;
        }
        text.push_str("    real_servers:\n");
        for (real_server, weight) in real_servers {
            let begin = if is_ipv6 { "2001:db8:2::" } else { "10.0.0." };
            writeln!(text, "      - {{ address: '{begin}{real_server}', weight: {weight} }}")
                .unwrap();
        }
    }

    /// Whether all its weights are 0, as after the first of two commits that remove it.
    pub(super) fn is_at_zero(&self) -> bool {
        self.real_servers.iter().all(|(_, weight)| *weight == 0)
    }
}

impl Tree {
    /// Returns every file's text by its name.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let teams = self.files.iter().map(|(name, file)| (name.clone(), file.text(self.mark)));
        let mut all: BTreeMap<String, String> = teams.collect();
        all.insert(SETTINGS.to_owned(), self.settings());
        all
    }

    fn settings(&self) -> String {
        let mark = if self.mark { MARK } else { "" };
        let networks: String =
            self.networks.iter().map(|network| format!("    - {network}\n")).collect();
        format!(
            "# What the specs here govern.
version: 1
scope:
  vips:
    - 10.20.0.0/16
    - 192.0.2.0/24
    - '2001:db8:1::/64'
{networks}  fwmarks: [101-9999]
defaults: {{ drain: 0s, scheduler: rr }}
{mark}"
        )
    }

    pub(super) fn services(&self) -> usize {
        self.files.values().map(|file| file.services.len()).sum()
    }
}
