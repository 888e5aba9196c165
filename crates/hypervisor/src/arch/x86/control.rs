//! What control registers take, and what the instructions that write them bring (APM2 3.1 "System-Control Registers").

use super::cpuid;
use super::decode::{self, INSTRUCTION_BYTES_MAX, Instruction, segment};
use crate::arch::{Core, Event};

/// Bits of CR0 that there are.
const CR0_BITS: u64 = 0xe005_003f;
const PE: u64 = 1;
const TS: u64 = 1 << 3;
const ET: u64 = 1 << 4;
const WP: u64 = 1 << 16;
const NW: u64 = 1 << 29;
const CD: u64 = 1 << 30;
const PG: u64 = 1 << 31;
/// What LMSW writes; PE it can only set.
const MACHINE_STATUS: u64 = 0xf;
const PAE: u64 = 1 << 5;
pub(super) const LA57: u64 = 1 << 12;
const PCIDE: u64 = 1 << 17;
const CET: u64 = 1 << 23;

/// The modes that the core is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// As they are.
    pub cr0: u64,
    /// As they are.
    pub cr3: u64,
    /// As they are.
    pub cr4: u64,
    /// EFER.LME: with paging comes long mode.
    pub long: bool,
    /// 64-bit code runs.
    pub wide: bool,
}

impl Modes {
    /// What CR0 holds after `value` was written; `None` if that is #GP.
    #[must_use]
    pub fn cr0(&self, value: u64) -> Option<u64> {
        let is = |bit| value & bit != 0;
        let was = |bit| self.cr0 & bit != 0;
        let wrong = value >> 32 != 0
            || is(PG) && !is(PE)
            || is(NW) && !is(CD)
            || !is(PG) && was(PG) && (self.wide || self.cr4 & PCIDE != 0)
            || is(PG) && !was(PG) && self.long && (self.wide || self.cr4 & PAE == 0)
            || !is(WP) && self.cr4 & CET != 0;
        (!wrong).then_some(value & CR0_BITS | ET)
    }

    /// Whether CR4 takes this, on a processor that has the bits `there`.
    #[must_use]
    pub fn cr4(&self, value: u64, there: u64) -> bool {
        let is = |bit| value & bit != 0;
        let changes = |bit| (value ^ self.cr4) & bit != 0;
        let in_long_mode = self.long && self.cr0 & PG != 0;
        value & !there == 0
            && (is(PAE) || !in_long_mode)
            && !(is(PCIDE) && changes(PCIDE) && (!in_long_mode || self.cr3 & 0xfff != 0))
            && !(changes(LA57) && in_long_mode)
            && !(is(CET) && self.cr0 & WP == 0)
    }
}

/// The bits of CR4 that a processor has; `cpuid` tells eax to edx of a leaf.
#[must_use]
pub fn cr4_bits(cpuid: impl Fn(u32) -> [u32; 4]) -> u64 {
    let [_, _, c1, d1] = cpuid(1);
    let [_, b7, c7, d7] = if cpuid(0)[0] >= 7 { cpuid(7) } else { [0; 4] };
    // By bit of CR4: where CPUID tells of it. TSD and PCE are always there.
    let told = [
        (0, d1, 1),
        (1, d1, 1),
        (3, d1, 2),
        (4, d1, 3),
        (5, d1, 6),
        (6, d1, 7),
        (7, d1, 13),
        (9, d1, 24),
        (10, d1, 25),
        (11, c7, 2),
        (12, c7, 16),
        (13, c1, 5),
        (14, c1, 6),
        (16, b7, 0),
        (17, c1, 17),
        (18, c1, 26),
        (20, b7, 7),
        (21, b7, 20),
        (22, c7, 3),
        (23, c7 | d7 >> 13, 7),
    ];
    told.iter().filter(|(_, word, bit)| word >> bit & 1 != 0).fold(1 << 2 | 1 << 8, |bits, (bit, ..)| bits | 1 << bit)
}

/// What an instruction writes to a control register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This general register.
    Register(u8),
    /// CR0 without TS.
    ClearTask,
    /// The machine status word, from a general register,
    StatusOf(u8),
    /// or from memory there, before the base of FS or GS is added.
    StatusAt {
        /// The linear address.
        address: u64,
        /// Whose base belongs to it.
        segment: Option<u8>,
    },
}

/// What the instruction is, that writes `register`; `None` if it is none that does. `end` is where it ends, by its length.
#[must_use]
pub fn source(form: &Instruction, register: u8, gpr: impl Fn(u8) -> u64, end: impl Fn(usize) -> u64) -> Option<Source> {
    let extended = |bit: u8| (form.rex >> bit & 1) << 3;
    match form.rest {
        [0x0f, 0x22, modrm, ..] if modrm >> 3 & 7 == register => Some(Source::Register(modrm & 7 | extended(0))),
        [0x0f, 0x06, ..] if register == 0 => Some(Source::ClearTask),
        [0x0f, 0x01, modrm, ..] if register == 0 && modrm >> 3 & 7 == 6 => {
            if modrm >> 6 == 3 {
                return Some(Source::StatusOf(modrm & 7 | extended(0)));
            }
            let operand = form.rest.get(2..)?;
            let end = end(2 + decode::operand_bytes(operand)?);
            let address = decode::address(operand, form.rex, gpr, end)?;
            let address = if form.address_override { address & 0xffff_ffff } else { address };
            let segment = form.segment.filter(|segment| matches!(*segment, segment::FS | segment::GS));
            Some(Source::StatusAt { address, segment })
        }
        _ => None,
    }
}

/// What the instruction that exited writes to a control register; `cr0` is the guest's, `read` reads its memory.
///
/// # Errors
/// What happens to the guest instead.
pub fn wanted<C: Core>(cpu: &C, register: u8, cr0: u64, read: impl Fn(u64, &mut [u8]) -> usize) -> Result<u64, Event> {
    let mut bytes = [0; INSTRUCTION_BYTES_MAX];
    let n = cpu.code(&mut bytes);
    let wide = cpu.code_bits() == 64;
    let form = decode::split(bytes.get(..n).unwrap_or_default(), wide);
    let ahead = n - form.rest.len();
    let end = |length: usize| cpu.rip().wrapping_add((ahead + length) as u64);
    match source(&form, register, |number| cpu.gpr(number.into()), end).ok_or(Event::UndefinedInstruction)? {
        Source::Register(number) if wide => Ok(cpu.gpr(number.into())),
        Source::Register(number) => Ok(cpu.gpr(number.into()) & 0xffff_ffff),
        Source::ClearTask => Ok(without_task(cr0)),
        Source::StatusOf(number) => Ok(with_status(cr0, cpu.gpr(number.into()))),
        // Nobody but 64-bit code has addresses as they were taken apart.
        Source::StatusAt { .. } if !wide => Err(Event::UndefinedInstruction),
        Source::StatusAt { address, segment } => {
            let address = address.wrapping_add(segment.map_or(0, |number| cpu.segment(number).base));
            let mut status = [0; 2];
            let read = read(address, &mut status);
            let missing = Event::PageFault { address: address.wrapping_add(read as u64), error: 0 };
            if read == status.len() { Ok(with_status(cr0, u16::from_le_bytes(status).into())) } else { Err(missing) }
        }
    }
}

/// The bits of CR4 that this processor has.
#[must_use]
pub fn cr4_bits_here() -> u64 {
    cr4_bits(|leaf| {
        let r = cpuid(leaf, 0);
        [r.eax, r.ebx, r.ecx, r.edx]
    })
}

/// CR0 with another machine status word.
#[must_use]
pub fn with_status(cr0: u64, status: u64) -> u64 {
    cr0 & !(MACHINE_STATUS & !PE) | status & MACHINE_STATUS
}

/// CR0 as CLTS leaves it.
#[must_use]
pub fn without_task(cr0: u64) -> u64 {
    cr0 & !TS
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: Modes = Modes { cr0: 0x8005_0033, cr3: 0x1234_5000, cr4: 0x3506f0, long: true, wide: true };
    const THERE: u64 = 0x37_06ff;

    /// Would catch a value that the processor refuses and root lets through to it, which would be the end of root, and one
    /// that Linux may write and is told it may not.
    #[test]
    fn what_the_processor_refuses_is_refused() {
        assert_eq!(LINUX.cr0(0x8005_0033), Some(0x8005_0033));
        assert_eq!(LINUX.cr0(0x8004_003b), Some(0x8004_003b));
        assert_eq!(LINUX.cr0(0x8005_0023 | 1 << 8), Some(0x8005_0033), "ET stays, what is not there does not");
        for wrong in [0x1_8005_0033, 0x8005_0032, 0xa005_0033, 0x0005_0033] {
            assert_eq!(LINUX.cr0(wrong), None, "{wrong:x}");
        }
        let compatible = Modes { wide: false, ..LINUX };
        assert_eq!(compatible.cr0(0x0005_0033), Some(0x0005_0033));
        assert_eq!(Modes { cr4: LINUX.cr4 | PCIDE, ..compatible }.cr0(0x0005_0033), None);
        assert_eq!(Modes { cr0: 0x33, cr4: 0, ..compatible }.cr0(0x8000_0033), None, "long mode wants PAE");
        assert_eq!(Modes { cr4: LINUX.cr4 | CET, ..LINUX }.cr0(0x8004_0033), None);

        assert!(LINUX.cr4(LINUX.cr4 ^ 4, THERE) && LINUX.cr4(LINUX.cr4 ^ 0x80, THERE) && LINUX.cr4(LINUX.cr4 | PCIDE, THERE));
        for wrong in [1 << 32, 1 << 15, LA57, 1 << 13] {
            assert!(!LINUX.cr4(LINUX.cr4 | wrong, THERE), "{wrong:x}");
        }
        assert!(!LINUX.cr4(LINUX.cr4 & !PAE, THERE) && !LINUX.cr4(LINUX.cr4 ^ LA57, THERE | LA57));
        assert!(!Modes { cr3: 0x1001, ..LINUX }.cr4(LINUX.cr4 | PCIDE, THERE));
        assert!(!Modes { cr0: 0x8004_0033, ..LINUX }.cr4(LINUX.cr4 | CET, THERE | CET));
    }

    /// Would catch a bit of CR4 that is asked for in the wrong place of CPUID.
    #[test]
    fn bits_are_there_if_cpuid_says_so() {
        let none = |leaf| if leaf == 0 { [7, 0, 0, 0] } else { [0; 4] };
        assert_eq!(cr4_bits(none), 0x104);
        let old = |leaf| if leaf == 0 { [1, 0, 0, 0] } else { [u32::MAX; 4] };
        assert_eq!(cr4_bits(old), 0x6_67ff);
        assert_eq!(cr4_bits(|_| [u32::MAX; 4]), 0xf7_7fff);
        let one = |leaf| if leaf == 7 { [0, 1 << 20, 1 << 3, 0] } else { none(leaf) };
        assert_eq!(cr4_bits(one), 0x60_0104);
    }

    /// Would catch an operand that is another register's, or another place's.
    #[test]
    fn the_operand_is_found_in_every_form() {
        let of = |bytes: &[u8], register| {
            let form = decode::split(bytes, true);
            let ahead = bytes.len() - form.rest.len();
            source(&form, register, |number| 0x1000 * u64::from(number), |length| 0x40_0000 + (ahead + length) as u64)
        };
        assert_eq!(of(&[0x0f, 0x22, 0xe7], 4), Some(Source::Register(7)));
        assert_eq!(of(&[0x41, 0x0f, 0x22, 0xc1], 0), Some(Source::Register(9)));
        assert_eq!(of(&[0x0f, 0x22, 0xe7], 0), None, "another register");
        assert_eq!(of(&[0x0f, 0x06], 0), Some(Source::ClearTask));
        assert_eq!(of(&[0x41, 0x0f, 0x01, 0xf3], 0), Some(Source::StatusOf(11)));
        let at = |address| Some(Source::StatusAt { address, segment: None });
        assert_eq!(of(&[0x0f, 0x01, 0x33], 0), at(0x3000));
        assert_eq!(of(&[0x0f, 0x01, 0x73, 0xf8], 0), at(0x2ff8));
        assert_eq!(of(&[0x43, 0x0f, 0x01, 0x74, 0x88, 0x10], 0), at(0x8000 + 4 * 0x9000 + 0x10));
        assert_eq!(of(&[0x0f, 0x01, 0x34, 0x25, 0, 0, 0, 0x80], 0), at(0xffff_ffff_8000_0000));
        assert_eq!(of(&[0x0f, 0x01, 0x35, 0x10, 0, 0, 0], 0), at(0x40_0017));
        let gs = Some(Source::StatusAt { address: 0x8000_0000, segment: Some(segment::GS) });
        assert_eq!(of(&[0x65, 0x67, 0x0f, 0x01, 0x34, 0x25, 0, 0, 0, 0x80], 0), gs);
        assert_eq!(of(&[0x90], 0), None);
        assert_eq!((with_status(0x8005_003b, 0), with_status(0x30, 0xffff)), (0x8005_0031, 0x3f));
        assert_eq!(without_task(0x8005_003b), 0x8005_0033);
    }
}
