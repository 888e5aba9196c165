//! The format of Intel's extended page tables (SDM volume 3, 29.3.2 "EPT Translation Mechanism").
//!
//! ```text
//! 63..57  56..52  51..12   11   10..8  7      6       5..3              2        1      0
//! 0       marks   address  mark 0      large  0       type of memory    execute  write  read
//!                                             of leaves: else reserved
//! ```
//! **Holds always**
//! - V1: no entry can be written and not read, and none can be executed alone where the processor does not know that: both are
//!   misconfigurations (29.3.3.1 "EPT Misconfigurations").
//! - V2: an entry that leads to memory tells the type that the memory type range registers tell, since nobody else asks them
//!   (29.3.7 "EPT and Memory Typing"); the guest's own tables count beside it. Where they tell several, it is uncached.
//! - V3: root's own frames are RAM that Linux handed over: they are write-back, as root itself uses them.
//! - V4: what the processor can do is learnt once, before the first entry is made.
//!
//! To software belong bits 11 and 52 to 56: 8 and 9 are marks of walks, 10 is for fetches of user code, and those above have
//! got meanings one by one.

use super::mtrr::{Mtrrs, UNCACHED, WRITE_BACK};
use crate::arch::nested::{Entries, FRAMES_1G, FRAMES_2M};
use crate::limits::NESTED_DIVIDED_BYTES_MAX;
use abi::boot::FRAME_BYTES;

const READ: u64 = 1;
const WRITE: u64 = 1 << 1;
const EXECUTE: u64 = 1 << 2;
const RIGHTS: u64 = READ | WRITE | EXECUTE;
const TYPE: u32 = 3;
const LARGE: u64 = 1 << 7;
const GIB: u64 = FRAMES_1G * FRAME_BYTES;

/// The format.
#[derive(Clone, Copy, Debug)]
pub struct Ept;

/// What entries depend on.
#[derive(Clone, Copy, Debug)]
struct Facts {
    execute_only: bool,
    gib_pages: bool,
    mtrrs: Mtrrs,
}

#[cfg(not(test))]
mod known {
    use super::Facts;
    use spin::Once;

    static FACTS: Once<Facts> = Once::new();

    pub(super) fn set(facts: Facts) {
        FACTS.call_once(|| facts);
    }

    pub(super) fn get() -> Option<&'static Facts> {
        FACTS.get()
    }
}

/// Each test has a processor of its own.
#[cfg(test)]
mod known {
    extern crate std;
    use super::{Facts, Mtrrs, WRITE_BACK};
    use core::cell::Cell;

    const USUAL: Facts = Facts { execute_only: true, gib_pages: true, mtrrs: Mtrrs::all(WRITE_BACK) };

    std::thread_local! {
        static FACTS: Cell<&'static Facts> = const { Cell::new(&USUAL) };
    }

    pub(super) fn set(facts: Facts) {
        FACTS.set(std::boxed::Box::leak(std::boxed::Box::new(facts)));
    }

    #[expect(clippy::unnecessary_wraps, reason = "as of the real one")]
    pub(super) fn get() -> Option<&'static Facts> {
        Some(FACTS.get())
    }
}

/// What this processor can do: pages that can be executed and not read, leaves of 1 GiB; and which types its memory has. The
/// first call counts (V4).
pub fn learn(execute_only: bool, gib_pages: bool, mtrrs: Mtrrs) {
    known::set(Facts { execute_only, gib_pages, mtrrs });
}

/// Whether there are pages that can be executed and not read.
#[must_use]
pub fn has_execute_only() -> bool {
    known::get().is_some_and(|facts| facts.execute_only)
}

/// The type of all of an aligned page of this level, if it has one.
fn kind(pa: u64, level: u32) -> Option<u8> {
    let bytes = FRAME_BYTES << (9 * level);
    known::get()?.mtrrs.kind(pa & !(bytes - 1), bytes)
}

fn leaf(pa: u64, kind: u8, rights: u64) -> u64 {
    pa | u64::from(kind) << TYPE | rights
}

impl Entries for Ept {
    const TABLE: u64 = RIGHTS;
    #[cfg(test)]
    const WALKED: u64 = 1 << 8;

    fn page(pa: u64, level: u32) -> u64 {
        leaf(pa, kind(pa, level).unwrap_or(UNCACHED), RIGHTS | if level > 0 { LARGE } else { 0 })
    }

    fn shown(pa: u64) -> u64 {
        leaf(pa, WRITE_BACK, READ | EXECUTE)
    }

    fn zeros(pa: u64) -> u64 {
        leaf(pa, WRITE_BACK, READ)
    }

    fn towards(table: u64, way: u64) -> u64 {
        table | way & (READ | WRITE) | EXECUTE
    }

    fn largest(pa: u64) -> u32 {
        let gib_pages = known::get().is_some_and(|facts| facts.gib_pages);
        match (kind(pa, 2), kind(pa, 1)) {
            (Some(_), _) if gib_pages => 2,
            (_, Some(_)) => 1,
            _ => 0,
        }
    }

    /// Tables of 2 MiB leaves cost one frame for each GiB, so without larger ones only RAM is mapped, and devices below 4 GiB.
    fn reach(end: u64) -> Option<u64> {
        let gib_pages = known::get().is_some_and(|facts| facts.gib_pages);
        (!gib_pages).then(|| end.max(4 * GIB).next_multiple_of(GIB))
    }

    #[inline(always)]
    fn is_there(entry: u64) -> bool {
        entry & RIGHTS != 0
    }

    #[inline(always)]
    fn is_large(entry: u64) -> bool {
        entry & LARGE != 0
    }

    #[inline(always)]
    fn may_read(entry: u64) -> bool {
        entry & READ != 0
    }

    #[inline(always)]
    fn may_write(entry: u64) -> bool {
        entry & (READ | WRITE) == READ | WRITE
    }

    #[inline(always)]
    fn may_fetch(entry: u64) -> bool {
        entry & EXECUTE != 0
    }

    fn without_read(entry: u64) -> u64 {
        entry & !if has_execute_only() { READ | WRITE } else { RIGHTS }
    }

    #[inline(always)]
    fn without_write(entry: u64) -> u64 {
        entry & !WRITE
    }

    #[inline(always)]
    fn without_fetch(entry: u64) -> u64 {
        entry & !EXECUTE
    }
}

const _: () = assert!(NESTED_DIVIDED_BYTES_MAX.is_multiple_of(GIB) && FRAMES_2M == 512);

#[cfg(test)]
mod tests;
