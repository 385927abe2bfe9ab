//! Distributes events to the subscribers of the control socket, without ever waiting for one.
//!
//! Each subscriber has a queue of bounded length. One whose queue is full has missed an event: its
//! subscription ends, with a last line that says so.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::sleep;

use crate::event::{EndReason, Event, EventKind};

/// The limits of subscriptions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The number of subscribers.
    pub(crate) subscribers: u32,
    /// The number of events that wait for a subscriber.
    pub(crate) queue: usize,
    /// How long a subscriber may take for the last lines once its subscription has ended.
    pub(crate) linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { subscribers: 16, queue: 1024, linger: Duration::from_secs(30) }
    }
}

/// Publishes events to all subscribers. Clones publish to the same ones.
#[derive(Debug, Clone)]
pub struct EventPublisher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    subscribers: Mutex<Subscribers>,
    /// One for each subscriber, until its connection is closed.
    permits: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Subscribers {
    all: Vec<Subscriber>,
    has_ended: bool,
}

/// The publisher's end of a subscription.
#[derive(Debug)]
struct Subscriber {
    lines: mpsc::Sender<Arc<str>>,
    /// Set before `lines` is dropped.
    end: watch::Sender<Option<EndReason>>,
}

/// A subscription, as its connection serves it.
#[derive(Debug)]
pub(crate) struct Feed {
    lines: mpsc::Receiver<Arc<str>>,
    end: watch::Receiver<Option<EndReason>>,
    linger: Duration,
    _permit: OwnedSemaphorePermit,
}

/// Why there is no further subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFeed {
    /// There are this many subscribers already, the maximum.
    TooMany(u32),
    /// All subscriptions have ended.
    Ended,
}

impl Default for EventPublisher {
    fn default() -> Self {
        Self::with_limits(Limits::default())
    }
}

impl EventPublisher {
    /// Creates a publisher without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.subscribers as usize));
        Self(Arc::new(Shared { limits, subscribers: Mutex::default(), permits }))
    }

    /// Whether there is a subscriber; otherwise events need not be made.
    pub fn has_subscribers(&self) -> bool {
        let mut subscribers = self.subscribers();
        subscribers.all.retain(|subscriber| !subscriber.lines.is_closed());
        !subscribers.all.is_empty()
    }

    /// Sends events to all subscribers. Never waits.
    pub fn publish(&self, events: impl IntoIterator<Item = Event>) {
        if !self.has_subscribers() {
            return;
        }
        for event in events {
            let line: Arc<str> = match encode(&event) {
                Ok(line) => line.into(),
                Err(error) => {
                    tracing::error!(%error, "an event could not be written");
                    continue;
                }
            };
            self.subscribers().all.retain(|subscriber| subscriber.send(&line));
        }
    }

    /// Ends all subscriptions, and allows no further one.
    pub fn end(&self) {
        let mut subscribers = self.subscribers();
        subscribers.has_ended = true;
        for subscriber in subscribers.all.drain(..) {
            subscriber.end.send_replace(Some(EndReason::Stopping));
        }
    }

    /// Waits until every subscriber is disconnected.
    pub async fn disconnected(&self) {
        // The semaphore is never closed.
        let _all = self.0.permits.acquire_many(self.0.limits.subscribers).await;
    }

    /// Begins a subscription.
    pub(crate) fn subscribe(&self) -> Result<Feed, NoFeed> {
        let Limits { subscribers: maximum, queue, linger } = self.0.limits;
        let permit = Arc::clone(&self.0.permits).try_acquire_owned();
        let permit = permit.map_err(|_| NoFeed::TooMany(maximum))?;
        let mut subscribers = self.subscribers();
        if subscribers.has_ended {
            return Err(NoFeed::Ended);
        }
        let (lines, receiver) = mpsc::channel(queue);
        let (end, ending) = watch::channel(None);
        subscribers.all.push(Subscriber { lines, end });
        Ok(Feed { lines: receiver, end: ending, linger, _permit: permit })
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// Whether the line is queued, and the subscription continues.
    fn send(&self, line: &Arc<str>) -> bool {
        match self.lines.try_send(Arc::clone(line)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.end.send_replace(Some(EndReason::TooSlow));
                false
            }
        }
    }
}

impl Feed {
    /// Writes the events to the subscriber until the subscription ends or it disconnects.
    pub(crate) async fn serve(mut self, mut stream: UnixStream) {
        let (mut reader, mut writer) = stream.split();
        let (mut end, linger) = (self.end.clone(), self.linger);
        let write = async {
            let reason = loop {
                // What such a subscriber has not read yet is incomplete anyway.
                if *self.end.borrow() == Some(EndReason::TooSlow) {
                    break EndReason::TooSlow;
                }
                match self.lines.recv().await {
                    Some(line) => writer.write_all(line.as_bytes()).await?,
                    None => break self.end.borrow().unwrap_or(EndReason::Stopping),
                }
            };
            let last = Event { at: now(), kind: EventKind::End { reason } };
            writer.write_all(encode(&last)?.as_bytes()).await
        };
        let out_of_time = async {
            // An error means that the publisher is gone, which ends the subscription as well.
            drop(end.wait_for(Option::is_some).await);
            sleep(linger).await;
        };
        tokio::select! {
            written = write => if let Err(error) = written {
                tracing::debug!(%error, "a subscriber did not take its events");
            },
            () = disconnected(&mut reader) => {}
            () = out_of_time => tracing::debug!("a subscriber did not read its last events"),
        }
    }
}

/// Waits until the client closes its side. What it writes meanwhile is ignored.
async fn disconnected(reader: &mut (impl AsyncReadExt + Unpin)) {
    let mut ignored = [0; 1024];
    while reader.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
}

fn encode(event: &Event) -> io::Result<String> {
    Ok(serde_json::to_string(event)? + "\n")
}

/// Seconds since 1970; 0 if the clock is before that.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
