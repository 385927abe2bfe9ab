//! Random edits of two owners' specs: each edit leaves the other owner's part byte for byte, and both plans
//! are empty after it.
//!
//! `EVENKEEL_SWEEP_SECONDS` sets how long, `EVENKEEL_LAB_SEED` the seed; `cargo xtask sweep --owners` sets
//! both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use evenkeel_lab_tests::dice::TestRng;
use evenkeel_lab_tests::{run, say};

use super::daemons::{host, status};
use super::{Listed, sysctl};
use crate::watch::{Daemon, Host, within};

/// How long the edits take among the other tests.
const USUAL: Duration = Duration::from_secs(15);

/// A time in which everything that is awaited happens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sysctls that owners share, each with the value 1 and 0 before.
const SYSCTLS: [&str; 3] =
    ["net.ipv4.vs.drop_entry", "net.ipv4.vs.expire_nodest_conn", "net.ipv4.ip_forward"];

/// The guards that an edit may meet.
const ALLOWED: &str = "left-scope,wider-scope,mass-delete,no-server,unbind-in-use,missing-file";

/// The services that an owner may have beside the first, of which each has one.
const KINDS: [&str; 6] = ["tcp", "tcp6", "udp", "sctp6", "mark4", "mark6"];

/// The spec of an owner, as it is edited.
#[derive(Debug, Clone)]
struct Edited {
    name: &'static str,
    half: u8,
    /// Which part of the half is its scope: a sixteenth of an IPv4 network, or all four.
    part: Option<u8>,
    /// The weights of the real servers, by the kind of the service.
    services: BTreeMap<&'static str, Vec<u32>>,
    sysctls: BTreeMap<&'static str, u8>,
    interface: &'static str,
    has_ipv6: bool,
}

impl Edited {
    fn new(name: &'static str, half: u8) -> Self {
        Self {
            name,
            half,
            part: Some(0),
            services: [("tcp", vec![1])].into(),
            sysctls: BTreeMap::new(),
            interface: "eth0",
            has_ipv6: true,
        }
    }

    /// Makes a random change, and says which.
    fn edit(&mut self, rng: &mut TestRng) -> String {
        match rng.below(7) {
            0 | 1 => {
                let kind = *rng.one_of(&KINDS);
                let count = rng.between(1, 3);
                let weights =
                    (0..count).map(|_| u32::try_from(rng.between(1, 5)).unwrap()).collect();
                self.services.insert(kind, weights);
                format!("service {kind} with {count} real servers")
            }
            2 => {
                let kind = *rng.one_of(&KINDS[1..]);
                self.services.remove(kind);
                format!("no service {kind}")
            }
            3 => {
                let key = *rng.one_of(&SYSCTLS);
                if self.sysctls.remove(key).is_some() {
                    return format!("no sysctl {key}");
                }
                self.sysctls.insert(key, 1);
                format!("sysctl {key}")
            }
            4 => {
                self.interface = if self.interface == "eth0" { "vips" } else { "eth0" };
                format!("VIPs on {}", self.interface)
            }
            5 => {
                self.has_ipv6 = !self.has_ipv6;
                format!("an IPv6 VIP: {}", self.has_ipv6)
            }
            _ => {
                self.part = rng.percent(75).then(|| u8::try_from(rng.below(4)).unwrap());
                format!("scope {:?}", self.part)
            }
        }
    }

    fn text(&self) -> String {
        let Self { name, half, .. } = self;
        let part = self.part.unwrap_or_default();
        let (base, bits) = (half * 64 + part * 16, if self.part.is_some() { 28 } else { 26 });
        let v6 = format!("2001:db8:0:{half}:{part}::");
        let v6_bits = if self.part.is_some() { 80 } else { 64 };
        let (vip, mark) = (base + 1, half * 10);
        let net = if self.part.is_some() { v6.clone() } else { format!("2001:db8:0:{half}::") };
        let mut text = format!(
            "version: 1\nowner: {name}\nscope: {{ left: remove, vips: [192.0.2.{base}/{bits}, \
             '{net}/{v6_bits}'], fwmarks: [{mark}-{}] }}\nguards: {{ mass_delete: 100% }}\ndefaults: {{ \
             drain: 0s }}\nvips:\n",
            mark + 9
        );
        let device = match self.interface {
            "eth0" => "interface: eth0",
            _ => "interface: vips, dummy: true",
        };
        writeln!(text, "  - {{ address: 192.0.2.{vip}, {device} }}").unwrap();
        if self.has_ipv6 {
            writeln!(text, "  - {{ address: '{v6}1', {device} }}").unwrap();
        }
        text.push_str("services:\n");
        for (kind, weights) in &self.services {
            let (address, server) = match *kind {
                "tcp" => (format!("vip: 192.0.2.{vip}, port: 80"), "10.0.0."),
                "tcp6" => (format!("vip: '{v6}1', port: 80"), "2001:db8:f::"),
                "udp" => (format!("vip: 192.0.2.{vip}, port: 53, protocol: udp"), "10.0.0."),
                "sctp6" => (format!("vip: '{v6}1', port: 9, protocol: sctp"), "2001:db8:f::"),
                "mark4" => (format!("fwmark: {}, family: ipv4", mark + 1), "10.0.0."),
                _ => (format!("fwmark: {}, family: ipv6", mark + 2), "2001:db8:f::"),
            };
            let servers = weights.iter().enumerate().map(|(number, weight)| {
                format!("{{ address: '{server}{half}{number}', weight: {weight} }}")
            });
            let servers = servers.collect::<Vec<_>>().join(", ");
            writeln!(text, "  - {{ name: {name}-{kind}, {address}, real_servers: [ {servers} ] }}")
                .unwrap();
        }
        if !self.sysctls.is_empty() {
            text.push_str("sysctls:\n");
            for (key, value) in &self.sysctls {
                writeln!(text, "  {key}: {value}").unwrap();
            }
        }
        // Each is complete, also if it is the beginning of the one before.
        text.push_str("...\n");
        text
    }

    fn listed(&self) -> Listed {
        Listed::of(self.half, self.half * 64..=self.half * 64 + 63)
    }
}

/// Two owners of one host.
struct Sweep {
    host: Host,
    owners: [Edited; 2],
    daemons: [Option<Daemon>; 2],
}

impl Sweep {
    fn done(&self, arguments: &str) {
        let (code, stdout, stderr) = self.host.evenkeel(arguments);
        assert_eq!(code, 0, "{arguments}: {stdout}{stderr}");
    }

    /// Brings the host to the spec of an owner: by its daemon if it has one, and otherwise by an apply.
    fn bring(&self, at: usize) {
        let Edited { name, .. } = &self.owners[at];
        self.host.write(&format!("{name}.yaml"), self.owners[at].text());
        if self.daemons[at].is_none() {
            return self.done(&format!("apply --yes specs/{name}.yaml --allow {ALLOWED}"));
        }
        let mut last = serde_json::Value::Null;
        let is_reached = within(PATIENCE, || {
            last = status(&self.host, name);
            if let Some(id) =
                last["spec"]["held"]["id"].as_str().or_else(|| last["held"]["id"].as_str())
            {
                self.host.evenkeel(&format!("approve {id} --owner {name}"));
            }
            last["state"] == "ok" && self.plan(at) == 0
        });
        assert!(is_reached, "{last:#}\n{}", self.owners[at].text());
    }

    fn plan(&self, at: usize) -> i32 {
        let name = self.owners[at].name;
        self.host.evenkeel(&format!("plan --detailed-exitcode specs/{name}.yaml")).0
    }

    fn teardown(&mut self, at: usize) {
        self.daemons[at] = None;
        let name = self.owners[at].name;
        self.done(&format!("teardown --yes --owner {name} --allow unbind-in-use"));
        assert_eq!(self.owners[at].listed(), Listed { table: vec![], addresses: vec![] });
    }

    /// Both want a sysctl with different values, which is refused.
    fn conflict(&mut self, at: usize) {
        let before = (Listed::now(), SYSCTLS.map(sysctl));
        let mut edited = self.owners[at].clone();
        let key = *self.owners[1 - at].sysctls.keys().next().unwrap();
        edited.sysctls.insert(key, 0);
        self.host.write("conflict.yaml", edited.text());
        let (code, _, stderr) = self.host.evenkeel("plan specs/conflict.yaml");
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("and this spec to 0"), "{stderr}");
        assert_eq!((Listed::now(), SYSCTLS.map(sysctl)), before);
    }

    /// Starts or ends a daemon.
    fn toggle(&mut self, at: usize) {
        if self.daemons[at].take().is_some() {
            return;
        }
        let path = format!("specs/{}.yaml", self.owners[at].name);
        self.daemons[at] = Some(self.host.watch(&path, "--interval 1s"));
        self.bring(at);
    }

    fn assert_sysctls(&self, words: &str) {
        for key in SYSCTLS {
            let is_asked = self.owners.iter().any(|owner| owner.sysctls.contains_key(key));
            let value = if is_asked { "1" } else { "0" };
            assert_eq!(sysctl(key), value, "{key} after {words}");
        }
    }
}

#[test]
fn random_edits_of_one_leave_the_others_part_byte_for_byte() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let time = number("EVENKEEL_SWEEP_SECONDS").map_or(USUAL, Duration::from_secs);
    let seed = number("EVENKEEL_LAB_SEED").unwrap_or(15);
    say(&format!("{} s, EVENKEEL_LAB_SEED={seed}", time.as_secs()));
    let mut rng = TestRng::new(seed);
    let host = host();
    for key in SYSCTLS {
        run(&format!("sysctl -qw {key}=0"));
    }
    let before = (Listed::now(), SYSCTLS.map(sysctl));
    let owners = [Edited::new("web", 1), Edited::new("dns", 2)];
    let mut sweep = Sweep { host, owners, daemons: [None, None] };
    sweep.bring(0);
    sweep.bring(1);
    let begin = Instant::now();
    let mut edits = 0_u32;
    let mut by_daemon = 0_u32;
    let mut teardowns = 0_u32;
    while begin.elapsed() < time {
        let at = rng.below(2);
        let other = sweep.owners[1 - at].listed();
        let words = match rng.below(20) {
            0 => {
                let kept = std::mem::take(&mut sweep.owners[at].sysctls);
                sweep.teardown(at);
                sweep.assert_sysctls("a teardown");
                assert_eq!(sweep.owners[1 - at].listed(), other, "a teardown");
                sweep.owners[at].sysctls = kept;
                sweep.bring(at);
                teardowns += 1;
                "a teardown and an apply".to_owned()
            }
            1 | 2 => {
                sweep.toggle(at);
                "a daemon".to_owned()
            }
            3 if !sweep.owners[1 - at].sysctls.is_empty() => {
                sweep.conflict(at);
                "a conflict".to_owned()
            }
            _ => {
                let words = sweep.owners[at].edit(&mut rng);
                by_daemon += u32::from(sweep.daemons[at].is_some());
                sweep.bring(at);
                words
            }
        };
        edits += 1;
        let words = format!("edit {edits} of {}: {words}", sweep.owners[at].name);
        assert_eq!(sweep.owners[1 - at].listed(), other, "{words}");
        sweep.assert_sysctls(&words);
        for at in 0..2 {
            assert_eq!(sweep.plan(at), 0, "{words}: {}", sweep.owners[at].name);
        }
        if edits.is_multiple_of(50) {
            say(&format!("{edits} edits"));
        }
    }
    let other = sweep.owners[1].listed();
    sweep.owners[0].sysctls.clear();
    sweep.teardown(0);
    assert_eq!(sweep.owners[1].listed(), other, "the teardown of one");
    sweep.assert_sysctls("the teardown of one");
    sweep.owners[1].sysctls.clear();
    sweep.teardown(1);
    assert_eq!((Listed::now(), SYSCTLS.map(sysctl)), before, "the teardown of the other");
    say(&format!(
        "{edits} edits of two owners, {by_daemon} of them by daemons, and {teardowns} teardowns: the other \
         owner's part was byte for byte as before after each; both teardowns left the host as it was"
    ));
}
