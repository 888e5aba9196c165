//! The local APIC of the model: a core's id is its number, and an NMI arrives at once.

use super::THIS;

/// This core's APIC id.
pub fn id() -> u32 {
    THIS.get()
}

/// Sends an NMI.
pub fn send_nmi(target: u32) {
    super::raise_nmi(target);
}

/// The model has no external interrupts.
pub fn end(_: u8) {}

/// As [`end`].
pub fn repeat(_: u8) {}

/// The UART's line becomes an NMI to this core.
///
/// # Safety
/// None is needed; the real one has a condition.
#[expect(unsafe_code, reason = "as the real one")]
pub unsafe fn line_to_nmi(target: u32) -> bool {
    super::uart::call(target);
    true
}

/// It is nobody's again.
///
/// # Safety
/// As above.
#[expect(unsafe_code, reason = "as the real one")]
pub unsafe fn line_restore() {
    super::uart::call(u32::MAX);
}
