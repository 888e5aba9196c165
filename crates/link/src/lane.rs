//! A frame on its way out, and the room it lives in.
//!
//! **Holds always**
//! - L1: what leaves is whole frames, one after the other, unless one is replaced half way; every frame begins with a
//!   0x00, so that half frame costs nothing but itself.
//! - L2: a payload too long is refused and the lane stays as it was.

use crate::frame::{self, Head};
use crate::limits::{FRAME_BYTES_MIN, frame_bytes_most};

/// A payload that no frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes of it; [`crate::limits::PAYLOAD_BYTES_MAX`] would have been possible.
    pub bytes: usize,
}

/// How far the frame in a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing to send: empty, or everything has left.
    Idle,
    /// Nothing of it has left.
    Queued,
    /// Some bytes have left and others have not.
    Leaving,
}

/// Room for one frame of at most `N` bytes on the wire.
pub(crate) struct Lane<const N: usize> {
    wire: [u8; N],
    /// Bytes of the frame; it stays here when it has left, to be sent again.
    len: usize,
    /// Bytes of it that have left.
    left: usize,
}

impl<const N: usize> Lane<N> {
    pub const fn new() -> Lane<N> {
        Lane { wire: [0; N], len: 0, left: 0 }
    }

    /// Replaces what is in the lane and queues it.
    pub fn load(&mut self, head: Head, payload: &[u8]) -> Result<(), TooLong> {
        let too_long = TooLong { bytes: payload.len() };
        let length = u16::try_from(payload.len()).map_err(|_| too_long)?;
        if frame_bytes_most(payload.len()) > N {
            return Err(too_long);
        }
        self.len = frame::encode(&mut self.wire, head, length, payload);
        self.left = 0;
        Ok(())
    }

    /// As [`Lane::load`], for a frame without payload, which always fits.
    pub fn load_bare(&mut self, head: Head) {
        const { assert!(N >= FRAME_BYTES_MIN) };
        self.len = frame::encode(&mut self.wire, head, 0, &[]);
        self.left = 0;
    }

    /// Queues what has left once more. False if there is nothing, or if it is still on its way.
    pub fn again(&mut self) -> bool {
        let possible = self.len > 0 && self.stage() == Stage::Idle;
        if possible {
            self.left = 0;
        }
        possible
    }

    /// Takes a frame of which nothing has left out of the queue; one that is leaving goes on.
    pub fn hold_back(&mut self) {
        if self.stage() == Stage::Queued {
            self.left = self.len;
        }
    }

    /// Empties the lane, even half way.
    pub fn clear(&mut self) {
        self.len = 0;
        self.left = 0;
    }

    pub fn stage(&self) -> Stage {
        match self.left {
            left if left >= self.len => Stage::Idle,
            0 => Stage::Queued,
            _ => Stage::Leaving,
        }
    }

    /// Bytes that have not left.
    pub fn rest(&self) -> &[u8] {
        self.wire.get(self.left..self.len).unwrap_or_default()
    }

    /// `count` bytes of [`Lane::rest`] have left; true if they were the last ones.
    pub fn advance(&mut self, count: usize) -> bool {
        let was_idle = self.stage() == Stage::Idle;
        self.left = self.left.saturating_add(count).min(self.len);
        !was_idle && self.stage() == Stage::Idle
    }
}
