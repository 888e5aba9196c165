//! Tables: the words that describe a block and its units, in memory that the embedder hands in.
//!
//! A [`Slot`] is a place for one block. It gets a table once and keeps it for ever; blocks come and go through it. A
//! table is a slice of words, zero when it is handed in:
//! ```text
//! word 0        what the block is: state | order << 8 | keep << 16 | frames used by the embedder << 32
//! word 1        its first frame number
//! words 8..16   for each group of 64 frames: a bit for each frame that is in the bank
//! words 16..    for each unit: link and state (see `unit`)
//! ```
//! **Holds always**
//! - B1: a table is never taken away, so a unit's number may be looked up at any time, however old it is.
//! - B2: words 0 and 1 are changed by one core alone: who moved word 0 from `Vacant` to `Changing`, or who took every
//!   frame of the block out of the bank. Every other word changes by exchange or by U1.
//!
//! **Cost**: a look-up is two loads and two bounds checks.

use crate::limits::{BLOCK_ORDER_MAX, GROUP_FRAMES, UNITS_PER_FRAME_MAX};
use crate::sync::{AtomicU64, AtomicUsize, Ordering, high, join};
use crate::unit::{Chain, Link, Place, State, Unit};

/// Words of a table before its units.
const HEAD_WORDS: usize = 16;
const PFN: usize = 1;
const GROUPS: usize = 8;

/// Words that a table needs for blocks of up to 2^`order` frames: 1152 bytes for 16 frames … 32 896 bytes for 512.
#[must_use]
pub const fn table_words(order: u32) -> usize {
    HEAD_WORDS + ((UNITS_PER_FRAME_MAX as usize) << order) * 2
}

/// A place for one block of frames. The embedder hands in as many as it may ever donate blocks.
pub struct Slot<'m> {
    table: spin::Once<Table<'m>>,
}

impl Slot<'_> {
    /// An empty place, without a table yet.
    #[must_use]
    pub const fn new() -> Self {
        Slot { table: spin::Once::new() }
    }
}

impl Default for Slot<'_> {
    fn default() -> Self {
        Slot::new()
    }
}

/// What a block is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockState {
    /// No block is here.
    Vacant = 0,
    /// One comes.
    Changing = 1,
    /// Its frames are in the bank or in slabs.
    Live = 2,
}

/// Word 0 of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub state: BlockState,
    pub order: u32,
    pub keep: bool,
    pub used: u32,
}

impl Status {
    pub const VACANT: Status = Status { state: BlockState::Vacant, order: 0, keep: false, used: 0 };

    const fn of(word: u64) -> Status {
        let state = match word & 0xff {
            1 => BlockState::Changing,
            2 => BlockState::Live,
            _ => BlockState::Vacant,
        };
        Status { state, order: (word >> 8 & 0xff) as u32, keep: word >> 16 & 1 == 1, used: high(word) }
    }

    const fn word(self) -> u64 {
        join(self.state as u32 | self.order << 8 | (self.keep as u32) << 16, self.used)
    }

    /// Frames of the block that the embedder does not use itself.
    pub const fn frames(self) -> u32 {
        (1 << self.order) - self.used
    }

    /// The bits of a group that stand for those frames.
    pub const fn group_mask(self, group: u32) -> u64 {
        let first = group * GROUP_FRAMES;
        ones_from(self.used.saturating_sub(first)) & !ones_from((1u32 << self.order).saturating_sub(first))
    }
}

/// Ones from bit `from` up; none from 64.
const fn ones_from(from: u32) -> u64 {
    if from >= u64::BITS { 0 } else { u64::MAX << from }
}

/// The words of one unit: link and state.
pub(crate) type Words = [AtomicU64; 2];

/// One table.
#[derive(Clone, Copy)]
pub(crate) struct Table<'m> {
    units: &'m [Words],
    head: &'m [AtomicU64; HEAD_WORDS],
}

impl<'m> Table<'m> {
    fn new(words: &'m [AtomicU64]) -> Option<Self> {
        let (head, units) = words.split_first_chunk()?;
        let (units, _) = units.as_chunks();
        (units.len() >= UNITS_PER_FRAME_MAX as usize).then_some(Table { units, head })
    }

    /// Blocks of up to this order fit here.
    pub fn order_most(self) -> u32 {
        (self.units.len() / UNITS_PER_FRAME_MAX as usize).ilog2().min(BLOCK_ORDER_MAX)
    }

    pub fn status(self) -> Status {
        Status::of(self.head[0].load(Ordering::SeqCst))
    }

    pub fn set_status(self, status: Status) {
        self.head[0].store(status.word(), Ordering::SeqCst);
    }

    /// Moves from one status to another, if it is the one.
    pub fn change_status(self, from: Status, to: Status) -> bool {
        self.head[0].compare_exchange(from.word(), to.word(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    pub fn pfn(self) -> u64 {
        self.head[PFN].load(Ordering::SeqCst)
    }

    pub fn set_pfn(self, pfn: u64) {
        self.head[PFN].store(pfn, Ordering::SeqCst);
    }

    /// The bits of the bank for one group of frames.
    pub fn bank(self, group: u32) -> &'m AtomicU64 {
        &self.head[GROUPS + group as usize]
    }

    /// The words of a unit.
    #[inline]
    pub fn words(self, entry: u32) -> &'m Words {
        &self.units[entry as usize]
    }

    /// The state word of a unit.
    #[inline]
    pub fn state(self, entry: u32) -> &'m AtomicU64 {
        &self.words(entry)[1]
    }
}

/// Why a table was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTable {
    /// Shorter than [`table_words`] for the smallest block.
    Short {
        /// Words handed in.
        words: usize,
    },
    /// Every slot has one.
    SlotsFull {
        /// Slots there are.
        slots: usize,
    },
}

/// Every table there is.
pub(crate) struct Tables<'m> {
    slots: &'m [Slot<'m>],
    /// Slots given out so far; the last of them may not have its table yet.
    made: AtomicUsize,
}

impl<'m> Tables<'m> {
    pub fn new(slots: &'m [Slot<'m>]) -> Self {
        Tables { slots, made: AtomicUsize::new(0) }
    }

    /// How many slots there are, with and without a table.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Gives the next slot its table.
    pub fn add(&self, words: &'m [AtomicU64]) -> Result<(), BadTable> {
        let table = Table::new(words).ok_or(BadTable::Short { words: words.len() })?;
        let next = |made: usize| (made < self.slots.len()).then_some(made + 1);
        let slot = self.made.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        let slot = slot.map_err(|slots| BadTable::SlotsFull { slots })?;
        // The number is ours alone, so nobody waits here.
        self.slots[slot].table.call_once(|| table);
        Ok(())
    }

    /// The tables so far, with their slots.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (u32, Table<'m>)> + use<'_, 'm> {
        let made = self.made.load(Ordering::SeqCst);
        self.slots[..made]
            .iter()
            .enumerate()
            .filter_map(|(number, slot)| Some((u32::try_from(number).ok()?, *slot.table.get()?)))
    }

    /// The table of a unit.
    #[inline]
    pub fn of(&self, unit: Unit) -> Table<'m> {
        // A unit's number is only ever made from a slot that has its table (B1): this is a guard, not a way.
        *self.slots[unit.slot()].table.get().expect("a unit's slot has a table")
    }

    /// The words of a unit: link and state.
    #[inline]
    pub fn words(&self, unit: Unit) -> &'m Words {
        self.of(unit).words(unit.entry())
    }

    /// The same for a number that comes from outside, and the table that they are in; `None` if there is no such unit.
    #[inline]
    pub fn get(&self, unit: Unit) -> Option<(Table<'m>, &'m Words)> {
        let table = *self.slots.get(unit.slot())?.table.get()?;
        Some((table, table.units.get(unit.entry() as usize)?))
    }

    /// The unit behind this one, on a list or in a chain.
    #[inline]
    pub fn next(&self, unit: Unit) -> Unit {
        Link::of(self.words(unit)[0].load(Ordering::Acquire)).next
    }

    /// Lets another unit follow this one; it is ours (U1).
    #[inline]
    pub fn set_next(&self, unit: Unit, next: Unit) {
        self.words(unit)[0].store(Link { next, depth: 0 }.word(), Ordering::Release);
    }

    /// Puts a unit before a chain; both are ours.
    pub fn prepend(&self, chain: &mut Chain, unit: Unit) {
        self.set_next(unit, chain.first);
        *chain = Chain { first: unit, len: chain.len + 1 };
    }

    /// Takes up to `most` units off the front of a chain that is ours.
    pub fn split(&self, chain: &mut Chain, most: u32) -> Chain {
        let front = Chain { first: chain.first, len: most.min(chain.len) };
        let left = chain.len - front.len;
        if left == 0 {
            *chain = Chain::EMPTY;
            return front;
        }
        let mut next = chain.first;
        for _ in 0..front.len {
            next = self.next(next);
        }
        *chain = Chain { first: next, len: left };
        front
    }

    /// Calls `each` with every unit of a chain that is ours; `each` may change the unit's link.
    pub fn each(&self, chain: Chain, mut each: impl FnMut(Unit)) {
        let mut unit = chain.first;
        for left in (0..chain.len).rev() {
            let next = if left > 0 { self.next(unit) } else { unit };
            each(unit);
            unit = next;
        }
    }

    /// Says where every unit of a chain is that is ours.
    pub fn place(&self, chain: Chain, place: Place) {
        self.each(chain, |unit| {
            let [_, word] = self.words(unit);
            word.store(State(word.load(Ordering::Relaxed)).at(place).0, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch frames that the embedder uses counted as free, or a shift by 64.
    #[test]
    fn the_mask_of_a_group_leaves_out_what_is_used_and_what_is_not_there() {
        let status = |order, used| Status { state: BlockState::Live, order, keep: false, used };
        assert_eq!(status(4, 2).group_mask(0), 0xfffc);
        assert_eq!(status(4, 2).group_mask(1), 0);
        assert_eq!(status(6, 0).group_mask(0), u64::MAX);
        assert_eq!(status(9, 70).group_mask(0), 0);
        assert_eq!(status(9, 70).group_mask(1), u64::MAX << 6);
        assert_eq!(status(9, 70).group_mask(7), u64::MAX);
        for (order, used) in [(0, 0), (4, 16), (5, 1), (9, 0), (9, 511)] {
            let ones: u32 = (0..8).map(|group| status(order, used).group_mask(group).count_ones()).sum();
            assert_eq!(ones, status(order, used).frames());
            assert_eq!(Status::of(status(order, used).word()), status(order, used));
        }
    }
}
