//! Impacts of steps on existing connections.
//!
//! The rules are the kernel's: a connection keeps its real server and its forwarding method,
//! whatever happens to weights and schedulers (`ip_vs_bind_dest`); it loses them only when the real
//! server is deleted, or the address that its packets arrive at.

use std::fmt;

use evenkeel_model::{Drain, Scheduler, SyncState};

use crate::connection_sysctls::ConnectionSysctls;
use crate::render::count;

/// The impact of a step on existing connections; its text form is a sentence without a final
/// period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impact {
    /// The effect on them.
    pub effect: Effect,
    /// The number of affected connections; `None` if they were not counted.
    pub connections: Option<u64>,
    /// Whether persistence ties clients to the real server.
    pub is_persistent: bool,
    /// The sysctls that decide the effect.
    pub(crate) connection_sysctls: ConnectionSysctls,
}

/// The effect of a step on existing connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They are unaffected.
    Stay,
    /// They stay; the new timeouts apply from their next packet on (`set_tcp_state` and the like).
    Retimed,
    /// They stay, and the real server gets no new ones.
    Quiesced,
    /// They stay and keep the forwarding method that they started with (`cp->packet_xmit`).
    KeepForward {
        /// The new method is DR. The kernel keeps one route for each real server. If a packet of a
        /// connection under the former method sets it, packets under DR miss the real server
        /// (`__ip_vs_get_out_rt`), until the route is set anew: by an edit of the real server, or by
        /// `ip route flush cache`.
        to_direct: bool,
    },
    /// Their packets use the new encapsulation at once (`ip_vs_tunnel_xmit` reads it from the real
    /// server).
    Rewrapped,
    /// They stay while their service is edited.
    Rescheduled {
        /// The scheduler changes: in between, the service has none for an RCU grace period
        /// (`ip_vs_edit_service`).
        gap: bool,
        /// The entries that tie clients to real servers no longer match.
        forgets: bool,
    },
    /// They may end within a given time from the start of the drain.
    Drain {
        /// The maximum duration.
        limit: Drain,
        /// Whether an earlier pass started the drain.
        is_begun: bool,
        /// The remaining time of such a drain; `None` until it is set
        /// ([`Plan::set_time_left`](crate::Plan::set_time_left)).
        left: Option<Drain>,
    },
    /// They had time to end; those that did not end break.
    Drained,
    /// They break.
    Break {
        /// The scheduler, if it is the reason why the real server cannot drain.
        held_by: Option<Scheduler>,
    },
    /// Their real server is deleted and added again a moment later.
    Interrupted,
    /// Their packets no longer reach a service.
    CutOff {
        /// Whether they had time to end.
        drained: bool,
        /// Whether they belong to fwmark services; some or all of them may use another address.
        marked: bool,
    },
    /// Their packets do not reach a service until the VIP is bound again, a moment later.
    Rebound {
        /// They are those of fwmark services, of which some, or all, may come in elsewhere.
        marked: bool,
    },
    /// They stay, but are no longer copied between directors.
    Uncopied {
        /// The sync daemon that stops.
        state: SyncState,
        /// Whether it is started again later in the plan.
        comes_back: bool,
    },
}

impl Effect {
    /// Returns the word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stay => "stay",
            Self::Retimed => "retimed",
            Self::Quiesced => "quiesced",
            Self::KeepForward { .. } => "keep_forward",
            Self::Rewrapped => "rewrapped",
            Self::Rescheduled { .. } => "rescheduled",
            Self::Drain { .. } => "drain",
            Self::Drained => "drained",
            Self::Break { .. } => "break",
            Self::Interrupted => "interrupted",
            Self::CutOff { .. } => "cut_off",
            Self::Rebound { .. } => "rebound",
            Self::Uncopied { .. } => "uncopied",
        }
    }
}

impl Impact {
    /// Returns how many connections certainly break; `None` if they were not counted.
    pub fn breaks(&self) -> Option<u64> {
        match self.effect {
            Effect::Break { .. } | Effect::CutOff { drained: false, marked: false } => {
                self.connections
            }
            // None breaks for certain, but some may.
            Effect::CutOff { drained: false, marked: true } if self.connections != Some(0) => None,
            _ => Some(0),
        }
    }

    /// Whether a short text mentions it: connections are affected, or may be.
    pub fn is_notable(&self) -> bool {
        let some = self.connections != Some(0);
        match self.effect {
            Effect::Stay
            | Effect::Retimed
            | Effect::Drained
            | Effect::CutOff { drained: true, .. } => false,
            Effect::Rescheduled { gap, forgets } => gap || forgets,
            Effect::Quiesced => self.new_connections().is_some(),
            Effect::Break { .. }
            | Effect::CutOff { drained: false, .. }
            | Effect::Interrupted
            | Effect::Rebound { .. }
            | Effect::Rewrapped
            | Effect::KeepForward { .. } => some,
            // The line of a drain already shows its maximum duration.
            Effect::Drain { left, .. } => {
                self.connections.is_some() || left.is_some() || self.new_connections().is_some()
            }
            Effect::Uncopied { .. } => true,
        }
    }

    /// Describes new connections that still reach a real server of weight 0.
    fn new_connections(&self) -> Option<&'static str> {
        let ConnectionSysctls { nodest, quiescent, reuse } = self.connection_sysctls;
        match (self.is_persistent, quiescent) {
            (true, Some(false)) => {
                return Some("persistent clients still arrive (expire_quiescent_template=0)");
            }
            (true, None) => {
                return Some(
                    "persistent clients still arrive unless expire_quiescent_template is 1",
                );
            }
            (true, Some(true)) | (false, _) => {}
        }
        // With expire_nodest_conn=1 such a connection is scheduled anew whatever the mode.
        let reused = reuse == Some(false) && nodest != Some(true);
        reused.then_some("clients that reuse a source port still arrive (conn_reuse_mode=0)")
    }

    /// Describes what happens to packets whose real server is gone (`ip_vs_in`).
    fn without_real_server(&self) -> &'static str {
        match self.connection_sysctls.nodest {
            Some(true) => "they end at their next packet (expire_nodest_conn=1)",
            Some(false) => {
                "their packets are silently dropped until they time out (expire_nodest_conn=0)"
            }
            None => "unless expire_nodest_conn is 1, their packets are silently dropped",
        }
    }

    /// Returns `17 connections`, or `existing connections` if they were not counted.
    fn subject(&self) -> String {
        match self.connections {
            None => "existing connections".to_owned(),
            Some(number) => count(number, "connection"),
        }
    }
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = self.connections == Some(0);
        let subject = self.subject();
        match self.effect {
            Effect::Stay => f.write_str("existing connections stay"),
            Effect::Retimed => {
                f.write_str("existing connections use the new timeouts from their next packet on")
            }
            Effect::Quiesced => {
                f.write_str("existing connections stay, no new ones are accepted")?;
                also(f, self.new_connections())
            }
            Effect::KeepForward { to_direct } => {
                f.write_str("existing connections keep their forwarding method")?;
                also(
                    f,
                    to_direct.then_some(
                        "new ones may miss the real server while those last: drain it before",
                    ),
                )
            }
            Effect::Rewrapped => {
                f.write_str("packets of existing connections use the new encapsulation at once")
            }
            Effect::Rescheduled { gap, forgets } => {
                f.write_str("existing connections stay")?;
                also(
                    f,
                    gap.then_some(
                        "about 20 ms without a scheduler on a multi-processor kernel: new \
                         connections are refused meanwhile",
                    ),
                )?;
                also(
                    f,
                    forgets.then_some(
                        "persistence entries no longer match: the next connection of a client may go to \
                         another real server",
                    ),
                )
            }
            Effect::Drain { limit, is_begun: _, left: Some(left) } => {
                match left {
                    Drain::NONE => write!(f, "drain continues, its limit of {limit} is over")?,
                    left => write!(f, "drain continues, {left} left of {limit}")?,
                }
                match self.connections {
                    None => {}
                    Some(0) => f.write_str("; no connections to wait for")?,
                    Some(_) => write!(f, "; {subject}")?,
                }
                also(f, self.new_connections())
            }
            Effect::Drain { limit, is_begun, left: None } => {
                let time = if is_begun { "the rest of " } else { "" };
                match self.connections {
                    Some(0) => f.write_str("no connections to wait for")?,
                    Some(1) => write!(f, "1 connection has {time}{limit} to end")?,
                    _ => write!(f, "{subject} have {time}{limit} to end")?,
                }
                also(f, self.new_connections())
            }
            Effect::Drained if none => f.write_str("no connections remain"),
            Effect::Drained => {
                write!(f, "remaining connections break: {}", self.without_real_server())
            }
            Effect::Break { .. } if none => f.write_str("no connections would break"),
            Effect::Break { held_by } => {
                write!(f, "{subject} would break: ")?;
                match held_by.as_ref().map(Scheduler::as_str) {
                    None => f.write_str("drain first")?,
                    Some("dh") => f.write_str("dh cannot drain real servers")?,
                    Some(name) => write!(f, "{name} needs {name}-fallback to let it drain")?,
                }
                also(f, Some(self.without_real_server()))
            }
            Effect::Interrupted if none => f.write_str("no connections would be interrupted"),
            Effect::Interrupted => {
                write!(f, "packets of {subject} are dropped until it is added again")?;
                also(
                    f,
                    match self.connection_sysctls.nodest {
                        Some(false) => None,
                        Some(true) => Some("this may end them (expire_nodest_conn=1)"),
                        None => Some("this may end them unless expire_nodest_conn is 0"),
                    },
                )
            }
            Effect::CutOff { .. } if none => f.write_str("no connections use it"),
            Effect::CutOff { drained: true, .. } => {
                f.write_str("remaining connections break: their packets no longer reach a service")
            }
            Effect::CutOff { drained: false, marked: true } => {
                let most = if self.connections.is_some() { "up to " } else { "" };
                write!(f, "{most}{subject} of fwmark services could break, if they use it")
            }
            Effect::CutOff { drained: false, marked: false } => {
                write!(f, "{subject} would break: their packets no longer reach a service")
            }
            Effect::Rebound { .. } if none => f.write_str("no connections use it"),
            Effect::Rebound { marked } => {
                let most = if marked && self.connections.is_some() { "up to " } else { "" };
                let whose = if marked { " of fwmark services" } else { "" };
                write!(
                    f,
                    "{most}{subject}{whose} may break: their packets reach no service until it is \
                     bound again"
                )
            }
            Effect::Uncopied { state, comes_back } => {
                f.write_str(match state {
                    SyncState::Master => "connections are no longer copied to other directors",
                    SyncState::Backup => "connections of other directors are no longer taken over",
                })?;
                f.write_str(if comes_back { " until it runs again" } else { "" })
            }
        }
    }
}

fn also(f: &mut fmt::Formatter<'_>, more: Option<&str>) -> fmt::Result {
    more.map_or(Ok(()), |more| write!(f, "; {more}"))
}
