//! Allows one writer at a time in a network namespace.
//!
//! The callers know a [`Lock`] that is free or held, and a [`LockGuard`]; how the network namespace
//! keeps the lock is a [claim](crate::claim), so that the kernel releases it when the process ends for
//! any reason, and a process without CAP_NET_ADMIN can neither hold nor fake it. Readers take no lock.

use std::io;

use thiserror::Error;

use crate::claim::{Claim, Role, holder};
use crate::peer::Process;

/// The lock of a network namespace.
#[derive(Debug)]
pub struct Lock {
    role: Role,
}

/// The right to change things in a network namespace; released on drop or when the process ends.
#[derive(Debug)]
pub struct LockGuard {
    /// Child processes do not inherit it.
    claim: Claim,
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

impl Lock {
    /// The lock of the network namespace of the thread that acquires it.
    pub fn of_namespace() -> Self {
        Self { role: Role::LOCK }
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
        match self.role.claim() {
            Ok(claim) => Ok(claim.map(|claim| LockGuard { claim })),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(LockError::NotPermitted)
            }
            Err(error) => Err(LockError::Failed(error)),
        }
    }
}

impl LockGuard {
    /// Whether an apply was pending when the lock was taken. None can become pending while the lock is held:
    /// its watchdog has the marker before its apply releases the lock.
    pub(crate) fn was_pending(&self) -> bool {
        self.claim.was_beside(Role::PENDING)
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
        may_claim().then(|| Lock { role: Role::LOCK.for_test(of) })
    }

    #[test]
    fn it_is_held_once_and_free_again_when_dropped() {
        let Some(lock) = lock("lock-once") else { return };
        let guard = lock.acquire().expect("it is free");
        assert!(matches!(lock.acquire(), Err(LockError::Held(_))));
        assert!(lock.try_acquire().expect("it can be asked for").is_none());
        drop(guard);
        assert!(lock.try_acquire().expect("it can be asked for").is_some());
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
