//! The impacts of steps on connections.

use evenkeel_model::{Drain, Scheduler, SyncState};

use super::golden::{Golden, section};
use crate::connection_sysctls::ConnectionSysctls;
use crate::{Effect, Impact};

pub(super) fn add(golden: &mut Golden) {
    section!(
        golden,
        Effect {
            Stay,
            Retimed,
            Quiesced,
            KeepForward,
            Rewrapped,
            Rescheduled,
            Drain,
            Drained,
            Break,
            Interrupted,
            CutOff,
            Rebound,
            Uncopied,
        },
        impacts().into_iter().map(|it| (it.effect, it.to_string()))
    );
}

/// An impact with a number of connections; `None` if they were not counted.
fn on(effect: Effect, connections: Option<u64>) -> Impact {
    let connection_sysctls = ConnectionSysctls::default();
    Impact { effect, connections, is_persistent: false, connection_sysctls }
}

/// The same impact with `expire_nodest_conn` unknown, off and on.
fn by_nodest(impact: Impact) -> impl Iterator<Item = Impact> {
    [None, Some(false), Some(true)].into_iter().map(move |nodest| Impact {
        connection_sysctls: ConnectionSysctls { nodest, ..impact.connection_sysctls },
        ..impact
    })
}

fn impacts() -> Vec<Impact> {
    let plain = [
        Effect::Stay,
        Effect::Retimed,
        Effect::KeepForward { to_direct: false },
        Effect::KeepForward { to_direct: true },
        Effect::Rewrapped,
    ];
    let mut all: Vec<Impact> = plain.map(|effect| on(effect, None)).to_vec();
    all.extend(quiesced());
    for (gap, forgets) in [(true, false), (false, true), (true, true)] {
        all.push(on(Effect::Rescheduled { gap, forgets }, None));
    }
    all.extend(drains());
    all.push(on(Effect::Drained, Some(0)));
    all.extend(by_nodest(on(Effect::Drained, None)));
    all.push(on(Effect::Break { held_by: None }, Some(0)));
    all.push(on(Effect::Break { held_by: None }, Some(1)));
    all.extend(by_nodest(on(Effect::Break { held_by: None }, Some(17))));
    for name in ["dh", "sh"] {
        let held_by = Some(Scheduler::new(name).expect("a scheduler"));
        all.push(on(Effect::Break { held_by }, None));
    }
    all.push(on(Effect::Interrupted, Some(0)));
    all.push(on(Effect::Interrupted, Some(1)));
    all.extend(by_nodest(on(Effect::Interrupted, Some(17))));
    for marked in [false, true] {
        let cut_off = Effect::CutOff { drained: false, marked };
        for effect in [cut_off, Effect::Rebound { marked }] {
            all.extend([None, Some(17)].map(|connections| on(effect, connections)));
        }
    }
    all.push(on(Effect::CutOff { drained: true, marked: false }, Some(17)));
    all.push(on(Effect::CutOff { drained: false, marked: false }, Some(0)));
    all.push(on(Effect::Rebound { marked: false }, Some(0)));
    for state in [SyncState::Master, SyncState::Backup] {
        for comes_back in [false, true] {
            all.push(on(Effect::Uncopied { state, comes_back }, None));
        }
    }
    all
}

fn quiesced() -> Vec<Impact> {
    let quiesced = on(Effect::Quiesced, None);
    let persistent = |quiescent| Impact {
        is_persistent: true,
        connection_sysctls: ConnectionSysctls { quiescent, ..ConnectionSysctls::default() },
        ..quiesced
    };
    let reuse = ConnectionSysctls { reuse: Some(false), ..ConnectionSysctls::default() };
    let reused = Impact { connection_sysctls: reuse, ..quiesced };
    vec![quiesced, persistent(None), persistent(Some(false)), reused]
}

fn drains() -> Vec<Impact> {
    let drain = |is_begun, left| Effect::Drain { limit: Drain(60), is_begun, left };
    vec![
        on(drain(false, None), None),
        on(drain(false, None), Some(0)),
        on(drain(false, None), Some(1)),
        on(drain(false, None), Some(17)),
        on(drain(true, None), Some(1)),
        on(drain(true, None), Some(17)),
        on(drain(true, Some(Drain(20))), None),
        on(drain(true, Some(Drain(20))), Some(0)),
        on(drain(true, Some(Drain(20))), Some(1)),
        on(drain(true, Some(Drain::NONE)), Some(17)),
    ]
}
