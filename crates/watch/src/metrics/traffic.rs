//! Exports the kernel's counters for the services of the active spec, with the names in the spec.
//!
//! They are read at a scrape and cached for a moment, so that many scrapes cost one reading. The number
//! of series is limited: if there are too many real servers, all of them are omitted, rather than
//! some that would change from one scrape to the next.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use evenkeel_model::statistics::{self, Statistics};
use evenkeel_model::{Desired, Live, ServiceKey};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Format, PREFIX};

/// How long a reading is cached.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Reads the kernel's counters; it may block.
pub(crate) trait TrafficReader: Send {
    /// Reads the current counters.
    ///
    /// # Errors
    /// A message that says why they cannot be read.
    fn read(&mut self) -> Result<TrafficReading, String>;
}

/// The kernel's counters, with what is needed to export them.
#[derive(Debug)]
pub(crate) struct TrafficReading {
    /// The active spec: its services are exported, with its names.
    pub desired: Arc<Desired>,
    /// The table: weights, and which of the services exist.
    pub live: Live,
    /// The counters.
    pub statistics: Statistics,
}

/// Which counters of the kernel are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficOptions {
    /// The kinds of objects.
    pub detail: Detail,
    /// The maximum number of services and real servers. Beyond it all real servers are omitted, and if
    /// the services alone are more, the last of them by their keys.
    pub limit: usize,
}

impl Default for TrafficOptions {
    /// All, up to what Prometheus handles well from one target, with over 10 series each.
    fn default() -> Self {
        Self { detail: Detail::RealServers, limit: 10_000 }
    }
}

/// The kinds of objects whose counters are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// None; the kernel is not read for it.
    Off,
    /// Services.
    Services,
    /// Services and the real servers in them.
    RealServers,
}

/// The reader of the counters, with the cached text.
pub(super) struct TrafficExporter {
    reader: Box<dyn TrafficReader>,
    options: TrafficOptions,
    cached: Option<CachedRows>,
    /// Why the last reading failed: logged once, not at each scrape.
    failure: Option<String>,
}

struct CachedRows {
    at: Instant,
    open: Bytes,
    classic: Option<Bytes>,
}

impl TrafficExporter {
    /// Creates it; `None` if nothing is to be exported.
    pub(super) fn new(reader: Box<dyn TrafficReader>, options: TrafficOptions) -> Option<Self> {
        let source = Self { reader, options, cached: None, failure: None };
        (options.detail != Detail::Off).then_some(source)
    }

    /// Returns the text, including the end of the exposition.
    pub(super) fn text(&mut self, format: Format) -> Bytes {
        let cached = match self.cached.take() {
            Some(cached) if cached.at.elapsed() < MAX_AGE => cached,
            _ => {
                let open = Bytes::from(self.read());
                CachedRows { at: Instant::now(), open, classic: None }
            }
        };
        let cached = self.cached.insert(cached);
        match format {
            Format::OpenMetrics => cached.open.clone(),
            Format::Classic => {
                let open = &cached.open;
                let classic = || Bytes::from(format.of(String::from_utf8_lossy(open).into_owned()));
                cached.classic.get_or_insert_with(classic).clone()
            }
        }
    }

    fn read(&mut self) -> String {
        let table = match self.reader.read() {
            Ok(reading) => {
                if self.failure.take().is_some() {
                    tracing::info!("traffic counters can be read again");
                }
                Some(Table::new(&reading, self.options))
            }
            Err(error) => {
                if self.failure.as_ref() != Some(&error) {
                    tracing::warn!(%error, "cannot read traffic counters for the metrics");
                }
                self.failure = Some(error);
                None
            }
        };
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Rows(table)));
        let mut text = String::new();
        // Writing to a string does not fail.
        if encode_registry(&mut text, &registry).is_err() {
            tracing::error!("the traffic metrics could not be written");
        }
        text.push_str(Format::OpenMetrics.end());
        text
    }
}

impl fmt::Debug for TrafficExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficExporter").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The rows to export; `None` if nothing could be read.
#[derive(Debug)]
struct Rows(Option<Table>);

#[derive(Debug, Default)]
struct Table {
    services: Vec<Row>,
    real_servers: Vec<Row>,
    omitted: usize,
}

#[derive(Debug)]
struct Row {
    labels: Vec<(&'static str, String)>,
    traffic: statistics::Traffic,
    active: u64,
    inactive: u64,
    persistent: u64,
    /// 0 for a service, which has none.
    weight: u32,
}

impl Table {
    fn new(reading: &TrafficReading, options: TrafficOptions) -> Self {
        let TrafficReading { desired, live, statistics } = reading;
        let TrafficOptions { detail, limit } = options;
        let shown = || {
            desired.services.iter().filter_map(|(key, named)| {
                Some((key, &named.name, live.services.get(key)?, statistics.services.get(key)?))
            })
        };
        let services = shown().count();
        let real_servers = match detail {
            Detail::RealServers => shown().map(|(_, _, live, _)| live.real_servers.len()).sum(),
            Detail::Off | Detail::Services => 0,
        };
        let with_real_servers = detail == Detail::RealServers && services + real_servers <= limit;
        let mut table = Self::default();
        for (key, name, service, counted) in shown().take(limit) {
            let labels = labels(name, key);
            if with_real_servers {
                for (real_server, config) in service.real_servers.iter() {
                    let mut labels = labels.clone();
                    labels.push(("real_server", real_server.to_string()));
                    let counted = counted.real_servers.get(real_server).copied();
                    let counted = counted.unwrap_or_default();
                    table.real_servers.push(Row {
                        labels,
                        traffic: counted.traffic,
                        active: counted.active_connections.into(),
                        inactive: counted.inactive_connections.into(),
                        persistent: counted.persistent_connections.into(),
                        weight: config.weight,
                    });
                }
            }
            let sum = |of: fn(&statistics::RealServerStatistics) -> u32| {
                counted.real_servers.values().map(|each| u64::from(of(each))).sum()
            };
            table.services.push(Row {
                labels,
                traffic: counted.traffic,
                active: sum(|each| each.active_connections),
                inactive: sum(|each| each.inactive_connections),
                persistent: sum(|each| each.persistent_connections),
                weight: 0,
            });
        }
        let all = services + real_servers;
        table.omitted = all - table.services.len() - table.real_servers.len();
        table
    }
}

fn labels(name: &str, key: &ServiceKey) -> Vec<(&'static str, String)> {
    let mut labels = vec![("service", name.to_owned())];
    match key {
        ServiceKey::Address { address, port, protocol } => labels.extend([
            ("vip", address.to_string()),
            ("port", port.to_string()),
            ("protocol", protocol.to_string()),
        ]),
        ServiceKey::Fwmark { family, fwmark } => {
            labels.extend([("fwmark", fwmark.to_string()), ("family", family.to_string())]);
        }
    }
    labels
}

/// A metric of a service or a real server: the suffix of the name, the help text, in which the noun
/// replaces `{}`, the type and the value.
type Shown = (&'static str, &'static str, MetricType, fn(&Row) -> u64);

const SHOWN: [Shown; 13] = [
    (
        "connections",
        "Connections scheduled to the {} since it was added or its counters were reset",
        MetricType::Counter,
        |row| row.traffic.connections,
    ),
    ("incoming_packets", "Packets from clients to the {}", MetricType::Counter, |row| {
        row.traffic.packets_in
    }),
    (
        "outgoing_packets",
        "Packets from the {} to clients; 0 in DR and TUN, whose replies bypass this host",
        MetricType::Counter,
        |row| row.traffic.packets_out,
    ),
    ("incoming_bytes", "Bytes from clients to the {}", MetricType::Counter, |row| {
        row.traffic.bytes_in
    }),
    (
        "outgoing_bytes",
        "Bytes from the {} to clients; 0 in DR and TUN",
        MetricType::Counter,
        |row| row.traffic.bytes_out,
    ),
    (
        "connections_per_second",
        "New connections per second to the {} (kernel estimate)",
        MetricType::Gauge,
        |row| row.traffic.rates.connections,
    ),
    (
        "incoming_packets_per_second",
        "Packets per second from clients to the {} (kernel estimate)",
        MetricType::Gauge,
        |row| row.traffic.rates.packets_in,
    ),
    (
        "outgoing_packets_per_second",
        "Packets per second from the {} to clients (kernel estimate)",
        MetricType::Gauge,
        |row| row.traffic.rates.packets_out,
    ),
    (
        "incoming_bytes_per_second",
        "Bytes per second from clients to the {} (kernel estimate)",
        MetricType::Gauge,
        |row| row.traffic.rates.bytes_in,
    ),
    (
        "outgoing_bytes_per_second",
        "Bytes per second from the {} to clients (kernel estimate)",
        MetricType::Gauge,
        |row| row.traffic.rates.bytes_out,
    ),
    (
        "active_connections",
        "Connections to the {} that are established (ActiveConn of `ipvsadm -Ln`)",
        MetricType::Gauge,
        |row| row.active,
    ),
    (
        "inactive_connections",
        "Connections to the {} in any other state (InActConn)",
        MetricType::Gauge,
        |row| row.inactive,
    ),
    (
        "persistent_connections",
        "Persistence entries that point to the {}",
        MetricType::Gauge,
        |row| row.persistent,
    ),
];

const WEIGHT: Shown =
    ("weight", "The live weight of the {}; 0 while it drains", MetricType::Gauge, |row| {
        row.weight.into()
    });

impl Collector for Rows {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 if the last reading of the IPVS counters succeeded";
        plain(&mut encoder, "traffic_readable", help, u64::from(self.0.is_some()))?;
        let Some(Table { services, real_servers, omitted }) = &self.0 else { return Ok(()) };
        let help = "Services and real servers without traffic metrics, because there are more than `--traffic-limit`";
        plain(&mut encoder, "traffic_objects_omitted", help, *omitted as u64)?;
        for shown in &SHOWN {
            rows(&mut encoder, "service", "service", shown, services)?;
        }
        for shown in SHOWN.iter().chain([&WEIGHT]) {
            rows(&mut encoder, "real_server", "real server", shown, real_servers)?;
        }
        Ok(())
    }
}

fn plain(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let help = format!("{help}.");
    encoder.encode_descriptor(name, &help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn rows(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    noun: &str,
    (name, help, kind, value): &Shown,
    rows: &[Row],
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let (name, help) = (format!("{prefix}_{name}"), format!("{}.", help.replace("{}", noun)));
    let mut family = encoder.encode_descriptor(&name, &help, None, *kind)?;
    for row in rows {
        let mut metric: MetricEncoder<'_> = family.encode_family(&row.labels)?;
        match kind {
            MetricType::Counter => {
                metric.encode_counter::<NoLabelSet, u64, f64>(&value(row), None)?
            }
            _ => metric.encode_gauge(&value(row))?,
        }
    }
    Ok(())
}
