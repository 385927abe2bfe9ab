//! `evenkeel show`: shows the live table as `ipvsadm -Ln` does, with the spec's names.

use evenkeel_engine::Kernel;
use evenkeel_model::statistics::{RealServerStatistics, Statistics};
use evenkeel_model::{
    Desired, Live, NamedService, RealServer, RealServerKey, RealServers, Service, ServiceKey,
};
use evenkeel_plan::ServiceSelection;
use serde_json::{Value, json};

use crate::args::{GlobalArgs, ShowArgs, ShowOutput};
use crate::commands::connections;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::open_for_reading;
use crate::output::Output;

pub(crate) fn run(
    arguments: &ShowArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let named = if arguments.spec.is_empty() {
        Desired::default()
    } else {
        crate::input::spec(&arguments.spec, &arguments.parameters, global, output)?.desired
    };
    let mut host = open_for_reading(global, output)?;
    let request = host.read_request(&named);
    let (mut live, statistics) = host.kernel.observe_with_statistics(&request)?;
    if arguments.connections {
        let target = target(&arguments.target, &named, &live)?;
        return connections::run(&live, &named, target.as_ref(), arguments.output, output);
    }
    if let Some(target) = target(&arguments.target, &named, &live)? {
        live.services.retain(|key, _| target.services().contains(key));
    }
    let answer = match arguments.output {
        ShowOutput::Text => text(&live, &statistics, &named),
        ShowOutput::Json => format!("{:#}\n", document(&live, &statistics, &named)),
    };
    output.answer(answer)?;
    Ok(CommandExit::Done)
}

/// The selected services: services of the spec, or live services that it does not list, by their
/// keys; `None` for all.
fn target(
    selectors: &[String],
    named: &Desired,
    live: &Live,
) -> Result<Option<ServiceSelection>, Error> {
    if selectors.is_empty() {
        return Ok(None);
    }
    let nameless = live.services.iter().map(|(key, service)| {
        let service = Service { config: service.config.clone(), real_servers: RealServers::new() };
        (*key, NamedService::new(key.to_string(), service))
    });
    let nameless = Desired { services: nameless.collect(), ..Desired::default() };
    let target = ServiceSelection::new(selectors, named, Some(&nameless));
    target.map(Some).map_err(|unknown| Error::Usage(unknown.to_string()))
}

fn text(live: &Live, statistics: &Statistics, named: &Desired) -> String {
    let mut rows = vec![[
        "SERVICE".to_owned(),
        "FORWARD".to_owned(),
        "WEIGHT".to_owned(),
        "ACTIVE".to_owned(),
        "INACTIVE".to_owned(),
    ]];
    for (key, service) in &live.services {
        let label = format!("{} {}", named.label(key), service_text(service));
        rows.push([label, String::new(), String::new(), String::new(), String::new()]);
        for (real_server, value) in &service.real_servers {
            let counted = counters(statistics, key, real_server);
            rows.push([
                format!("  -> {real_server}"),
                value.forward.to_string(),
                value.weight.to_string(),
                counted.active_connections.to_string(),
                counted.inactive_connections.to_string(),
            ]);
        }
    }
    table(&rows)
}

/// Formats rows as a table. Rows with only a first cell do not widen the first column.
fn table(rows: &[[String; 5]]) -> String {
    let mut widths = [0; 5];
    for row in rows.iter().filter(|row| !row[1].is_empty()) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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

fn counters(
    statistics: &Statistics,
    service: &ServiceKey,
    real_server: &RealServerKey,
) -> RealServerStatistics {
    let service = statistics.services.get(service);
    service.and_then(|it| it.real_servers.get(real_server)).copied().unwrap_or_default()
}

fn document(live: &Live, statistics: &Statistics, named: &Desired) -> Value {
    let services: Vec<Value> = live
        .services
        .iter()
        .map(|(key, service)| {
            let real_servers: Vec<Value> = service
                .real_servers
                .iter()
                .map(|(real_server, value)| {
                    let counted = counters(statistics, key, real_server);
                    real_server_document(real_server, value, counted)
                })
                .collect();
            json!({
                "name": named.services.get(key).map(|named| &named.name),
                "service": key.to_string(),
                "scheduler": service.config.scheduler,
                "traffic": statistics.services.get(key).map(|it| it.traffic),
                "real_servers": real_servers,
            })
        })
        .collect();
    json!({ "format": 1, "services": services })
}

fn real_server_document(
    key: &RealServerKey,
    value: &RealServer,
    counted: RealServerStatistics,
) -> Value {
    json!({
        "address": key.address,
        "port": key.port,
        "forward": value.forward.to_string(),
        "weight": value.weight,
        "upper_threshold": value.upper_threshold,
        "lower_threshold": value.lower_threshold,
        "statistics": counted,
    })
}
