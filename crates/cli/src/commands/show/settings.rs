//! The settings of the network namespace as text: timeouts and sync daemons.

use std::fmt::Display;

use evenkeel_model::{Live, SyncDaemon, Timeouts};

use crate::commands::table::{Align, Table};

/// The listings that are asked for, with an empty line between them.
pub(super) fn text(live: &Live, with_timeouts: bool, with_sync: bool) -> String {
    let timeouts = with_timeouts.then(|| timeouts(live));
    let sync = with_sync.then(|| sync(live));
    let listings: Vec<String> = [timeouts, sync].into_iter().flatten().collect();
    listings.join("\n")
}

fn timeouts(live: &Live) -> String {
    let mut table = Table::new("TIMEOUT", &[("SECONDS", Align::Right)]);
    if let Some(Timeouts { tcp, tcp_fin, udp }) = live.timeouts {
        for (name, seconds) in [("tcp", tcp), ("tcp_fin", tcp_fin), ("udp", udp)] {
            table.row(name, vec![seconds.to_string()]);
        }
    }
    table.text()
}

fn sync(live: &Live) -> String {
    let headings = [
        ("INTERFACE", Align::Left),
        ("ID", Align::Right),
        ("MAX-LENGTH", Align::Right),
        ("GROUP", Align::Left),
        ("PORT", Align::Right),
        ("TTL", Align::Right),
    ];
    let mut table = Table::new("SYNC", &headings);
    for (state, SyncDaemon { interface, id, max_length, group, port, ttl }) in &live.sync {
        table.row(
            state.to_string(),
            vec![
                interface.to_string(),
                id.to_string(),
                cell(*max_length),
                cell(*group),
                cell(*port),
                cell(*ttl),
            ],
        );
    }
    table.text()
}

/// `-` where the kernel reports no value, as before Linux 4.3.
fn cell(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use evenkeel_model::SyncState;

    use super::*;

    #[test]
    fn the_listings_are_separated_by_an_empty_line() {
        let daemon = SyncDaemon {
            interface: "eth0".into(),
            id: 7,
            max_length: Some(1472),
            group: None,
            port: Some(8848),
            ttl: Some(1),
        };
        let live = Live {
            timeouts: Some(Timeouts::INITIAL),
            sync: [(SyncState::Backup, daemon)].into(),
            ..Live::default()
        };
        let expected = "\
TIMEOUT  SECONDS
tcp          900
tcp_fin      120
udp          300

SYNC    INTERFACE  ID  MAX-LENGTH  GROUP  PORT  TTL
backup  eth0        7        1472  -      8848    1
";
        assert_eq!(text(&live, true, true), expected);
    }
}
