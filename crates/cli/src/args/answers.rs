//! What the commands write to stdout.

use super::{Command, OutputArgs, OutputFormat, PlanOutput};

/// What a command writes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Text. An error is described on stderr alone.
    Text,
    /// JSON of the command's own. An error is a document on stdout, too.
    OwnJson,
    /// One document at the end, instead of the text; also for an error.
    Document,
}

impl Command {
    /// What stdout has.
    pub(crate) fn answers(&self) -> Answers {
        let of_report = |args: OutputArgs| match args.output {
            OutputFormat::Text => Answers::Text,
            OutputFormat::Json => Answers::Document,
        };
        let of_listing = |output| match output {
            OutputFormat::Text => Answers::Text,
            OutputFormat::Json => Answers::OwnJson,
        };
        match self {
            Self::Validate(it) => of_report(it.output),
            Self::Doctor(it) => of_report(it.output),
            Self::Apply(it) => of_report(it.output),
            Self::Confirm(it) => of_report(it.output),
            Self::Approve(it) => of_report(it.output),
            Self::Pause(it) => of_report(it.output),
            Self::Resume(it) => of_report(it.output),
            Self::Drain(it) | Self::Disable(it) | Self::Enable(it) => of_report(it.terms.output),
            Self::Weight(it) => of_report(it.terms.output),
            Self::Clear(it) => of_report(it.output),
            Self::Overrides(it) => of_listing(it.output),
            Self::Check(it) => of_listing(it.output),
            Self::Teardown(it) => of_report(it.output),
            Self::Zero(it) => of_report(it.output),
            Self::Status(it) => of_listing(it.output),
            Self::Owners(it) => of_listing(it.output.output),
            Self::Show(it) => of_listing(it.output),
            Self::Plan(it) => match it.output {
                PlanOutput::Json => Answers::OwnJson,
                PlanOutput::Text | PlanOutput::Diff => Answers::Text,
            },
            Self::Watchdog(_) | Self::Watch(_) | Self::Snapshot(_) | Self::Schema => Answers::Text,
        }
    }
}
