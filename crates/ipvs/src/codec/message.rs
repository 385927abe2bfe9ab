//! Netlink messages, read in place (`struct nlmsghdr`, `struct nlmsgerr` and the extended
//! acknowledgements of `include/uapi/linux/netlink.h`).

use neli::consts::nl::{NlmF, Nlmsg, NlmsgerrAttr};

use super::attribute::{Attributes, aligned};
use crate::DecodeError;

/// `NLMSG_HDRLEN`
pub(super) const NLMSG_HDRLEN: usize = 16;
/// The error number in front of the echoed request in `struct nlmsgerr`.
const ERRNO_LEN: usize = 4;

/// The netlink messages in a datagram. After an error the iterator ends.
#[must_use]
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages(datagram)
}

/// See [`messages`].
#[derive(Debug, Clone)]
pub struct Messages<'a>(&'a [u8]);

/// One netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The family's number or one of netlink's own types (`nlmsg_type`).
    pub kind: u16,
    /// `nlmsg_flags`
    pub flags: u16,
    /// The number of the request it answers (`nlmsg_seq`).
    pub sequence: u32,
    /// The receiving socket (`nlmsg_pid`).
    pub port: u32,
    /// What follows the header: for a family's message, the generic netlink header first.
    pub payload: &'a [u8],
}

/// The meaning of a message for the request it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A message of a family, its payload.
    Data(&'a [u8]),
    /// The end of a dump.
    Done,
    /// A request that asked for it was carried out.
    Acknowledged,
    /// A request was refused, or a dump broken off.
    Failed(Failure<'a>),
    /// To be ignored.
    Nothing,
}

/// The kernel's refusal as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own words; bytes that are not UTF-8 are replaced.
    pub message: Option<std::borrow::Cow<'a, str>>,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let next = split(self.0);
        self.0 = next.map_or(&[], |(_, rest)| rest);
        Some(next.map_or(Err(DecodeError::CutMessage), |(first, _)| Ok(first)))
    }
}

fn split(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<NLMSG_HDRLEN>()?;
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
    let message = Message {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        port: u32::from_ne_bytes([p0, p1, p2, p3]),
        payload: bytes.get(NLMSG_HDRLEN..length)?,
    };
    // `length` is at most the slice's own here, so aligning it cannot overflow.
    Some((message, bytes.get(aligned(length)..).unwrap_or_default()))
}

impl<'a> Message<'a> {
    /// Interprets the message as an answer to a request.
    ///
    /// # Errors
    /// When one of netlink's own messages is cut short, or reports that data was lost.
    pub fn answer(&self) -> Result<Answer<'a>, DecodeError> {
        match Nlmsg::from(self.kind) {
            Nlmsg::Noop => Ok(Answer::Nothing),
            Nlmsg::Done => self.done(),
            Nlmsg::Error => self.error(),
            Nlmsg::Overrun => Err(DecodeError::UnexpectedMessage(self.kind)),
            // The numbers below NLMSG_MIN_TYPE are netlink's own.
            _ if self.kind < 0x10 => Err(DecodeError::UnexpectedMessage(self.kind)),
            _ => Ok(Answer::Data(self.payload)),
        }
    }

    /// Whether the kernel reports that the table changed during a dump.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.flags & NlmF::DUMP_INTR.bits() != 0
    }

    /// A dump's end carries its error number, if the kernel is not a very old one.
    fn done(&self) -> Result<Answer<'a>, DecodeError> {
        if self.payload.is_empty() {
            return Ok(Answer::Done);
        }
        let (errno, words) = self.errno()?;
        Ok(match errno {
            0 => Answer::Done,
            errno => Answer::Failed(Failure { errno, message: self.explanation(words)? }),
        })
    }

    fn error(&self) -> Result<Answer<'a>, DecodeError> {
        let (errno, echo) = self.errno()?;
        if errno == 0 {
            return Ok(Answer::Acknowledged);
        }
        let request = echo.first_chunk::<NLMSG_HDRLEN>().ok_or(DecodeError::CutMessage)?;
        let [l0, l1, l2, l3, ..] = *request;
        // With NLM_F_CAPPED only the request's header is returned, else all of it.
        let echoed = if self.flags & NlmF::CAPPED.bits() != 0 {
            NLMSG_HDRLEN
        } else {
            usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3]))
                .ok()
                .filter(|&length| length <= echo.len())
                .ok_or(DecodeError::CutMessage)?
        };
        let words = echo.get(aligned(echoed)..).unwrap_or_default();
        let message = self.explanation(words)?;
        Ok(Answer::Failed(Failure { errno, message }))
    }

    fn errno(&self) -> Result<(i32, &'a [u8]), DecodeError> {
        let (errno, rest) =
            self.payload.split_first_chunk::<ERRNO_LEN>().ok_or(DecodeError::CutMessage)?;
        Ok((i32::from_ne_bytes(*errno).saturating_neg(), rest))
    }

    fn explanation(
        &self,
        attributes: &'a [u8],
    ) -> Result<Option<std::borrow::Cow<'a, str>>, DecodeError> {
        if self.flags & NlmF::ACK_TLVS.bits() == 0 {
            return Ok(None);
        }
        for attribute in Attributes(attributes) {
            let attribute = attribute?;
            if NlmsgerrAttr::from(attribute.kind) == NlmsgerrAttr::Msg {
                return Ok(Some(String::from_utf8_lossy(attribute.text())));
            }
        }
        Ok(None)
    }
}
