//! Hidden breakpoints: events of one instruction in the guest's memory.

use super::EventAsk;
use super::memory::Place;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A hidden breakpoint to register. It takes a unit of [`crate::kind::Kind::Epthook`]. If its address is mapped nowhere or cannot
/// be hooked, [`super::EventAnswer::bytes`] is the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ask {
    /// Its options; of kind [`super::event::EPTHOOK`], without a filter.
    pub event: EventAsk,
    /// The first byte of an instruction; a linear address, which is translated once.
    pub place: Place,
}
const _: () = assert!(size_of::<Ask>() == 64);
