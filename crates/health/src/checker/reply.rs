//! Replies of bounded size, and texts of them for messages.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::outcome::Failure;

use super::problem::Problem;

/// How much of a reply is read at most.
pub(crate) const LIMIT: usize = 64 * 1024;

/// How much of one is shown.
const SHOWN: usize = 80;

/// Reads until the expected bytes have arrived. They may be anywhere within the limit.
pub(crate) async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    expected: &[u8],
) -> Result<(), Problem> {
    let mut reply = Vec::new();
    let mut buffer = [0; 1024];
    // Only what is new can complete the expected bytes.
    let mut from = 0;
    while !contains(&reply, expected, from) {
        if reply.len() >= LIMIT {
            return Err(Failure::TooLong { limit: LIMIT }.into());
        }
        let read = match stream.read(&mut buffer).await {
            Ok(0) if reply.is_empty() => return Err(Failure::Closed.into()),
            Ok(0) => return Err(Failure::Unexpected { reply: shown(&reply) }.into()),
            Ok(read) => read,
            Err(error) => return Err(Problem::of_exchange(&error)),
        };
        from = reply.len().saturating_sub(expected.len());
        reply.extend_from_slice(&buffer[..read]);
    }
    Ok(())
}

/// Whether the bytes from a place on contain others.
pub(crate) fn contains(reply: &[u8], expected: &[u8], from: usize) -> bool {
    expected.is_empty() || reply[from..].windows(expected.len()).any(|it| it == expected)
}

/// The beginning of a reply, on one line and printable.
pub(crate) fn shown(reply: &[u8]) -> String {
    let beginning = &reply[..reply.len().min(SHOWN)];
    let text: String = String::from_utf8_lossy(beginning)
        .trim()
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect();
    if reply.len() > SHOWN { format!("{text}...") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_shown_on_one_short_line() {
        assert_eq!(shown(b"  -ERR\r\nno \x1b[1m\xff\n"), "-ERR  no  [1m\u{fffd}");
        assert_eq!(shown(&[b'a'; 1000]), format!("{}...", "a".repeat(80)));
        assert_eq!(shown(b""), "");
    }

    #[tokio::test]
    async fn what_is_expected_may_be_anywhere_within_the_limit() {
        async fn read(reply: &[u8], expected: &[u8]) -> Result<(), Problem> {
            read_until(&mut &reply[..], expected).await
        }
        assert_eq!(read(b"", b"").await, Ok(()));
        assert_eq!(read(b"220 mail ESMTP\r\n", b"ESMTP").await, Ok(()));
        assert_eq!(read(b"", b"220").await, Err(Failure::Closed.into()));
        let other = Failure::Unexpected { reply: "550 no".to_owned() };
        assert_eq!(read(b"550 no\r\n", b"220").await, Err(other.into()));
        // Across two reads.
        let mut long = vec![b'x'; 1021];
        long.extend(b"needle");
        assert_eq!(read(&long, b"needle").await, Ok(()));
        let endless = vec![b'x'; LIMIT * 2];
        assert_eq!(read(&endless, b"needle").await, Err(Failure::TooLong { limit: LIMIT }.into()));
    }
}
