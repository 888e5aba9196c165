//! Tickets: everything that one command needs, held together until it is applied.
//!
//! A [`Ticket`] is had whole or not at all. Each [`Ticket::spend`] hands one of its units to an owner; dropping it gives
//! back what is left, so a cost may be the worst case.
//!
//! **Holds always**
//! - T1: a unit is in one place, a lane, a ticket or an owner: free + on ticket + used = reserved.
//! - T2: a refused request leaves every count as it found it. (While it is being refused, other cores may be refused
//!   units that it holds for that moment.)
//! - T3: no lock; an exchange that fails means that another core has finished its own.
//! - T4: a unit is given back once. Its generation moves with it, so a second `give`, or one by a handle from an earlier
//!   life, is refused and changes nothing.
//!
//! **Callers**: root in any state, NMI too, on any core, all at once. A ticket stays on its core.
//! **Cost**: `reserve` is O(kinds + units), `spend` and `give` O(1), `drop` O(kinds + units left). A ticket owns no
//! memory of its own.
//! **Proof**: `tests/tickets.rs`, `tests/model.rs` (T1, T2, T4), `tests/loom.rs` and `nmi_tests` (T3),
//! `benches/take.rs`.
//!
//! **Poison.** What is in the pages is the embedder's. Test builds that poison them do it at two places: fill the
//! [`Extent`] of a handle just before `give`, and look whether it is untouched just after `spend`. Between the two the
//! crate never tells anybody the extent. `tests/poison.rs` shows it.

use crate::lane::Popped;
use crate::limits::{KINDS_MAX, UNITS_PER_FRAME_MAX};
use crate::shelf::{Core, Shelf};
use crate::sync::Ordering;
use crate::table::{Table, Tables, Words};
use crate::unit::{Chain, Extent, Handle, Link, Place, State, Unit};
use crate::{Refusal, Reserve, Stale};
use core::marker::PhantomData;

/// Who holds a unit: a number that the embedder chooses, such as an event's or a hook's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u32);

/// What a command needs: so many units of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost<const KINDS: usize> {
    units: [u32; KINDS],
    /// A bit for each kind of which it needs some.
    kinds: u64,
}

impl<const KINDS: usize> Cost<KINDS> {
    /// Nothing.
    pub const NONE: Self = Cost { units: [0; KINDS], kinds: 0 };

    /// This, and `units` units of a kind.
    ///
    /// # Errors
    /// [`Refusal::UnknownKind`]; [`Refusal::TooMany`] with the whole sum if it exceeds 2^32 - 1, which no reserve can hold.
    pub fn and(mut self, kind: usize, units: u64) -> Result<Self, Refusal> {
        let sum = self.units.get_mut(kind).ok_or(Refusal::UnknownKind { kind })?;
        let asked = u64::from(*sum).saturating_add(units);
        *sum = u32::try_from(asked).map_err(|_| Refusal::TooMany { kind, asked, most: u64::from(u32::MAX) })?;
        self.kinds |= u64::from(*sum > 0) << (kind % KINDS_MAX);
        Ok(self)
    }

    /// Both.
    ///
    /// # Errors
    /// As [`Cost::and`].
    pub fn plus(self, other: &Self) -> Result<Self, Refusal> {
        (0..KINDS).try_fold(self, |sum, kind| sum.and(kind, u64::from(other.units[kind])))
    }

    /// Units of a kind; 0 for a kind that there is not.
    #[must_use]
    pub fn of(&self, kind: usize) -> u32 {
        self.units.get(kind).copied().unwrap_or(0)
    }
}

/// Units of several kinds, taken and not yet handed to an owner.
///
/// They hang together by their link words: of one kind by `next`, and the first of each kind has the first of the next
/// kind where others have a depth. So a ticket is small however many kinds there are, and costs no copying.
#[must_use = "a ticket that is dropped gives everything back"]
pub struct Ticket<'r, 'm, const KINDS: usize> {
    reserve: &'r Reserve<'m, KINDS>,
    first: Unit,
    /// The words of the first unit, if it came from a lane just now: then they need not be looked up.
    words: Option<&'m Words>,
    core: Core,
    /// Not `Send`: the last sentence of "Callers", kept by the compiler.
    this_core: PhantomData<*const ()>,
}

impl<'m, const KINDS: usize> Ticket<'_, 'm, KINDS> {
    /// Hands one unit of a kind to an owner; `None` if the ticket has none left. O(kinds on the ticket).
    #[inline]
    pub fn spend(&mut self, kind: usize, owner: Owner) -> Option<Handle> {
        let tables = &self.reserve.tables;
        let (mut unit, mut before) = (self.first, Unit::NONE);
        let mut words = self.words.take();
        while unit != Unit::NONE {
            let [link, state_word] = words.take().unwrap_or_else(|| tables.words(unit));
            let (here, state) = (Link::of(link.load(Ordering::Relaxed)), State(state_word.load(Ordering::Relaxed)));
            let other = Unit(here.depth);
            if state.kind() != kind {
                (before, unit) = (unit, other);
                continue;
            }
            let head = if here.next == Unit::NONE { other } else { here.next };
            if here.next != Unit::NONE {
                set_other(tables, here.next, other);
            }
            if before == Unit::NONE {
                self.first = head;
            } else {
                set_other(tables, before, head);
            }
            let state = state.at(Place::Used);
            link.store(Link { next: Unit::NONE, depth: owner.0 }.word(), Ordering::Relaxed);
            state_word.store(state.0, Ordering::Release);
            return Some(Handle::new(unit, state.generation()));
        }
        None
    }

    /// Gives back what is left, kind by kind.
    #[cold]
    fn give_back(&mut self) {
        let tables = &self.reserve.tables;
        while self.first != Unit::NONE {
            let [link, state] = tables.words(self.first);
            let Link { mut next, depth: other } = Link::of(link.load(Ordering::Relaxed));
            let mut chain = Chain::one(self.first);
            while next != Unit::NONE {
                chain.len += 1;
                next = tables.next(next);
            }
            self.first = Unit(other);
            let kind = State(state.load(Ordering::Relaxed)).kind();
            self.reserve.shelves[kind].give(tables, self.core, chain);
        }
    }
}

/// Hangs what a lane gave before the first unit of another kind.
fn hang(tables: &Tables<'_>, popped: &Popped<'_>, other: Unit) {
    let [link, _] = popped.words;
    let mut next = Unit::NONE;
    if popped.chain.len > 1 {
        next = Link::of(link.load(Ordering::Relaxed)).next;
        tables.set_next(popped.last, Unit::NONE);
    }
    link.store(Link { next, depth: other.0 }.word(), Ordering::Relaxed);
}

/// Lets the first unit of a kind know the first of the next kind.
fn set_other(tables: &Tables<'_>, unit: Unit, other: Unit) {
    let [link, _] = tables.words(unit);
    let next = Link::of(link.load(Ordering::Relaxed)).next;
    link.store(Link { next, depth: other.0 }.word(), Ordering::Relaxed);
}

impl<const KINDS: usize> Drop for Ticket<'_, '_, KINDS> {
    #[inline]
    fn drop(&mut self) {
        const ALONE: u64 = Link { next: Unit::NONE, depth: Unit::NONE.0 }.word();
        match self.words {
            _ if self.first == Unit::NONE => {}
            // One unit and no other, as most tickets are.
            Some(words) if words[0].load(Ordering::Relaxed) == ALONE => {
                let shelf = &self.reserve.shelves[State(words[1].load(Ordering::Relaxed)).kind()];
                shelf.give_one(&self.reserve.tables, self.core, self.first, words);
            }
            _ => self.give_back(),
        }
    }
}

impl<'m, const KINDS: usize> Reserve<'m, KINDS> {
    /// Takes all that `cost` says, or nothing. `core` says who asks.
    ///
    /// # Errors
    /// [`Refusal::Short`] for the first kind that has too few free units; [`Refusal::Injected`].
    #[inline(always)]
    pub fn reserve(&self, core: Core, cost: &Cost<KINDS>) -> Result<Ticket<'_, 'm, KINDS>, Refusal> {
        // The ticket is made where the caller is, of what comes back in registers: copying it costs more than taking.
        let mut why = None;
        let (first, words) = self.take_all(core, cost, &mut why);
        match why {
            None => Ok(Ticket { reserve: self, first, words, core, this_core: PhantomData }),
            Some(refusal) => Err(refusal),
        }
    }

    /// What hangs on the ticket: its first unit and that one's words; none if it is refused, and why.
    fn take_all(&self, core: Core, cost: &Cost<KINDS>, why: &mut Option<Refusal>) -> (Unit, Option<&'m Words>) {
        let (mut first, mut words) = (Unit::NONE, None);
        for kind in bits(cost.kinds) {
            let (shelf, units) = (&self.shelves[kind], cost.units[kind]);
            let fails = shelf.fails_now();
            if units == 1
                && !fails
                && let Some((unit, its)) = shelf.take_one(&self.tables, core)
            {
                its[0].store(Link { next: Unit::NONE, depth: first.0 }.word(), Ordering::Relaxed);
                (first, words) = (unit, Some(its));
                continue;
            }
            let taken = if fails { Err(None) } else { shelf.take(&self.tables, core, units).map_err(Some) };
            match taken {
                Ok(popped) => {
                    hang(&self.tables, &popped, first);
                    (first, words) = (popped.chain.first, Some(popped.words));
                }
                Err(free) => {
                    *why = Some(refused(shelf, kind, units, free));
                    drop(Ticket { reserve: self, first, words, core, this_core: PhantomData });
                    return (Unit::NONE, None);
                }
            }
        }
        (first, words)
    }

    /// Takes a unit back from its owner; it is free at once, also for who asks next while everything is halted.
    ///
    /// # Errors
    /// [`Stale`] if the handle names no unit in use (T4).
    #[inline]
    pub fn give(&self, core: Core, handle: Handle) -> Result<(), Stale> {
        let (state, _, words) = self.in_use(handle)?;
        self.give_from(core, handle.unit(), words, state).then_some(()).ok_or(Stale(handle))
    }

    /// Takes back every unit that an owner has; says how many.
    pub fn give_all(&self, core: Core, owner: Owner) -> u64 {
        let mut given = 0;
        self.each_unit(|unit, state| {
            // The owner is this one's if the state is still the same when it is exchanged: its generation moves.
            let words = self.tables.words(unit);
            if state.is(Place::Used) && owner_in(words) == owner && self.give_from(core, unit, words, state) {
                given += 1;
            }
        });
        given
    }

    /// Calls `each` with every unit that has an owner: kind, owner, handle.
    pub fn owners(&self, mut each: impl FnMut(usize, Owner, Handle)) {
        self.each_unit(|unit, state| {
            if state.is(Place::Used) {
                let handle = Handle::new(unit, state.generation());
                each(state.kind(), owner_in(self.tables.words(unit)), handle);
            }
        });
    }

    /// Who has this unit.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn owner(&self, handle: Handle) -> Result<Owner, Stale> {
        let (_, _, words) = self.in_use(handle)?;
        Ok(owner_in(words))
    }

    /// Where this unit's memory lies.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn extent(&self, handle: Handle) -> Result<Extent, Stale> {
        let (state, table, _) = self.in_use(handle)?;
        let shelf = self.shelves.get(state.kind()).ok_or(Stale(handle))?;
        let (shape, slab, nth) = (shelf.plan.shape, shelf.slab, state.nth());
        let first = (handle.unit().entry() - nth) / UNITS_PER_FRAME_MAX;
        let slab_pfn = table.pfn() + u64::from(first);
        let small = nth * shape.stride();
        Ok(Extent {
            pfn: slab_pfn + u64::from(nth * shape.frames),
            frames: shape.frames,
            small_pfn: slab_pfn + u64::from(slab.units * shape.frames + small / crate::FRAME_BYTES),
            small_offset: small % crate::FRAME_BYTES,
            small_bytes: shape.bytes,
        })
    }

    /// The state of the unit that a handle names, its table and its words, if the unit is in use and of this generation.
    /// The handle may be any number.
    #[inline]
    fn in_use(&self, handle: Handle) -> Result<(State, Table<'m>, &'m Words), Stale> {
        let (table, words) = self.tables.get(handle.unit()).ok_or(Stale(handle))?;
        let state = State(words[1].load(Ordering::Acquire));
        let is_it = state.is(Place::Used) && state.generation() == handle.generation();
        is_it.then_some((state, table, words)).ok_or(Stale(handle))
    }

    /// Frees a unit that was seen in this state, unless another core was faster.
    #[inline]
    fn give_from(&self, core: Core, unit: Unit, words: &Words, seen: State) -> bool {
        let Some(shelf) = self.shelves.get(seen.kind()) else { return false };
        let won = words[1].compare_exchange(seen.0, seen.freed().0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if won {
            shelf.give_one(&self.tables, core, unit, words);
        }
        won
    }
}

/// The numbers of the bits that are set.
#[inline]
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit as usize)
    })
}

/// The owner that the link word of a used unit names.
fn owner_in(words: &Words) -> Owner {
    Owner(Link::of(words[0].load(Ordering::Acquire)).depth)
}

/// Counts a refusal and says why: `free` units are too few, or a test wants it.
#[cold]
fn refused(shelf: &Shelf, kind: usize, units: u32, free: Option<u64>) -> Refusal {
    shelf.refused.fetch_add(1, Ordering::SeqCst);
    let (asked, reserved) = (u64::from(units), shelf.reserved.load(Ordering::SeqCst));
    free.map_or(Refusal::Injected { kind, asked }, |free| Refusal::Short { kind, asked, free, reserved })
}
