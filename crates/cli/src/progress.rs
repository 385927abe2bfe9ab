//! Shows the progress of drains during a pass, and handles Ctrl-C.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel_engine::{Clock, DrainProgress, ExecutionContext};
use evenkeel_model::{Drain, Names, RealServerKey, ServiceKey};
use evenkeel_plan::ClockReading;
use evenkeel_plan::render::count;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::Error;
use crate::output::Output;

/// Shows drains on stderr: as progress bars on a terminal, as lines elsewhere.
pub(crate) struct ProgressDisplay<'a> {
    names: Names<'a>,
    output: &'a mut Output,
    clock: Clock,
    is_interrupted: Arc<AtomicBool>,
    bars: Option<MultiProgress>,
    shown: BTreeMap<(ServiceKey, RealServerKey), Shown>,
}

/// A drain that is shown.
struct Shown {
    bar: Option<ProgressBar>,
    /// The highest number of connections so far.
    most: u64,
    is_over: bool,
}

impl<'a> ProgressDisplay<'a> {
    /// Installs handlers for SIGINT, SIGTERM and SIGHUP: the first signal asks the pass to stop at
    /// a point at which the state still serves clients.
    pub(crate) fn new(names: Names<'a>, output: &'a mut Output) -> Result<Self, Error> {
        let is_interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The second signal ends the process, whatever it waits for.
            let flag = Arc::clone(&is_interrupted);
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))
                .and_then(|_| signal_hook::flag::register(signal, flag))
                .map_err(Error::Signal)?;
        }
        let bars = io::stderr().is_terminal().then(MultiProgress::new);
        let clock = Clock::start();
        Ok(Self { names, output, clock, is_interrupted, bars, shown: BTreeMap::new() })
    }

    fn bar(&self, label: String, connections: u64) -> Option<ProgressBar> {
        let style = ProgressStyle::with_template("{prefix} {bar:20} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.as_ref()?.add(ProgressBar::new(connections.max(1)));
        bar.set_style(style);
        bar.set_prefix(label);
        Some(bar)
    }
}

impl ExecutionContext for ProgressDisplay<'_> {
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
        for drain in drains {
            let DrainProgress { service, real_server, connections, remaining, is_over, is_gone } =
                *drain;
            let place = (service, real_server);
            let is_shown = self.shown.contains_key(&place);
            // A drain without connections ends at once, or within the time of a handshake.
            if !is_shown && (connections == 0 || is_over) {
                continue;
            }
            let label = format!("real server {real_server} of {}", self.names.label(&service));
            let number = count(connections, "connection");
            // Rounded up, so that the countdown starts at the full time.
            let remaining = remaining.as_millis().div_ceil(1_000);
            let remaining = Drain(u32::try_from(remaining).unwrap_or(u32::MAX));
            if !is_shown {
                let bar = self.bar(format!("draining {label}"), connections);
                if bar.is_none() {
                    self.output.message(&format!("draining {label}: {number}, {remaining} left\n"));
                }
                let shown = Shown { bar, most: connections, is_over: false };
                self.shown.insert(place, shown);
            }
            let Some(shown) = self.shown.get_mut(&place) else { continue };
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
                    None => self.output.message(&line),
                }
            }
        }
    }
}
