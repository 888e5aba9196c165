//! Debug registers that came to root. DR7 is in the control structure; the others the processor has, and root leaves them as they
//! are.
//!
//! **Proof**: `tests/e2e/breakpoints.rs`, `tests/e2e/events_registers.rs`.
#![expect(unsafe_code, reason = "debug registers of the guest's, in the processor")]

use super::core::Vmx;
use super::field;
use super::vmcs;
use crate::arch::x86::{self, debug};

impl Vmx {
    /// See [`crate::arch::Core::debug_register`].
    pub(super) fn debug(&self, number: u8) -> u64 {
        match number {
            0..=3 => x86::breakpoint(number),
            6 => x86::dr6(),
            _ => vmcs::read(field::GUEST_DR7),
        }
    }

    /// See [`crate::arch::Core::set_debug_register`].
    pub(super) fn set_debug(&mut self, number: u8, value: u64) {
        match number {
            // SAFETY: the guest's own, which it asks for.
            6 => unsafe { x86::write_dr6(debug::dr6(value)) },
            7 => vmcs::write(field::GUEST_DR7, debug::dr7(value)),
            // SAFETY: an address of a breakpoint of the guest's; root's own DR7 arms none.
            _ => unsafe { x86::write_breakpoint(number, value) },
        }
    }
}
