//! Writes of CR0 and CR4 that came to root, done as the processor would.
//!
//! CR0.NE and CR4.VMXE are root's: the processor has them set, the guest reads what it wrote. While writes are watched all bits are
//! root's, so that a write exits that changes any; one that changes none does not (SDM3 26.1.3).
//!
//! **Holds always**: what is written here passes the processor's own checks of a guest, or the next entry would be refused.

use super::CR4_VMXE;
use super::core::Vmx;
use super::field;
use super::vmcs;
use crate::arch::x86::control::{self, Modes};
use crate::arch::x86::efer;
use crate::arch::{Core, Event};

/// CR0: protection, paging, and errors of the FPU told by exceptions. The first two no guest can clear (no unrestricted guest).
const CR0_PE_PG: u64 = 1 << 31 | 1;
pub(super) const CR0_NE: u64 = 1 << 5;

impl Vmx {
    /// Whether writes of a control register come to root.
    pub(super) fn watch_control(&mut self, register: u8, on: bool) {
        let now = self.control(register);
        let (mask, shadow, own) = match register {
            0 => (field::CR0_MASK, field::CR0_SHADOW, CR0_NE),
            _ => (field::CR4_MASK, field::CR4_SHADOW, CR4_VMXE),
        };
        vmcs::write(shadow, now);
        vmcs::write(mask, if on { u64::MAX } else { own });
    }

    /// See [`Core::control_wanted`].
    pub(super) fn wanted(&self, register: u8) -> Result<u64, Event> {
        control::wanted(self, register, self.control(0), |at, to| self.guest_bytes(at, to))
    }

    /// See [`Core::write_control`].
    pub(super) fn set_control(&mut self, register: u8, value: u64) -> bool {
        let (cr0, cr4, efer) = (self.control(0), self.control(4), self.guest_efer());
        let (long, wide) = (efer & efer::LME != 0, self.code_bits() == 64 && efer & efer::LMA != 0);
        let modes = Modes { cr0, cr3: self.cr3(), cr4, long, wide };
        if register == 0 {
            let Some(value) = modes.cr0(value).filter(|value| value & CR0_PE_PG == CR0_PE_PG) else { return false };
            vmcs::write(field::CR0_SHADOW, value);
            vmcs::write(field::GUEST_CR0, value | CR0_NE);
        } else {
            if !modes.cr4(value, control::cr4_bits_here()) {
                return false;
            }
            vmcs::write(field::CR4_SHADOW, value);
            vmcs::write(field::GUEST_CR4, value | CR4_VMXE);
        }
        // Which bits change what translations are cached is the processor's affair: all go.
        self.forget_linear();
        true
    }
}
