//! A program's [`script_vm::Guard`] as a few words, so that it fits a slot, which is made of atomics.
//!
//! All eight comparisons are one range: `(register & mask) - low <= span`, without a sign and wrapping. So a miss costs five
//! machine instructions and no jump that depends on how the script compares.
//!
//! **Holds always**
//! - G1: the guard misses when, and only when, the one of `script-vm` does; one without a condition never does.
//!
//! **Proof**: `tests/guards.rs`.

use script_vm::{Program, op};

/// What never misses: 0 - 1 is no range that begins at 0 and ends there.
const NEVER: Guard = Guard { register: 0, mask: 0, low: 1, span: 0, count: None };

/// A register, and the values of it with which the program does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    /// Which, below 16.
    pub register: u8,
    /// Bits of it that count.
    pub mask: u64,
    /// The first value that misses,
    pub low: u64,
    /// and how far from there the last one is.
    pub span: u64,
    /// All that the program does otherwise: adds to a cell, which, and how much.
    pub count: Option<(u16, i16)>,
}

impl Guard {
    /// The guard of a program that has one and ever misses.
    pub fn of(program: &Program<'_>) -> Option<Self> {
        let taken = program.guard()?;
        let count = taken.count().and_then(|(cell, added)| Some((cell, i16::try_from(added.cast_signed()).ok()?)));
        let [op, register, low, high, ..] = program.code().first()?.to_le_bytes();
        let half = [low, high];
        let (how, value) = match op {
            op::J_EQ_GI..=op::J_NONE_GI => (op.checked_sub(op::J_EQ_GI)?, i64::from(i16::from_le_bytes(half)).cast_unsigned()),
            op::J_EQ_GK..=op::J_NONE_GK => {
                let number = usize::from(u16::from_le_bytes(half));
                (op.checked_sub(op::J_EQ_GK)?, *program.constants().get(number)?)
            }
            // It only counts.
            _ => return count.map(|count| Guard { count: Some(count), ..NEVER }),
        };
        const LEAST: u64 = i64::MIN.cast_unsigned();
        const MOST: u64 = i64::MAX.cast_unsigned();
        let next = value.wrapping_add(1);
        let (mask, low, span) = match how {
            0 => (u64::MAX, value, 0),
            1 => (u64::MAX, next, u64::MAX - 1),
            2 if value == LEAST => return None,
            2 => (u64::MAX, LEAST, value.wrapping_sub(1).wrapping_sub(LEAST)),
            3 => (u64::MAX, LEAST, value.wrapping_sub(LEAST)),
            4 if value == MOST => return None,
            4 => (u64::MAX, next, MOST.wrapping_sub(next)),
            5 => (u64::MAX, value, MOST.wrapping_sub(value)),
            6 => (value, 1, u64::MAX - 1),
            _ => (value, 0, 0),
        };
        Some(Guard { register: register & 15, mask, low, span, count })
    }
}
