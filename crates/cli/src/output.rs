//! Writing to stdout and stderr.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use evenkeel_engine::error_chain;
use evenkeel_plan::Verb;

use crate::args::When;
use crate::error::Error;
use crate::exit_code::Status;

/// The two streams of the program.
pub(crate) struct Output {
    /// Not through [`AutoStream`]: it hands on every line by itself, a system call each.
    stdout: io::BufWriter<io::Stdout>,
    colors_answers: bool,
    /// Where a line is put together: writing its many small parts to stdout one by one costs more.
    line: String,
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

impl Output {
    pub(crate) fn new(color: When) -> Self {
        let choice = match color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        };
        Self {
            stdout: io::BufWriter::with_capacity(64 * 1024, io::stdout()),
            colors_answers: match choice {
                ColorChoice::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
                chosen => chosen != ColorChoice::Never,
            },
            line: String::new(),
            stderr: AutoStream::new(io::stderr(), choice),
        }
    }

    /// Whether stderr shows colours, for texts that are coloured elsewhere.
    pub(crate) fn colors_errors(&self) -> bool {
        self.stderr.current_choice() != ColorChoice::Never
    }

    /// Writes a part of the answer. A reader that has gone away is no error: what it wanted to
    /// see it has seen.
    pub(crate) fn answer(&mut self, text: impl Display) -> Result<(), Error> {
        self.line.clear();
        // A String takes whatever is written to it.
        let _written = write!(self.line, "{text}");
        match self.stdout.write_all(self.line.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
            _ => Ok(()),
        }
    }

    /// Writes a line of the answer, in the colour of what it is about.
    pub(crate) fn answer_line(&mut self, verb: Verb, line: impl Display) -> Result<(), Error> {
        if self.colors_answers {
            let style = style(verb);
            self.answer(format_args!("{style}{line}{style:#}\n"))
        } else {
            self.answer(format_args!("{line}\n"))
        }
    }

    /// Brings out what was answered so far.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        match self.stdout.flush() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn warning(&mut self, text: &str) {
        self.message(&format!("{WARNING}warning:{WARNING:#} {text}\n"));
    }

    pub(crate) fn refusal(&mut self, text: &str) {
        self.message(&format!("{ERROR}refused:{ERROR:#} {text}\n"));
    }

    pub(crate) fn failure(&mut self, text: &str) {
        self.message(&format!("{ERROR}error:{ERROR:#} {text}\n"));
    }

    pub(crate) fn hint(&mut self, text: &str) {
        self.message(&format!("{HINT}hint:{HINT:#} {text}\n"));
    }

    /// Shows an error with its causes.
    pub(crate) fn cause(&mut self, error: &dyn std::error::Error) {
        self.failure(&error_chain(error));
    }

    /// Shows an error with its causes and its remedy, and tells the exit status.
    pub(crate) fn error(&mut self, error: &Error) -> Status {
        // The answer so far comes first; that it cannot be written is then the smaller trouble.
        let _flushed = self.flush();
        match error {
            // Rendered with its places, each line of it an error by itself.
            Error::BadSpec(rendered) => self.message(&format!("{}\n", rendered.trim_end())),
            _ if error.status() == Status::Refused => self.refusal(&error_chain(error)),
            _ => self.cause(error),
        }
        if let Some(hint) = error.hint() {
            self.hint(&hint);
        }
        error.status()
    }

    /// Writes to stderr as it is. There is nobody left to tell if that fails.
    pub(crate) fn message(&mut self, text: &str) {
        let _written = self.stderr.write_all(text.as_bytes());
    }
}
