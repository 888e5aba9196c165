//! Registers by name, whole and in part, out of what root sends.

use abi::request::Registers;

/// Names of the 16 registers in the order of the instruction encoding, which is that of [`Registers::gprs`].
pub const GPRS: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
/// Names of [`Registers::selectors`].
pub const SELECTORS: [&str; 6] = ["cs", "ss", "ds", "es", "fs", "gs"];
/// Names of [`Registers::bases`].
pub const BASES: [&str; 3] = ["fs_base", "gs_base", "kernel_gs_base"];
/// Names of [`Registers::crs`].
pub const CRS: [&str; 4] = ["cr0", "cr2", "cr3", "cr4"];
/// Names of [`Registers::drs`].
pub const DRS: [&str; 2] = ["dr6", "dr7"];

/// The value of a register; `eax`, `ax`, `al`, `ah`, `r8d`, `r8w` and `r8b` are parts. Any case.
#[must_use]
pub fn read(all: &Registers, name: &str) -> Option<u64> {
    let name = name.to_ascii_lowercase();
    let at = |names: &[&str], values: &[u64]| names.iter().position(|n| *n == name).and_then(|i| values.get(i).copied());
    match name.as_str() {
        "rip" => return Some(all.rip),
        "eip" => return Some(all.rip & 0xffff_ffff),
        "rflags" => return Some(all.rflags),
        "eflags" => return Some(all.rflags & 0xffff_ffff),
        "efer" => return Some(all.efer),
        _ => {}
    }
    at(&GPRS, &all.gprs)
        .or_else(|| at(&SELECTORS, &all.selectors))
        .or_else(|| at(&BASES, &all.bases))
        .or_else(|| at(&CRS, &all.crs))
        .or_else(|| at(&DRS, &all.drs))
        .or_else(|| part(all, &name))
}

/// Whether there is a register of this name.
#[must_use]
pub fn is_register(name: &str) -> bool {
    read(&Registers::default(), name).is_some()
}

/// Bits of a register that can be set; `None` for one that can only be read, or is none.
#[must_use]
pub fn settable_bits(name: &str) -> Option<usize> {
    let all = Registers { gprs: [u64::MAX; 16], rip: u64::MAX, rflags: u64::MAX, ..Registers::default() };
    let value = read(&all, name).filter(|_| !name.eq_ignore_ascii_case("eip") && !name.eq_ignore_ascii_case("eflags"))?;
    usize::try_from(value.count_ones()).ok().filter(|bits| *bits > 0)
}

/// A part of one of the 16.
fn part(all: &Registers, name: &str) -> Option<u64> {
    let (index, shift, mask) = GPRS.iter().enumerate().find_map(|(index, whole)| {
        let parts: [(String, u32, u64); 4] = if index < 8 {
            let short = &whole[1..];
            let low = if short.ends_with('x') { short.replace('x', "l") } else { format!("{short}l") };
            let high = if short.ends_with('x') { short.replace('x', "h") } else { String::new() };
            [(format!("e{short}"), 0, 0xffff_ffff), (short.to_owned(), 0, 0xffff), (low, 0, 0xff), (high, 8, 0xff)]
        } else {
            let with = |suffix: &str| format!("{whole}{suffix}");
            [(with("d"), 0, 0xffff_ffff), (with("w"), 0, 0xffff), (with("b"), 0, 0xff), (with("l"), 0, 0xff)]
        };
        parts.into_iter().find(|(part, ..)| !part.is_empty() && part == name).map(|(_, shift, mask)| (index, shift, mask))
    })?;
    Some((all.gprs.get(index)? >> shift) & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a register that cannot be set and is said to be, or of another width.
    #[test]
    fn only_general_registers_their_parts_rip_and_rflags_can_be_set() {
        for (name, bits) in [("RAX", 64), ("r15", 64), ("eax", 32), ("r8w", 16), ("ah", 8), ("rip", 64), ("rflags", 64)] {
            assert_eq!(settable_bits(name), Some(bits), "{name}");
        }
        for name in ["cs", "cr3", "dr7", "fs_base", "efer", "eip", "eflags", "raxx", ""] {
            assert_eq!(settable_bits(name), None, "{name}");
        }
    }

    /// Would catch a part taken from the wrong register: rsp is `sp`, not `spl`, and `ah` is the second byte.
    #[test]
    fn parts_are_cut_from_their_own_register() {
        let mut all = Registers::default();
        all.gprs[0] = 0x1122_3344_5566_7788;
        all.gprs[3] = 0xb;
        all.gprs[4] = 0xffff_8000_0000_1234;
        all.gprs[8] = 0x8_0000_0001;
        for (name, value) in [
            ("RAX", 0x1122_3344_5566_7788),
            ("eax", 0x5566_7788),
            ("ax", 0x7788),
            ("al", 0x88),
            ("ah", 0x77),
            ("bl", 0xb),
            ("sp", 0x1234),
            ("spl", 0x34),
            ("r8d", 1),
            ("cr3", 0),
        ] {
            assert_eq!(read(&all, name), Some(value), "{name}");
        }
        for name in ["", "x", "l", "h", "raxx", "sph", "cr1", "e"] {
            assert_eq!(read(&all, name), None, "{name}");
        }
    }
}
