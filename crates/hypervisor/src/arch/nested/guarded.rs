//! The guarded view: the nested tables once more, with what monitors keep from the guest; and the closed one.
//!
//! ```text
//! open      everything is mapped to itself, but root's own blocks
//! guarded   its own root and first tables; below them tables of the open view, but where a monitor is: own tables there
//! closed    as open, and nothing can be executed: for the delivery of one event, which ends with a fetch
//! ```
//! A core runs in the guarded view while there are monitors, and goes to the open one for an instruction that a monitor stops
//! (`step`), alone: the others stay guarded.
//!
//! **Holds always**
//! - G1: an entry is the open view's for its level, less what the bits say that only software reads: the guest cannot do
//!   in the guarded view what it cannot do in the open one.
//! - G2: a table of its own stands there only where a page below it is *covered*: some monitor has a record of it, whether it
//!   is enabled or not. With the last of them it goes, and large pages are large again.
//! - G3: a table of its own lies in a frame of a record of a page below it. So who has a record has two frames, and the tables
//!   of all records suffice, whoever goes first ([`Guarded::release`]).
//! - G4: a frame that was a table here is used for something else only after a flush of every core, which is the caller's.
//! - G5: where another frame is shown it can be read and executed, as far as the page itself can, and never be written.
//!
//! Whole 2 MiB or 1 GiB that are guarded are one entry, also where the open view has a table there: rights of all levels count
//! together (APM2 5.6 "Page-Protection Checks").
//!
//! **Cost**: setting an entry, four loads; a table more, 512 stores. **Callers**: the vendor, under its lock.
#![expect(unsafe_code, reason = "entries of nested tables, in frames of root's own")]

use super::{ADDRESS, COVERED, Entries, FRAMES_1G, GUARD_FETCH, GUARD_READ, GUARD_WRITE, OWN, SHOWN, TOP};
use crate::arch::x86::direct;
use crate::arch::{Guard, NoFrame, Run};
use abi::boot::{Block, FRAME_BYTES};
use core::marker::PhantomData;

const KEPT: u64 = GUARD_READ | GUARD_WRITE | GUARD_FETCH | COVERED;

/// The tables.
#[derive(Debug)]
pub struct Guarded<E> {
    /// Physical addresses of the roots of all three views, and of how many entries of the guarded one tables are its own.
    open: u64,
    root: u64,
    closed: u64,
    regions: u64,
    format: PhantomData<E>,
}

/// Where in its table an entry for this frame stands.
fn at(level: u32, pfn: u64) -> u64 {
    (pfn >> (9 * level) & 511) * 8
}

#[inline]
pub(in crate::arch) fn entry(table: u64, level: u32, pfn: u64) -> u64 {
    direct::read((table & ADDRESS) + at(level, pfn)).unwrap_or(0)
}

pub(super) fn set(table: u64, level: u32, pfn: u64, value: u64) {
    // SAFETY: tables of the guarded and the closed view, and those of what a core executes, lie in frames that were handed in for them, hidden from Linux; no Rust
    // reference leads there, and walkers load whole entries.
    let _in_ram = unsafe { direct::write((table & ADDRESS) + at(level, pfn), value) };
}

/// An entry with less than it allows.
fn restricted<E: Entries>(entry: u64, kept: u64) -> u64 {
    let mut entry = entry & !KEPT | kept;
    if kept & GUARD_READ != 0 {
        entry = E::without_read(entry);
    }
    if kept & GUARD_WRITE != 0 {
        entry = E::without_write(entry);
    }
    if kept & GUARD_FETCH != 0 {
        entry = E::without_fetch(entry);
    }
    entry
}

impl<E: Entries> Guarded<E> {
    /// No tables yet.
    #[must_use]
    pub const fn empty() -> Guarded<E> {
        Guarded { open: 0, root: 0, closed: 0, regions: 0, format: PhantomData }
    }

    /// Builds both views beside the open one, whose root is `open`. Of memory below `end` something can be guarded later.
    ///
    /// # Errors
    /// [`NoFrame`] when `frames` ran out. The frames that it gives are cleared.
    pub fn build(&mut self, open: u64, end: u64, frames: &mut dyn FnMut() -> Option<u64>) -> Result<(), NoFrame> {
        let mut table = || frames().map(|pfn| pfn * FRAME_BYTES).ok_or(NoFrame);
        (self.open, self.root, self.closed) = (open, table()?, table()?);
        let pages = 512 * FRAMES_1G;
        self.regions = end.div_ceil(FRAME_BYTES).div_ceil(pages).clamp(1, 512);
        for region in 0..512 {
            let pfn = region * pages;
            let below = entry(open, TOP, pfn);
            if !E::is_there(below) {
                continue;
            }
            set(self.closed, TOP, pfn, E::without_fetch(below));
            let mut mine = below;
            if region < self.regions {
                let own = table()?;
                (0..512).for_each(|slot| set(own, 2, slot * FRAMES_1G, entry(below, 2, slot * FRAMES_1G)));
                mine = own | E::TABLE;
            }
            set(self.root, TOP, pfn, mine);
        }
        Ok(())
    }

    /// What goes into the control block for the guarded view,
    #[must_use]
    pub fn root_pa(&self) -> u64 {
        self.root
    }

    /// and for the closed one.
    #[must_use]
    pub fn closed_pa(&self) -> u64 {
        self.closed
    }

    /// Whether something can be guarded there.
    #[must_use]
    pub fn reaches(&self, pfn: u64) -> bool {
        pfn / FRAMES_1G / 512 < self.regions
    }

    /// The frame that the guest executes for one, if it can; for tests.
    #[cfg(test)]
    pub(crate) fn executed(&self, pfn: u64) -> Option<u64> {
        let mut table = self.root;
        for level in (0..=TOP).rev() {
            let found = entry(table, level, pfn);
            if !E::may_fetch(found) {
                return None;
            }
            if level > 0 && level < TOP && E::is_large(found) {
                let below = (1 << (9 * level)) - 1;
                return Some((found & ADDRESS) / FRAME_BYTES & !below | pfn & below);
            }
            table = found;
        }
        Some((table & ADDRESS) / FRAME_BYTES)
    }

    /// What the open view would have at a level, were it divided as far as that.
    fn open_entry(&self, level: u32, pfn: u64) -> u64 {
        let mut table = self.open;
        for above in (level + 1..=TOP).rev() {
            let found = entry(table, above, pfn);
            if above < TOP && E::is_large(found) {
                return E::page((pfn >> (9 * level) << (9 * level)) * FRAME_BYTES, level);
            }
            if !E::is_there(found) {
                return 0;
            }
            table = found;
        }
        entry(table, level, pfn)
    }

    /// The table of the guarded view's own that holds the entry of this level; 0 if there is none.
    fn own(&self, level: u32, pfn: u64) -> u64 {
        let mut table = if self.reaches(pfn) { entry(self.root, TOP, pfn) & ADDRESS } else { 0 };
        for above in (level + 1..TOP).rev() {
            if table == 0 {
                break;
            }
            let found = entry(table, above, pfn);
            table = if found & OWN != 0 { found & ADDRESS } else { 0 };
        }
        table
    }

    /// Makes the tables down to this level its own, from these frames: for the entries of pages, and for those of 2 MiB.
    fn divide(&self, level: u32, pfn: u64, frames: [u64; 2]) {
        for below in (level..2).rev() {
            if self.own(below, pfn) != 0 {
                continue;
            }
            let above = self.own(below + 1, pfn);
            let Some(frame) = frames.get(below as usize).filter(|_| above != 0) else { return };
            let table = frame * FRAME_BYTES;
            let first = pfn >> (9 * (below + 1)) << (9 * (below + 1));
            for slot in 0..512_u64 {
                let each = first + (slot << (9 * below));
                set(table, below, each, self.open_entry(below, each));
            }
            let kept = entry(above, below + 1, pfn) & KEPT;
            set(above, below + 1, pfn, restricted::<E>(table | E::TABLE | OWN, kept));
        }
    }

    /// What is kept from the guest there. If the run is not covered by any record it is as in the open view, and tables that
    /// nothing needs any more stand there no longer (G2). The frames are those of the record (G3). The caller flushes.
    pub fn guard(&self, run: Run, guard: Guard, frames: [u64; 2]) {
        if !self.reaches(run.pfn) {
            return;
        }
        if guard.covered {
            self.divide(run.level, run.pfn, frames);
        }
        let table = self.own(run.level, run.pfn);
        if table == 0 {
            return;
        }
        let flag = |is: bool, bit: u64| if is { bit } else { 0 };
        let kept = flag(guard.read, GUARD_READ)
            | flag(guard.write, GUARD_WRITE)
            | flag(guard.fetch, GUARD_FETCH)
            | flag(guard.covered, COVERED);
        self.put(table, run.level, run.pfn, kept, guard.shown.filter(|_| run.level == 0));
        if !guard.covered {
            self.merge(run.pfn);
        }
    }

    /// Writes an entry anew, from the open view or its own table, or of the frame that is shown instead (G5).
    fn put(&self, table: u64, level: u32, pfn: u64, kept: u64, shown: Option<u64>) {
        let was = entry(table, level, pfn);
        let base = if was & OWN != 0 { was & ADDRESS | E::TABLE | OWN } else { self.open_entry(level, pfn) };
        let is_plain = E::may_write(base) && base & OWN == 0;
        let base = match shown.filter(|_| is_plain) {
            Some(frame) => E::shown(frame * FRAME_BYTES) | SHOWN,
            None => base,
        };
        set(table, level, pfn, restricted::<E>(base, kept));
    }

    /// G2.
    fn merge(&self, pfn: u64) {
        for level in 0..2 {
            let table = self.own(level, pfn);
            let above = self.own(level + 1, pfn);
            if table == 0 || self.below(level, pfn).is_some() {
                continue;
            }
            let kept = entry(above, level + 1, pfn) & KEPT;
            set(above, level + 1, pfn, restricted::<E>(self.open_entry(level + 1, pfn), kept));
        }
    }

    /// The first run below the own table of this level around a frame that is covered.
    fn below(&self, level: u32, pfn: u64) -> Option<Run> {
        let table = self.own(level, pfn);
        let first = pfn >> (9 * (level + 1)) << (9 * (level + 1));
        for slot in 0..512_u64 {
            let each = first + (slot << (9 * level));
            let found = entry(table, level, each);
            if found & COVERED != 0 {
                return Some(Run { pfn: each, level });
            }
            if found & OWN != 0 && level > 0 {
                return self.below(level - 1, each);
            }
        }
        None
    }

    /// The frames of a record that goes are no tables any more: what stands in them moves to those of another record below
    /// the same table, which `frames_of` tells (G3, G4).
    pub fn release(&self, run: Run, frames: [u64; 2], frames_of: &mut dyn FnMut(Run) -> Option<[u64; 2]>) {
        for (level, frame) in (0..).zip(frames) {
            let table = self.own(level, run.pfn);
            if table == 0 || table != frame * FRAME_BYTES {
                continue;
            }
            let heir = self.below(level, run.pfn).and_then(&mut *frames_of);
            let Some(to) = heir.and_then(|frames| frames.get(level as usize).copied()) else { continue };
            let (to, above) = (to * FRAME_BYTES, self.own(level + 1, run.pfn));
            for slot in 0..512_u64 {
                let each = slot << (9 * level);
                set(to, level, each, entry(table, level, each));
            }
            let kept = entry(above, level + 1, run.pfn) & KEPT;
            set(above, level + 1, run.pfn, restricted::<E>(to | E::TABLE | OWN, kept));
        }
    }

    /// The open view has changed there: a block was hidden or shown.
    pub fn follow(&self, block: Block) {
        let end = block.pfn + (1 << block.order);
        for level in 0..=2 {
            // A block is within 2 MiB, so above pages one entry is all.
            let last = if level == 0 { end } else { block.pfn + 1 };
            let table = self.own(level, block.pfn);
            for pfn in (block.pfn..last).filter(|_| table != 0) {
                let was = entry(table, level, pfn);
                let shown = (was & SHOWN != 0).then_some((was & ADDRESS) / FRAME_BYTES);
                self.put(table, level, pfn, was & KEPT, shown);
            }
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "frames of the tests' own RAM")]
mod tests {
    extern crate std;
    use super::super::open::Open;
    use super::*;
    use crate::arch::x86::direct::{Frame, arena};
    use std::boxed::Box;

    const WRITES: Guard = Guard { covered: true, read: false, write: true, fetch: false, shown: None };

    fn frame() -> Option<Frame> {
        // SAFETY: the arena hands out each frame once.
        arena::run(1).map(|pfn| unsafe { Frame::claim(pfn) })
    }

    fn frames() -> [u64; 2] {
        [0; 2].map(|_| frame().unwrap().pfn())
    }

    fn built<E: Entries>() -> (Box<Open<E>>, Guarded<E>) {
        let mut open = Box::new(Open::empty());
        open.build(40, direct::end(), &mut frame).unwrap();
        let mut guarded = Guarded::empty();
        guarded.build(open.root_pa(), direct::end(), &mut || frame().map(|frame| frame.pfn())).unwrap();
        (open, guarded)
    }

    /// What a walk from a root finds for a frame, without what only software and the walk itself put there; and its level.
    fn walk<E: Entries>(root: u64, pfn: u64) -> (u64, u32) {
        let mut table = root;
        let mut may_fetch = true;
        for level in (0..=TOP).rev() {
            let found = entry(table, level, pfn);
            may_fetch &= E::may_fetch(found);
            if level == 0 || level < TOP && E::is_large(found) || !E::is_there(found) {
                let found = found & !KEPT & !OWN & !E::WALKED;
                return (if may_fetch { found } else { E::without_fetch(found) }, level);
            }
            table = found;
        }
        unreachable!()
    }

    super::super::both! {
        /// Would catch a block of root's that the guarded view shows, or does not show again, beside a monitor, within one, or
        /// before there is one; and a mark of the walker's that makes a block stay hidden.
        fn what_is_hidden_is_hidden_in_every_view_and_comes_back_in_every_view<E>() {
            let (mut open, guarded) = built::<E>();
            let (small, whole) = (Block { pfn: 0x4_0210, order: 4, used: 0 }, Block { pfn: 0x4_0400, order: 9, used: 0 });
            let same = |guarded: &Guarded<E>, open: &Open<E>, pfn: u64| {
                let open = walk::<E>(open.root_pa(), pfn).0;
                assert_eq!(walk::<E>(guarded.root_pa(), pfn).0, open, "{pfn:x}");
                assert_eq!(walk::<E>(guarded.closed_pa(), pfn).0, E::without_fetch(open), "{pfn:x}");
            };
            for round in 0..2 {
                for block in [small, whole] {
                    open.hide(block, &mut frame).unwrap();
                    guarded.follow(block);
                    // What the walker does to the entry of a page that was read.
                    let root = guarded.open;
                    let mut table = root;
                    for level in (1..=TOP).rev() {
                        let found = entry(table, level, block.pfn);
                        set(table, level, block.pfn, found | E::WALKED);
                        table = found;
                    }
                }
                for pfn in [0x4_020f, 0x4_0210, 0x4_021f, 0x4_0400, 0x4_05ff, 0x4_0600] {
                    same(&guarded, &open, pfn);
                }
                let zeros = walk::<E>(open.root_pa(), 0x4_0210).0;
                assert!(E::is_there(zeros) && !E::may_write(zeros) && !E::may_fetch(zeros));
                for block in [small, whole] {
                    open.show(block);
                    guarded.follow(block);
                    same(&guarded, &open, block.pfn);
                    let again = walk::<E>(open.root_pa(), block.pfn).0;
                    assert_eq!((again & ADDRESS, E::may_write(again)), (block.pfn * FRAME_BYTES, true), "shown again");
                }
                if round == 0 {
                    // The second time there are monitors beside it and in it.
                    for pfn in [0x4_020f, 0x4_0212, 0x4_0401] {
                        guarded.guard(Run { pfn, level: 0 }, WRITES, frames());
                    }
                    guarded.guard(Run { pfn: 0x4_0600, level: 1 }, WRITES, frames());
                    for pfn in [0x4_020f, 0x4_0212, 0x4_0401, 0x4_0600, 0x4_07ff] {
                        let stopped = walk::<E>(guarded.root_pa(), pfn).0;
                        assert_eq!((stopped & ADDRESS & !0x1f_f000, E::may_write(stopped)), (pfn >> 9 << 21, false));
                    }
                    open.hide(small, &mut frame).unwrap();
                    guarded.follow(small);
                    same(&guarded, &open, 0x4_0212);
                    open.show(small);
                    guarded.follow(small);
                    let again = E::without_write(E::page(0x4_0212 << 12, 0));
                    assert_eq!(walk::<E>(guarded.root_pa(), 0x4_0212), (again, 0), "guarded again");
                    for pfn in [0x4_020f, 0x4_0212, 0x4_0401] {
                        guarded.guard(Run { pfn, level: 0 }, Guard::default(), [0; 2]);
                    }
                    guarded.guard(Run { pfn: 0x4_0600, level: 1 }, Guard::default(), [0; 2]);
                    assert_eq!(entry(entry(guarded.root, TOP, 0x4_0000), 2, 0x4_0000) & OWN, 0, "merged");
                }
            }
        }

        /// Would catch a frame that is shown and can be written, one that stays when it is shown no more or when what it hides is
        /// hidden from the guest, and one that is lost when a neighbour's block comes or goes.
        fn another_frame_is_shown_to_be_read_and_executed_and_never_written<E>() {
            let (mut open, guarded) = built::<E>();
            let (run, frames) = (Run { pfn: 0x8_0003, level: 0 }, frames());
            let shown = |frame| Guard { shown: Some(frame), ..WRITES };
            let seen = |guarded: &Guarded<E>| walk::<E>(guarded.root_pa(), run.pfn).0;
            guarded.guard(run, shown(0x1234), frames);
            let own = seen(&guarded) & !SHOWN;
            assert_eq!(own, E::shown(0x1234 * FRAME_BYTES));
            guarded.guard(run, Guard { write: false, ..shown(0x1234) }, frames);
            assert!(!E::may_write(seen(&guarded)), "who guards nothing may not write it either");
            assert_eq!(walk::<E>(guarded.root_pa(), run.pfn + 1).0, E::page((run.pfn + 1) * FRAME_BYTES, 0), "its neighbour");
            let block = Block { pfn: 0x8_0000, order: 4, used: 0 };
            open.hide(block, &mut frame).unwrap();
            guarded.follow(block);
            assert_eq!(seen(&guarded), walk::<E>(open.root_pa(), run.pfn).0, "hidden");
            open.show(block);
            guarded.guard(run, shown(0x1235), frames);
            let beside = Block { pfn: 0x8_0000, order: 1, used: 0 };
            open.hide(beside, &mut frame).unwrap();
            guarded.follow(beside);
            assert_eq!(seen(&guarded) & ADDRESS, 0x1235 * FRAME_BYTES);
            guarded.guard(run, WRITES, frames);
            assert_eq!(seen(&guarded), E::without_write(E::page(run.pfn * FRAME_BYTES, 0)));
            guarded.guard(run, Guard::default(), frames);
            assert_eq!(entry(entry(guarded.root, TOP, run.pfn), 2, run.pfn) & OWN, 0, "merged");
        }

        /// Would catch a table that is lost with the record in whose frame it lies, and one that moves for nothing.
        fn a_table_outlives_the_record_that_brought_it<E>() {
            let (open, guarded) = built::<E>();
            let (first, second) = (Run { pfn: 0x8_0001, level: 0 }, Run { pfn: 0x8_0002, level: 0 });
            let (ones, others) = (frames(), frames());
            guarded.guard(first, WRITES, ones);
            guarded.guard(second, WRITES, others);
            assert_eq!([guarded.own(0, first.pfn), guarded.own(1, first.pfn)].map(|pa| pa / FRAME_BYTES), ones);
            guarded.guard(first, Guard::default(), ones);
            guarded.release(first, ones, &mut |run| (run == second).then_some(others));
            assert_eq!([guarded.own(0, first.pfn), guarded.own(1, first.pfn)].map(|pa| pa / FRAME_BYTES), others);
            assert_eq!(walk::<E>(guarded.root_pa(), first.pfn), (E::page(first.pfn << 12, 0), 0));
            assert_eq!(walk::<E>(guarded.root_pa(), second.pfn), (E::without_write(E::page(second.pfn << 12, 0)), 0));
            guarded.guard(second, Guard::default(), others);
            guarded.release(second, others, &mut |_| None);
            assert_eq!(walk::<E>(guarded.root_pa(), second.pfn), walk::<E>(open.root_pa(), second.pfn));
        }
    }
}
