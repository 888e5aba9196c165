//! Nested page tables: guest-physical is physical, but for root's own frames, which the guest cannot reach.
//!
//! **Holds always**
//! - N1: every address below 2^(physical address bits) is mapped to itself, read, write and execute, by the largest page,
//!   except the blocks that were hidden.
//! - N2: a page of a hidden block reads as zeros from one frame for all, and can be neither written nor executed: that is
//!   an exit. Linux' own scans of memory find zeros instead of faulting.
//! - N3: tables are never freed while a core runs under them; a merge is a flush first.
//!
//! - N4: the entry of 2 MiB that are hidden as a whole refers to one table of zeros for all of them, which nobody changes.
//!
//! **Cost**: two frames and one for each 512 GiB at start; hiding a block takes at most two frames, which come out of the
//! block, and none if it is whole and not the first in its GiB.
//! Layout: APM2 5.3 "Long-Mode Page Translation" and 15.25 "Nested Paging"; nested entries carry the user bit.

use crate::arch::NoFrame;
use crate::arch::x86::direct::Frame;
use crate::limits::TABLES_MAX;
use abi::boot::{Block, FRAME_BYTES};

pub(super) const PRESENT: u64 = 1;
pub(super) const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
pub(super) const LARGE: u64 = 1 << 7;
pub(super) const NO_EXECUTE: u64 = 1 << 63;
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
pub(super) const FULL: u64 = PRESENT | WRITE | USER;
pub(super) const FRAMES_2M: u64 = 512;
pub(super) const FRAMES_1G: u64 = 512 * 512;

/// The tables.
#[derive(Debug)]
pub struct Npt {
    root: Option<Frame>,
    zeros: Option<Frame>,
    /// See N4.
    blank: Option<Frame>,
    tables: [Option<Frame>; TABLES_MAX],
}

impl Npt {
    /// No tables yet. It is large, so it is filled where it lies.
    #[must_use]
    pub const fn empty() -> Npt {
        Npt { root: None, zeros: None, blank: None, tables: [const { None }; TABLES_MAX] }
    }

    /// Maps everything below 2^`bits`.
    ///
    /// # Errors
    /// [`NoFrame`] when `frames` ran out.
    pub fn build(&mut self, bits: u32, frames: &mut dyn FnMut() -> Option<Frame>) -> Result<(), NoFrame> {
        let zeros = frames().ok_or(NoFrame)?;
        let blank = frames().ok_or(NoFrame)?;
        for slot in 0..512_u64 {
            blank.set(index(slot), hidden_entry(&zeros));
        }
        (self.zeros, self.blank) = (Some(zeros), Some(blank));
        let root = frames().ok_or(NoFrame)?;
        for region in 0..1_u64 << bits.clamp(39, 48).saturating_sub(39) {
            let table = frames().ok_or(NoFrame)?;
            for slot in 0..512_u64 {
                let pfn = region * 512 * FRAMES_1G + slot * FRAMES_1G;
                table.set(index(slot), pfn * FRAME_BYTES | FULL | LARGE);
            }
            root.set(index(region), table.pa() | FULL);
            self.keep(table)?;
        }
        self.root = Some(root);
        Ok(())
    }

    /// What goes into the control block.
    #[must_use]
    pub fn root_pa(&self) -> u64 {
        self.root.as_ref().map_or(0, Frame::pa)
    }

    /// Tables that the next [`Npt::hide`] of this block will need: 0, 1 or 2.
    #[cfg(test)]
    pub fn tables_to_hide(&self, block: Block) -> u32 {
        let Some((gib, slot)) = self.gib(block.pfn) else { return 0 };
        let entry = gib.get(slot);
        let whole = 1 << block.order == FRAMES_2M;
        if entry & LARGE != 0 {
            return if whole { 1 } else { 2 };
        }
        u32::from(!whole && self.table_of(entry).is_some_and(|table| table.get(slot_2m(block.pfn)) & LARGE != 0))
    }

    /// Takes a block out of the guest's sight (N2). The caller flushes every core.
    ///
    /// # Errors
    /// [`NoFrame`] when `frames` ran out; then nothing of the block was hidden.
    pub fn hide(&mut self, block: Block, frames: &mut dyn FnMut() -> Option<Frame>) -> Result<(), NoFrame> {
        let hidden = hidden_entry(self.zeros.as_ref().ok_or(NoFrame)?);
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
        if entry & LARGE != 0 {
            let table = frames().ok_or(NoFrame)?;
            for i in 0..512_u64 {
                table.set(index(i), (gib_pfn + i * FRAMES_2M) * FRAME_BYTES | FULL | LARGE);
            }
            let pa = table.pa();
            self.keep(table)?;
            if let Some((gib, slot)) = self.gib(block.pfn) {
                gib.set(slot, pa | FULL);
            }
        }
        let entry = self.gib(block.pfn).map_or(0, |(gib, slot)| gib.get(slot));
        let slot = slot_2m(block.pfn);
        let mibs = self.table_of(entry).ok_or(NoFrame)?;
        let mib = mibs.get(slot);
        let blank = self.blank.as_ref().map_or(0, Frame::pa) | FULL;
        // The processor marks what it has walked, so only the addresses are compared.
        if 1 << block.order == FRAMES_2M && (mib & LARGE != 0 || mib & ADDRESS == blank & ADDRESS) {
            mibs.set(slot, if hidden.is_some() { blank } else { block.pfn * FRAME_BYTES | FULL | LARGE });
            return Ok(());
        }
        if mib & LARGE != 0 {
            let table = frames().ok_or(NoFrame)?;
            let first = block.pfn & !(FRAMES_2M - 1);
            for i in 0..512_u64 {
                table.set(index(i), (first + i) * FRAME_BYTES | FULL);
            }
            let pa = table.pa();
            self.keep(table)?;
            if let Some(mibs) = self.table_of(entry) {
                mibs.set(slot, pa | FULL);
            }
        }
        let mib = self.table_of(entry).map_or(0, |table| table.get(slot));
        let pages = self.table_of(mib).ok_or(NoFrame)?;
        for pfn in block.pfn..block.pfn + (1 << block.order) {
            pages.set(index(pfn & 511), hidden.unwrap_or(pfn * FRAME_BYTES | FULL));
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

/// A page that is hidden (N2).
fn hidden_entry(zeros: &Frame) -> u64 {
    zeros.pa() | PRESENT | USER | NO_EXECUTE
}

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

    fn built() -> Box<Npt> {
        let mut npt = Box::new(Npt::empty());
        npt.build(40, &mut frames).unwrap();
        npt
    }

    /// What the processor's walker would find: the entry of a guest-physical address, and its level.
    fn walk(npt: &Npt, gpa: u64) -> (u64, u32) {
        let mut table = npt.root_pa();
        for level in (0..4).rev() {
            let entry = direct::read(table + (gpa >> (12 + 9 * level) & 511) * 8).unwrap();
            if level == 0 || entry & (LARGE | PRESENT) != PRESENT {
                return (entry, level);
            }
            table = entry & ADDRESS;
        }
        unreachable!()
    }

    /// Would catch a device beyond 512 GiB that the guest cannot reach, or one mapped to somewhere else (N1).
    #[test]
    fn everything_is_mapped_to_itself_by_large_pages() {
        let npt = built();
        for gib in [0, 3, 511, 512, 1023] {
            let (entry, level) = walk(&npt, (gib << 30) + 0x1234_5678);
            assert_eq!((entry, level), (gib << 30 | FULL | LARGE, 2));
        }
    }

    /// Would catch a frame of root's that the guest can write or execute, a neighbour that it cannot, and tables that
    /// were asked for without need (N2).
    #[test]
    fn a_hidden_block_reads_zeros_and_its_neighbours_are_as_before() {
        let mut npt = built();
        let block = Block { pfn: 0x4_0210, order: 4, used: 0 };
        assert_eq!(npt.tables_to_hide(block), 2);
        npt.hide(block, &mut frames).unwrap();
        let zeros = npt.zeros.as_ref().unwrap().pa();
        for pfn in 0x4_0210..0x4_0220_u64 {
            assert_eq!(walk(&npt, pfn << 12), (zeros | PRESENT | USER | NO_EXECUTE, 0));
        }
        for pfn in [0x4_020f_u64, 0x4_0220] {
            assert_eq!(walk(&npt, pfn << 12), (pfn << 12 | FULL, 0));
        }
        assert_eq!(walk(&npt, 0x4_0400 << 12), (0x4_0400 << 12 | FULL | LARGE, 1));
        assert_eq!(npt.tables_to_hide(Block { pfn: 0x4_0220, ..block }), 0);
        assert_eq!(npt.tables_to_hide(Block { pfn: 0x4_0400, ..block }), 1);
        npt.show(block);
        assert_eq!(walk(&npt, 0x4_0215 << 12), (0x4_0215 << 12 | FULL, 0));
    }

    /// Would catch a block that is half hidden when the tables for it are missing.
    #[test]
    fn without_frames_nothing_is_hidden() {
        let mut npt = built();
        let block = Block { pfn: 0x8_0200, order: 8, used: 0 };
        assert_eq!(npt.hide(block, &mut || None), Err(NoFrame));
        assert_eq!(walk(&npt, block.pfn << 12), (2 << 30 | FULL | LARGE, 2));
        let mut one = frames();
        assert_eq!(npt.hide(block, &mut || one.take()), Err(NoFrame));
        assert_eq!(walk(&npt, block.pfn << 12), (block.pfn << 12 | FULL | LARGE, 1));
    }

    /// Would catch a whole block that costs a table each time, stays hidden when it is given back, or takes its neighbour
    /// along (N4).
    #[test]
    fn whole_blocks_share_one_table_and_come_back_as_large_pages() {
        let mut npt = built();
        let (one, other) = (Block { pfn: 0xc_0200, order: 9, used: 0 }, Block { pfn: 0xc_0600, order: 9, used: 0 });
        assert_eq!(npt.tables_to_hide(one), 1, "the table of its GiB");
        npt.hide(one, &mut frames).unwrap();
        npt.hide(other, &mut || None).unwrap();
        let zeros = npt.zeros.as_ref().unwrap().pa();
        for pfn in [0xc_0200_u64, 0xc_03ff, 0xc_0600, 0xc_07ff] {
            assert_eq!(walk(&npt, pfn << 12), (zeros | PRESENT | USER | NO_EXECUTE, 0));
        }
        npt.show(one);
        assert_eq!(walk(&npt, 0xc_0200 << 12), (0xc_0200 << 12 | FULL | LARGE, 1));
        assert_eq!(walk(&npt, 0xc_0600 << 12), (zeros | PRESENT | USER | NO_EXECUTE, 0));
        npt.hide(one, &mut || None).unwrap();
        assert_eq!(walk(&npt, 0xc_0200 << 12), (zeros | PRESENT | USER | NO_EXECUTE, 0));
    }
}
