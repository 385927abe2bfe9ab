//! Sets up logging to stderr.
//!
//! Lines are logged while the lock of the network namespace is held, too. So a thread of its own writes
//! them: a reader of stderr that does not keep up delays neither an apply nor the daemon. Lines beyond
//! [`LIMIT`] are lost then, and so are those that cannot be written, to a full disk or a reader that has gone; the
//! next one that is written says how many.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use evenkeel_model::printable;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

use crate::args::{Arguments, Command, LogFormat};

/// The most bytes that wait to be written: several lines for each service of a large table.
const LIMIT: usize = 64 << 20;

/// The lines that wait to be written; created with the first line.
static QUEUE: OnceLock<Option<Sender<Entry>>> = OnceLock::new();

/// How many bytes wait to be written.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How many lines were lost since the last one that was written.
static LOST: AtomicUsize = AtomicUsize::new(0);

/// How long [`flush`] waits; not set, it waits as long as it takes.
static PATIENCE: OnceLock<Duration> = OnceLock::new();

/// Whether lines have colours.
static COLORS: AtomicBool = AtomicBool::new(false);

enum Entry {
    Line(Vec<u8>),
    /// Replied to when all lines before it are written.
    Flush(SyncSender<()>),
}

/// Starts logging: warnings only, unless `-v` asks for more; the daemon also logs its operations.
pub(crate) fn start(Arguments { command, global }: &Arguments, colors: bool) {
    let is_daemon = matches!(command, Command::Watch(_));
    if is_daemon {
        // It ends even if its log is not read.
        let _only_once = PATIENCE.set(Duration::from_secs(1));
    }
    let level = match global.verbose + u8::from(is_daemon) {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines = fmt().with_max_level(level).with_writer(|| LineWriter);
    let lines = lines.with_target(false).with_ansi(colors);
    COLORS.store(colors, Ordering::Relaxed);
    match global.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

/// Waits until what was logged is written; false where stderr is not read, so that nothing more can be written
/// to it. Not to be called while the lock of the network namespace is held.
pub(crate) fn flush() -> bool {
    let Some(Some(queue)) = QUEUE.get() else { return true };
    let (written, wait) = mpsc::sync_channel(1);
    if queue.send(Entry::Flush(written)).is_err() {
        return true;
    }
    // The thread ends only with the process.
    match PATIENCE.get() {
        None => wait.recv().is_ok(),
        Some(limit) => wait.recv_timeout(*limit).is_ok(),
    }
}

/// Escapes what a terminal would interpret in a line; where lines have colours, other sequences of control
/// characters than those are not left in it by the logger.
fn shown(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let colours = text.split_inclusive('\u{1b}').map(|part| match part.strip_suffix('\u{1b}') {
        Some(part) if COLORS.load(Ordering::Relaxed) => printable(part) + "\u{1b}",
        _ => printable(part),
    });
    colours.collect::<String>().into_bytes()
}

/// Queues each line that is written to it. The logger writes a whole line at a time.
struct LineWriter;

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(queue) = QUEUE.get_or_init(start_thread) else {
            // Without a thread, the line matters more than the delay.
            let _written = io::stderr().write_all(&shown(line));
            return Ok(line.len());
        };
        if WAITING.load(Ordering::Relaxed) > LIMIT {
            LOST.fetch_add(1, Ordering::Relaxed);
            return Ok(line.len());
        }
        let text = shown(line);
        WAITING.fetch_add(text.len(), Ordering::Relaxed);
        // The thread ends only with the process. An error would be reported on stderr, by a panic.
        let _queued = queue.send(Entry::Line(text));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread that writes the lines; `None` if the system refuses it.
fn start_thread() -> Option<Sender<Entry>> {
    let (queue, entries) = mpsc::channel();
    let thread = thread::Builder::new().name("log".to_owned());
    thread.spawn(move || write(&entries)).ok().map(|_| queue)
}

/// Writes a line, after the number of those that were lost before it. A line that cannot be written is lost.
fn write_line(stderr: &mut impl Write, line: &[u8], lost: &AtomicUsize) {
    let before = lost.swap(0, Ordering::Relaxed);
    let notice = match before {
        0 => String::new(),
        count => {
            format!("{count} log lines were lost: stderr was not read, or could not be written\n")
        }
    };
    if stderr.write_all(&[notice.as_bytes(), line].concat()).is_err() {
        lost.fetch_add(before + 1, Ordering::Relaxed);
    }
}

fn write(entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            Entry::Line(line) => {
                write_line(&mut io::stderr(), &line, &LOST);
                WAITING.fetch_sub(line.len(), Ordering::Relaxed);
            }
            // The receiver may have stopped waiting.
            Entry::Flush(written) => drop(written.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stderr that can be written only while it is open.
    struct Stream {
        is_open: bool,
        text: Vec<u8>,
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.is_open {
                true => self.text.write(bytes),
                false => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_one_says_how_many() {
        let lost = AtomicUsize::new(2);
        let mut stream = Stream { is_open: false, text: Vec::new() };
        for line in ["one\n", "two\n", "three\n"] {
            write_line(&mut stream, line.as_bytes(), &lost);
        }
        assert_eq!(lost.load(Ordering::Relaxed), 5);
        stream.is_open = true;
        for line in ["four\n", "five\n"] {
            write_line(&mut stream, line.as_bytes(), &lost);
        }
        let text = String::from_utf8(stream.text).expect("text");
        let notice = "5 log lines were lost: stderr was not read, or could not be written";
        assert_eq!(text, format!("{notice}\nfour\nfive\n"));
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }
}
