//! SYSCALL and SYSRET in software, as APM3 has them (24594, revision 3.36), for a processor whose EFER.SCE is off.
//!
//! **Holds always**
//! - K1: only bytes that the processor would take for one of the two are taken for it; all others stay undefined.
//! - K2: what comes out is all that the instruction changes; memory is not touched, so it is done as a whole or not at all.
//!
//! A single step over either ends behind it: TF counts as it is then, not as it was before.
//!
//! **Callers**: a vendor's floor, in root. **Proof**: the tests below; `tests/e2e/events_syscall.rs`.

use super::flag::TF;
use crate::arch::Exit;

/// RFLAGS.RF.
const RF: u64 = 1 << 16;
/// RFLAGS bit 1, always set.
const ALWAYS: u64 = 2;
/// What SYSRET takes of R11: all flags but RF and VM.
const RETURNED: u64 = 0x3c_7fd5;

/// One of the two instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// SYSRET.
    pub returns: bool,
    /// REX.W: SYSRET goes back to 64-bit code.
    pub wide: bool,
    /// Its bytes, prefixes included.
    pub length: u64,
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// One of the two.
    Is(Instruction),
    /// Another, or none.
    Other,
    /// Too few bytes to tell.
    Short,
}

impl Decoded {
    /// What an instruction is that is undefined because EFER.SCE is off; `other` is what it is else.
    #[must_use]
    pub fn exit(self, other: Exit) -> Exit {
        match self {
            Decoded::Is(found) if found.returns => Exit::SystemReturn { wide: found.wide },
            Decoded::Is(found) => Exit::SystemCall { length: u8::try_from(found.length).unwrap_or(2) },
            Decoded::Other => other,
            // It was fetched a moment ago, so another core has taken the page away meanwhile.
            Decoded::Short => Exit::Unread,
        }
    }
}

/// Bytes that an instruction can have at most.
const BYTES_MAX: usize = 15;

/// The instruction at the front of `bytes`; `long` says that it is 64-bit code, where 40 to 4f are prefixes.
#[must_use]
pub fn decode(bytes: &[u8], long: bool) -> Decoded {
    let mut wide = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            0x40..=0x4f if long => wide = byte & 8 != 0,
            // One that is not the last before the opcode counts for nothing. LOCK makes both undefined.
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf2 | 0xf3 => wide = false,
            0x0f => {
                let returns = match bytes.get(at + 1) {
                    Some(0x05) => false,
                    Some(0x07) => true,
                    Some(_) => return Decoded::Other,
                    None => break,
                };
                return Decoded::Is(Instruction { returns, wide, length: at as u64 + 2 });
            }
            _ => return Decoded::Other,
        }
    }
    if bytes.len() < BYTES_MAX { Decoded::Short } else { Decoded::Other }
}

/// The registers that say where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Selectors: bits 32 to 47 for SYSCALL, 48 to 63 for SYSRET.
    pub star: u64,
    /// For 64-bit code,
    pub lstar: u64,
    /// for 32-bit code.
    pub cstar: u64,
    /// Flags that SYSCALL clears.
    pub sfmask: u64,
}

/// What SYSCALL changes, besides CPL, which is 0 then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Where it goes on.
    pub rip: u64,
    /// Where it shall come back to.
    pub rcx: u64,
    /// The flags it came with.
    pub r11: u64,
    /// The flags it goes on with.
    pub rflags: u64,
    /// Selector of flat 64-bit code of ring 0,
    pub cs: u16,
    /// of flat data of ring 0.
    pub ss: u16,
    /// A single step ends here.
    pub step: bool,
}

/// SYSCALL in long mode, from code that is 64-bit code or not. `next` is the address behind it.
#[must_use]
pub fn call(targets: &Targets, long: bool, next: u64, rflags: u64) -> Called {
    let flags = rflags & !(targets.sfmask & 0xffff_ffff) & !RF | ALWAYS;
    let cs = selector(targets.star >> 32) & 0xfffc;
    Called {
        rip: if long { targets.lstar } else { targets.cstar },
        rcx: if long { next } else { next & 0xffff_ffff },
        r11: rflags & !RF,
        rflags: flags,
        cs,
        ss: cs.wrapping_add(8),
        step: flags & TF != 0,
    }
}

/// What SYSRET changes, besides CPL, which is 3 then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Where it goes on. AMD's SYSRET takes any address: one that is not canonical faults when it is fetched from, in ring 3.
    pub rip: u64,
    /// The flags it goes on with.
    pub rflags: u64,
    /// Selector of flat code of ring 3, of 64 bits if it is wide,
    pub cs: u16,
    /// of flat data of ring 3.
    pub ss: u16,
    /// A single step ends here.
    pub step: bool,
}

/// SYSRET in long mode, by ring 0.
#[must_use]
pub fn ret(targets: &Targets, wide: bool, rcx: u64, r11: u64) -> Returned {
    let base = selector(targets.star >> 48);
    Returned {
        rip: if wide { rcx } else { rcx & 0xffff_ffff },
        rflags: r11 & RETURNED | ALWAYS,
        cs: base.wrapping_add(if wide { 16 } else { 0 }) | 3,
        ss: base.wrapping_add(8) | 3,
        step: r11 & TF != 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sixteen bits of STAR")]
const fn selector(star: u64) -> u16 {
    star as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux' own: kernel code 0x10; 32-bit user code 0x23.
    const LINUX: Targets =
        Targets { star: 0x0023_0010_0000_0000, lstar: 0xffff_ffff_8100_0000, cstar: 0xffff_ffff_8100_1000, sfmask: 0x25_7fd5 };

    /// Would catch a length that leaves the guest inside an instruction, a byte of 32-bit code that is taken for a prefix,
    /// and an undefined instruction that is carried out.
    #[test]
    fn both_are_known_by_their_bytes_and_nothing_else_is() {
        let is = |returns, wide, length| Decoded::Is(Instruction { returns, wide, length });
        assert_eq!(decode(&[0x0f, 0x05], true), is(false, false, 2));
        assert_eq!(decode(&[0x48, 0x0f, 0x05], true), is(false, true, 3));
        assert_eq!(decode(&[0x48, 0x0f, 0x07, 0xcc], true), is(true, true, 3));
        assert_eq!(decode(&[0x0f, 0x07], true), is(true, false, 2));
        assert_eq!(
            decode(&[0x48, 0x66, 0x0f, 0x07], true),
            is(true, false, 4),
            "a REX that is not the last counts for nothing"
        );
        assert_eq!(decode(&[0x66, 0x4f, 0x0f, 0x07], true), is(true, true, 4));
        assert_eq!(decode(&[0x48, 0x0f, 0x05], false), Decoded::Other, "in 32-bit code 48 is an instruction");
        for other in [&[0x0f, 0x0b][..], &[0xf0, 0x0f, 0x05], &[0x0f, 0x34], &[0x66; 15], &[0x90, 0x0f, 0x05]] {
            assert_eq!(decode(other, true), Decoded::Other, "{other:x?}");
        }
        // The rest lies on a page that is gone.
        for short in [&[][..], &[0x0f], &[0x48], &[0x66; 14]] {
            assert_eq!(decode(short, true), Decoded::Short, "{short:x?}");
        }
    }

    /// Would catch a kernel that is entered elsewhere, with flags that it wanted cleared, or that cannot find its way back.
    #[test]
    fn a_call_goes_where_the_kernel_said_and_remembers_where_it_came_from() {
        let called = call(&LINUX, true, 0x40_1002, 0x1_0246);
        let expected = Called { rip: LINUX.lstar, rcx: 0x40_1002, r11: 0x246, rflags: 2, cs: 0x10, ss: 0x18, step: false };
        assert_eq!(called, expected);
        let narrow = call(&LINUX, false, 0x1_0000_0002, 0x20_0202);
        assert_eq!((narrow.rip, narrow.rcx, narrow.rflags), (LINUX.cstar, 2, 2));
        assert_eq!(narrow.r11, 0x20_0202);
        // STAR's selector may have any ring; the mask's upper half does not exist; bit 1 of the flags cannot be cleared.
        let odd = Targets { star: 0x0013_0000_0000, sfmask: u64::MAX, ..LINUX };
        let called = call(&odd, true, 0, u64::MAX);
        assert_eq!((called.cs, called.ss, called.rflags), (0x10, 0x18, 0xffff_ffff_0000_0002));
    }

    /// Would catch a step over a system call that ends in the kernel, or never.
    #[test]
    fn a_step_ends_where_the_flags_then_say_so() {
        assert!(!call(&LINUX, true, 0, TF | 2).step, "Linux masks it");
        assert_eq!(call(&LINUX, true, 0, TF | 2).r11, TF | 2);
        assert!(call(&Targets { sfmask: 0, ..LINUX }, true, 0, TF | 2).step);
        assert!(ret(&LINUX, true, 0, TF).step && !ret(&LINUX, true, 0, 0x202).step);
    }

    /// Would catch a program that comes back in another mode, at another place, or with flags that it cannot have.
    #[test]
    fn a_return_goes_back_in_the_width_it_asks_for() {
        let wide = ret(&LINUX, true, 0x7fff_1234_5678, 0x246);
        let expected = Returned { rip: 0x7fff_1234_5678, rflags: 0x246, cs: 0x33, ss: 0x2b, step: false };
        assert_eq!(wide, expected);
        let narrow = ret(&LINUX, false, 0x7fff_1234_5678, 0x246);
        assert_eq!((narrow.rip, narrow.cs, narrow.ss), (0x1234_5678, 0x23, 0x2b));
        assert_eq!(ret(&LINUX, true, 0, u64::MAX).rflags, 0x3c_7fd7, "neither RF nor VM, nor what is reserved");
        assert_eq!(ret(&LINUX, true, 1 << 63, 0).rip, 1 << 63);
    }
}
