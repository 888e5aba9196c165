//! What events say: one bounded ring, from which the prompt fetches. Root never waits for a reader.
//!
//! **Holds always**
//! - S1: a message is in the ring whole or lost and counted; what is lost is the newest, so that what led to a flood is kept.
//! - S2: the lock is held for one copy, by root alone, and nobody who has it waits for anything.
//!
//! **Callers**: any core. **Cost**: the bytes of the message.

use crate::limits::MESSAGE_RING_BYTES;
use abi::request::{Message, Messages};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use spin::Mutex;
use zerocopy::{FromBytes, IntoBytes};

const HEAD: usize = size_of::<Message>();

struct Ring {
    bytes: [u8; MESSAGE_RING_BYTES],
    /// Where the oldest record begins, and how many bytes there are from there on.
    first: usize,
    used: usize,
}

static RING: Mutex<Ring> = Mutex::new(Ring { bytes: [0; MESSAGE_RING_BYTES], first: 0, used: 0 });
/// Lost since the prompt asked last.
static LOST: AtomicU64 = AtomicU64::new(0);

impl Ring {
    fn put(&mut self, bytes: &[u8]) {
        let mut at = (self.first + self.used) % MESSAGE_RING_BYTES;
        for byte in bytes {
            if let Some(to) = self.bytes.get_mut(at) {
                *to = *byte;
            }
            at = (at + 1) % MESSAGE_RING_BYTES;
        }
        self.used += bytes.len();
    }

    fn look(&self, offset: usize, to: &mut [u8]) {
        for (i, byte) in to.iter_mut().enumerate() {
            *byte = self.bytes.get((self.first + offset + i) % MESSAGE_RING_BYTES).copied().unwrap_or(0);
        }
    }
}

/// Bytes of a record with so much text.
const fn record(text: usize) -> usize {
    (HEAD + text).next_multiple_of(8)
}

/// Keeps a message of at most 65 535 bytes, or counts it as lost: false.
pub fn push(event: u32, core: u32, text: &[u8]) -> bool {
    let Ok(bytes) = u16::try_from(text.len()) else { return lose() };
    let whole = record(text.len());
    let mut ring = RING.lock();
    if ring.used + whole > MESSAGE_RING_BYTES {
        drop(ring);
        return lose();
    }
    ring.put(Message { event, core: u16::try_from(core).unwrap_or(u16::MAX), bytes }.as_bytes());
    ring.put(text);
    ring.put(&[0; 8][..whole - HEAD - text.len()]);
    true
}

fn lose() -> bool {
    LOST.fetch_add(1, SeqCst);
    false
}

/// Moves whole records into `room`, behind their head; how many bytes that is.
pub fn take(room: &mut [u8]) -> usize {
    let mut ring = RING.lock();
    let (mut at, mut count) = (size_of::<Messages>(), 0);
    while ring.used > 0 {
        let mut head = [0; HEAD];
        ring.look(0, &mut head);
        let whole = record(Message::read_from_bytes(&head).map_or(0, |message| message.bytes.into()));
        let Some(to) = room.get_mut(at..at + whole) else { break };
        ring.look(0, to);
        ring.first = (ring.first + whole) % MESSAGE_RING_BYTES;
        ring.used -= whole;
        at += whole;
        count += 1;
    }
    let head = Messages { lost: LOST.swap(0, SeqCst), count, more: u32::from(ring.used > 0) };
    if let Some(to) = room.first_chunk_mut::<{ size_of::<Messages>() }>() {
        to.copy_from_slice(head.as_bytes());
    }
    at
}

/// Throws away what waits.
pub fn flush() {
    let mut ring = RING.lock();
    (ring.first, ring.used) = (0, 0);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// Would catch a message that comes back cut, twice, or in another order, and one that is lost without a count.
    #[test]
    fn messages_come_back_whole_in_their_order_and_losses_are_counted() {
        flush();
        let mut said = 0_u32;
        let mut heard = 0;
        let mut room = [0; 1000];
        for round in 0..200_u32 {
            for _ in 0..=round % 7 {
                let text = std::format!("{said} {}", "x".repeat(said as usize % 97));
                assert!(push(said, 3, text.as_bytes()));
                said += 1;
            }
            loop {
                let bytes = take(&mut room);
                let head = Messages::read_from_prefix(&room).unwrap().0;
                let mut at = size_of::<Messages>();
                for _ in 0..head.count {
                    let message = Message::read_from_bytes(&room[at..at + HEAD]).unwrap();
                    let text = &room[at + HEAD..at + HEAD + usize::from(message.bytes)];
                    assert_eq!((message.event, message.core), (heard, 3));
                    assert!(text.starts_with(std::format!("{heard} ").as_bytes()) && text.len() == message.bytes.into());
                    at += record(text.len());
                    heard += 1;
                }
                assert_eq!((at, head.lost), (bytes, 0));
                if head.more == 0 {
                    break;
                }
            }
        }
        assert_eq!(heard, said);
        let mut kept = 0;
        while push(0, 0, &[b'y'; 1000]) {
            kept += 1;
        }
        assert!((60..66).contains(&kept), "{kept}");
        assert!(!push(0, 0, &[b'y'; 1000]));
        take(&mut room);
        assert_eq!(Messages::read_from_prefix(&room).unwrap().0.lost, 2);
        flush();
    }
}
