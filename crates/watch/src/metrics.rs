//! The metrics for Prometheus. `deploy/metrics.md` lists them all.
//!
//! Events are counted when they happen; gauges are taken from the last [`Status`] at each scrape, so
//! that the two never differ; traffic is read from the kernel at a scrape. Nothing here makes
//! decisions.

mod checks;
mod format;
mod gauges;
mod traffic;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use evenkeel_control::{Status, Trigger};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use format::Format;
pub use traffic::{Detail, TrafficOptions};
pub(crate) use traffic::{TrafficReader, TrafficReading};

use self::checks::Checks;
use crate::check_reports::Reports;
use gauges::Gauges;
use traffic::TrafficExporter;

/// The prefix of every name.
const PREFIX: &str = "evenkeel";

/// The upper bounds of the buckets for the duration of passes, in seconds: from a reading of an
/// unchanged small table to the creation of a large one, or a kernel that is slow to answer.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All metrics. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    passes: Family<PassLabels, Counter>,
    durations: Histogram,
    drift: Family<DriftLabels, Counter>,
    operations: Family<OperationLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    gauges: Arc<Gauges>,
    checks: Reports,
    traffic: Option<Mutex<TrafficExporter>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    trigger: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    verb: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

/// The result of reading a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It is valid; its plan decides whether it becomes active.
    Good,
    /// It cannot be read or is invalid.
    Bad,
    /// A guard holds its plan, or a plan that would repair drift.
    Held,
}

impl Reload {
    const ALL: [Self; 3] = [Self::Good, Self::Bad, Self::Held];

    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Held => "held",
        }
    }
}

impl Metrics {
    /// Creates the metrics. `version` is evenkeel's; without `traffic` no counters of the kernel are
    /// exported.
    pub(crate) fn new(
        version: &'static str,
        traffic: Option<(Box<dyn TrafficReader>, TrafficOptions)>,
    ) -> Self {
        let inner = Inner {
            registry: Registry::with_prefix(PREFIX),
            passes: Family::default(),
            durations: Histogram::new(BUCKETS),
            drift: Family::default(),
            operations: Family::default(),
            reloads: Family::default(),
            gauges: Arc::default(),
            checks: Reports::default(),
            traffic: traffic
                .and_then(|(reader, options)| TrafficExporter::new(reader, options))
                .map(Mutex::new),
        };
        // Alerts on an increase need the 0 before it.
        for result in Reload::ALL.map(Reload::as_str) {
            inner.reloads.get_or_create_owned(&ReloadLabels { result });
        }
        Self(Arc::new(inner.registered(version)))
    }

    /// The results of health checks that the metrics show.
    pub(crate) fn checks(&self) -> Reports {
        self.0.checks.clone()
    }

    /// Counts a pass. `result` is that of [`PassStatus`](evenkeel_control::PassStatus).
    pub(crate) fn pass(&self, trigger: Trigger, result: &'static str, took: Duration) {
        let labels = PassLabels { trigger: trigger.as_str(), result };
        self.0.passes.get_or_create_owned(&labels).inc();
        self.0.durations.observe(took.as_secs_f64());
    }

    /// Counts an object of this kind that had drifted from the active spec.
    pub(crate) fn drift(&self, kind: &'static str) {
        self.0.drift.get_or_create_owned(&DriftLabels { kind }).inc();
    }

    /// Counts an operation of a pass with its outcome.
    pub(crate) fn operation(&self, verb: &'static str, outcome: &'static str) {
        self.0.operations.get_or_create_owned(&OperationLabels { verb, outcome }).inc();
    }

    /// Counts a reading of the spec, or a plan that is newly held.
    pub(crate) fn reload(&self, result: Reload) {
        let labels = ReloadLabels { result: result.as_str() };
        self.0.reloads.get_or_create_owned(&labels).inc();
    }

    /// Sets the status for the gauges.
    pub(crate) fn status(&self, status: Arc<Status>) {
        self.0.gauges.set(status);
    }

    /// Returns the exposition, in pieces to be sent one after the other. It may read the kernel, or
    /// wait for another caller that does: it must not be called on a thread that must not block.
    pub(crate) fn text(&self, format: Format) -> [Bytes; 2] {
        let mut own = String::with_capacity(16 * 1024);
        // Writing to a string does not fail, and nothing here refuses to be written.
        if encode_registry(&mut own, &self.0.registry).is_err() {
            tracing::error!("the metrics could not be written");
        }
        let traffic = self
            .0
            .traffic
            .as_ref()
            .map(|source| source.lock().unwrap_or_else(PoisonError::into_inner).text(format));
        if traffic.is_none() {
            own.push_str(format.end());
        }
        [Bytes::from(format.of(own)), traffic.unwrap_or_default()]
    }
}

impl Inner {
    fn registered(mut self, version: &'static str) -> Self {
        let registry = &mut self.registry;
        registry.register("build", "The version of evenkeel", Info::new([("version", version)]));
        registry.register(
            "passes",
            "Reconciliation passes, by what triggered them and by result",
            self.passes.clone(),
        );
        registry.register_with_unit(
            "pass_duration",
            "The duration of passes, from the first reading of the kernel to the last",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "drift",
            "Repairs of objects that differed from the active spec, by kind of object",
            self.drift.clone(),
        );
        registry.register(
            "operations",
            "Operations on the kernel, by verb (add, edit, delete, ...) and outcome",
            self.operations.clone(),
        );
        registry.register(
            "spec_loads",
            "Readings of the spec: `good`, `bad` (invalid) or `held` (a guard refused its plan)",
            self.reloads.clone(),
        );
        registry.register_collector(Box::new(self.gauges.clone()));
        registry.register_collector(Box::new(Checks(self.checks.clone())));
        self
    }
}

#[cfg(test)]
mod tests;
