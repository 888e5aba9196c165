//! Detours: events of one instruction in the guest's kernel, which a jump leads to code that stands for it.

use super::EventAsk;
use super::memory::Place;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes that the jump takes.
pub const JUMP_BYTES: usize = 5;
/// Bytes of instructions that a jump displaces, at most: four of one byte, and one of fifteen.
pub const DISPLACED_BYTES_MAX: usize = 24;
/// Bytes of the code that stands for them, at most: the same, and four more for each jump on a condition.
pub const CODE_BYTES_MAX: usize = 32;
/// Distances in it that depend on where it lies.
pub const FIXUPS_MAX: usize = 5;

/// A detour to register. It takes a unit of [`crate::kind::Kind::Epthook2`]. If nothing is mapped at its address, or that cannot be had,
/// [`super::EventAnswer::bytes`] is the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ask {
    /// Its options; of kind [`super::event::EPTHOOK2`], before the instruction, without a filter.
    pub event: EventAsk,
    /// The first byte of an instruction; a linear address of the kernel's half.
    pub place: Place,
    /// What must stand there, `displaced_bytes` of it: whole instructions.
    pub original: [u8; DISPLACED_BYTES_MAX],
    /// The code that does the same, `code_bytes` of it.
    pub code: [u8; CODE_BYTES_MAX],
    /// From [`JUMP_BYTES`] to [`DISPLACED_BYTES_MAX`].
    pub displaced_bytes: u32,
    /// At most [`CODE_BYTES_MAX`].
    pub code_bytes: u32,
    /// Of the code, those of the first instruction.
    pub first_bytes: u32,
    /// How many of `fixups` are valid.
    pub fixups_count: u32,
    /// Distances in the code.
    pub fixups: [Fixup; FIXUPS_MAX],
}
const _: () = assert!(size_of::<Ask>() == 216);

/// Four bytes of code: how far it is from the end of their instruction to a fixed address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Fixup {
    /// Where they begin in the code,
    pub offset: u32,
    /// and where their instruction ends.
    pub end: u32,
    /// The address.
    pub target: u64,
}
const _: () = assert!(size_of::<Fixup>() == 16);
