//! Names of the globals that scripts share: root keeps them for as long as it is loaded, so that every prompt means the same.
//!
//! They are a list that only grows. Who adds one says how many it knows: if there are more, it asks for those first.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a name, its dot included.
pub const NAME_BYTES: usize = 32;
/// Globals that one answer can show.
pub const ROWS_MAX: usize = 64;

/// One global.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Row {
    /// With its dot, zero-filled.
    pub name: [u8; NAME_BYTES],
    /// Its first cell of 8 bytes,
    pub cell: u16,
    /// and how many it has.
    pub cells: u16,
    /// Zero.
    pub zero: u32,
}

/// Asks for those from a number on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ask {
    /// Of the load that is meant ([`super::Hello::boot_id`]).
    pub boot_id: u64,
    /// So many are known.
    pub known: u64,
}

/// Those that follow, in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Globals {
    /// How many of `rows` are valid.
    pub count: u32,
    /// 1 if there are more.
    pub more: u32,
    /// By the order in which they were made.
    pub rows: [Row; ROWS_MAX],
}

/// Makes one, at the first cell that is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Add {
    /// What is known.
    pub ask: Ask,
    /// It.
    pub row: Row,
}
const _: () = assert!(size_of::<Row>() == 40 && size_of::<Add>() == 56);
const _: () = assert!(size_of::<Globals>() + size_of::<super::Head>() <= super::MESSAGE_BYTES_MAX);
