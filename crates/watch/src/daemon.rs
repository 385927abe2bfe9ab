//! Puts the daemon together: the keeper on a thread of its own, and around it, asynchronously,
//! everything that can wake or ask it.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use evenkeel_engine::{HostKernel, StateDir};
use evenkeel_host::AddressMonitor;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::control;
use crate::http::{self, Endpoint};
use crate::liveness::Liveness;
use crate::metrics::{Metrics, TrafficOptions};
use crate::netns_monitor::{NamespaceLost, NetnsMonitor};
use crate::reconciler::{Message, Outputs, Reconciler};
use crate::spec_source::SpecSource;
use crate::spec_watcher::Files;
use crate::status::{Mode, Status};
use crate::systemd::Notifier;
use crate::traffic_reader::KernelTraffic;

/// How long the keeper may be silent: longer than any pass over a large table takes.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// How long the keeper may take to end: for the rest of a pass, over whatever table.
const LAST: Duration = Duration::from_secs(20);

/// How the daemon is to work.
#[derive(Debug)]
pub struct Options {
    /// The version of the program, for people.
    pub version: &'static str,
    /// The longest time between two looks at the host.
    pub interval: Duration,
    /// The longest time between two readings of the whole of a large table.
    pub full_interval: Duration,
    /// Whether anything is changed.
    pub mode: Mode,
    /// The network namespace by the name of its folder.
    pub namespace: String,
    /// The name by which it was entered, where it was.
    pub netns: Option<String>,
    /// Where its journal is.
    pub state: StateDir,
    /// Where the spec comes from, as it is told and compared: absolute paths.
    pub sources: Vec<String>,
    /// What of the traffic the metrics show.
    pub traffic: TrafficOptions,
}

/// Why the daemon could not begin, or had to end.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The control socket is taken, mostly by another daemon.
    #[error(transparent)]
    Control(#[from] control::BindError),
    /// The kernel does not tell of changed addresses.
    #[error("cannot listen for changes of addresses")]
    AddressMonitor(#[source] evenkeel_host::Error),
    /// The system refused something else.
    #[error("cannot {tried}")]
    System {
        /// What was tried.
        tried: &'static str,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// The keeper did not end when it was told to.
    #[error("the keeper does not end: it hangs where it reads the spec or the kernel")]
    ReconcilerHangs,
    /// The keeper came to an end by itself.
    #[error("the keeper's thread ended unexpectedly")]
    ReconcilerDied,
    /// The name of the network namespace stands for another one now, or for none.
    #[error(transparent)]
    NamespaceLost(#[from] NamespaceLost),
}

fn system(tried: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { tried, source }
}

/// Keeps the calling thread's network namespace until SIGTERM or SIGINT, or until its name stands for
/// another one. The listener, if there is
/// one, serves the endpoint; it may belong to another namespace.
///
/// # Errors
/// [`DaemonError`]; nothing was changed then, unless the keeper died.
pub fn run(
    options: Options,
    source: Box<dyn SpecSource>,
    places: Vec<PathBuf>,
    listener: Option<TcpListener>,
) -> Result<(), DaemonError> {
    // Metrics are written one at a time; a second thread for that would have memory of its own.
    let runtime =
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    let runtime = runtime.map_err(system("start the asynchronous part"))?;
    let outcome = runtime.block_on(serve(options, source, places, listener));
    // A connection that is open may stay so for long.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    options: Options,
    source: Box<dyn SpecSource>,
    places: Vec<PathBuf>,
    listener: Option<TcpListener>,
) -> Result<(), DaemonError> {
    let control = control::Socket::bind()?;
    let changes = AddressMonitor::subscribe().map_err(DaemonError::AddressMonitor)?;
    let mut signals = Signals::new().map_err(system("listen for signals"))?;

    let (publish, status) =
        watch::channel(Arc::new(Status::starting(&options, Clock::new().wall())));
    let traffic = KernelTraffic::default();
    let names = traffic.names();
    let metrics = Metrics::new(options.version, Some((Box::new(traffic), options.traffic)));
    let liveness = Arc::new(Liveness::new());
    let notifier = Arc::new(Notifier::new());
    if let Some(listener) = listener {
        let endpoint = Endpoint {
            metrics: metrics.clone(),
            status: status.clone(),
            liveness: Arc::clone(&liveness),
            patience: MAX_SILENCE,
        };
        tokio::spawn(async move {
            let Err(error) = http::serve(listener, endpoint).await;
            warn!("the endpoint is of no use: {error}");
        });
    }
    let alive = (Arc::clone(&notifier), Arc::clone(&liveness));
    tokio::spawn(async move { alive.0.keep_alive(alive.1, MAX_SILENCE).await });

    let (messages, receiver) = channel();
    let orders = messages.clone();
    let order = move |command| {
        // Without a keeper nobody is there to obey; the reply is dropped, and that is told.
        let _sent = orders.send(Message::Command(command));
    };
    let asked = status.clone();
    tokio::spawn(async move {
        let Err(error) = control.serve(asked, order).await;
        warn!("the control socket is of no use: {error}");
    });
    let sender = messages.clone();
    let builder = thread::Builder::new().name("addresses".to_owned());
    builder.spawn(move || listen(changes, &sender)).map_err(system("start a thread"))?;

    let file_events = messages.clone();
    let files = Files::new(places, move || {
        let _sent = file_events.send(Message::Files);
    });
    let mut namespace = NetnsMonitor::new(options.netns.clone());
    let mut looks = tokio::time::interval(options.interval);
    let outputs = Outputs { metrics, liveness, notifier, names, publish };
    let (ended, mut end) = oneshot::channel();
    let run_reconciler = move || {
        let connect = Box::new(HostKernel::connect);
        let mut reconciler = Reconciler::new(options, connect, source, files, outputs);
        reconciler.run(&receiver);
        let _sent = ended.send(());
    };
    let reconciler = thread::Builder::new().name("reconciler".to_owned()).spawn(run_reconciler);
    let reconciler = reconciler.map_err(system("start the keeper"))?;
    let (mut last, mut lost) = (None, None);
    loop {
        tokio::select! {
            _ = looks.tick(), if lost.is_none() => {
                lost = namespace.check();
                if lost.is_some() {
                    let _sent = messages.send(Message::Stop);
                    last.get_or_insert(tokio::time::Instant::now() + LAST);
                }
            }
            asked = signals.next() => match asked {
                Asked::Reload => {
                    let _sent = messages.send(Message::Reload);
                }
                Asked::Stop(name) => {
                    info!("{name}: stopping");
                    let _sent = messages.send(Message::Stop);
                    last.get_or_insert(tokio::time::Instant::now() + LAST);
                }
            },
            _ = &mut end => break,
            () = tokio::time::sleep_until(last.unwrap_or_else(tokio::time::Instant::now)), if last.is_some() => {
                return Err(DaemonError::ReconcilerHangs);
            }
        }
    }
    reconciler.join().map_err(|_| DaemonError::ReconcilerDied)?;
    lost.map_or(Ok(()), |lost| Err(lost.into()))
}

/// Passes on that addresses or interfaces changed, for as long as somebody hears it. On a thread of
/// its own, which does nothing but wait: a VIP that is gone is to be back at once.
fn listen(mut changes: AddressMonitor, messages: &Sender<Message>) {
    loop {
        let waited = {
            let mut queue = [PollFd::new(&changes, PollFlags::IN)];
            poll(&mut queue, None)
        };
        let receiver = match waited {
            Ok(_) => changes.take(),
            Err(Errno::INTR) => continue,
            Err(error) => {
                return warn!("addresses are looked at in each interval only: {error}");
            }
        };
        match receiver {
            Ok(None) => {}
            Ok(Some(change)) => {
                if messages.send(Message::Address { gone: change.gone }).is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!("{error}");
                thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

/// What signals ask for.
enum Asked {
    Reload,
    Stop(&'static str),
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
        }
    }
}
