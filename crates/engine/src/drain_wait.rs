//! Waits until draining real servers have no connections.
//!
//! A pass waits for all its drains together. A drain ends when its real server has no connections
//! left, or at its deadline, counted from the start that the journal records. If another program
//! raises the weight of a draining real server, it is set to 0 again, also when that drain has
//! ended and others still run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::{Drain, RealServer, RealServerKey, RealServers, ServiceKey};
use evenkeel_plan::{Op, PriorState};
use tracing::info;

use crate::{DrainProgress, ExecutionContext, Kernel, KernelError};

/// The time between two readings of the counters.
const POLL: Duration = Duration::from_millis(200);

/// The time allowed for a handshake to complete.
///
/// A connection counts as active once its handshake is complete. One whose first packet came just
/// before the weight became 0 needs some time for that, a lost packet included.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// A real server of a service.
pub(crate) type RealServerId = (ServiceKey, RealServerKey);

/// The drains of a pass, running and ended.
#[derive(Debug, Default)]
pub(crate) struct DrainWaiter {
    waiting: BTreeMap<RealServerId, Waiting>,
    over: BTreeMap<RealServerId, Waiting>,
    /// Real servers that another program deleted meanwhile, with their last known number of
    /// connections.
    pub(crate) gone: BTreeMap<RealServerId, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// When its weight was seen or set to be 0 in this pass.
    idle_since: Duration,
    deadline: Duration,
    /// The number at the last reading.
    connections: u64,
}

impl DrainWaiter {
    /// Adds the drains that the operations started or found running.
    pub(crate) fn begin(&mut self, ops: &[Op], record: &PriorState, now: Duration) {
        for op in ops {
            let Op::DrainRealServer { service, key, before, limit: Drain(limit) } = op else {
                continue;
            };
            let recorded = record.drains.0.get(&(*service, *key));
            // A start in the future means that the clock was set back.
            let since = recorded.map_or(now, |it| Duration::from_secs(it.since).min(now));
            let deadline = since + Duration::from_secs(u64::from(*limit));
            let idle_since = if before.weight == 0 { since } else { now };
            self.waiting.insert((*service, *key), Waiting { idle_since, deadline, connections: 0 });
        }
    }

    /// The drains that have ended, with the connections that were left at their deadline.
    pub(crate) fn over(&self) -> BTreeMap<RealServerId, u64> {
        self.over.iter().map(|(place, waiting)| (*place, waiting.connections)).collect()
    }

    /// Real servers of departing services that have clients, or can get some, and have not drained.
    ///
    /// Another program added them, or raised their weight again, since the drains of their service
    /// started.
    pub(crate) fn added_by_others(
        &self,
        kernel: &mut dyn Kernel,
        departing: &BTreeMap<ServiceKey, &RealServers>,
    ) -> Result<BTreeSet<RealServerId>, KernelError> {
        let places = self.waiting.keys().chain(self.over.keys()).chain(self.gone.keys());
        let drained: BTreeSet<ServiceKey> = places.map(|(service, _)| *service).collect();
        let services: BTreeSet<ServiceKey> =
            departing.keys().filter(|key| drained.contains(key)).copied().collect();
        let mut found = BTreeSet::new();
        if services.is_empty() {
            return Ok(found);
        }
        let (live, statistics) = kernel.services_with_statistics(&services)?;
        for (service, value) in &live {
            let counted = statistics.services.get(service).map(|it| &it.real_servers);
            for (key, RealServer { weight, .. }) in &value.real_servers {
                let place = (*service, *key);
                let open = || counted.and_then(|it| it.get(key)).map_or(0, |it| it.open(service));
                let is_taken = match departing[service].get(key) {
                    None => *weight > 0 || open() > 0,
                    Some(_) => *weight > 0 && self.over.contains_key(&place),
                };
                if is_taken || *weight > 0 && self.gone.contains_key(&place) {
                    found.insert(place);
                }
            }
        }
        Ok(found)
    }

    /// The drains that have not ended.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &RealServerId> {
        self.waiting.keys()
    }

    /// Waits until all drains have ended; without `wait_for_all` reads the counters only once.
    pub(crate) fn wait(
        &mut self,
        kernel: &mut dyn Kernel,
        wait_for_all: bool,
        context: &mut dyn ExecutionContext,
    ) -> Result<(), KernelError> {
        loop {
            let progress = self.poll_connections(kernel, context.now().wall)?;
            if progress.is_empty() {
                return Ok(());
            }
            context.draining(&progress);
            if self.waiting.is_empty() || !wait_for_all || context.is_interrupted() {
                return Ok(());
            }
            context.pause(POLL);
        }
    }

    /// Reads the counters once and moves the drains that have ended.
    fn poll_connections(
        &mut self,
        kernel: &mut dyn Kernel,
        now: Duration,
    ) -> Result<Vec<DrainProgress>, KernelError> {
        if self.waiting.is_empty() {
            return Ok(Vec::new());
        }
        let places = self.waiting.keys().chain(self.over.keys());
        let services: BTreeSet<ServiceKey> = places.map(|(service, _)| *service).collect();
        let (live, statistics) = kernel.services_with_statistics(&services)?;
        let is_raised = |(service, real_server): &RealServerId| {
            let found = live.get(service).and_then(|it| it.real_servers.get(real_server));
            found.is_some_and(|found| found.weight > 0)
        };
        let raised_again: Vec<RealServerId> =
            self.over.keys().filter(|place| is_raised(place)).copied().collect();
        for place in raised_again {
            self.waiting.extend(self.over.remove_entry(&place));
        }
        let mut progress = Vec::with_capacity(self.waiting.len());
        let mut raised = Vec::new();
        for (place, waiting) in &mut self.waiting {
            let (service, real_server) = *place;
            let found = live.get(&service).and_then(|it| it.real_servers.get(&real_server));
            let counted = statistics
                .services
                .get(&service)
                .and_then(|it| it.real_servers.get(&real_server))
                .copied()
                .unwrap_or_default();
            let is_gone = found.is_none();
            if !is_gone {
                waiting.connections = counted.open(&service);
            }
            let connections = waiting.connections;
            let is_past_handshake = now >= waiting.idle_since + HANDSHAKE || counted.is_idle();
            let raised_now = found.filter(|it| it.weight > 0);
            if let Some(found) = raised_now {
                // Another program raised the weight; a draining real server must not get new
                // connections.
                let (key, limit) = (real_server, Drain::NONE);
                raised.push(Op::DrainRealServer { service, key, before: *found, limit });
                waiting.idle_since = now;
            }
            let is_done = connections == 0 && is_past_handshake && raised_now.is_none();
            let is_over = is_gone || is_done || now >= waiting.deadline;
            let remaining = waiting.deadline.saturating_sub(now);
            progress.push(DrainProgress {
                service,
                real_server,
                connections,
                remaining,
                is_over,
                is_gone,
            });
        }
        if !raised.is_empty() {
            kernel.execute(&raised)?;
        }
        for DrainProgress { service, real_server, connections, is_gone, .. } in
            progress.iter().filter(|drain| drain.is_over)
        {
            info!(%service, %real_server, connections, "drained");
            let place = (*service, *real_server);
            let waiting = self.waiting.remove(&place);
            if *is_gone {
                self.gone.insert(place, *connections);
            } else {
                self.over.extend(waiting.map(|waiting| (place, waiting)));
            }
        }
        Ok(progress)
    }
}

#[cfg(test)]
mod tests;
