//! The last status as gauges.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::{Mode, State, Status};

/// The status that is shown; before the first one all is 0 and the state is `starting`.
#[derive(Debug, Default)]
pub(super) struct Gauges(RwLock<Option<Arc<Status>>>);

impl Gauges {
    pub(super) fn set(&self, status: Arc<Status>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// A gauge without labels: its name, its help text, its value.
type Plain = (&'static str, &'static str, fn(&Status) -> u64);

const PLAIN: [Plain; 20] = [
    ("ready", "1 while the host is as it was asked for, as `/readyz` tells", |status| {
        u64::from(status.is_ready())
    }),
    ("enforcing", "1 if the host is kept on the spec, 0 in observe mode", |status| {
        u64::from(status.mode == Mode::Enforce)
    }),
    ("paused", "1 while nothing is changed on request", |status| {
        u64::from(status.paused.is_some())
    }),
    ("plan_held", "1 while a plan waits for approval", |status| {
        u64::from(status.spec.held.is_some())
    }),
    (
        "plan_held_since_timestamp_seconds",
        "Since when a plan waits for approval, in seconds since 1970; 0 where none does",
        |status| status.spec.held.as_ref().map_or(0, |held| held.since),
    ),
    ("spec_problem", "1 while what the files hold is not taken, for it is bad", |status| {
        u64::from(status.spec.problem.is_some())
    }),
    (
        "spec_problem_since_timestamp_seconds",
        "Since when what the files hold is not taken, in seconds since 1970; 0 where it is",
        |status| status.spec.problem.as_ref().map_or(0, |problem| problem.since),
    ),
    ("spec_generation", "How many specs have come into force since the daemon began", |status| {
        status.spec.active.as_ref().map_or(0, |spec| spec.generation)
    }),
    ("start_time_seconds", "When the daemon began, in seconds since 1970", |status| status.started),
    (
        "last_success_timestamp_seconds",
        "When the host was last seen to be, or brought, as the spec in force asks, in seconds \
         since 1970; 0 for never",
        |status| status.last_success.unwrap_or(0),
    ),
    (
        "last_pass_timestamp_seconds",
        "When the last pass ended that read the whole kernel or changed something, in seconds \
         since 1970; 0 for never",
        |status| status.last_pass.as_ref().map_or(0, |pass| pass.at),
    ),
    (
        "pending_steps",
        "Steps that are kept back: in observe mode, while paused or while held",
        |status| count(status.pending_steps.len()),
    ),
    (
        "draining_real_servers",
        "Real servers that may finish their connections before they go",
        |status| count(status.draining),
    ),
    ("failing_objects", "Objects on which a step failed and which are tried again", |status| {
        count(status.failing.len())
    }),
    (
        "conflicts",
        "Objects that someone else keeps changing, so that their repair is put off",
        |status| {
            let objects: BTreeSet<&str> =
                status.conflicts.iter().map(|conflict| &*conflict.object).collect();
            count(objects.len())
        },
    ),
    (
        "known_writers",
        "Programs seen on this host that are known to change the same things",
        |status| count(status.known_writers.len()),
    ),
    ("unmanaged_services", "Live services that are none of the spec's business", |status| {
        count(status.unmanaged)
    }),
    ("services", "Services of the spec in force", |status| count(status.services)),
    ("real_servers", "Real servers in the services of the spec in force", |status| {
        count(status.real_servers)
    }),
    ("vips", "VIPs of the spec in force", |status| count(status.vips)),
];

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let status = status.as_deref();
        let state = status.map_or(State::Starting, |status| status.state);
        let mut family =
            gauge(&mut encoder, "state", "1 for the state the daemon is in, 0 for the others")?;
        for each in State::ALL {
            let value = ConstGauge::new(u64::from(each == state));
            value.encode(family.encode_family(&[("state", each.as_str())])?)?;
        }
        if let Some(spec) = status.and_then(|status| status.spec.active.as_ref()) {
            let help = "The spec in force, by the SHA-256 of its texts";
            let mut family = gauge(&mut encoder, "spec_info", help)?;
            let labels = [("digest", spec.digest.as_str())];
            ConstGauge::new(1u64).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, value) in PLAIN {
            let value = ConstGauge::new(status.map_or(0, value));
            value.encode(gauge(&mut encoder, name, help)?)?;
        }
        Ok(())
    }
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    // The registry ends its own help texts so.
    encoder.encode_descriptor(name, &format!("{help}."), None, MetricType::Gauge)
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
