//! What `!crwrite` filters by: a register, and a mask of the bits that must change.
//!
//! Root gets both as one number: the register in the low half, the mask in the upper one, 0 for any write.

use super::{Wanted, Wrong, at_most, wrong};
use crate::error::Error;
use crate::line::Word;
use abi::request::{EventAsk, event};

/// Registers whose writes can be watched.
const REGISTERS: [u64; 2] = [0, 4];

/// Refuses a register that is no such one.
pub(super) fn check(kind: &Wanted, word: &Word, value: u64) -> Result<(), Error> {
    let other = kind.number == event::CONTROL_WRITE && !REGISTERS.contains(&value);
    if other { Err(wrong(&word.span, Wrong::NoSuchControl)) } else { Ok(()) }
}

/// Whether the next number is a mask.
pub(super) fn wants_mask(kind: &Wanted, ask: &EventAsk) -> bool {
    kind.number == event::CONTROL_WRITE && ask.flags & event::OPTION != 0 && ask.option >> 32 == 0
}

/// A mask of the bits that there are.
pub(super) fn mask(word: &Word, value: u64) -> Result<u64, Error> {
    if value == 0 { Err(wrong(&word.span, Wrong::NoBit)) } else { at_most(word, value, "a mask", u32::MAX.into()) }
}
