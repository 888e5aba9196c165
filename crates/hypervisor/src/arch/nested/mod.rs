//! Nested page tables of every vendor: what the guest takes for physical memory, and what of it is kept from it.
//!
//! ```text
//! open       everything is mapped to itself, but root's own blocks
//! guarded    the same, less what monitors keep from the guest
//! executed   a core's own: the guarded view, but that one page alone can be executed, which is another
//! ```
//! The vendors have the same tables: 512 entries of 8 bytes, four levels, and rights of all levels that count together. They
//! differ in the bits of an entry. A vendor's format is a type without values, [`Entries`], so each set of tables is compiled
//! for it and asks nobody.
//!
//! **Holds always**
//! - E1: what only software reads lies in bits that all formats leave to it: 11, and 52 to 56.
//! - E2: an entry is written as a whole, and none that its format forbids.
//!
//! **Proof**: tests beside each of them run on every format ([`both`]).

pub mod executed;
pub mod guarded;
pub mod open;

use core::fmt::Debug;

/// Where an entry leads.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Frames of a large page.
pub const FRAMES_2M: u64 = 512;
/// Frames of the largest.
pub const FRAMES_1G: u64 = 512 * 512;
/// The highest level: pages, 2 MiB, 1 GiB, 512 GiB.
pub const TOP: u32 = 3;
/// Tables that a core needs for a view of its own, one of each level.
pub const TABLES: usize = 4;
const _: () = assert!(TABLES == TOP as usize + 1);

/// What the view that is guarded knows of an entry (E1): what is kept from the guest,
const GUARD_READ: u64 = 1 << 11;
const GUARD_WRITE: u64 = 1 << 52;
const GUARD_FETCH: u64 = 1 << 53;
/// whether some record covers it,
const COVERED: u64 = 1 << 54;
/// whether it leads to a table of the guarded view's own,
const OWN: u64 = 1 << 55;
/// and whether to another frame than the open view's.
const SHOWN: u64 = 1 << 56;

/// The format of an entry.
pub trait Entries: Copy + Debug + 'static {
    /// Rights of an entry that leads to a table: all.
    const TABLE: u64;
    /// What walks leave in an entry.
    #[cfg(test)]
    const WALKED: u64;

    /// An entry that leads to memory and lets the guest do everything with it: 4 KiB (level 0), 2 MiB or 1 GiB.
    fn page(pa: u64, level: u32) -> u64;
    /// One that leads to a frame of root's, to be read and executed.
    fn shown(pa: u64) -> u64;
    /// One that leads to a frame of root's, to be read.
    fn zeros(pa: u64) -> u64;
    /// One that leads to a table and allows what `way` does, and fetches.
    fn towards(table: u64, way: u64) -> u64;
    /// The level of the largest page that may map what lies around an address.
    fn largest(pa: u64) -> u32;
    /// Where the tables end that map memory, of which RAM ends there; `None`: with what addresses can tell.
    fn reach(end: u64) -> Option<u64>;
    /// It leads somewhere.
    fn is_there(entry: u64) -> bool;
    /// To memory, of a level that could also have a table.
    fn is_large(entry: u64) -> bool;
    /// It lets the guest read there.
    fn may_read(entry: u64) -> bool;
    /// It lets the guest write there.
    fn may_write(entry: u64) -> bool;
    /// It lets the guest fetch instructions there.
    fn may_fetch(entry: u64) -> bool;
    /// The same entry without reads and writes, and without fetches where a page that is not read cannot be executed.
    fn without_read(entry: u64) -> u64;
    /// The same without writes.
    fn without_write(entry: u64) -> u64;
    /// The same without fetches.
    fn without_fetch(entry: u64) -> u64;
}

/// Makes a test of each format out of a generic function.
#[cfg(test)]
macro_rules! both {
    ($($(#[doc = $doc:literal])+ fn $name:ident<E>() $body:block)+) => {
        $(fn $name<E: Entries>() $body)+
        mod npt {
            $($(#[doc = $doc])+
            #[test]
            fn $name() {
                super::$name::<crate::arch::svm::npt::Npt>();
            })+
        }
        mod ept {
            $($(#[doc = $doc])+
            #[test]
            fn $name() {
                super::$name::<crate::arch::vmx::ept::Ept>();
            })+
        }
    };
}
#[cfg(test)]
use both;
