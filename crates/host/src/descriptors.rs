//! The number of files, sockets and pipes that the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// The process may open fewer files than it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this process may have {limit} files and sockets open, and needs {needed}")]
pub struct TooFewDescriptors {
    /// The limit, which the process cannot raise (`RLIMIT_NOFILE`).
    pub limit: u64,
    /// How many it may need at the same time.
    pub needed: u64,
}

/// Reserves descriptors for the process: raises its own limit where that is lower, up to what the system
/// permits. Without them, something would fail half-way, at a moment that depends on the other users of
/// descriptors.
///
/// # Errors
/// The system does not permit as many.
pub fn reserve_descriptors(needed: u64) -> Result<(), TooFewDescriptors> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    let Some(limit) = current.filter(|limit| *limit < needed) else { return Ok(()) };
    let is_permitted = maximum.is_none_or(|maximum| maximum >= needed);
    let raise = || setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum });
    match is_permitted && raise().is_ok() {
        true => Ok(()),
        false => Err(TooFewDescriptors { limit: maximum.unwrap_or(limit), needed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits are those of the whole process, so one test does all.
    #[test]
    fn the_limit_is_raised_where_it_may_be_and_otherwise_an_error() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let lowered = Rlimit { current: Some(40), maximum };
        setrlimit(Resource::Nofile, lowered).expect("it may be lowered");
        assert_eq!(reserve_descriptors(30), Ok(()));
        assert_eq!(getrlimit(Resource::Nofile), lowered, "it suffices");
        assert_eq!(reserve_descriptors(60), Ok(()));
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: Some(60), maximum });
        let fixed = Rlimit { current: Some(50), maximum: Some(60) };
        setrlimit(Resource::Nofile, fixed).expect("it may be lowered");
        let error = reserve_descriptors(256).expect_err("it is not permitted");
        assert_eq!(error, TooFewDescriptors { limit: 60, needed: 256 });
    }
}
