//! The guest's own page tables, walked from outside (APM2 5.3 "Long-Mode Page Translation").

use abi::boot::FRAME_BYTES;

const PRESENT: u64 = 1;
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
