//! What the processor keeps of a segment's descriptor, read from the table that the selector names.
#![expect(unsafe_code, reason = "reads selectors")]

use super::direct;
use super::tables::Table;
use crate::walk;
use core::arch::asm;

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Selector.
    pub selector: u16,
    /// Bits 40 to 47 and 52 to 55 of the descriptor, packed; 0: unusable.
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Linear base.
    pub base: u64,
}

/// CS, SS, DS, ES, FS, GS, LDTR and TR as they are now.
#[must_use]
pub fn selectors() -> [u16; 8] {
    let mut all = [0_u16; 8];
    let [cs, ss, ds, es, fs, gs, ldtr, tr] = &mut all;
    // SAFETY: reads eight registers.
    unsafe {
        asm!(
            "mov {0:x}, cs",
            "mov {1:x}, ss",
            "mov {2:x}, ds",
            "mov {3:x}, es",
            out(reg) * cs,
            out(reg) * ss,
            out(reg) * ds,
            out(reg) * es,
            options(nomem, nostack, preserves_flags)
        );
        asm!(
            "mov {0:x}, fs",
            "mov {1:x}, gs",
            "sldt {2:x}",
            "str {3:x}",
            out(reg) * fs,
            out(reg) * gs,
            out(reg) * ldtr,
            out(reg) * tr,
            options(nomem, nostack, preserves_flags)
        );
    }
    all
}

/// A segment with the hidden part that its descriptor in this table says; of a system segment with all of its base. The null selector
/// is unusable. `cr3` are the tables that map the table.
#[must_use]
pub fn read(cr3: u64, gdt: Table, selector: u16) -> Descriptor {
    let offset = u64::from(selector & !7);
    if offset == 0 {
        return Descriptor { selector, ..Descriptor::default() };
    }
    let word = |offset: u64| {
        let mut bytes = [0; 8];
        let in_table = selector & 4 == 0 && offset + 7 <= u64::from(gdt.limit);
        let read = in_table && walk::read_bytes(cr3, gdt.base + offset, &mut bytes, direct::read, direct::copy_out) == 8;
        read.then(|| u64::from_le_bytes(bytes))
    };
    // A selector of a local table is a 32-bit program's; flat data of ring 3 is what its hidden part almost always says,
    // and 64-bit code never looks at it.
    let descriptor = word(offset).unwrap_or(0x00cf_f300_0000_ffff);
    let granular = descriptor & 1 << 55 != 0;
    let is_system = descriptor & 1 << 44 == 0;
    #[expect(clippy::cast_possible_truncation, reason = "fields of a descriptor")]
    let (attributes, limit) = (
        ((descriptor >> 40 & 0xff) | (descriptor >> 44 & 0xf00)) as u16,
        ((descriptor & 0xffff) | (descriptor >> 32 & 0xf_0000)) as u32,
    );
    let high = if is_system { word(offset + 8).unwrap_or(0) << 32 } else { 0 };
    Descriptor {
        selector,
        attributes,
        limit: if granular { limit << 12 | 0xfff } else { limit },
        base: descriptor >> 16 & 0xff_ffff | (descriptor >> 56) << 24 | high,
    }
}
