//! The guest's own page tables, walked from outside (APM2 5.3 "Long-Mode Page Translation").

use abi::boot::FRAME_BYTES;
use abi::request::memory::{Entry, LEVELS};

const PRESENT: u64 = 1;
/// In an entry: what it leads to can be written,
pub const WRITABLE: u64 = 1 << 1;
/// a program can use it,
pub const USER: u64 = 1 << 2;
/// it was used,
pub const ACCESSED: u64 = 1 << 5;
/// and, in the last one, was written.
pub const DIRTY: u64 = 1 << 6;
/// What all entries say on the way to where a write changes none of them.
pub const WRITTEN: u64 = WRITABLE | ACCESSED | DIRTY;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Translates a linear address by the four-level tables at `cr3`. `read` reads eight bytes of guest-physical memory.
#[must_use]
pub fn translate(cr3: u64, linear: u64, read: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    translate_by(cr3, linear, read)
}

/// The same, for who notes what is read: the entries from the highest table down to the page's.
#[must_use]
pub fn translate_by(cr3: u64, linear: u64, mut read: impl FnMut(u64) -> Option<u64>) -> Option<u64> {
    let mut table = cr3 & ADDRESS;
    for level in (0..4).rev() {
        let shift = 12 + 9 * level;
        let entry = read(table + (linear >> shift & 511) * 8)?;
        if entry & PRESENT == 0 {
            return None;
        }
        if level == 0 || level < 3 && entry & LARGE != 0 {
            let below = (1 << shift) - 1;
            return Some(entry & ADDRESS & !below | linear & below);
        }
        table = entry & ADDRESS;
    }
    None
}

/// All that a walk saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Entries from the highest table down.
    pub entries: [Entry; LEVELS],
    /// How many of them there are.
    pub levels: usize,
    /// The physical address, if it is mapped.
    pub found: Option<u64>,
    /// Bytes of the page, or of the hole that the last entry leaves.
    pub bytes: u64,
}

impl Look {
    /// Whether the guest itself may write there.
    pub fn writable(&self) -> bool {
        self.found.is_some() && self.entries.iter().take(self.levels).all(|entry| entry.value & WRITABLE != 0)
    }
}

/// As [`translate`], for who wants to see the way.
#[must_use]
pub fn look(cr3: u64, linear: u64, read: impl Fn(u64) -> Option<u64>) -> Look {
    let mut look = Look::default();
    let found = translate_by(cr3, linear, |at| {
        let value = read(at)?;
        if let Some(entry) = look.entries.get_mut(look.levels) {
            *entry = Entry { at, value };
            look.levels += 1;
        }
        Some(value)
    });
    Look { found, bytes: 1 << (12 + 9 * (LEVELS - look.levels.clamp(1, LEVELS))), ..look }
}

/// Reads bytes at a linear address, as many as are mapped; how many is the result.
pub fn read_bytes(
    cr3: u64,
    linear: u64,
    to: &mut [u8],
    read: impl Fn(u64) -> Option<u64> + Copy,
    copy: impl Fn(u64, &mut [u8]) -> bool,
) -> usize {
    let mut done = 0;
    while done < to.len() {
        let at = linear.wrapping_add(done as u64);
        let in_page = usize::try_from(FRAME_BYTES - at % FRAME_BYTES).unwrap_or(0);
        let end = to.len().min(done + in_page);
        let Some(pa) = translate(cr3, at, read) else { break };
        if !copy(pa, &mut to[done..end]) {
            break;
        }
        done = end;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(pa: u64) -> Option<u64> {
        match pa {
            0x1000 => Some(0x2000 | 1),
            0x2000 => Some(0x3000 | 1),
            0x3000 => Some(0x4000 | 1),
            0x3008 => Some(0x0020_0000 | LARGE | 1),
            0x4008 => Some(0x9000 | 1 | 1 << 63),
            0x4000..0x5000 => Some(0),
            _ => None,
        }
    }

    /// Would catch a walk that follows an entry that is not present, or forgets large pages or the no-execute bit.
    #[test]
    fn pages_of_both_sizes_are_found_and_holes_are_not() {
        assert_eq!(translate(0x1000, 0x1234, tables), Some(0x9234));
        assert_eq!(translate(0x1000, 0x20_1234, tables), Some(0x20_1234));
        assert_eq!(translate(0x1fff, 0x1234, tables), Some(0x9234));
        assert_eq!(translate(0x1000, 0x5000, tables), None);
        assert_eq!(translate(0x1000, 1 << 39, tables), None);
    }

    /// Would catch an entry that is left out, or a hole or a page of another size than its entry's.
    #[test]
    fn a_look_shows_every_entry_and_how_far_it_reaches() {
        let page = look(0x1000, 0x1234, tables);
        assert_eq!((page.levels, page.found, page.bytes, page.writable()), (4, Some(0x9234), 0x1000, false));
        assert_eq!(page.entries[3], Entry { at: 0x4008, value: 0x9000 | 1 | 1 << 63 });
        let large = look(0x1000, 0x20_1234, tables);
        assert_eq!((large.levels, large.found, large.bytes), (3, Some(0x20_1234), 0x20_0000));
        assert_eq!(
            look(0x1000, 0x5000, tables),
            Look {
                found: None,
                entries: {
                    let mut all = page.entries;
                    all[3] = Entry { at: 0x4028, value: 0 };
                    all
                },
                ..page
            }
        );
        let nowhere = look(0x1000, 1 << 39, tables);
        assert_eq!((nowhere.levels, nowhere.found, nowhere.bytes), (0, None, 1 << 39), "its table is not in RAM");
    }

    /// Would catch a read that stops at a page border that is mapped, or goes on over one that is not.
    #[test]
    fn bytes_are_read_up_to_the_first_hole() {
        let mut to = [0; 32];
        let n = read_bytes(0x1000, 0x1ff8, &mut to, tables, |_, bytes| {
            bytes.fill(7);
            true
        });
        assert_eq!((n, to[7], to[8]), (8, 7, 0));
    }
}
