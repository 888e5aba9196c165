//! Exceptions and system calls: which come to root, what they are, and how the guest gets them after all.
//!
//! VMX has no exit for SYSCALL. While calls are watched EFER.SCE is off for the guest, so that SYSCALL and SYSRET are undefined;
//! #UD exits, the bytes tell, and root does what the instruction does (`x86::syscall`).
//!
//! **Holds always**
//! - S1: the guest reads EFER.SCE as it wrote it, and gets it back so when it leaves.
//! - S2: an exception that is passed on has the error code, CR2 and DR6 that it came with, at the instruction it came from.
//! - S3: one that comes while another is delivered becomes what the processor makes of the two, since its exit comes before that.
//!
//! **Callers**: `core`. **Proof**: `tests/e2e/events_syscall.rs`, `tests/e2e/events_exception.rs`.
#![expect(unsafe_code, reason = "the guest's CR2 and DR6, which the processor has")]

use super::core::Vmx;
use super::deliver::has_length;
use super::field::{self, segment};
use super::vmcs;
use crate::arch::x86::decode::INSTRUCTION_BYTES_MAX;
use crate::arch::x86::event::{self, combined};
use crate::arch::x86::syscall::{self, Targets};
use crate::arch::x86::{self, msr, read_msr, vector};
use crate::arch::x86::{debug, efer};
use crate::arch::{Event, Exit};

pub(super) const EXCEPTION_DB: u32 = 1 << 1;
pub(super) const EXCEPTION_BP: u32 = 1 << 3;
/// Rights of flat segments: 64-bit code and data of ring 0, code of ring 3 by its width, data of ring 3.
const KERNEL_CODE: u64 = 0xa09b;
const KERNEL_DATA: u64 = 0xc093;
const USER_CODE: [u64; 2] = [0xc0fb, 0xa0fb];
const USER_DATA: u64 = 0xc0f3;

impl Vmx {
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
        let efer = self.guest_efer();
        self.faults.calls = on;
        self.set_guest_efer(efer);
        self.intercept();
    }

    pub(super) fn intercept(&mut self) {
        let vectors = self.faults.vectors(self.step.is_instruction());
        vmcs::write(field::EXCEPTIONS, vectors.into());
    }

    /// EFER as the guest knows it.
    pub(super) fn guest_efer(&self) -> u64 {
        vmcs::read(field::GUEST_EFER) | self.faults.hidden_efer()
    }

    /// S1. LMA stays as it is.
    pub(super) fn set_guest_efer(&mut self, value: u64) {
        let lma = vmcs::read(field::GUEST_EFER) & efer::LMA;
        let hidden = self.faults.hide_efer(value & !efer::LMA | lma);
        vmcs::write(field::GUEST_EFER, hidden);
        self.forget_linear();
    }

    /// What an exception is; a triple fault if that is what it becomes.
    pub(super) fn exception(&self, what: u64) -> Exit {
        let number = what & 0xff;
        if combined(self.delivering(), number, 0).is_none() {
            return Exit::Shutdown;
        }
        match number {
            vector::DB => Exit::Debug,
            vector::BP => Exit::Breakpoint,
            vector::UD => self.undefined(),
            number => Exit::Exception { vector: number.to_le_bytes()[0] },
        }
    }

    fn undefined(&self) -> Exit {
        const UNDEFINED: Exit = Exit::Exception { vector: 6 };
        // In compatibility mode both are undefined whatever EFER says (SDM2 "SYSCALL").
        if self.faults.hidden_efer() == 0 || !self.is_long() {
            return UNDEFINED;
        }
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let n = self.text_bytes(&mut bytes);
        syscall::decode(bytes.get(..n).unwrap_or_default(), true).exit(UNDEFINED)
    }

    /// What the last exit interrupted the delivery of, or 0. What a script injects stands in the same place, but comes instead
    /// of all that.
    fn delivering(&self) -> u64 {
        if vmcs::read(field::VECTORING) & event::VALID == 0 { 0 } else { self.interrupted }
    }

    /// The address of a page fault that the guest has not got yet, or CR2.
    pub(super) fn fault_address(&self) -> u64 {
        if self.is_exception(vector::PF) { vmcs::read(field::QUALIFICATION) } else { x86::cr2() }
    }

    pub(super) fn set_fault_address(&self, address: u64) {
        // The guest's own: a fault of root's, which would write it, is the end of root, or puts it back (`called`).
        x86::write_cr2(address);
    }

    /// What #DB tells is in the exit, and not in DR6 yet (SDM3 table 28-1).
    pub(super) fn note_debug(&self) {
        let told = vmcs::read(field::QUALIFICATION) & 0x600f;
        // SAFETY: the guest's own register, as the processor would leave it.
        unsafe { x86::write_dr6(x86::dr6() & !0xf | told) };
    }

    /// S2, S3.
    pub(super) fn pass_exception(&mut self) {
        let what = self.raised();
        if has_length(what) {
            self.event_length = vmcs::read(field::EXIT_LENGTH);
            return self.set_event(what);
        }
        if what & 0xff == vector::PF {
            self.set_fault_address(self.fault_address());
        }
        let first = self.delivering();
        if first != 0 {
            self.interrupted = 0;
        }
        self.set_event(combined(first, what & 0xff, what >> 32).unwrap_or(0));
    }

    fn targets() -> Targets {
        // SAFETY: these are there on every 64-bit processor; root uses none of them, so they are the guest's.
        let read = |register| unsafe { read_msr(register) };
        Targets { star: read(msr::STAR), lstar: read(msr::LSTAR), cstar: read(msr::CSTAR), sfmask: read(msr::SFMASK) }
    }

    pub(super) fn enter_kernel(&mut self, length: u8) {
        let next = vmcs::read(field::GUEST_RIP).wrapping_add(length.into());
        let called = syscall::call(&Self::targets(), self.is_long(), next, vmcs::read(field::GUEST_RFLAGS));
        (self.gprs.rcx, self.gprs.r11) = (called.rcx, called.r11);
        flat(segment::CS, called.cs, KERNEL_CODE);
        flat(segment::SS, called.ss, KERNEL_DATA);
        self.go_on(called.rip, called.rflags, called.step);
    }

    pub(super) fn leave_kernel(&mut self, wide: bool) {
        let returned = syscall::ret(&Self::targets(), wide, self.gprs.rcx, self.gprs.r11);
        flat(segment::CS, returned.cs, USER_CODE[usize::from(wide)]);
        flat(segment::SS, returned.ss, USER_DATA);
        self.go_on(returned.rip, returned.rflags, returned.step);
    }

    fn go_on(&mut self, rip: u64, rflags: u64, step: bool) {
        self.go(rip);
        vmcs::write(field::GUEST_RFLAGS, rflags);
        // Where the processor counts the step before the instruction (Bochs), it is as if that had never begun.
        vmcs::write(field::PENDING_DEBUG, 0);
        if step {
            // SAFETY: as in `note_debug`.
            unsafe { x86::write_dr6(x86::dr6() | debug::STEP) };
            self.set_event(event::exception(vector::DB, 0));
        }
    }

    /// See [`crate::arch::Core::fetch_again`].
    pub(super) fn fetch_unread(&mut self) {
        if !self.faults.again(vmcs::read(field::GUEST_RIP)) {
            self.make(Event::UndefinedInstruction);
        } else {
            // A translation that only the processor's cache still has shall not bring it here again.
            self.forget_linear();
        }
    }
}

fn flat(number: u64, selector: u16, rights: u64) {
    vmcs::write(field::GUEST_SELECTOR + 2 * number, selector.into());
    vmcs::write(field::GUEST_LIMIT + 2 * number, u32::MAX.into());
    vmcs::write(field::GUEST_RIGHTS + 2 * number, rights);
    vmcs::write(field::GUEST_BASE + 2 * number, 0);
}
