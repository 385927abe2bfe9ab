//! `icmp`: an echo, over one socket for all targets of a family and source.
//!
//! A raw socket (CAP_NET_RAW) also receives what routers say of an echo; where none is permitted, a ping
//! socket (`net.ipv4.ping_group_range`) is used, which receives answers only.

mod message;
mod socket;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::outcome::{Failure, Fault};

use super::problem::Problem;
use socket::{EchoReply, EchoSocket};

/// Which socket a target needs: its family, and the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    is_v4: bool,
    source: Option<IpAddr>,
}

/// The sockets in use. One is closed with the last probe that uses it, so that sources that no check has
/// any more cost nothing.
#[derive(Debug, Default)]
pub(crate) struct IcmpSockets(Mutex<HashMap<Key, Weak<EchoSocket>>>);

impl IcmpSockets {
    pub(crate) async fn probe(
        &self,
        address: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<(), Problem> {
        let socket = self.socket(Key { is_v4: address.is_ipv4(), source })?;
        let mut echo = socket.register(address)?;
        socket.send(&echo).await?;
        match echo.reply().await {
            Some(EchoReply::Answer) => Ok(()),
            Some(EchoReply::Unreachable) => Err(Failure::Unreachable.into()),
            None => Err(Fault::Local { error: "the ICMP socket was closed".to_owned() }.into()),
        }
    }

    fn socket(&self, key: Key) -> Result<Arc<EchoSocket>, Problem> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = sockets.get(&key).and_then(Weak::upgrade) {
            return Ok(socket);
        }
        let socket = EchoSocket::open(key.is_v4, key.source)?;
        sockets.retain(|_, it| it.strong_count() > 0);
        sockets.insert(key, Arc::downgrade(&socket));
        Ok(socket)
    }
}

#[cfg(test)]
#[path = "icmp/tests.rs"]
mod tests;
