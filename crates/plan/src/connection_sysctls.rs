//! The sysctls that have a say in what becomes of connections, as they are while the steps of a
//! plan are carried out that touch any.

use evenkeel_model::Live;

use crate::Op;

/// Connections whose real server is deleted end at their next packet; without it their packets are
/// dropped in silence until they time out (`ip_vs_in`).
pub(crate) const NODEST: &str = "net.ipv4.vs.expire_nodest_conn";
/// Persistent clients leave a real server when its weight is 0 (`ip_vs_check_template`).
pub(crate) const QUIESCENT: &str = "net.ipv4.vs.expire_quiescent_template";
/// A new connection from a source port of an old one is scheduled anew (`ip_vs_in`).
pub(crate) const REUSE: &str = "net.ipv4.vs.conn_reuse_mode";

/// Whether each is on; `None` where that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnectionSysctls {
    pub(crate) nodest: Option<bool>,
    pub(crate) quiescent: Option<bool>,
    pub(crate) reuse: Option<bool>,
}

impl ConnectionSysctls {
    /// As they are once the sysctls of the plan are set, which comes first.
    pub(crate) fn new(live: &Live, steps: &[Op]) -> Self {
        let value = |asked: &str| {
            let set = steps.iter().find_map(|op| match op {
                Op::EditSysctl { key, after, .. } if **key == *asked => Some(after),
                _ => None,
            });
            let value = set.or_else(|| live.sysctls.get(asked))?;
            value.trim().parse::<i64>().ok().map(|number| number != 0)
        };
        Self { nodest: value(NODEST), quiescent: value(QUIESCENT), reuse: value(REUSE) }
    }
}
