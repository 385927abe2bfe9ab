//! Assembles the daemon: the reconciler on its own thread, and around it the asynchronous parts that
//! trigger or query it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use evenkeel_control::{BindError, EventPublisher, Server};
use evenkeel_engine::{HostKernel, Kernel};
use evenkeel_host::{AddressMonitor, TooFewDescriptors, reserve_descriptors};
use evenkeel_source::{Follower, HostParameters, OpenSource};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use crate::clock::DaemonClock;
use crate::http::Endpoint;
use crate::listen::{EndpointProblem, Listener};
use crate::liveness::Liveness;
use crate::lost_vips::{KeptVips, Rebinder};
use crate::metrics::Metrics;
use crate::netns_monitor::{NamespaceLost, NetnsMonitor};
use crate::options::Options;
use crate::reconciler::{Message, Outputs, Reconciler, Wake};
use crate::status;
use crate::systemd::Notifier;
use crate::traffic_reader::KernelTraffic;

/// How long the reconciler may make no progress: longer than any pass over a large table takes.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// How long the reconciler may take to stop: enough for the rest of a pass over any table.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long subscribers may take for their last events when the daemon stops.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the daemon could not start, or had to end.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The control socket is taken, mostly by another daemon.
    #[error(transparent)]
    Control(#[from] BindError),
    /// The kernel's notifications of address changes are not available.
    #[error("cannot subscribe to address changes")]
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
    /// The process may not open what the daemon needs.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The reconciler did not stop in time.
    #[error("the reconciler did not stop in time: it is stuck reading the spec or the kernel")]
    ReconcilerHangs,
    /// The reconciler's thread panicked.
    #[error("the reconciler's thread ended unexpectedly")]
    ReconcilerDied,
    /// The name of the network namespace stands for another one now, or for none.
    #[error(transparent)]
    NamespaceLost(#[from] NamespaceLost),
}

fn system(tried: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { tried, source }
}

/// The most descriptors that the daemon has open at the same time: 64 connections to the HTTP endpoint, as many
/// to the control socket with each kind of rights, and as many again for the daemon's own sockets and threads and
/// for a pass, which opens some 20. As connections are limited, they never take those of a pass.
const DESCRIPTORS: u64 = 4 * 64;

/// Reserves what a pass opens, before anything else is opened.
///
/// # Errors
/// [`DaemonError::Descriptors`]: without them, no pass would be complete.
pub fn reserve() -> Result<(), DaemonError> {
    Ok(reserve_descriptors(DESCRIPTORS)?)
}

/// Runs the daemon in the calling thread's network namespace until SIGTERM or SIGINT, or until the
/// namespace's name stands for another one. The spec comes from the source, with these parameters. The
/// listener, if there is one, serves the HTTP endpoint; it may belong to another namespace.
///
/// # Errors
/// [`DaemonError`]; nothing was changed then, unless the reconciler had started.
pub fn run(
    options: Options,
    source: OpenSource,
    parameters: HostParameters,
    listener: Option<Listener>,
) -> Result<(), DaemonError> {
    // Metrics are written one at a time: one blocking thread suffices and bounds memory.
    let runtime =
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    let runtime = runtime.map_err(system("start the async runtime"))?;
    let outcome = runtime.block_on(serve(options, source, parameters, listener));
    // Does not wait for open connections, which may last long.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    options: Options,
    source: OpenSource,
    parameters: HostParameters,
    listener: Option<Listener>,
) -> Result<(), DaemonError> {
    // First: until then, SIGHUP would end the daemon.
    let mut signals = Signals::new().map_err(system("install signal handlers"))?;
    let server = Server::bind(options.state.owner().as_str())?;
    let changes = AddressMonitor::subscribe().map_err(DaemonError::AddressMonitor)?;

    let (publish, status) =
        watch::channel(Arc::new(status::starting(&options, DaemonClock::new().steady())));
    let traffic = KernelTraffic::new(options.ipvs_use);
    let names = traffic.names();
    let metrics = Metrics::new(options.version, Some((Box::new(traffic), options.traffic)));
    let liveness = Arc::new(Liveness::new());
    let notifier = Arc::new(Notifier::new());
    let endpoint_problem = EndpointProblem::default();
    if let Some(listener) = listener {
        let endpoint = Endpoint {
            metrics: metrics.clone(),
            status: status.clone(),
            liveness: Arc::clone(&liveness),
            patience: MAX_SILENCE,
            allowed_hosts: options.allowed_hosts.clone(),
        };
        tokio::spawn(listener.serve(endpoint, endpoint_problem.clone()));
        // So that the first status reports a port that is in use.
        tokio::task::yield_now().await;
    }
    let alive = (Arc::clone(&notifier), Arc::clone(&liveness));
    tokio::spawn(async move { alive.0.keep_alive(alive.1, MAX_SILENCE).await });

    let (messages, receiver) = channel();
    let commands = messages.clone();
    let send_command = move |command| {
        // Without a reconciler the reply is dropped, which the client sees as a stopping daemon.
        let _sent = commands.send(Message::Command(command));
    };
    let events = EventPublisher::new();
    let publisher = events.clone();
    tokio::spawn(async move {
        let Err(error) = server.serve(status, publisher, send_command).await;
        warn!("the control socket failed: {error}");
    });
    let sender = messages.clone();
    let builder = thread::Builder::new().name("addresses".to_owned());
    let (lock, kept_vips) = (<HostKernel as Kernel>::Lock::default(), KeptVips::default());
    let (ipvs_use, state) = (options.ipvs_use, options.state.clone());
    let (rebinders_lock, kept) = (lock.clone(), kept_vips.clone());
    let forward = move || {
        let connect = Box::new(move |addresses| HostKernel::connect_for(ipvs_use, addresses));
        let mut rebinder = Rebinder::new(connect, rebinders_lock, kept, state);
        forward_changes(changes, &mut rebinder, &sender);
    };
    builder.spawn(forward).map_err(system("start a thread"))?;

    let source_events = messages.clone();
    let source = source(Box::new(move || {
        let _sent = source_events.send(Message::Source);
    }));
    let follower = Follower::new(source, parameters, options.interval);
    let mut namespace = NetnsMonitor::new(options.netns.clone());
    let mut namespace_checks = tokio::time::interval(options.interval);
    let outputs = Outputs {
        metrics,
        liveness,
        notifier,
        names,
        publish,
        events: events.clone(),
        endpoint_problem,
    };
    let results = messages.clone();
    let wake: Wake = Arc::new(move || {
        let _sent = results.send(Message::Health);
    });
    let (ended, mut end) = oneshot::channel();
    let run_reconciler = move || {
        let ipvs_use = options.ipvs_use;
        let connect = Box::new(move |addresses| HostKernel::connect_for(ipvs_use, addresses));
        let mut reconciler =
            Reconciler::new(options, connect, follower, outputs, lock, kept_vips, wake);
        reconciler.run(&receiver);
        let _sent = ended.send(());
    };
    let reconciler = thread::Builder::new().name("reconciler".to_owned()).spawn(run_reconciler);
    let reconciler = reconciler.map_err(system("start the reconciler"))?;
    let (mut deadline, mut lost) = (None, None);
    let has_stopped = loop {
        tokio::select! {
            _ = namespace_checks.tick(), if lost.is_none() => {
                lost = namespace.check();
                if lost.is_some() {
                    let _sent = messages.send(Message::Stop);
                    deadline.get_or_insert(tokio::time::Instant::now() + STOP_TIMEOUT);
                }
            }
            request = signals.next() => match request {
                SignalRequest::Reload => {
                    let _sent = messages.send(Message::Reload);
                }
                SignalRequest::Stop(name) => {
                    info!("{name}: stopping");
                    let _sent = messages.send(Message::Stop);
                    deadline.get_or_insert(tokio::time::Instant::now() + STOP_TIMEOUT);
                }
            },
            _ = &mut end => break true,
            () = tokio::time::sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {
                break false;
            }
        }
    };
    events.end();
    // A subscriber that does not read its last events delays the end only so long.
    let _all = tokio::time::timeout(FAREWELL_TIMEOUT, events.disconnected()).await;
    if !has_stopped {
        return Err(DaemonError::ReconcilerHangs);
    }
    reconciler.join().map_err(|_| DaemonError::ReconcilerDied)?;
    lost.map_or(Ok(()), |lost| Err(lost.into()))
}

/// Binds lost VIPs again, and forwards address and interface changes to the reconciler until it ends. It runs
/// on its own thread, which otherwise only waits, so that a removed VIP is bound again at once.
fn forward_changes<K: Kernel>(
    mut changes: AddressMonitor,
    rebinder: &mut Rebinder<K>,
    messages: &Sender<Message>,
) {
    loop {
        let waited = {
            let mut queue = [PollFd::new(&changes, PollFlags::IN)];
            poll(&mut queue, None)
        };
        let received = match waited {
            Ok(_) => changes.take(),
            Err(Errno::INTR) => continue,
            Err(error) => {
                warn!(
                    "cannot wait for address changes: {error}; addresses are checked only at each \
                     interval"
                );
                thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        match received {
            Ok(None) => {}
            Ok(Some(change)) => {
                let rebound = rebinder.rebind(&change);
                if messages.send(Message::Address { gone: change.gone, rebound }).is_err() {
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

/// What a signal requests.
enum SignalRequest {
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

    async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.hangup.recv() => SignalRequest::Reload,
            _ = self.terminate.recv() => SignalRequest::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalRequest::Stop("SIGINT"),
        }
    }
}
