//! Exceptions and system calls: which come to root, what they are, and how the guest gets them after all.
//!
//! SVM has no intercept for SYSCALL. While calls are watched EFER.SCE is off for the processor, so that SYSCALL and SYSRET are
//! undefined; #UD is intercepted, the bytes tell, and root does what the instruction does (`x86::syscall`).
//!
//! **Holds always**
//! - S1: the guest reads EFER.SCE as it wrote it, and gets it back so when it leaves.
//! - S2: an exception that is passed on has the error code, CR2 and DR6 that it came with, at the instruction it came from.
//! - S3: one that comes while another is delivered becomes what the processor makes of the two (APM2 8.2.9 "#DF"), since its
//!   intercept comes before that.
//!
//! **Callers**: `core`. **Proof**: the tests below; `tests/e2e/events_syscall.rs`, `tests/e2e/events_exception.rs`.

use super::core::Svm;
use super::vmcb::{Segment, exit_code, intercept_1};
use crate::arch::x86::decode::INSTRUCTION_BYTES_MAX;
use crate::arch::x86::event::{self, combined, exception};
use crate::arch::x86::syscall::{self, Targets};
use crate::arch::x86::vector;
use crate::arch::x86::{debug, efer};
use crate::arch::{Core, Event, Exit};

pub(super) const EXCEPTION_DB: u32 = 1 << 1;
pub(super) const EXCEPTION_BP: u32 = 1 << 3;
const EXCEPTION_OF: u32 = 1 << 4;
/// CS attribute L: 64-bit code.
const LONG: u16 = 1 << 9;
/// Attributes of flat segments: 64-bit code and data of ring 0, code of ring 3 by its width, data of ring 3.
const KERNEL_CODE: u16 = 0xa9b;
const KERNEL_DATA: u16 = 0xc93;
const USER_CODE: [u16; 2] = [0xcfb, 0xafb];
const USER_DATA: u16 = 0xcf3;

impl Svm {
    /// Whether the guest is in 64-bit code.
    pub(super) fn is_long(&self) -> bool {
        self.vmcb.efer & efer::LMA != 0 && self.vmcb.cs.attributes & LONG != 0
    }

    pub(super) fn want_exceptions(&mut self, vectors: u32) {
        self.faults.wanted = vectors;
        self.intercept();
    }

    pub(super) fn pass_exceptions(&mut self, vectors: u32, on: bool) {
        self.faults.pass(vectors, on);
        self.intercept();
    }

    /// S1.
    pub(super) fn watch_calls(&mut self, on: bool) {
        let efer = self.efer();
        self.faults.calls = on;
        self.set_efer(efer);
        self.intercept();
    }

    pub(super) fn intercept(&mut self) {
        let vectors = self.faults.vectors(self.step.is_instruction());
        self.vmcb.intercept_exceptions = vectors;
        // QEMU reports INT3 and INTO as software interrupts.
        if vectors & (EXCEPTION_BP | EXCEPTION_OF) != 0 {
            self.vmcb.intercept_1 |= intercept_1::INTN;
        } else {
            self.vmcb.intercept_1 &= !intercept_1::INTN;
        }
    }

    /// What a #UD is.
    pub(super) fn undefined(&self) -> Exit {
        let undefined = self.exception(exit_code::EXCP_UD);
        if self.faults.hidden_efer() == 0 || self.vmcb.efer & efer::LMA == 0 {
            return undefined;
        }
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let n = self.code(&mut bytes);
        syscall::decode(bytes.get(..n).unwrap_or_default(), self.is_long()).exit(undefined)
    }

    /// An exception by its exit; a triple fault if that is what it is.
    pub(super) fn exception(&self, code: u64) -> Exit {
        let vector = code - exit_code::EXCP_FIRST;
        match combined(self.delivering(), vector, 0) {
            Some(_) => Exit::Exception { vector: u8::try_from(vector).unwrap_or(0) },
            None => Exit::Shutdown,
        }
    }

    /// What the last exit interrupted the delivery of, or 0. What a script injects stands in the same place, but comes instead
    /// of all that.
    fn delivering(&self) -> u64 {
        if self.vmcb.exit_int_info & event::VALID == 0 { 0 } else { self.interrupted }
    }

    /// The address of a page fault that the guest has not got yet, or CR2.
    pub(super) fn fault_address(&self) -> u64 {
        if self.vmcb.exit_code == exit_code::EXCP_PF { self.vmcb.exit_info_2 } else { self.vmcb.cr2 }
    }

    /// S2, S3.
    pub(super) fn pass_exception(&mut self) {
        self.vmcb.cr2 = self.fault_address();
        let vector = self.vmcb.exit_code.wrapping_sub(exit_code::EXCP_FIRST) & 31;
        let first = self.delivering();
        if first != 0 {
            self.interrupted = 0;
        }
        self.vmcb.event_injection = combined(first, vector, self.vmcb.exit_info_1).unwrap_or(0);
    }

    /// INTO: a trap, which needs the gate's leave.
    pub(super) fn overflow(&mut self) {
        if self.gate_allows(vector::OF) {
            self.vmcb.rip = self.next_rip();
            self.set_event(event::EXCEPTION, vector::OF);
        } else {
            self.vmcb.event_injection = exception(vector::GP, vector::OF * 8 + 2);
        }
    }

    fn targets(&self) -> Targets {
        let v = &self.vmcb;
        Targets { star: v.star, lstar: v.lstar, cstar: v.cstar, sfmask: v.sfmask }
    }

    pub(super) fn enter_kernel(&mut self, length: u8) {
        let next = self.vmcb.rip.wrapping_add(length.into());
        let called = syscall::call(&self.targets(), self.is_long(), next, self.vmcb.rflags);
        (self.gprs.rcx, self.gprs.r11) = (called.rcx, called.r11);
        self.vmcb.cs = flat(called.cs, KERNEL_CODE);
        self.vmcb.ss = flat(called.ss, KERNEL_DATA);
        self.vmcb.cpl = 0;
        self.go_on(called.rip, called.rflags, called.step);
    }

    pub(super) fn leave_kernel(&mut self, wide: bool) {
        let returned = syscall::ret(&self.targets(), wide, self.gprs.rcx, self.gprs.r11);
        self.vmcb.cs = flat(returned.cs, USER_CODE[usize::from(wide)]);
        // SYSRET leaves SS' hidden part as it is, and Linux loads it before if it matters: it is what is written here. The ring
        // of SS must be right, since QEMU takes the guest's from there.
        self.vmcb.ss = flat(returned.ss, USER_DATA);
        self.vmcb.cpl = 3;
        self.go_on(returned.rip, returned.rflags, returned.step);
    }

    fn go_on(&mut self, rip: u64, rflags: u64, step: bool) {
        self.vmcb.rip = rip;
        self.vmcb.rflags = rflags;
        self.vmcb.interrupt_shadow = 0;
        if step {
            self.vmcb.dr6 |= debug::STEP;
            self.set_event(event::EXCEPTION, vector::DB);
        }
    }

    /// See [`crate::arch::Core::fetch_again`].
    pub(super) fn fetch_unread(&mut self) {
        if !self.faults.again(self.vmcb.rip) {
            self.inject(Event::UndefinedInstruction);
        } else {
            // A translation that only the processor's cache still has shall not bring it here again.
            self.flush();
        }
    }
}

fn flat(selector: u16, attributes: u16) -> Segment {
    Segment { selector, attributes, limit: u32::MAX, base: 0 }
}
