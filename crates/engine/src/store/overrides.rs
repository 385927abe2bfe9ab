//! Stores operators' overrides in a file beside the journal, which only the holder of the lock may write.
//!
//! A change reads, changes and writes the file while it holds a lock on the directory, so that of two commands
//! at the same time none is lost. Overrides last as long as asked though the wall clock is set. After a reboot
//! only the wall clock shows how much time has passed: it decides once, and then the time since that boot. Unlike
//! a pause they are part of what the spec's owner wants of real servers elsewhere, and so they outlast the
//! boot and the network namespace of that name.

use std::io;
use std::time::Duration;

use evenkeel_model::{OverlayEffect, Override, OverrideTarget};
use evenkeel_plan::{ClockReading, Uptime};
use serde::{Deserialize, Serialize};

use super::{FileError, StateDir};

const NAME: &str = "overrides.json";

/// The overrides of an owner in a network namespace, in the order of the commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredOverrides(Vec<StoredOverride>);

/// An override as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredOverride {
    /// Its times are as of the wall clock of `anchored`.
    #[serde(flatten)]
    asked: Override,
    /// When both clocks were read, by the wall clock: at its begin, or at first sight after a reboot.
    anchored: u64,
    /// The same by the time since boot, which cannot be set; `None` if the kernel has no such clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uptime: Option<Uptime>,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOverride {
    /// The real servers.
    pub target: OverrideTarget,
    /// What is done to them.
    pub effect: OverlayEffect,
    /// For how long, in seconds; `None` until it is cleared.
    pub seconds: Option<u64>,
    /// The operator.
    pub by: Box<str>,
    /// Why; may be empty.
    pub reason: Box<str>,
}

impl StoredOverride {
    /// Returns the override in terms of the current wall clock, even if that was set since.
    fn at(&self, now: &ClockReading) -> Override {
        let Override { since, until, .. } = self.asked;
        let anchored = now.wall_at(self.anchored, self.uptime);
        let moved = |time: u64| anchored.saturating_add(time).saturating_sub(self.anchored);
        let (since, until) = (moved(since), until.map(moved));
        Override { since, until, ..self.asked.clone() }
    }

    /// Whether it has not ended yet.
    fn lasts(&self, now: &ClockReading) -> bool {
        self.at(now).until.is_none_or(|until| until > now.wall.as_secs())
    }
}

impl StoredOverrides {
    /// Reads the overrides; none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn read(state: &StateDir) -> Result<Self, FileError> {
        let Some(text) = state.read_file(NAME)? else { return Ok(Self::default()) };
        serde_json::from_slice(&text).map_err(|error| {
            let damaged = format!("it is damaged ({error}); `evenkeel clear --all` removes it");
            let damaged = io::Error::new(io::ErrorKind::InvalidData, damaged);
            FileError::new("read", &state.folder().join(NAME))(damaged)
        })
    }

    /// Changes the stored overrides durably. Those that have ended are forgotten.
    ///
    /// # Errors
    /// The file cannot be read or written, or is damaged; it is unchanged.
    pub fn update<T>(
        state: &StateDir,
        now: &ClockReading,
        change: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, FileError> {
        let _lock = state.create()?.lock()?;
        let before = Self::read(state)?;
        let mut after = before.clone();
        after.0.retain(|it| it.lasts(now));
        after.anchor(now);
        let result = change(&mut after);
        if after != before {
            after.write(state)?;
        }
        Ok(result)
    }

    /// Removes all overrides, also a damaged file.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(state: &StateDir) -> Result<(), FileError> {
        let Some(directory) = state.open()? else { return Ok(()) };
        let _lock = directory.lock()?;
        state.remove_file(NAME)
    }

    /// Returns the overrides that last, in terms of the current wall clock.
    pub fn active(&self, now: &ClockReading) -> Vec<Override> {
        self.0.iter().filter(|it| it.lasts(now)).map(|it| it.at(now)).collect()
    }

    /// Returns those that have not ended.
    #[must_use]
    pub fn lasting(&self, now: &ClockReading) -> Self {
        Self(self.0.iter().filter(|it| it.lasts(now)).cloned().collect())
    }

    /// Returns those that `other` does not have, in terms of the current wall clock. A step of that clock makes
    /// no difference.
    pub fn missing_from(&self, other: &Self, now: &ClockReading) -> Vec<Override> {
        let missing = self.0.iter().filter(|it| !other.0.contains(it));
        missing.map(|it| it.at(now)).collect()
    }

    /// Begins an override; it takes the place of an earlier one of the same target.
    pub fn begin(&mut self, new: NewOverride, now: &ClockReading) {
        let NewOverride { target, effect, seconds, by, reason } = new;
        self.clear(&target);
        let since = now.wall.as_secs();
        let until = seconds.map(|seconds| since.saturating_add(seconds));
        let asked = Override { target, effect, since, until, by, reason };
        self.0.push(StoredOverride { asked, anchored: since, uptime: now.uptime_at(since) });
    }

    /// Ends the override of exactly this target; returns whether there was one.
    pub fn clear(&mut self, target: &OverrideTarget) -> bool {
        let before = self.0.len();
        self.0.retain(|it| it.asked.target != *target);
        self.0.len() < before
    }

    /// Ends all overrides; returns how many there were.
    pub fn clear_all(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }

    /// Returns the targets, in their order.
    pub fn targets(&self) -> impl Iterator<Item = &OverrideTarget> {
        self.0.iter().map(|it| &it.asked.target)
    }

    /// Whether one was stored in another boot, so that only the wall clock shows its end.
    pub fn needs_anchor(&self, now: &ClockReading) -> bool {
        now.uptime.is_some() && self.0.iter().any(|it| !now.is_of_this_boot(it.uptime))
    }

    /// Returns the time until the first of those ends that last; `None` if none ends by itself.
    pub fn next_end(&self, now: &ClockReading) -> Option<Duration> {
        let ends = self.0.iter().filter(|it| it.lasts(now)).filter_map(|it| it.at(now).until);
        ends.min().map(|until| Duration::from_secs(until).saturating_sub(now.wall))
    }

    /// Makes those of an earlier boot last by the time since this one.
    fn anchor(&mut self, now: &ClockReading) {
        for it in self.0.iter_mut().filter(|it| !now.is_of_this_boot(it.uptime)) {
            it.asked = it.at(now);
            it.anchored = now.wall.as_secs();
            it.uptime = now.uptime_at(it.anchored);
        }
    }

    fn write(&self, state: &StateDir) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        let text = text.map_err(FileError::new("write", &state.folder().join(NAME)))?;
        state.replace_file(NAME, &[&text])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// The clocks of a host that has been up for so many seconds and has this wall clock.
    fn reading(boot: char, wall: u64, uptime: u64) -> ClockReading {
        let boot = boot.to_string().repeat(32).parse().expect("a boot id");
        let uptime = Uptime { boot, milliseconds: uptime * 1_000 };
        ClockReading { wall: Duration::from_secs(wall), uptime: Some(uptime) }
    }

    fn drain(target: &str, seconds: Option<u64>) -> NewOverride {
        let target = target.parse().expect(target);
        let (by, reason) = ("root".into(), "".into());
        NewOverride { target, effect: OverlayEffect::Weight(0), seconds, by, reason }
    }

    fn begin(state: &StateDir, new: NewOverride, now: &ClockReading) {
        StoredOverrides::update(state, now, |it| it.begin(new, now)).expect("it is stored");
    }

    fn active(state: &StateDir, now: &ClockReading) -> Vec<(String, Option<u64>)> {
        let stored = StoredOverrides::read(state).expect("it can be read");
        stored.active(now).into_iter().map(|it| (it.target.to_string(), it.until)).collect()
    }

    fn state_dir() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::new(folder.path(), "init");
        (folder, state)
    }

    #[test]
    fn an_override_is_stored_until_it_ends_or_is_cleared() {
        let (_folder, state) = state_dir();
        let now = reading('a', 100, 5);
        assert_eq!(active(&state, &now), []);
        begin(&state, drain("10.0.0.1", Some(60)), &now);
        begin(&state, drain("web/10.0.0.1", None), &now);
        // It takes the place of the first one, and comes last.
        begin(&state, drain("10.0.0.1", Some(50)), &now);
        let (first, second) =
            (("web/10.0.0.1".to_owned(), None), ("10.0.0.1".to_owned(), Some(150)));
        assert_eq!(active(&state, &reading('a', 149, 54)), [first.clone(), second]);
        assert_eq!(active(&state, &reading('a', 150, 55)), [first]);
        let stored = StoredOverrides::read(&state).expect("it can be read");
        assert_eq!(stored.next_end(&reading('a', 120, 25)), Some(Duration::from_secs(30)));
        assert_eq!(stored.next_end(&reading('a', 150, 55)), None);
        let target = "web/10.0.0.1".parse().expect("a target");
        let cleared =
            StoredOverrides::update(&state, &now, |it| (it.clear(&target), it.clear(&target)));
        assert_eq!(cleared.expect("it is stored"), (true, false));
        StoredOverrides::remove(&state).expect("it is removed");
        StoredOverrides::remove(&state).expect("again");
        assert_eq!(active(&state, &now), []);
    }

    #[test]
    fn an_override_lasts_as_long_as_asked_though_the_wall_clock_is_set() {
        let (_folder, state) = state_dir();
        begin(&state, drain("10.0.0.1", Some(60)), &reading('a', 10_000, 500));
        for wall in [1_000, 10_059, 90_000] {
            let until = active(&state, &reading('a', wall, 559));
            assert_eq!(until, [("10.0.0.1".to_owned(), Some(wall + 1))]);
            assert_eq!(active(&state, &reading('a', wall + 1, 560)), []);
        }
    }

    #[test]
    fn after_a_reboot_an_override_follows_the_wall_clock_once_and_then_the_new_boot() {
        let (_folder, state) = state_dir();
        begin(&state, drain("10.0.0.1", Some(600)), &reading('a', 10_000, 500));
        let now = reading('b', 10_100, 20);
        assert!(StoredOverrides::read(&state).expect("it can be read").needs_anchor(&now));
        StoredOverrides::update(&state, &now, |_| ()).expect("it is stored");
        assert!(!StoredOverrides::read(&state).expect("it can be read").needs_anchor(&now));
        assert_eq!(active(&state, &reading('b', 5_000, 519)).len(), 1);
        assert_eq!(active(&state, &reading('b', 5_000, 521)), []);
        // Its time passed while the host was down.
        assert_eq!(active(&state, &reading('c', 10_600, 5)), []);
    }

    #[test]
    fn of_many_commands_at_once_none_is_lost() {
        let (_folder, state) = state_dir();
        let now = reading('a', 100, 5);
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for last in 0..8 {
                let (state, now, barrier) = (&state, &now, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for third in 0..5 {
                        begin(state, drain(&format!("10.0.{third}.{last}"), None), now);
                    }
                });
            }
        });
        assert_eq!(active(&state, &now).len(), 40);
    }

    #[test]
    fn a_damaged_file_is_an_error_until_all_are_cleared() {
        let (_folder, state) = state_dir();
        let now = reading('a', 100, 5);
        begin(&state, drain("10.0.0.1", None), &now);
        std::fs::write(state.folder().join(NAME), "[{").expect("a file");
        let error = StoredOverrides::read(&state).expect_err("it is damaged");
        assert!(crate::error_chain(&error).contains("`evenkeel clear --all`"), "{error:?}");
        StoredOverrides::update(&state, &now, |_| ()).expect_err("it is damaged");
        StoredOverrides::remove(&state).expect("it is removed");
        assert_eq!(active(&state, &now), []);
    }
}
