//! Writes of CR0 and CR4 that came to root, done as the processor would.
//!
//! **Holds always**: what is written here passes the processor's own checks of a guest (APM2 15.5.1 "Canonicalization and
//! Consistency Checks"), or the next run would be refused.

use super::EFER_LMA;
use super::core::Svm;
use super::vmcb::INTERCEPT_CR_WRITE;
use crate::arch::x86::control::{self, Modes, Source};
use crate::arch::x86::cpuid;
use crate::arch::x86::decode::{self, INSTRUCTION_BYTES_MAX};
use crate::arch::{Core, Event};

const EFER_LME: u64 = 1 << 8;
const CR0_PG: u64 = 1 << 31;

impl Svm {
    /// Whether writes of a control register come to root.
    pub(super) fn watch_control(&mut self, register: u8, on: bool) {
        let bit = INTERCEPT_CR_WRITE << register;
        if on { self.vmcb.intercept_cr |= bit } else { self.vmcb.intercept_cr &= !bit }
    }

    /// See [`Core::control_wanted`].
    pub(super) fn control_wanted(&self, register: u8) -> Result<u64, Event> {
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let read = self.code(&mut bytes);
        let wide = self.code_bits() == 64;
        let form = decode::split(bytes.get(..read).unwrap_or_default(), wide);
        let ahead = read - form.rest.len();
        let end = |length: usize| self.vmcb.rip.wrapping_add((ahead + length) as u64);
        let source = control::source(&form, register, |number| self.gpr(number.into()), end);
        let cr0 = self.vmcb.cr0;
        match source.ok_or(Event::UndefinedInstruction)? {
            Source::Register(number) if wide => Ok(self.gpr(number.into())),
            Source::Register(number) => Ok(self.gpr(number.into()) & 0xffff_ffff),
            Source::ClearTask => Ok(control::without_task(cr0)),
            Source::StatusOf(number) => Ok(control::with_status(cr0, self.gpr(number.into()))),
            // Nobody but 64-bit code has addresses as they were taken apart.
            Source::StatusAt { .. } if !wide => Err(Event::UndefinedInstruction),
            Source::StatusAt { address, segment } => {
                let address = address.wrapping_add(segment.map_or(0, |number| self.segment(number).base));
                let mut status = [0; 2];
                let read = self.guest_bytes(address, &mut status);
                let missing = Event::PageFault { address: address.wrapping_add(read as u64), error: 0 };
                if read == status.len() {
                    Ok(control::with_status(cr0, u16::from_le_bytes(status).into()))
                } else {
                    Err(missing)
                }
            }
        }
    }

    /// See [`Core::write_control`].
    pub(super) fn write_control(&mut self, register: u8, value: u64) -> bool {
        let (cr0, cr4, efer) = (self.vmcb.cr0, self.vmcb.cr4, self.vmcb.efer);
        let (long, wide) = (efer & EFER_LME != 0, self.code_bits() == 64 && efer & EFER_LMA != 0);
        let modes = Modes { cr0, cr3: self.vmcb.cr3, cr4, long, wide };
        let changed = if register == 0 {
            let Some(value) = modes.cr0(value) else { return false };
            self.vmcb.cr0 = value;
            let lma = if long && value & CR0_PG != 0 { EFER_LMA } else { 0 };
            self.vmcb.efer = efer & !EFER_LMA | lma;
            value != cr0
        } else {
            let words = |leaf| {
                let r = cpuid(leaf, 0);
                [r.eax, r.ebx, r.ecx, r.edx]
            };
            if !modes.cr4(value, control::cr4_bits(words)) {
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
