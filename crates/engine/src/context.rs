//! Whoever has a pass carried out, as the engine sees it: a clock, and someone who may interrupt.

use std::time::Duration;

use evenkeel_model::{RealServerKey, ServiceKey};
use evenkeel_plan::ClockReading;

use crate::Clock;

/// Tells the time, looks on while drains go on, and may ask to stop.
pub trait ExecutionContext {
    /// What the clocks show. As long as it attends to a pass that waits, nobody steps the wall's.
    fn now(&self) -> ClockReading;

    /// Lets that time pass; may return early when asked to stop.
    fn pause(&mut self, time: Duration);

    /// Whether the pass shall stop at the next place where that leaves a state that serves.
    fn is_interrupted(&self) -> bool;

    /// How the drains stand that are waited for; called until all of them have ended, or the
    /// waiting is given up.
    fn draining(&mut self, drains: &[DrainProgress]);
}

/// How a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainProgress {
    /// The service.
    pub service: ServiceKey,
    /// The real server that leaves.
    pub real_server: RealServerKey,
    /// How many connections it still has.
    pub connections: u64,
    /// The time until it is deleted all the same.
    pub remaining: Duration,
    /// Whether it is over: without connections, or at its deadline.
    pub is_over: bool,
    /// Whether someone else deleted it meanwhile.
    pub is_gone: bool,
}

/// Nobody looks on: the clocks are the system's, and nothing interrupts. For passes that wait for
/// nothing.
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
