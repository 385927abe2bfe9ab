//! Writes to stdout and stderr.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use evenkeel_engine::error_chain;
use evenkeel_model::printable;
use evenkeel_plan::Verb;
use evenkeel_spec::Problem;
use evenkeel_workflow::Event;
use serde_json::{Map, Value};

use crate::args::{Answers, When};
use crate::error::Error;
use crate::exit_code::CommandExit;
use crate::logging;
use crate::render::{self, Remarks};

/// The two streams of the program.
pub(crate) struct Output {
    /// The name of the command.
    command: &'static str,
    answers: Answers,
    /// What every document contains beside the result of the command.
    remarks: Remarks,
    is_answered: bool,
    /// Not an [`AutoStream`], which writes every line separately, with a system call each.
    stdout: io::BufWriter<io::Stdout>,
    colors_answers: bool,
    /// The buffer in which a line is formatted: writing its many small parts one by one costs more.
    line: String,
    color: When,
    stderr: AutoStream<io::Stderr>,
}

const ADDS: Style = AnsiColor::Green.on_default();
const EDITS: Style = AnsiColor::Yellow.on_default();
const DELETES: Style = AnsiColor::Red.on_default();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// The colour of a plan's line.
fn style(verb: Verb) -> Style {
    match verb {
        Verb::Add | Verb::Bind => ADDS,
        Verb::Edit | Verb::Drain => EDITS,
        Verb::Delete | Verb::Unbind => DELETES,
    }
}

/// Returns stderr, with colours where they are wanted.
pub(crate) fn stderr(color: When) -> AutoStream<io::Stderr> {
    AutoStream::new(io::stderr(), choice(color))
}

fn choice(color: When) -> ColorChoice {
    match color {
        When::Auto => ColorChoice::Auto,
        When::Always => ColorChoice::Always,
        When::Never => ColorChoice::Never,
    }
}

impl Output {
    pub(crate) fn new(command: &'static str, answers: Answers, color: When) -> Self {
        let choice = choice(color);
        Self {
            command,
            answers,
            remarks: Remarks::default(),
            is_answered: false,
            stdout: io::BufWriter::with_capacity(64 * 1024, io::stdout()),
            colors_answers: match choice {
                ColorChoice::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
                chosen => chosen != ColorChoice::Never,
            },
            line: String::new(),
            color,
            stderr: stderr(color),
        }
    }

    /// When colours are wanted.
    pub(crate) fn color(&self) -> When {
        self.color
    }

    /// Whether stderr shows colours; for texts that are coloured elsewhere.
    pub(crate) fn colors_errors(&self) -> bool {
        self.stderr.current_choice() != ColorChoice::Never
    }

    /// Whether the command ends with a document.
    pub(crate) fn is_document(&self) -> bool {
        self.answers == Answers::Document
    }

    /// Writes a part of the text to stdout; nothing where a document takes its place. A reader that has
    /// closed the pipe is not an error.
    pub(crate) fn answer(&mut self, text: impl Display) -> Result<(), Error> {
        match self.answers {
            Answers::Document => Ok(()),
            Answers::Text | Answers::OwnJson => {
                self.is_answered = true;
                self.write(text)
            }
        }
    }

    /// Ends a command that reports what it did: writes the document if one is asked for, with the
    /// exit status and the error. Returns how the command ended.
    pub(crate) fn conclude(
        &mut self,
        ended: Result<CommandExit, Error>,
        result: impl FnOnce() -> Map<String, Value>,
    ) -> Result<CommandExit, Error> {
        if self.answers == Answers::Document {
            self.write_document(result(), ended.as_ref())?;
        }
        ended
    }

    /// Writes the document of a command that failed, unless it has already written one.
    fn document_failure(&mut self, error: &Error) {
        if self.answers != Answers::Text && !self.is_answered {
            // The error that the document describes matters more; stderr describes it, too.
            let _written = self.write_document(Map::new(), Err(error)).and_then(|()| self.flush());
        }
    }

    fn write_document(
        &mut self,
        result: Map<String, Value>,
        ended: Result<&CommandExit, &Error>,
    ) -> Result<(), Error> {
        self.is_answered = true;
        let document = render::document(self.command, result, &self.remarks, ended);
        self.write(format_args!("{document:#}\n"))
    }

    /// Writes text, or a document, without what a terminal would interpret.
    fn write(&mut self, text: impl Display) -> Result<(), Error> {
        self.write_as(text, printable)
    }

    /// Writes text with a style.
    fn write_styled(&mut self, text: impl Display) -> Result<(), Error> {
        self.write_as(text, |text| Cow::Borrowed(text))
    }

    fn write_as(
        &mut self,
        text: impl Display,
        shown: impl Fn(&str) -> Cow<'_, str>,
    ) -> Result<(), Error> {
        self.line.clear();
        // Writing to a String cannot fail.
        let _written = write!(self.line, "{text}");
        match self.stdout.write_all(shown(&self.line).as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
            _ => Ok(()),
        }
    }

    /// Writes a line of the output in the colour of its verb.
    pub(crate) fn answer_line(&mut self, verb: Verb, line: impl Display) -> Result<(), Error> {
        let style = match self.colors_answers {
            true => style(verb),
            false => Style::new(),
        };
        if self.answers == Answers::Document {
            return Ok(());
        }
        self.is_answered = true;
        let line = line.to_string();
        self.write_styled(format_args!("{style}{}{style:#}\n", printable(&line)))
    }

    /// Flushes stdout, for output that has no end of its own; false if its reader has closed the pipe.
    pub(crate) fn flush_to_reader(&mut self) -> Result<bool, Error> {
        // What was logged so far comes first.
        let _is_written = logging::flush();
        match self.stdout.flush() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Error::Output(error)),
        }
    }

    /// Flushes stdout.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.flush_to_reader().map(|_| ())
    }

    /// Reports an event of a use case.
    pub(crate) fn event(&mut self, event: &Event, text: &str) {
        self.warning(text);
        if self.answers != Answers::Text {
            self.remarks.events.push(render::event(event));
        }
    }

    /// Remembers warnings of a spec, which were reported, for the document.
    pub(crate) fn note_spec_warnings<'a>(
        &mut self,
        warnings: impl IntoIterator<Item = &'a Problem>,
    ) {
        if self.answers != Answers::Text {
            self.remarks.spec_warnings.extend(warnings.into_iter().map(render::problem));
        }
    }

    pub(crate) fn warning(&mut self, text: impl Display) {
        let text = text.to_string();
        self.message(&format!("{WARNING}warning:{WARNING:#} {}\n", printable(&text)));
    }

    pub(crate) fn refusal(&mut self, text: &str) {
        self.message(&format!("{ERROR}refused:{ERROR:#} {}\n", printable(text)));
    }

    pub(crate) fn failure(&mut self, text: &str) {
        self.message(&format!("{ERROR}error:{ERROR:#} {}\n", printable(text)));
    }

    pub(crate) fn hint(&mut self, text: &str) {
        self.message(&format!("{HINT}hint:{HINT:#} {}\n", printable(text)));
    }

    /// Prints an error with its causes.
    pub(crate) fn cause(&mut self, error: &dyn std::error::Error) {
        self.failure(&error_chain(error));
    }

    /// Prints an error with its causes and a hint, and returns the exit status.
    pub(crate) fn error(&mut self, error: &Error) -> CommandExit {
        // The output so far comes first; if it cannot be written, the error below matters more.
        let _flushed = self.flush();
        self.document_failure(error);
        match error {
            // Already rendered, with several errors and their positions.
            Error::BadSpec(bad) => self.message(&format!("{}\n", bad.rendered.trim_end())),
            _ if error.status() == CommandExit::Refused => self.refusal(&error_chain(error)),
            _ => self.cause(error),
        }
        if let Some(hint) = error.hint() {
            self.hint(&hint);
        }
        error.status()
    }

    /// Writes text to stderr unchanged: it has colours, and what came from outside is escaped in it. A failure cannot be reported and is ignored.
    pub(crate) fn message(&mut self, text: &str) {
        if logging::flush() {
            let _written = self.stderr.write_all(text.as_bytes());
        }
    }
}
