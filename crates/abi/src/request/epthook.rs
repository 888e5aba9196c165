//! Hidden breakpoints: events of one instruction in the guest's memory.

use super::EventAsk;
use super::memory::Place;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A hidden breakpoint to register. It takes a unit of [`crate::kind::Kind::Epthook`]. If its address is mapped nowhere or cannot
/// be hooked, [`super::EventAnswer::bytes`] is the address. If it was asked to be [`super::event::FAST`] and was registered,
/// [`super::EventAnswer::rejected`] says whether it is: one of the numbers below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ask {
    /// Its options; of kind [`super::event::EPTHOOK`], without a filter.
    pub event: EventAsk,
    /// The first byte of an instruction; a linear address, which is translated once.
    pub place: Place,
}
const _: () = assert!(size_of::<Ask>() == 64);

/// A hook that was asked to be fast is.
pub const IS_VISIBLE: u32 = 0;
/// It is hidden: its instruction is one that Linux patches.
pub const PATCHED: u32 = 1;
/// It is hidden: it is in a program's memory.
pub const PROGRAM: u32 = 2;
/// It is hidden as long as there is a hidden hook on its page, or a monitor of reads or fetches.
pub const HIDDEN_BY_OTHERS: u32 = 3;
