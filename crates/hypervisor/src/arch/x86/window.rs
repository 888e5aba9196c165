//! Where machine code of events runs: a window of root's address space, with a place for each event.
//!
//! ```text
//! CODE_VA + event * PLACE    the frames of its unit, read and executed, as long as it is registered
//! ```
//! The tables of the window are taken when root prepares itself, so that opening a place needs no memory.
//!
//! **Holds always**
//! - K1: a frame stands in the window only while its unit is an event's. There it can be read and executed, in the direct map
//!   read and written: no address of root's can be both written and executed.
//! - K2: only the core that has an event's slot for itself changes the entries of its place, while nobody runs there (M4 of
//!   `events`).
//! - K3: after each change a count advances. A core compares it before it runs code, and reloads CR3 if it has not done so
//!   since: what it had cached of the window is gone then. Who sees an event sees the count of its opening, which
//!   precedes the event's gate.
//!
//! **Callers**: `bank`, once; `watch`, on any core. **Cost**: a store for each page that opens or closes.
#![expect(unsafe_code, reason = "entries of root's own page tables")]

use super::direct::{self, Frame};
use super::region::local;
use super::{cr3, load_cr3};
use crate::arch::{Frames, NoFrame};
use crate::limits::EVENTS_MAX;
use abi::boot::{CODE_VA, FRAME_BYTES};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// Pages of a place: more than any unit of an event has, and a divisor of a table.
const PLACE_PAGES: usize = 32;
const TABLE_ENTRIES: usize = 512;
const TABLES: usize = EVENTS_MAX * PLACE_PAGES / TABLE_ENTRIES;
const _: () = assert!((EVENTS_MAX * PLACE_PAGES).is_multiple_of(TABLE_ENTRIES) && TABLES <= TABLE_ENTRIES);
const _: () = assert!(TABLE_ENTRIES.is_multiple_of(PLACE_PAGES), "a place lies in one table");

/// Frames that the window's tables take.
pub const FRAMES: u64 = TABLES as u64 + 1;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const ACCESSED: u64 = 1 << 5;
const TABLE: u64 = PRESENT | WRITABLE | ACCESSED;
/// Not writable, and executable since the bit that forbids it is clear.
const READ_EXECUTE: u64 = PRESENT | ACCESSED;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Physical addresses of the last tables, once there are any.
static LAST: [AtomicU64; TABLES] = [const { AtomicU64::new(0) }; TABLES];
/// How often entries were changed (K3).
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Which entry of a table of this level (3 the root) leads to the window.
const fn entry_of(level: u32) -> u64 {
    (CODE_VA >> (12 + 9 * level) & 511) * 8
}
const _: () = assert!(entry_of(1) == 0 && entry_of(0) == 0, "the window begins with a table");

/// Builds the window's tables below root's, whose address is `root`. Nothing is open yet.
///
/// # Errors
/// [`NoFrame`], or root's tables are not where they were said to be.
pub fn prepare(root: u64, frames: &mut Frames) -> Result<(), NoFrame> {
    // The image stands beneath the same entry, so there is a table.
    let above = direct::read((root & ADDRESS) + entry_of(3)).filter(|entry| entry & PRESENT != 0).ok_or(NoFrame)?;
    let mut claim = || {
        let pfn = frames(1).ok_or(NoFrame)?;
        // SAFETY: `frames` hands out each frame of the module's blocks once (F2), mapped as long as root runs (F1).
        Ok(unsafe { Frame::claim(pfn) })
    };
    let middle = claim()?;
    for (slot, last) in LAST.iter().enumerate() {
        let table = claim()?;
        middle.set(slot, table.pa() | TABLE);
        last.store(table.pa(), SeqCst);
    }
    // SAFETY: an entry of root's own tables that led nowhere; no Rust code refers into them.
    let written = unsafe { direct::write((above & ADDRESS) + entry_of(2), middle.pa() | TABLE) };
    written.then_some(()).ok_or(NoFrame)
}

/// The entries of an event's place.
fn entries(event: u32) -> Option<impl Iterator<Item = u64>> {
    let page = usize::try_from(event).ok()?.checked_mul(PLACE_PAGES)?;
    let table = LAST.get(page / TABLE_ENTRIES)?.load(SeqCst);
    let first = table + (page % TABLE_ENTRIES) as u64 * 8;
    (table != 0).then(|| (first..).step_by(8).take(PLACE_PAGES))
}

/// Makes the first `bytes` bytes of the frames from `pfn` on executable at the event's place (K2); false if there is no room.
pub fn open(event: u32, pfn: u64, bytes: u64) -> bool {
    let pages = bytes.div_ceil(FRAME_BYTES);
    let Some(entries) = entries(event).filter(|_| pages <= PLACE_PAGES as u64) else { return false };
    let opened = (pfn..pfn + pages).zip(entries).all(|(pfn, at)| {
        // SAFETY: an entry of the window's tables, which only this core changes now (K2); what it maps can only be read and
        // executed there (K1).
        unsafe { direct::write(at, pfn * FRAME_BYTES | READ_EXECUTE) }
    });
    CHANGES.fetch_add(1, SeqCst);
    opened
}

/// Nothing is executed at the event's place any more (K2).
pub fn close(event: u32) {
    for at in entries(event).into_iter().flatten() {
        // SAFETY: as `open`. The tables are in RAM, as they were when they were claimed.
        let _in_ram = unsafe { direct::write(at, 0) };
    }
    CHANGES.fetch_add(1, SeqCst);
}

/// Where an event's place begins, as this core may call it now (K3).
pub(super) fn place(event: u32) -> u64 {
    let (changes, seen) = (CHANGES.load(SeqCst), &local().window);
    if seen.load(Relaxed) != changes {
        // SAFETY: the tables are those that are loaded already.
        unsafe { load_cr3(cr3()) };
        seen.store(changes, Relaxed);
    }
    CODE_VA + u64::from(event) * PLACE_PAGES as u64 * FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::x86::direct::arena;

    /// Where the tables lead for an address of the window: what the last entry says.
    fn walk(root: u64, address: u64) -> u64 {
        let entry = |table: u64, level: u32| direct::read((table & ADDRESS) + (address >> (12 + 9 * level) & 511) * 8).unwrap();
        entry(entry(entry(entry(root, 3), 2), 1), 0)
    }

    /// Would catch a place that leads to another event's frames or beyond its own, one that can be written, and one that stays.
    #[test]
    fn a_place_leads_to_its_own_frames_to_be_read_and_executed_and_only_while_it_is_open() {
        let (root, above) = (arena::run(1).unwrap(), arena::run(1).unwrap());
        assert!(prepare(root * FRAME_BYTES, &mut arena::run).is_err(), "no table of the image's");
        // SAFETY: the arena gave this frame to nobody else.
        assert!(unsafe { direct::write(root * FRAME_BYTES + entry_of(3), above * FRAME_BYTES | TABLE) });
        let mut taken = 0;
        prepare(root * FRAME_BYTES, &mut |n| {
            taken += n as u64;
            arena::run(n)
        })
        .unwrap();
        assert_eq!(taken, FRAMES);
        let page =
            |event: u64, page: u64| walk(root * FRAME_BYTES, CODE_VA + (event * PLACE_PAGES as u64 + page) * FRAME_BYTES);
        let all = EVENTS_MAX as u64;
        assert!((0..all).all(|event| page(event, 0) == 0 && page(event, 31) == 0));
        let last = u32::try_from(all - 1).unwrap();
        assert!(open(0, 0x100, 2 * FRAME_BYTES) && open(last, 0x200, 20 * FRAME_BYTES + 1));
        assert_eq!([0, 1, 2].map(|at| page(0, at)), [0x10_0021, 0x10_1021, 0]);
        assert_eq!([0, 20, 21].map(|at| page(all - 1, at)), [0x20_0021, 0x21_4021, 0]);
        assert_eq!([page(1, 0), page(all - 2, 31)], [0, 0]);
        assert!(!open(last + 1, 0x300, 1) && !open(1, 0x300, 33 * FRAME_BYTES) && page(1, 0) == 0);
        let changes = CHANGES.load(SeqCst);
        close(last);
        assert_eq!((page(all - 1, 0), page(all - 1, 20), page(0, 0)), (0, 0, 0x10_0021));
        assert!(CHANGES.load(SeqCst) > changes, "K3");
        close(0);
    }
}
