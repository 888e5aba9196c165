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
use super::vmcb::{Segment, event, exit_code, intercept_1};
use super::{EFER_LMA, EFER_SCE};
use crate::arch::x86::decode::INSTRUCTION_BYTES_MAX;
use crate::arch::x86::syscall::{self, Decoded, Targets};
use crate::arch::x86::vector;
use crate::arch::{Core, Event, Exit};

pub(super) const EXCEPTION_DB: u32 = 1 << 1;
pub(super) const EXCEPTION_BP: u32 = 1 << 3;
const EXCEPTION_OF: u32 = 1 << 4;
const EXCEPTION_UD: u32 = 1 << 6;
/// All but the vector of NMIs.
const EVERY_EXCEPTION: u32 = !(1 << 2);
/// Vectors that push an error code: #DF #TS #NP #SS #GP #PF #AC #CP #VC #SX.
const WITH_ERROR: u32 = 0x6022_7d00;
/// #DE #TS #NP #SS #GP: two of them one in the other are a double fault.
const CONTRIBUTORY: u32 = 0x3c01;
/// CS attribute L: 64-bit code.
const LONG: u16 = 1 << 9;
/// Attributes of flat segments: 64-bit code and data of ring 0, code of ring 3 by its width, data of ring 3.
const KERNEL_CODE: u16 = 0xa9b;
const KERNEL_DATA: u16 = 0xc93;
const USER_CODE: [u16; 2] = [0xcfb, 0xafb];
const USER_DATA: u16 = 0xcf3;
/// DR6.BS: a single step.
pub(super) const DR6_STEP: u64 = 1 << 14;
/// How often an instruction that cannot be read is fetched again before it counts as undefined: the first fetch faults for
/// the page, the others are for a page that comes and goes.
const FETCHES_MAX: u8 = 8;

/// What is watched of these, and what of the guest's state it displaces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Vectors that events wait for.
    wanted: u32,
    /// Vectors that are only passed on.
    passed: u32,
    /// SYSCALL and SYSRET.
    calls: bool,
    /// EFER.SCE as the guest wrote it, while `calls`.
    enabled: bool,
    /// Where an instruction could not be read, and how often in a row.
    unread: (u64, u8),
}

impl Svm {
    /// Whether the guest is in 64-bit code.
    pub(super) fn is_long(&self) -> bool {
        self.vmcb.efer & EFER_LMA != 0 && self.vmcb.cs.attributes & LONG != 0
    }

    pub(super) fn want_exceptions(&mut self, vectors: u32) {
        self.faults.wanted = vectors;
        self.intercept();
    }

    pub(super) fn pass_exceptions(&mut self, vectors: u32, on: bool) {
        let passed = self.faults.passed;
        self.faults.passed = if on { passed | vectors } else { passed & !vectors };
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
        let Faults { wanted, passed, calls, .. } = self.faults;
        let mut vectors = wanted | passed | if calls { EXCEPTION_UD } else { 0 };
        if self.step.is_instruction() {
            vectors = EVERY_EXCEPTION;
        }
        self.vmcb.intercept_exceptions = vectors;
        // QEMU reports INT3 and INTO as software interrupts.
        if vectors & (EXCEPTION_BP | EXCEPTION_OF) != 0 {
            self.vmcb.intercept_1 |= intercept_1::INTN;
        } else {
            self.vmcb.intercept_1 &= !intercept_1::INTN;
        }
    }

    /// The bit of EFER that the guest has and the processor has not.
    pub(super) fn hidden_efer(&self) -> u64 {
        if self.faults.calls && self.faults.enabled { EFER_SCE } else { 0 }
    }

    /// EFER for the processor, of one that the guest asks for.
    pub(super) fn hide_efer(&mut self, value: u64) -> u64 {
        self.faults.enabled = value & EFER_SCE != 0;
        if self.faults.calls { value & !EFER_SCE } else { value }
    }

    /// What a #UD is.
    pub(super) fn undefined(&self) -> Exit {
        let undefined = self.exception(exit_code::EXCP_UD);
        if self.hidden_efer() == 0 || self.vmcb.efer & EFER_LMA == 0 {
            return undefined;
        }
        let mut bytes = [0; INSTRUCTION_BYTES_MAX];
        let n = self.code(&mut bytes);
        match syscall::decode(bytes.get(..n).unwrap_or_default(), self.is_long()) {
            Decoded::Is(found) if found.returns => Exit::SystemReturn { wide: found.wide },
            Decoded::Is(found) => Exit::SystemCall { length: u8::try_from(found.length).unwrap_or(2) },
            Decoded::Other => undefined,
            // It was fetched a moment ago, so another core has taken the page away meanwhile.
            Decoded::Short => Exit::Unread,
        }
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
            self.vmcb.dr6 |= DR6_STEP;
            self.set_event(event::EXCEPTION, vector::DB);
        }
    }

    /// See [`crate::arch::Core::fetch_again`].
    pub(super) fn fetch_unread(&mut self) {
        let (rip, times) = self.faults.unread;
        let times = if rip == self.vmcb.rip { times.saturating_add(1) } else { 1 };
        self.faults.unread = (self.vmcb.rip, times);
        if times > FETCHES_MAX {
            self.faults.unread = (0, 0);
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

/// An exception as it is injected.
pub(super) fn exception(vector: u64, error: u64) -> u64 {
    let error = if WITH_ERROR >> vector & 1 == 0 { 0 } else { event::ERROR | error << 32 };
    event::VALID | event::EXCEPTION | vector | error
}

/// What the guest gets of an exception that came while `first` was delivered (0: while nothing was); `None` is a shutdown.
///
/// Where the two are no double fault the second is delivered alone, at the instruction that the first was delivered at: a
/// fault comes again with its instruction, a trap or an interrupt is lost, as it is without root. Linux' stacks and tables
/// for deliveries are always there, so of these two only a kernel that is overflowing its stack sees anything.
fn combined(first: u64, vector: u64, error: u64) -> Option<u64> {
    let second = exception(vector, error);
    if first & event::VALID == 0 || first & event::TYPE != event::EXCEPTION {
        return Some(second);
    }
    let first = first & 0xff;
    let contributory = |vector: u64| vector < 32 && CONTRIBUTORY >> vector & 1 != 0;
    let severe = contributory(vector) || vector == vector::PF;
    match first {
        vector::DF if severe => None,
        vector::PF if severe => Some(exception(vector::DF, 0)),
        first if contributory(first) && contributory(vector) => Some(exception(vector::DF, 0)),
        _ => Some(second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DE: u64 = 0;
    const UD: u64 = 6;
    const DF: u64 = vector::DF;
    const GP: u64 = vector::GP;
    const PF: u64 = vector::PF;

    /// Would catch an exception without the error code that its handler expects on the stack, or with one that it does not.
    #[test]
    fn an_exception_is_passed_on_with_its_error_code_and_no_other_has_one() {
        assert_eq!(combined(0, PF, 7), Some(7 << 32 | 0x8000_0b0e));
        assert_eq!(combined(0, UD, 7), Some(0x8000_0306));
        let with: u32 = (0..32).filter(|v| exception(*v, 0) & event::ERROR != 0).map(|v| 1 << v).sum();
        assert_eq!(with, 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21 | 3 << 29);
    }

    /// Would catch a guest that goes on where a processor would have said double fault or stopped, or the other way round
    /// (APM2 8.2.9, table "Simultaneous Contributory and Non-Contributory Exceptions").
    #[test]
    fn two_at_once_become_what_the_processor_makes_of_them() {
        let double = Some(exception(DF, 0));
        for (first, second, becomes) in [
            (DE, GP, double),
            (GP, DE, double),
            (PF, GP, double),
            (PF, PF, double),
            (GP, PF, Some(exception(PF, 5))),
            (UD, PF, Some(exception(PF, 5))),
            (PF, UD, Some(exception(UD, 0))),
            (DF, PF, None),
            (DF, GP, None),
            (DF, UD, Some(exception(UD, 0))),
        ] {
            assert_eq!(combined(exception(first, 0), second, if second == PF { 5 } else { 0 }), becomes, "{first} {second}");
        }
        for other in [event::EXTERNAL, event::NMI, event::SOFTWARE] {
            assert_eq!(combined(event::VALID | other | PF, PF, 5), Some(exception(PF, 5)));
        }
        assert_eq!(combined(exception(PF, 0) & !event::VALID, PF, 5), Some(exception(PF, 5)), "nothing was delivered");
    }
}
