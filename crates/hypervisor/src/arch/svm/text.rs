//! Where the guest's code was read last, so that the next instruction on that page is read without a walk of its tables.
//!
//! A processor that does not tell where the next instruction begins (no NRIP save, as in QEMU) leaves it to root to look at
//! each intercepted one. Programs that execute many of them do so from one place.
//!
//! **Holds always**
//! - T1: what is read without a walk is what a walk would find: every entry of the tables on the way is compared with what
//!   it was. The guest may change any of them at any time, and need not say so.
//!
//! **Cost**: about 25 machine instructions where the last one was, else a walk.

use crate::arch::x86::direct::{self, Page, Word};
use crate::walk;

/// Levels of the guest's tables.
const LEVELS: usize = 4;

/// A page of the guest's code, and the way to it.
#[derive(Debug)]
pub struct Text {
    cr3: u64,
    /// Where it begins, linear.
    linear: u64,
    /// Entries on the way and what they said; where a large page ends the way early, the last one stands there again.
    way: [(Word, u64); LEVELS],
    page: Page,
}

impl Default for Text {
    fn default() -> Self {
        // No guest has such tables: reserved bits are set.
        Text { cr3: u64::MAX, linear: 0, way: [(Word::nowhere(), 0); LEVELS], page: Page::nowhere() }
    }
}

impl Text {
    /// Whether the code at this linear address is known to begin with these bytes; if not, it may all the same.
    #[inline(always)]
    pub fn begins(&self, cr3: u64, linear: u64, bytes: [u8; 2]) -> bool {
        let at = linear.wrapping_sub(self.linear);
        // The last byte of the page begins nothing: what follows lies elsewhere.
        cr3 == self.cr3
            && at < 0xfff
            && self.way.iter().all(|(word, was)| word.get() == *was)
            && self.page.pair(at) == u16::from_le_bytes(bytes).into()
    }

    /// Walks to the page of a linear address, for [`Text::begins`].
    pub fn find(&mut self, cr3: u64, linear: u64) {
        *self = Text::default();
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
        *self = Text { cr3, linear: linear & !0xfff, way: way.map(|step| step.unwrap_or(last)), page };
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
        let mut text = Text::default();
        let cpuid = [0x0f, 0xa2];
        assert!(!text.begins(cr3, LINEAR + 8, cpuid), "nothing was found yet");
        text.find(cr3, LINEAR + 0x123);
        assert!(text.begins(cr3, LINEAR + 8, cpuid) && !text.begins(cr3, LINEAR + 9, cpuid));
        assert!(!text.begins(cr3, LINEAR + 0x1008, cpuid) && !text.begins(cr3, LINEAR - 0xff8, cpuid));
        assert!(!text.begins(cr3, LINEAR + 0xfff, [0x0f, 0]), "its second byte lies on the next page");
        assert!(!text.begins(cr3 + 4096, LINEAR + 8, cpuid));
        // Each entry on the way in its turn: changed, and as it was.
        for level in 0..4 {
            let entry = (first + level) * 4096 + (LINEAR >> (12 + 9 * (3 - level)) & 511) * 8;
            let was = direct::read(entry).unwrap();
            write(entry, if level == 3 { other * 4096 | 1 } else { 0 });
            assert!(!text.begins(cr3, LINEAR + 8, cpuid), "level {level}");
            write(entry, was);
            assert!(text.begins(cr3, LINEAR + 8, cpuid));
        }
        // Code that changes is read anew each time.
        write(page * 4096 + 8, 0x9090);
        assert!(!text.begins(cr3, LINEAR + 8, cpuid));
    }
}
