//! `dns`: a query over UDP, over TCP where the answer is truncated.

mod answer;
mod query;
mod wire;

use std::net::SocketAddr;

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::outcome::{Failure, Fault};
use evenkeel_model::check::Check;
use evenkeel_model::check::DnsOptions;

use super::problem::Problem;
use super::{connect, udp};
use answer::Answer;

/// How long an answer over UDP may be (EDNS is not used, so servers send at most 512 bytes).
const LONGEST: usize = 4096;

pub(crate) async fn probe(
    options: &DnsOptions,
    destination: SocketAddr,
    check: &Check,
) -> Result<(), Problem> {
    let id = random_id()?;
    let query = query::encode(id, &options.name, options.record)?;
    let socket = connect::udp(destination, check).await?;
    socket.send(&query).await.map_err(|error| Problem::of_exchange(&error))?;
    let mut answer = loop {
        let packet = udp::receive(&socket, LONGEST).await?;
        // A late answer to an earlier query of the same port has another identifier.
        if let Some(answer) = answer::decode(&packet, id, options)? {
            break answer;
        }
    };
    if answer.is_truncated {
        answer = over_tcp(&query, id, options, destination, check).await?;
    }
    Ok(judge(options, &answer)?)
}

async fn over_tcp(
    query: &[u8],
    id: u16,
    options: &DnsOptions,
    destination: SocketAddr,
    check: &Check,
) -> Result<Answer, Problem> {
    let failed = |error| Problem::of_exchange(&error);
    let mut stream = connect::tcp(destination, check).await?;
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length, query].concat()).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut reply = vec![0; length.into()];
    stream.read_exact(&mut reply).await.map_err(failed)?;
    answer::decode(&reply, id, options)?
        .ok_or_else(|| Failure::Malformed { what: "an answer to another query".to_owned() }.into())
}

fn judge(options: &DnsOptions, answer: &Answer) -> Result<(), Failure> {
    if answer.code != 0 {
        return Err(Failure::DnsCode { code: answer.code });
    }
    let is_wanted = match &options.answer {
        None => !answer.records.is_empty(),
        Some(wanted) => answer.records.iter().any(|it| it.is(wanted)),
    };
    if is_wanted {
        return Ok(());
    }
    let found = answer.records.iter().take(4).map(ToString::to_string).collect();
    Err(Failure::DnsAnswer { found })
}

fn random_id() -> Result<u16, Fault> {
    let mut bytes = [0; 2];
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|error| Fault::Local { error: error.to_string() })?;
    Ok(u16::from_be_bytes(bytes))
}

#[cfg(test)]
#[path = "dns/tests.rs"]
mod tests;
