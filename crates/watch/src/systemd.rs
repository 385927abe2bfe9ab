//! Notifies the service manager (sd_notify(3)) of state changes, and its watchdog that the daemon is
//! alive. Without a service manager (no `NOTIFY_SOCKET` in the environment) this does nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::liveness::Liveness;

/// The longest status line that is sent, in characters.
const SHOWN: usize = 400;

/// Notifies the service manager. Best effort: errors are logged once and otherwise ignored.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    has_failed: AtomicBool,
}

impl Notifier {
    /// Creates a notifier; it sends nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Reports that the daemon is up, or that a reload has finished.
    pub(crate) fn ready(&self, message: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&one_line(message))]);
    }

    /// Sets the line that `systemctl status` shows.
    pub(crate) fn status(&self, message: &str) {
        self.send(&[NotifyState::Status(&one_line(message))]);
    }

    /// Reports that a reload begins; [`Self::ready`] ends it.
    pub(crate) fn reloading(&self) {
        // systemd 253 and later use this time to match it with the requested reload.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => self.failed(&error),
        }
    }

    /// Reports that the daemon is stopping.
    pub(crate) fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// Sends a watchdog keep-alive.
    pub(crate) fn watchdog(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Sends keep-alives for as long as the reconciler is alive; returns at once if the service
    /// manager wants none. `patience` is how long the reconciler may make no progress; together with
    /// the service manager's own limit it is the time after which a stuck daemon is killed.
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
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }
}

/// Reports that a process is up; false if it has no service manager that waits for that.
pub fn notify_ready() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some() && sd_notify::notify(&[NotifyState::Ready]).is_ok()
}

/// Returns the service manager's watchdog timeout; `None` if it has none for this process.
pub(crate) fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// Replaces control characters: a line break would begin another assignment of the protocol.
fn one_line(message: &str) -> String {
    message.chars().map(|each| if each.is_control() { ' ' } else { each }).take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
