//! When which disturbance was under way.

use std::fmt::{self, Display};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A kind of disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Disturbance {
    Restart,
    Stop,
    FullDisk,
    LogNotRead,
    LogClosed,
    FewDescriptors,
    Squatters,
    ClockStep,
    OtherLink,
    Carrier,
    Storm,
    ForeignEdit,
    Rewrite,
    Reload,
    ReloadInRewrite,
    Scrape,
}

impl Disturbance {
    pub(super) const ALL: [Self; 16] = [
        Self::Restart,
        Self::Stop,
        Self::FullDisk,
        Self::LogNotRead,
        Self::LogClosed,
        Self::FewDescriptors,
        Self::Squatters,
        Self::ClockStep,
        Self::OtherLink,
        Self::Carrier,
        Self::Storm,
        Self::ForeignEdit,
        Self::Rewrite,
        Self::Reload,
        Self::ReloadInRewrite,
        Self::Scrape,
    ];

    /// For how long after its end it is likely still at work in the daemon.
    fn lingers(self) -> Duration {
        Duration::from_millis(match self {
            // The daemon waits until the file is stable, and then makes a pass.
            Self::Rewrite | Self::Reload | Self::ReloadInRewrite => 500,
            Self::ForeignEdit | Self::Carrier | Self::Storm | Self::OtherLink => 100,
            _ => 0,
        })
    }

    /// Whether the daemon cannot bind anything meanwhile, so that losses are left out.
    fn is_absence(self) -> bool {
        matches!(self, Self::Restart | Self::Stop)
    }
}

impl Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Restart => "restart of the daemon",
            Self::Stop => "SIGSTOP",
            Self::FullDisk => "full disk",
            Self::LogNotRead => "log not read",
            Self::LogClosed => "log closed",
            Self::FewDescriptors => "few descriptors",
            Self::Squatters => "squatters",
            Self::ClockStep => "clock step",
            Self::OtherLink => "flap of another link",
            Self::Carrier => "carrier of the VIPs' link",
            Self::Storm => "storm of addresses",
            Self::ForeignEdit => "foreign edit",
            Self::Rewrite => "rewrite of the spec",
            Self::Reload => "SIGHUP",
            Self::ReloadInRewrite => "SIGHUP in a rewrite",
            Self::Scrape => "scrape",
        })
    }
}

/// A disturbance from its begin to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) what: Disturbance,
    pub(super) begin: Instant,
    /// `None` while it lasts.
    pub(super) end: Option<Instant>,
}

impl Span {
    /// Whether it was at work at any time from `begin` to `end`.
    pub(super) fn overlaps(&self, begin: Instant, end: Instant) -> bool {
        self.begin <= end && self.end.is_none_or(|its| its + self.what.lingers() >= begin)
    }
}

/// All disturbances of a run, in the order of their begins.
#[derive(Debug, Default)]
pub(super) struct Timeline(Mutex<Vec<Span>>);

impl Timeline {
    /// Notes a disturbance that lasts until the value is dropped.
    pub(super) fn during(&self, what: Disturbance) -> During<'_> {
        let mut spans = self.0.lock().unwrap();
        spans.push(Span { what, begin: Instant::now(), end: None });
        During { timeline: self, index: spans.len() - 1 }
    }

    /// Returns the disturbances at work at any time from `begin` to `end`.
    pub(super) fn overlapping(&self, begin: Instant, end: Instant) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().filter(|span| span.overlaps(begin, end)).copied().collect()
    }

    /// Whether the daemon was absent at any time from `begin` to `end`.
    pub(super) fn is_absent(&self, begin: Instant, end: Instant) -> bool {
        self.overlapping(begin, end).iter().any(|span| span.what.is_absence())
    }

    /// Returns how often each kind began.
    pub(super) fn count(&self, what: Disturbance) -> usize {
        self.0.lock().unwrap().iter().filter(|span| span.what == what).count()
    }
}

/// A disturbance that lasts until this is dropped.
pub(super) struct During<'a> {
    timeline: &'a Timeline,
    index: usize,
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        self.timeline.0.lock().unwrap()[self.index].end = Some(Instant::now());
    }
}

#[test]
fn what_overlaps_an_absence_is_found() {
    let timeline = Timeline::default();
    let before = Instant::now();
    let stop = timeline.during(Disturbance::Stop);
    let within = Instant::now();
    assert!(timeline.is_absent(before, within) && timeline.is_absent(within, within));
    drop(stop);
    std::thread::sleep(Duration::from_millis(2));
    let after = Instant::now();
    assert!(timeline.is_absent(before, after) && !timeline.is_absent(after, after));
    drop(timeline.during(Disturbance::Reload));
    let later = Instant::now();
    assert_eq!(timeline.overlapping(later, later).len(), 1, "it lingers");
    assert!(!timeline.is_absent(later, later));
}
