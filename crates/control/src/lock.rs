//! Allows one writer at a time in a network namespace.
//!
//! The callers know a [`Lock`] that is free or held, and a [`LockGuard`]; how the network namespace
//! keeps the lock is private to this file. It is one of its names ([`Name`]), so that the kernel
//! releases it when the process ends for any reason. Readers take no lock.
//!
//! Any process in the namespace may take the name, without privileges. That prevents evenkeel from
//! changing anything, but does no other harm; the refusal names the process.

use std::io;
use std::os::unix::net::UnixListener;

use thiserror::Error;

use crate::abstract_socket::{Name, Owner};
use crate::peer::Process;

/// The lock of a network namespace.
#[derive(Debug)]
pub struct Lock {
    name: Name,
}

/// The right to change things in a network namespace; released on drop or when the process ends.
#[derive(Debug)]
pub struct LockGuard {
    /// Only listens; accepts no connection. Child processes do not inherit it.
    _bound: UnixListener,
}

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{}", held_text(.0.as_ref()))]
    Held(Option<Process>),
    /// A system call failed.
    #[error("cannot take the lock of the network namespace")]
    Failed(#[source] io::Error),
}

impl Lock {
    /// The lock of the network namespace of the thread that acquires it.
    pub fn of_namespace() -> Self {
        Self { name: Name::LOCK }
    }

    /// Takes the lock, without waiting for it.
    ///
    /// # Errors
    /// [`LockError::Held`] while another process, or another thread, holds it.
    pub fn acquire(&self) -> Result<LockGuard, LockError> {
        if let Some(guard) = self.try_acquire()? {
            return Ok(guard);
        }
        Err(LockError::Held(match self.name.owner() {
            Owner::None => None,
            Owner::Process(holder) => holder,
        }))
    }

    /// Takes the lock as [`Self::acquire`] does, for callers that retry; `None` while it is held.
    ///
    /// Does not identify the holder, because it can be asked for its identity only so many times.
    ///
    /// # Errors
    /// [`LockError::Failed`].
    pub fn try_acquire(&self) -> Result<Option<LockGuard>, LockError> {
        let bound = self.name.bind().map_err(LockError::Failed)?;
        Ok(bound.map(|bound| LockGuard { _bound: bound }))
    }
}

/// The text of the refusal.
fn held_text(holder: Option<&Process>) -> String {
    let Some(holder) = holder else {
        return "another process is changing this network namespace, or was a moment ago"
            .to_owned();
    };
    if holder.is_trusted() {
        return format!("another process is changing this network namespace: {holder}");
    }
    format!(
        "{holder}, which is neither root nor the current user, holds the lock of this network \
         namespace; if it is not evenkeel, it blocks all changes for as long as it runs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abstract_socket::backlog;

    fn lock(of: &str) -> Lock {
        Lock { name: Name::for_test(of) }
    }

    #[test]
    fn it_is_held_once_and_free_again_when_dropped() {
        let lock = lock("lock-once");
        let guard = lock.acquire().expect("it is free");
        assert!(matches!(lock.acquire(), Err(LockError::Held(_))));
        assert!(lock.try_acquire().expect("it can be asked for").is_none());
        drop(guard);
        assert!(lock.try_acquire().expect("it can be asked for").is_some());
    }

    #[test]
    fn the_refusal_names_the_holder_by_pid_user_and_command_line() {
        let lock = lock("lock-named");
        let _guard = lock.acquire().expect("it is free");
        let Err(refusal @ LockError::Held(Some(_))) = lock.acquire() else { panic!("it is held") };
        let message = refusal.to_string();
        let program = std::env::args().next().expect("a program");
        let user = rustix::process::getuid().as_raw();
        let holder = format!("process {} of user {user} (`{program}", std::process::id());
        assert!(message.contains(&holder), "{message}");
        assert!(!message.contains("neither root"), "{message}");
    }

    #[test]
    fn a_lock_whose_holder_was_asked_too_often_still_refuses_without_waiting() {
        let lock = lock("lock-queue");
        let _guard = lock.acquire().expect("it is free");
        for _ in 0..backlog() + 2 {
            assert!(matches!(lock.acquire(), Err(LockError::Held(_))));
        }
        let Err(refusal @ LockError::Held(None)) = lock.acquire() else { panic!("it is held") };
        assert!(refusal.to_string().contains("another process is changing"));
    }

    #[test]
    fn an_untrusted_holder_is_named_as_such() {
        let own = rustix::process::geteuid().as_raw();
        let untrusted =
            Process { pid: Some(7), uid: own.max(1) + 1, command: Some("nc -lU".into()) };
        let message = LockError::Held(Some(untrusted)).to_string();
        assert!(message.contains("`nc -lU`") && message.contains("neither root"), "{message}");
        let elsewhere = Process { pid: None, uid: 0, command: None };
        let message = LockError::Held(Some(elsewhere)).to_string();
        assert!(message.contains("user 0 in another pid namespace"), "{message}");
    }
}
