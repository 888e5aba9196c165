//! Ports, for a guest whose access came to root.
#![expect(unsafe_code, reason = "IN and OUT")]

use core::arch::asm;

/// Reads 1, 2 or 4 bytes from a port; anything else than 1 or 2 is 4.
///
/// # Safety
/// The port's device is the guest's: reading may change its state.
#[must_use]
pub unsafe fn read(port: u16, bytes: u8) -> u32 {
    let (byte, word, long): (u8, u16, u32);
    match bytes {
        1 => {
            // SAFETY: no memory is touched; the device is the guest's by the caller's promise.
            unsafe { asm!("in al, dx", in("dx") port, out("al") byte, options(nomem, nostack, preserves_flags)) };
            byte.into()
        }
        2 => {
            // SAFETY: as above.
            unsafe { asm!("in ax, dx", in("dx") port, out("ax") word, options(nomem, nostack, preserves_flags)) };
            word.into()
        }
        _ => {
            // SAFETY: as above.
            unsafe { asm!("in eax, dx", in("dx") port, out("eax") long, options(nomem, nostack, preserves_flags)) };
            long
        }
    }
}

/// Writes the low 1, 2 or 4 bytes of `value` to a port.
///
/// # Safety
/// As [`read`]; what the device does to memory with it, it would do without root.
pub unsafe fn write(port: u16, bytes: u8, value: u32) {
    let [byte, ..] = value.to_le_bytes();
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    let word = value as u16;
    match bytes {
        // SAFETY: the device is the guest's by the caller's promise.
        1 => unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nostack, preserves_flags)) },
        // SAFETY: as above.
        2 => unsafe { asm!("out dx, ax", in("dx") port, in("ax") word, options(nostack, preserves_flags)) },
        // SAFETY: as above.
        _ => unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) },
    }
}
