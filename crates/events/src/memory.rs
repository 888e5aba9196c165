//! The frames of units: programs and buffers lie in them, and only the embedder can touch them.
//!
//! **Holds always**
//! - M1: a program is written ([`Memory::fill`]) before it is read ([`Memory::program`]), by one core, while nobody else
//!   knows the frames; between its first reading and [`Memory::given_back`] nothing writes it.
//! - M2: whatever [`Memory::program`] gave is dropped before [`Memory::given_back`] is called for its frames.
//! - M3: a buffer is asked for below the bytes it was registered with, and by several cores at once: its bytes are atomics,
//!   or volatile. An access that is not aligned may tear.
//! - M4: machine code is where it runs ([`Memory::open_code`]) before its event is published, and no longer there
//!   ([`Memory::close_code`]) when its frames are given back; both by one core, while nobody runs it.
//!
//! **Callers**: root, any core. **Proof**: `tests/threads.rs`, over an arena that counts who reads.

use core::ops::Deref;
use reserve::Extent;
use script_vm::Size;

/// Access to frames of units by number. The embedder maps them as long as it runs.
///
/// No method may panic or wait.
pub trait Memory {
    /// The words of a program, for as long as a run takes: `&'static [u64]` where the frames stay mapped.
    type Program: Deref<Target = [u64]>;

    /// Writes words to the front of the frames from `pfn` on; false if that is no memory.
    #[must_use]
    fn fill(&self, pfn: u64, words: &[u64]) -> bool;

    /// Writes zeros to all of `frames` frames; false if that is no memory.
    #[must_use]
    fn clear(&self, pfn: u64, frames: u32) -> bool;

    /// The words of `frames` frames (M1); `None` if that is no memory.
    fn program(&self, pfn: u64, frames: u32) -> Option<Self::Program>;

    /// Reads, zero-extended, `offset` bytes behind the start of frame `pfn`; the offset is within the buffer (M3).
    fn buffer_read(&self, pfn: u64, offset: usize, size: Size) -> Option<u64>;

    /// Writes there.
    fn buffer_write(&self, pfn: u64, offset: usize, size: Size, value: u64) -> Option<()>;

    /// The first `bytes` bytes of the frames from `pfn` on can be executed on every core, where machine code of event `id`
    /// has its place; false if that cannot be (M4).
    #[must_use]
    fn open_code(&self, id: u32, pfn: u64, bytes: u64) -> bool;

    /// Nothing is executed there any more (M4).
    fn close_code(&self, id: u32);

    /// The frames are about to go back to the reserve; nobody reads or writes them (M2). For those who poison.
    fn given_back(&self, _: &Extent) {}
}

/// The safe buffer of an event. It holds zeros when the event is registered, and what scripts write from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    pub(crate) pfn: u64,
    pub(crate) bytes: u64,
}

impl Buffer {
    /// Its bytes, as they were asked for; 0: there is none.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }

    /// The frame that it begins with; means nothing if there is none.
    #[must_use]
    pub fn pfn(&self) -> u64 {
        self.pfn
    }

    /// Reads it, zero-extended; `None` beyond its end.
    pub fn read(&self, memory: &impl Memory, offset: usize, size: Size) -> Option<u64> {
        self.holds(offset, size).then(|| memory.buffer_read(self.pfn, offset, size))?
    }

    /// Writes it; `None` beyond its end.
    pub fn write(&self, memory: &impl Memory, offset: usize, size: Size, value: u64) -> Option<()> {
        self.holds(offset, size).then(|| memory.buffer_write(self.pfn, offset, size, value))?
    }

    fn holds(&self, offset: usize, size: Size) -> bool {
        offset.checked_add(size.bytes()).is_some_and(|end| end <= self.bytes())
    }
}
