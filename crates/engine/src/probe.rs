//! The cheap probe: whether anything changed since the kernel was last read completely.
//!
//! Reading `/proc/net/ip_vs` costs a small part of what the dumps do, but the file does not show
//! everything: thresholds, the attributes of tunnels, the flags of schedulers, persistence engines,
//! one-packet over IPv6 and the family of firewall marks are missing (`ip_vs_info_seq_show`).
//! [`not_in_proc`] returns the services that have any of these; the probe dumps them. For a service
//! that has none of them the probe detects a change of all that the file shows, but that another
//! program sets a field which the file does not show is detected only by the next complete reading.
//!
//! [`Kernel::probe`](crate::Kernel::probe) takes the digest,
//! [`Kernel::is_unchanged`](crate::Kernel::is_unchanged) compares with it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read};

use evenkeel_model::{
    Desired, Forward, Live, RealServer, Service, ServiceConfig, ServiceKey, Tunnel,
};

/// The initial size of the buffer. The kernel returns a page at a time, or a service with all its
/// real servers where that is more.
const ROOM: usize = 64 << 10;

/// A digest of what `/proc/net/ip_vs` showed at one moment, without its connection counters.
#[derive(Debug, Clone)]
pub struct TableDigest {
    /// Keys of the hash; each probe has new ones.
    keys: RandomState,
    file_digest: FileDigest,
}

impl TableDigest {
    /// Digests the text of `/proc/net/ip_vs`, read to its end through the buffer.
    pub(crate) fn read(
        file: impl Read,
        buffer: &mut Vec<u8>,
        keys: &RandomState,
    ) -> io::Result<Self> {
        Ok(Self { keys: keys.clone(), file_digest: digest_of(file, buffer, keys)? })
    }

    /// The keys that a later digest needs to be comparable with this one.
    pub(crate) fn keys(&self) -> &RandomState {
        &self.keys
    }

    /// Whether the file showed the same both times. Both digests must have the same keys.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.file_digest == other.file_digest
    }
}

/// A digest of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileDigest {
    bytes: u64,
    hash: u64,
}

/// Returns the services that `/proc/net/ip_vs` does not show completely, judged by the desired and by
/// the live state. Services that are neither desired nor in scope do not matter and are left out.
///
/// The family of a firewall mark shows in its real servers at best, so all services by firewall mark
/// are included.
pub fn not_in_proc(desired: &Desired, live: &Live) -> BTreeSet<ServiceKey> {
    let wanted = desired.services.iter().map(|(key, named)| (key, &named.service));
    let there = live.services.iter();
    let there = there.filter(|(key, _)| desired.services.contains_key(key) || desired.governs(key));
    let all = wanted.chain(there);
    all.filter(|(key, service)| has_fields_not_in_proc(key, service)).map(|(key, _)| *key).collect()
}

fn has_fields_not_in_proc(key: &ServiceKey, service: &Service) -> bool {
    let Service { config, real_servers } = service;
    // The file shows the scheduler, and persistence with its netmask, for both families.
    let ServiceConfig { scheduler: _, scheduler_flags, persistence: _, engine, one_packet } =
        config;
    matches!(key, ServiceKey::Fwmark { .. })
        || !scheduler_flags.is_empty()
        || engine.is_some()
        || *one_packet && key.vip().is_some_and(|vip| vip.is_ipv6())
        || real_servers
            .iter()
            .any(|(_, real_server)| real_server_has_fields_not_in_proc(real_server))
}

fn real_server_has_fields_not_in_proc(real_server: &RealServer) -> bool {
    let RealServer { forward, weight: _, upper_threshold, lower_threshold } = *real_server;
    let forward = match forward {
        Forward::Dr | Forward::Nat | Forward::Local => false,
        Forward::Tun(tunnel) => tunnel != Tunnel::IPIP,
        // Shown as NAT (`ip_vs_fwd_name`).
        Forward::Bypass | Forward::Other(_) => true,
    };
    forward || upper_threshold != 0 || lower_threshold != 0
}

/// Reads the file to its end through the buffer.
fn digest_of(
    mut file: impl Read,
    buffer: &mut Vec<u8>,
    keys: &RandomState,
) -> io::Result<FileDigest> {
    let mut hasher = keys.build_hasher();
    let mut bytes = 0;
    let mut take = |part: &[u8]| {
        hasher.write(part);
        bytes += part.len() as u64;
    };
    buffer.resize(buffer.len().max(ROOM), 0);
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize(2 * filled, 0);
        }
        let read = match file.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome?,
        };
        if read == 0 {
            take(without_counters(&buffer[..filled]));
            return Ok(FileDigest { bytes, hash: hasher.finish() });
        }
        filled += read;
        let mut done = 0;
        for line in buffer[..filled].split_inclusive(|byte| *byte == b'\n') {
            if line.ends_with(b"\n") {
                take(without_counters(line));
                done += line.len();
            }
        }
        buffer.copy_within(done..filled, 0);
        filled -= done;
    }
}

/// Strips what changes by itself from a line: the last two numbers of a real server.
fn without_counters(line: &[u8]) -> &[u8] {
    if !line.starts_with(b"  -> ") {
        return line;
    }
    let mut rest = line;
    for _ in 0..2 {
        rest = rest.trim_ascii_end();
        let blank = rest.iter().rposition(|byte| *byte == b' ');
        rest = &rest[..blank.map_or(0, |blank| blank + 1)];
    }
    rest.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use evenkeel_model::{
        Checksum, Family, Limits, NamedService, Netmask, Persistence, Protocol, RealServerKey,
        Scheduler, SchedulerFlags, Scope, TunnelKind,
    };

    use super::*;

    const FILE: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C0000201:0050 wrr persistent 30000 FFFFFFFF
  -> C6336401:0050      Route   1      0          0         \n  \
  -> C6336402:0050      Route   100    12         7         \n\
TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 rr
  -> [2001:0db8:0000:0000:0000:0000:0000:000a]:0050      Tunnel  1      0          0         \n";

    fn digest(text: &str, keys: &RandomState) -> FileDigest {
        digest_of(text.as_bytes(), &mut Vec::new(), keys).unwrap()
    }

    #[test]
    fn the_digest_covers_everything_but_the_connection_counters() {
        let keys = RandomState::new();
        let before = digest(FILE, &keys);
        for (from, to) in
            [("12         7  ", "1234567890 99 "), ("0          0  ", "1          2  ")]
        {
            assert!(FILE.contains(from));
            assert_eq!(digest(&FILE.replace(from, to), &keys), before, "{from} -> {to}");
        }
        for (from, to) in [
            ("100  ", "101  "),
            ("Route   1 ", "Tunnel  1 "),
            ("C6336402:0050", "C6336402:0051"),
            ("wrr", "wlc"),
            ("30000", "30100"),
            ("FFFFFFFF", "FFFFFF00"),
            (":0001]:0050 rr\n", ":0002]:0050 rr\n"),
            (" persistent 30000 FFFFFFFF", ""),
        ] {
            assert!(FILE.contains(from));
            assert_ne!(digest(&FILE.replace(from, to), &keys), before, "{from} -> {to}");
        }
        let lines: Vec<&str> = FILE.split_inclusive('\n').collect();
        for missing in 3..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(missing);
            assert_ne!(digest(&fewer.concat(), &keys), before, "without line {missing}");
        }
        let mut swapped = lines;
        swapped.swap(4, 5);
        assert_ne!(digest(&swapped.concat(), &keys), before, "the order of real servers");
    }

    /// Returns at most so many bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(self.1).min(buffer.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    #[test]
    fn the_digest_does_not_depend_on_the_sizes_of_reads() {
        let keys = RandomState::new();
        let long = FILE.repeat(500);
        let whole = digest(&long, &keys);
        let mut buffer = Vec::new();
        for length in [1, 7, 51, 4096, 65_536, 1 << 20] {
            let pieces = Pieces(long.as_bytes(), length);
            assert_eq!(digest_of(pieces, &mut buffer, &keys).unwrap(), whole, "{length} at a time");
        }
        assert_eq!(buffer.len(), ROOM);
        let line = "x".repeat(3 * ROOM);
        assert_eq!(digest(&line, &keys).bytes, 3 * ROOM as u64);
    }

    #[test]
    fn lines_of_any_form_are_accepted_without_a_panic() {
        for (line, taken) in [
            ("", ""),
            ("  -> ", ""),
            ("  -> \n", ""),
            ("  -> 1", ""),
            ("  -> 1 2 3", "  -> 1"),
            ("  -> 1 2 3 4 5 \n", "  -> 1 2 3"),
            ("TCP 1 2\n", "TCP 1 2\n"),
        ] {
            let found = without_counters(line.as_bytes());
            assert_eq!(
                std::str::from_utf8(found).unwrap(),
                taken.trim_end_matches(' '),
                "{line:?}"
            );
        }
    }

    fn on(address: &str) -> ServiceKey {
        let address = address.parse().unwrap();
        ServiceKey::Address { address, port: 53, protocol: Protocol::Udp }
    }

    fn plain() -> Service {
        let key = RealServerKey { address: [198, 51, 100, 1].into(), port: 53 };
        let real_server = RealServer::new(Forward::Dr, 1);
        let config = ServiceConfig::new(Scheduler::wlc());
        Service { config, real_servers: [(key, real_server)].into_iter().collect() }
    }

    fn with(change: impl FnOnce(&mut ServiceConfig)) -> Service {
        let mut service = plain();
        change(&mut service.config);
        service
    }

    fn serving(change: impl FnOnce(&mut RealServer)) -> Service {
        let mut service = plain();
        let mut change = Some(change);
        service.real_servers.for_each_mut(|_, it| {
            if let Some(change) = change.take() {
                change(it);
            }
        });
        service
    }

    fn tunnelled(kind: TunnelKind, port: u16, checksum: Checksum) -> Service {
        serving(|it| it.forward = Forward::Tun(Tunnel { kind, port, checksum }))
    }

    #[test]
    fn a_service_with_a_field_that_the_file_does_not_show_is_not_in_proc() {
        let (four, six) = (on("192.0.2.1"), on("2001:db8::1"));
        let mark = |family| ServiceKey::Fwmark { family, fwmark: 7 };
        let flags = SchedulerFlags::from_bits(1);
        let persistence = Persistence { timeout: 60, netmask: Netmask::host(Family::Ipv4) };
        for (key, service, is_not_in_proc) in [
            (four, plain(), false),
            (six, plain(), false),
            (four, with(|it| it.one_packet = true), false),
            (six, with(|it| it.one_packet = true), true),
            (four, with(|it| it.persistence = Some(persistence)), false),
            (four, with(|it| it.engine = Some("sip".into())), true),
            (four, with(|it| it.scheduler_flags = flags), true),
            (mark(Family::Ipv4), plain(), true),
            (mark(Family::Ipv6), plain(), true),
            (four, serving(|it| it.upper_threshold = 1), true),
            (four, serving(|it| it.lower_threshold = 1), true),
            (four, serving(|it| it.forward = Forward::Nat), false),
            (four, serving(|it| it.forward = Forward::Local), false),
            (four, serving(|it| it.forward = Forward::Bypass), true),
            (four, tunnelled(TunnelKind::Ipip, 0, Checksum::None), false),
            (four, tunnelled(TunnelKind::Ipip, 6080, Checksum::None), true),
            (four, tunnelled(TunnelKind::Gre, 0, Checksum::None), true),
            (four, tunnelled(TunnelKind::Gue, 6080, Checksum::None), true),
        ] {
            let expected: BTreeSet<ServiceKey> =
                [key].into_iter().filter(|_| is_not_in_proc).collect();
            let there = Live { services: [(key, service.clone())].into(), ..Live::default() };
            let all = Desired { scope: Scope::All, ..Desired::default() };
            assert_eq!(not_in_proc(&all, &there), expected, "live {service:?}");
            let none = Scope::Limited(Limits::default());
            let elsewhere = Desired { scope: none, ..Desired::default() };
            assert_eq!(not_in_proc(&elsewhere, &there), BTreeSet::new(), "out of scope");
            let named = NamedService::new("dns", service);
            let services = BTreeMap::from([(key, named)]);
            let wanted = Desired { services, ..Desired::default() };
            assert_eq!(not_in_proc(&wanted, &Live::default()), expected, "desired");
        }
    }
}
