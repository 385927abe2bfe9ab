//! The sysctls that decide what happens to connections, with their values while a plan executes the
//! steps that affect connections.

use evenkeel_model::Live;

use crate::Op;

/// If on, connections whose real server is deleted end at their next packet; if off, their packets
/// are silently dropped until they time out (`ip_vs_in`).
pub(crate) const NODEST: &str = "net.ipv4.vs.expire_nodest_conn";
/// If on, persistent clients leave a real server of weight 0 (`ip_vs_check_template`).
pub(crate) const QUIESCENT: &str = "net.ipv4.vs.expire_quiescent_template";
/// If on, a new connection that reuses the source port of an old one is scheduled anew
/// (`ip_vs_in`).
pub(crate) const REUSE: &str = "net.ipv4.vs.conn_reuse_mode";

/// Whether each sysctl is on; `None` if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnectionSysctls {
    pub(crate) nodest: Option<bool>,
    pub(crate) quiescent: Option<bool>,
    pub(crate) reuse: Option<bool>,
}

impl ConnectionSysctls {
    /// Returns the values after the sysctls of the plan are set, which happens first; those that it
    /// restores keep theirs until the end.
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
