//! `evenkeel show`: shows the live table with the spec's names, as the listings of `ipvsadm -Ln` do.
//!
//! [`document`] is the JSON of all listings but that of connections; [`columns`] and [`settings`] are
//! the text.

mod columns;
mod document;
mod number;
mod settings;

use evenkeel_engine::{Kernel, ReadRequest};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{Desired, HealthFacts, Live};
use evenkeel_workflow::{HealthMode, RoundInputs, WorkflowError, known_health, select_live};

use self::columns::{Listing, columns};
use crate::args::{GlobalArgs, OutputFormat, ShowArgs};
use crate::commands::connections;
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::host::{open_for_reading, recorded_ipvs_use};
use crate::output::Output;

/// What is shown: the live state, its counters and the spec's names.
struct Shown<'a> {
    live: &'a Live,
    statistics: &'a Statistics,
    named: &'a Desired,
    /// What the daemon's health checks found; empty without any of the last minute.
    health: &'a HealthFacts,
}

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
    let mut host = open_for_reading(global, recorded_ipvs_use(global)?, output)?;
    let is_text = arguments.output == OutputFormat::Text;
    if is_text && (arguments.timeouts || arguments.sync) {
        let mut live = Live::default();
        host.kernel.read_namespace(&ReadRequest::new(), &mut live)?;
        output.answer(settings::text(&live, arguments.timeouts, arguments.sync))?;
        return Ok(CommandExit::Done);
    }
    let request = host.read_request(&named);
    let (mut live, statistics) = host.kernel.observe_with_statistics(&request)?;
    let selection = select_live(&arguments.target, &named, &live)
        .map_err(|unknown| Error::Usage(unknown.to_string()))?;
    if arguments.connections {
        let selection = selection.as_ref();
        return connections::run(&live, &named, selection, arguments.output, output);
    }
    if let Some(selection) = selection {
        live.services.retain(|key, _| selection.services().contains(key));
    }
    let overlaid = &host.journal.record.overlaid;
    let found = RoundInputs { desired: &named, live: &live, overlaid, state: &host.state };
    let (mut health, _) = known_health(&HealthMode::Live, found).map_err(WorkflowError::from)?;
    // What is in use is no verdict.
    health.servers.retain(|(service, _), it| !it.is_assumed && live.services.contains_key(service));
    let shown = Shown { live: &live, statistics: &statistics, named: &named, health: &health };
    output.answer(match is_text {
        true => {
            let columns = columns(arguments, !health.servers.is_empty());
            Listing { columns, is_exact: arguments.exact }.text(&shown)
        }
        false => format!("{:#}\n", document::document(&shown)),
    })?;
    Ok(CommandExit::Done)
}
