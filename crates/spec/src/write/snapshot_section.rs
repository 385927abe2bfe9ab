//! Writes the `observed:` section of a snapshot.

use evenkeel_model::statistics::{RealServerStatistics, ServiceStatistics, Traffic};
use evenkeel_model::{Link, LiveHostObject, Owner, ServiceKey};

use serde_json::{Value as Json, json};

use super::input::Moment;
use super::scalar::{list, text};
use super::{WriteInput, line};
use crate::snapshot_section::SnapshotSection;

/// What the numbers are.
const COLUMNS: &str = "  # Of a service: connections, packets in, packets out, bytes in, bytes out. Of a real server, \
                       before these:\n  # active, inactive and persistent connections. Zeros at the end are left out.\n";

pub(super) fn write(input: &WriteInput, out: &mut String) {
    let Moment { time, kernel, statistics } = &input.moment;
    let mut section = String::new();
    for (key, noted) in [("time", time), ("kernel", kernel)] {
        if let Some(noted) = noted {
            line(&mut section, format_args!("  {key}: {}", text(noted)));
        }
    }
    if let Some(observed) = &input.observed {
        host(observed, &mut section);
    }
    if let Some(statistics) = statistics {
        let counted =
            input.services.keys().filter_map(|key| Some((key, statistics.services.get(key)?)));
        let counted: Vec<_> = counted.collect();
        if !counted.is_empty() {
            section.push_str(COLUMNS);
        }
        line(
            &mut section,
            format_args!("  counters:{}", if counted.is_empty() { " []" } else { "" }),
        );
        for (key, statistics) in counted {
            counters(key, statistics, &mut section);
        }
    }
    let is_asked = input.observed.is_some() || !section.is_empty();
    if is_asked {
        out.push_str("\n# Observations beside the services. A spec ignores them.\nobserved:\n");
        out.push_str(if section.is_empty() { "  {}\n" } else { &section });
    }
}

fn host(observed: &SnapshotSection, out: &mut String) {
    let SnapshotSection { addresses, labels, host_objects, links, modules, statistics: _ } =
        observed;
    if let Some(addresses) = addresses {
        line(out, format_args!("  addresses:{}", if addresses.is_empty() { " []" } else { "" }));
        for (binding, owner) in addresses {
            let owner = match owner {
                Owner::Evenkeel => "evenkeel",
                Owner::Other => "other",
            };
            let address = text(&format!("{}/{}", binding.address, binding.prefix));
            let interface = text(&binding.interface);
            let label = labels.get(binding).map(|label| format!(", label: {}", text(label)));
            let label = label.unwrap_or_default();
            line(
                out,
                format_args!(
                    "    - {{ address: {address}, interface: {interface}, owner: {owner}{label} }}"
                ),
            );
        }
    }
    if let Some(objects) = host_objects {
        line(out, format_args!("  host_objects:{}", if objects.is_empty() { " []" } else { "" }));
        for (object, LiveHostObject { owner, value }) in objects {
            let mut item = json!(object);
            merge(&mut item, json!(value));
            merge(&mut item, json!({ "owner": owner }));
            line(out, format_args!("    - {}", flow(&item)));
        }
    }
    if let Some(links) = links {
        line(out, format_args!("  interfaces:{}", if links.is_empty() { " []" } else { "" }));
        for (name, Link { up, dummy, owner }) in links {
            let name = text(name);
            let ours = match owner {
                Owner::Evenkeel => ", owner: evenkeel",
                Owner::Other => "",
            };
            line(out, format_args!("    - {{ name: {name}, up: {up}, dummy: {dummy}{ours} }}"));
        }
    }
    if let Some(modules) = modules {
        line(out, format_args!("  modules: {}", list(modules.iter().map(|name| text(name)))));
    }
}

/// Adds the keys of another value, at every level.
fn merge(to: &mut Json, from: Json) {
    match (to, from) {
        (Json::Object(to), Json::Object(from)) => {
            for (key, value) in from {
                merge(to.entry(key).or_insert(Json::Null), value);
            }
        }
        (to, from) => *to = from,
    }
}

/// Writes a value in YAML's flow style; keys without a value are left out.
fn flow(value: &Json) -> String {
    match value {
        Json::Object(entries) => {
            let set = entries.iter().filter(|(_, value)| !value.is_null());
            let entries: Vec<String> =
                set.map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Json::Array(items) => list(items.iter().map(flow)),
        Json::String(word) => text(word),
        other => other.to_string(),
    }
}

/// Writes the counters of a service, a line for each real server: they are most of a large snapshot.
fn counters(key: &ServiceKey, statistics: &ServiceStatistics, out: &mut String) {
    let ServiceStatistics { traffic, real_servers } = statistics;
    line(out, format_args!("    - service: {}", text(&key.to_string())));
    let traffic = numbers(&traffic_numbers(*traffic));
    if !traffic.is_empty() {
        line(out, format_args!("      traffic: {}", text(traffic.trim_start())));
    }
    line(
        out,
        format_args!("      real_servers:{}", if real_servers.is_empty() { " []" } else { "" }),
    );
    for (key, counted) in real_servers {
        let RealServerStatistics {
            active_connections,
            inactive_connections,
            persistent_connections,
            traffic,
        } = counted;
        let connections = [*active_connections, *inactive_connections, *persistent_connections];
        let all = connections.map(u64::from).into_iter().chain(traffic_numbers(*traffic));
        let all: Vec<u64> = all.collect();
        line(out, format_args!("        - {}", text(&format!("{key}{}", numbers(&all)))));
    }
}

fn traffic_numbers(traffic: Traffic) -> [u64; 5] {
    // Rates are momentary, and no step of a plan uses them.
    let Traffic { connections, packets_in, packets_out, bytes_in, bytes_out, rates: _ } = traffic;
    [connections, packets_in, packets_out, bytes_in, bytes_out]
}

/// The numbers without zeros at their end, each after a space.
fn numbers(all: &[u64]) -> String {
    let number = all.iter().rposition(|it| *it != 0).map_or(0, |last| last + 1);
    all[..number].iter().map(|it| format!(" {it}")).collect()
}
