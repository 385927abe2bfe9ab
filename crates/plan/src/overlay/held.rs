//! What a plan says of the real servers that overlays hold.

use std::fmt;
use std::time::Duration;

use evenkeel_model::{Floor, Overlay, OverlayCause, RealServerKey, ServiceKey, printable_name};
use jiff::Timestamp;

use super::{listed, resolved};
use crate::Inputs;

/// A real server of the spec that an overlay holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldServer {
    /// The service.
    pub service: ServiceKey,
    /// The real server.
    pub real_server: RealServerKey,
    /// The weight in the spec.
    pub spec_weight: u32,
    /// The overlay; its effect is a weight or out.
    pub overlay: Overlay,
}

/// Lists the real servers of the spec that overlays hold.
pub(crate) fn held_servers(inputs: &Inputs<'_>) -> Vec<HeldServer> {
    let Inputs { desired, overlays, .. } = *inputs;
    let held = overlays.iter().filter_map(|((service, key), overlay)| {
        let named = desired.services.get(service)?;
        let listed = listed(named, key)?;
        let overlay = Overlay { effect: resolved(named, listed, overlay), ..overlay.clone() };
        let (service, real_server, spec_weight) = (*service, *key, listed.weight);
        Some(HeldServer { service, real_server, spec_weight, overlay })
    });
    held.collect()
}

impl fmt::Display for HeldServer {
    /// `weight 0 (spec 5): override of root, maintenance, until 2026-01-01 14:00:00 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec_weight, overlay, .. } = self;
        let Overlay { effect, cause, reason, since, until } = overlay;
        match effect.weight(*spec_weight) {
            Some(weight) if weight == *spec_weight => write!(f, "weight {weight}, as in the spec")?,
            Some(weight) => write!(f, "weight {weight} (spec {spec_weight})")?,
            None => write!(f, "out (spec: weight {spec_weight})")?,
        }
        let end = |f: &mut fmt::Formatter<'_>| match until {
            Some(until) => write!(f, ", until {}", utc(*until)),
            None => Ok(()),
        };
        let down = |f: &mut fmt::Formatter<'_>| {
            write!(f, "down since {}", utc(*since))?;
            if reason.is_empty() { Ok(()) } else { write!(f, ": {}", printable_name(reason)) }
        };
        match cause {
            OverlayCause::Override { by } => {
                write!(f, ": override of {}", printable_name(by))?;
                if !reason.is_empty() {
                    write!(f, ", {}", printable_name(reason))?;
                }
                if until.is_none() { f.write_str(", until cleared") } else { end(f) }
            }
            OverlayCause::Health => {
                f.write_str(": ")?;
                down(f)
            }
            OverlayCause::SlowStart => {
                write!(f, ": slow start since {}", utc(*since))?;
                end(f)
            }
            OverlayCause::Quorum => {
                write!(f, ": the fallback pool serves, without quorum since {}", utc(*since))
            }
            OverlayCause::Fallback => {
                write!(f, ": fallback, without quorum since {}", utc(*since))
            }
            OverlayCause::Kept(floor) => {
                let key = match floor {
                    Floor::MaxOut => "max_out",
                    Floor::WhenNone => "when_none: keep",
                };
                write!(f, ": kept by `{key}`, ")?;
                down(f)
            }
        }
    }
}

/// A time, in seconds since 1970, for people.
pub(crate) fn utc(seconds: u64) -> String {
    let time = Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    // A time beyond the year 9999 cannot be formatted as a date.
    time.map_or_else(
        |_| format!("{seconds} s after 1970"),
        |time| time.strftime("%F %T UTC").to_string(),
    )
}
