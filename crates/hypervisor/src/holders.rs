//! Holders: units of `thread-interception`, each with places for what root remembers of a hundred threads.
//!
//! **Holds always**
//! - D1: the words of a holder are reached through it alone, and giving it back takes it away: nobody has them afterwards.
//! - D2: a place that is not taken is all zeros.
//!
//! **Callers**: `threads`, with its lock. **Cost**: one look at two words to find a place.
#![expect(unsafe_code, reason = "the frames of a unit as words")]

use crate::arch::x86::direct;
use crate::bank;
use crate::pools::PLANS;
use abi::kind::Kind;
use abi::request::owner;
use abi::request::thread::THREADS_PER_UNIT;
use core::sync::atomic::AtomicU64;
use reserve::{Core, Cost, Handle, Owner, Refusal, Ticket};

/// Words that root remembers of one thread.
pub const WORDS: usize = 24;
/// Places of a holder.
pub const PLACES: usize = THREADS_PER_UNIT;
const KIND: usize = Kind::ThreadInterception.index();
const FRAMES: u32 = PLANS[KIND].shape.frames;
const _: () = assert!(
    PLACES * WORDS <= FRAMES as usize * 512 && PLACES <= 128,
    "a unit has room for them, and two words for which are taken"
);

/// A unit with an owner.
pub struct Holder {
    handle: Handle,
    words: &'static [AtomicU64],
    taken: u128,
}

/// Units that are paid for, and not holders yet.
pub struct Paid(Ticket<'static, 'static, { Kind::COUNT }>);

/// Takes so many units, all or none.
pub fn pay(core: u32, units: u64) -> Result<Paid, Option<Refusal>> {
    let reserve = bank::reserve().ok_or(None)?;
    let cost = Cost::NONE.and(KIND, units)?;
    Ok(Paid(reserve.reserve(Core(core), &cost)?))
}

impl Paid {
    /// The next of them as a holder; `None` behind the last.
    pub fn next(&mut self) -> Option<Holder> {
        let reserve = bank::reserve()?;
        let handle = self.0.spend(KIND, Owner(owner::THREADS))?;
        let Ok(extent) = reserve.extent(handle) else { return None };
        // SAFETY: the unit has just become this holder's, so its frames are nobody else's (U1 of `reserve`), and root's own,
        // hidden and mapped (B1, B2). No name of them outlives the holder (D1).
        let words = unsafe { direct::claim_words(extent.pfn, PLACES * WORDS) };
        Some(Holder { handle, words, taken: 0 })
    }
}

impl Holder {
    /// Takes a place.
    pub fn take(&mut self) -> Option<usize> {
        let place = self.taken.trailing_ones() as usize;
        if place >= PLACES {
            return None;
        }
        self.taken |= 1 << place;
        Some(place)
    }

    /// Frees one, which is all zeros then.
    pub fn free(&mut self, place: usize) {
        self.record(place).into_iter().flatten().for_each(|word| word.store(0, core::sync::atomic::Ordering::Relaxed));
        self.taken &= !(1 << place);
    }

    /// The words of a place that is taken.
    pub fn record(&self, place: usize) -> Option<&[AtomicU64; WORDS]> {
        let first = place.checked_mul(WORDS)?;
        let is_taken = place < PLACES && self.taken & 1 << place != 0;
        is_taken.then(|| self.words.get(first..)?.first_chunk()).flatten()
    }

    /// Places that are taken.
    pub fn used(&self) -> usize {
        self.taken.count_ones() as usize
    }

    /// Gives the unit back.
    pub fn give(self, core: u32) {
        let given = bank::reserve().map(|reserve| reserve.give(Core(core), self.handle));
        debug_assert!(matches!(given, Some(Ok(()))), "it was this holder's");
    }
}
