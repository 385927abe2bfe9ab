//! What the service manager is told (sd_notify(3)) and how often it wants a sign of life. Without
//! one, that is without `NOTIFY_SOCKET` in the environment, all of it does nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::liveness::Liveness;

/// The longest status line that is sent, in characters.
const SHOWN: usize = 400;

/// Tells the service manager. What it cannot be told it is not told: nothing depends on it.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    has_failed: AtomicBool,
}

impl Notifier {
    /// Tells nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The daemon is up, or a reload is over.
    pub(crate) fn ready(&self, message: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(message))]);
    }

    /// How it is, as `systemctl status` shows it.
    pub(crate) fn status(&self, message: &str) {
        self.send(&[NotifyState::Status(&one_line(message))]);
    }

    /// A reload begins; [`Self::ready`] ends it.
    pub(crate) fn reloading(&self) {
        // systemd 253 and later match it with the reload that they asked for by this time.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => self.failed(&error),
        }
    }

    /// The daemon is about to end.
    pub(crate) fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// A sign of life.
    pub(crate) fn watchdog(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Gives signs of life for as long as the keeper does, for ever; returns at once if none are
    /// wanted. `patience` is how long the keeper may be silent; with the manager's own limit it adds
    /// up to the time after which a stuck keeper is ended.
    pub(crate) async fn keep_alive(&self, liveness: Arc<Liveness>, patience: Duration) {
        let Some(limit) = watchdog_limit() else { return };
        // Half of it, as sd_watchdog_enabled(3) advises.
        let mut tick = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if liveness.age() <= patience {
                self.watchdog();
            }
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        match sd_notify::notify(states) {
            Ok(()) => self.has_failed.store(false, Ordering::Relaxed),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &io::Error) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the service manager cannot be told how the daemon is");
        }
    }
}

/// Within what time the service manager wants a sign of life each time; `None` where it wants none.
pub(crate) fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// A line break would begin another assignment of the protocol.
fn one_line(message: &str) -> String {
    message.chars().map(|each| if each.is_control() { ' ' } else { each }).take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
