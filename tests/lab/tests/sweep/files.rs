//! The five files of the sweep, their faults, and the expected outcome of each.
//!
//! Everything here is specified before a run: the outcome of each fault, and why an accepted one is
//! accepted. Each line of a file has a mark for the outcome if the file ends with that line:
//!
//! - `!` the directory is no longer a valid spec;
//! - `-` live objects would be edited or deleted, so that `cut-off` refuses it;
//! - `=` it requests the same state.

/// The form in which the directory of a sweep is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// `00-scope.yaml` is one of the files. Without it, the scope is the whole table.
    pub(super) scope: bool,
    /// Every file ends with the end mark `...`.
    pub(super) mark: bool,
}

/// The expected outcome of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// An invalid spec: `apply` ends with 65, the daemon keeps the last good spec.
    BadSpec,
    /// Refused, by this guard among others.
    Refused(&'static str),
    /// Accepted, as it requests the same state.
    InSync { why: &'static str },
    /// Accepted, with these changes.
    Applied { changes: String, why: &'static str },
}

/// The content in place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Text(String),
    NoPermission,
    DanglingLink,
    Directory,
}

/// One fault of one file.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) name: String,
    pub(super) found: Found,
    pub(super) expected: Expected,
    /// One of many of its kind, of which the short sweep tests a few.
    pub(super) is_cut: bool,
}

/// A file of the directory.
#[derive(Debug, Clone)]
pub(super) struct SpecFile {
    pub(super) name: &'static str,
    /// Without the end mark.
    text: String,
    /// A mark for each line of `text`.
    cuts: Vec<char>,
    /// The outcome if the file is missing.
    missing: Expected,
    /// The file of that name in another cluster's repository.
    other_cluster: (String, Expected),
    older: Vec<Older>,
    /// A new version whose tail was not written; it is not a prefix of the active text.
    half_written: (String, Expected),
}

/// An earlier version in the file's history.
#[derive(Debug, Clone)]
struct Older {
    name: &'static str,
    text: String,
    /// This outcome, unless the text is a prefix of the active one; only the end mark distinguishes
    /// that from a cut.
    expected: Expected,
}

const REVERT: &str = "a `git revert` makes this version; only later additions are deleted";
const SETTINGS: &str =
    "it lists no service, server or VIP: settings change, and nothing is deleted";
const POOL: &str = "one pool in place of another of the same size is an everyday change";
const SAME: &str = "it requests the same state";
const HALF: &str =
    "a commit that takes out the last item looks the same; only the end mark distinguishes them";

impl Expected {
    fn same() -> Self {
        Self::InSync { why: SAME }
    }

    fn applied(changes: impl Into<String>, why: &'static str) -> Self {
        Self::Applied { changes: changes.into(), why }
    }
}

impl SpecFile {
    /// Creates a file from a text with its marks.
    fn new(name: &'static str, marked: &str, missing: Expected) -> Self {
        let (mut text, mut cuts) = (String::new(), Vec::new());
        for line in marked.lines() {
            let (mark, line) = line.split_once('|').unwrap();
            cuts.push(mark.parse().unwrap());
            text += &format!("{line}\n");
        }
        let nothing = || (String::new(), Expected::BadSpec);
        let (other_cluster, half_written) = (nothing(), nothing());
        Self { name, text, cuts, missing, other_cluster, older: Vec::new(), half_written }
    }

    fn other_cluster(mut self, text: impl FnOnce(&str) -> String, expected: Expected) -> Self {
        self.other_cluster = (text(&self.text), expected);
        self
    }

    fn older(
        mut self,
        name: &'static str,
        text: impl FnOnce(&str) -> String,
        expected: Expected,
    ) -> Self {
        self.older.push(Older { name, text: text(&self.text), expected });
        self
    }

    /// Adds a new version whose first line differs, and which ends before that text.
    fn half_written(mut self, before: &str, expected: Expected) -> Self {
        let (_, rest) = self.text.split_once('\n').unwrap();
        let (head, _) = rest.split_once(before).unwrap();
        self.half_written = (format!("# Edited.\n{head}"), expected);
        self
    }

    /// Returns the active text.
    pub(super) fn good(&self, layout: Layout) -> String {
        ended(&self.text, layout.mark)
    }

    /// Returns every fault of this file in that layout.
    pub(super) fn faults(&self, layout: Layout) -> Vec<Fault> {
        let mut all = Vec::new();
        let mut add = |name: String, found, expected, is_cut| {
            all.push(Fault { name, found, expected, is_cut });
        };
        let whole = |name: &str| name.to_owned();
        add(whole("missing"), Found::Nothing, self.missing.clone(), false);
        add(whole("a directory"), Found::Directory, self.missing.clone(), false);
        add(whole("no permission"), Found::NoPermission, Expected::BadSpec, false);
        add(whole("a dangling link"), Found::DanglingLink, Expected::BadSpec, false);
        add(whole("0 bytes"), Found::Text(String::new()), Expected::BadSpec, false);
        let good = self.good(layout);
        for (index, mark) in self.cuts.iter().enumerate() {
            let end = index + 1;
            if end == good.lines().count() {
                continue;
            }
            let text: String = good.split_inclusive('\n').take(end).collect();
            let expected = match mark {
                '!' => Expected::BadSpec,
                '-' => Expected::Refused("cut-off"),
                // The missing part may be nothing but the end mark, yet the file is certainly
                // incomplete.
                '=' if layout.mark => Expected::Refused("cut-off"),
                '=' => Expected::same(),
                other => panic!("{other} is no mark"),
            };
            add(format!("cut after line {end}"), Found::Text(text), expected, true);
        }
        let unended = good.trim_end().to_owned();
        add(whole("no final newline"), Found::Text(unended), Expected::same(), false);
        for Older { name, text, expected } in &self.older {
            let is_beginning = self.text.starts_with(text.as_str());
            let expected = match is_beginning && !layout.mark {
                true => Expected::Refused("cut-off"),
                false => expected.clone(),
            };
            let found = Found::Text(ended(text, layout.mark));
            add(format!("older: {name}"), found, expected, false);
            let is_same = matches!(self.older_expected(name), Expected::InSync { .. });
            if layout.mark && !is_same {
                let expected = Expected::Refused("cut-off");
                add(format!("older, no mark: {name}"), Found::Text(text.clone()), expected, false);
            }
        }
        let (text, expected) = &self.other_cluster;
        let found = Found::Text(ended(text, layout.mark));
        add(whole("another cluster's"), found, expected.clone(), false);
        let (text, expected) = &self.half_written;
        let expected = match layout.mark {
            true => Expected::Refused("cut-off"),
            false => expected.clone(),
        };
        add(whole("new version, no tail"), Found::Text(text.clone()), expected, false);
        all
    }

    fn older_expected(&self, name: &str) -> &Expected {
        &self.older.iter().find(|it| it.name == name).unwrap().expected
    }
}

/// Returns a text with or without the end mark.
fn ended(text: &str, mark: bool) -> String {
    if mark { format!("{text}...\n") } else { text.to_owned() }
}

/// Returns a text without the line that contains these words.
fn without(text: &str, words: &str) -> String {
    let lines = text.split_inclusive('\n').filter(|line| !line.contains(words));
    lines.collect()
}

/// Returns the part of a text before these words.
fn before(text: &str, words: &str) -> String {
    text.split_once(words).unwrap().0.to_owned()
}

/// Returns the files of that layout.
pub(super) fn files(layout: Layout) -> Vec<SpecFile> {
    let mut all = Vec::new();
    if layout.scope {
        all.push(scope());
    }
    all.extend([host(layout), pools(), shop(), dns()]);
    if !layout.scope {
        all.push(mail());
    }
    all
}

fn scope() -> SpecFile {
    let text = "!|# What the specs of this cluster govern.
-|version: 1
!|scope:
!|  vips:
!|    - 192.0.2.0/24
!|    - '2001:db8:1::/64'
!|    - 198.51.100.0/28
=|  fwmarks: [1-9]
=|# Ask the network team before you widen it.";
    let same = Expected::InSync { why: "nothing of the host is in what it leaves out" };
    SpecFile::new("00-scope.yaml", text, Expected::Refused("wider-scope"))
        .older("narrower", |text| without(text, "198.51.100"), same)
        .older(
            "wider",
            |text| text.replace("    - 198", "    - 203.0.113.0/24\n    - 198"),
            Expected::Refused("wider-scope"),
        )
        .other_cluster(|text| text.replace("192.0.2.0", "198.18.0.0"), Expected::BadSpec)
        .half_written("scope:", Expected::Refused("wider-scope"))
}

fn host(layout: Layout) -> SpecFile {
    let text = "!|# Settings of the hosts.
-|version: 1
!|defaults:
-|  drain: 0s
-|  scheduler: rr
!|guards:
-|  mass_delete: 30%
!|timeouts:
-|  tcp: 10m
!|sysctls:
-|  net.ipv4.vs.expire_nodest_conn: 1
=|  net.ipv4.vs.drop_entry: 1
=|# Reviewed each spring.";
    let services = if layout.scope { 9 } else { 12 };
    let other = format!("~{services} services, ~1 sysctl, ~timeouts");
    let one = || Expected::applied("~1 sysctl", REVERT);
    let looser = Expected::InSync { why: "a looser threshold counts from the next spec on" };
    SpecFile::new("10-host.yaml", text, Expected::Refused("missing-file"))
        .older("a sysctl less", |text| before(text, "  net.ipv4.vs.drop_entry"), one())
        .older("a looser guard", |text| text.replace("30%", "10%"), looser)
        .other_cluster(
            |text| {
                let text = text.replace("rr", "wrr").replace("30%", "10%").replace("10m", "5m");
                text.replace("drop_entry: 1", "drop_entry: 0")
            },
            Expected::applied(other, SETTINGS),
        )
        .half_written("  net.ipv4.vs.drop_entry", Expected::applied("~1 sysctl", HALF))
}

fn pools() -> SpecFile {
    let text = "!|# Real servers that teams share.
!|version: 1
!|pools:
!|  - name: app
!|    real_servers:
!|      - { address: 10.0.0.1, weight: 2 }
!|      - { address: 10.0.0.2, weight: 2 }
!|      - { address: 10.0.0.3, weight: 2 }
!|      - { address: 10.0.0.4, weight: 2 }
!|  - name: app6
!|    real_servers:
-|      - { address: '2001:db8:2::1' }
-|      - { address: '2001:db8:2::2' }
-|      - address: '2001:db8:2::3'
=|        weight: 3
=|# Ordered by rack.";
    let three = Expected::applied("-3 real servers", REVERT);
    let one = || Expected::applied("-1 real server", REVERT);
    let other = Expected::applied("+15 -15 real servers", POOL);
    SpecFile::new("20-pools.yaml", text, Expected::BadSpec)
        .older("a server less in the middle", |text| without(text, "10.0.0.4"), three)
        .older("a server less at the end", |text| before(text, "      - address"), one())
        .other_cluster(|text| text.replace("10.0.0", "10.9.0").replace("db8:2:", "db8:9:"), other)
        .half_written("      - address", Expected::applied("-1 real server", HALF))
}

fn shop() -> SpecFile {
    let text = "!|# The shop.
-|version: 1
!|vips:
-|  - { address: 192.0.2.10, interface: eth0 }
-|  - { address: '2001:db8:1::10', interface: eth0 }
!|services:
!|  - name: shop
!|    vip: 192.0.2.10
!|    port: 80
-|    pool: app
!|  - name: shop-tls
!|    vip: 192.0.2.10
!|    port: 443
-|    pool: app
!|  - name: shop6
!|    vip: '2001:db8:1::10'
!|    port: 80
-|    pool: app6
!|  - name: shop-admin
!|    vip: 192.0.2.10
!|    port: 8443
-|    pool: app
=|    persistence: { timeout: 5m }
=|# On call: the shop's team.";
    let without_ipv6 = |text: &str| {
        let begin = text.find("  - name: shop6").unwrap();
        let end = text.find("  - name: shop-admin").unwrap();
        without(&format!("{}{}", &text[..begin], &text[end..]), "::10")
    };
    let ipv6 = Expected::applied("-1 service, -3 real servers, -1 VIP", REVERT);
    let admin = |why| Expected::applied("-1 service, -4 real servers", why);
    SpecFile::new("30-shop.yaml", text, Expected::Refused("missing-file"))
        .older("without IPv6", without_ipv6, ipv6)
        .older("a service less", |text| before(text, "  - name: shop-admin"), admin(REVERT))
        .other_cluster(
            |text| text.replace("192.0.2.10", "192.0.2.110").replace("::10", "::110"),
            Expected::Refused("missing-file"),
        )
        .half_written("  - name: shop-admin", admin(HALF))
}

fn dns() -> SpecFile {
    let text = "!|# Names and marks.
-|version: 1
!|services:
!|  - name: dns
!|    vip: 192.0.2.53
!|    port: 53
!|    protocol: udp
!|    real_servers:
-|      - { address: 10.0.1.1 }
-|      - { address: 10.0.1.2 }
!|  - name: dns6
!|    vip: '2001:db8:1::53'
!|    port: 53
!|    protocol: udp
!|    real_servers:
-|      - { address: '2001:db8:3::1' }
-|      - { address: '2001:db8:3::2' }
!|  - name: signalling
!|    vip: 192.0.2.54
!|    port: 2905
!|    protocol: sctp
!|    real_servers:
-|      - { address: 10.0.1.3 }
!|  - name: marked
!|    fwmark: 7
!|    family: ipv4
!|    real_servers:
-|      - { address: 10.0.1.4, weight: 5 }
!|  - name: marked6
!|    fwmark: 7
!|    family: ipv6
!|    real_servers:
-|      - { address: '2001:db8:3::4' }
=|      - { address: '2001:db8:3::5' }
=|# Asked for by the network team.";
    SpecFile::new("40-dns.yaml", text, Expected::Refused("missing-file"))
        .older(
            "a server less",
            |text| without(text, "10.0.1.2"),
            Expected::applied("-1 real server", REVERT),
        )
        .older(
            "another weight",
            |text| text.replace("weight: 5", "weight: 2"),
            Expected::applied("~1 real server", REVERT),
        )
        .other_cluster(
            |text| {
                let text = text.replace("192.0.2.5", "192.0.2.15").replace("::53", "::153");
                text.replace("fwmark: 7", "fwmark: 8")
            },
            Expected::Refused("missing-file"),
        )
        .half_written(
            "      - { address: '2001:db8:3::5' }",
            Expected::applied("-1 real server", HALF),
        )
}

fn mail() -> SpecFile {
    let text = "!|# Mail.
-|version: 1
!|services:
!|  - name: smtp
!|    vip: 192.0.2.25
!|    ports: [25, 587]
!|    real_servers:
-|      - { address: 10.0.2.1 }
-|      - { address: 10.0.2.2 }
!|  - name: imap
!|    vip: 192.0.2.25
!|    port: 993
!|    real_servers:
-|      - { address: 10.0.2.1 }
=|      - { address: 10.0.2.2 }
=|# Ask the mail team.";
    SpecFile::new("50-mail.yaml", text, Expected::Refused("missing-file"))
        .older(
            "a port less",
            |text| text.replace("[25, 587]", "[25]"),
            Expected::applied("-1 service, -2 real servers", REVERT),
        )
        .older(
            "a service less",
            |text| before(text, "  - name: imap"),
            Expected::applied("-1 service, -2 real servers", REVERT),
        )
        .other_cluster(
            |text| text.replace("192.0.2.25", "192.0.2.125"),
            Expected::Refused("missing-file"),
        )
        .half_written("  - name: imap", Expected::applied("-1 service, -2 real servers", HALF))
}
