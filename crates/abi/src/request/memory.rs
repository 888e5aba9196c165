//! Memory of the guest: read, written, searched, translated. A request is bounded; who wants more asks again behind it.

use super::{Head, MESSAGE_BYTES_MAX};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`Place::space`]: a linear address, by page tables.
pub const VIRTUAL: u32 = 0;
/// ... or a physical one.
pub const PHYSICAL: u32 = 1;
/// A linear address, by the page tables whose highest has the frame number [`Place::pid`].
pub const BY_TABLES: u32 = 2;
/// [`Place::pid`]: the tables that the core is in. While halted it is the selected one, else the one that is asked.
pub const NO_PID: u32 = u32::MAX;

/// Bytes that one answer can show, and that one request can write: 0.1 s at 115 200 baud.
pub const BYTES_MAX: usize = 1024;
/// Bytes that one answer to who reads much can have: as many as a message carries, 0.35 s at 115 200 baud.
pub const READ_BYTES_MAX: usize = 3840;
/// Bytes of what is searched for.
pub const PATTERN_BYTES_MAX: usize = 64;
/// Places that one answer can name.
pub const FOUND_MAX: usize = 64;
/// Levels of page tables.
pub const LEVELS: usize = 4;

/// Where something lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Place {
    /// The address.
    pub address: u64,
    /// [`VIRTUAL`], [`PHYSICAL`] or [`BY_TABLES`].
    pub space: u32,
    /// Whose tables a linear address is walked by: a process (thread group), or [`NO_PID`]; or a frame.
    pub pid: u32,
}

/// Asks for bytes; or bytes that shall be written follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Span {
    /// The first one.
    pub place: Place,
    /// How many, at most [`READ_BYTES_MAX`], or [`BYTES_MAX`] to write.
    pub bytes: u32,
    /// Zero.
    pub zero: u32,
}

/// Bytes that could be read; they follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Read {
    /// How many, from the first one on.
    pub bytes: u32,
    /// Why not more: one of [`crate::code`], SUCCESS if these are all.
    pub why: u32,
}

/// What became of a write: all of it is done, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Written {
    /// Bytes written. If it was refused: those before the one that cannot be.
    pub bytes: u32,
    /// Pages of it (at most 2) that the guest itself may not write: their protection was not asked.
    pub read_only: u32,
    /// Where the first byte lies physically.
    pub physical: u64,
}

/// Asks for places of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Search {
    /// The first byte that may begin one.
    pub place: Place,
    /// Bytes from there on in which all of the pattern must lie.
    pub bytes: u64,
    /// From one place that is looked at to the next: 1, 4 or 8.
    pub step: u32,
    /// Bytes of `pattern` that count, from 1 on.
    pub pattern_bytes: u32,
    /// The pattern.
    pub pattern: [u8; PATTERN_BYTES_MAX],
}

/// Places of a pattern; `count` addresses of 8 bytes follow, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Found {
    /// Bytes from the first one on that are done. Who has not been told of all goes on behind them.
    pub done: u64,
    /// Those of them that could not be read.
    pub unreadable: u64,
    /// How many places, at most [`FOUND_MAX`].
    pub count: u32,
    /// Zero.
    pub zero: u32,
}

/// An entry of a page table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Entry {
    /// Where it lies, physically.
    pub at: u64,
    /// What it says.
    pub value: u64,
}

/// How an address is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Translation {
    /// The linear address. If a physical one was asked for: where the kernel's map of all RAM has it.
    pub linear: u64,
    /// Its physical address, if `mapped`.
    pub physical: u64,
    /// Bytes of the page, or of the hole that one entry leaves.
    pub page_bytes: u64,
    /// CR3 by which it was walked.
    pub tables: u64,
    /// 1 if it is mapped.
    pub mapped: u32,
    /// How many of `entries` are valid.
    pub levels: u32,
    /// From the highest table down.
    pub entries: [Entry; LEVELS],
}

const _: () = assert!(size_of::<Place>() == 16 && size_of::<Span>() == 24 && size_of::<Read>() == 8);
const _: () = assert!(size_of::<Written>() == 16 && size_of::<Search>() == 96 && size_of::<Translation>() == 104);
const _: () = assert!(size_of::<Head>() + size_of::<Span>() + BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(size_of::<Head>() + size_of::<Read>() + READ_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(size_of::<Found>() == 24 && size_of::<Head>() + size_of::<Found>() + 8 * FOUND_MAX <= MESSAGE_BYTES_MAX);
