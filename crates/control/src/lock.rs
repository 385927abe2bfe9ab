//! Allows one writer at a time in a network namespace.
//!
//! The callers know a [`Lock`] that is free or held, and a [`LockGuard`]; how the network namespace
//! keeps the lock is a [claim](crate::claim), so that the kernel releases it when the process ends for
//! any reason, and a process without CAP_NET_ADMIN can neither hold nor fake it. Readers take no lock.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::claim::{Claim, ClaimOutcome, Role, RoleSockets, holder};
use crate::peer::Process;

/// The lock of a network namespace.
///
/// After it was taken once, it needs no descriptor to be taken again: the daemon can, when all are in use.
#[derive(Debug, Clone)]
pub struct Lock {
    role: Role,
    sockets: KeptSockets,
}

/// The sockets of a lock while it is not held; `None` before they are opened.
#[derive(Debug, Clone, Default)]
struct KeptSockets(Arc<Mutex<Option<RoleSockets>>>);

/// The right to change things in a network namespace; released on drop or when the process ends.
#[derive(Debug)]
pub struct LockGuard {
    /// Child processes do not inherit it. `None` only while it is dropped.
    claim: Option<Claim>,
    sockets: KeptSockets,
}

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{}", held_text(.0.as_ref()))]
    Held(Option<Process>),
    /// The process lacks CAP_NET_ADMIN in the user namespace that owns the network namespace.
    #[error(
        "taking the lock of the network namespace needs CAP_NET_ADMIN in the user namespace that owns it"
    )]
    NotPermitted,
    /// A system call failed.
    #[error("cannot take the lock of the network namespace")]
    Failed(#[source] io::Error),
}

impl KeptSockets {
    fn get(&self) -> MutexGuard<'_, Option<RoleSockets>> {
        // No invariant spans two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no lock will use them again.
    fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Default for Lock {
    fn default() -> Self {
        Self::of_namespace()
    }
}

impl Lock {
    /// The lock of the network namespace of the thread that first acquires it.
    pub fn of_namespace() -> Self {
        Self { role: Role::LOCK, sockets: KeptSockets::default() }
    }

    /// Takes the lock, without waiting for it.
    ///
    /// # Errors
    /// [`LockError::Held`] while another process, or another thread, holds it.
    pub fn acquire(&self) -> Result<LockGuard, LockError> {
        if let Some(guard) = self.try_acquire()? {
            return Ok(guard);
        }
        Err(LockError::Held(holder(self.role)))
    }

    /// Takes the lock as [`Self::acquire`] does, for callers that retry; `None` while it is held.
    ///
    /// Does not identify the holder, because it can be asked for its identity only so many times.
    ///
    /// # Errors
    /// [`LockError::NotPermitted`], [`LockError::Failed`].
    pub fn try_acquire(&self) -> Result<Option<LockGuard>, LockError> {
        match self.claim() {
            Ok(ClaimOutcome::Claimed(claim)) => {
                Ok(Some(LockGuard { claim: Some(claim), sockets: self.sockets.clone() }))
            }
            Ok(ClaimOutcome::Taken(sockets)) => {
                *self.sockets.get() = Some(sockets);
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(LockError::NotPermitted)
            }
            Err(error) => Err(LockError::Failed(error)),
        }
    }

    fn claim(&self) -> io::Result<ClaimOutcome> {
        let kept = self.sockets.get().take();
        kept.map_or_else(|| self.role.open(), Ok)?.claim()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take().filter(|_| !self.sockets.is_last()) else { return };
        // Without its sockets, the lock opens others.
        *self.sockets.get() = claim.release().ok();
    }
}

impl LockGuard {
    /// Whether an apply was pending when the lock was taken. None can become pending while the lock is held:
    /// its watchdog has the marker before its apply releases the lock.
    pub(crate) fn was_pending(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.was_beside(Role::PENDING))
    }
}

/// The text of the refusal.
fn held_text(holder: Option<&Process>) -> String {
    match holder {
        Some(holder) => format!("another process is changing this network namespace: {holder}"),
        None => {
            "another process is changing this network namespace, or was a moment ago".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abstract_socket::backlog;
    use crate::claim::may_claim;

    /// A lock for one test; `None` where this process may take none.
    fn lock(of: &str) -> Option<Lock> {
        may_claim().then(|| Lock { role: Role::LOCK.for_test(of), sockets: KeptSockets::default() })
    }

    #[test]
    fn it_is_held_once_and_free_again_when_dropped() {
        let Some(lock) = lock("lock-once") else { return };
        for _ in 0..3 {
            let guard = lock.acquire().expect("it is free");
            assert!(matches!(lock.acquire(), Err(LockError::Held(_))));
            assert!(lock.try_acquire().expect("it can be asked for").is_none());
            drop(guard);
        }
        assert!(lock.try_acquire().expect("it can be asked for").is_some());
    }

    #[test]
    fn a_lock_that_was_held_is_taken_and_refused_again_without_another_descriptor() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Some(lock) = lock("lock-descriptors") else { return };
        let other = Lock { sockets: KeptSockets::default(), ..lock.clone() };
        drop([lock.acquire(), other.acquire()].map(|it| it.map(drop)));
        let all = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..all }).expect("it may be lowered");
        let outcomes: Vec<_> = (0..3)
            .map(|_| {
                let guard = lock.try_acquire();
                let refused = other.try_acquire();
                drop(guard.map(|guard| guard.expect("it is free")));
                let taken = other.try_acquire();
                [refused, taken].map(|it| it.map(|guard| guard.is_some()))
            })
            .collect();
        let without = Lock { sockets: KeptSockets::default(), ..lock.clone() }.try_acquire();
        setrlimit(Resource::Nofile, all).expect("it may be raised again");
        assert!(matches!(without, Err(LockError::Failed(_))), "{without:?}");
        for outcome in outcomes {
            assert!(matches!(outcome, [Ok(false), Ok(true)]), "{outcome:?}");
        }
    }

    #[test]
    fn each_holding_can_be_asked_for_as_often_as_the_first() {
        let Some(lock) = lock("lock-again") else { return };
        for _ in 0..2 {
            let _guard = lock.acquire().expect("it is free");
            for _ in 0..=backlog() {
                assert!(matches!(lock.acquire(), Err(LockError::Held(Some(_)))));
            }
        }
    }

    #[test]
    fn the_refusal_names_the_holder_by_pid_user_and_command_line() {
        let Some(lock) = lock("lock-named") else { return };
        let _guard = lock.acquire().expect("it is free");
        let Err(refusal @ LockError::Held(Some(_))) = lock.acquire() else { panic!("it is held") };
        let message = refusal.to_string();
        let program = std::env::args().next().expect("a program");
        let user = rustix::process::getuid().as_raw();
        let holder = format!("process {} of user {user} (`{program}", std::process::id());
        assert!(message.contains(&holder), "{message}");
    }

    #[test]
    fn a_lock_whose_holder_was_asked_too_often_still_refuses_without_waiting() {
        let Some(lock) = lock("lock-queue") else { return };
        let _guard = lock.acquire().expect("it is free");
        for _ in 0..backlog() + 2 {
            assert!(matches!(lock.acquire(), Err(LockError::Held(_))));
        }
        let Err(refusal @ LockError::Held(None)) = lock.acquire() else { panic!("it is held") };
        assert!(refusal.to_string().contains("another process is changing"));
    }

    #[test]
    fn of_many_that_try_at_once_one_has_it_and_each_gets_it_sometime() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        if lock("lock-many").is_none() {
            return;
        }
        let holders = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let lock = lock("lock-many").expect("it was there");
                    let mut taken = 0;
                    while taken < 25 {
                        let Some(guard) = lock.try_acquire().expect("it can be asked for") else {
                            continue;
                        };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        taken += 1;
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    }
                });
            }
        });
        assert!(lock("lock-many").is_some_and(|it| it.acquire().is_ok()));
    }
}
