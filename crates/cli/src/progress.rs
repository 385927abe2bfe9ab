//! Shows the progress of drains during an execution, and what stays on a real server after it, and
//! handles Ctrl-C.
//!
//! The execution holds the lock of the network namespace, so a thread of its own writes to stderr: a
//! reader that does not keep up delays nothing.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anstream::AutoStream;
use evenkeel_engine::{Clock, DrainProgress, ExecutionContext};
use evenkeel_model::{Drain, Names, RealServerKey, ServiceKey, printable};
use evenkeel_plan::render::count;
use evenkeel_plan::{ClockReading, Op, StayingObject};
use evenkeel_workflow::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::When;
use crate::error::Error;
use crate::output::stderr;

/// Follows an execution: shows drains on stderr, and is interrupted by signals.
pub(crate) struct ProgressDisplay {
    clock: Clock,
    is_interrupted: Arc<AtomicBool>,
    color: When,
    /// The services that the steps drain, with their names.
    labels: BTreeMap<ServiceKey, String>,
    /// Started with the first drain, or the first object that stays.
    display: Option<DisplayThread>,
}

/// The thread that shows drains.
struct DisplayThread {
    updates: Sender<Update>,
    thread: JoinHandle<()>,
}

/// What is to be shown.
enum Update {
    /// Drains.
    Drains(Vec<DrainProgress>),
    /// What stays for services that this real server leaves.
    Staying(Vec<StayingObject>),
}

impl ProgressDisplay {
    /// Shows something, on a thread that is started with the first of it.
    fn show(&mut self, update: Update) {
        let (color, labels) = (self.color, &self.labels);
        let display = self.display.get_or_insert_with(|| {
            let (updates, received) = mpsc::channel();
            let display = Display::new(color, labels.clone());
            DisplayThread { updates, thread: std::thread::spawn(move || display.run(&received)) }
        });
        // The thread ends only after this.
        let _sent = display.updates.send(update);
    }

    /// Installs handlers for SIGINT, SIGTERM and SIGHUP: the first signal asks the execution to stop
    /// at a point at which the state still serves clients.
    pub(crate) fn new(color: When) -> Result<Self, Error> {
        let is_interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The second signal ends the process, whatever it waits for.
            let flag = Arc::clone(&is_interrupted);
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))
                .and_then(|_| signal_hook::flag::register(signal, flag))
                .map_err(Error::Signal)?;
        }
        let (clock, labels) = (Clock::start(), BTreeMap::new());
        Ok(Self { clock, is_interrupted, color, labels, display: None })
    }
}

impl Progress for ProgressDisplay {
    fn begin(&mut self, steps: &[Op], names: Names<'_>) {
        let drained = steps.iter().filter(|op| matches!(op, Op::DrainRealServer { .. }));
        let labels =
            drained.filter_map(Op::service).map(|key| (key, names.label(&key).to_string()));
        self.labels = labels.collect();
    }

    fn staying(&mut self, staying: &[StayingObject]) {
        self.show(Update::Staying(staying.to_vec()));
    }
}

impl ExecutionContext for ProgressDisplay {
    fn now(&self) -> ClockReading {
        self.clock.now()
    }

    fn pause(&mut self, time: Duration) {
        // A signal does not reliably interrupt this thread's sleep, so it sleeps in pieces.
        const PIECE: Duration = Duration::from_millis(50);
        let mut remaining = time;
        while !remaining.is_zero() && !self.is_interrupted() {
            let piece = remaining.min(PIECE);
            std::thread::sleep(piece);
            remaining -= piece;
        }
    }

    fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Relaxed)
    }

    fn draining(&mut self, drains: &[DrainProgress]) {
        self.show(Update::Drains(drains.to_vec()));
    }
}

impl Drop for ProgressDisplay {
    /// Waits until everything is shown. No lock is held by now.
    fn drop(&mut self) {
        if let Some(DisplayThread { updates, thread }) = self.display.take() {
            drop(updates);
            let _ended = thread.join();
        }
    }
}

/// What is shown: progress bars on a terminal, lines elsewhere.
struct Display {
    stderr: AutoStream<io::Stderr>,
    labels: BTreeMap<ServiceKey, String>,
    bars: Option<MultiProgress>,
    shown: BTreeMap<(ServiceKey, RealServerKey), Shown>,
    staying: Option<ShownStaying>,
}

/// A drain that is shown.
struct Shown {
    bar: Option<ProgressBar>,
    /// The highest number of connections so far.
    most: u64,
    is_over: bool,
}

/// The objects that stay, as they are shown.
struct ShownStaying {
    /// The longest of their times when it was shown first.
    whole: Drain,
    bar: Option<ProgressBar>,
}

impl Display {
    fn new(color: When, labels: BTreeMap<ServiceKey, String>) -> Self {
        let bars = io::stderr().is_terminal().then(MultiProgress::new);
        Self { stderr: stderr(color), labels, bars, shown: BTreeMap::new(), staying: None }
    }

    fn run(mut self, updates: &Receiver<Update>) {
        for update in updates {
            match update {
                Update::Drains(drains) => drains.into_iter().for_each(|drain| self.update(drain)),
                Update::Staying(staying) => self.update_staying(&staying),
            }
        }
    }

    /// Shows for how long objects stay: a line at the beginning, or a bar that moves with the time.
    fn update_staying(&mut self, staying: &[StayingObject]) {
        let Some(left) = staying.iter().map(|it| it.left).max() else { return };
        let is_new = self.staying.as_ref().is_none_or(|shown| left > shown.whole);
        if is_new {
            if let Some(ShownStaying { bar: Some(bar), .. }) = self.staying.take() {
                bar.finish_and_clear();
            }
            let objects = count(staying.len(), "object");
            let bar = self.bar(format!("before {objects} are removed:"), u64::from(left.0));
            if bar.is_none() {
                self.line(&format!(
                    "waiting for {left}, then {objects} to remove; Ctrl-C leaves them to a later apply\n"
                ));
            }
            self.staying = Some(ShownStaying { whole: left, bar });
        }
        if let Some(ShownStaying { whole, bar: Some(bar) }) = &self.staying {
            bar.set_position(u64::from(whole.0.saturating_sub(left.0)));
            bar.set_message(format!("{left} left"));
        }
    }

    fn update(&mut self, drain: DrainProgress) {
        let DrainProgress { service, real_server, connections, remaining, is_over, is_gone } =
            drain;
        let place = (service, real_server);
        let is_shown = self.shown.contains_key(&place);
        // A drain without connections ends at once, or within the time of a handshake.
        if !is_shown && (connections == 0 || is_over) {
            return;
        }
        let service = self.labels.get(&service).cloned().unwrap_or_else(|| service.to_string());
        let label = format!("real server {real_server} of {service}");
        let number = count(connections, "connection");
        // Rounded up, so that the countdown starts at the full time.
        let remaining = remaining.as_millis().div_ceil(1_000);
        let remaining = Drain(u32::try_from(remaining).unwrap_or(u32::MAX));
        if !is_shown {
            let bar = self.bar(format!("draining {label}"), connections);
            if bar.is_none() {
                self.line(&format!("draining {label}: {number}, {remaining} left\n"));
            }
            self.shown.insert(place, Shown { bar, most: connections, is_over: false });
        }
        let Some(shown) = self.shown.get_mut(&place) else { return };
        if let Some(bar) = &shown.bar {
            shown.most = shown.most.max(connections);
            bar.set_length(shown.most.max(1));
            bar.set_position(shown.most - connections);
            bar.set_message(format!("{number}, {remaining} left"));
        }
        if is_over && !shown.is_over {
            shown.is_over = true;
            let line = match connections {
                _ if is_gone => format!("{label} was deleted by another program\n"),
                0 => format!("drained {label}: no connections left\n"),
                _ => format!("drained {label}: deadline reached, {number} left\n"),
            };
            match &shown.bar {
                Some(bar) => bar.finish_and_clear(),
                None => self.line(&line),
            }
        }
    }

    fn bar(&self, label: String, connections: u64) -> Option<ProgressBar> {
        let style = ProgressStyle::with_template("{prefix} {bar:20} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.as_ref()?.add(ProgressBar::new(connections.max(1)));
        bar.set_style(style);
        bar.set_prefix(printable(&label).into_owned());
        Some(bar)
    }

    /// Writes to stderr. A failure cannot be reported and is ignored.
    fn line(&mut self, text: &str) {
        let _written = self.stderr.write_all(printable(text).as_bytes());
    }
}
