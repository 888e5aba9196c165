//! The format of AMD's nested page tables: that of long mode, with the user bit (APM2 5.3 "Long-Mode Page Translation", 15.25
//! "Nested Paging").
//!
//! To software belong bits 9 to 11 and 52 to 58 (APM2 5.4.1 "Page-Translation-Table Entry Fields"). A page that is not read is
//! not executed. Types of memory are not its matter: the guest's own registers and tables tell them (APM2 15.25.8 "Combining
//! Memory Types, MTRRs").

use crate::arch::nested::Entries;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// The format.
#[derive(Clone, Copy, Debug)]
pub struct Npt;

impl Entries for Npt {
    const TABLE: u64 = PRESENT | WRITE | USER;
    #[cfg(test)]
    const WALKED: u64 = 1 << 5;

    #[inline(always)]
    fn page(pa: u64, level: u32) -> u64 {
        pa | Self::TABLE | if level > 0 { LARGE } else { 0 }
    }

    #[inline(always)]
    fn shown(pa: u64) -> u64 {
        pa | PRESENT | USER
    }

    fn zeros(pa: u64) -> u64 {
        pa | PRESENT | USER | NO_EXECUTE
    }

    #[inline(always)]
    fn towards(table: u64, way: u64) -> u64 {
        table | PRESENT | USER | way & WRITE
    }

    fn largest(_: u64) -> u32 {
        2
    }

    fn reach(_: u64) -> Option<u64> {
        None
    }

    #[inline(always)]
    fn is_there(entry: u64) -> bool {
        entry & PRESENT != 0
    }

    #[inline(always)]
    fn is_large(entry: u64) -> bool {
        entry & LARGE != 0
    }

    #[inline(always)]
    fn may_read(entry: u64) -> bool {
        Self::is_there(entry)
    }

    #[inline(always)]
    fn may_write(entry: u64) -> bool {
        entry & (PRESENT | WRITE) == PRESENT | WRITE
    }

    #[inline(always)]
    fn may_fetch(entry: u64) -> bool {
        entry & (PRESENT | NO_EXECUTE) == PRESENT
    }

    #[inline(always)]
    fn without_read(entry: u64) -> u64 {
        entry & !PRESENT
    }

    #[inline(always)]
    fn without_write(entry: u64) -> u64 {
        entry & !WRITE
    }

    #[inline(always)]
    fn without_fetch(entry: u64) -> u64 {
        entry | NO_EXECUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch an entry of a nested table that changed with the file it is written in: these are the bits that AMD's
    /// processors have always been given.
    #[test]
    fn entries_are_those_of_long_mode() {
        assert_eq!([Npt::page(0x1000, 0), Npt::page(1 << 21, 1), Npt::page(1 << 30, 2)], [0x1007, 0x20_0087, 0x4000_0087]);
        assert_eq!([Npt::shown(0x1000), Npt::zeros(0x1000)], [0x1005, 0x8000_0000_0000_1005]);
        assert_eq!([Npt::towards(0x1000, 7), Npt::towards(0x1000, 1 << 63 | 5)], [0x1007, 0x1005]);
        assert_eq!([Npt::without_read(7), Npt::without_write(7), Npt::without_fetch(7)], [6, 5, 1 << 63 | 7]);
        assert!(!Npt::is_there(6) && !Npt::may_write(6) && !Npt::may_fetch(6), "not read is nothing at all");
    }
}
