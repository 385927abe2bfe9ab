//! Exports the last status as gauges.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use evenkeel_control::{Mode, OverriddenServer, State, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The status to export; before the first one every gauge is 0 and the state is `starting`.
#[derive(Debug, Default)]
pub(super) struct Gauges(RwLock<Option<Arc<Status>>>);

impl Gauges {
    pub(super) fn set(&self, status: Arc<Status>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// A gauge without labels: its name, help text and value.
type Plain = (&'static str, &'static str, fn(&Status) -> u64);

const PLAIN: [Plain; 22] = [
    ("ready", "1 while the host matches the spec (the same as `/readyz`)", |status| {
        u64::from(status.is_ready())
    }),
    ("enforcing", "1 if the daemon applies changes, 0 in observe mode", |status| {
        u64::from(status.mode == Mode::Enforce)
    }),
    ("paused", "1 while the daemon is paused", |status| u64::from(status.paused.is_some())),
    ("plan_held", "1 while a plan waits for approval", |status| {
        u64::from(status.spec.held.is_some())
    }),
    (
        "plan_held_since_timestamp_seconds",
        "The Unix time when the held plan began to wait for approval; 0 without one",
        |status| status.spec.held.as_ref().map_or(0, |held| held.since),
    ),
    ("spec_problem", "1 while the spec files on disk are invalid", |status| {
        u64::from(status.spec.problem.is_some())
    }),
    (
        "spec_problem_since_timestamp_seconds",
        "The Unix time when the daemon first rejected the spec files now on disk; 0 if they are valid",
        |status| status.spec.problem.as_ref().map_or(0, |problem| problem.since),
    ),
    ("spec_generation", "The number of specs activated since the daemon started", |status| {
        status.spec.active.as_ref().map_or(0, |spec| spec.generation)
    }),
    ("start_time_seconds", "The Unix time when the daemon started", |status| status.started),
    (
        "last_success_timestamp_seconds",
        "The Unix time when the daemon last verified that the host matches the active spec; 0 for \
         never",
        |status| status.last_success.unwrap_or(0),
    ),
    (
        "last_pass_timestamp_seconds",
        "The Unix time when a pass last read all live state or made a change; 0 for never",
        |status| status.last_pass.as_ref().map_or(0, |pass| pass.at),
    ),
    ("pending_steps", "Planned steps that observe mode, a pause or a guard prevents", |status| {
        count(status.pending_steps.len())
    }),
    ("draining_real_servers", "Real servers that are draining now, before deletion", |status| {
        count(status.draining)
    }),
    ("failing_objects", "Objects whose failed step the daemon will retry", |status| {
        count(status.failing.len())
    }),
    (
        "conflicts",
        "Objects that another program keeps changing; evenkeel backs off from them",
        |status| {
            let objects: BTreeSet<&str> =
                status.conflicts.iter().map(|conflict| &*conflict.object).collect();
            count(objects.len())
        },
    ),
    (
        "known_writers",
        "Other programs on this host that are known to change IPVS or addresses",
        |status| count(status.known_writers.len()),
    ),
    ("unmanaged_services", "Live services outside the scope of the spec", |status| {
        count(status.unmanaged)
    }),
    (
        "services_not_local",
        "Services whose address no interface and no local route of this host has, as on a VRRP backup",
        |status| count(status.services_not_local),
    ),
    (
        "services_without_servers",
        "Services without a real server of positive weight, which refuse new clients",
        |status| count(status.services_without_servers),
    ),
    ("services", "Services of the active spec", |status| count(status.services)),
    ("real_servers", "Real servers in the services of the active spec", |status| {
        count(status.real_servers)
    }),
    ("vips", "VIPs of the active spec", |status| count(status.vips)),
];

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let status = status.map(|status| status.at_present());
        let status = status.as_ref();
        let state = status.map_or(State::Starting, |status| status.state);
        let mut family =
            gauge(&mut encoder, "state", "1 for the state the daemon is in, 0 for the others")?;
        for each in State::ALL {
            let value = ConstGauge::new(u64::from(each == state));
            value.encode(family.encode_family(&[("state", each.as_str())])?)?;
        }
        if let Some(spec) = status.and_then(|status| status.spec.active.as_ref()) {
            let help = "The active (enforced) spec, by the SHA-256 of its files (`digest`)";
            let mut family = gauge(&mut encoder, "spec_info", help)?;
            let labels = [("digest", spec.digest.as_str())];
            ConstGauge::new(1u64).encode(family.encode_family(&labels)?)?;
        }
        let overrides = status.map(|status| status.overrides.as_slice()).unwrap_or_default();
        let help = "1 for each real server that an operator's override holds, by its action";
        let mut family = gauge(&mut encoder, "override", help)?;
        let mut exported = BTreeSet::new();
        // Of several overrides of a real server, the last one is in force.
        for each in overrides.iter().rev() {
            for OverriddenServer { service, real_server } in &each.real_servers {
                if exported.insert((service, real_server)) {
                    let labels = [
                        ("service", service.as_str()),
                        ("real_server", real_server.as_str()),
                        ("action", each.action.as_str()),
                    ];
                    ConstGauge::new(1u64).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        let health = status.and_then(|status| status.health.as_ref());
        let services = health.map(|health| health.services.as_slice()).unwrap_or_default();
        let help = "Real servers of the service that health checks hold at weight 0, or out";
        let mut family = gauge(&mut encoder, "health_out", help)?;
        for it in services {
            let labels = [("service", it.service.as_str())];
            ConstGauge::new(count(it.out)).encode(family.encode_family(&labels)?)?;
        }
        let help = "1 while the service has its quorum, 0 while it has lost it";
        let mut family = gauge(&mut encoder, "health_quorum", help)?;
        for it in services {
            let labels = [("service", it.service.as_str())];
            ConstGauge::new(u64::from(it.quorum)).encode(family.encode_family(&labels)?)?;
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
    // As the registry ends its own help texts.
    encoder.encode_descriptor(name, &format!("{help}."), None, MetricType::Gauge)
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
