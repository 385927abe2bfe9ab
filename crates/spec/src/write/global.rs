//! Writes the settings beside services and addresses: timeouts, sync daemons, sysctls, guards.

use evenkeel_model::{DesiredTimeouts, Guards, SyncDaemon, SyncState};

use super::WriteInput;
use super::line;
use super::scalar::{address, text, value};

pub(super) fn write(input: &WriteInput, out: &mut String) {
    timeouts(input.timeouts, out);
    match &input.sync {
        None => {}
        Some(daemons) if daemons.is_empty() => out.push_str("\nsync: []\n"),
        Some(daemons) => {
            out.push_str("\nsync:\n");
            for (state, daemon) in daemons {
                line(out, format_args!("  - {{ {} }}", daemon_keys(*state, daemon)));
            }
        }
    }
    if !input.sysctls.is_empty() {
        out.push_str("\nsysctls:\n");
        for (key, set) in &input.sysctls {
            line(out, format_args!("  {key}: {}", value(set)));
        }
    }
    guards(input.guards, out);
}

fn guards(guards: Guards, out: &mut String) {
    let Guards { mass_delete, mass_delete_from, unbind_in_use } = guards;
    let usual = Guards::default();
    let share = match mass_delete {
        0 => "off".to_owned(),
        percent => format!("{percent}%"),
    };
    let keys = [
        ("mass_delete", share, mass_delete != usual.mass_delete),
        (
            "mass_delete_from",
            mass_delete_from.to_string(),
            mass_delete_from != usual.mass_delete_from,
        ),
        ("unbind_in_use", unbind_in_use.to_string(), unbind_in_use != usual.unbind_in_use),
    ];
    let said = keys.into_iter().filter(|(_, _, said)| *said);
    let said: Vec<String> = said.map(|(key, value, _)| format!("{key}: {value}")).collect();
    if !said.is_empty() {
        line(out, format_args!("\nguards: {{ {} }}", said.join(", ")));
    }
}

fn timeouts(timeouts: DesiredTimeouts, out: &mut String) {
    let DesiredTimeouts { tcp, tcp_fin, udp } = timeouts;
    let written: Vec<_> = [("tcp", tcp), ("tcp_fin", tcp_fin), ("udp", udp)]
        .into_iter()
        .filter_map(|(key, seconds)| Some((key, seconds?)))
        .collect();
    // A kernel with a slower tick accepts longer timeouts than a spec does.
    let is_expressible = |seconds: u32| (1..=DesiredTimeouts::MAX).contains(&seconds);
    let good: Vec<String> = written
        .iter()
        .filter(|(_, seconds)| is_expressible(*seconds))
        .map(|(key, seconds)| format!("{key}: {seconds}"))
        .collect();
    if !good.is_empty() {
        line(out, format_args!("\ntimeouts: {{ {} }}", good.join(", ")));
    }
    for (key, seconds) in written.into_iter().filter(|(_, seconds)| !is_expressible(*seconds)) {
        line(out, format_args!("# left out: the timeout {key}, {seconds} s"));
    }
}

/// The keys of a sync daemon. A number of 0 is not a value of a running daemon.
fn daemon_keys(state: SyncState, daemon: &SyncDaemon) -> String {
    let SyncDaemon { interface, id, max_length, group, port, ttl } = daemon;
    let mut keys = format!("state: {state}, interface: {}, id: {id}", text(interface));
    if let Some(length) = max_length.filter(|length| *length != 0) {
        keys += &format!(", max_length: {length}");
    }
    if let Some(group) = group {
        keys += &format!(", group: {}", address(*group));
    }
    if let Some(port) = port.filter(|port| *port != 0) {
        keys += &format!(", port: {port}");
    }
    if let Some(ttl) = ttl.filter(|ttl| *ttl != 0) {
        keys += &format!(", ttl: {ttl}");
    }
    keys
}
