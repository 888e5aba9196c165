//! External interrupts while events wait for them: taken into root, then delivered to the guest as it would have taken them.
//!
//! The exit comes where the guest could take the interrupt (its own flag and shadow count), before the local APIC is asked for
//! its vector. Root asks by taking it: a window of two instructions, in which its own stub notes the vector. From then on the
//! APIC has it in service, so it must reach the guest, be ended, or come once more.
//!
//! **Holds always**
//! - J1: an interrupt that was taken is injected before the guest executes anything: the next entry is free for it, since an
//!   exit that interrupted a delivery takes none.
//! - J2: a core that leaves with one in hand has it come once more.
//! - J3: the guest exits right behind the delivery of an injected one. QEMU 7.2 needs that: `helper_vmrun` leaves the vector behind
//!   as an exception to come, and delivers it once more, wherever the guest is, when another thread next asks the core to stop
//!   for a moment; an exit clears it. An NMI from the core to itself makes that exit.
//!
//! **Callers**: `core`. **Proof**: `tests/e2e/events_interrupt.rs`.
#![expect(unsafe_code, reason = "opens root's interrupt window")]

use super::core::Svm;
use super::run;
use crate::arch::x86::{apic, event, trap};

impl Svm {
    pub(super) fn acknowledge(&mut self) -> Option<u8> {
        if self.interrupted != 0 {
            return None;
        }
        let before = trap::nmis_taken();
        // SAFETY: SVM is on (C2), root's IDT is loaded, and VMEXIT left both interrupt flags clear.
        unsafe { run::interrupt_window() };
        if trap::nmis_taken() != before {
            // It goes where it came from, and exits at the next entry: whose it is is found out there.
            self.stray = true;
            apic::send_nmi(apic::id());
        }
        let vector = trap::interrupt_taken()?;
        self.held = vector;
        Some(vector)
    }

    pub(super) fn deliver_interrupt(&mut self, vector: u8) {
        self.held = 0;
        self.vmcb.event_injection = event::VALID | event::EXTERNAL | u64::from(vector);
        self.due = true;
    }

    /// J3.
    pub(super) fn follow(&mut self) {
        self.follows = true;
        apic::send_nmi(apic::id());
    }

    /// Something else goes first: an interrupt that was to be injected comes once more behind it.
    pub(super) fn put_off_interrupt(&mut self) {
        if is_interrupt(self.vmcb.event_injection) {
            apic::repeat(self.vmcb.event_injection.to_le_bytes()[0]);
        }
    }

    pub(super) fn end_interrupt(&mut self, vector: u8) {
        self.held = 0;
        apic::end(vector);
    }

    /// J2.
    pub(super) fn give_back_interrupts(&mut self) {
        for word in [self.vmcb.event_injection, self.interrupted] {
            if is_interrupt(word) {
                apic::repeat(word.to_le_bytes()[0]);
            }
        }
        if self.held != 0 {
            apic::repeat(self.held);
        }
    }
}

pub(super) fn is_interrupt(word: u64) -> bool {
    word & event::VALID != 0 && word & event::TYPE == event::EXTERNAL
}
