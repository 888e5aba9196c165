//! Consistent Overhead Byte Stuffing: any bytes without a single 0x00 (Cheshire and Baker, 1999).
//!
//! Our own, since it has to stop at any byte, live in a static and never panic; the crate `cobs` is the test's oracle.
//!
//! **Holds always**
//! - C1: nothing is written outside the room, whatever is pushed; what does not fit is told, not cut in silence.
//! - C2: an encoder writes no 0x00, a decoder is never handed one.
//!
//! **Cost**: a few instructions a byte.

/// Writes COBS into a room, one byte of data after the other.
pub(crate) struct Encoder<'r> {
    room: &'r mut [u8],
    /// Where the next byte goes.
    end: usize,
    /// Where the length of the block being written will go.
    code_at: usize,
    /// That length, itself included.
    code: u8,
}

impl<'r> Encoder<'r> {
    /// Starts at `at` in the room.
    pub fn new(room: &'r mut [u8], at: usize) -> Encoder<'r> {
        Encoder { room, end: at.saturating_add(1), code_at: at, code: 1 }
    }

    /// Appends one byte of data.
    pub fn push(&mut self, byte: u8) {
        if byte != 0 {
            self.put(self.end, byte);
            self.end = self.end.saturating_add(1);
            self.code = self.code.saturating_add(1);
        }
        if byte == 0 || self.code == 0xff {
            self.put(self.code_at, self.code);
            self.code_at = self.end;
            self.end = self.end.saturating_add(1);
            self.code = 1;
        }
    }

    /// Ends the last block and returns where the encoded bytes end.
    pub fn finish(mut self) -> usize {
        self.put(self.code_at, self.code);
        self.end
    }

    fn put(&mut self, at: usize, byte: u8) {
        if let Some(slot) = self.room.get_mut(at) {
            *slot = byte;
        }
    }
}

/// Reads COBS, one byte of it after the other. The caller keeps the data and handles 0x00.
#[derive(Clone, Copy)]
pub(crate) struct Decoder {
    /// Bytes of the block still to come.
    left: u8,
    /// The block that ends now stood for a 0x00 as well, if another block follows.
    zero_owed: bool,
}

impl Decoder {
    pub const fn new() -> Decoder {
        Decoder { left: 0, zero_owed: false }
    }

    /// Takes one byte that is not 0x00; returns the byte of data that it completes.
    pub fn push(&mut self, byte: u8) -> Option<u8> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Some(byte);
        }
        let zero = self.zero_owed.then_some(0);
        self.left = byte.saturating_sub(1);
        self.zero_owed = byte != 0xff;
        zero
    }

    /// Whether the data may end here: no block is half read.
    pub const fn at_end_of_block(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn encoded(data: &[u8]) -> Vec<u8> {
        let mut room = std::vec![0xaa; data.len() + data.len() / 254 + 1];
        let mut encoder = Encoder::new(&mut room, 0);
        data.iter().for_each(|byte| encoder.push(*byte));
        let end = encoder.finish();
        assert!(end <= room.len(), "the stated overhead is exceeded");
        room.truncate(end);
        room
    }

    fn decoded(bytes: &[u8]) -> Vec<u8> {
        let mut decoder = Decoder::new();
        bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
    }

    /// Data around the length of a full block, with few or many zeros.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![1 => Just(0u8), 9 => any::<u8>()];
        prop_oneof![
            prop::collection::vec(byte, 0..700),
            (0usize..1100, 1u8..).prop_map(|(count, byte)| std::vec![byte; count]),
            (0usize..1100).prop_map(|count| std::vec![0; count]),
        ]
    }

    proptest! {
        /// Would catch any disagreement with an implementation that is not ours, in either direction.
        #[test]
        fn the_crate_cobs_reads_what_we_write_and_we_read_what_it_writes(data in data()) {
            let ours = encoded(&data);
            prop_assert!(!ours.contains(&0));
            prop_assert_eq!(&::cobs::decode_vec(&ours).unwrap(), &data);
            prop_assert_eq!(&decoded(&ours), &data);
            prop_assert_eq!(&decoded(&::cobs::encode_vec(&data)), &data);
        }

        /// Would catch a write outside the room, which is an index out of bounds here and root's memory elsewhere.
        #[test]
        fn a_room_too_small_is_left_whole_and_the_true_length_is_told(data in data(), room in 0usize..64) {
            let whole = encoded(&data).len();
            let mut small = std::vec![0; room];
            let mut encoder = Encoder::new(&mut small, 0);
            data.iter().for_each(|byte| encoder.push(*byte));
            prop_assert_eq!(encoder.finish(), whole);
        }
    }
}
