//! Instructions that a jump displaces, written so that they do the same elsewhere.
//!
//! **Holds always**
//! - V1: whole instructions are displaced, as many as the jump needs; nothing in their function leads into the middle of them, as far as its
//!   code says.
//! - V2: what is written does what they do, wherever it is, if its distances are filled in; what is not sure to is refused.
//! - V4: nobody comes back to what is written: a call, which must be the last, pushes the address behind the displaced ones. So who sleeps in it
//!   is in nobody's way.
//! - V3: code that Linux changes while it runs is not displaced: it would change what is not executed.
//!
//! **Cost**: the function is decoded once. **Proof**: the tests below, which execute both; `tests/moved.rs`.

use abi::request::epthook2::{CODE_BYTES_MAX, DISPLACED_BYTES_MAX, FIXUPS_MAX, Fixup, JUMP_BYTES};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// What stands for displaced instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Where the jump stands.
    pub address: u64,
    /// Their bytes.
    pub original: Vec<u8>,
    /// The code that does the same.
    pub code: Vec<u8>,
    /// Bytes of its first instruction.
    pub first: usize,
    /// Its distances.
    pub fixups: Vec<Fixup>,
    /// Where the call is that is the last of them, if one is.
    pub calls: Option<u64>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Not {
    /// What is there cannot be read, or is no instruction.
    Code {
        /// Where.
        address: u64,
    },
    /// The function has too few bytes from there on.
    Short {
        /// So many.
        bytes: u64,
    },
    /// Something leads between the displaced bytes.
    LedInto {
        /// From here,
        from: u64,
        /// to there.
        to: u64,
    },
    /// This instruction cannot be elsewhere.
    Fixed {
        /// Where it is.
        address: u64,
        /// What it is.
        what: Fixed,
    },
}

/// An instruction that stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// A call to which others would come back, or of which the target is not in itself.
    Call,
    /// One that Linux changes while it runs, or may.
    Patched,
    /// A breakpoint.
    Breakpoint,
    /// One that the kernel knows by its address, that changes how it runs, or that cannot be written otherwise.
    Other,
}

/// The five bytes that Linux changes to trace a function, where it begins.
pub(crate) const TRACED: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
/// What may stand before them.
pub(crate) const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const CALL: u8 = 0xe8;

/// Where the jump stands that is meant to be at `address`: behind those. `bytes` are those of the function from `start` on.
#[must_use]
pub fn behind_traced(bytes: &[u8], start: u64, address: u64) -> u64 {
    let endbr = if bytes.starts_with(&ENDBR64) { ENDBR64.len() } else { 0 };
    let is_traced = bytes.get(endbr..).is_some_and(|bytes| bytes.starts_with(&TRACED) || bytes.first() == Some(&CALL));
    let behind = start + (endbr + TRACED.len()) as u64;
    if is_traced && (address == start || address + TRACED.len() as u64 == behind) { behind } else { address }
}

/// What stands for the instructions at an address of a function, whose bytes from `start` on are `bytes`.
///
/// # Errors
/// [`Not`].
pub fn moved(bytes: &[u8], start: u64, address: u64) -> Result<Moved, Not> {
    let offset = usize::try_from(address.wrapping_sub(start)).ok().filter(|offset| *offset < bytes.len());
    let offset = offset.ok_or(Not::Code { address })?;
    let mut moved = Moved { address, ..Moved::default() };
    let mut decoder = Decoder::with_ip(64, &bytes[offset..], address, DecoderOptions::NONE);
    let mut ends = false;
    while moved.original.len() < JUMP_BYTES {
        let done = moved.original.len();
        if ends || offset + done >= bytes.len() {
            return Err(Not::Short { bytes: done as u64 });
        }
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return Err(Not::Code { address: instruction.ip() });
        }
        let its = &bytes[offset + done..offset + done + instruction.len()];
        if let Some(what) = fixed(&instruction, its) {
            return Err(Not::Fixed { address: instruction.ip(), what });
        }
        write(&mut moved, &decoder, &instruction, its)?;
        moved.original.extend_from_slice(its);
        if done == 0 {
            moved.first = moved.code.len();
        }
        ends = matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Jmp);
        if instruction.mnemonic() == Mnemonic::Call {
            if moved.original.len() < JUMP_BYTES {
                return Err(Not::Fixed { address: instruction.ip(), what: Fixed::Call });
            }
            moved.calls = Some(instruction.ip());
        }
    }
    let end = address + moved.original.len() as u64;
    led_into(bytes, start, address + 1..end)?;
    let fits =
        moved.original.len() <= DISPLACED_BYTES_MAX && moved.code.len() <= CODE_BYTES_MAX && moved.fixups.len() <= FIXUPS_MAX;
    if fits { Ok(moved) } else { Err(Not::Fixed { address, what: Fixed::Other }) }
}

/// Writes one.
fn write(moved: &mut Moved, decoder: &Decoder, instruction: &Instruction, its: &[u8]) -> Result<(), Not> {
    let not = Not::Fixed { address: instruction.ip(), what: Fixed::Other };
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let begins = moved.code.len();
    if let [CALL, ..] = its {
        // PUSH of a number that is extended by its sign, JMP.
        let behind = i32::try_from(instruction.next_ip().cast_signed()).map_err(|_| not)?;
        moved.code.push(0x68);
        moved.code.extend(behind.to_le_bytes());
        moved.code.extend([0xe9, 0, 0, 0, 0]);
        let end = moved.code.len();
        let target = instruction.near_branch_target();
        moved.fixups.push(Fixup { offset: number(end - 4), end: number(end), target });
        return Ok(());
    }
    if instruction.op0_kind() == OpKind::NearBranch64 {
        // A jump on a condition, near or short, becomes a near one.
        let condition = match *its {
            [short @ 0x70..=0x7f, _] => short & 0xf,
            [0x0f, near @ 0x80..=0x8f, _, _, _, _] => near & 0xf,
            _ => return Err(not),
        };
        moved.code.extend([0x0f, 0x80 | condition, 0, 0, 0, 0]);
        let end = moved.code.len();
        let target = instruction.near_branch_target();
        moved.fixups.push(Fixup { offset: number(end - 4), end: number(end), target });
        return Ok(());
    }
    moved.code.extend_from_slice(its);
    if instruction.is_ip_rel_memory_operand() {
        let offsets = decoder.get_constant_offsets(instruction);
        if instruction.memory_base() != Register::RIP || offsets.displacement_size() != 4 {
            return Err(not);
        }
        let (offset, end) = (begins + offsets.displacement_offset(), moved.code.len());
        let target = instruction.ip_rel_memory_address();
        moved.fixups.push(Fixup { offset: number(offset), end: number(end), target });
    }
    Ok(())
}

/// Whether it stays where it is, and why.
fn fixed(instruction: &Instruction, its: &[u8]) -> Option<Fixed> {
    use Mnemonic as M;
    const SHORT_NOP: [u8; 2] = [0x66, 0x90];
    let writes_stack_segment = instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::SS;
    Some(match instruction.mnemonic() {
        M::Call if its.first() != Some(&CALL) => Fixed::Call,
        M::Jmp if instruction.op0_kind() == OpKind::NearBranch64 => Fixed::Patched,
        M::Nop if its == TRACED || its == SHORT_NOP => Fixed::Patched,
        M::Int3 => Fixed::Breakpoint,
        M::Int | M::Int1 | M::Into | M::Ud0 | M::Ud1 | M::Ud2 | M::Hlt | M::Sti | M::Cli | M::Popfq | M::Popf => Fixed::Other,
        M::Iret | M::Iretd | M::Iretq | M::Syscall | M::Sysret | M::Sysretq | M::Sysenter | M::Sysexit | M::Sysexitq => {
            Fixed::Other
        }
        M::Swapgs | M::Rdmsr | M::Wrmsr | M::Stac | M::Clac | M::Xbegin => Fixed::Other,
        M::Monitor | M::Mwait | M::Retf => Fixed::Other,
        M::Jmp if !matches!(instruction.op0_kind(), OpKind::Register | OpKind::Memory) => Fixed::Other,
        _ if writes_stack_segment => Fixed::Other,
        _ => return None,
    })
}

/// Refuses code that leads between bytes of its own.
fn led_into(bytes: &[u8], start: u64, between: std::ops::Range<u64>) -> Result<(), Not> {
    for instruction in &mut Decoder::with_ip(64, bytes, start, DecoderOptions::NONE) {
        if instruction.is_invalid() {
            return Err(Not::Code { address: instruction.ip() });
        }
        if let Some(to) = target(&instruction).filter(|to| between.contains(to)) {
            return Err(Not::LedInto { from: instruction.ip(), to });
        }
    }
    Ok(())
}

/// Refuses another part of the same function, from `start` on, that leads between bytes.
///
/// # Errors
/// [`Not::LedInto`].
pub fn led_into_from(part: &[u8], start: u64, moved: &Moved) -> Result<(), Not> {
    match led_into(part, start, moved.address + 1..moved.address + moved.original.len() as u64) {
        Err(Not::Code { .. }) => Ok(()),
        other => other,
    }
}

fn target(instruction: &Instruction) -> Option<u64> {
    (instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target())
}

#[cfg(test)]
mod tests;
