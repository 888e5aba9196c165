//! What events say: one bounded ring, from which the prompt fetches. Root never waits for a reader.
//!
//! What an event with `imm no` says gathers beside the ring first, and is moved there in one go: when the next message does not
//! fit any more, when a script calls `flush()`, when the event is disabled or cleared, when the machine halts or a prompt asks
//! for all of it, and when another event needs the room.
//!
//! **Holds always**
//! - S1: a message is in the ring or gathered, whole, or lost and counted; what is lost is the newest, so that what led to a
//!   flood is kept. Said = fetched + waiting + lost, for each event.
//! - S2: the lock is held for one copy, by root alone, and nobody who has it waits for anything.
//! - S3: messages of one event stay in their order.
//! - S4: an event that is disabled or cleared has nothing gathered, and gathers no more: what a core says that is still inside
//!   of it goes to the ring.
//!
//! **Callers**: any core. **Cost**: the bytes of the message; 4 KiB for what is gathered, 64 KiB for all of it.
//! **Proof**: tests below, `tests/e2e/events_output.rs`.

use crate::limits::{EVENTS_MAX, GATHERED_BYTES, GATHERING_MAX, MESSAGE_RING_BYTES};
use crate::watch;
use abi::request::{Message, Messages, event};
use spin::Mutex;
use zerocopy::{FromBytes, IntoBytes};

const HEAD: usize = size_of::<Message>();

struct Ring {
    bytes: [u8; MESSAGE_RING_BYTES],
    /// Where the oldest record begins, and how many bytes there are from there on.
    first: usize,
    used: usize,
}

/// What one event said and is not in the ring yet.
struct Gathered {
    bytes: [u8; GATHERED_BYTES],
    /// 0: nobody's.
    used: usize,
    event: u32,
}

/// Events, one bit each.
struct Events([u64; EVENTS_MAX.div_ceil(64)]);

struct All {
    ring: Ring,
    gathered: [Gathered; GATHERING_MAX],
    /// The one that makes room next.
    next: usize,
    /// Those with `imm no`,
    wants: Events,
    /// and those of them that are enabled.
    gathers: Events,
    /// Messages lost since somebody fetched last.
    lost: u64,
}

static ALL: Mutex<All> = Mutex::new(All::new());

impl Events {
    fn has(&self, event: u32) -> bool {
        let word = self.0.get(event as usize / 64);
        word.is_some_and(|word| word >> (event % 64) & 1 != 0)
    }

    fn set(&mut self, event: u32, on: bool) {
        if let Some(word) = self.0.get_mut(event as usize / 64) {
            *word = *word & !(1 << (event % 64)) | u64::from(on) << (event % 64);
        }
    }
}

impl Ring {
    fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= MESSAGE_RING_BYTES
    }

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

impl Gathered {
    /// Moves whole records into the ring as long as there is room; how many found none.
    fn deliver(&mut self, ring: &mut Ring) -> u64 {
        let mut rest = self.bytes.get(..self.used).unwrap_or_default();
        let mut lost = 0;
        while let Ok((head, _)) = Message::read_from_prefix(rest) {
            let Some((one, behind)) = rest.split_at_checked(record(head.bytes.into())) else { break };
            // The first that finds no room takes the others with it: what is lost is the newest.
            if lost == 0 && ring.has_room(one.len()) {
                ring.put(one);
            } else {
                lost += 1;
            }
            rest = behind;
        }
        self.used = 0;
        lost
    }

    fn put(&mut self, head: Message, text: &[u8]) {
        let whole = record(text.len());
        let Some(to) = self.bytes.get_mut(self.used..self.used + whole) else { return };
        for (to, from) in to.iter_mut().zip(head.as_bytes().iter().chain(text).chain(&[0; 8])) {
            *to = *from;
        }
        self.used += whole;
    }
}

impl All {
    const fn new() -> Self {
        All {
            ring: Ring { bytes: [0; MESSAGE_RING_BYTES], first: 0, used: 0 },
            gathered: [const { Gathered { bytes: [0; GATHERED_BYTES], used: 0, event: 0 } }; GATHERING_MAX],
            next: 0,
            wants: Events([0; EVENTS_MAX.div_ceil(64)]),
            gathers: Events([0; EVENTS_MAX.div_ceil(64)]),
            lost: 0,
        }
    }

    fn push(&mut self, head: Message, text: &[u8]) {
        let whole = record(text.len());
        if whole <= GATHERED_BYTES && self.gathers.has(head.event) {
            self.gather(head, text);
        } else if self.ring.has_room(whole) {
            self.ring.put(head.as_bytes());
            self.ring.put(text);
            self.ring.put([0; 8].get(..whole - HEAD - text.len()).unwrap_or_default());
        } else {
            self.lose(head.event, 1);
        }
    }

    fn gather(&mut self, head: Message, text: &[u8]) {
        let mine = |one: &Gathered| one.used > 0 && one.event == head.event;
        let free = |one: &Gathered| one.used == 0;
        let at = self.gathered.iter().position(mine).or_else(|| self.gathered.iter().position(free)).unwrap_or_else(|| {
            self.next = (self.next + 1) % GATHERING_MAX;
            self.next
        });
        let Some(one) = self.gathered.get_mut(at) else { return };
        if one.used > 0 && (one.event != head.event || one.used + record(text.len()) > GATHERED_BYTES) {
            let (event, lost) = (one.event, one.deliver(&mut self.ring));
            self.lose(event, lost);
        }
        if let Some(one) = self.gathered.get_mut(at) {
            one.event = head.event;
            one.put(head, text);
        }
    }

    fn deliver(&mut self, wanted: impl Fn(u32) -> bool) {
        for at in 0..GATHERING_MAX {
            let Some(one) = self.gathered.get_mut(at).filter(|one| one.used > 0 && wanted(one.event)) else { continue };
            let (event, lost) = (one.event, one.deliver(&mut self.ring));
            self.lose(event, lost);
        }
    }

    fn lose(&mut self, event: u32, messages: u64) {
        if messages > 0 {
            self.lost = self.lost.saturating_add(messages);
            watch::count_lost(event, messages);
        }
    }

    fn registered(&mut self, event: u32, gathers: bool) {
        self.wants.set(event, gathers);
        self.gathers.set(event, gathers);
    }

    fn changed(&mut self, what: u32, id: u32) {
        let ids = if id == event::ALL { 0..u32::try_from(EVENTS_MAX).unwrap_or(0) } else { id..id.saturating_add(1) };
        for event in ids {
            let wants = self.wants.has(event) && what != event::CLEAR;
            self.wants.set(event, wants);
            self.gathers.set(event, wants && what == event::ENABLE);
        }
        if what != event::ENABLE {
            self.deliver(|event| id == event::ALL || event == id);
        }
    }

    fn take(&mut self, room: &mut [u8]) -> usize {
        let ring = &mut self.ring;
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
        let head = Messages { lost: core::mem::take(&mut self.lost), count, more: u32::from(ring.used > 0) };
        if let Some(to) = room.first_chunk_mut::<{ size_of::<Messages>() }>() {
            to.copy_from_slice(head.as_bytes());
        }
        at
    }
}

/// Bytes of a record with so much text.
const fn record(text: usize) -> usize {
    (HEAD + text).next_multiple_of(8)
}

/// Keeps a message of at most [`crate::limits::MESSAGE_TEXT_BYTES_MAX`] bytes, or counts it as lost.
pub fn push(event: u32, core: u32, text: &[u8]) {
    // Cut where it was said, so it always fits.
    let bytes = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let text = text.get(..bytes.into()).unwrap_or_default();
    ALL.lock().push(Message { event, core: u16::try_from(core).unwrap_or(u16::MAX), bytes }, text);
}

/// An event was registered: whether it gathers what it says.
pub fn registered(event: u32, gathers: bool) {
    ALL.lock().registered(event, gathers);
}

/// An event or all of them ([`event::ALL`]) were enabled, disabled or cleared (S4).
pub fn changed(what: u32, id: u32) {
    ALL.lock().changed(what, id);
}

/// Moves all that is gathered into the ring.
pub fn deliver() {
    ALL.lock().deliver(|_| true);
}

/// Moves whole records into `room`, behind their head; how many bytes that is.
pub fn take(room: &mut [u8]) -> usize {
    ALL.lock().take(room)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn say(all: &mut All, event: u32, text: &str) {
        all.push(Message { event, core: 3, bytes: u16::try_from(text.len()).unwrap() }, text.as_bytes());
    }

    /// What one fetch brings: events and texts, the lost ones, and whether there is more.
    fn fetch(all: &mut All, room: usize) -> (Vec<(u32, String)>, u64, bool) {
        let mut room = std::vec![0; room];
        let bytes = all.take(&mut room);
        let head = Messages::read_from_prefix(&room).unwrap().0;
        let (mut at, mut texts) = (size_of::<Messages>(), Vec::new());
        for _ in 0..head.count {
            let message = Message::read_from_bytes(&room[at..at + HEAD]).unwrap();
            assert_eq!(message.core, 3);
            let text = &room[at + HEAD..at + HEAD + usize::from(message.bytes)];
            texts.push((message.event, core::str::from_utf8(text).unwrap().to_string()));
            at += record(text.len());
        }
        assert_eq!(at, bytes);
        (texts, head.lost, head.more != 0)
    }

    /// Would catch a message that comes back cut, twice, or in another order, and one that is lost without a count.
    #[test]
    fn messages_come_back_whole_in_their_order_and_losses_are_counted() {
        let mut all = Box::new(All::new());
        let (mut said, mut heard) = (0_u32, 0);
        for round in 0..200_u32 {
            for _ in 0..=round % 7 {
                say(&mut all, said, &std::format!("{said} {}", "x".repeat(said as usize % 97)));
                said += 1;
            }
            loop {
                let (texts, lost, more) = fetch(&mut all, 1000);
                for (event, text) in texts {
                    assert_eq!((event, text.len()), (heard, std::format!("{heard} ").len() + heard as usize % 97));
                    assert!(text.starts_with(&std::format!("{heard} ")));
                    heard += 1;
                }
                assert_eq!(lost, 0);
                if !more {
                    break;
                }
            }
        }
        assert_eq!(heard, said);
        for _ in 0..100 {
            say(&mut all, 0, &"y".repeat(1000));
        }
        let (mut kept, mut lost) = (0, 0);
        loop {
            let (texts, missing, more) = fetch(&mut all, 4000);
            kept += texts.len();
            lost += missing;
            if !more {
                break;
            }
        }
        assert!((60..66).contains(&kept), "{kept}");
        assert_eq!(kept as u64 + lost, 100);
    }

    /// Would catch messages that gather and come one by one all the same, that come in another order, or that stay behind when
    /// the event is disabled, cleared, or asked to speak.
    #[test]
    fn what_gathers_comes_when_four_kilobytes_are_full_or_the_event_ends() {
        let mut all = Box::new(All::new());
        all.registered(7, true);
        let (mut brought, mut heard) = (0, 0);
        let mut hear = |all: &mut All, heard: &mut u32| {
            let (texts, lost, _) = fetch(all, 8000);
            brought += u32::from(!texts.is_empty());
            for (event, text) in texts {
                assert_eq!((event, text), (7, std::format!("message {heard:04}")));
                *heard += 1;
            }
            assert_eq!(lost, 0);
            brought
        };
        for number in 0..1000 {
            say(&mut all, 7, &std::format!("message {number:04}"));
            hear(&mut all, &mut heard);
        }
        // 24 bytes each with their heads: 170 to one delivery.
        assert_eq!((heard, hear(&mut all, &mut heard)), (850, 5));
        all.deliver(|_| true);
        hear(&mut all, &mut heard);
        assert_eq!(heard, 1000);
        for what in [event::DISABLE, event::CLEAR] {
            all.registered(7, true);
            say(&mut all, 7, &std::format!("message {heard:04}"));
            assert_eq!(fetch(&mut all, 4000).0.len(), 0);
            all.changed(what, 7);
            hear(&mut all, &mut heard);
            // Who is still inside of it says it at once.
            say(&mut all, 7, &std::format!("message {heard:04}"));
            hear(&mut all, &mut heard);
            all.changed(event::ENABLE, 7);
            say(&mut all, 7, &std::format!("message {heard:04}"));
            all.changed(event::DISABLE, event::ALL);
            hear(&mut all, &mut heard);
        }
        assert_eq!(heard, 1006);
    }

    /// Would catch an event whose messages wait or get lost because too many others gather.
    #[test]
    fn more_events_than_there_is_room_for_gather_in_turns() {
        let mut all = Box::new(All::new());
        (0..40).for_each(|event| all.registered(event, true));
        for round in 0..10 {
            (0..40).for_each(|event| say(&mut all, event, &std::format!("{event} {round}")));
        }
        all.changed(event::CLEAR, event::ALL);
        let (mut next, mut more) = ([0; 40], true);
        while more {
            let (texts, lost, rest) = fetch(&mut all, 1000);
            for (event, text) in texts {
                assert_eq!(text, std::format!("{event} {}", next[event as usize]));
                next[event as usize] += 1;
            }
            assert_eq!(lost, 0);
            more = rest;
        }
        assert_eq!(next, [10; 40]);
    }

    /// Would catch a loss in the ring that is not counted when what was gathered finds no room.
    #[test]
    fn what_was_gathered_and_finds_no_room_is_counted() {
        let mut all = Box::new(All::new());
        all.registered(7, true);
        for _ in 0..4000 {
            say(&mut all, 7, "a message of 27 letters ...");
        }
        all.deliver(|_| true);
        let (mut kept, mut lost, mut more) = (0, 0, true);
        while more {
            let (texts, missing, rest) = fetch(&mut all, 4000);
            kept += texts.len() as u64;
            lost += missing;
            more = rest;
        }
        assert_eq!((kept + lost, kept), (4000, (MESSAGE_RING_BYTES / 40) as u64));
    }
}
