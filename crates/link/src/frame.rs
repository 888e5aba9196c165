//! One frame: its head, its CRC and how it is taken from a stream of bytes.
//!
//! **Holds always**
//! - F1: a [`Head`] that comes out of a [`Decoder`] had a CRC that agrees, our version, a known kind and a payload as
//!   long as it says; everything else comes out as a [`Fault`].
//! - F2: whatever came before, a frame that follows a 0x00 is read from its first byte.
//! - F3: no byte and no number of bytes makes a decoder panic or grow.
//!
//! **Cost**: a few instructions a byte, and one pass of CRC over the frame at its end.
//! **Proof**: the tests below; `fuzz.rs`.

use crate::cobs;
use crate::limits::{HEAD_BYTES, RAW_BYTES_MAX, VERSION};
use crc::{CRC_32_ISCSI, Crc};

/// CRC-32C, as in iSCSI (RFC 3720, 12.1): it finds every error of up to 32 bits in a row.
static CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Prompt to root: do this. Session and sequence are the client's.
    Request = 1,
    /// Root to prompt: the answer to the request with the same session and sequence.
    Answer = 2,
    /// Root to prompt, repeated until acknowledged. Session is root's epoch.
    Notice = 3,
    /// Prompt to root: the notice with the same session and sequence arrived.
    Ack = 4,
    /// Root to prompt, once. Session is root's epoch.
    Datagram = 5,
    /// Root to prompt: your request was not executed, since root does not know your session.
    Reset = 6,
}

impl Kind {
    const fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::Request,
            2 => Kind::Answer,
            3 => Kind::Notice,
            4 => Kind::Ack,
            5 => Kind::Datagram,
            6 => Kind::Reset,
            _ => return None,
        })
    }
}

/// Who sent what: everything of the head but version and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub kind: Kind,
    pub session: u32,
    pub sequence: u32,
}

impl Head {
    fn to_bytes(self, length: u16) -> [u8; HEAD_BYTES] {
        let [l0, l1] = length.to_le_bytes();
        let [s0, s1, s2, s3] = self.session.to_le_bytes();
        let [n0, n1, n2, n3] = self.sequence.to_le_bytes();
        [VERSION, self.kind as u8, l0, l1, s0, s1, s2, s3, n0, n1, n2, n3]
    }
}

/// Why bytes between two 0x00 are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Crc,
    Length,
    Overlong,
    OtherVersion(u8),
    Kind,
}

/// Encodes a frame into `wire`, with a 0x00 at either end, and returns its length. The caller has compared
/// [`crate::limits::frame_bytes_most`] with the room; what does not fit would be missing.
pub(crate) fn encode(wire: &mut [u8], head: Head, length: u16, payload: &[u8]) -> usize {
    let head = head.to_bytes(length);
    let mut digest = CRC_32C.digest();
    digest.update(&head);
    digest.update(payload);
    let crc = digest.finalize().to_le_bytes();

    if let Some(first) = wire.first_mut() {
        *first = 0;
    }
    let mut encoder = cobs::Encoder::new(wire, 1);
    for byte in head.iter().chain(payload).chain(&crc) {
        encoder.push(*byte);
    }
    let end = encoder.finish();
    if let Some(last) = wire.get_mut(end) {
        *last = 0;
    }
    end.saturating_add(1)
}

/// Takes frames out of a stream of bytes.
pub(crate) struct Decoder {
    raw: [u8; RAW_BYTES_MAX],
    /// Bytes of data since the last 0x00; more than `raw` holds means overlong.
    len: usize,
    /// Any byte came since the last 0x00.
    begun: bool,
    cobs: cobs::Decoder,
    /// Bytes of payload of the frame that came out last.
    payload_len: usize,
}

impl Decoder {
    pub const fn new() -> Decoder {
        Decoder { raw: [0; RAW_BYTES_MAX], len: 0, begun: false, cobs: cobs::Decoder::new(), payload_len: 0 }
    }

    /// Takes one byte; a 0x00 ends what came before it. Two in a row are nothing: every sender begins with one, too.
    pub fn push(&mut self, byte: u8) -> Option<Result<Head, Fault>> {
        if byte != 0 {
            self.begun = true;
            if let Some(data) = self.cobs.push(byte) {
                if let Some(slot) = self.raw.get_mut(self.len) {
                    *slot = data;
                }
                self.len = self.len.saturating_add(1);
            }
            return None;
        }
        let Decoder { len, begun, cobs, .. } = *self;
        self.forget();
        if !begun {
            return None;
        }
        let Some(raw) = self.raw.get(..len) else { return Some(Err(Fault::Overlong)) };
        if !cobs.at_end_of_block() {
            return Some(Err(Fault::Length));
        }
        let (head, payload_len) = match check(raw) {
            Ok((head, payload)) => (head, payload.len()),
            Err(fault) => return Some(Err(fault)),
        };
        self.payload_len = payload_len;
        Some(Ok(head))
    }

    /// The payload of the frame that came out last; gone with the next byte.
    pub fn payload(&self) -> &[u8] {
        self.raw.get(HEAD_BYTES..).and_then(|raw| raw.get(..self.payload_len)).unwrap_or_default()
    }

    /// Forgets a frame that is half read.
    pub fn forget(&mut self) {
        self.len = 0;
        self.begun = false;
        self.cobs = cobs::Decoder::new();
        self.payload_len = 0;
    }
}

/// F1. The CRC comes first, so a version that only noise made is not taken for one.
fn check(raw: &[u8]) -> Result<(Head, &[u8]), Fault> {
    let (bytes, crc) = raw.split_last_chunk().ok_or(Fault::Length)?;
    let (version, _) = bytes.split_first().ok_or(Fault::Length)?;
    if CRC_32C.checksum(bytes) != u32::from_le_bytes(*crc) {
        return Err(Fault::Crc);
    }
    if *version != VERSION {
        return Err(Fault::OtherVersion(*version));
    }
    let (head, payload) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Fault::Length)?;
    let [_, kind, l0, l1, s0, s1, s2, s3, n0, n1, n2, n3] = *head;
    if usize::from(u16::from_le_bytes([l0, l1])) != payload.len() {
        return Err(Fault::Length);
    }
    let kind = Kind::from_number(kind).ok_or(Fault::Kind)?;
    let session = u32::from_le_bytes([s0, s1, s2, s3]);
    let sequence = u32::from_le_bytes([n0, n1, n2, n3]);
    Ok((Head { kind, session, sequence }, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CRC_BYTES, FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, frame_bytes_most};
    use proptest::prelude::*;
    use std::vec::Vec;

    const HEAD: Head = Head { kind: Kind::Answer, session: 0x1234_5678, sequence: 0x9abc_def0 };

    fn encoded(head: Head, payload: &[u8]) -> Vec<u8> {
        let mut wire = std::vec![0xaa; frame_bytes_most(payload.len())];
        let end = encode(&mut wire, head, u16::try_from(payload.len()).unwrap(), payload);
        wire.truncate(end);
        wire
    }

    /// A frame with any bytes before COBS, whose CRC agrees.
    fn sealed(bytes: &[u8]) -> Vec<u8> {
        let crc = CRC_32C.checksum(bytes).to_le_bytes();
        let mut wire = ::cobs::encode_vec(&[bytes, &crc].concat());
        wire.push(0);
        wire
    }

    fn decoded(decoder: &mut Decoder, wire: &[u8]) -> Vec<Result<(Head, Vec<u8>), Fault>> {
        let mut frames = Vec::new();
        for byte in wire {
            if let Some(frame) = decoder.push(*byte) {
                frames.push(frame.map(|head| (head, decoder.payload().to_vec())));
            }
        }
        frames
    }

    fn fault_of(wire: &[u8]) -> Fault {
        let frames = decoded(&mut Decoder::new(), wire);
        assert_eq!(frames.len(), 1);
        frames[0].clone().unwrap_err()
    }

    /// Would catch a field that moved or turned round, or another CRC: both ends must be rebuilt then (`VERSION`).
    #[test]
    fn the_bytes_of_a_frame_are_those_of_the_picture() {
        let wire = encoded(HEAD, b"ab\0c");
        let crc = CRC_32C.checksum(&::cobs::decode_vec(&wire[1..wire.len() - 1]).unwrap()[..16]).to_le_bytes();
        let mut raw = std::vec![1, 2, 4, 0, 0x78, 0x56, 0x34, 0x12, 0xf0, 0xde, 0xbc, 0x9a, b'a', b'b', 0, b'c'];
        raw.extend(crc);
        assert_eq!(::cobs::decode_vec(&wire[1..wire.len() - 1]).unwrap(), raw);
        assert_eq!((wire[0], wire[wire.len() - 1]), (0, 0));
        assert_eq!(CRC_32C.checksum(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }

    /// Would catch a bound that is too small: the longest frames are those without any zero in them.
    #[test]
    fn the_longest_payload_fits_the_stated_bytes_whatever_is_in_it() {
        for byte in 0..=u8::MAX {
            let payload = [byte; PAYLOAD_BYTES_MAX];
            let wire = encoded(Head { kind: Kind::Request, session: !0, sequence: !0 }, &payload);
            assert!(wire.len() <= FRAME_BYTES_MAX);
            let frames = decoded(&mut Decoder::new(), &wire);
            assert_eq!(frames, [Ok((Head { kind: Kind::Request, session: !0, sequence: !0 }, payload.to_vec()))]);
        }
    }

    /// Would catch a fault that is taken for another, so that the counters would lead astray.
    #[test]
    fn each_fault_is_told_by_its_own_name() {
        let head = HEAD.to_bytes(3);
        assert!(decoded(&mut Decoder::new(), &sealed(&[&head[..], b"abc"].concat()))[0].is_ok());

        assert_eq!(fault_of(&sealed(&[&head[..], b"ab"].concat())), Fault::Length, "shorter than the head says");
        assert_eq!(fault_of(&sealed(&[&head[..], b"abcd"].concat())), Fault::Length, "longer than the head says");
        assert_eq!(fault_of(&sealed(&head[..11])), Fault::Length, "shorter than a head");
        assert_eq!(fault_of(&sealed(&[])), Fault::Length, "nothing but a CRC");
        assert_eq!(fault_of(&[1, 0]), Fault::Length, "no bytes at all");
        assert_eq!(fault_of(&[5, 1, 0]), Fault::Length, "cut within a block");

        let mut wire = encoded(HEAD, b"abc");
        wire[8] ^= 0x10;
        assert_eq!(fault_of(&wire), Fault::Crc);

        let mut other = head;
        other[0] = VERSION + 1;
        assert_eq!(fault_of(&sealed(&other)), Fault::OtherVersion(VERSION + 1));
        assert_eq!(fault_of(&sealed(&[7])), Fault::OtherVersion(7), "another version may have another head");
        let mut kind = HEAD.to_bytes(0);
        kind[1] = 0;
        assert_eq!(fault_of(&sealed(&kind)), Fault::Kind);
    }

    /// Would catch a length that is cut to fit: one byte more than ever allowed, and a line that never sends a zero.
    #[test]
    fn overlong_bytes_are_one_fault_and_the_next_frame_is_read() {
        let mut decoder = Decoder::new();
        let raw = std::vec![0x55; RAW_BYTES_MAX + 1 - CRC_BYTES];
        assert_eq!(decoded(&mut decoder, &sealed(&raw)), [Err(Fault::Overlong)]);
        assert_eq!(decoded(&mut decoder, &std::vec![0xff; 100_000]), []);
        let frames = decoded(&mut decoder, &encoded(HEAD, b"abc"));
        assert_eq!(frames, [Err(Fault::Overlong), Ok((HEAD, b"abc".to_vec()))]);
    }

    /// Would catch a half frame that swallows its successor: every cut of a frame, with and without the rest of it.
    #[test]
    fn a_frame_cut_anywhere_costs_itself_alone() {
        let wire = encoded(HEAD, b"a\0b");
        let whole = Ok((HEAD, b"a\0b".to_vec()));
        for cut in 0..wire.len() {
            let mut decoder = Decoder::new();
            let mut frames = decoded(&mut decoder, &wire[..cut]);
            frames.extend(decoded(&mut decoder, &wire));
            assert_eq!(frames.last(), Some(&whole), "cut at {cut}");
            // Only its last zero is missing: the first one of the next frame ends it as well.
            let first_survives = cut == wire.len() - 1;
            assert_eq!(frames.iter().filter(|frame| frame.is_ok()).count(), 1 + usize::from(first_survives), "cut at {cut}");
        }
    }

    proptest! {
        /// Would catch a payload that does not come back byte for byte.
        #[test]
        fn what_goes_in_comes_out(
            kind in 1u8..=6, session: u32, sequence: u32, payload in prop::collection::vec(any::<u8>(), 0..=PAYLOAD_BYTES_MAX),
        ) {
            let head = Head { kind: Kind::from_number(kind).unwrap(), session, sequence };
            let wire = encoded(head, &payload);
            prop_assert!(wire.len() <= frame_bytes_most(payload.len()));
            prop_assert!(!wire[1..wire.len() - 1].contains(&0));
            prop_assert_eq!(decoded(&mut Decoder::new(), &wire), [Ok((head, payload))]);
        }

        /// Would catch a CRC that is not over everything: any one byte changed makes the frame disappear.
        #[test]
        fn a_changed_byte_never_makes_another_frame(payload in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, change in 1u8..) {
            let mut wire = encoded(HEAD, &payload);
            // Not the outer zeros: without them the frame is still there, the next one's zero ends it.
            let at = 1 + at.index(wire.len() - 2);
            wire[at] ^= change;
            prop_assert!(decoded(&mut Decoder::new(), &wire).iter().all(Result::is_err));
        }
    }
}
