//! `evenkeel check`: makes the health checks of a spec once.

use std::collections::BTreeMap;

use evenkeel_health::{CheckId, Outcome, RoundReport};
use evenkeel_model::{Live, NamedService};
use evenkeel_plan::render::count;
use evenkeel_workflow::{CheckedServers, check_round, health_jobs, select_live};
use serde_json::{Value, json};

use crate::args::{CheckArgs, GlobalArgs, OutputFormat};
use crate::check_environment::check_environment;
use crate::commands::table::{Align, Table};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::enter;
use crate::input::{HostSpec, of_this_host};
use crate::output::Output;

/// The version of the document.
const FORMAT: u32 = 1;

/// A check of a real server in a service.
struct Line<'a> {
    service: String,
    real_server: String,
    report: &'a RoundReport,
}

pub(crate) fn run(
    arguments: &CheckArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> Result<CommandExit, Error> {
    let HostSpec { loaded, global, .. } =
        of_this_host(&arguments.spec, &arguments.parameters, global, output)?;
    enter(&global)?;
    let mut desired = loaded.desired.clone();
    let nothing = Live::default();
    let selection = select_live(&arguments.services, &desired, &nothing)
        .map_err(|unknown| Error::Usage(unknown.to_string()))?;
    if let Some(selection) = selection {
        desired.services.retain(|key, _| selection.services().contains(key));
    }
    let checked = CheckedServers::new(&desired);
    let jobs = health_jobs(&desired, &nothing);
    let reports = check_round(&check_environment(), jobs)?;
    let by_id: BTreeMap<CheckId, &RoundReport> = reports.iter().map(|it| (it.id, it)).collect();
    let lines: Vec<Line<'_>> = checked
        .iter()
        .flat_map(|((service, key), ids)| {
            let reports = ids.iter().filter_map(|id| by_id.get(id).copied());
            let service = desired.label(service).to_string();
            reports.map(move |report| Line {
                service: service.clone(),
                real_server: key.to_string(),
                report,
            })
        })
        .collect();
    let bad = lines.iter().filter(|line| !line.report.outcome.is_pass()).count();
    match arguments.output {
        OutputFormat::Text if lines.is_empty() => {
            output.answer("No service has a health check.\n")?;
        }
        OutputFormat::Text => {
            output.answer(text(&lines))?;
            let unchecked = desired.services.values().filter(|it| is_unchecked(it)).count();
            let mut summary =
                format!("{}: {} passed, {bad} not", count(lines.len(), "check"), lines.len() - bad);
            if unchecked > 0 {
                summary.push_str(&format!("; {} without checks", count(unchecked, "service")));
            }
            output.answer(format_args!("{summary}.\n"))?;
        }
        OutputFormat::Json => {
            let checks: Vec<Value> = lines.iter().map(document).collect();
            output.answer(format_args!("{:#}\n", json!({ "format": FORMAT, "checks": checks })))?;
        }
    }
    Ok(if bad > 0 { CommandExit::Failed } else { CommandExit::Done })
}

fn is_unchecked(named: &NamedService) -> bool {
    named.health.is_none()
}

fn text(lines: &[Line<'_>]) -> String {
    let headings = [
        ("REAL SERVER", Align::Left),
        ("CHECK", Align::Left),
        ("RESULT", Align::Left),
        ("MS", Align::Right),
        ("TRIES", Align::Right),
        ("WHY", Align::Left),
    ];
    let mut table = Table::new("SERVICE", &headings);
    for Line { service, real_server, report } in lines {
        let why = match &report.outcome {
            Outcome::Passed => String::new(),
            Outcome::Failed(failure) => failure.to_string(),
            Outcome::Unknown(fault) => fault.to_string(),
        };
        table.row(
            service.clone(),
            vec![
                real_server.clone(),
                report.kind.to_string(),
                result(&report.outcome).to_owned(),
                report.duration.as_millis().to_string(),
                report.attempts.to_string(),
                why,
            ],
        );
    }
    table.text()
}

fn result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed(_) => "failed",
        Outcome::Unknown(_) => "unknown",
    }
}

fn document(Line { service, real_server, report }: &Line<'_>) -> Value {
    let RoundReport { id: _, target, kind, outcome, duration, attempts } = report;
    let why = (!outcome.is_pass()).then(|| outcome.to_string());
    json!({
        "service": service,
        "real_server": real_server,
        "target": target.to_string(),
        "check": kind.to_string(),
        "result": result(outcome),
        "milliseconds": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        "attempts": attempts,
        "why": why,
    })
}
