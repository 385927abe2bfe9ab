//! The listener of the HTTP endpoint. Any process can take its port, so a port that is in use delays the
//! endpoint and nothing else.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::http::{self, Endpoint};

/// How long to wait before the port is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// A listener that exists or is waited for.
#[derive(Debug)]
pub struct Listener {
    address: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Bound(TcpListener),
    /// A thread tries it again and sends it here.
    Awaited {
        problem: io::Error,
        bound: oneshot::Receiver<TcpListener>,
    },
}

/// Why the endpoint is missing now; `None` while it is not. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndpointProblem(Arc<Mutex<Option<String>>>);

impl Listener {
    /// Listens on an address of the calling thread's network namespace, whichever one the daemon works
    /// in. If the port is in use or the address does not exist yet, it is tried again until it succeeds.
    ///
    /// # Errors
    /// The address is malformed or unknown, or not permitted.
    pub fn bind(address: &str) -> io::Result<Self> {
        let state = match TcpListener::bind(address) {
            Ok(listener) => State::Bound(listener),
            Err(problem) if is_temporary(&problem) => {
                State::Awaited { problem, bound: retry(address.to_owned())? }
            }
            Err(error) => return Err(error),
        };
        Ok(Self { address: address.to_owned(), state })
    }

    /// Serves the endpoint, as soon as there is a listener.
    pub(crate) async fn serve(self, endpoint: Endpoint, problem: EndpointProblem) {
        let Self { address, state } = self;
        let listener = match state {
            State::Bound(listener) => listener,
            State::Awaited { problem: error, bound } => {
                let text = format!(
                    "the HTTP endpoint is missing: cannot listen on {address}: {error}; trying again \
                     every {} s",
                    RETRY.as_secs()
                );
                warn!("{text}");
                problem.set(Some(text));
                let Ok(listener) = bound.await else { return };
                info!("listening on {address}");
                problem.set(None);
                listener
            }
        };
        let Err(error) = http::serve(listener, endpoint).await;
        let text = format!("the HTTP endpoint failed: {error}");
        warn!("{text}");
        problem.set(Some(text));
    }
}

impl EndpointProblem {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

/// Tries until it succeeds, in a thread that stays in the network namespace of the caller.
fn retry(address: String) -> io::Result<oneshot::Receiver<TcpListener>> {
    let (sender, bound) = oneshot::channel();
    let attempts = move || {
        while !sender.is_closed() {
            thread::sleep(RETRY);
            if let Ok(listener) = TcpListener::bind(&address) {
                let _sent = sender.send(listener);
                return;
            }
        }
    };
    thread::Builder::new().name("listener".to_owned()).spawn(attempts)?;
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_waited_for_and_a_malformed_address_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        let waiting = Listener::bind(&address).expect("it is waited for");
        let State::Awaited { problem, bound } = waiting.state else { panic!("{waiting:?}") };
        assert_eq!(problem.kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        let listener = bound.blocking_recv().expect("it is bound sometime");
        assert_eq!(listener.local_addr().expect("an address").to_string(), address);
        assert!(Listener::bind("nowhere").is_err());
    }
}
