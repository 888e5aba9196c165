//! The open view: guest-physical is physical, but for root's own frames, which the guest cannot reach.
//!
//! **Holds always**
//! - N1: every address below 2^(physical address bits) is mapped to itself, read, write and execute, by the largest page
//!   that may be there, except the blocks that were hidden. Where no page of 1 GiB may be, that ends with RAM or 4 GiB.
//! - N2: a page of a hidden block reads as zeros from one frame for all, and can be neither written nor executed: that is
//!   an exit. Linux' own scans of memory find zeros instead of faulting.
//! - N3: tables are never freed while a core runs under them; a merge is a flush first.
//! - N4: the entry of 2 MiB that are hidden as a whole refers to one table of zeros for all of them, which nobody changes.
//!
//! **Cost**: three frames at start, one for each 512 GiB, and one for each GiB and each 2 MiB that no one page may map;
//! hiding a block takes at most two frames, which come out of the block, and none if it is whole and not the first in its GiB.

use super::{ADDRESS, Entries, FRAMES_1G, FRAMES_2M, TOP, guarded};
use crate::arch::NoFrame;
use crate::arch::x86::direct::Frame;
use crate::limits::{NESTED_DIVIDED_BYTES_MAX, TABLES_MAX};
use abi::boot::{Block, FRAME_BYTES};
use core::marker::PhantomData;

/// The tables.
#[derive(Debug)]
pub struct Open<E> {
    root: Option<Frame>,
    zeros: Option<Frame>,
    /// See N4.
    blank: Option<Frame>,
    tables: [Option<Frame>; TABLES_MAX],
    format: PhantomData<E>,
}

impl<E: Entries> Open<E> {
    /// No tables yet. It is large, so it is filled where it lies.
    #[must_use]
    pub const fn empty() -> Open<E> {
        Open { root: None, zeros: None, blank: None, tables: [const { None }; TABLES_MAX], format: PhantomData }
    }

    /// Maps everything below 2^`bits`; `end` is the first address beyond RAM.
    ///
    /// # Errors
    /// [`NoFrame`] when `frames` ran out, or when more than [`NESTED_DIVIDED_BYTES_MAX`] would have to be divided.
    pub fn build(&mut self, bits: u32, end: u64, frames: &mut dyn FnMut() -> Option<Frame>) -> Result<(), NoFrame> {
        let zeros = frames().ok_or(NoFrame)?;
        let blank = frames().ok_or(NoFrame)?;
        for slot in 0..512_u64 {
            blank.set(index(slot), E::zeros(zeros.pa()));
        }
        (self.zeros, self.blank) = (Some(zeros), Some(blank));
        let divided = E::reach(end).map(|reach| if reach > NESTED_DIVIDED_BYTES_MAX { Err(NoFrame) } else { Ok(reach) });
        let addresses = 1_u64 << bits.clamp(32, 48);
        let last = divided.transpose()?.unwrap_or(addresses).min(addresses) / FRAME_BYTES;
        let root = frames().ok_or(NoFrame)?;
        for pfn in (0..last).step_by(FRAMES_512G) {
            root.set(index(pfn / FRAMES_1G / 512), self.fill(2, pfn, last, frames)?);
        }
        self.root = Some(root);
        Ok(())
    }

    /// A table of this level, from this frame on; what leads there.
    fn fill(&mut self, level: u32, first: u64, last: u64, frames: &mut dyn FnMut() -> Option<Frame>) -> Result<u64, NoFrame> {
        let table = frames().ok_or(NoFrame)?;
        for slot in 0..512_u64 {
            let pfn = first + (slot << (9 * level));
            let pa = pfn * FRAME_BYTES;
            if pfn >= last {
                break;
            }
            // Each call goes one level down.
            let is_page = level == 0 || E::largest(pa) >= level;
            table.set(index(slot), if is_page { E::page(pa, level) } else { self.fill(level - 1, pfn, last, frames)? });
        }
        let leads = table.pa() | E::TABLE;
        self.keep(table)?;
        Ok(leads)
    }

    /// What goes into the control block.
    #[must_use]
    pub fn root_pa(&self) -> u64 {
        self.root.as_ref().map_or(0, Frame::pa)
    }

    /// Tables that the next [`Open::hide`] of this block will need: 0, 1 or 2.
    #[cfg(test)]
    pub fn tables_to_hide(&self, block: Block) -> u32 {
        let Some((gib, slot)) = self.gib(block.pfn) else { return 0 };
        let entry = gib.get(slot);
        let whole = 1 << block.order == FRAMES_2M;
        if E::is_large(entry) {
            return if whole { 1 } else { 2 };
        }
        u32::from(!whole && self.table_of(entry).is_some_and(|table| E::is_large(table.get(slot_2m(block.pfn)))))
    }

    /// Takes a block out of the guest's sight (N2). The caller flushes every core.
    ///
    /// # Errors
    /// [`NoFrame`] when `frames` ran out; then nothing of the block was hidden.
    pub fn hide(&mut self, block: Block, frames: &mut dyn FnMut() -> Option<Frame>) -> Result<(), NoFrame> {
        let hidden = E::zeros(self.zeros.as_ref().ok_or(NoFrame)?.pa());
        self.map(block, Some(hidden), frames)
    }

    /// Gives a block back to the guest's sight (N1). The caller flushes every core. Its tables stay.
    pub fn show(&mut self, block: Block) {
        // A shown block was hidden, so its tables exist and no frame is asked for.
        let shown = self.map(block, None, &mut || None);
        debug_assert!(shown.is_ok());
    }

    fn map(&mut self, block: Block, hidden: Option<u64>, frames: &mut dyn FnMut() -> Option<Frame>) -> Result<(), NoFrame> {
        let Some((gib, slot)) = self.gib(block.pfn) else { return Err(NoFrame) };
        let entry = gib.get(slot);
        let gib_pfn = block.pfn & !(FRAMES_1G - 1);
        if E::is_large(entry) {
            let table = frames().ok_or(NoFrame)?;
            for i in 0..512_u64 {
                table.set(index(i), E::page((gib_pfn + i * FRAMES_2M) * FRAME_BYTES, 1));
            }
            let pa = table.pa();
            self.keep(table)?;
            if let Some((gib, slot)) = self.gib(block.pfn) {
                gib.set(slot, pa | E::TABLE);
            }
        }
        let entry = self.gib(block.pfn).map_or(0, |(gib, slot)| gib.get(slot));
        let slot = slot_2m(block.pfn);
        let mibs = self.table_of(entry).ok_or(NoFrame)?;
        let mib = mibs.get(slot);
        let blank = self.blank.as_ref().map_or(0, Frame::pa) | E::TABLE;
        // The processor marks what it has walked, so only the addresses are compared.
        if 1 << block.order == FRAMES_2M && (E::is_large(mib) || mib & ADDRESS == blank & ADDRESS) {
            mibs.set(slot, if hidden.is_some() { blank } else { E::page(block.pfn * FRAME_BYTES, 1) });
            return Ok(());
        }
        if E::is_large(mib) {
            let table = frames().ok_or(NoFrame)?;
            let first = block.pfn & !(FRAMES_2M - 1);
            for i in 0..512_u64 {
                table.set(index(i), E::page((first + i) * FRAME_BYTES, 0));
            }
            let pa = table.pa();
            self.keep(table)?;
            if let Some(mibs) = self.table_of(entry) {
                mibs.set(slot, pa | E::TABLE);
            }
        }
        let mib = self.table_of(entry).map_or(0, |table| table.get(slot));
        let pages = self.table_of(mib).ok_or(NoFrame)?;
        for pfn in block.pfn..block.pfn + (1 << block.order) {
            pages.set(index(pfn & 511), hidden.unwrap_or_else(|| E::page(pfn * FRAME_BYTES, 0)));
        }
        Ok(())
    }

    fn gib(&self, pfn: u64) -> Option<(&Frame, usize)> {
        let table = self.table_of(self.root.as_ref()?.get(index(pfn / FRAMES_1G / 512 & 511)))?;
        Some((table, index(pfn / FRAMES_1G & 511)))
    }

    fn table_of(&self, entry: u64) -> Option<&Frame> {
        let pa = entry & ADDRESS;
        self.tables.iter().flatten().find(|frame| frame.pa() == pa)
    }

    fn keep(&mut self, table: Frame) -> Result<(), NoFrame> {
        let place = self.tables.iter_mut().find(|place| place.is_none()).ok_or(NoFrame)?;
        *place = Some(table);
        Ok(())
    }
}

/// Whether the open view with this root lets the guest write there.
#[must_use]
pub fn may_write<E: Entries>(root: u64, pa: u64) -> bool {
    let mut table = root;
    for level in (0..=TOP).rev() {
        let entry = guarded::entry(table, level, pa / FRAME_BYTES);
        if !E::may_write(entry) {
            return false;
        }
        if level < TOP && E::is_large(entry) {
            break;
        }
        table = entry;
    }
    true
}

const FRAMES_512G: usize = 512 * 512 * 512;
const _: () = assert!(FRAMES_512G as u64 == 512 * FRAMES_1G);

fn slot_2m(pfn: u64) -> usize {
    index(pfn / FRAMES_2M & 511)
}

fn index(slot: u64) -> usize {
    usize::try_from(slot & 511).unwrap_or(0)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "frames of the tests' own RAM")]
mod tests {
    extern crate std;
    use super::*;
    use crate::arch::x86::direct::{self, arena};
    use std::boxed::Box;

    fn frames() -> Option<Frame> {
        // SAFETY: the arena hands out each frame once.
        arena::run(1).map(|pfn| unsafe { Frame::claim(pfn) })
    }

    fn built<E: Entries>() -> Box<Open<E>> {
        let mut open = Box::new(Open::empty());
        open.build(40, direct::end(), &mut frames).unwrap();
        open
    }

    /// What the processor's walker would find: the entry of a guest-physical address, and its level.
    fn walk<E: Entries>(open: &Open<E>, gpa: u64) -> (u64, u32) {
        let mut table = open.root_pa();
        for level in (0..4).rev() {
            let entry = direct::read(table + (gpa >> (12 + 9 * level) & 511) * 8).unwrap();
            if level == 0 || E::is_large(entry) || !E::is_there(entry) {
                return (entry, level);
            }
            table = entry & ADDRESS;
        }
        unreachable!()
    }

    super::super::both! {
        /// Would catch a device beyond 512 GiB that the guest cannot reach, or one mapped to somewhere else (N1).
        fn everything_is_mapped_to_itself_by_large_pages<E>() {
            let open = built::<E>();
            for gib in [0, 3, 511, 512, 1023] {
                let (entry, level) = walk(&open, (gib << 30) + 0x1234_5678);
                assert_eq!((entry, level), (E::page(gib << 30, 2), 2));
            }
        }

        /// Would catch a frame of root's that the guest can write or execute, a neighbour that it cannot, and tables that
        /// were asked for without need (N2).
        fn a_hidden_block_reads_zeros_and_its_neighbours_are_as_before<E>() {
            let mut open = built::<E>();
            let block = Block { pfn: 0x4_0210, order: 4, used: 0 };
            assert_eq!(open.tables_to_hide(block), 2);
            open.hide(block, &mut frames).unwrap();
            let zeros = open.zeros.as_ref().unwrap().pa();
            for pfn in 0x4_0210..0x4_0220_u64 {
                assert_eq!(walk(&open, pfn << 12), (E::zeros(zeros), 0));
            }
            for pfn in [0x4_020f_u64, 0x4_0220] {
                assert_eq!(walk(&open, pfn << 12), (E::page(pfn << 12, 0), 0));
            }
            assert_eq!(walk(&open, 0x4_0400 << 12), (E::page(0x4_0400 << 12, 1), 1));
            assert_eq!(open.tables_to_hide(Block { pfn: 0x4_0220, ..block }), 0);
            assert_eq!(open.tables_to_hide(Block { pfn: 0x4_0400, ..block }), 1);
            open.show(block);
            assert_eq!(walk(&open, 0x4_0215 << 12), (E::page(0x4_0215 << 12, 0), 0));
        }

        /// Would catch a block that is half hidden when the tables for it are missing.
        fn without_frames_nothing_is_hidden<E>() {
            let mut open = built::<E>();
            let block = Block { pfn: 0x8_0200, order: 8, used: 0 };
            assert_eq!(open.hide(block, &mut || None), Err(NoFrame));
            assert_eq!(walk(&open, block.pfn << 12), (E::page(2 << 30, 2), 2));
            let mut one = frames();
            assert_eq!(open.hide(block, &mut || one.take()), Err(NoFrame));
            assert_eq!(walk(&open, block.pfn << 12), (E::page(block.pfn << 12, 1), 1));
        }

        /// Would catch a whole block that costs a table each time, stays hidden when it is given back, or takes its neighbour
        /// along (N4).
        fn whole_blocks_share_one_table_and_come_back_as_large_pages<E>() {
            let mut open = built::<E>();
            let (one, other) = (Block { pfn: 0xc_0200, order: 9, used: 0 }, Block { pfn: 0xc_0600, order: 9, used: 0 });
            assert_eq!(open.tables_to_hide(one), 1, "the table of its GiB");
            open.hide(one, &mut frames).unwrap();
            open.hide(other, &mut || None).unwrap();
            let zeros = open.zeros.as_ref().unwrap().pa();
            for pfn in [0xc_0200_u64, 0xc_03ff, 0xc_0600, 0xc_07ff] {
                assert_eq!(walk(&open, pfn << 12), (E::zeros(zeros), 0));
            }
            open.show(one);
            assert_eq!(walk(&open, 0xc_0200 << 12), (E::page(0xc_0200 << 12, 1), 1));
            assert_eq!(walk(&open, 0xc_0600 << 12), (E::zeros(zeros), 0));
            open.hide(one, &mut || None).unwrap();
            assert_eq!(walk(&open, 0xc_0200 << 12), (E::zeros(zeros), 0));
        }
    }
}
