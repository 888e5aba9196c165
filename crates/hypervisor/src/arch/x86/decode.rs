//! Prefixes and opcode of an instruction that exited (APM3 1.2 "Instruction Prefixes"), where the processor does not tell.
//!
//! **Callers**: root, for what it emulates. **Cost**: one pass over at most [`INSTRUCTION_BYTES_MAX`] bytes.

/// Bytes that an instruction can have at most.
pub const INSTRUCTION_BYTES_MAX: usize = 15;

/// Segment registers by their number in instructions.
pub mod segment {
    /// Extra.
    pub const ES: u8 = 0;
    /// Code.
    pub const CS: u8 = 1;
    /// Stack.
    pub const SS: u8 = 2;
    /// Data.
    pub const DS: u8 = 3;
    /// Of programs: their threads.
    pub const FS: u8 = 4;
    /// Of the kernel: its cores.
    pub const GS: u8 = 5;
}

/// An instruction, taken apart as far as its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction<'b> {
    /// Addresses have the other size (0x67).
    pub address_override: bool,
    /// The segment that it names instead of its own.
    pub segment: Option<u8>,
    /// It repeats.
    pub repeats: bool,
    /// The REX prefix, or 0.
    pub rex: u8,
    /// Opcode and what stands behind it.
    pub rest: &'b [u8],
}

/// Bytes of HLT, MWAIT or MWAITX, behind its prefixes: it waits for something to come.
#[must_use]
pub fn waits(rest: &[u8]) -> Option<u64> {
    match rest {
        [0xf4, ..] => Some(1),
        [0x0f, 0x01, 0xc9 | 0xfb, ..] => Some(3),
        _ => None,
    }
}

/// Takes an instruction apart; `wide` in 64-bit code, where 0x40 to 0x4f is a prefix.
#[must_use]
pub fn split(bytes: &[u8], wide: bool) -> Instruction<'_> {
    let mut found = Instruction { address_override: false, segment: None, repeats: false, rex: 0, rest: bytes };
    while let Some((byte, rest)) = found.rest.split_first() {
        let rex = match *byte {
            0x26 | 0x2e | 0x36 | 0x3e => {
                found.segment = Some(*byte >> 3 & 3);
                0
            }
            0x64 | 0x65 => {
                found.segment = Some(*byte & 7);
                0
            }
            0x67 => {
                found.address_override = true;
                0
            }
            0xf2 | 0xf3 => {
                found.repeats = true;
                0
            }
            0x66 | 0xf0 => 0,
            rex @ 0x40..=0x4f if wide => rex,
            _ => break,
        };
        // It counts only where it stands last.
        found.rex = rex;
        found.rest = rest;
    }
    found
}

/// Bytes of a ModRM with what belongs to it, by addresses of 32 or 64 bits; `None` if that cannot be told from these.
#[must_use]
pub fn operand_bytes(operand: &[u8]) -> Option<usize> {
    let (modrm, behind) = operand.split_first()?;
    let (mode, memory) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return Some(1);
    }
    let (sib, base) = if memory == 4 { (1, behind.first()? & 7) } else { (0, memory) };
    let displacement = match mode {
        0 if base == 5 => 4,
        0 => 0,
        1 => 1,
        _ => 4,
    };
    Some(1 + sib + displacement)
}

/// The address that a ModRM names in 64-bit code, without a segment's base; `None` if it names a register or is cut short.
/// `end` is where the instruction ends.
#[must_use]
pub fn address(operand: &[u8], rex: u8, gpr: impl Fn(u8) -> u64, end: u64) -> Option<u64> {
    let bytes = operand.get(..operand_bytes(operand)?)?;
    let (modrm, behind) = bytes.split_first()?;
    let (mode, memory) = (modrm >> 6, modrm & 7);
    let extended = |bit: u8| (rex >> bit & 1) << 3;
    let (sib, displacement) = if memory == 4 { behind.split_first()? } else { (&memory, behind) };
    let displacement = match displacement {
        [] => 0,
        [byte] => i64::from(byte.cast_signed()),
        more => i64::from(i32::from_le_bytes(more.try_into().ok()?)),
    };
    let base = match (mode, memory, sib & 7) {
        (3, ..) => return None,
        (0, 5, _) => end,
        (0, 4, 5) => 0,
        (_, _, base) => gpr(base | extended(0)),
    };
    let index = sib >> 3 & 7 | extended(1);
    let index = if memory == 4 && index != 4 { gpr(index) << (sib >> 6) } else { 0 };
    Some(base.wrapping_add(index).wrapping_add(displacement.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a prefix that is lost, and one of 64-bit code that counts where it must not.
    #[test]
    fn prefixes_are_told_apart_from_the_opcode() {
        let plain = Instruction { address_override: false, segment: None, repeats: false, rex: 0, rest: &[0x6c] };
        assert_eq!(split(&[0x6c], true), plain);
        let all = split(&[0xf3, 0x67, 0x65, 0x66, 0x6f], true);
        assert_eq!(
            all,
            Instruction { address_override: true, segment: Some(segment::GS), repeats: true, rex: 0, rest: &[0x6f] }
        );
        assert_eq!(split(&[0x36, 0x6e], true).segment, Some(segment::SS));
        assert_eq!(split(&[0x3e, 0x6e], true).segment, Some(segment::DS));
        assert_eq!(split(&[0x44, 0x0f], true), Instruction { rex: 0x44, rest: &[0x0f], ..plain });
        assert_eq!(split(&[0x44, 0x66, 0x0f], true), Instruction { rest: &[0x0f], ..plain }, "no longer last");
        assert_eq!(split(&[0x44, 0x0f], false).rest, [0x44, 0x0f], "INC ESP elsewhere");
        assert_eq!(split(&[], true).rest, []);
    }
}
