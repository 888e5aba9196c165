//! Memory of the guest for the prompt: read, written, searched, translated.
//!
//! **Holds always**
//! - M1: a linear address is walked by the tables that were asked for, and by the kernel's own where a program's leave them
//!   out. Root's frames are zeros for the walk, as the guest sees them, and are neither shown nor written; nor is what is no
//!   RAM. So nothing here faults, whatever is asked.
//! - M2: a request is bounded: by the message, by [`SEARCH_LOOKS_MAX`], by [`crate::limits::TASKS_MAX`].
//! - M3: a write is done whole or not at all, but for a frame that Linux hands to root in this very moment.
//! - M4: it is a debugger's: no right is asked, no fault taken, and no bit of a page table changes.
//!
//! **Callers**: `serve`. **Cost**: a walk a page, and a look at the list of root's blocks for each frame.
//! **Proof**: the tests below, `tests/e2e/memory.rs`.

use crate::arch::x86::{self, direct};
use crate::isolated;
use crate::limits::{SEARCH_BYTES_AT_ONCE, SEARCH_LOOKS_MAX};
use crate::monitors::record::Mapped;
use crate::tasks::{self, TASKS};
use crate::walk::{self, Look};
use crate::{bank, detours, hooks, hypercall};
use abi::boot::FRAME_BYTES;
use abi::code;
use abi::request::memory::{
    BY_TABLES, BYTES_MAX, FOUND_MAX, Found, LEVELS, NO_PID, PATTERN_BYTES_MAX, PHYSICAL, Place, READ_BYTES_MAX, Read, Search,
    Span, Translation, VIRTUAL, Written,
};
use abi::request::{self, op};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of an answer at most.
pub const ANSWER_BYTES_MAX: usize = size_of::<Read>() + READ_BYTES_MAX;
const _: () = assert!(size_of::<Found>() + 8 * FOUND_MAX <= ANSWER_BYTES_MAX && size_of::<Translation>() <= ANSWER_BYTES_MAX);

/// Pages that the bytes of one request touch.
const PIECES: usize = 2;
const _: () = assert!(BYTES_MAX as u64 <= FRAME_BYTES);
/// Bits of CR3 that say where the highest table lies.
const TABLES: u64 = 0x000f_ffff_ffff_f000;
/// The first linear address of the kernel's half.
pub(crate) const UPPER_HALF: u64 = 0xffff_8000_0000_0000;

/// Answers a request: a code, and the bytes of its body. `tables` is CR3 of the core that is meant.
pub fn answer(core: u32, tables: u64, what: u32, body: &[u8], room: &mut [u8; ANSWER_BYTES_MAX]) -> (u32, usize) {
    match what {
        op::MEMORY_READ => {
            let Some(ask) = request::body::<Span>(body).filter(|ask| ask.zero == 0) else { return malformed() };
            let Some(to) =
                usize::try_from(ask.bytes).ok().and_then(|bytes| room.get_mut(size_of::<Read>()..)?.get_mut(..bytes))
            else {
                return malformed();
            };
            match Memory::of(core, tables, ask.place) {
                Ok(memory) => {
                    let (bytes, why) = memory.read(ask.place.address, to);
                    #[expect(clippy::cast_possible_truncation, reason = "at most READ_BYTES_MAX")]
                    let head = Read { bytes: bytes as u32, why };
                    put(room, &head);
                    (code::SUCCESS, size_of::<Read>() + bytes)
                }
                Err(code) => (code, 0),
            }
        }
        op::MEMORY_WRITE => {
            let Ok((ask, bytes)) = Span::read_from_prefix(body) else { return malformed() };
            if ask.zero != 0 || bytes.is_empty() || bytes.len() > BYTES_MAX || u32::try_from(bytes.len()) != Ok(ask.bytes) {
                return malformed();
            }
            let written = Memory::of(core, tables, ask.place).map(|memory| memory.write(ask.place.address, bytes));
            let (code, written) = written.unwrap_or_else(|code| (code, Written::default()));
            (code, put(room, &written))
        }
        op::MEMORY_SEARCH => {
            let Some(ask) = request::body::<Search>(body) else { return malformed() };
            let size = usize::try_from(ask.pattern_bytes).unwrap_or(0);
            let Some(pattern) = ask.pattern.get(..size).filter(|pattern| !pattern.is_empty()) else { return malformed() };
            if !matches!(ask.step, 1 | 4 | 8) {
                return malformed();
            }
            match Memory::of(core, tables, ask.place) {
                Ok(memory) => {
                    let (found, places) = memory.search(ask.place.address, ask.bytes, pattern, ask.step);
                    let places = places.get(..usize::try_from(found.count).unwrap_or(0)).unwrap_or_default();
                    let head = put(room, &found);
                    for (to, place) in room.iter_mut().skip(head).zip(places.as_bytes()) {
                        *to = *place;
                    }
                    (code::SUCCESS, head + size_of_val(places))
                }
                Err(code) => (code, 0),
            }
        }
        op::TRANSLATE => match request::body::<Place>(body) {
            Some(place) => match Memory::of(core, tables, place).and_then(|memory| memory.translation(place.address)) {
                Ok(translation) => (code::SUCCESS, put(room, &translation)),
                Err(code) => (code, 0),
            },
            None => malformed(),
        },
        _ => (code::REQUEST_UNKNOWN, 0),
    }
}

fn malformed() -> (u32, usize) {
    (code::REQUEST_MALFORMED, 0)
}

fn put<T: IntoBytes + zerocopy::Immutable>(room: &mut [u8; ANSWER_BYTES_MAX], body: &T) -> usize {
    let bytes = body.as_bytes();
    for (to, from) in room.iter_mut().zip(bytes) {
        *to = *from;
    }
    bytes.len()
}

/// An address space, or physical memory.
struct Memory {
    core: u32,
    physical: bool,
    /// CR3.
    tables: u64,
    /// The kernel's own, if that is known.
    kernel: Option<u64>,
    /// Where the kernel maps all of RAM; 0 if that is not known.
    direct_map: u64,
}

/// An address space whose pages others look for.
pub struct Space(Memory);

/// The one that a request means; `tables` is CR3 of the core that is meant.
///
/// # Errors
/// A code.
pub fn space(core: u32, tables: u64, place: Place) -> Result<Space, u32> {
    Memory::of(core, tables, place).map(Space)
}

/// CR3 of the kernel to which these tables of a program belong, if that is known.
pub fn kernels(core: u32, tables: u64) -> Option<u64> {
    Memory::new(core, false, tables, tasks::direct_map()).kernel
}

/// What reads memory of the kernel's, whatever space these tables are of, and says whether all of it is there.
pub fn kernel_reader(core: u32, tables: u64) -> impl Fn(u64, &mut [u8]) -> bool {
    let memory = Memory::new(core, false, tables, tasks::direct_map());
    move |at, to| memory.kernel_reads(at, to)
}

impl Space {
    /// Where a linear address lies physically, and the bytes of its page.
    pub fn page(&self, linear: u64) -> Option<(u64, u64)> {
        let (look, _) = x86::is_canonical(linear).then(|| self.0.look(linear))?;
        look.found.map(|pa| (pa, look.bytes))
    }

    /// What maps a linear address of it.
    pub fn mapped(&self, linear: u64) -> Mapped {
        match linear {
            ..UPPER_HALF => Mapped::By(self.0.tables & TABLES),
            _ if tasks::is_fixed(linear) => Mapped::Always,
            _ => Mapped::Kernel,
        }
    }
}

/// A stretch of an address space within one page, or within one hole.
struct Piece {
    /// Where it begins physically, or why it is nowhere.
    at: Result<u64, u32>,
    /// Its bytes, from 1 on; the last one may be that of the last address.
    bytes: u64,
    writable: bool,
}

impl Memory {
    fn of(core: u32, tables: u64, place: Place) -> Result<Memory, u32> {
        if !matches!(place.space, VIRTUAL | PHYSICAL | BY_TABLES) {
            return Err(code::REQUEST_MALFORMED);
        }
        let memory = Memory::new(core, place.space == PHYSICAL, tables, tasks::direct_map());
        if place.space == BY_TABLES {
            return Ok(Memory { tables: u64::from(place.pid) * FRAME_BYTES, ..memory });
        }
        if place.pid == NO_PID {
            return Ok(memory);
        }
        let read = |at: u64, to: &mut [u8]| memory.kernel_reads(at, to);
        let table = TASKS.tables_of(place.pid, read).ok_or(code::PID_INVALID)?;
        let tables = if table == 0 { memory.tables } else { table.wrapping_sub(memory.direct_map) };
        Ok(Memory { tables, ..memory })
    }

    fn new(core: u32, physical: bool, tables: u64, direct_map: u64) -> Memory {
        let memory = Memory { core, physical, tables, kernel: None, direct_map };
        // With page-table isolation a program's own tables have nothing of the map, and the kernel's lie a page below.
        let home = isolated::kernels(tables) & TABLES;
        let is_kernels = |tables: u64| memory.found(tables, direct_map.wrapping_add(home)) == Some(home);
        let kernel = [tables, isolated::kernels(tables)].into_iter().find(|tables| direct_map != 0 && is_kernels(*tables));
        Memory { kernel, ..memory }
    }

    /// A word of the guest's, as it sees it (M1).
    fn word(&self, pa: u64) -> Option<u64> {
        if bank::owns(self.core, pa / FRAME_BYTES) { Some(0) } else { direct::read(pa) }
    }

    fn found(&self, tables: u64, linear: u64) -> Option<u64> {
        walk::translate(tables, linear, |pa| self.word(pa))
    }

    fn kernel_reads(&self, linear: u64, to: &mut [u8]) -> bool {
        let Some(kernel) = self.kernel else { return false };
        walk::read_bytes(kernel, linear, to, |pa| self.word(pa), direct::copy_out) == to.len()
    }

    /// The walk of a linear address that is canonical, and the tables it went by.
    fn look(&self, linear: u64) -> (Look, u64) {
        let look = walk::look(self.tables, linear, |pa| self.word(pa));
        match self.kernel {
            Some(kernel) if kernel != self.tables && look.found.is_none() && linear >= UPPER_HALF => {
                (walk::look(kernel, linear, |pa| self.word(pa)), kernel)
            }
            _ => (look, self.tables),
        }
    }

    /// Whether a physical address below the end of RAM is a device's: the kernel maps all of RAM, and leaves out single pages
    /// of it at most.
    fn is_device(&self, pa: u64) -> bool {
        self.kernel.is_some_and(|kernel| {
            let look = walk::look(kernel, self.direct_map.wrapping_add(pa), |pa| self.word(pa));
            look.found.is_none() && look.levels < LEVELS
        })
    }

    fn piece(&self, address: u64) -> Piece {
        let in_page = FRAME_BYTES - address % FRAME_BYTES;
        let none = |code, bytes| Piece { at: Err(code), bytes, writable: false };
        let (pa, writable) = if self.physical {
            (address, true)
        } else if x86::is_canonical(address) {
            let (look, _) = self.look(address);
            match look.found {
                Some(pa) => (pa, look.writable()),
                None => return none(code::ADDRESS_INVALID, look.bytes - address % look.bytes),
            }
        } else {
            return none(code::ADDRESS_INVALID, UPPER_HALF - address);
        };
        if pa >= direct::end() {
            none(code::PHYSICAL_INVALID, if self.physical { u64::MAX - address } else { in_page }.max(1))
        } else if bank::owns(self.core, pa / FRAME_BYTES) {
            none(code::MEMORY_OF_ROOT, in_page)
        } else if self.is_device(pa) {
            none(code::PHYSICAL_INVALID, in_page)
        } else {
            Piece { at: Ok(pa), bytes: in_page, writable }
        }
    }

    /// Reads as many bytes as can be; how many, and why not more.
    fn read(&self, address: u64, to: &mut [u8]) -> (usize, u32) {
        let mut done = 0;
        while done < to.len() {
            // There is nothing behind the last address.
            let Some(at) = address.checked_add(done as u64) else { return (done, code::ADDRESS_INVALID) };
            let piece = self.piece(at);
            let end = to.len().min(done.saturating_add(usize::try_from(piece.bytes).unwrap_or(usize::MAX)));
            let pa = match piece.at {
                Ok(pa) => pa,
                Err(code) => return (done, code),
            };
            if !to.get_mut(done..end).is_some_and(|to| direct::copy_out(pa, to)) {
                return (done, code::PHYSICAL_INVALID);
            }
            if let Some(read) = to.get_mut(done..end) {
                detours::restore(pa, read);
            }
            done = end;
        }
        (done, code::SUCCESS)
    }

    /// Writes all of at most [`BYTES_MAX`] bytes, or nothing.
    fn write(&self, address: u64, bytes: &[u8]) -> (u32, Written) {
        let mut places = [(0, 0, 0); PIECES];
        let (mut done, mut written) = (0, Written::default());
        #[expect(clippy::cast_possible_truncation, reason = "at most BYTES_MAX")]
        let short = |code, done: usize| (code, Written { bytes: done as u32, ..Written::default() });
        for (nth, place) in places.iter_mut().enumerate() {
            if done == bytes.len() {
                break;
            }
            let Some(at) = address.checked_add(done as u64) else { return short(code::ADDRESS_INVALID, done) };
            let piece = self.piece(at);
            let pa = match piece.at {
                Ok(pa) => pa,
                Err(code) => return short(code, done),
            };
            let end = bytes.len().min(done.saturating_add(usize::try_from(piece.bytes).unwrap_or(usize::MAX)));
            if detours::covers(pa, (end - done) as u64) {
                return short(code::OVERLAPS, done);
            }
            *place = (pa, done, end);
            written.read_only += u32::from(!piece.writable);
            written.physical = if nth == 0 { pa } else { written.physical };
            done = end;
        }
        for (pa, start, end) in places {
            if !bytes.get(start..end).is_some_and(|bytes| bytes.is_empty() || hypercall::store(self.core, pa, bytes)) {
                return short(code::MEMORY_OF_ROOT, start);
            }
            if start < end {
                hooks::written(self.core, pa / FRAME_BYTES);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most BYTES_MAX")]
        let bytes = done as u32;
        (code::SUCCESS, Written { bytes, ..written })
    }

    /// Places of a pattern that is not empty, in so many bytes; `step` is not 0.
    fn search(&self, address: u64, bytes: u64, pattern: &[u8], step: u32) -> (Found, [u64; FOUND_MAX]) {
        let (mut found, mut places) = (Found::default(), [0; FOUND_MAX]);
        let mut room = [0; SEARCH_BYTES_AT_ONCE + PATTERN_BYTES_MAX];
        let step = u64::from(step);
        for _ in 0..SEARCH_LOOKS_MAX {
            let left = bytes.saturating_sub(found.done);
            let Some(at) = address.checked_add(found.done).filter(|_| left >= pattern.len() as u64) else {
                found.done = bytes;
                break;
            };
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
            let read = room.get_mut(..wanted).map_or(0, |to| self.read(at, to).0);
            let whole = room.get(..read).unwrap_or_default();
            if read < pattern.len() {
                let Some(hole) = at.checked_add(read as u64) else {
                    found.done = bytes;
                    break;
                };
                let hole = self.piece(hole).bytes.min(left - read as u64);
                found.unreadable += hole;
                found.done += (read as u64 + hole).next_multiple_of(step);
                continue;
            }
            let mut offset = 0;
            while let Some(there) = usize::try_from(offset).ok().and_then(|from| whole.get(from..from + pattern.len())) {
                if there.first() == pattern.first() && there == pattern {
                    let Some(place) = usize::try_from(found.count).ok().and_then(|nth| places.get_mut(nth)) else {
                        // No room: it is found again by who goes on here.
                        found.done += offset;
                        return (found, places);
                    };
                    *place = at + offset;
                    found.count += 1;
                }
                offset += step;
            }
            found.done += offset;
        }
        (found, places)
    }

    fn translation(&self, address: u64) -> Result<Translation, u32> {
        let linear = match self.physical {
            true if self.direct_map == 0 => return Err(code::PHYSICAL_INVALID),
            true => self.direct_map.wrapping_add(address),
            false => address,
        };
        if !x86::is_canonical(linear) {
            return Ok(Translation { linear, page_bytes: UPPER_HALF - linear, tables: self.tables, ..Translation::default() });
        }
        let (look, tables) = self.look(linear);
        // What the map has elsewhere is another address' (a program's, beyond the end of the map).
        let found = look.found.filter(|pa| !self.physical || *pa == address);
        Ok(Translation {
            linear,
            physical: found.unwrap_or(0),
            page_bytes: look.bytes,
            tables,
            mapped: found.is_some().into(),
            levels: u32::try_from(look.levels).unwrap_or(0),
            entries: look.entries,
        })
    }
}

#[cfg(test)]
mod tests;
