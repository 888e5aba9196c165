//! Debug registers that came to root. DR7 is in the control structure; the others the processor has, and root leaves them as they
//! are.
//!
//! **Proof**: `tests/e2e/breakpoints.rs`, `tests/e2e/events_registers.rs`.
#![expect(unsafe_code, reason = "debug registers of the guest's, in the processor")]

use super::core::Vmx;
use super::field;
use super::vmcs;
use crate::arch::x86;

/// What DR6 and DR7 hold, and what is always set in them (SDM3 18.2 "Debug Registers").
const DR6: (u64, u64) = (0xe00f, 0xffff_0ff0);
const DR7: (u64, u64) = (0xffff_23ff, 0x400);

impl Vmx {
    /// See [`crate::arch::Core::debug_register`].
    pub(super) fn debug(&self, number: u8) -> u64 {
        match number {
            0 => x86::dr0(),
            1 => x86::dr1(),
            2 => x86::dr2(),
            3 => x86::dr3(),
            6 => x86::dr6(),
            _ => vmcs::read(field::GUEST_DR7),
        }
    }

    /// See [`crate::arch::Core::set_debug_register`].
    pub(super) fn set_debug(&mut self, number: u8, value: u64) {
        match number {
            // SAFETY: the guest's own, which it asks for.
            6 => unsafe { x86::write_dr6(value & DR6.0 | DR6.1) },
            7 => vmcs::write(field::GUEST_DR7, value & DR7.0 | DR7.1),
            // SAFETY: an address of a breakpoint of the guest's; root's own DR7 arms none.
            _ => unsafe { x86::write_breakpoint(number, value) },
        }
    }
}
