//! Names of the guest's registers.

use script_vm::Special;

/// Where a name reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) whole: Whole,
    /// Start and width of its bits; the whole register without.
    pub(crate) bits: Option<(u8, u8)>,
    /// It needs its `@`: too many variables are called like a flag.
    pub(crate) flag: bool,
}

/// A register as the machine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Gpr(u8),
    Special(Special),
}

const fn gpr(number: u8) -> Register {
    Register { whole: Whole::Gpr(number), bits: None, flag: false }
}

const fn part(number: u8, start: u8, width: u8) -> Register {
    Register { whole: Whole::Gpr(number), bits: Some((start, width)), flag: false }
}

const fn special(which: Special) -> Register {
    Register { whole: Whole::Special(which), bits: None, flag: false }
}

const fn flag(start: u8, width: u8) -> Register {
    Register { whole: Whole::Special(Special::Rflags), bits: Some((start, width)), flag: true }
}

const fn low(which: Special, width: u8) -> Register {
    Register { whole: Whole::Special(which), bits: Some((0, width)), flag: width == 16 }
}

/// In the order of their bytes.
const NAMES: [(&str, Register); 128] = [
    ("ac", flag(18, 1)),
    ("af", flag(4, 1)),
    ("ah", part(0, 8, 8)),
    ("al", part(0, 0, 8)),
    ("ax", part(0, 0, 16)),
    ("bh", part(3, 8, 8)),
    ("bl", part(3, 0, 8)),
    ("bp", part(5, 0, 16)),
    ("bpl", part(5, 0, 8)),
    ("bx", part(3, 0, 16)),
    ("cf", flag(0, 1)),
    ("ch", part(1, 8, 8)),
    ("cl", part(1, 0, 8)),
    ("cr0", special(Special::Cr0)),
    ("cr2", special(Special::Cr2)),
    ("cr3", special(Special::Cr3)),
    ("cr4", special(Special::Cr4)),
    ("cr8", special(Special::Cr8)),
    ("cs", special(Special::Cs)),
    ("cx", part(1, 0, 16)),
    ("df", flag(10, 1)),
    ("dh", part(2, 8, 8)),
    ("di", part(7, 0, 16)),
    ("dil", part(7, 0, 8)),
    ("dl", part(2, 0, 8)),
    ("dr0", special(Special::Dr0)),
    ("dr1", special(Special::Dr1)),
    ("dr2", special(Special::Dr2)),
    ("dr3", special(Special::Dr3)),
    ("dr6", special(Special::Dr6)),
    ("dr7", special(Special::Dr7)),
    ("ds", special(Special::Ds)),
    ("dx", part(2, 0, 16)),
    ("eax", part(0, 0, 32)),
    ("ebp", part(5, 0, 32)),
    ("ebx", part(3, 0, 32)),
    ("ecx", part(1, 0, 32)),
    ("edi", part(7, 0, 32)),
    ("edx", part(2, 0, 32)),
    ("eflags", low(Special::Rflags, 32)),
    ("eip", low(Special::Rip, 32)),
    ("es", special(Special::Es)),
    ("esi", part(6, 0, 32)),
    ("esp", part(4, 0, 32)),
    ("flags", low(Special::Rflags, 16)),
    ("fs", special(Special::Fs)),
    ("gdtr", special(Special::Gdtr)),
    ("gs", special(Special::Gs)),
    ("id", flag(21, 1)),
    ("idtr", special(Special::Idtr)),
    ("if", flag(9, 1)),
    ("iopl", flag(12, 2)),
    ("ip", low(Special::Rip, 16)),
    ("ldtr", special(Special::Ldtr)),
    ("nt", flag(14, 1)),
    ("of", flag(11, 1)),
    ("pf", flag(2, 1)),
    ("r10", gpr(10)),
    ("r10b", part(10, 0, 8)),
    ("r10d", part(10, 0, 32)),
    ("r10h", part(10, 8, 8)),
    ("r10l", part(10, 0, 8)),
    ("r10w", part(10, 0, 16)),
    ("r11", gpr(11)),
    ("r11b", part(11, 0, 8)),
    ("r11d", part(11, 0, 32)),
    ("r11h", part(11, 8, 8)),
    ("r11l", part(11, 0, 8)),
    ("r11w", part(11, 0, 16)),
    ("r12", gpr(12)),
    ("r12b", part(12, 0, 8)),
    ("r12d", part(12, 0, 32)),
    ("r12h", part(12, 8, 8)),
    ("r12l", part(12, 0, 8)),
    ("r12w", part(12, 0, 16)),
    ("r13", gpr(13)),
    ("r13b", part(13, 0, 8)),
    ("r13d", part(13, 0, 32)),
    ("r13h", part(13, 8, 8)),
    ("r13l", part(13, 0, 8)),
    ("r13w", part(13, 0, 16)),
    ("r14", gpr(14)),
    ("r14b", part(14, 0, 8)),
    ("r14d", part(14, 0, 32)),
    ("r14h", part(14, 8, 8)),
    ("r14l", part(14, 0, 8)),
    ("r14w", part(14, 0, 16)),
    ("r15", gpr(15)),
    ("r15b", part(15, 0, 8)),
    ("r15d", part(15, 0, 32)),
    ("r15h", part(15, 8, 8)),
    ("r15l", part(15, 0, 8)),
    ("r15w", part(15, 0, 16)),
    ("r8", gpr(8)),
    ("r8b", part(8, 0, 8)),
    ("r8d", part(8, 0, 32)),
    ("r8h", part(8, 8, 8)),
    ("r8l", part(8, 0, 8)),
    ("r8w", part(8, 0, 16)),
    ("r9", gpr(9)),
    ("r9b", part(9, 0, 8)),
    ("r9d", part(9, 0, 32)),
    ("r9h", part(9, 8, 8)),
    ("r9l", part(9, 0, 8)),
    ("r9w", part(9, 0, 16)),
    ("rax", gpr(0)),
    ("rbp", gpr(5)),
    ("rbx", gpr(3)),
    ("rcx", gpr(1)),
    ("rdi", gpr(7)),
    ("rdx", gpr(2)),
    ("rf", flag(16, 1)),
    ("rflags", special(Special::Rflags)),
    ("rip", special(Special::Rip)),
    ("rsi", gpr(6)),
    ("rsp", gpr(4)),
    ("sf", flag(7, 1)),
    ("si", part(6, 0, 16)),
    ("sil", part(6, 0, 8)),
    ("sp", part(4, 0, 16)),
    ("spl", part(4, 0, 8)),
    ("ss", special(Special::Ss)),
    ("tf", flag(8, 1)),
    ("tr", special(Special::Tr)),
    ("vif", flag(19, 1)),
    ("vip", flag(20, 1)),
    ("vm", flag(17, 1)),
    ("zf", flag(6, 1)),
];

/// The register of a name.
pub(crate) fn find(name: &str) -> Option<Register> {
    NAMES.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|at| NAMES[at].1)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    /// Would catch a register that the search misses because a name stands in the wrong place.
    #[test]
    fn every_name_is_found() {
        assert!(super::NAMES.is_sorted_by(|(a, _), (b, _)| a < b));
        for name in super::names() {
            assert!(super::find(name).is_some(), "{name}");
        }
    }
}
