//! Instructions that functions begin with, done by root: ENDBR64, NOP, PUSH, MOV and XOR between registers, SUB of the stack pointer.
//!
//! **Holds always**: what is done is what the processor would have done; what is not sure to be so is not done.
//!
//! **Callers**: `hooked`, on the core whose guest it is. **Cost**: tens of instructions; a PUSH walks the page tables.
//! **Proof**: the tests below; `tests/e2e/epthook.rs`.

use crate::arch::Core;
use crate::arch::x86::decode;
use crate::arch::x86::flag::{ARITHMETIC, PF, TF, ZF};
use crate::moves::{self, Arithmetic};
use crate::{monitors, walk};
use abi::boot::FRAME_BYTES;

const RSP: usize = 4;
/// There is none of this number.
pub const NO_FRAME: u64 = u64::MAX;
/// What an instruction does; registers by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    Push(usize),
    Move {
        to: usize,
        from: usize,
        wide: bool,
    },
    /// A register becomes zero.
    Clear(usize),
    /// The stack pointer goes down.
    Room(u64),
}

/// What the bytes of 64-bit code begin with, and its length.
fn decode(bytes: &[u8]) -> Option<(Does, u64)> {
    if bytes.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]) {
        return Some((Does::Nothing, 4));
    }
    let (rex, rest, ahead) = match bytes {
        [0x66, 0x90, ..] => return Some((Does::Nothing, 2)),
        [0x66, 0x0f, 0x1f, operand @ ..] => return Some((Does::Nothing, 3 + decode::operand_bytes(operand)? as u64)),
        [rex @ 0x40..=0x4f, rest @ ..] => (*rex, rest, 1),
        rest => (0, rest, 0),
    };
    let wide = rex & 8 != 0;
    let registers = |modrm: u8| {
        let number = |low: u8, extends: bool| usize::from(low & 7) + if extends { 8 } else { 0 };
        (modrm >> 6 == 3).then_some((number(modrm >> 3, rex & 4 != 0), number(modrm, rex & 1 != 0)))
    };
    let (does, bytes) = match *rest {
        [0x90, ..] if rex & 1 == 0 => (Does::Nothing, 1),
        [0x0f, 0x1f, ref operand @ ..] => (Does::Nothing, 2 + decode::operand_bytes(operand)? as u64),
        [push @ 0x50..=0x57, ..] => (Does::Push(usize::from(push & 7) + if rex & 1 != 0 { 8 } else { 0 }), 1),
        [opcode @ (0x89 | 0x8b), modrm, ..] => {
            let (reg, rm) = registers(modrm)?;
            let (to, from) = if opcode == 0x89 { (rm, reg) } else { (reg, rm) };
            (Does::Move { to, from, wide }, 2)
        }
        [0x31 | 0x33, modrm, ..] => {
            let (reg, rm) = registers(modrm)?;
            (reg == rm).then_some((Does::Clear(reg), 2))?
        }
        [0x83, 0xec, bytes, ..] if rex == 0x48 => (Does::Room(i64::from(bytes.cast_signed()).cast_unsigned()), 3),
        [0x81, 0xec, a, b, c, d, ..] if rex == 0x48 => {
            (Does::Room(i64::from(i32::from_le_bytes([a, b, c, d])).cast_unsigned()), 6)
        }
        _ => return None,
    };
    Some((does, ahead + bytes))
}

/// An instruction that root can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simple {
    does: Does,
    /// Its bytes.
    pub length: u64,
}

/// The one that 64-bit code begins with, the first byte lowest.
pub fn decoded(code: u128) -> Option<Simple> {
    let bytes = code.to_le_bytes();
    let (does, length) = decode(bytes.get(..decode::INSTRUCTION_BYTES_MAX)?)?;
    Some(Simple { does, length })
}

/// The instruction that the core is about to execute, and what [`Simple::aimed`] says, if root can do it: it will not fault, and no monitor
/// waits for it.
pub fn of<C: Core>(cpu: &mut C) -> Option<(Simple, u64)> {
    if cpu.code_bits() != 64 || cpu.rflags() & TF != 0 {
        return None;
    }
    let found = match cpu.near_code() {
        Some(code) => decoded(code)?,
        None => {
            let mut bytes = [0; decode::INSTRUCTION_BYTES_MAX];
            let read = cpu.code(&mut bytes);
            let (does, length) = decode(bytes.get(..read)?)?;
            Simple { does, length }
        }
    };
    found.aimed(cpu, &mut { NO_FRAME }).map(|to| (found, to))
}

impl Simple {
    /// Where it stores, if it does so and can, else 0: as long as this core does not flush. `free` is the frame of the last one, in which
    /// nothing waits for anything until then.
    #[inline(always)]
    pub fn aimed<C: Core>(&self, cpu: &mut C, free: &mut u64) -> Option<u64> {
        if !matches!(self.does, Does::Push(_)) {
            return Some(0);
        }
        let to = cpu.gpr(RSP).wrapping_sub(8);
        if !to.is_multiple_of(8) || cpu.cpl() != 0 || moves::has_data_breakpoints(cpu) {
            return None;
        }
        let (pa, says) = cpu.near_data(to)?;
        // A kernel does not push into its programs' memory but by mistake.
        if says & (walk::WRITTEN | walk::USER) != walk::WRITTEN {
            return None;
        }
        let pfn = pa / FRAME_BYTES;
        if pfn != *free {
            if !cpu.may_write(pa) || monitors::of_frame(pfn).next().is_some() {
                return None;
            }
            *free = pfn;
        }
        Some(pa)
    }

    /// Does it, but for the instruction pointer; false if it could not be. `to` is what [`Simple::aimed`] said.
    #[inline(always)]
    pub fn execute<C: Core>(&self, cpu: &mut C, to: u64) -> bool {
        let set = |cpu: &mut C, number: usize, value| cpu.set_gpr(number.to_le_bytes()[0], value);
        match self.does {
            Does::Nothing => {}
            Does::Push(number) => {
                if !moves::store(to, 8, cpu.gpr(number)) {
                    return false;
                }
                set(cpu, RSP, cpu.gpr(RSP).wrapping_sub(8));
            }
            Does::Move { to, from, wide } => set(cpu, to, cpu.gpr(from) & if wide { u64::MAX } else { 0xffff_ffff }),
            Does::Clear(number) => {
                set(cpu, number, 0);
                cpu.set_rflags(cpu.rflags() & !ARITHMETIC | PF | ZF);
            }
            Does::Room(bytes) => {
                let (room, flags) = Arithmetic::Sub.act(cpu.gpr(RSP), bytes, 8, cpu.rflags());
                set(cpu, RSP, room);
                cpu.set_rflags(flags);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a length that is another, a register that is taken for its neighbour, and an instruction that is taken for one that
    /// begins like it.
    #[test]
    fn what_functions_begin_with_is_known_and_nothing_else() {
        let nothing = |bytes: &[u8], length| assert_eq!(decode(bytes), Some((Does::Nothing, length)), "{bytes:x?}");
        nothing(&[0xf3, 0x0f, 0x1e, 0xfa], 4);
        nothing(&[0x0f, 0x1f, 0x44, 0, 0], 5);
        nothing(&[0x66, 0x0f, 0x1f, 0x44, 0, 0], 6);
        nothing(&[0x0f, 0x1f, 0x40, 0], 4);
        nothing(&[0x90], 1);
        nothing(&[0x66, 0x90], 2);
        let is = |bytes: &[u8], does, length| assert_eq!(decode(bytes), Some((does, length)), "{bytes:x?}");
        is(&[0x55], Does::Push(5), 1);
        is(&[0x41, 0x57], Does::Push(15), 2);
        is(&[0x48, 0x89, 0xe5], Does::Move { to: 5, from: 4, wide: true }, 3);
        is(&[0x49, 0x89, 0xf8], Does::Move { to: 8, from: 7, wide: true }, 3);
        is(&[0x89, 0xf8], Does::Move { to: 0, from: 7, wide: false }, 2);
        is(&[0x8b, 0xf8], Does::Move { to: 7, from: 0, wide: false }, 2);
        is(&[0x31, 0xc9], Does::Clear(1), 2);
        is(&[0x45, 0x31, 0xc0], Does::Clear(8), 3);
        is(&[0x48, 0x83, 0xec, 0x18], Does::Room(0x18), 4);
        is(&[0x48, 0x83, 0xec, 0x80], Does::Room(0x80_u64.wrapping_neg()), 4);
        is(&[0x48, 0x81, 0xec, 0, 1, 0, 0], Does::Room(0x100), 7);
        let others: [&[u8]; 11] = [
            &[0xf3, 0x0f, 0x1e],
            &[0x0f, 0x1f],
            &[0x41, 0x90],
            &[0x66, 0x50],
            &[0x89, 0x45, 0xf8],
            &[0x31, 0xc8],
            &[0x45, 0x31, 0xc1],
            &[0x83, 0xec, 0x18],
            &[0x48, 0x83, 0xc4, 0x18],
            &[0xcc],
            &[],
        ];
        for bytes in others {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
    }

    /// Would catch a flag that the processor sets otherwise.
    #[test]
    fn flags_of_a_subtraction_are_the_processors() {
        const KEPT: u64 = 0x202;
        for (from, less) in [(0, 0), (0, 1), (8, 0x18), (1 << 63, 1), (u64::MAX, 1 << 63), (0x1234_5678, 0x79), (0x10, 1)] {
            let flags: u64;
            #[expect(unsafe_code, reason = "an instruction between registers and the test's own stack")]
            // SAFETY: two pushes and their pops; the red zone is left alone by the adjustment of the stack pointer.
            unsafe {
                core::arch::asm!(
                    "lea rsp, [rsp - 128]", "sub {from}, {less}", "pushfq", "pop {flags}", "lea rsp, [rsp + 128]",
                    from = inout(reg) from => _, less = in(reg) less, flags = out(reg) flags
                );
            }
            assert_eq!(
                Arithmetic::Sub.act(from, less, 8, KEPT | ARITHMETIC).1,
                flags & ARITHMETIC | KEPT,
                "{from:x} - {less:x}"
            );
        }
    }
}
