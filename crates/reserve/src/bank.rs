//! The bank: frames that root has and no kind has yet.
//!
//! Each group of 64 frames has a word with a bit for each frame in the bank. A run of frames is taken by one exchange that
//! clears its bits and given by one that sets them.
//!
//! **Holds always**
//! - K1: a frame's bit is set if and only if the frame is in the bank; who cleared it has the frame.
//! - K2: donated = used by the embedder + in the bank + in slabs (once nobody is in the middle of moving some).
//! - K3: no lock; an exchange that fails means that another core has finished its own.
//!
//! **Callers**: root, any core. **Cost**: one exchange for up to 64 runs of a group, and a look at each group before it;
//! `donate` and `reclaim` look at every slot.
//! **Proof**: `tests/bank.rs`, `tests/model.rs` (K1, K2), `tests/loom.rs` (K3).

use crate::limits::{BLOCK_ORDER_MAX, GROUP_FRAMES};
use crate::sync::{AtomicU64, Ordering};
use crate::table::{BlockState, Status, Table, Tables, table_words};

/// Frames that the embedder hands over: `pfn .. pfn + 2^order`, aligned to their own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First frame number.
    pub pfn: u64,
    /// Two to this many frames, at most [`BLOCK_ORDER_MAX`].
    pub order: u32,
    /// Frames at its beginning that the embedder uses itself (tables, an image); they never enter the bank.
    pub used: u32,
    /// True: never given back by `reclaim`. So it must be where `used` frames hold tables of this reserve (B1).
    pub keep: bool,
}

/// Why a block was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBlock {
    /// Larger than a block may be, not aligned to its size, or with more frames used than it has.
    Shape {
        /// The block.
        block: Block,
    },
    /// No vacant slot has a table for this order: hand in one of `words` words.
    NoTable {
        /// See [`table_words`].
        words: usize,
    },
    /// Some of its frames are here already.
    Overlaps {
        /// First frame of the block that has them.
        pfn: u64,
    },
}

/// Totals of the bank.
#[derive(Default)]
pub(crate) struct Bank {
    /// Frames donated.
    pub donated: AtomicU64,
    /// Frames of those that the embedder uses.
    pub embedder: AtomicU64,
    /// Frames free. Raised before bits are set and lowered after they are cleared: never less than the bits, and more
    /// only by what is being moved just now.
    pub free: AtomicU64,
}

/// Runs of frames that were taken together.
pub(crate) struct Runs<'m> {
    pub slot: u32,
    pub table: Table<'m>,
    /// The group they lie in.
    pub group: u32,
    /// A bit for the first frame of each.
    pub starts: u64,
}

impl Bank {
    /// Takes a block in.
    pub fn donate(&self, tables: &Tables<'_>, block: Block) -> Result<(), BadBlock> {
        let shape_fits = block.order <= BLOCK_ORDER_MAX
            && block.pfn.is_multiple_of(1 << block.order)
            && block.pfn.checked_add(1 << block.order).is_some()
            && block.used <= 1 << block.order;
        if !shape_fits {
            return Err(BadBlock::Shape { block });
        }
        let changing = Status { state: BlockState::Changing, order: block.order, keep: block.keep, used: block.used };
        // The smallest vacant table that fits, so that a small block does not stand in a large one's way.
        let vacant = |fit: u32| {
            tables.all().find(|(_, table)| table.order_most() == fit && table.change_status(Status::VACANT, changing))
        };
        let (slot, table) =
            (block.order..=BLOCK_ORDER_MAX).find_map(vacant).ok_or(BadBlock::NoTable { words: table_words(block.order) })?;
        table.set_pfn(block.pfn);
        // Two cores that donate the same frames at once: each has told its own block before it looks for the other's,
        // so one of them sees the other.
        if let Some(pfn) = overlapping(tables, slot, block) {
            table.set_status(Status::VACANT);
            return Err(BadBlock::Overlaps { pfn });
        }
        self.donated.fetch_add(1 << block.order, Ordering::SeqCst);
        self.embedder.fetch_add(u64::from(block.used), Ordering::SeqCst);
        self.free.fetch_add(u64::from(changing.frames()), Ordering::SeqCst);
        table.set_status(Status { state: BlockState::Live, ..changing });
        for group in 0..groups(block.order) {
            table.bank(group).store(changing.group_mask(group), Ordering::SeqCst);
        }
        Ok(())
    }

    /// Takes one block out, if all of it is free and the bank keeps `keep` frames without it.
    pub fn reclaim(&self, tables: &Tables<'_>, keep: u64) -> Option<Block> {
        tables.all().rev().find_map(|(_, table)| {
            let status = table.status();
            let spared = self.free.load(Ordering::SeqCst) >= keep.saturating_add(u64::from(status.frames()));
            if status.state != BlockState::Live || status.keep || !spared || !whole(table, status) {
                return None;
            }
            // Who has cleared every bit has the block, so nobody else changes its words 0 and 1 (B2).
            if !self.empty(table, status) {
                return None;
            }
            let block = Block { pfn: table.pfn(), order: status.order, used: status.used, keep: false };
            self.donated.fetch_sub(1 << status.order, Ordering::SeqCst);
            self.embedder.fetch_sub(u64::from(status.used), Ordering::SeqCst);
            table.set_status(Status::VACANT);
            Some(block)
        })
    }

    /// Clears every bit of a block, or none.
    fn empty(&self, table: Table<'_>, status: Status) -> bool {
        for group in 0..groups(status.order) {
            let mask = status.group_mask(group);
            if table.bank(group).compare_exchange(mask, 0, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                for taken in 0..group {
                    table.bank(taken).fetch_or(status.group_mask(taken), Ordering::SeqCst);
                }
                return false;
            }
        }
        self.free.fetch_sub(u64::from(status.frames()), Ordering::SeqCst);
        true
    }

    /// Takes runs of `frames` frames until `most` are had or the bank has no more; calls `each` for those of one group.
    /// Says how many.
    pub fn take<'m>(&self, tables: &Tables<'m>, frames: u32, most: u64, mut each: impl FnMut(Runs<'m>)) -> u64 {
        let mut had = 0;
        for (slot, table) in tables.all() {
            let status = table.status();
            if status.state != BlockState::Live {
                continue;
            }
            for group in 0..groups(status.order) {
                if had == most {
                    return had;
                }
                let bits = table.bank(group);
                let mut free = bits.load(Ordering::SeqCst);
                loop {
                    let (starts, mask) = runs(free, frames, most - had);
                    if starts == 0 {
                        break;
                    }
                    match bits.compare_exchange(free, free & !mask, Ordering::SeqCst, Ordering::SeqCst) {
                        Ok(_) => {
                            self.free.fetch_sub(u64::from(mask.count_ones()), Ordering::SeqCst);
                            had += u64::from(starts.count_ones());
                            each(Runs { slot, table, group, starts });
                            break;
                        }
                        Err(now) => free = now,
                    }
                }
            }
        }
        had
    }

    /// How many runs of so many frames could be taken. Looks at every group, and changes nothing.
    pub fn runs(&self, tables: &Tables<'_>, frames: u32) -> u64 {
        let in_group = |table: Table<'_>, group| {
            let (starts, _) = runs(table.bank(group).load(Ordering::SeqCst), frames, u64::MAX);
            u64::from(starts.count_ones())
        };
        let in_block = |table: Table<'_>| {
            let status = table.status();
            let live = status.state == BlockState::Live;
            (0..groups(status.order)).filter(|_| live).map(|group| in_group(table, group)).sum::<u64>()
        };
        tables.all().map(|(_, table)| in_block(table)).sum()
    }

    /// Puts one run back; `first` is its first frame within the block.
    pub fn give(&self, table: Table<'_>, first: u32, frames: u32) {
        let mask = run_mask(first % GROUP_FRAMES, frames);
        self.free.fetch_add(u64::from(frames), Ordering::SeqCst);
        table.bank(first / GROUP_FRAMES).fetch_or(mask, Ordering::SeqCst);
    }
}

/// Groups of a block; a small block has one that is not full.
pub(crate) fn groups(order: u32) -> u32 {
    (1u32 << order).div_ceil(GROUP_FRAMES)
}

/// Is every frame of the block in the bank?
fn whole(table: Table<'_>, status: Status) -> bool {
    (0..groups(status.order)).all(|group| table.bank(group).load(Ordering::SeqCst) == status.group_mask(group))
}

/// The first frame of another block that has frames of this one.
fn overlapping(tables: &Tables<'_>, slot: u32, block: Block) -> Option<u64> {
    let end = block.pfn + (1 << block.order);
    tables.all().find_map(|(other, table)| {
        let status = table.status();
        let pfn = table.pfn();
        let here = status.state != BlockState::Vacant && other != slot;
        (here && pfn < end && block.pfn < pfn + (1 << status.order)).then_some(pfn)
    })
}

/// The bits of one run.
fn run_mask(first: u32, frames: u32) -> u64 {
    (u64::MAX >> (u64::BITS - frames)) << first
}

/// Up to `most` runs among the free frames of a group: the bits of their first frames, and those of all their frames.
fn runs(free: u64, frames: u32, most: u64) -> (u64, u64) {
    // A bit stays where it and the `frames - 1` above it are set.
    let mut fits = free;
    let mut width = 1;
    while width < frames {
        let step = width.min(frames - width);
        fits &= fits >> step;
        width += step;
    }
    let (mut starts, mut mask, mut had) = (0, 0, 0);
    while fits != 0 && had < most {
        let first = fits.trailing_zeros();
        let run = run_mask(first, frames);
        starts |= 1 << first;
        mask |= run;
        fits &= !run;
        had += 1;
    }
    (starts, mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch runs that overlap, leave the free frames, or are overlooked.
    #[test]
    fn runs_are_disjoint_free_and_as_many_as_first_fit_finds() {
        let mut free = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..2000u32 {
            free = free.rotate_left(7).wrapping_mul(0xd134_2543_de82_ef95) | free >> (round % 64);
            let frames = round % 64 + 1;
            let (starts, mask) = runs(free, frames, u64::MAX);
            assert_eq!(mask & !free, 0);
            assert_eq!(mask.count_ones(), starts.count_ones() * frames, "disjoint");
            let (mut at, mut found) = (0, 0);
            while at + frames <= 64 {
                let fits = run_mask(at, frames) & !free == 0;
                found += u32::from(fits);
                at += if fits { frames } else { 1 };
            }
            assert_eq!(starts.count_ones(), found, "{free:#x} {frames}");
        }
        assert_eq!(runs(u64::MAX, 64, u64::MAX), (1, u64::MAX));
        assert_eq!(runs(u64::MAX, 1, 3), (7, 7));
    }
}
