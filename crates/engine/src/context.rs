//! The context in which a pass runs: a clock, cancellation and progress of drains.

use std::time::Duration;

use evenkeel_model::{RealServerKey, ServiceKey};
use evenkeel_plan::ClockReading;

use crate::Clock;

/// Supplies the time, receives the progress of drains, and can ask the pass to stop.
pub trait ExecutionContext {
    /// Reads the clocks. During a pass the wall-clock part must not be affected by clock steps.
    fn now(&self) -> ClockReading;

    /// Waits for that time; may return early when the pass is to stop.
    fn pause(&mut self, time: Duration);

    /// Whether the pass shall stop at the next point at which the state still serves clients.
    fn is_interrupted(&self) -> bool;

    /// Receives the progress of the drains that the pass waits for; called until all of them have
    /// ended or the pass stops waiting.
    fn draining(&mut self, drains: &[DrainProgress]);
}

/// The progress of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainProgress {
    /// The service.
    pub service: ServiceKey,
    /// The real server that drains.
    pub real_server: RealServerKey,
    /// How many connections it still has.
    pub connections: u64,
    /// The time until it is deleted regardless of its connections.
    pub remaining: Duration,
    /// Whether the drain has ended: no connections are left, or the deadline has passed.
    pub is_over: bool,
    /// Whether another program deleted the real server meanwhile.
    pub is_gone: bool,
}

/// A no-op context: system clocks, never cancelled, no progress. For passes that wait for nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopContext;

impl ExecutionContext for NoopContext {
    fn now(&self) -> ClockReading {
        Clock::start().now()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn is_interrupted(&self) -> bool {
        false
    }

    fn draining(&mut self, _: &[DrainProgress]) {}
}
