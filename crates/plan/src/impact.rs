//! What a step means for connections that exist.
//!
//! The rules are the kernel's: a connection holds on to its real server and its way of forwarding,
//! whatever becomes of weights and schedulers (`ip_vs_bind_dest`); only the deletion of the real
//! server, or of the address that packets come in by, takes it away.

use std::fmt;

use evenkeel_model::{Drain, Scheduler, SyncState};

use crate::connection_sysctls::ConnectionSysctls;
use crate::render::count;

/// What a step means for connections that exist; its text form is a sentence without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impact {
    /// What becomes of them.
    pub effect: Effect,
    /// How many there are of them; `None` where they were not counted.
    pub connections: Option<u64>,
    /// Persistence ties clients to the real server.
    pub is_persistent: bool,
    /// The sysctls that have a say in it.
    pub(crate) connection_sysctls: ConnectionSysctls,
}

/// What becomes of connections that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They stay as they are.
    Stay,
    /// They stay, idle for as long as the new timeouts say from their next packet on
    /// (`set_tcp_state` and its like).
    Retimed,
    /// They stay, and the real server gets no new ones.
    Quiesced,
    /// They stay, by the way of forwarding that they began with (`cp->packet_xmit`).
    KeepForward,
    /// Their packets are wrapped in the new way at once (`ip_vs_tunnel_xmit` asks the real server).
    Rewrapped,
    /// They stay while their service is edited.
    Rescheduled {
        /// The scheduler is another: between the two the service is without one for an RCU grace
        /// period (`ip_vs_edit_service`).
        gap: bool,
        /// The entries that tie clients to real servers no longer match.
        forgets: bool,
    },
    /// They may end in a given time, from the beginning of the drain.
    Drain {
        /// That time.
        limit: Drain,
        /// The drain has begun in an earlier pass.
        is_begun: bool,
        /// What is left of the time of such a drain; `None` where nobody told the time
        /// ([`Plan::set_time_left`](crate::Plan::tell_time_left)).
        left: Option<Drain>,
    },
    /// They were given time to end; those that did not break.
    Drained,
    /// They break.
    Break {
        /// The scheduler that lets no real server drain, if that is why.
        held_by: Option<Scheduler>,
    },
    /// Their real server is gone until it is added again, a moment later.
    Interrupted,
    /// Their packets no longer reach a service.
    CutOff {
        /// They were given time to end.
        drained: bool,
        /// They are those of fwmark services, of which some, or all, may come in elsewhere.
        marked: bool,
    },
    /// Their packets do not reach a service until the VIP is bound again, a moment later.
    Rebound {
        /// They are those of fwmark services, of which some, or all, may come in elsewhere.
        marked: bool,
    },
    /// They stay, but are no longer copied between directors.
    Uncopied {
        /// The daemon that stops.
        state: SyncState,
        /// It is started again later in the plan.
        comes_back: bool,
    },
}

impl Effect {
    /// One word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stay => "stay",
            Self::Retimed => "retimed",
            Self::Quiesced => "quiesced",
            Self::KeepForward => "keep_forward",
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
    /// How many connections break for certain; `None` where they were not counted.
    pub fn breaks(&self) -> Option<u64> {
        match self.effect {
            Effect::Break { .. } | Effect::CutOff { drained: false, marked: false } => {
                self.connections
            }
            // None for certain, and yet not none.
            Effect::CutOff { drained: false, marked: true } if self.connections != Some(0) => None,
            _ => Some(0),
        }
    }

    /// Whether it is worth a word in a short text: connections are touched, or may be.
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
            | Effect::KeepForward => some,
            // The line of a drain tells how long it may take by itself.
            Effect::Drain { left, .. } => {
                self.connections.is_some() || left.is_some() || self.new_connections().is_some()
            }
            Effect::Uncopied { .. } => true,
        }
    }

    /// Who reaches a real server of weight 0 all the same.
    fn new_connections(&self) -> Option<&'static str> {
        let ConnectionSysctls { nodest, quiescent, reuse } = self.connection_sysctls;
        match (self.is_persistent, quiescent) {
            (true, Some(false)) => {
                return Some("persistent clients keep coming (expire_quiescent_template=0)");
            }
            (true, None) => {
                return Some(
                    "persistent clients keep coming unless expire_quiescent_template is 1",
                );
            }
            (true, Some(true)) | (false, _) => {}
        }
        // With expire_nodest_conn=1 such a connection is scheduled anew whatever the mode.
        let reused = reuse == Some(false) && nodest != Some(true);
        reused.then_some("clients that reuse a source port keep coming (conn_reuse_mode=0)")
    }

    /// What becomes of packets whose real server is gone (`ip_vs_in`).
    fn without_real_server(&self) -> &'static str {
        match self.connection_sysctls.nodest {
            Some(true) => "they end at their next packet (expire_nodest_conn=1)",
            Some(false) => {
                "their packets are dropped in silence until they time out (expire_nodest_conn=0)"
            }
            None => "unless expire_nodest_conn is 1, their packets are dropped in silence",
        }
    }

    /// `17 connections`, or `existing connections` where they were not counted.
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
                f.write_str("existing connections take the new times with their next packet")
            }
            Effect::Quiesced => {
                f.write_str("existing connections stay, no new ones come")?;
                also(f, self.new_connections())
            }
            Effect::KeepForward => {
                f.write_str("existing connections keep the way of forwarding they began with")
            }
            Effect::Rewrapped => {
                f.write_str("packets of existing connections are wrapped in the new way at once")
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
                        "persistent clients are no longer known: their next connection may go to \
                         another real server",
                    ),
                )
            }
            Effect::Drain { limit, is_begun: _, left: Some(left) } => {
                match left {
                    Drain::NONE => write!(f, "drain goes on, its time of {limit} is over")?,
                    left => write!(f, "drain goes on, {left} left of {limit}")?,
                }
                match self.connections {
                    None => {}
                    Some(0) => f.write_str("; no connections to wait for")?,
                    Some(_) => write!(f, "; {subject}")?,
                }
                also(f, self.new_connections())
            }
            Effect::Drain { limit, is_begun, left: None } => {
                let time = if is_begun { "what is left of " } else { "" };
                match self.connections {
                    Some(0) => f.write_str("no connections to wait for")?,
                    Some(1) => write!(f, "1 connection has {time}{limit} to end")?,
                    _ => write!(f, "{subject} have {time}{limit} to end")?,
                }
                also(f, self.new_connections())
            }
            Effect::Drained if none => f.write_str("no connections are left"),
            Effect::Drained => {
                write!(f, "connections that are left break: {}", self.without_real_server())
            }
            Effect::Break { .. } if none => f.write_str("no connections would break"),
            Effect::Break { held_by } => {
                write!(f, "{subject} would break: ")?;
                match held_by.as_ref().map(Scheduler::as_str) {
                    None => f.write_str("drain first")?,
                    Some("dh") => f.write_str("dh lets no real server drain")?,
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
                        Some(true) => Some("they may end by that (expire_nodest_conn=1)"),
                        None => Some("they may end by that unless expire_nodest_conn is 0"),
                    },
                )
            }
            Effect::CutOff { .. } if none => f.write_str("no connections come in by it"),
            Effect::CutOff { drained: true, .. } => f.write_str(
                "connections that are left break: their packets no longer reach a service",
            ),
            Effect::CutOff { drained: false, marked: true } => {
                let most = if self.connections.is_some() { "up to " } else { "" };
                write!(
                    f,
                    "{most}{subject} of fwmark services would break, as far as they come in by it"
                )
            }
            Effect::CutOff { drained: false, marked: false } => {
                write!(f, "{subject} would break: their packets no longer reach a service")
            }
            Effect::Rebound { .. } if none => f.write_str("no connections come in by it"),
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
