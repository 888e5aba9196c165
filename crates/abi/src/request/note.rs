//! What Linux says of itself at load, for who finds its names and modules in its memory: root keeps these numbers for the prompt and
//! does not understand them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Numbers.
pub const NOTES: usize = 16;

/// Physical address of the note that the kernel keeps for dumps after a crash; 0 if it keeps none.
pub const CRASH_NOTE: usize = 0;
/// Bytes that it has at most.
pub const CRASH_NOTE_BYTES: usize = 1;
/// Linear address of the record of one module: all are in a ring.
pub const MODULE: usize = 2;
/// Bytes into such a record of the address at which the next one has these bytes,
pub const MODULE_NEXT: usize = 3;
/// of its name,
pub const MODULE_NAME: usize = 4;
/// of the address where it begins,
pub const MODULE_BASE: usize = 5;
/// of its bytes (32 bits),
pub const MODULE_SIZE: usize = 6;
/// and of the address of the record of its names.
pub const MODULE_NAMES: usize = 7;
/// Bytes into that of the address of the table,
pub const NAMES_TABLE: usize = 8;
/// of how many there are (32 bits),
pub const NAMES_COUNT: usize = 9;
/// of the address of the texts,
pub const NAMES_TEXTS: usize = 10;
/// and of that of the kinds.
pub const NAMES_KINDS: usize = 11;

/// All of them, by the numbers above; what is not told is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Notes {
    /// The numbers.
    pub notes: [u64; NOTES],
}
const _: () = assert!(size_of::<Notes>() == 128 && NAMES_KINDS < NOTES);
