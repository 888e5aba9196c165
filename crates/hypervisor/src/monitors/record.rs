//! One page, or large page, of a monitor: what is written into the small part of the unit that it took.
//!
//! **Holds always**
//! - R1: a record is written by the core that has the lock of the monitors, before it is on a chain; on a chain only its links and
//!   its flags change, a word at a time.
//! - R2: it is read by any core at any time. Its unit is given back when no core can be reading it any more (`monitors`, N2).
//!
//! **Callers**: `monitors`. **Cost**: a load a field.
#![expect(unsafe_code, reason = "records lie in the small parts of units, found by their physical address")]

use crate::arch::Run;
use crate::arch::x86::direct;
use reserve::Handle;

/// Where a record lies: a physical address, which is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(u64);

/// What says where a record's linear address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// Nothing has to: it is physical, or the kernel never maps it otherwise.
    Always,
    /// The kernel's tables, as they are.
    Kernel,
    /// A program's tables: their highest.
    By(u64),
}

/// What a record says, but for its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Says {
    /// The frames that it is about.
    pub run: Run,
    /// The first and the last byte in them.
    pub range: (u64, u64),
    /// What the first frame's first byte is called in `$context`.
    pub base: u64,
    /// The event,
    pub id: u32,
    /// and the number of its monitor.
    pub serial: u32,
    /// What accesses it is about.
    pub access: u32,
    /// It is enabled.
    pub enabled: bool,
    /// It is a hook: only instructions that begin at its byte are meant.
    pub hook: bool,
    /// It is a detour's.
    pub detour: bool,
    /// Its address may be mapped otherwise meanwhile, and Linux does not hold its frames yet.
    pub loose: bool,
}

/// Words of a record.
#[derive(Clone, Copy)]
enum Word {
    /// The next record on the chain; 0: none.
    Chained,
    Pfn,
    /// Level of the run, accesses, enabled.
    Flags,
    First,
    Last,
    Base,
    /// The event's id, and the monitor's number in the upper half.
    Of,
    /// Two frames for tables: the first.
    Frames,
    /// The next record of the same monitor; 0: none.
    Next,
    Handle,
    /// [`Mapped`]: 0, 1, or the address of a table.
    Mapped,
}

/// Words that say something, one behind the other.
const WORDS: usize = Word::Handle as usize + 1;
/// Bytes of a record.
pub const BYTES: u32 = (Word::Mapped as u32 + 1) * 8;

/// Beside the accesses of a hook: its breakpoint may be read (`visible`).
pub const VISIBLE: u32 = 0x80;
const ACCESS_SHIFT: u32 = 8;
const ENABLED: u64 = 1 << 16;
const HOOK: u64 = 1 << 17;
const SHOWN: u64 = 1 << 18;
const DETOUR: u64 = 1 << 19;
const LOOSE: u64 = 1 << 20;
const KNOWN: u64 = 1 << 21;

impl Record {
    /// The one at a physical address.
    pub fn at(pa: u64) -> Option<Record> {
        (pa != 0).then_some(Record(pa))
    }

    /// Its address, for links.
    pub fn pa(self) -> u64 {
        self.0
    }

    fn get(self, word: Word) -> u64 {
        direct::read(self.0 + word as u64 * 8).unwrap_or(0)
    }

    fn put(self, word: Word, value: u64) {
        // SAFETY: the small part of a unit that was taken for this record; no Rust reference leads there, and readers on other
        // cores load whole words (R2).
        let _in_ram = unsafe { direct::write(self.0 + word as u64 * 8, value) };
    }

    /// Writes all but the links (R1).
    pub fn write(self, says: &Says, mapped: Mapped, frames: u64, handle: Handle) {
        self.put(Word::Pfn, says.run.pfn);
        self.put(Word::First, says.range.0);
        self.put(Word::Last, says.range.1);
        self.put(Word::Base, says.base);
        self.put(Word::Of, u64::from(says.id) | u64::from(says.serial) << 32);
        self.put(Word::Frames, frames);
        self.put(Word::Handle, handle.to_word());
        self.put(
            Word::Mapped,
            match mapped {
                Mapped::Always => 0,
                Mapped::Kernel => 1,
                Mapped::By(tables) => tables,
            },
        );
        let kind = if says.hook { HOOK } else { 0 } | if says.detour { DETOUR } else { 0 } | if says.loose { LOOSE } else { 0 };
        self.put(Word::Flags, u64::from(says.run.level) | u64::from(says.access) << ACCESS_SHIFT | kind);
        self.enable(says.enabled);
    }

    /// Says whether it is enabled.
    pub fn enable(self, enabled: bool) {
        let flags = self.get(Word::Flags) & !ENABLED;
        self.put(Word::Flags, flags | if enabled { ENABLED } else { 0 });
    }

    /// What it says, and the next on its chain.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "fields of words, as `write` put them together")]
    pub fn look(self) -> Option<(Says, u64)> {
        let words = direct::Words::<WORDS>::at(self.0)?;
        let get = |word: Word| words.get(word as usize);
        let (flags, of) = (get(Word::Flags), get(Word::Of));
        let says = Says {
            run: Run { pfn: get(Word::Pfn), level: (flags & 0xff) as u32 },
            range: (get(Word::First), get(Word::Last)),
            base: get(Word::Base),
            id: of as u32,
            serial: (of >> 32) as u32,
            access: (flags >> ACCESS_SHIFT & 0xff) as u32,
            enabled: flags & ENABLED != 0,
            hook: flags & HOOK != 0,
            detour: flags & DETOUR != 0,
            loose: flags & LOOSE != 0,
        };
        Some((says, get(Word::Chained)))
    }

    /// The event.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half, as `write` put it")]
    pub fn id(self) -> u32 {
        self.get(Word::Of) as u32
    }

    /// What maps its address.
    pub fn mapped(self) -> Mapped {
        match self.get(Word::Mapped) {
            0 => Mapped::Always,
            1 => Mapped::Kernel,
            tables => Mapped::By(tables),
        }
    }

    /// Whether its address may be mapped otherwise meanwhile, and Linux does not hold its frames yet.
    pub fn is_loose(self) -> bool {
        self.get(Word::Flags) & LOOSE != 0
    }

    /// Linux holds its frames now, and tells what becomes of its address.
    pub fn hold(self) {
        self.put(Word::Flags, self.get(Word::Flags) & !LOOSE | KNOWN);
    }

    /// Whether Linux tells what becomes of its address.
    pub fn is_known(self) -> bool {
        self.get(Word::Flags) & KNOWN != 0
    }

    /// It is about other frames, which nobody holds yet. It is on no chain, and no core can be reading it.
    pub fn place(self, pfn: u64) {
        self.put(Word::Pfn, pfn);
        self.put(Word::Flags, self.get(Word::Flags) & !SHOWN | LOOSE);
    }

    /// The frames that it is about.
    pub fn run(self) -> Run {
        Run { pfn: self.get(Word::Pfn), level: (self.get(Word::Flags) & 0xff) as u32 }
    }

    /// Its frames for tables.
    pub fn frames(self) -> [u64; 2] {
        let first = self.get(Word::Frames);
        [first, first + 1]
    }

    /// Whether it is a hook whose breakpoint may be read.
    pub fn is_visible(self) -> bool {
        self.get(Word::Flags) >> ACCESS_SHIFT & u64::from(VISIBLE) != 0
    }

    /// Its breakpoint may be read no longer.
    pub fn hide(self) {
        let flags = self.get(Word::Flags) & !(u64::from(VISIBLE) << ACCESS_SHIFT);
        self.put(Word::Flags, flags);
    }

    /// Whether it is a hook.
    pub fn is_hook(self) -> bool {
        self.get(Word::Flags) & HOOK != 0
    }

    /// The byte of a hook, and whether it is enabled.
    pub fn hooked(self) -> (u64, bool) {
        (self.get(Word::First), self.get(Word::Flags) & ENABLED != 0)
    }

    /// A hook's frame for what is executed instead of its page.
    pub fn shadow(self) -> u64 {
        self.get(Word::Frames) + 2
    }

    /// Whether that is what cores execute.
    pub fn is_shown(self) -> bool {
        self.get(Word::Flags) & SHOWN != 0
    }

    /// Says so.
    pub fn show(self, shown: bool) {
        let flags = self.get(Word::Flags) & !SHOWN;
        self.put(Word::Flags, flags | if shown { SHOWN } else { 0 });
    }

    /// Its unit.
    pub fn handle(self) -> Handle {
        Handle::from_word(self.get(Word::Handle))
    }

    /// The next on its chain.
    pub fn chained(self) -> u64 {
        self.get(Word::Chained)
    }

    /// Changes the next on its chain.
    pub fn chain(self, next: u64) {
        self.put(Word::Chained, next);
    }

    /// The next of its monitor.
    pub fn next(self) -> Option<Record> {
        Record::at(self.get(Word::Next))
    }

    /// Changes the next of its monitor; 0: none.
    pub fn link(self, next: u64) {
        self.put(Word::Next, next);
    }
}
