//! As much of HTTP as is needed to see which real server answered, and whether the answer is
//! complete.

mod client;
mod server;

pub(super) use client::{Answer, Connect, ask};
pub use client::{get, get_from};
pub use server::Server;

/// The path of a long download: `/download?seconds=3`.
const DOWNLOAD: &str = "/download?seconds=";
/// The part of a download that is sent at once, ten times a second.
const PIECE: usize = 1000;
const PIECES_A_SECOND: u32 = 10;

/// The byte at a place of any download: one that is lost or sent twice shifts all that follow.
fn byte_at(place: usize) -> u8 {
    // Below a prime, so that no power of two is a period.
    u8::try_from(place % 251).unwrap_or_default()
}

/// How many bytes a download of so many seconds has.
fn length(seconds: u32) -> usize {
    seconds as usize * PIECES_A_SECOND as usize * PIECE
}

#[cfg(test)]
mod tests;
