//! Who called whom: a stack walked from its newest frame to its oldest.
//!
//! The kernel keeps a table for itself (ORC) that says for each place in its code where the caller's stack begins: pairs of a place,
//! 32 bits behind itself, and six bytes, sorted. It is searched in memory, a few words at a time, and never copied. Where it says nothing
//! (code of a module, code made at run time), the next word on the stack that points behind a call's place in code is taken, and the
//! frame is marked as guessed.
//!
//! **Holds always**
//! - U1: each step goes up the stack, or the walk ends; it has [`FRAMES_MAX`] frames at most.
//! - U2: what cannot be read ends it.
//!
//! **Cost**: some twenty reads a frame. **Proof**: tests below.

use crate::Table;

/// Frames at most.
pub const FRAMES_MAX: usize = 256;
/// Words of the stack that are looked at for a guess.
const GUESS_WORDS: u64 = 256;
/// Entries of the table that are read at once at the end of a search.
const TOGETHER: u64 = 32;
/// Entries of a table at most.
const ENTRIES_MAX: u64 = 16 << 20;

/// Memory of the machine.
pub trait Memory {
    /// Fills `to`; false if not all of it can be read.
    fn read(&mut self, address: u64, to: &mut [u8]) -> bool;
}

/// Registers that a walk goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where code runs.
    pub ip: u64,
    /// The stack.
    pub sp: u64,
    /// The frame, or anything else.
    pub bp: u64,
}

/// Registers that few frames need, known where a whole set was saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Register 10.
    pub r10: u64,
    /// Register 13.
    pub r13: u64,
    /// Destination.
    pub di: u64,
    /// Data.
    pub dx: u64,
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it runs, or where it is returned to.
    pub ip: u64,
    /// Its stack there.
    pub sp: u64,
    /// It runs there, rather than being returned to.
    pub exact: bool,
    /// Nobody said so: a word on the stack looks like it.
    pub guessed: bool,
}

/// Where the kernel's table lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orc {
    ips: u64,
    entries: u64,
    count: u64,
}

/// Bytes of an entry.
const ENTRY_BYTES: u64 = 6;

/// What the table says of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sp_offset: i16,
    pub(crate) bp_offset: i16,
    pub(crate) sp_register: u8,
    pub(crate) bp_register: u8,
    pub(crate) kind: u8,
}

impl Entry {
    pub(crate) fn of([a, b, c, d, registers, kind]: [u8; 6]) -> Self {
        Self {
            sp_offset: i16::from_le_bytes([a, b]),
            bp_offset: i16::from_le_bytes([c, d]),
            sp_register: registers & 15,
            bp_register: registers >> 4,
            kind: kind & 3,
        }
    }
}

impl Orc {
    /// By its names, if the kernel has one.
    #[must_use]
    pub fn of(table: &Table) -> Option<Self> {
        let at = |name: &str| match table.named(Some("vmlinux"), name)[..] {
            [symbol] => Some(symbol.address),
            _ => None,
        };
        let (ips, end, entries) = (at("__start_orc_unwind_ip")?, at("__stop_orc_unwind_ip")?, at("__start_orc_unwind")?);
        let count = end.checked_sub(ips)? / 4;
        (1..=ENTRIES_MAX).contains(&count).then_some(Self { ips, entries, count })
    }

    /// Where its places and its entries lie, and their bytes, for who reads all of it ([`Orc::rows`]).
    #[must_use]
    pub fn parts(&self) -> [(u64, u64); 2] {
        [(self.ips, 4 * self.count), (self.entries, ENTRY_BYTES * self.count)]
    }

    /// All of it: the places and what holds from each of them on.
    pub(crate) fn rows(&self, ips: &[u8], entries: &[u8]) -> Vec<(u64, Entry)> {
        let ips = (0..).zip(ips.as_chunks::<4>().0).map(|(nth, bytes)| self.ip(nth, *bytes));
        let mut rows: Vec<(u64, Entry)> = ips.zip(entries.as_chunks::<6>().0.iter().copied().map(Entry::of)).collect();
        rows.sort_by_key(|(ip, _)| *ip);
        rows
    }

    fn ip(&self, nth: u64, bytes: [u8; 4]) -> u64 {
        (self.ips + 4 * nth).wrapping_add_signed(i32::from_le_bytes(bytes).into())
    }

    /// What holds at a place: the last entry that begins at or before it.
    fn find(&self, ip: u64, memory: &mut dyn Memory) -> Option<Entry> {
        let (mut first, mut end) = (0, self.count);
        while end - first > TOGETHER {
            let middle = first + (end - first) / 2;
            let mut bytes = [0; 4];
            if !memory.read(self.ips + 4 * middle, &mut bytes) {
                return None;
            }
            if self.ip(middle, bytes) <= ip { first = middle } else { end = middle }
        }
        let mut bytes = vec![0; usize::try_from(4 * (end - first)).ok()?];
        if !memory.read(self.ips + 4 * first, &mut bytes) {
            return None;
        }
        let all = (first..end).zip(bytes.as_chunks::<4>().0);
        let (nth, _) = all.take_while(|(nth, bytes)| self.ip(*nth, **bytes) <= ip).last()?;
        let mut bytes = [0; 6];
        memory.read(self.entries + ENTRY_BYTES * nth, &mut bytes).then(|| Entry::of(bytes))
    }
}

/// Walks a stack: the place itself first. `table` tells code from other words.
pub fn walk(orc: Option<Orc>, place: Place, more: More, most: usize, table: &Table, memory: &mut dyn Memory) -> Vec<Frame> {
    let mut frames = vec![Frame { ip: place.ip, sp: place.sp, exact: true, guessed: false }];
    let (mut place, mut more, mut exact) = (place, Some(more), true);
    while frames.len() < most.min(FRAMES_MAX) {
        // What a call returns to may belong to the next function already.
        let at = if exact { place.ip } else { place.ip.wrapping_sub(1) };
        let is_kernels = table.near(at).is_some_and(|near| near.symbol.module.is_none());
        let entry = orc.filter(|_| is_kernels).and_then(|orc| orc.find(at, memory));
        let next = match &entry {
            Some(entry) if entry.sp_register == 0 => None,
            Some(entry) => step(entry, place, more, memory),
            None => guess(place, table, memory).map(|place| Step { place, more: None, exact: false }),
        };
        // A stack of its own, for an exception, lies elsewhere; then a whole set of registers was saved.
        let Some(step) = next.filter(|step| step.place.sp > place.sp || step.exact) else { break };
        (place, more, exact) = (step.place, step.more, step.exact);
        frames.push(Frame { ip: place.ip, sp: place.sp, exact, guessed: entry.is_none() });
        if place.ip < crate::HIGH_HALF {
            break;
        }
    }
    frames
}

struct Step {
    place: Place,
    more: Option<More>,
    exact: bool,
}

fn word(memory: &mut dyn Memory, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read(address, &mut bytes).then_some(u64::from_le_bytes(bytes))
}

/// The caller, by what the table says.
fn step(entry: &Entry, place: Place, more: Option<More>, memory: &mut dyn Memory) -> Option<Step> {
    let offset = i64::from(entry.sp_offset);
    let top = match entry.sp_register {
        2 => more?.dx,
        3 => more?.di,
        4 => place.bp.wrapping_add_signed(offset),
        5 => place.sp.wrapping_add_signed(offset),
        6 => more?.r10,
        7 => more?.r13,
        8 => word(memory, place.bp.wrapping_add_signed(offset))?,
        9 => word(memory, place.sp)?.wrapping_add_signed(offset),
        _ => return None,
    };
    let (mut next, saved) = match entry.kind {
        // A call: what it returns to lies below.
        0 => (Place { ip: word(memory, top.wrapping_sub(8))?, sp: top, bp: place.bp }, None),
        // All registers.
        1 => {
            let mut register = |nth: u64| word(memory, top.wrapping_add(8 * nth));
            let next = Place { ip: register(16)?, sp: register(19)?, bp: register(4)? };
            let saved = More { r10: register(7)?, r13: register(2)?, di: register(14)?, dx: register(12)? };
            (next, Some(saved))
        }
        // What the processor itself saved.
        2 => (Place { ip: word(memory, top)?, sp: word(memory, top.wrapping_add(24))?, bp: place.bp }, None),
        _ => return None,
    };
    let offset = i64::from(entry.bp_offset);
    match entry.bp_register {
        1 => next.bp = word(memory, top.wrapping_add_signed(offset))?,
        4 => next.bp = word(memory, place.bp.wrapping_add_signed(offset))?,
        _ => {}
    }
    Some(Step { place: next, more: saved, exact: entry.kind != 0 })
}

/// The next word up the stack that looks like what a call returns to.
fn guess(place: Place, table: &Table, memory: &mut dyn Memory) -> Option<Place> {
    let first = place.sp & !7;
    let mut bytes = [0; 8];
    for nth in 0..GUESS_WORDS {
        let at = first.checked_add(8 * nth)?;
        if !memory.read(at, &mut bytes) {
            return None;
        }
        let ip = u64::from_le_bytes(bytes);
        let is_code = table.near(ip.wrapping_sub(1)).is_some_and(|near| matches!(near.symbol.kind, 't' | 'T' | 'w' | 'W'));
        // A call is two to seven bytes long; the usual one begins with e8, five bytes before.
        let mut call = [0; 5];
        if is_code && memory.read(ip.wrapping_sub(5), &mut call) && (call[0] == 0xe8 || call[3] == 0xff || call[2] == 0xff) {
            return Some(Place { ip, sp: at + 8, bp: place.bp });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const CODE: u64 = 0xffff_ffff_8100_0000;
    const IPS: u64 = 0xffff_ffff_8180_0000;
    const ENTRIES: u64 = 0xffff_ffff_8190_0000;
    const STACK: u64 = 0xffff_c900_0000_0000;

    /// Bytes by their addresses.
    #[derive(Default)]
    struct Bytes(BTreeMap<u64, u8>);

    impl Bytes {
        fn put(&mut self, at: u64, bytes: &[u8]) {
            self.0.extend((at..).zip(bytes.iter().copied()));
        }

        fn words(&mut self, at: u64, words: &[u64]) {
            self.put(at, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
        }

        /// The table: a place in code, offsets, registers and kind.
        fn orc(&mut self, all: &[(u64, i16, i16, u8, u8)]) {
            for ((nth, (ip, sp, bp, registers, kind)), at) in (0..).zip(all).zip((IPS..).step_by(4)) {
                let distance = i32::try_from((*ip).wrapping_sub(at).cast_signed()).unwrap();
                self.put(at, &distance.to_le_bytes());
                self.put(ENTRIES + 6 * nth, &[&sp.to_le_bytes()[..], &bp.to_le_bytes(), &[*registers, *kind]].concat());
            }
        }
    }

    impl Memory for Bytes {
        fn read(&mut self, address: u64, to: &mut [u8]) -> bool {
            let read = (address..).zip(to.iter_mut()).map(|(at, to)| self.0.get(&at).map(|byte| *to = *byte));
            read.collect::<Option<Vec<()>>>().is_some()
        }
    }

    fn table(entries: u64) -> Table {
        let text = format!(
            "{CODE:x} T first\n{:x} T second\n{:x} T third\n{:x} T entry\n{IPS:x} r __start_orc_unwind_ip\n{:x} r __stop_orc_unwind_ip\n\
             {ENTRIES:x} r __start_orc_unwind\nffffffff82000000 B _end\nffffffffc0000000 t modular [m]\n",
            CODE + 0x100,
            CODE + 0x200,
            CODE + 0x300,
            IPS + 4 * entries,
        );
        crate::text::table(text.as_bytes(), b"m 4096 0 - Live 0xffffffffc0000000\n").unwrap()
    }

    fn ips(frames: &[Frame]) -> Vec<(u64, bool)> {
        frames.iter().map(|frame| (frame.ip, frame.guessed)).collect()
    }

    /// Would catch a caller that is looked for at another place of the stack, a frame register that is not restored, a set of registers
    /// that is read as a call, and a walk beyond the first frame of a thread.
    #[test]
    fn a_walk_goes_by_the_table_from_frame_to_frame() {
        let mut memory = Bytes::default();
        memory.orc(&[
            (CODE, 8, 0, 5, 0),                     // at its first byte: nothing is pushed
            (CODE + 1, 16, -16, 5 | 1 << 4, 0),     // the frame register is pushed
            (CODE + 0x100, 16, -16, 4 | 1 << 4, 0), // by the frame register
            (CODE + 0x200, 0, 0, 5, 1),             // all registers lie here
            (CODE + 0x300, 0, 0, 0, 4),             // the first frame of a thread
        ]);
        memory.words(STACK, &[STACK + 0x40, CODE + 0x150]);
        memory.words(STACK + 0x40, &[7, CODE + 0x250]);
        let mut registers = [0; 21];
        (registers[16], registers[19], registers[4]) = (CODE + 0x350, STACK + 0x800, 9);
        memory.words(STACK + 0x50, &registers);
        let place = Place { ip: CODE + 8, sp: STACK, bp: 1 };
        let table = table(5);
        let frames = walk(Orc::of(&table), place, More::default(), 64, &table, &mut memory);
        let expected = [CODE + 8, CODE + 0x150, CODE + 0x250, CODE + 0x350].map(|ip| (ip, false));
        assert_eq!(ips(&frames), expected);
        assert_eq!((frames[1].sp, frames[2].sp, frames[3].sp), (STACK + 0x10, STACK + 0x50, STACK + 0x800));
        assert_eq!((frames[2].exact, frames[3].exact), (false, true));
        assert_eq!(walk(Orc::of(&table), place, More::default(), 2, &table, &mut memory).len(), 2);
    }

    /// Would catch a place right behind a call at a function's end that is taken for the next function.
    #[test]
    fn what_a_call_returns_to_is_looked_up_before_it() {
        let mut memory = Bytes::default();
        memory.orc(&[(CODE, 8, 0, 5, 0), (CODE + 0x100, 16, 0, 5, 0), (CODE + 0x200, 0, 0, 0, 4)]);
        memory.words(STACK, &[CODE + 0x200, 0, CODE + 0x210]);
        let table = table(3);
        let frames = walk(Orc::of(&table), Place { ip: CODE, sp: STACK, bp: 0 }, More::default(), 9, &table, &mut memory);
        assert_eq!(ips(&frames), [(CODE, false), (CODE + 0x200, false), (CODE + 0x210, false)]);
    }

    /// Would catch data that is taken for a caller, or a guess that is told as if it were known.
    #[test]
    fn where_the_table_says_nothing_a_caller_is_guessed_and_marked() {
        let mut memory = Bytes::default();
        memory.orc(&[(CODE, 0, 0, 0, 4)]);
        memory.words(STACK, &[CODE + 0x180, 0x1234, CODE + 0x190]);
        memory.put(CODE + 0x17b, &[0x90; 5]);
        memory.put(CODE + 0x18b, &[0xe8, 0, 0, 0, 0]);
        let table = table(1);
        let place = Place { ip: 0xffff_ffff_c000_0010, sp: STACK, bp: 0 };
        let frames = walk(Orc::of(&table), place, More::default(), 9, &table, &mut memory);
        assert_eq!(ips(&frames), [(place.ip, false), (CODE + 0x190, true)], "the first looks like code and follows no call");
        assert_eq!(walk(None, place, More::default(), 9, &table, &mut Bytes::default()).len(), 1, "nothing can be read");
    }
}
