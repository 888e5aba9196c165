//! Supply: units made of the bank's frames, and frames made of units again.
//!
//! **Holds always**
//! - V1: a request that is refused leaves the units reserved and the bank as it found them.
//! - V2: `refill` fills to a level: twice in a row does no more than once, and nothing is queued that could be lost.
//! - V3: who finds that another core does the same work (`folding`, `refilling`) leaves it to that one and waits for
//!   nobody; the other looks again before it is done.
//!
//! **Callers**: root, any core; not NMI handlers, for they have no need. **Cost**: O(units moved + groups looked at).
//! **Proof**: `tests/supply.rs`, `tests/model.rs`, `tests/loom.rs`.

use crate::bank::Runs;
use crate::lane::Popped;
use crate::limits::{BLOCK_ORDER_MAX, GROUP_FRAMES, LOOKS_MAX, UNITS_PER_FRAME_MAX};
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use crate::sync::Ordering;
use crate::unit::{Chain, Place, State, Unit};
use crate::{Block, Reserve};

/// What a refill did, and what it could not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refilled {
    /// Units that went from the bank to their kinds.
    pub units: u64,
    /// Frames that the bank is short of; donate them and refill again.
    pub frames_short: u64,
    /// The longest run among those.
    pub run_frames: u32,
}

impl<'m, const KINDS: usize> Reserve<'m, KINDS> {
    /// Reserves `count` units more of a kind, all of them or none, and keeps them until they are released.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`], [`Refusal::Zero`], [`Refusal::TooMany`], [`Refusal::BankShort`], [`Refusal::Injected`].
    pub fn prealloc(&self, kind: usize, count: u64) -> Result<(), Refusal> {
        let shelf = self.shelf(kind)?;
        let refused = |refusal| {
            shelf.refused.fetch_add(1, Ordering::SeqCst);
            Err(refusal)
        };
        let most = self.most(shelf);
        let units = match u32::try_from(count) {
            Ok(0) => return refused(Refusal::Zero { kind }),
            Ok(units) if count <= most => units,
            _ => return refused(Refusal::TooMany { kind, asked: count, most }),
        };
        if shelf.fails_now() {
            return refused(Refusal::Injected { kind, asked: count });
        }
        if let Err(slabs) = self.grow(shelf, units) {
            // Not counted: who can donate asks again. If nobody can, that is told by `count_refusal`.
            return Err(Refusal::BankShort {
                kind,
                asked: count,
                frames_short: slabs * u64::from(shelf.slab.frames),
                run_frames: shelf.slab.frames,
                bank_free: self.bank.free.load(Ordering::SeqCst),
            });
        }
        shelf.kept.fetch_add(count, Ordering::SeqCst);
        Ok(())
    }

    /// Counts a request that ended with [`Refusal::BankShort`] for good.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`].
    pub fn count_refusal(&self, kind: usize) -> Result<(), Refusal> {
        self.shelf(kind)?.refused.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Gives `count` free units of a kind back to the bank, all of them or none.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`], [`Refusal::Zero`], [`Refusal::Short`] if fewer are free.
    pub fn release(&self, kind: usize, count: u64) -> Result<(), Refusal> {
        let shelf = self.shelf(kind)?;
        if count == 0 {
            return Err(Refusal::Zero { kind });
        }
        self.shed(shelf, count).map_err(|free| {
            shelf.refused.fetch_add(1, Ordering::SeqCst);
            Refusal::Short { kind, asked: count, free, reserved: shelf.reserved.load(Ordering::SeqCst) }
        })?;
        let forget = |kept: u64| Some(kept.saturating_sub(count));
        // The closure never refuses.
        let _ = shelf.kept.fetch_update(Ordering::SeqCst, Ordering::SeqCst, forget);
        Ok(())
    }

    /// Units more of a kind that could ever be reserved: what its share of RAM, or all slots, hold and it has not.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`].
    pub fn possible(&self, kind: usize) -> Result<u64, Refusal> {
        Ok(self.most(self.shelf(kind)?))
    }

    /// Units that a kind lacks: 0 while at least its low mark are free, else what is missing to the target. What a user keeps
    /// counts on top of both.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`].
    pub fn deficit(&self, kind: usize) -> Result<u64, Refusal> {
        Ok(self.lacking(self.shelf(kind)?))
    }

    /// Fills every deficit as far as the bank goes (V2). At start-up this gives each kind its target.
    ///
    /// What another core is filling just now is left to it, and not told here.
    pub fn refill(&self) -> Refilled {
        let mut sum = Refilled::default();
        for _ in 0..LOOKS_MAX {
            if self.refilling.swap(true, Ordering::SeqCst) {
                break;
            }
            let mut done = Refilled::default();
            for shelf in &self.shelves {
                self.refill_one(shelf, &mut done);
            }
            self.refilling.store(false, Ordering::SeqCst);
            sum = Refilled { units: sum.units + done.units, ..done };
            // Who took units meanwhile and asked for a refill was sent away, so look again (V3).
            let full = self.shelves.iter().all(|shelf| self.lacking(shelf) == 0);
            if full || (done.units == 0 && done.frames_short > 0) {
                break;
            }
        }
        sum
    }

    fn refill_one(&self, shelf: &Shelf, done: &mut Refilled) {
        let lacking = u32::try_from(self.lacking(shelf)).unwrap_or(u32::MAX);
        if lacking == 0 {
            return;
        }
        let mut filled = lacking;
        if let Err(slabs) = self.grow(shelf, lacking) {
            // As many as there are: a level half reached is better than none, and the rest is told.
            done.frames_short += slabs * u64::from(shelf.slab.frames);
            done.run_frames = done.run_frames.max(shelf.slab.frames);
            let short = u32::try_from(slabs).unwrap_or(u32::MAX).saturating_mul(shelf.slab.units);
            filled = lacking.saturating_sub(short);
            if filled == 0 || self.grow(shelf, filled).is_err() {
                return;
            }
        }
        shelf.refilled.fetch_add(u64::from(filled), Ordering::SeqCst);
        done.units += u64::from(filled);
    }

    /// The start: each kind gets its target, as far as the bank goes, and what is left is what the bank shall keep, from now
    /// on instead of [`crate::Plan::bank_target`]. None of it counts as refilled.
    pub fn open(&self) -> Refilled {
        let done = self.refill();
        for shelf in &self.shelves {
            shelf.refilled.store(0, Ordering::SeqCst);
        }
        self.bank_target.store(self.bank.free.load(Ordering::SeqCst), Ordering::SeqCst);
        done
    }

    /// Gives the bank what kinds have above their high mark, down to the target; what a user keeps counts on top of both,
    /// as in a refill. Says how many units.
    pub fn shrink(&self) -> u64 {
        let shed = |shelf: &Shelf| {
            let kept = shelf.kept.load(Ordering::SeqCst);
            let free = shelf.free(&self.tables);
            if free <= shelf.plan.high.saturating_add(kept) {
                return 0;
            }
            let surplus = free.saturating_sub(shelf.plan.target.saturating_add(kept));
            if self.shed(shelf, surplus).is_ok() { surplus } else { 0 }
        };
        self.shelves.iter().map(shed).sum()
    }

    /// Takes one whole block out of the bank, if the bank's target stays there without it; none when there is no such
    /// block. The embedder may give its frames to the kernel then.
    pub fn reclaim(&self) -> Option<Block> {
        self.bank.reclaim(&self.tables, self.bank_target.load(Ordering::SeqCst))
    }

    fn lacking(&self, shelf: &Shelf) -> u64 {
        let (free, kept) = (shelf.free(&self.tables), shelf.kept.load(Ordering::SeqCst));
        if free >= shelf.plan.low.saturating_add(kept) {
            return 0;
        }
        (shelf.plan.target.saturating_add(kept) - free).min(self.most(shelf))
    }

    fn most(&self, shelf: &Shelf) -> u64 {
        let slots = (self.tables.slots() as u64) << BLOCK_ORDER_MAX;
        let share = u128::from(self.ram_frames) * u128::from(shelf.plan.ram_1024ths) / 1024;
        let frames = u64::try_from(share).unwrap_or(u64::MAX).min(slots);
        let units = frames / u64::from(shelf.slab.frames) * u64::from(shelf.slab.units);
        units.saturating_sub(shelf.reserved.load(Ordering::SeqCst))
    }

    /// Moves units from the bank to a kind, all or none; says how many slabs are missing.
    fn grow(&self, shelf: &Shelf, units: u32) -> Result<(), u64> {
        let (tables, slab) = (&self.tables, shelf.slab);
        // What is made here is free from the first; what is put aside again is told so there.
        let mut chain = shelf.spare.0.pop(tables, units).map_or(Chain::EMPTY, |popped| popped.chain);
        tables.place(chain, Place::Free);
        let need = u64::from((units - chain.len).div_ceil(slab.units));
        // Most refusals end here, with nothing moved; then the runs are counted, so that what is said to be missing is.
        let fit = self.bank.free.load(Ordering::SeqCst) / u64::from(slab.frames);
        let mut missing = if need > fit { need.saturating_sub(self.bank.runs(tables, slab.frames)) } else { 0 };
        if missing == 0 && need > 0 {
            let had = self.bank.take(tables, slab.frames, need, |runs| self.cut(shelf, &runs, &mut chain));
            shelf.slabs.fetch_add(had, Ordering::SeqCst);
            missing = need - had;
        }
        if missing > 0 {
            shelf.put_aside(tables, chain);
            self.fold(shelf);
            return Err(missing);
        }
        let chosen = tables.split(&mut chain, units);
        shelf.put_aside(tables, chain);
        // Only now are they counted: `used` is never too large by units that are on their way (S2).
        shelf.deal(tables, chosen);
        shelf.reserved.fetch_add(u64::from(units), Ordering::SeqCst);
        shelf.record(tables);
        Ok(())
    }

    /// Makes units of runs of frames.
    fn cut(&self, shelf: &Shelf, runs: &Runs<'m>, chain: &mut Chain) {
        let mut starts = runs.starts;
        while starts != 0 {
            let first = runs.group * GROUP_FRAMES + starts.trailing_zeros();
            starts &= starts - 1;
            for nth in 0..shelf.slab.units {
                let entry = first * UNITS_PER_FRAME_MAX + nth;
                let word = runs.table.state(entry);
                let generation = State(word.load(Ordering::Relaxed)).generation();
                let nth = (nth & 0xff) as u8;
                word.store(State::cut(nth, shelf.kind, generation).0, Ordering::Release);
                self.tables.prepend(chain, Unit::at(runs.slot, entry));
            }
        }
    }

    /// Moves free units aside, all or none, and their slabs to the bank where nothing else is in them. Says how many
    /// are free if those are too few.
    fn shed(&self, shelf: &Shelf, units: u64) -> Result<(), u64> {
        let tables = &self.tables;
        let Ok(count) = u32::try_from(units) else { return Err(shelf.free(tables)) };
        if shelf.reserved.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| now.checked_sub(units)).is_err() {
            return Err(shelf.free(tables));
        }
        match shelf.take(tables, crate::Core(0), count) {
            Ok(Popped { chain, .. }) => {
                shelf.put_aside(tables, chain);
                shelf.record(tables);
                self.fold(shelf);
                Ok(())
            }
            Err(free) => {
                shelf.reserved.fetch_add(units, Ordering::SeqCst);
                Err(free)
            }
        }
    }

    /// Gives the bank every slab all of whose units are spare.
    fn fold(&self, shelf: &Shelf) {
        let tables = &self.tables;
        // V3: what the other one misses stays spare, and serves the next `grow` or goes with the next `fold`.
        if shelf.folding.swap(true, Ordering::SeqCst) {
            return;
        }
        let chain = shelf.spare.0.pop(tables, u32::MAX).map_or(Chain::EMPTY, |popped| popped.chain);
        tables.place(chain, Place::Folding);
        let (mut rest, mut whole) = (Chain::EMPTY, Chain::EMPTY);
        tables.each(chain, |unit| {
            // Only this core marks units of this kind so: a slab with every mark is in this chain whole.
            let table = tables.of(unit);
            let nth = State(table.state(unit.entry()).load(Ordering::Relaxed)).nth();
            let is_marked = |sibling: u32| {
                let word = table.state(unit.entry() - nth + sibling);
                State(word.load(Ordering::Acquire)).is(Place::Folding)
            };
            if !(0..shelf.slab.units).all(is_marked) {
                tables.prepend(&mut rest, unit);
            } else if nth == 0 {
                tables.prepend(&mut whole, unit);
            }
        });
        tables.each(whole, |unit| {
            let table = tables.of(unit);
            for sibling in 0..shelf.slab.units {
                let word = table.state(unit.entry() + sibling);
                word.store(State(word.load(Ordering::Relaxed)).at(Place::Nowhere).0, Ordering::Release);
            }
            self.bank.give(table, unit.entry() / UNITS_PER_FRAME_MAX, shelf.slab.frames);
        });
        shelf.slabs.fetch_sub(u64::from(whole.len), Ordering::SeqCst);
        shelf.put_aside(tables, rest);
        shelf.folding.store(false, Ordering::SeqCst);
    }
}
