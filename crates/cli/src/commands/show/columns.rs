//! The table of services and real servers as text.

use evenkeel_model::check::Check;
use evenkeel_model::statistics::{RealServerStatistics, Traffic};
use evenkeel_model::{
    Desired, HealthFacts, RealServer, RealServerKey, ServerHealth, Service, ServiceKey, Span,
    printable_name,
};

use super::Shown;
use super::number::number;
use crate::args::ShowArgs;
use crate::commands::table::{Align, Table};

/// A column of the table beside the names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Forward,
    /// A number of each real server.
    RealServer(&'static str, fn(&RealServer, &RealServerStatistics) -> u32),
    /// A counter or rate of each service and real server.
    Traffic(&'static str, fn(&Traffic) -> u64),
    /// What the health checks of a real server found.
    Health(&'static str, fn(&Checked<'_>) -> String),
}

/// A real server with checks.
pub(super) struct Checked<'a> {
    health: &'a ServerHealth,
    checks: &'a [Check],
}

const HEALTH: [Column; 4] = [
    Column::Health("HEALTH", |it| if it.health.is_up() { "up" } else { "down" }.to_owned()),
    Column::Health("SINCE", |it| Span(it.health.age.as_secs()).to_string()),
    Column::Health("CHECK", |it| {
        let kinds = it.checks.iter().map(|check| check.kind.name().to_string());
        kinds.collect::<Vec<_>>().join(",")
    }),
    Column::Health("WHY", |it| printable_name(&it.health.reason).to_string()),
];

const USUAL: [Column; 4] = [
    Column::Forward,
    Column::RealServer("WEIGHT", |real_server, _| real_server.weight),
    Column::RealServer("ACTIVE", |_, counted| counted.active_connections),
    Column::RealServer("INACTIVE", |_, counted| counted.inactive_connections),
];

const PERSISTENT: [Column; 1] =
    [Column::RealServer("PERSISTENT", |_, counted| counted.persistent_connections)];

const THRESHOLDS: [Column; 2] = [
    Column::RealServer("UPPER", |real_server, _| real_server.upper_threshold),
    Column::RealServer("LOWER", |real_server, _| real_server.lower_threshold),
];

const STATS: [Column; 5] = [
    Column::Traffic("CONNS", |traffic| traffic.connections),
    Column::Traffic("PACKETS-IN", |traffic| traffic.packets_in),
    Column::Traffic("PACKETS-OUT", |traffic| traffic.packets_out),
    Column::Traffic("BYTES-IN", |traffic| traffic.bytes_in),
    Column::Traffic("BYTES-OUT", |traffic| traffic.bytes_out),
];

const RATES: [Column; 5] = [
    Column::Traffic("CONNS/S", |traffic| traffic.rates.connections),
    Column::Traffic("PACKETS-IN/S", |traffic| traffic.rates.packets_in),
    Column::Traffic("PACKETS-OUT/S", |traffic| traffic.rates.packets_out),
    Column::Traffic("BYTES-IN/S", |traffic| traffic.rates.bytes_in),
    Column::Traffic("BYTES-OUT/S", |traffic| traffic.rates.bytes_out),
];

/// The columns that are asked for. Counters and rates take the place of the usual columns, beside
/// which they would be too wide for a terminal; others are added to them.
pub(super) fn columns(arguments: &ShowArgs, has_health: bool) -> Vec<Column> {
    let ShowArgs { stats, rates, thresholds, persistent, .. } = arguments;
    let mut columns = Vec::new();
    for (is_shown, group) in [
        (!stats && !rates, &USUAL[..]),
        (has_health && !stats && !rates, &HEALTH),
        (*persistent, &PERSISTENT),
        (*thresholds, &THRESHOLDS),
        (*stats, &STATS),
        (*rates, &RATES),
    ] {
        if is_shown {
            columns.extend(group);
        }
    }
    columns
}

impl Column {
    fn heading(&self) -> (&'static str, Align) {
        match self {
            Self::Forward => ("FORWARD", Align::Left),
            Self::Health(heading, _) => (heading, Align::Left),
            Self::RealServer(heading, _) | Self::Traffic(heading, _) => (heading, Align::Right),
        }
    }
}

/// A table with these columns.
pub(super) struct Listing {
    pub(super) columns: Vec<Column>,
    /// Whether large counters are written in full.
    pub(super) is_exact: bool,
}

impl Listing {
    /// The services, each with its real servers below.
    pub(super) fn text(&self, shown: &Shown<'_>) -> String {
        let Shown { live, statistics, named, health } = shown;
        let headings: Vec<_> = self.columns.iter().map(Column::heading).collect();
        let mut table = Table::new("SERVICE", &headings);
        // Numbers of services need a first column that is not much wider than the names.
        let has_traffic = self.columns.iter().any(|column| matches!(column, Column::Traffic(..)));
        for (key, service) in &live.services {
            let counted = statistics.services.get(key).cloned().unwrap_or_default();
            let label = named.label(key);
            match has_traffic {
                true => table.row(label.to_string(), self.service_cells(&counted.traffic)),
                false => table.row(format!("{label} {}", service_text(service)), Vec::new()),
            }
            for (real_server, value) in &service.real_servers {
                let counted = counted.real_servers.get(real_server).copied().unwrap_or_default();
                let checked = checked(named, health, key, real_server);
                let cells = self.real_server_cells(value, &counted, checked.as_ref());
                table.row(format!("  -> {real_server}"), cells);
            }
            // Those that the checks took out of the table.
            let of_service = health.servers.iter().filter(|((it, _), _)| it == key);
            let is_there = |it: &RealServerKey| service.real_servers.get(it).is_some();
            for ((_, real_server), _) in
                of_service.filter(|((_, it), health)| !is_there(it) && !health.is_up())
            {
                let checked = checked(named, health, key, real_server);
                let cells = self.columns.iter().map(|column| match (column, &checked) {
                    (Column::Health(_, text), Some(checked)) => text(checked),
                    _ => "-".to_owned(),
                });
                table.row(format!("  -> {real_server}"), cells.collect());
            }
        }
        table.text()
    }

    fn service_cells(&self, traffic: &Traffic) -> Vec<String> {
        let cells = self.columns.iter().map(|column| match column {
            Column::Forward | Column::RealServer(..) | Column::Health(..) => String::new(),
            Column::Traffic(_, value) => number(value(traffic), self.is_exact),
        });
        cells.collect()
    }

    fn real_server_cells(
        &self,
        value: &RealServer,
        counted: &RealServerStatistics,
        checked: Option<&Checked<'_>>,
    ) -> Vec<String> {
        let cells = self.columns.iter().map(|column| match column {
            Column::Health(_, text) => checked.map(text).unwrap_or_default(),
            Column::Forward => value.forward.to_string(),
            Column::RealServer(_, number) => number(value, counted).to_string(),
            Column::Traffic(_, value) => number(value(&counted.traffic), self.is_exact),
        });
        cells.collect()
    }
}

fn checked<'a>(
    named: &'a Desired,
    facts: &'a HealthFacts,
    service: &ServiceKey,
    real_server: &RealServerKey,
) -> Option<Checked<'a>> {
    let health = facts.of(service, real_server)?;
    let of_service = named.services.get(service)?.health.as_ref()?;
    Some(Checked { health, checks: of_service.checks_of(real_server) })
}

fn service_text(service: &Service) -> String {
    let config = &service.config;
    let mut selectors = vec![config.scheduler.to_string()];
    selectors.extend(config.scheduler_flags.names(&config.scheduler).map(ToOwned::to_owned));
    if let Some(persistence) = config.persistence {
        selectors.push(format!("persistence {}s", persistence.timeout));
        if persistence.netmask.prefix() != Some(persistence.netmask.family().host_prefix()) {
            selectors.push(format!("netmask {}", persistence.netmask));
        }
    }
    if let Some(engine) = &config.engine {
        selectors.push(format!("engine {engine}"));
    }
    if config.one_packet {
        selectors.push("one-packet".to_owned());
    }
    selectors.join(" ")
}

#[cfg(test)]
mod tests;
