//! Generates load: clients that send requests without pause and permanent downloads. Counts every
//! failure.
//!
//! All of it runs in threads of the calling process: in a guest, a program for each request would
//! cost a hundred times as much as the request.

mod stats;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use stats::{Failure, Incident, Kind, LoadStats, Measured};

use crate::error::Error;
use crate::net::Namespace;
use crate::net::http::{Answer, Connect, ask};

/// How long a client waits after a failure: a refusal costs so little that refusals would otherwise
/// be most of the load.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
const AFTER_BROKEN_DOWNLOAD: Duration = Duration::from_millis(200);
/// Clients yield to the program under test, with which they share a processor as they never would
/// on a network (nice(2)).
const NICE: i32 = 10;
/// How many ports in use a connection passes over before it gives up.
const PORTS_TRIED: usize = 200;

/// The requests, their clients and their frequency.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The address of all requests.
    pub target: SocketAddr,
    /// The clients' addresses. At each of them one client sends short requests, each over a new
    /// connection and immediately after the previous answer.
    pub clients: Vec<IpAddr>,
    /// The ports that clients connect from, one after the other. After the last comes the first
    /// again; meanwhile a director may still know of its last connection, and where that went.
    pub ports: RangeInclusive<u16>,
    /// How many downloads run at any time; one that ends is followed by another.
    pub downloads: usize,
    /// How many seconds a download takes.
    pub seconds: u32,
    /// The time limit for connecting and for each read; after it a request has failed.
    pub patience: Duration,
}

impl Demand {
    /// Twenty downloads of three seconds; clients that use all ports and wait five seconds.
    pub fn new(target: SocketAddr, clients: Vec<IpAddr>) -> Self {
        let (downloads, seconds, patience) = (20, 3, Duration::from_secs(5));
        Self { target, clients, ports: 1024..=u16::MAX, downloads, seconds, patience }
    }
}

/// Running load. When dropped, it stops, and waits until it has.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    demand: Demand,
    start: Instant,
    stop: AtomicBool,
    /// The next port of each client.
    ports: Vec<AtomicU32>,
    measured: Mutex<Measured>,
}

impl Load {
    /// Starts it, in the clients' namespace.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn start(namespace: &Namespace, demand: Demand) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            ports: demand.clients.iter().map(|_| AtomicU32::new(0)).collect(),
            demand,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            measured: Mutex::default(),
        });
        let clients = shared.demand.clients.len();
        let requests = (0..clients).map(|client| (Kind::Request, client));
        let downloads = 0..if clients == 0 { 0 } else { shared.demand.downloads };
        let downloads = downloads.map(|number| (Kind::Download, number % clients));
        let all = requests.chain(downloads).map(|(kind, client)| {
            let shared = Arc::clone(&shared);
            move || shared.send_requests(kind, client)
        });
        // A thread is in the namespace of the one that starts it.
        let threads = namespace.run(move || all.map(std::thread::spawn).collect())?;
        Ok(Self { shared, threads })
    }

    /// What was measured so far.
    pub fn so_far(&self) -> Measured {
        self.shared.measured().clone()
    }

    /// The time since the start, as [`Incident::at`] counts it.
    pub fn elapsed(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Lets the requests and downloads under way end, begins no more, and gives what was measured.
    pub fn stop(mut self) -> Measured {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed its message.
            drop(thread.join());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn send_requests(&self, kind: Kind, client: usize) {
        // A system that forbids it makes the measurement slower, not wrong.
        let _present = rustix::process::nice(NICE);
        while !self.stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            let (from, outcome) = self.ask(kind, client);
            let took = start.elapsed();
            match outcome {
                Ok(Answer { name }) => {
                    self.measured().count(kind, name, took, self.demand.seconds);
                }
                Err(error) => {
                    self.measured().fail(Incident {
                        at: self.start.elapsed(),
                        took,
                        kind,
                        failure: Failure::of(&error),
                        from,
                        error: error.to_string(),
                    });
                    std::thread::sleep(match kind {
                        Kind::Request => AFTER_FAILURE,
                        Kind::Download => AFTER_BROKEN_DOWNLOAD,
                    });
                }
            }
        }
    }

    /// One request from the client's next free port.
    fn ask(&self, kind: Kind, client: usize) -> (SocketAddr, io::Result<Answer>) {
        let Demand { target: to, patience: limit, .. } = self.demand;
        let mut from = self.next(client);
        for _ in 0..PORTS_TRIED {
            let stream = match (Connect { from, to, limit }).open() {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    from = self.next(client);
                    continue;
                }
                stream => stream,
            };
            let download = (kind == Kind::Download).then_some(self.demand.seconds);
            return (from, stream.and_then(|mut stream| ask(&mut stream, download)));
        }
        (from, Err(io::Error::other("no port is free")))
    }

    fn next(&self, client: usize) -> SocketAddr {
        let (first, last) = (*self.demand.ports.start(), *self.demand.ports.end());
        let count = u32::from(last.saturating_sub(first)) + 1;
        let number = self.ports[client].fetch_add(1, Ordering::Relaxed) % count;
        let port = first + u16::try_from(number).unwrap_or_default();
        SocketAddr::new(self.demand.clients[client], port)
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
