//! How long an instruction is, for scripts that ask.
//!
//! **Cost**: a decoder's hundreds of instructions; nothing is kept.

use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::{amd64, protected_mode};

/// Bytes of the instruction at the front of `bytes`, as 64-bit or as 32-bit code; `None` if it is none, or goes on behind them.
#[must_use]
pub fn length(bytes: &[u8], wide: bool) -> Option<u64> {
    let length = if wide {
        amd64::InstDecoder::default().decode_slice(bytes).ok()?.len().to_const()
    } else {
        u64::from(protected_mode::InstDecoder::default().decode_slice(bytes).ok()?.len().to_const())
    };
    (length <= bytes.len() as u64).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::length;

    /// Would catch a length of the other mode, one that ignores prefixes or immediates, and an instruction that is cut off.
    #[test]
    fn both_modes_have_their_own_lengths() {
        // movabs $0x1122334455667788, %rax; as 32-bit code: dec %eax.
        let movabs = [0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11];
        assert_eq!((length(&movabs, true), length(&movabs, false)), (Some(10), Some(1)));
        assert_eq!(length(&movabs[..9], true), None);
        // endbr64; nopl 0(%rax,%rax,1); push %rbp; mov %rsp, %rbp; rep movsb; ud2.
        let code: [(&[u8], u64); 6] = [
            (&[0xf3, 0x0f, 0x1e, 0xfa], 4),
            (&[0x0f, 0x1f, 0x44, 0x00, 0x00], 5),
            (&[0x55], 1),
            (&[0x48, 0x89, 0xe5], 3),
            (&[0xf3, 0xa4], 2),
            (&[0x0f, 0x0b], 2),
        ];
        for (bytes, wanted) in code {
            let mut longer = bytes.to_vec();
            longer.extend([0x90; 8]);
            assert_eq!(length(&longer, true), Some(wanted), "{bytes:x?}");
        }
        assert_eq!(length(&[0x06], true), None, "push %es is no 64-bit instruction");
        assert_eq!(length(&[], true), None);
    }
}
