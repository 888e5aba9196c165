//! Units: their numbers, the two words each has in a table, and the handles by which an owner names them.
//!
//! Unit `u` stands in slot `u >> 11`, as entry `u & 2047` of its table; its frame within the block is `entry / 4`.
//! The *link* word is `next | depth << 32` on a free list and `next | owner << 32` off it. The *state* word is
//! `nth | kind << 8 | place << 16 | generation << 32`; `nth` is the unit's number within its slab.
//!
//! **Holds always**
//! - U1: who took a unit off a list alone writes its words, until it is on a list again or has an owner; a unit that has
//!   an owner changes state only by one exchange of the state word, so two cannot give it back.
//! - U2: a generation is never used twice, not by another kind either (it starts over after 2^32 returns of one unit).

use crate::limits::{BLOCK_ORDER_MAX, UNITS_PER_FRAME_MAX};
use crate::sync::{high, join, low};

/// Bits of a unit's number within its slot.
pub(crate) const ENTRY_BITS: u32 = BLOCK_ORDER_MAX + UNITS_PER_FRAME_MAX.ilog2();

/// A unit by number, or no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit(pub u32);

impl Unit {
    /// No unit: the end of a chain.
    pub const NONE: Unit = Unit(u32::MAX);

    /// The unit at an entry of a slot.
    pub fn at(slot: u32, entry: u32) -> Unit {
        Unit(slot << ENTRY_BITS | entry)
    }

    /// Which slot.
    pub const fn slot(self) -> usize {
        (self.0 >> ENTRY_BITS) as usize
    }

    /// Which entry of the slot's table.
    pub const fn entry(self) -> u32 {
        self.0 & ((1 << ENTRY_BITS) - 1)
    }
}

/// Where a unit is (T1: in one place).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not cut: its frames belong to the bank or to another unit.
    Nowhere = 0,
    /// Cut and not reserved: the rest of a slab.
    Spare = 1,
    /// Spare, and in the hands of who looks for whole slabs.
    Folding = 2,
    /// Reserved and without an owner: on a lane, or on a ticket if it is on none.
    Free = 3,
    /// With an owner.
    Used = 4,
}

/// The state word. It stays whole: taking it apart and putting it together again is half of what a take would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(pub u64);

impl State {
    const PLACE: u64 = 0xff << 16;

    /// A unit that was cut, as it is before its first life.
    pub const fn cut(nth: u8, kind: u8, generation: u32) -> State {
        State(join(nth as u32 | (kind as u32) << 8, generation)).at(Place::Free)
    }

    /// The same elsewhere.
    pub const fn at(self, place: Place) -> State {
        State(self.0 & !State::PLACE | (place as u64) << 16)
    }

    /// Is the unit there?
    pub const fn is(self, place: Place) -> bool {
        self.0 & State::PLACE == (place as u64) << 16
    }

    /// Free, and of the next generation.
    pub const fn freed(self) -> State {
        State(self.0.wrapping_add(1 << 32)).at(Place::Free)
    }

    /// Which of its lives this is.
    pub const fn generation(self) -> u32 {
        high(self.0)
    }

    /// Its kind's index.
    pub const fn kind(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }

    /// Its number within its slab.
    pub const fn nth(self) -> u32 {
        (self.0 & 0xff) as u32
    }
}

/// The link word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub next: Unit,
    /// Units on the list from here down, this one counted; the owner, off a list.
    pub depth: u32,
}

impl Link {
    pub const fn of(word: u64) -> Link {
        Link { next: Unit(low(word)), depth: high(word) }
    }

    pub const fn word(self) -> u64 {
        join(self.next.0, self.depth)
    }
}

/// A unit that has an owner, by number and generation. After the unit was given back its handles are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(u64);

impl Handle {
    #[inline]
    pub(crate) const fn new(unit: Unit, generation: u32) -> Handle {
        Handle(join(unit.0, generation))
    }

    #[inline]
    pub(crate) const fn unit(self) -> Unit {
        Unit(low(self.0))
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        high(self.0)
    }

    /// As one word, for a descriptor that wants to remember it.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// From [`Handle::to_word`]. Any word is taken: one that names no unit in use is refused when it is used.
    #[must_use]
    pub const fn from_word(word: u64) -> Handle {
        Handle(word)
    }
}

/// Where a unit's memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First of its whole frames; without meaning if `frames` is 0.
    pub pfn: u64,
    /// How many, side by side.
    pub frames: u32,
    /// Frame in which the small part begins; without meaning if `small_bytes` is 0.
    pub small_pfn: u64,
    /// Offset of the small part in that frame.
    pub small_offset: u32,
    /// Bytes of the small part, which may reach into the frames that follow.
    pub small_bytes: u32,
}

/// Units chained through their link words, in the hands of one core (U1). The last one's link has no meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// Without meaning if `len` is 0; then it is 0 too, so that many empty chains are soon made.
    pub first: Unit,
    pub len: u32,
}

impl Chain {
    /// No units.
    pub const EMPTY: Chain = Chain { first: Unit(0), len: 0 };

    /// One unit.
    pub const fn one(unit: Unit) -> Chain {
        Chain { first: unit, len: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch fields of the words that overlap or are cut.
    #[test]
    fn words_carry_every_field_at_its_extreme() {
        for place in [Place::Nowhere, Place::Spare, Place::Folding, Place::Free, Place::Used] {
            for (nth, kind, generation) in [(0xff, 0, u32::MAX), (0, 0xff, 0)] {
                let state = State::cut(nth, kind, generation).at(place);
                assert!(state.is(place));
                assert_eq!((state.nth(), state.kind()), (u32::from(nth), usize::from(kind)));
                assert_eq!(state.generation(), generation);
                assert_eq!(state.freed(), State::cut(nth, kind, generation.wrapping_add(1)).at(Place::Free));
            }
        }
        let link = Link { next: Unit::NONE, depth: 7 };
        assert_eq!(Link::of(link.word()), link);
        let unit = Unit::at(5, 2047);
        assert_eq!((unit.slot(), unit.entry()), (5, 2047));
        let handle = Handle::from_word(Handle::new(unit, u32::MAX).to_word());
        assert_eq!((handle.unit(), handle.generation()), (unit, u32::MAX));
    }
}
