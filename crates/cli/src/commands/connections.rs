//! `evenkeel show --connections`: shows the connection table with the spec's names.
//!
//! A table may have millions of entries. Each is written as it is read, without storing or sorting
//! them.

use std::fmt::Write as _;

use evenkeel_engine::Connection;
use evenkeel_model::{Desired, Live};
use evenkeel_plan::ServiceSelection;
use serde_json::{Value, json};

use crate::args::OutputFormat;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::output::Output;

pub(crate) fn run(
    live: &Live,
    named: &Desired,
    target: Option<&ServiceSelection>,
    form: OutputFormat,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let is_selected = |connection: &Connection| match target {
        None => true,
        Some(target) => connection.service.is_some_and(|key| target.services().contains(&key)),
    };
    let mut shown = 0_usize;
    let mut columns = Columns::default();
    match form {
        OutputFormat::Text => output.answer(columns.row(&HEADING.map(str::to_owned)))?,
        OutputFormat::Json => output.answer("{\n  \"format\": 1,\n  \"connections\": [")?,
    }
    for connection in evenkeel_engine::connections(&live.services)? {
        let connection = connection?;
        if !is_selected(&connection) {
            continue;
        }
        match form {
            OutputFormat::Text => output.answer(columns.row(&cells(&connection, named)))?,
            OutputFormat::Json => {
                let gap = if shown == 0 { "\n    " } else { ",\n    " };
                output.answer(format_args!("{gap}{}", document(&connection, named)))?;
            }
        }
        shown += 1;
    }
    if form == OutputFormat::Json {
        output.answer(if shown == 0 { "]\n}\n" } else { "\n  ]\n}\n" })?;
    }
    Ok(CommandExit::Done)
}

const COLUMNS: usize = 7;
const HEADING: [&str; COLUMNS] =
    ["PROTOCOL", "CLIENT", "SERVICE", "REAL SERVER", "STATE", "EXPIRES", ""];

/// Columns that widen as rows are written, because the widest entry is not known in advance.
#[derive(Default)]
struct Columns([usize; COLUMNS]);

impl Columns {
    fn row(&mut self, cells: &[String; COLUMNS]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&mut self.0) {
            *width = (*width).max(cell.chars().count());
            // Writing to a String cannot fail.
            let _written = write!(line, "{cell:width$}  ");
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn cells(connection: &Connection, named: &Desired) -> [String; COLUMNS] {
    let Connection { protocol, client, to, service, real_server, state, expires, engine } =
        connection;
    [
        protocol.to_string(),
        client.to_string(),
        match (service, to) {
            (Some(key), _) => named.label(key).to_string(),
            (None, Some(to)) => format!("{to}/{protocol}"),
            (None, None) => String::new(),
        },
        real_server.to_string(),
        state.to_string(),
        format!("{expires}s"),
        match engine {
            // The client chose the data: it is escaped to keep control characters from the terminal.
            Some((engine, data)) => format!("{engine} {}", data.escape_debug()),
            None => String::new(),
        },
    ]
}

fn document(connection: &Connection, named: &Desired) -> Value {
    let Connection { protocol, client, to, service, real_server, state, expires, engine } =
        connection;
    let name = service.and_then(|key| named.services.get(&key)).map(|named| &named.name);
    json!({
        "protocol": protocol,
        "client": client,
        "to": to,
        "name": name,
        "service": service.map(|key| key.to_string()),
        "real_server": real_server,
        "state": state,
        "expires": expires,
        "engine": engine.as_ref().map(|(engine, _)| engine),
        "engine_data": engine.as_ref().map(|(_, data)| data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(client: &str) -> Connection {
        Connection {
            protocol: "tcp".into(),
            client: client.parse().expect("an address and a port"),
            to: Some("192.0.2.1:80".parse().expect("an address and a port")),
            service: None,
            real_server: "10.0.0.1:80".parse().expect("an address and a port"),
            state: "ESTABLISHED".into(),
            expires: 899,
            engine: Some(("sip".into(), "a\u{1b}[2J".into())),
        }
    }

    #[test]
    fn rows_are_aligned_to_the_widest_so_far() {
        let mut columns = Columns::default();
        let mut row = |client: &str| columns.row(&cells(&connection(client), &Desired::default()));
        let first = row("[2001:db8::1]:4000");
        let next = row("10.0.0.9:1");
        assert_eq!(first.find("192.0.2.1"), next.find("192.0.2.1"), "{first}{next}");
    }

    #[test]
    fn control_characters_from_clients_are_escaped() {
        let row = Columns::default().row(&cells(&connection("10.0.0.9:1"), &Desired::default()));
        assert!(row.ends_with("  sip a\\u{1b}[2J\n"), "{row}");
    }
}
