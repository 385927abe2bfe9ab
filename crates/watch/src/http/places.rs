//! The places for connections: which connection ends for a new one, and which requests wait for others.
//!
//! A connection is idle until it has a turn: it has sent no request yet, or waits for its turn. With all
//! places taken, the oldest idle one ends. There are fewer turns than places, so some connections are idle
//! always, and a client that only opens connections, or reads no answer, delays no other client. The answers to
//! health checks are short and need no turn.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// Oldest first.
    idle: Mutex<VecDeque<Idle>>,
}

/// An idle connection.
#[derive(Debug)]
struct Idle {
    place: Arc<Place>,
    task: AbortHandle,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Places {
    /// `count` places, and turns for half of them.
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count)),
            turns: Arc::new(Semaphore::new(count.div_ceil(2))),
            idle: Mutex::default(),
        })
    }

    /// Runs a connection in a task of its own, once it has a place.
    pub(super) async fn spawn<F>(self: &Arc<Self>, connection: impl FnOnce(Arc<Place>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let free = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(free) => free,
            Err(_) => {
                if let Some(oldest) = self.idle().pop_front() {
                    tracing::debug!(
                        "the oldest idle connection to the endpoint ends for a new one"
                    );
                    oldest.task.abort();
                }
                // An error means a closed semaphore; this one is never closed.
                let Ok(free) = Arc::clone(&self.free).acquire_owned().await else { return };
                free
            }
        };
        let place = Arc::new(Place { turn: Mutex::default() });
        let served = connection(Arc::clone(&place));
        let (places, own) = (Arc::clone(self), Arc::clone(&place));
        // The task cannot end before it is listed.
        let mut idle = self.idle();
        let task = tokio::spawn(async move {
            served.await;
            places.is_no_longer_idle(&own);
            drop(free);
        });
        idle.push_back(Idle { place, task: task.abort_handle() });
    }

    /// Waits for a turn of this connection, which then keeps it until it ends.
    pub(super) async fn turn(&self, place: &Arc<Place>) {
        // An error means a closed semaphore; this one is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        *place.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
        self.is_no_longer_idle(place);
    }

    fn is_no_longer_idle(&self, place: &Arc<Place>) {
        self.idle().retain(|idle| !Arc::ptr_eq(&idle.place, place));
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
