//! Monitors: events of accesses to a range of memory.

use super::EventAsk;
use super::memory::Place;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`Ask::access`]: it is read.
pub const READ: u32 = 1;
/// It is written.
pub const WRITE: u32 = 2;
/// Instructions there are executed.
pub const EXECUTE: u32 = 4;

/// A monitor to register. It takes a unit of [`crate::kind::Kind::Monitor`] for each page, or whole large page, of its range;
/// [`super::EventAnswer::asked`] says how many it took. If an address is mapped nowhere or cannot be monitored,
/// [`super::EventAnswer::bytes`] is the first such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Ask {
    /// Its options; of kind [`super::event::MONITOR`], without a filter.
    pub event: EventAsk,
    /// The first byte. Linear addresses are translated once.
    pub place: Place,
    /// The address of the last.
    pub last: u64,
    /// [`READ`], [`WRITE`], [`EXECUTE`].
    pub access: u32,
    /// Zero.
    pub zero: u32,
}
const _: () = assert!(size_of::<Ask>() == 80);
