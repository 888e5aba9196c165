//! How long an intercepted instruction is, where the processor does not tell (no NRIP save, as in QEMU).
//!
//! Only instructions that are intercepted come here: `0f xx` and `0f 01 xx` behind any prefixes, INT3, INTO and INT n.

use crate::arch::x86::decode;

/// Length of the instruction at the front of `bytes`, or `None` if it is none of ours.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<u64> {
    let prefixes = bytes.iter().take_while(|byte| is_prefix(**byte)).count();
    let rest = bytes.get(prefixes..)?;
    let opcode = match rest {
        [0xcc | 0xce, ..] => 1,
        [0xcd, ..] | [0x0f, 0x05..=0x07 | 0x30..=0x32 | 0xa2, ..] => 2,
        // MOV of control and debug registers: the operand is a register, whatever its mode says (APM3 "MOV CRn").
        [0x0f, 0x20..=0x23, _, ..] => 3,
        [0x0f, 0x01, 0xd8..=0xdf | 0xf9, ..] => 3,
        [0x0f, 0x01, operand @ ..] if operand.first().is_some_and(|modrm| modrm >> 3 & 7 == 6) => {
            2 + decode::operand_bytes(operand)?
        }
        _ => return None,
    };
    u64::try_from(prefixes + opcode).ok()
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3 | 0x40..=0x4f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a guest that continues in the middle of an instruction with prefixes.
    #[test]
    fn prefixes_count_and_foreign_instructions_are_refused() {
        assert_eq!(length(&[0x0f, 0xa2, 0x90]), Some(2));
        assert_eq!(length(&[0xf3, 0x48, 0x0f, 0xa2]), Some(4));
        assert_eq!(length(&[0x0f, 0x01, 0xd9]), Some(3));
        assert_eq!(length(&[0xcc]), Some(1));
        assert_eq!(length(&[0xcd, 0x80]), Some(2));
        assert_eq!(length(&[0x48, 0x0f, 0x05]), Some(3));
        assert_eq!(length(&[0x0f, 0x0b]), None);
        assert_eq!(length(&[0x44, 0x0f, 0x22, 0xc0]), Some(4));
        assert_eq!(length(&[0x0f, 0x21, 0x05]), Some(3));
        assert_eq!(length(&[0x0f, 0x06, 0x90]), Some(2));
        assert_eq!(length(&[0x0f, 0x01, 0xf0]), Some(3));
        assert_eq!(length(&[0x0f, 0x01, 0x74, 0x88, 0x10]), Some(5));
        assert_eq!(length(&[0x0f, 0x01, 0x74]), None, "cut short");
        assert_eq!(length(&[0x66; 15]), None);
        assert_eq!(length(&[]), None);
    }
}
