//! Reliable frames over a byte stream: the debugger's serial link, as two state machines.
//!
//! Bytes go in, bytes come out, time is handed in as a number; nothing here reads a line, waits or allocates. The same
//! code runs in root, over a polled UART ([`Server`]), and at the prompt, over a socket or a serial device ([`Client`]).
//!
//! # The frame
//! ```text
//!        ┌──── COBS: no 0x00 within ─────────────────────────────────────────────┐
//!  0x00  │ version │ kind │ length │ session │ sequence │ payload       │ CRC-32C │  0x00
//!        │    u8   │  u8  │   u16  │   u32   │    u32   │ 0…4000 bytes  │   u32   │
//!        └─────────┴──────┴────────┴─────────┴──────────┴───────────────┴─────────┘
//!  at       0         1       2        4          8         12            12+length       before COBS, little endian
//! ```
//! `length` is that of the payload; the CRC is taken over head and payload. On the wire a frame has 19 to
//! [`FRAME_BYTES_MAX`] bytes. The 0x00 ends a frame and no data can imitate it; the one in front ends whatever half
//! frame came before, so it cannot swallow this one.
//!
//! | kind | | from | session, sequence | repeated |
//! |---|---|---|---|---|
//! | 1 | request | client | the client's, a session begins at 1 | every [`RESEND_MS`] until answered or given up |
//! | 2 | answer | server | those of the request | each time the request is repeated |
//! | 3 | notice | server | root's epoch, counted | when root asks for it, until acknowledged or replaced |
//! | 4 | acknowledgement | client | those of the notice | each time the notice is repeated |
//! | 5 | datagram | server | root's epoch, counted | never |
//! | 6 | reset | server | those of the request | each time the request is repeated |
//!
//! # What a loss costs
//! | lost, cut or corrupted | then |
//! |---|---|
//! | request, answer | [`RESEND_MS`], then the request is repeated; it is executed once, its answer kept at the server |
//! | notice, acknowledgement | the time until root repeats it; it is told once |
//! | datagram | the datagram |
//! | bytes within a frame | that frame; the next 0x00 is the next beginning |
//! | a byte that becomes 0x00, or a 0x00 lost at the end of a frame | that frame: the next one begins with its own |
//! | the client (killed, restarted) | nothing: a new session replaces the old one with its first request |
//! | root (loaded anew) | the session: the next request is not executed but told as [`Event::Forgotten`] |
//!
//! A request may be executed twice in one case only: it is the first of its session, and between its arrival and that
//! of its answer root is loaded anew or another client takes over. So a client begins with a question, not with a deed.
//!
//! **Holds always**: S1 to S4 in `server.rs`, P1 to P3 in `client.rs`, F1 to F3 in `frame.rs`, L1 and L2 in `lane.rs`.
//! No panic: no indexing, no unwrap, no arithmetic that can overflow outside tests; the lints below keep it so.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(any(test, feature = "fuzz")),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(any(test, feature = "fuzz"))]
extern crate std;

mod client;
mod cobs;
mod counts;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod lane;
mod limits;
#[cfg(any(test, feature = "fuzz"))]
mod lossy;
mod server;

pub use client::{CannotAsk, Client, Event, Silent};
pub use counts::Counts;
pub use lane::TooLong;
pub use limits::{
    CRC_BYTES, FRAME_BYTES_MAX, FRAME_BYTES_MIN, HEAD_BYTES, PAYLOAD_BYTES_MAX, RAW_BYTES_MAX, RESEND_MS, SILENT_MS, TRIES_MAX,
    VERSION, frame_bytes_most,
};
pub use server::{CannotAnswer, Received, Server};

/// Whether `a` comes after `b`, counting round at 2^32: within the next 2^31.
const fn newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::newer;

    /// Would catch notices that are taken for old ones for ever, once their count has gone round.
    #[test]
    fn what_comes_after_the_highest_number_is_newer() {
        assert!(newer(0, !0) && newer(5, !0 - 5) && newer(2, 1));
        assert!(!newer(!0, 0) && !newer(1, 2) && !newer(7, 7));
    }
}
