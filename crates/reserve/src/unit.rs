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
    /// Reserved and free.
    Free = 3,
    /// On a ticket.
    Ticket = 4,
    /// With an owner.
    Used = 5,
}

impl Place {
    const fn from_bits(bits: u64) -> Place {
        match bits & 0xff {
            1 => Place::Spare,
            2 => Place::Folding,
            3 => Place::Free,
            4 => Place::Ticket,
            5 => Place::Used,
            _ => Place::Nowhere,
        }
    }
}

/// The state word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub generation: u32,
    pub place: Place,
    pub kind: u8,
    pub nth: u8,
}

impl State {
    pub const fn of(word: u64) -> State {
        State {
            generation: high(word),
            place: Place::from_bits(word >> 16),
            kind: (word >> 8 & 0xff) as u8,
            nth: (word & 0xff) as u8,
        }
    }

    pub const fn word(self) -> u64 {
        join(self.nth as u32 | (self.kind as u32) << 8 | (self.place as u32) << 16, self.generation)
    }

    pub const fn at(self, place: Place) -> State {
        State { place, ..self }
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
pub struct Handle {
    pub(crate) unit: u32,
    pub(crate) generation: u32,
}

impl Handle {
    /// As one word, for a descriptor that wants to remember it.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        join(self.unit, self.generation)
    }

    /// From [`Handle::to_word`]. Any word is taken: one that names no unit in use is refused when it is used.
    #[must_use]
    pub const fn from_word(word: u64) -> Handle {
        Handle { unit: low(word), generation: high(word) }
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

/// Units chained through their link words, in the hands of one core (U1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub first: Unit,
    pub last: Unit,
    pub len: u32,
}

impl Chain {
    /// No units.
    pub const EMPTY: Chain = Chain { first: Unit::NONE, last: Unit::NONE, len: 0 };

    /// One unit.
    pub const fn one(unit: Unit) -> Chain {
        Chain { first: unit, last: unit, len: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch fields of the words that overlap or are cut.
    #[test]
    fn words_carry_every_field_at_its_extreme() {
        for place in [Place::Nowhere, Place::Spare, Place::Folding, Place::Free, Place::Ticket, Place::Used] {
            let state = State { generation: u32::MAX, place, kind: 0xff, nth: 0 };
            assert_eq!(State::of(state.word()), state);
            let state = State { generation: 0, place, kind: 0, nth: 0xff };
            assert_eq!(State::of(state.word()), state);
        }
        let link = Link { next: Unit::NONE, depth: 7 };
        assert_eq!(Link::of(link.word()), link);
        let unit = Unit::at(5, 2047);
        assert_eq!((unit.slot(), unit.entry()), (5, 2047));
        let handle = Handle { unit: 3, generation: u32::MAX };
        assert_eq!(Handle::from_word(handle.to_word()), handle);
    }
}
