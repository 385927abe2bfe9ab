//! What a plan warns of where health checks are concerned.

use evenkeel_model::{NamedService, ServiceKey};

use crate::connection_sysctls::ConnectionSysctls;
use crate::{Inputs, Op, Warning};

/// Warns of VIPs that are not bound for lack of quorum, and of sysctls with which clients of a real server that is
/// down hang.
pub(crate) fn health_warnings(inputs: &Inputs<'_>, steps: &[Op]) -> Vec<Warning> {
    let Inputs { desired, live, overlays, .. } = *inputs;
    let label = |key: &ServiceKey| desired.label(key).to_string();
    let withheld = overlays.withheld_vips.iter().map(|(vip, it)| Warning::VipWithheld {
        vip: *vip,
        service: label(&it.service),
        is_starting: it.is_starting,
    });
    let mut warnings: Vec<Warning> = withheld.collect();
    let checked = || desired.services.iter().filter(|(_, named)| named.health.is_some());
    let ConnectionSysctls { nodest, quiescent, reuse: _ } = ConnectionSysctls::new(live, steps);
    // One packet a connection: none is left to hang.
    let connects = |named: &NamedService| !named.service.config.one_packet;
    let hanging = checked().filter(|(_, named)| nodest == Some(false) && connects(named));
    let hanging: Vec<String> = hanging.map(|(key, _)| label(key)).collect();
    if !hanging.is_empty() {
        warnings.push(Warning::ConnectionsHang(hanging));
    }
    let is_persistent = |named: &NamedService| named.service.config.persistence.is_some();
    let staying = checked().filter(|(_, named)| quiescent == Some(false) && is_persistent(named));
    let staying: Vec<String> = staying.map(|(key, _)| label(key)).collect();
    if !staying.is_empty() {
        warnings.push(Warning::PersistentClientsStay(staying));
    }
    warnings
}
