//! Shelves: what is reserved of one kind, and what is known about it.
//!
//! **Holds always**
//! - S1: a take is whole or leaves every unit on the shelf.
//! - S2: `high_water` is the most units that were off the lanes at once. It needs no counter that all cores share: each
//!   lane has a *floor*, and while every lane keeps at least its floor, no new record is possible. Who goes below looks at
//!   all lanes, and sets the floors anew. (A request that meets a `prealloc` or `release` of its kind in the same instant
//!   may pass unrecorded.)
//! - S3: no lock; a request looks again only when another core has changed a lane, [`LOOKS_MAX`] times at most.
//!
//! **Callers**: root in any state, NMI too. **Cost**: `take` one exchange if the core's own lane suffices, else a look
//! into each; `give` one exchange. **Proof**: `tests/model.rs` (S1, S2), `tests/loom.rs`, `benches/take.rs`.

use crate::lane::{Lane, Popped};
use crate::limits::{LANES, LOOKS_MAX};
use crate::plan::{KindPlan, Slab};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, Padded};
use crate::table::{Tables, Words};
use crate::unit::{Chain, Place, Unit};

/// Who asks, so that cores keep out of each other's way: any number. Different ones on different cores are fastest, equal
/// ones are as safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Core(pub u32);

impl Core {
    fn lane(self) -> usize {
        self.0 as usize % LANES
    }
}

struct Bay {
    lane: Lane,
    /// See S2.
    floor: AtomicU32,
}

/// One kind.
pub(crate) struct Shelf {
    bays: [Padded<Bay>; LANES],
    /// Units that are cut and not reserved: the rest of a slab.
    pub spare: Padded<Lane>,
    pub kind: u8,
    pub slab: Slab,
    pub plan: KindPlan,
    /// Units reserved, free or not.
    pub reserved: AtomicU64,
    /// Units of those that a user asked for and has not released.
    pub kept: AtomicU64,
    pub slabs: AtomicU64,
    pub high_water: AtomicU64,
    pub refused: AtomicU64,
    pub refilled: AtomicU64,
    /// Somebody looks for whole slabs among the spare units.
    pub folding: AtomicBool,
    /// Requests until one fails on purpose; 0: none will.
    fail: AtomicU32,
}

impl Shelf {
    pub fn new(kind: u8, plan: KindPlan, slab: Slab) -> Self {
        let bay = |_| Padded(Bay { lane: Lane::new(), floor: AtomicU32::new(0) });
        Shelf {
            bays: core::array::from_fn(bay),
            spare: Padded(Lane::new()),
            kind,
            slab,
            plan,
            reserved: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            slabs: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            refilled: AtomicU64::new(0),
            folding: AtomicBool::new(false),
            fail: AtomicU32::new(0),
        }
    }

    /// Takes `units` (at least one) or says how many are free.
    pub fn take<'m>(&self, tables: &Tables<'m>, core: Core, units: u32) -> Result<Popped<'m>, u64> {
        let Bay { lane, floor } = &self.bays[core.lane()].0;
        match lane.pop(tables, units) {
            Some(popped) if popped.chain.len == units => {
                if popped.left < floor.load(Ordering::SeqCst) {
                    self.record(tables);
                }
                Ok(popped)
            }
            too_few => {
                if let Some(popped) = too_few {
                    lane.push(tables, popped.chain);
                }
                self.gather(tables, core, units)
            }
        }
    }

    /// Takes one unit, if the core's own lane has one.
    #[inline(always)]
    pub fn take_one<'m>(&self, tables: &Tables<'m>, core: Core) -> Option<(Unit, &'m Words)> {
        let Bay { lane, floor } = &self.bays[core.lane()].0;
        let (unit, words, left) = lane.pop_one(tables)?;
        if left < floor.load(Ordering::SeqCst) {
            self.record(tables);
        }
        Some((unit, words))
    }

    /// Puts one unit back whose state is `Free` already; `words` are its own.
    #[inline]
    pub fn give_one(&self, tables: &Tables<'_>, core: Core, unit: Unit, words: &Words) {
        self.bays[core.lane()].0.lane.push_one(tables, unit, words);
    }

    /// Puts units back whose state is `Free` already.
    pub fn give(&self, tables: &Tables<'_>, core: Core, chain: Chain) {
        self.bays[core.lane()].0.lane.push(tables, chain);
    }

    /// Puts many units onto all lanes alike.
    pub fn deal(&self, tables: &Tables<'_>, mut chain: Chain) {
        // Small pieces: a push numbers its chain anew whenever another core was faster.
        let piece = (chain.len >> LANES.ilog2()).clamp(1, 64);
        let mut lane = 0;
        while chain.len > 0 {
            self.bays[lane % LANES].0.lane.push_front(tables, &mut chain, piece);
            lane += 1;
        }
    }

    /// Takes from all lanes, the own first.
    #[cold]
    fn gather<'m>(&self, tables: &Tables<'m>, core: Core, units: u32) -> Result<Popped<'m>, u64> {
        for _ in 0..LOOKS_MAX {
            let before = self.changes();
            let free = self.free(tables);
            if free < u64::from(units) {
                if self.changes() == before {
                    return Err(free);
                }
                continue;
            }
            let mut all: Option<Popped<'m>> = None;
            for lane in 0..LANES {
                let bay = &self.bays[(core.lane() + lane) % LANES].0;
                let had = all.as_ref().map_or(0, |all| all.chain.len);
                let Some(mut more) = bay.lane.pop(tables, units - had) else { continue };
                if let Some(all) = all.take() {
                    tables.set_next(more.last, all.chain.first);
                    more = Popped { chain: Chain { len: more.chain.len + had, ..more.chain }, last: all.last, ..more };
                }
                if more.chain.len == units {
                    self.record(tables);
                    return Ok(more);
                }
                all = Some(more);
            }
            if let Some(all) = all {
                self.give(tables, core, all.chain);
            }
            self.record(tables);
        }
        Err(self.free(tables))
    }

    /// Units on the lanes.
    pub fn free(&self, tables: &Tables<'_>) -> u64 {
        self.bays.iter().map(|bay| u64::from(bay.0.lane.depth(tables))).sum()
    }

    /// Changes of all lanes so far.
    fn changes(&self) -> u32 {
        self.bays.iter().fold(0, |sum, bay| sum.wrapping_add(bay.0.lane.tag()))
    }

    /// Notes how many units are off the lanes, and sets the floors (S2).
    #[cold]
    pub fn record(&self, tables: &Tables<'_>) {
        for _ in 0..LOOKS_MAX {
            let depths: [u32; LANES] = core::array::from_fn(|lane| self.bays[lane].0.lane.depth(tables));
            let free = depths.iter().map(|depth| u64::from(*depth)).sum();
            let used = self.reserved.load(Ordering::SeqCst).saturating_sub(free);
            let record = self.high_water.fetch_max(used, Ordering::SeqCst).max(used);
            let slack = u32::try_from((record - used) / LANES as u64).unwrap_or(u32::MAX);
            for (bay, depth) in self.bays.iter().zip(depths) {
                bay.0.floor.store(depth.saturating_sub(slack), Ordering::SeqCst);
            }
            // Either who takes meanwhile sees the new floor, or we see the lane without its units.
            if self.bays.iter().all(|bay| bay.0.lane.depth(tables) >= bay.0.floor.load(Ordering::SeqCst)) {
                return;
            }
        }
    }

    /// Arms the refusal of the `nth` request from now; 0 disarms.
    pub fn fail_nth(&self, nth: u32) {
        self.fail.store(nth, Ordering::SeqCst);
    }

    /// Is this the request that shall fail?
    #[inline]
    pub fn fails_now(&self) -> bool {
        self.fail.load(Ordering::Relaxed) != 0 && self.count_down()
    }

    #[cold]
    fn count_down(&self) -> bool {
        self.fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1)
    }

    /// Puts units that are nobody's aside as spare ones.
    pub fn put_aside(&self, tables: &Tables<'_>, chain: Chain) {
        tables.place(chain, Place::Spare);
        self.spare.0.push(tables, chain);
    }
}
