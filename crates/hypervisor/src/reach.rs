//! A linear address as the guest's own instruction would use it: rights, faults, accessed and dirty bits.
//!
//! **Holds always**
//! - A1: root's own frames are zeros for the walk, as the guest sees them, and no bit is set in them.
//! - A2: what the processor would set in a table is set before the page is used, and only in an entry that still says so.
//! - A3: a fault that is told is one that the guest's kernel understands: with a table that changes under the walk it may be
//!   one that is over when the kernel looks, which it takes as such.
//!
//! Protection keys are not looked at; they keep a process from its own pages only.
//!
//! **Callers**: what root emulates, on the core whose guest it is. **Cost**: four loads a page. **Proof**: the tests below.

use abi::boot::FRAME_BYTES;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Walks of one address that a table may change under; then it is a fault.
const WALKS_MAX: usize = 4;

/// Bits of a page fault's error code (APM2 8.2.15 "#PF").
mod error {
    pub const PROTECTION: u32 = 1;
    pub const WRITE: u32 = 1 << 1;
    pub const USER: u32 = 1 << 2;
}

/// Who uses it and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// To write.
    pub write: bool,
    /// From ring 3.
    pub user: bool,
    /// CR0.WP: the kernel may not write what is read only.
    pub write_protect: bool,
    /// CR4.SMAP, and EFLAGS.AC does not lift it: the kernel may not use pages of programs.
    pub kernel_only: bool,
}

/// The tables, as words of memory.
pub trait Tables {
    /// An entry; `None` outside of RAM.
    fn entry(&self, pa: u64) -> Option<u64>;
    /// Sets bits in an entry that is still `old`; whether it was.
    fn set(&self, pa: u64, old: u64, bits: u64) -> bool;
}

/// The physical address behind a linear one, by the four-level tables at `cr3`.
///
/// # Errors
/// The error code of the page fault that it is.
pub fn reach(tables: &impl Tables, cr3: u64, linear: u64, rights: Rights) -> Result<u64, u32> {
    let code = if rights.write { error::WRITE } else { 0 } | if rights.user { error::USER } else { 0 };
    for _ in 0..WALKS_MAX {
        if let Some(found) = walk(tables, cr3, linear, rights, code)? {
            return Ok(found);
        }
    }
    // A3.
    Err(code)
}

/// One walk; `None` if a table changed under it.
fn walk(tables: &impl Tables, cr3: u64, linear: u64, rights: Rights, code: u32) -> Result<Option<u64>, u32> {
    let (mut table, mut allowed) = (cr3 & ADDRESS, WRITABLE | USER);
    // Where each entry lies, and what it said.
    let mut path = [(0, 0); 4];
    for (depth, level) in (0..4).rev().enumerate() {
        let shift = 12 + 9 * level;
        let pa = table + (linear >> shift & 511) * 8;
        let entry = tables.entry(pa).unwrap_or(0);
        if entry & PRESENT == 0 {
            return Err(code);
        }
        allowed &= entry;
        path[depth] = (pa, entry);
        if level == 0 || level < 3 && entry & LARGE != 0 {
            let user_page = allowed & USER != 0;
            let read_only = allowed & WRITABLE == 0 && (rights.user || rights.write_protect);
            if rights.user && !user_page || rights.write && read_only || !rights.user && user_page && rights.kernel_only {
                return Err(code | error::PROTECTION);
            }
            let marked = path[..=depth].iter().enumerate().all(|(at, (pa, entry))| {
                let wanted = if at == depth && rights.write { ACCESSED | DIRTY } else { ACCESSED };
                entry & wanted == wanted || tables.set(*pa, *entry, wanted)
            });
            let below = (1 << shift) - 1;
            return Ok(marked.then_some(entry & ADDRESS & !below | linear & below));
        }
        table = entry & ADDRESS;
    }
    Err(code)
}

/// Up to four bytes at a linear address: one piece, or two where a page ends between them.
pub fn pieces(linear: u64, bytes: u8) -> [(u64, u8); 2] {
    let left = FRAME_BYTES - linear % FRAME_BYTES;
    match u8::try_from(left) {
        Ok(left) if left < bytes => [(linear, left), (linear.wrapping_add(left.into()), bytes - left)],
        _ => [(linear, bytes), (0, 0)],
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    struct Words(RefCell<BTreeMap<u64, u64>>);

    impl Tables for Words {
        fn entry(&self, pa: u64) -> Option<u64> {
            self.0.borrow().get(&pa).copied()
        }
        fn set(&self, pa: u64, old: u64, bits: u64) -> bool {
            let mut words = self.0.borrow_mut();
            let word = words.get_mut(&pa).filter(|word| **word == old);
            word.map(|word| *word |= bits).is_some()
        }
    }

    /// One page of each sort: 0 kernel, 1 kernel read only, 2 user, 3 user read only; 4 is not there. A large one behind.
    fn words() -> Words {
        let branch = PRESENT | WRITABLE | USER;
        let pairs = [
            (0x1000, 0x2000 | branch),
            (0x2000, 0x3000 | branch),
            (0x3000, 0x4000 | branch),
            (0x3008, 0x20_0000 | LARGE | PRESENT | WRITABLE),
            (0x4000, 0xa000 | PRESENT | WRITABLE),
            (0x4008, 0xb000 | PRESENT),
            (0x4010, 0xc000 | PRESENT | WRITABLE | USER),
            (0x4018, 0xd000 | PRESENT | USER),
        ];
        Words(RefCell::new(pairs.into_iter().collect()))
    }

    const KERNEL: Rights = Rights { write: false, user: false, write_protect: true, kernel_only: false };

    /// Would catch a right that is not asked for, a fault with another error code, and one where the processor has none.
    #[test]
    fn rights_are_the_processors() {
        let user = Rights { user: true, ..KERNEL };
        let reads = |rights| [0, 0x1000, 0x2000, 0x3000, 0x4000].map(|at| reach(&words(), 0x1000, at + 8, rights));
        let writes = |rights| reads(Rights { write: true, ..rights });
        assert_eq!(reads(KERNEL), [Ok(0xa008), Ok(0xb008), Ok(0xc008), Ok(0xd008), Err(0)]);
        assert_eq!(writes(KERNEL), [Ok(0xa008), Err(3), Ok(0xc008), Err(3), Err(2)]);
        assert_eq!(writes(Rights { write_protect: false, ..KERNEL })[..4], [Ok(0xa008), Ok(0xb008), Ok(0xc008), Ok(0xd008)]);
        assert_eq!(reads(Rights { kernel_only: true, ..KERNEL }), [Ok(0xa008), Ok(0xb008), Err(1), Err(1), Err(0)]);
        assert_eq!(reads(user), [Err(5), Err(5), Ok(0xc008), Ok(0xd008), Err(4)]);
        assert_eq!(writes(Rights { kernel_only: true, ..user }), [Err(7), Err(7), Ok(0xc008), Err(7), Err(6)]);
        assert_eq!(reach(&words(), 0x1000, 0x21_2345, KERNEL), Ok(0x21_2345));
        assert_eq!(reach(&words(), 0x1000, 1 << 39, KERNEL), Err(0));
    }

    /// Would catch a page that Linux takes for clean or unused, a bit that a refused access leaves, and one in an entry that
    /// is another by now.
    #[test]
    fn pages_are_marked_as_the_processor_marks_them() {
        let words = words();
        let bits = |at| words.entry(at).unwrap() & (ACCESSED | DIRTY);
        assert_eq!(reach(&words, 0x1000, 0x1000, Rights { write: true, ..KERNEL }), Err(3));
        assert_eq!((bits(0x1000), bits(0x4008)), (0, 0));
        assert_eq!(reach(&words, 0x1000, 0x2000, KERNEL), Ok(0xc000));
        assert_eq!((bits(0x1000), bits(0x3000), bits(0x4010)), (ACCESSED, ACCESSED, ACCESSED));
        assert_eq!(reach(&words, 0x1000, 0x2000, Rights { write: true, ..KERNEL }), Ok(0xc000));
        assert_eq!((bits(0x3000), bits(0x4010), bits(0x4018)), (ACCESSED, ACCESSED | DIRTY, 0));

        struct Moving(Words);
        impl Tables for Moving {
            fn entry(&self, pa: u64) -> Option<u64> {
                self.0.entry(pa)
            }
            fn set(&self, pa: u64, _: u64, _: u64) -> bool {
                self.0.0.borrow_mut().insert(pa, 0);
                false
            }
        }
        assert_eq!(reach(&Moving(self::words()), 0x1000, 0, KERNEL), Err(0), "gone by the next walk");
    }

    /// Would catch an element of a string that is moved to the wrong page, or partly.
    #[test]
    fn what_crosses_a_page_is_two_pieces() {
        assert_eq!(pieces(0x1ffe, 2), [(0x1ffe, 2), (0, 0)]);
        assert_eq!(pieces(0x1ffe, 4), [(0x1ffe, 2), (0x2000, 2)]);
        assert_eq!(pieces(0x1fff, 4), [(0x1fff, 1), (0x2000, 3)]);
        assert_eq!(pieces(u64::MAX, 2), [(u64::MAX, 1), (0, 1)]);
        assert_eq!(pieces(0x1000, 4), [(0x1000, 4), (0, 0)]);
    }
}
