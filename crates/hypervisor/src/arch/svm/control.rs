//! Writes of CR0 and CR4 that came to root, done as the processor would.
//!
//! **Holds always**: what is written here passes the processor's own checks of a guest (APM2 15.5.1 "Canonicalization and
//! Consistency Checks"), or the next run would be refused.

use super::core::Svm;
use super::vmcb::INTERCEPT_CR_WRITE;
use crate::arch::x86::control::{self, Modes};
use crate::arch::x86::efer;
use crate::arch::{Core, Event};

const CR0_PG: u64 = 1 << 31;

impl Svm {
    /// Whether writes of a control register come to root.
    pub(super) fn watch_control(&mut self, register: u8, on: bool) {
        let bit = INTERCEPT_CR_WRITE << register;
        if on { self.vmcb.intercept_cr |= bit } else { self.vmcb.intercept_cr &= !bit }
    }

    /// See [`Core::control_wanted`].
    pub(super) fn control_wanted(&self, register: u8) -> Result<u64, Event> {
        control::wanted(self, register, self.vmcb.cr0, |at, to| self.guest_bytes(at, to))
    }

    /// See [`Core::write_control`].
    pub(super) fn write_control(&mut self, register: u8, value: u64) -> bool {
        let (cr0, cr4, efer) = (self.vmcb.cr0, self.vmcb.cr4, self.vmcb.efer);
        let (long, wide) = (efer & efer::LME != 0, self.code_bits() == 64 && efer & efer::LMA != 0);
        let modes = Modes { cr0, cr3: self.vmcb.cr3, cr4, long, wide };
        let changed = if register == 0 {
            let Some(value) = modes.cr0(value) else { return false };
            self.vmcb.cr0 = value;
            let lma = if long && value & CR0_PG != 0 { efer::LMA } else { 0 };
            self.vmcb.efer = efer & !efer::LMA | lma;
            value != cr0
        } else {
            if !modes.cr4(value, control::cr4_bits_here()) {
                return false;
            }
            self.vmcb.cr4 = value;
            value != cr4
        };
        // Which bits change what translations are cached is the processor's affair: all go.
        if changed {
            self.flush();
        }
        true
    }
}
