//! Every maximum and every time of the link, in one place.
//!
//! **Proof**: the asserts below; `lossy.rs` sends the longest payload; `lane.rs` refuses one byte more.

/// First byte of every frame: the revision of this crate's frames. Raised by hand when the head or the rules change.
///
/// What every revision keeps, so that two of them can tell each other apart: COBS, the 0x00 at the end, the version as
/// first byte, the CRC-32C as last four.
pub const VERSION: u8 = 1;
/// Bytes of the head of a frame.
pub const HEAD_BYTES: usize = 12;
/// Bytes of the CRC-32C behind the payload.
pub const CRC_BYTES: usize = 4;
/// Bytes of payload that one frame carries at most. At 115 200 baud such a frame takes 0.35 s.
pub const PAYLOAD_BYTES_MAX: usize = 4000;
/// Bytes of a frame before COBS, at most.
pub const RAW_BYTES_MAX: usize = HEAD_BYTES + PAYLOAD_BYTES_MAX + CRC_BYTES;
/// Bytes on the wire of the longest frame, both 0x00 included.
pub const FRAME_BYTES_MAX: usize = frame_bytes_most(PAYLOAD_BYTES_MAX);
/// Bytes on the wire of a frame without payload, both 0x00 included.
pub const FRAME_BYTES_MIN: usize = frame_bytes_most(0);

/// Milliseconds without an answer after which a request is sent again. Above the 0.35 s that the longest answer takes,
/// so a line without faults carries no frame twice.
pub const RESEND_MS: u64 = 500;
/// How often a request is sent unless its caller sets a deadline of its own.
pub const TRIES_MAX: u64 = 20;
/// Milliseconds after which a request without a deadline of its own is given up.
pub const SILENT_MS: u64 = RESEND_MS * TRIES_MAX;

/// Bytes on the wire, at most, of a frame with `payload` bytes: COBS adds one byte and one more for each 254, and a
/// 0x00 stands at either end.
#[must_use]
pub const fn frame_bytes_most(payload: usize) -> usize {
    let raw = HEAD_BYTES.saturating_add(payload).saturating_add(CRC_BYTES);
    raw.saturating_add(raw / 254).saturating_add(3)
}

const _: () = assert!(FRAME_BYTES_MAX == 4034 && FRAME_BYTES_MIN == 19, "what the documentation of the frame says");
const _: () = assert!(PAYLOAD_BYTES_MAX <= u16::MAX as usize, "the head has 16 bits for it");
const _: () = assert!(RESEND_MS * 115_200 / 10 / 1000 > FRAME_BYTES_MAX as u64, "no resend while the answer is on its way");
