//! The metrics of health checks: what each found last, and how often.

use std::fmt;

use evenkeel_health::{Moment, Report};
use evenkeel_model::Verdict;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::check_reports::Reports;

/// The checks of the active spec.
#[derive(Debug)]
pub(super) struct Checks(pub(super) Reports);

/// A report with its labels. `id` distinguishes checks of one kind and target.
struct Labelled {
    target: String,
    check: String,
    id: String,
    report: Report,
}

impl Labelled {
    fn labels(&self) -> [(&str, &str); 3] {
        [("target", &self.target), ("check", &self.check), ("id", &self.id)]
    }
}

impl Collector for Checks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let reports: Vec<Report> = self.0.lock().values().cloned().collect();
        let mut all: Vec<Labelled> = reports.into_iter().map(labelled).collect();
        all.sort_by(|one, other| one.labels().cmp(&other.labels()));
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let (now, wall) = (Moment::now(), wall.unwrap_or_default());

        let help = "1 while the target is up by this check, 0 while it is down";
        let mut family = descriptor(&mut encoder, "check_up", help, MetricType::Gauge)?;
        for it in &all {
            let up = u64::from(it.report.state.verdict() == Verdict::Up);
            ConstGauge::new(up).encode(family.encode_family(&it.labels())?)?;
        }
        let help = "The Unix time when the last probe ended; absent before the first";
        let name = "check_last_timestamp_seconds";
        let mut family = descriptor(&mut encoder, name, help, MetricType::Gauge)?;
        for it in &all {
            let Some(last) = &it.report.last else { continue };
            let at = wall.saturating_sub(now.since(last.at)).as_secs_f64();
            ConstGauge::new(at).encode(family.encode_family(&it.labels())?)?;
        }
        let help = "How long the last probe took; absent before the first";
        let mut family =
            descriptor(&mut encoder, "check_duration_seconds", help, MetricType::Gauge)?;
        for it in &all {
            let Some(last) = &it.report.last else { continue };
            let took = last.duration.as_secs_f64();
            ConstGauge::new(took).encode(family.encode_family(&it.labels())?)?;
        }
        let help = "Probes by their result: passed, failed, or unknown, where this host could not find out";
        let mut family = descriptor(&mut encoder, "checks", help, MetricType::Counter)?;
        for it in &all {
            let counts = it.report.counts;
            let results =
                [("passed", counts.passed), ("failed", counts.failed), ("unknown", counts.unknown)];
            for (result, count) in results {
                let [target, check, id] = it.labels();
                let labels = [target, check, id, ("result", result)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Probes that started late, as this host was busy";
        let mut family = descriptor(&mut encoder, "checks_late", help, MetricType::Counter)?;
        for it in &all {
            let late = it.report.counts.late;
            ConstCounter::new(late).encode(family.encode_family(&it.labels())?)?;
        }
        Ok(())
    }
}

fn labelled(report: Report) -> Labelled {
    let mut id = report.id.to_string();
    id.truncate(8);
    Labelled { target: report.target.to_string(), check: report.kind.to_string(), id, report }
}

fn descriptor<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    // As the registry ends its own help texts.
    encoder.encode_descriptor(name, &format!("{help}."), None, kind)
}
