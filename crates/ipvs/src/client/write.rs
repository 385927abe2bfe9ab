//! Changes the table, with many changes in one system call.
//!
//! The kernel processes a chunk of messages in order within one `sendmsg`, and a refused message
//! does not stop the following ones. No message requests an acknowledgement: the answers are the
//! refusals, each with its message's sequence number, and the acknowledgement of an empty message
//! at the chunk's end. A chunk is so small that the answers fit the receive buffer even if every
//! message is refused. Only one chunk is in memory; its buffer is reused for the next.

use std::ops::ControlFlow;

use super::{Client, SentCommand};
use crate::codec::{Answer, Header, decode_object, messages};
use crate::{Command, CommandRefusal, DecodeError, Error, Interrupted, Operation};

/// A chunk's size in bytes. Larger ones gain nothing, and beyond the send buffer, some 212,000
/// bytes by default, the kernel refuses with `EMSGSIZE`.
const CHUNK: usize = 64 * 1024;
/// More than any command and the message at the end take together: under 300 bytes.
const COMMAND: usize = 512;
/// Left free in the receive buffer for the last acknowledgement.
const ACKNOWLEDGEMENT: usize = 2048;

impl Client {
    /// Executes changes in order and returns those that the kernel refused. The others were made.
    ///
    /// The commands are taken from the iterator as they are sent, so a large table need not be
    /// spelt out in memory. Nothing is ever sent twice.
    ///
    /// # Errors
    /// [`Interrupted`] when the batch could not be completed or its answers were lost; it contains
    /// how far it got.
    pub fn execute(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Vec<CommandRefusal>, Interrupted> {
        let mut commands = commands.into_iter();
        let mut refusals = Vec::new();
        let mut first = 0;
        loop {
            let stopped = |refusals, unknown, source| Interrupted { refusals, unknown, source };
            let chunk = match self.encode_chunk(&mut commands) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(refusals),
                Err(source) => return Err(stopped(refusals, first..first, source)),
            };
            // A send that fails has passed nothing to the kernel.
            if let Err(source) = self.send() {
                return Err(stopped(refusals, first..first, source));
            }
            let known = refusals.len();
            if let Err(source) = self.collect(&chunk, first, &mut refusals) {
                refusals.truncate(known);
                let unknown = match source {
                    // The permission is the same for every message: none was carried out.
                    Error::PermissionDenied { .. } => first..first,
                    _ => first..first + chunk.length,
                };
                return Err(stopped(refusals, unknown, source));
            }
            first += chunk.length;
        }
    }

    fn encode_chunk(
        &mut self,
        commands: &mut impl Iterator<Item = Command>,
    ) -> Result<Option<Chunk>, Error> {
        self.encoder.clear();
        let mut room = self.socket.receive_buffer().saturating_sub(ACKNOWLEDGEMENT);
        let mut chunk: Option<Chunk> = None;
        // At least one, even with a tiny receive buffer: a skipped command would count as done.
        while chunk.is_none()
            || self.encoder.bytes().len() + COMMAND <= CHUNK && room >= reply_cost(COMMAND)
        {
            let Some(command) = commands.next() else {
                break;
            };
            let header = self.header();
            let before = self.encoder.bytes().len();
            self.encoder.command(header, &command)?;
            let length = self.encoder.bytes().len() - before;
            room = room.saturating_sub(reply_cost(length));
            let chunk = chunk.get_or_insert(Chunk {
                start: header,
                length: 0,
                first: SentCommand { operation: command.operation(), object: command.object() },
            });
            chunk.length += 1;
        }
        if chunk.is_some() {
            let barrier = self.header();
            self.encoder.barrier(barrier.sequence)?;
        }
        Ok(chunk)
    }

    fn collect(
        &mut self,
        chunk: &Chunk,
        first: usize,
        refusals: &mut Vec<CommandRefusal>,
    ) -> Result<(), Error> {
        // Taken out of `self` while the answers are looked up in it.
        let sent = std::mem::take(&mut self.encoder);
        let outcome = self.receive(chunk.first, |message, answer| {
            let place = message.sequence.wrapping_sub(chunk.start.sequence);
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            match answer {
                Answer::Acknowledged if place == chunk.length => Ok(ControlFlow::Break(())),
                Answer::Failed(failure) if place < chunk.length => {
                    let sent_command = sent_command_at(sent.bytes(), message.sequence)
                        .map_err(|source| chunk.first.malformed(source))?;
                    match sent_command.refused(failure) {
                        Error::Refused(refusal) => {
                            refusals.push(CommandRefusal { index: first + place, refusal })
                        }
                        error => return Err(error),
                    }
                    Ok(ControlFlow::Continue(()))
                }
                // The empty message at the end cannot fail, nor anything else be ours.
                _ => Ok(ControlFlow::Continue(())),
            }
        });
        self.encoder = sent;
        outcome
    }
}

/// A run of commands in the encoder's buffer.
struct Chunk {
    /// The first command's header; the others' numbers follow on it, the closing message's last.
    start: Header,
    /// How many commands.
    length: usize,
    /// The first command, to name the chunk by.
    first: SentCommand,
}

/// What a sent message was, read back from its own bytes: keeping every command for the rare
/// refusal would cost more memory than the messages.
fn sent_command_at(sent: &[u8], sequence: u32) -> Result<SentCommand, DecodeError> {
    for message in messages(sent) {
        let message = message?;
        if message.sequence == sequence {
            let number = message.payload.first().ok_or(DecodeError::CutMessage)?;
            return Ok(SentCommand {
                operation: Operation::of_command(*number)
                    .ok_or(DecodeError::UnexpectedMessage(u16::from(*number)))?,
                object: decode_object(message.payload)?,
            });
        }
    }
    Err(DecodeError::CutMessage)
}

/// What the refusal of a message of this length takes in the receive buffer: the kernel counts
/// the memory it rounds up to, not the bytes (`SKB_TRUESIZE`). The numbers are those of 64-bit
/// kernels: 36 bytes in front of the echo, up to 96 of words, 320 of `struct skb_shared_info`,
/// and 256 for `struct sk_buff`.
fn reply_cost(message: usize) -> usize {
    (message + 36 + 96 + 320).next_power_of_two() + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_counted_no_cheaper_than_the_kernel_counts_it() {
        // Measured: 277 refusals of messages like this one fit into 212,992 bytes.
        assert!(reply_cost(140) >= 212_992 / 277);
    }
}
