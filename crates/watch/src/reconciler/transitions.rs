//! Logs changes of verdicts: one line each, and a summary beyond twenty a second.

use std::time::Duration;

use evenkeel_health::{Change, Moment};
use evenkeel_model::Verdict;
use tracing::{info, warn};

/// How many lines a second.
const LINES: usize = 20;

/// The changes of the current second.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    began: Option<Moment>,
    lines: usize,
    left_out: u64,
}

impl Transitions {
    /// Logs these changes. `left_out` more are only counted.
    pub(super) fn note(&mut self, changes: Vec<Change>, left_out: u64, now: Moment) {
        self.end_second(now);
        for change in changes {
            if self.lines < LINES {
                self.lines += 1;
                log(&change);
            } else {
                self.left_out += 1;
            }
        }
        self.left_out += left_out;
    }

    /// Logs what was left out, once a second is over. Call it in every turn of the loop.
    pub(super) fn end_second(&mut self, now: Moment) {
        let is_over = self.began.is_none_or(|began| now.since(began) >= Duration::from_secs(1));
        if !is_over {
            return;
        }
        if self.left_out > 0 {
            warn!(changes = self.left_out, "more verdicts of health checks changed");
        }
        self.began = Some(now);
        (self.lines, self.left_out) = (0, 0);
    }

    /// Whether a summary is due later.
    pub(super) fn is_pending(&self) -> bool {
        self.left_out > 0
    }
}

fn log(Change { target, kind, transition, duration, .. }: &Change) {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (target, check) = (target.to_string(), kind.to_string());
    match (transition.to, &transition.failure) {
        (Verdict::Up, _) => info!(target, check, milliseconds, "target is up"),
        (Verdict::Down, Some(failure)) => {
            warn!(target, check, milliseconds, why = failure.to_string(), "target is down");
        }
        (Verdict::Down, None) => warn!(target, check, milliseconds, "target is down"),
    }
}
