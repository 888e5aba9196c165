//! A page of the guest's that was looked at last, so that it is found again without a walk of its tables.
//!
//! A processor that does not tell where the next instruction begins (no NRIP save, as in QEMU) leaves it to root to look at
//! each intercepted one, and what a monitor stops is looked at whoever the processor is. Programs that do much of it do so from
//! one place, and mostly to one place.
//!
//! **Holds always**
//! - T1: what is found without a walk is what a walk would find: every entry of the tables on the way is compared with what
//!   it was. The guest may change any of them at any time, and need not say so.
//!
//! **Cost**: about 25 machine instructions for the page that was the last one, else a walk.

use crate::arch::x86::direct::{self, Page, Word};
use crate::walk;

/// Levels of the guest's tables.
const LEVELS: usize = 4;

/// A page of the guest's, and the way to it.
#[derive(Debug)]
pub struct Way {
    cr3: u64,
    /// Where it begins, linear.
    linear: u64,
    /// The same, physical.
    pa: u64,
    /// Entries on the way and what they said; where a large page ends the way early, the last one stands there again.
    way: [(Word, u64); LEVELS],
    page: Page,
    /// What all entries said, bit by bit; the last says alone what it was used for.
    says: u64,
}

impl Default for Way {
    fn default() -> Self {
        // No guest has such tables: reserved bits are set.
        Way { cr3: u64::MAX, linear: 0, pa: 0, way: [(Word::nowhere(), 0); LEVELS], page: Page::nowhere(), says: 0 }
    }
}

impl Way {
    /// How far behind the page's beginning so many bytes from a linear address on lie, if they are known to lie in it; if not, they may
    /// all the same.
    #[inline(always)]
    fn within(&self, cr3: u64, linear: u64, bytes: u64) -> Option<u64> {
        let at = linear.wrapping_sub(self.linear);
        (cr3 == self.cr3 && at <= 0x1000 - bytes && self.way.iter().all(|(word, was)| word.get() == *was)).then_some(at)
    }

    /// Whether the code at this linear address is known to begin with these bytes; if not, it may all the same.
    #[inline(always)]
    pub fn begins(&self, cr3: u64, linear: u64, bytes: [u8; 2]) -> bool {
        self.within(cr3, linear, 2).is_some_and(|at| self.page.pair(at) == u16::from_le_bytes(bytes).into())
    }

    /// As many bytes from a linear address on as an instruction has and one more, if they are known to lie in this page.
    #[inline(always)]
    pub fn bytes(&self, cr3: u64, linear: u64) -> Option<u128> {
        self.within(cr3, linear, 16).map(|at| self.page.sixteen(at))
    }

    /// The same, and where they lie physically.
    #[inline(always)]
    pub fn placed(&self, cr3: u64, linear: u64) -> Option<(u64, u128)> {
        let bytes = self.bytes(cr3, linear)?;
        Some((self.pa | linear & 0xfff, bytes))
    }

    /// The physical address of a linear one, if that is known, and what all entries on the way say, bit by bit; the last says
    /// alone what it was used for.
    #[inline(always)]
    pub fn place(&self, cr3: u64, linear: u64) -> Option<(u64, u64)> {
        let at = self.within(cr3, linear, 1)?;
        Some((self.pa | at, self.says))
    }

    /// As [`Way::placed`], by a walk if it is not known.
    #[inline(always)]
    pub fn instruction(&mut self, cr3: u64, linear: u64) -> Option<(u64, u128)> {
        self.placed(cr3, linear).or_else(|| {
            self.find(cr3, linear);
            self.placed(cr3, linear)
        })
    }

    /// As [`Way::place`], by a walk if it is not known.
    #[inline(always)]
    pub fn datum(&mut self, cr3: u64, linear: u64) -> Option<(u64, u64)> {
        self.place(cr3, linear).or_else(|| {
            self.find(cr3, linear);
            self.place(cr3, linear)
        })
    }

    /// Bytes from a linear address on, by a walk if they are not known to lie in this page; how many could be read.
    pub fn copy(&self, cr3: u64, linear: u64, to: &mut [u8]) -> usize {
        if let Some(bytes) = self.bytes(cr3, linear)
            && let Some(bytes) = bytes.to_le_bytes().get(..to.len())
        {
            to.copy_from_slice(bytes);
            return to.len();
        }
        walk::read_bytes(cr3, linear, to, direct::read, direct::copy_out)
    }

    /// Walks to the page of a linear address.
    #[inline(never)]
    pub fn find(&mut self, cr3: u64, linear: u64) {
        *self = Way::default();
        let mut way = [None; LEVELS];
        let mut seen = 0;
        let found = walk::translate_by(cr3, linear, |pa| {
            let entry = direct::read(pa)?;
            if let Some(to) = way.get_mut(seen) {
                *to = Word::at(pa).map(|word| (word, entry));
                seen += 1;
            }
            Some(entry)
        });
        let last = seen.checked_sub(1).and_then(|last| *way.get(last)?);
        let (Some(pa), Some(last)) = (found, last) else { return };
        let Some(page) = Page::at(pa) else { return };
        let way = way.map(|step| step.unwrap_or(last));
        let says = way.iter().fold(last.1, |all, (_, entry)| all & (entry | walk::DIRTY));
        *self = Way { cr3, linear: linear & !0xfff, pa: pa & !0xfff, way, page, says };
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "tables in the tests' own RAM")]
mod tests {
    use super::*;
    use crate::arch::x86::direct::arena;

    const LINEAR: u64 = 0x7000_0020_3000;

    /// Tables that lead to one page, and its physical address; the second is where the entry of the page stands.
    fn tables(first: u64, page: u64) -> u64 {
        let pa = |level: u64| (first + level) * 4096;
        let index = |level: u64| (LINEAR >> (12 + 9 * (3 - level)) & 511) * 8;
        for level in 0..4 {
            let next = if level == 3 { page * 4096 } else { pa(level + 1) };
            // SAFETY: the arena's frames are the test's own.
            assert!(unsafe { direct::write(pa(level) + index(level), next | 1) });
        }
        pa(0)
    }

    /// Would catch an instruction that is taken from a page which the guest has exchanged, or another guest's of the same
    /// address, and one that is put together of two pages.
    #[test]
    fn a_changed_entry_and_other_tables_are_noticed() {
        let (first, page, other) = (arena::run(4).unwrap(), arena::run(1).unwrap(), arena::run(1).unwrap());
        // SAFETY: the arena's frames are the test's own.
        let write = |pa, value| assert!(unsafe { direct::write(pa, value) });
        write(page * 4096 + 8, 0xa20f);
        write(other * 4096 + 8, 0x00a2_0ff3);
        write(page * 4096 + 0xff8, 0x0f << 56);
        let cr3 = tables(first, page);
        let mut way = Way::default();
        let cpuid = [0x0f, 0xa2];
        assert!(!way.begins(cr3, LINEAR + 8, cpuid), "nothing was found yet");
        way.find(cr3, LINEAR + 0x123);
        assert!(way.begins(cr3, LINEAR + 8, cpuid) && !way.begins(cr3, LINEAR + 9, cpuid));
        assert!(!way.begins(cr3, LINEAR + 0x1008, cpuid) && !way.begins(cr3, LINEAR - 0xff8, cpuid));
        assert!(!way.begins(cr3, LINEAR + 0xfff, [0x0f, 0]), "its second byte lies on the next page");
        assert!(!way.begins(cr3 + 4096, LINEAR + 8, cpuid));
        // Each entry on the way in its turn: changed, and as it was.
        for level in 0..4 {
            let entry = (first + level) * 4096 + (LINEAR >> (12 + 9 * (3 - level)) & 511) * 8;
            let was = direct::read(entry).unwrap();
            write(entry, if level == 3 { other * 4096 | 1 } else { 0 });
            assert!(!way.begins(cr3, LINEAR + 8, cpuid), "level {level}");
            write(entry, was);
            assert!(way.begins(cr3, LINEAR + 8, cpuid));
        }
        // Code that changes is read anew each time.
        write(page * 4096 + 8, 0x9090);
        assert!(!way.begins(cr3, LINEAR + 8, cpuid));
    }
}
