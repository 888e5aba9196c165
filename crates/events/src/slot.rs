//! One event: its words, and the phases of its life.
//!
//! ```text
//! gate   bit 0 enabled, 1 before, 2 after, 3 break, 4 short circuit, 5 by core, 6 by process, 7 by option,
//!        8 program, 9 guard, 10 count, 11 condition, 12…14 phase, 15 code, 16 code first, 17 breakpoint, 18 by thread, 24…31 kind, 32…47 the cell
//!        that is counted in, 48…63 what is added to it
//! ```
//! A slot that was never used is all zeros, so a table costs an image nothing but address space.
//!
//! **Holds always**: S1: whoever brought a slot from FREE to TAKEN writes its words alone, until it is READY; only who puts
//! the table in order writes `next` and `retired`, and takes a slot from DYING to FREE.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use script_vm::Layout;
use script_vm::program::LAYOUT_WORDS;

/// Bits of the gate.
pub(crate) mod gate {
    /// It fires.
    pub const ENABLED: u64 = 1 << 0;
    /// The stages, as [`abi::request::event`] numbers them, stand here.
    pub const STAGE_SHIFT: u32 = 1;
    /// Both of them.
    pub const STAGES: u64 = 3 << STAGE_SHIFT;
    /// It halts the machine.
    pub const BREAK: u64 = 1 << 3;
    /// It suppresses what the guest wanted.
    pub const SHORT_CIRCUIT: u64 = 1 << 4;
    /// On one core only.
    pub const BY_CORE: u64 = 1 << 5;
    /// For one process only.
    pub const BY_PID: u64 = 1 << 6;
    /// For one option only.
    pub const BY_OPTION: u64 = 1 << 7;
    /// Any of the three.
    pub const FILTERS: u64 = BY_CORE | BY_PID | BY_OPTION;
    /// It has a program,
    pub const PROGRAM: u64 = 1 << 8;
    /// which does nothing while its guard misses; neither does the event then.
    pub const GUARD: u64 = 1 << 9;
    /// All that its program does if the guard does not miss is to add to a cell.
    pub const COUNT: u64 = 1 << 10;
    /// It fires only if its machine code says so.
    pub const CONDITION: u64 = 1 << 11;
    /// The phase.
    pub const PHASE: u64 = 7 << 12;
    /// It runs machine code.
    pub const CODE: u64 = 1 << 15;
    /// Its machine code runs before its program.
    pub const CODE_FIRST: u64 = 1 << 16;
    /// It is a breakpoint, and has no unit of its own.
    pub const BREAKPOINT: u64 = 1 << 17;
    /// The process that it is for is a thread.
    pub const BY_THREAD: u64 = 1 << 18;
    /// It is one command's, and goes with it.
    pub const TEMPORARY: u64 = 1 << 19;
    /// What it waits for.
    pub const KIND_SHIFT: u32 = 24;
    /// The cell that is counted in.
    pub const CELL_SHIFT: u32 = 32;
    /// What is added to it, signed.
    pub const ADDED_SHIFT: u32 = 48;
}

/// Where in its life an event is (E1).
pub(crate) mod phase {
    /// No event.
    pub const FREE: u64 = 0;
    /// Somebody registers it.
    pub const TAKEN: u64 = 1 << 12;
    /// Registered, and on no chain yet.
    pub const READY: u64 = 2 << 12;
    /// On its chain.
    pub const LIVE: u64 = 3 << 12;
    /// Cleared, and perhaps on its chain still.
    pub const DYING: u64 = 4 << 12;
    /// Off its chain; cores may be inside.
    pub const GONE: u64 = 5 << 12;
}

/// The phase that a gate says.
pub(crate) const fn phase_of(gate: u64) -> u64 {
    gate & gate::PHASE
}

/// The kind that a gate says.
pub(crate) const fn kind_of(gate: u64) -> u32 {
    low(gate >> gate::KIND_SHIFT & 0xff)
}

/// Whether users see the event: registered and not cleared.
pub(crate) const fn is_there(gate: u64) -> bool {
    matches!(phase_of(gate), phase::READY | phase::LIVE)
}

/// One event. What firing asks lies on one line, what it counts on the next; a shift finds a slot.
#[repr(C, align(256))]
pub(crate) struct Slot {
    pub gate: AtomicU64,
    /// The next on the chain, as number plus one; 0: none.
    pub next: AtomicU32,
    /// The guard's register.
    pub register: AtomicU32,
    pub option: AtomicU64,
    /// The core, and the process in the upper half.
    pub who: AtomicU64,
    /// Mask, low and span.
    pub guard: [AtomicU64; 3],
    pub program_pfn: AtomicU64,
    pub hits: AtomicU64,
    pub faults: AtomicU64,
    pub last_fault: AtomicU64,
    pub lost: AtomicU64,
    /// Words of the program, and frames in the upper half.
    pub program_size: AtomicU64,
    pub layout: [AtomicU64; LAYOUT_WORDS],
    /// The kind of unit that it holds.
    pub unit: AtomicU64,
    /// Bytes of the condition's machine code, and of the action's in the upper half.
    pub code_bytes: AtomicU64,
    pub buffer_pfn: AtomicU64,
    /// Bytes; 0: no buffer, and no handle of one.
    pub buffer_bytes: AtomicU64,
    pub handle: AtomicU64,
    pub buffer_handle: AtomicU64,
    /// The how manieth registration this was.
    pub order: AtomicU64,
    /// The moment in which it was taken off its chain.
    pub retired: AtomicU64,
}

const _: () = assert!(core::mem::offset_of!(Slot, hits) == 64, "firing asks one line");
const _: () = assert!(size_of::<Slot>() == 256, "a shift finds it");

impl Slot {
    pub const fn new() -> Self {
        Slot {
            gate: AtomicU64::new(0),
            next: AtomicU32::new(0),
            register: AtomicU32::new(0),
            option: AtomicU64::new(0),
            who: AtomicU64::new(0),
            guard: [const { AtomicU64::new(0) }; 3],
            program_pfn: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            last_fault: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            program_size: AtomicU64::new(0),
            layout: [const { AtomicU64::new(0) }; LAYOUT_WORDS],
            unit: AtomicU64::new(0),
            code_bytes: AtomicU64::new(0),
            buffer_pfn: AtomicU64::new(0),
            buffer_bytes: AtomicU64::new(0),
            handle: AtomicU64::new(0),
            buffer_handle: AtomicU64::new(0),
            order: AtomicU64::new(0),
            retired: AtomicU64::new(0),
        }
    }

    /// Exchanges the gate, as long as `step` has a new one for what is there: what was there, or `None`.
    pub fn step(&self, step: impl FnMut(u64) -> Option<u64>) -> Option<u64> {
        self.gate.fetch_update(SeqCst, SeqCst, step).ok()
    }

    /// Whether its program would end at once: what [`crate::guard`] says.
    #[inline(always)]
    pub fn guard_misses(&self, gpr: impl FnOnce(usize) -> u64) -> bool {
        let [mask, low, span] = &self.guard;
        let found = gpr(self.register.load(Relaxed) as usize & 15) & mask.load(Relaxed);
        found.wrapping_sub(low.load(Relaxed)) <= span.load(Relaxed)
    }

    /// Keeps the layout of its program (S1).
    pub fn set_layout(&self, layout: &Layout) {
        self.layout.iter().zip(layout.to_words()).for_each(|(to, word)| to.store(word, Relaxed));
    }

    /// The layout of its program.
    #[inline]
    pub fn layout(&self) -> Layout {
        Layout::from_words(core::array::from_fn(|at| self.layout.get(at).map_or(0, |word| word.load(Relaxed))))
    }
}

/// The low half of a word.
pub(crate) const fn low(word: u64) -> u32 {
    (word & 0xffff_ffff) as u32
}

/// The high half of a word.
pub(crate) const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

/// A word of two halves.
pub(crate) const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}
