//! Memory type range registers: what firmware says of physical memory, whether it is cached and how (SDM volume 3, 12.11
//! "Memory Type Range Registers").
//!
//! A processor asks them for itself, but not for the guest's accesses under nested tables of Intel's: there the entry tells.
//! So they are read once, and entries are made by them. Linux writes none of them after it has booted, but for a program that
//! asks it to by /proc/mtrr, as programs did before page tables could tell: that then has the effect that it has on root alone.
//!
//! The fixed ranges count, too: Linux maps the first MiB as cached and leaves it to them to say that a screen is there.
//!
//! **Cost**: a question compares with each range; tables are built once, and divided where monitors are. **Proof**: the tests.

use crate::arch::x86::{cpuid, trap};
use abi::boot::FRAME_BYTES;

/// Neither read ahead nor written late.
pub const UNCACHED: u8 = 0;
const WRITE_THROUGH: u8 = 4;
/// As RAM usually is.
pub const WRITE_BACK: u8 = 6;

/// As many as fit in front of the fixed ones' numbers.
pub const RANGES_MAX: usize = 40;
/// Fixed ranges: 8 of 64 KiB, 16 of 16 KiB, 64 of 4 KiB.
const FIXED: usize = 88;
const MIB: u64 = 1 << 20;

const CAPABILITIES: u32 = 0xfe;
const FIRST_RANGE: u32 = 0x200;
const DEFAULT: u32 = 0x2ff;
/// IA32_MTRR_FIX64K, both of 16K, and the eight of 4K.
const FIXED_REGISTERS: [u32; FIXED / 8] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
const ENABLED: u64 = 1 << 11;
const FIXED_ENABLED: u64 = 1 << 10;
const CAN_FIXED: u64 = 1 << 8;
const VALID: u64 = 1 << 11;

/// A variable range: addresses whose bits in `mask` are those of `base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Its base.
    pub base: u64,
    /// Bits that count.
    pub mask: u64,
    /// Its type.
    pub kind: u8,
}

/// All of them, as they were.
#[derive(Clone, Copy, Debug)]
pub struct Mtrrs {
    /// The type of what lies in no range.
    pub default_type: u8,
    /// They count; else everything is uncached.
    pub enabled: bool,
    /// Variable ranges.
    pub ranges: [Option<Range>; RANGES_MAX],
    /// Types of the first MiB, where they count.
    pub fixed: Option<[u8; FIXED]>,
}

/// Where two ranges overlap: one type, uncached, write-through of it and write-back, or none that is defined (12.11.4.1
/// "MTRR Precedences"): then what harms nobody.
fn both(one: u8, other: u8) -> u8 {
    match (one, other) {
        (one, other) if one == other => one,
        (WRITE_THROUGH, WRITE_BACK) | (WRITE_BACK, WRITE_THROUGH) => WRITE_THROUGH,
        _ => UNCACHED,
    }
}

/// Which of the fixed ranges an address below 1 MiB lies in.
fn fixed_at(pa: u64) -> usize {
    let range = match pa {
        0..0x8_0000 => pa >> 16,
        0x8_0000..0xc_0000 => 8 + ((pa - 0x8_0000) >> 14),
        _ => 24 + ((pa - 0xc_0000) >> 12),
    };
    usize::try_from(range).unwrap_or(0)
}

impl Mtrrs {
    /// All memory is of one type.
    #[must_use]
    pub const fn all(kind: u8) -> Mtrrs {
        Mtrrs { default_type: kind, enabled: true, ranges: [None; RANGES_MAX], fixed: None }
    }

    /// Those of this core; all have the same, or firmware is wrong (12.11.5 "MTRR Initialization"). Without any, as without
    /// root, all memory is as page tables say.
    #[must_use]
    pub fn read() -> Mtrrs {
        if cpuid(1, 0).edx & 1 << 12 == 0 {
            return Mtrrs::all(WRITE_BACK);
        }
        let bits = cpuid(0x8000_0008, 0).eax & 0xff;
        Mtrrs::of(bits, |register| trap::try_read_msr(register).unwrap_or(0))
    }

    /// Those that `read` gives, of a processor with addresses of so many bits.
    fn of(bits: u32, read: impl Fn(u32) -> u64) -> Mtrrs {
        #[expect(clippy::cast_possible_truncation, reason = "a type has 8 bits")]
        let kind = |register: u64| register as u8;
        let (can, default) = (read(CAPABILITIES), read(DEFAULT));
        let address = (1_u64 << bits.clamp(32, 52)) - FRAME_BYTES;
        let mut mtrrs = Mtrrs { enabled: default & ENABLED != 0, ..Mtrrs::all(kind(default)) };
        for (range, at) in mtrrs.ranges.iter_mut().zip(0..u32::from(kind(can))) {
            let (base, mask) = (read(FIRST_RANGE + 2 * at), read(FIRST_RANGE + 2 * at + 1));
            *range = (mask & VALID != 0).then(|| Range { base: base & address, mask: mask & address, kind: kind(base) });
        }
        if can & CAN_FIXED != 0 && default & FIXED_ENABLED != 0 {
            let registers = FIXED_REGISTERS.map(|register| read(register).to_le_bytes());
            let mut fixed = [UNCACHED; FIXED];
            fixed.iter_mut().zip(registers.as_flattened()).for_each(|(to, from)| *to = *from);
            mtrrs.fixed = Some(fixed);
        }
        mtrrs
    }

    /// The type of an aligned block of at least a page and a power of two of bytes; `None` if it has several.
    #[must_use]
    pub fn kind(&self, pa: u64, bytes: u64) -> Option<u8> {
        if !self.enabled {
            return Some(UNCACHED);
        }
        match &self.fixed {
            Some(fixed) if pa < MIB => {
                let end = (pa + bytes).min(MIB);
                let of = fixed.get(fixed_at(pa)..=fixed_at(end - 1))?;
                let first = *of.first()?;
                let is_one = of.iter().all(|kind| *kind == first);
                // What of it lies beyond is asked of the others; below they tell nothing, so that may divide it for nothing.
                let beyond = pa + bytes <= MIB || self.kind_by_ranges(pa, bytes) == Some(first);
                (is_one && beyond).then_some(first)
            }
            _ => self.kind_by_ranges(pa, bytes),
        }
    }

    fn kind_by_ranges(&self, pa: u64, bytes: u64) -> Option<u8> {
        let inside = bytes - 1;
        let near = || self.ranges.iter().flatten().filter(|range| (pa ^ range.base) & range.mask & !inside == 0);
        let whole = near().filter(|range| range.mask & inside == 0).map(|range| range.kind).reduce(both);
        let kind = whole.unwrap_or(self.default_type);
        let mut parts = near().filter(|range| range.mask & inside != 0);
        let is_one = parts.all(|range| match whole {
            Some(kind) => both(kind, range.kind) == kind,
            None => range.kind == kind,
        });
        is_one.then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const BITS: u32 = 40;

    /// A range as the two registers have it.
    fn registers(base: u64, bytes: u64, kind: u8) -> [u64; 2] {
        [base | u64::from(kind), ((1 << BITS) - 1) & !(bytes - 1) | VALID]
    }

    /// With these ranges, all of them valid, and this default; all fixed ranges of one type, but those at 0xa0000.
    fn mtrrs(default: u64, fixed: bool, ranges: &[[u64; 2]]) -> Mtrrs {
        Mtrrs::of(BITS, |register| match register {
            CAPABILITIES => 0xd00 | ranges.len() as u64,
            DEFAULT => default | if fixed { FIXED_ENABLED } else { 0 },
            0x259 => 0,
            0x250..=0x26f => 0x0606_0606_0606_0606,
            _ => ranges[(register - FIRST_RANGE) as usize / 2][(register & 1) as usize],
        })
    }

    /// Would catch device memory that is cached, RAM that is not, and one leaf for both.
    #[test]
    fn a_block_has_a_type_if_all_of_it_has() {
        let firmware = [registers(0, 2 * GIB, 6), registers(4 * GIB, 4 * GIB, 6), registers(0x7fe0_0000, 2 << 20, 0)];
        let mtrrs = mtrrs(ENABLED, false, &firmware);
        assert_eq!(mtrrs.kind(0, GIB), Some(WRITE_BACK));
        assert_eq!(mtrrs.kind(GIB, GIB), None, "the firmware's at its end");
        assert_eq!(mtrrs.kind(0x7fc0_0000, 2 << 20), Some(WRITE_BACK));
        assert_eq!(mtrrs.kind(0x7fe0_0000, 2 << 20), Some(UNCACHED), "uncached wins");
        assert_eq!([2, 3, 8].map(|gib| mtrrs.kind(gib * GIB, GIB)), [Some(UNCACHED); 3]);
        assert_eq!([4, 5, 7].map(|gib| mtrrs.kind(gib * GIB, GIB)), [Some(WRITE_BACK); 3]);
        assert_eq!(mtrrs.kind(0, 512 * GIB), None);
    }

    /// Would catch a hole of the default's that is taken for what is around it, and a part that says what holds anyway.
    #[test]
    fn a_range_inside_a_block_counts_if_it_differs() {
        let hole = mtrrs(ENABLED | 6, false, &[registers(0xc000_0000, GIB, 0), registers(0x4000_0000, 1 << 20, 6)]);
        assert_eq!([0, 1, 2, 3, 4].map(|gib| hole.kind(gib * GIB, GIB)), [6, 6, 6, 0, 6].map(Some));
        let through = mtrrs(ENABLED | 6, false, &[registers(0, GIB, 6), registers(0, 0x1000, 4)]);
        assert_eq!([through.kind(0, 0x1000), through.kind(0x1000, 0x1000), through.kind(0, 2 << 20)], [Some(4), Some(6), None]);
        let undefined = mtrrs(ENABLED, false, &[registers(0, GIB, 6), registers(0, GIB, 1)]);
        assert_eq!(undefined.kind(0, GIB), Some(UNCACHED));
    }

    /// Would catch registers that are switched off and count, one of them or all.
    #[test]
    fn what_is_not_valid_does_not_count() {
        assert_eq!(mtrrs(6, true, &[registers(0, GIB, 6)]).kind(0, GIB), Some(UNCACHED), "all of them");
        let [base, mask] = registers(0, GIB, 0);
        assert_eq!(mtrrs(ENABLED | 6, false, &[[base, mask & !VALID]]).kind(0, GIB), Some(WRITE_BACK));
    }

    /// Would catch a screen in the first MiB that is cached, and RAM beside it that is not.
    #[test]
    fn the_first_mib_is_as_the_fixed_ranges_say() {
        let with = mtrrs(ENABLED, true, &[registers(0, 2 * GIB, 6)]);
        assert_eq!([0, 0x9_f000, 0xa_0000, 0xb_f000, 0xc_0000].map(|pa| with.kind(pa, 0x1000)), [6, 6, 0, 0, 6].map(Some));
        assert_eq!([with.kind(0, 2 << 20), with.kind(0, GIB), with.kind(GIB, GIB)], [None, None, Some(6)]);
        assert_eq!(with.kind(2 << 20, 2 << 20), Some(6));
        let without = mtrrs(ENABLED, false, &[registers(0, 2 * GIB, 6)]);
        assert_eq!(without.kind(0, GIB), Some(6));
        let mut one = with;
        one.fixed = Some([6; FIXED]);
        assert_eq!(one.kind(0, GIB), Some(6));
        one.ranges = [None; RANGES_MAX];
        assert_eq!([one.kind(0, GIB), one.kind(0, MIB)], [None, Some(6)], "beyond it another");
    }
}
