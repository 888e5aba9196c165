//! The ledger: what is reserved, what is free, what is used; and the audit that proves it.
//!
//! **Holds always** (once nobody is in the middle of moving something)
//! - T1: a unit is in one place: free + on a ticket + used = reserved, for each kind.
//! - K2: frames donated = used by the embedder + in the bank + in slabs.
//!
//! **Cost**: `ledger` O(kinds); `census` and `audit` look at every unit.

use crate::bank::groups;
use crate::limits::UNITS_PER_FRAME_MAX;
use crate::shelf::Shelf;
use crate::sync::Ordering;
use crate::table::BlockState;
use crate::unit::{Place, State, Unit};
use crate::{Refusal, Reserve};

/// One kind in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Bytes that one unit takes, its part of what a slab wastes included.
    pub unit_bytes: u64,
    /// Units reserved.
    pub reserved: u64,
    /// Units of those that are free.
    pub free: u64,
    /// The others: with an owner, or on a ticket and about to be.
    pub used: u64,
    /// Most units used at once.
    pub high_water: u64,
    /// Requests refused.
    pub refused: u64,
    /// Units that refills brought.
    pub refilled: u64,
    /// Units that a user asked for and has not released.
    pub kept: u64,
    /// The marks, as planned: low, target, high.
    pub marks: [u64; 3],
    /// Units cut and not reserved: the rest of slabs.
    pub spare: u64,
    /// Frames in slabs of this kind.
    pub frames: u64,
}

/// Every kind, and the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger<const KINDS: usize> {
    /// The kinds, by index.
    pub kinds: [Row; KINDS],
    /// Frames donated.
    pub frames: u64,
    /// Frames of those that the embedder uses itself.
    pub frames_embedder: u64,
    /// Frames in the bank.
    pub frames_bank: u64,
    /// Frames in slabs of all kinds.
    pub frames_kinds: u64,
    /// Frames that the bank shall keep.
    pub frames_target: u64,
}

/// The units of one kind, counted one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Free ones.
    pub free: u64,
    /// On tickets.
    pub on_ticket: u64,
    /// With an owner.
    pub used: u64,
    /// Spare ones.
    pub spare: u64,
}

/// What does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imbalance {
    /// free + on ticket + used is not what is reserved (T1).
    Units {
        /// Of this kind.
        kind: usize,
        /// As counted.
        counted: Census,
        /// As kept in the ledger.
        reserved: u64,
    },
    /// The slabs of a kind do not have its units.
    Slabs {
        /// Of this kind.
        kind: usize,
        /// Units counted, in any place.
        counted: u64,
        /// Units that its slabs have.
        slabs: u64,
    },
    /// The bank's bits are not what it says is free.
    Bank {
        /// Bits set.
        counted: u64,
        /// As kept in the ledger.
        free: u64,
    },
    /// Frames do not add up (K2).
    Frames {
        /// Donated.
        donated: u64,
        /// Used by the embedder, in the bank and in slabs, together.
        counted: u64,
    },
}

impl<const KINDS: usize> Reserve<'_, KINDS> {
    /// The ledger now. While cores take and give, its numbers are of about the same moment.
    pub fn ledger(&self) -> Ledger<KINDS> {
        let row = |shelf: &Shelf| {
            let reserved = shelf.reserved.load(Ordering::SeqCst);
            let free = shelf.free(&self.tables).min(reserved);
            let frames = u64::from(shelf.slab.frames);
            Row {
                unit_bytes: (frames * u64::from(crate::FRAME_BYTES)).div_ceil(u64::from(shelf.slab.units)),
                reserved,
                free,
                used: reserved - free,
                high_water: shelf.high_water.load(Ordering::SeqCst),
                refused: shelf.refused.load(Ordering::SeqCst),
                refilled: shelf.refilled.load(Ordering::SeqCst),
                kept: shelf.kept.load(Ordering::SeqCst),
                marks: [shelf.plan.low, shelf.plan.target, shelf.plan.high],
                spare: u64::from(shelf.spare.0.depth(&self.tables)),
                frames: shelf.slabs.load(Ordering::SeqCst) * frames,
            }
        };
        let mut kinds = [Row::default(); KINDS];
        for (to, shelf) in kinds.iter_mut().zip(&self.shelves) {
            *to = row(shelf);
        }
        Ledger {
            kinds,
            frames: self.bank.donated.load(Ordering::SeqCst),
            frames_embedder: self.bank.embedder.load(Ordering::SeqCst),
            frames_bank: self.bank.free.load(Ordering::SeqCst),
            frames_kinds: kinds.iter().map(|row| row.frames).sum(),
            frames_target: self.bank_target.load(Ordering::SeqCst),
        }
    }

    /// Counts the units of a kind one by one. Those on a ticket are those that have no owner and are on no lane.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`].
    pub fn census(&self, kind: usize) -> Result<Census, Refusal> {
        let shelf = self.shelf(kind)?;
        let mut census = Census::default();
        self.each_unit(|_, state| {
            if state.kind() == kind {
                census.on_ticket += u64::from(state.is(Place::Free));
                census.used += u64::from(state.is(Place::Used));
                census.spare += u64::from(state.is(Place::Spare) || state.is(Place::Folding));
            }
        });
        census.free = shelf.free(&self.tables);
        census.on_ticket = census.on_ticket.saturating_sub(census.free);
        Ok(census)
    }

    /// Calls `each` with every unit of every live block.
    pub(crate) fn each_unit(&self, mut each: impl FnMut(Unit, State)) {
        for (slot, table) in self.tables.all() {
            let status = table.status();
            if status.state == BlockState::Live {
                for entry in 0..UNITS_PER_FRAME_MAX << status.order {
                    let state = State(table.state(entry).load(Ordering::Acquire));
                    each(Unit::at(slot, entry), state);
                }
            }
        }
    }

    /// Counts everything anew and compares. Only meaningful while nobody moves anything: in tests after each step, in root
    /// while every core is halted, at unload.
    ///
    /// # Errors
    /// The first [`Imbalance`].
    pub fn audit(&self) -> Result<(), Imbalance> {
        let ledger = self.ledger();
        for (kind, shelf) in self.shelves.iter().enumerate() {
            let counted = self.census(kind).unwrap_or_default();
            let reserved = shelf.reserved.load(Ordering::SeqCst);
            if counted.free + counted.on_ticket + counted.used != reserved {
                return Err(Imbalance::Units { kind, counted, reserved });
            }
            let slabs = shelf.slabs.load(Ordering::SeqCst) * u64::from(shelf.slab.units);
            let spare = u64::from(shelf.spare.0.depth(&self.tables));
            if counted.spare != spare || reserved + spare != slabs {
                return Err(Imbalance::Slabs { kind, counted: reserved + counted.spare, slabs });
            }
        }
        let counted = self.tables.all().filter(|(_, table)| table.status().state == BlockState::Live);
        let counted = counted
            .flat_map(|(_, table)| (0..groups(table.status().order)).map(move |group| table.bank(group).load(Ordering::SeqCst)))
            .map(|bits| u64::from(bits.count_ones()))
            .sum();
        if counted != ledger.frames_bank {
            return Err(Imbalance::Bank { counted, free: ledger.frames_bank });
        }
        let counted = counted + ledger.frames_embedder + ledger.frames_kinds;
        if counted != ledger.frames {
            return Err(Imbalance::Frames { donated: ledger.frames, counted });
        }
        Ok(())
    }
}
