//! Resolves a check: its kind, its times and how results are counted.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use evenkeel_model::check::{Check, CheckError, Kind, Target, TimeName};

use super::kind::{kind, read};
use crate::path::At;
use crate::recovering_de::Field;
use crate::resolve::Diagnostics;
use crate::spec::{CheckKeys, FineDuration};

/// Resolves a check without flap damping; `None` if it breaks a rule or could not be read.
pub(super) fn check(keys: &CheckKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<Check> {
    let kind = kind(keys, at, diagnostics);
    let is_used = kind.as_ref().is_none_or(|kind| check_use(keys, kind, at, diagnostics));
    let usual = Check::new(Kind::Icmp);
    let time =
        |field: &Field<FineDuration>, usual: Duration| Some(read(field)?.map_or(usual, |it| it.0));
    let interval = time(&keys.interval, usual.interval)?;
    let fast = time(&keys.fast, usual.fast.min(interval))?;
    let check = Check {
        port: read(&keys.port)?.and_then(|it| NonZeroU16::new(it.0)),
        source: read(&keys.source)?.map(|it| it.0),
        interval,
        fast,
        timeout: time(&keys.timeout, usual.timeout)?,
        rise: read(&keys.rise)?.and_then(|it| NonZeroU32::new(it.0)).unwrap_or(usual.rise),
        fall: read(&keys.fall)?.and_then(|it| NonZeroU32::new(it.0)).unwrap_or(usual.fall),
        jitter: read(&keys.jitter)?.map_or(usual.jitter, |it| it.0),
        close: read(&keys.close)?.map(|it| it.0),
        ..usual
    };
    let is_valid = check_times(&check, keys, at, diagnostics);
    let kind = kind?;
    (is_used && is_valid).then_some(Check { kind, ..check })
}

/// Reports options that a check of that kind does not use. Returns whether it uses all.
fn check_use(keys: &CheckKeys, kind: &Kind, at: &At<'_>, diagnostics: &mut Diagnostics) -> bool {
    let (has_port, has_source, has_connection) = match kind {
        Kind::Tcp(_) | Kind::Http(_) | Kind::Tls(_) | Kind::Grpc(_) => (true, true, true),
        Kind::Dns(_) | Kind::Udp(_) => (true, true, false),
        Kind::Icmp => (false, true, false),
        // The program learns the port.
        Kind::Exec(_) => (true, false, false),
        Kind::File(_) => (false, false, false),
    };
    let mut is_good = true;
    for (key, is_used, is_absent) in [
        ("port", has_port, keys.port.is_absent()),
        ("source", has_source, keys.source.is_absent()),
        ("close", has_connection, keys.close.is_absent()),
    ] {
        if !is_used && !is_absent {
            diagnostics
                .error(&at.key(key), format!("a check of kind {} has no `{key}`", kind.name()))
                .at_key()
                .remedy("remove it");
            is_good = false;
        }
    }
    is_good
}

/// Reports times and a jitter with which no check can be made. Returns whether there are none.
fn check_times(
    check: &Check,
    keys: &CheckKeys,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let mut check = Check { kind: Kind::Icmp, ..check.clone() };
    let address = check.source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let second = Duration::from_secs(1);
    let mut is_good = true;
    while let Err(problem) = check.validate(Target { address, port: 1 }) {
        is_good = false;
        let (key, remedy) = match problem {
            CheckError::Zero(TimeName::Interval) => {
                check.interval = second.max(check.fast);
                if keys.fast.is_absent() {
                    check.fast = check.interval;
                }
                ("interval", "write a time such as 2s")
            }
            CheckError::Zero(TimeName::Fast) => {
                check.fast = check.interval;
                ("fast", "write a time such as 500ms")
            }
            CheckError::Zero(TimeName::Timeout) => {
                check.timeout = second;
                ("timeout", "write a time such as 1s")
            }
            CheckError::Fast => {
                check.fast = check.interval;
                ("fast", "write a time that is not longer than `interval`, which is 2s if absent")
            }
            CheckError::Jitter => {
                check.jitter = 0;
                ("jitter", "write at most `50%`")
            }
            // They depend on a target, or are seen where their values are read.
            CheckError::NoPort
            | CheckError::SourceFamily
            | CheckError::Changes
            | CheckError::NoProgram => break,
        };
        diagnostics.error(&at.key(key), problem.to_string()).remedy(remedy);
    }
    is_good
}
