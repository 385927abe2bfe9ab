//! `evenkeel show --connections`: shows the connection table with the spec's names.
//!
//! A table may have millions of entries. They are written as they are read, without sorting them. Only
//! the first rows are stored, to align the columns.

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
    let mut table = Table::default();
    match form {
        OutputFormat::Text => output.answer(table.row(HEADING.map(str::to_owned)))?,
        OutputFormat::Json => output.answer("{\n  \"format\": 1,\n  \"connections\": [")?,
    }
    for connection in evenkeel_engine::connections(&live.services)? {
        let connection = connection?;
        if !is_selected(&connection) {
            continue;
        }
        match form {
            OutputFormat::Text => output.answer(table.row(cells(&connection, named)))?,
            OutputFormat::Json => {
                let gap = if shown == 0 { "\n    " } else { ",\n    " };
                output.answer(format_args!("{gap}{}", document(&connection, named)))?;
            }
        }
        shown += 1;
    }
    match form {
        OutputFormat::Text => output.answer(table.remaining())?,
        OutputFormat::Json => output.answer(if shown == 0 { "]\n}\n" } else { "\n  ]\n}\n" })?,
    }
    Ok(CommandExit::Done)
}

const COLUMNS: usize = 7;
const HEADING: [&str; COLUMNS] =
    ["PROTOCOL", "CLIENT", "SERVICE", "REAL SERVER", "STATE", "EXPIRES", ""];

/// How many rows are read before the first one is written.
const FIRST_ROWS: usize = 1_000;

/// A table whose columns are as wide as its first rows need. They widen where a later row needs more.
#[derive(Default)]
struct Table {
    widths: [usize; COLUMNS],
    first_rows: Vec<[String; COLUMNS]>,
    is_started: bool,
}

impl Table {
    /// Adds a row, and returns the lines that can be written by now.
    fn row(&mut self, cells: [String; COLUMNS]) -> String {
        for (cell, width) in cells.iter().zip(&mut self.widths) {
            *width = (*width).max(cell.chars().count());
        }
        if self.is_started {
            return self.line(&cells);
        }
        self.first_rows.push(cells);
        if self.first_rows.len() < FIRST_ROWS { String::new() } else { self.remaining() }
    }

    /// Returns the lines that wait for more rows.
    fn remaining(&mut self) -> String {
        self.is_started = true;
        let rows = std::mem::take(&mut self.first_rows);
        rows.iter().map(|cells| self.line(cells)).collect()
    }

    fn line(&self, cells: &[String; COLUMNS]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(self.widths) {
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
    fn the_columns_of_the_first_rows_are_aligned() {
        let mut table = Table::default();
        let mut text = table.row(HEADING.map(str::to_owned));
        for client in ["10.0.0.9:1", "[2001:db8::1]:4000"] {
            text += &table.row(cells(&connection(client), &Desired::default()));
        }
        assert_eq!(text, "");
        text = table.remaining();
        let places: Vec<_> = text.lines().map(|line| line.find("192.0.2.1")).collect();
        assert_eq!(places[1..], [text.find("SERVICE"); 2], "{text}");
    }

    #[test]
    fn every_row_of_a_long_table_is_written_once_and_in_its_place() {
        let mut table = Table::default();
        let rows = 2 * FIRST_ROWS;
        let client = |row: usize| format!("10.0.0.9:{row}");
        let mut text = String::new();
        for row in 1..=rows {
            text += &table.row(cells(&connection(&client(row)), &Desired::default()));
        }
        text += &table.remaining();
        let found: Vec<_> = text.lines().filter_map(|it| it.split_whitespace().nth(1)).collect();
        assert_eq!(found, (1..=rows).map(client).collect::<Vec<_>>());
    }

    #[test]
    fn control_characters_from_clients_are_escaped() {
        let row = Table::default().line(&cells(&connection("10.0.0.9:1"), &Desired::default()));
        assert!(row.ends_with("  sip a\\u{1b}[2J\n"), "{row}");
    }
}
