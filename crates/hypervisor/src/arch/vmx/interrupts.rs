//! External interrupts while events wait for them: taken into root, then delivered to the guest as it would have taken them.
//!
//! An interrupt exits whether the guest could take it or not. If it could not, interrupts exit no longer until the window's exit tells
//! that it can; what is pending comes then. Root takes it in a window of two instructions, in which its own stub notes the
//! vector. From then on the APIC has it in service, so it must reach the guest, be ended, or come once more.
//!
//! **Holds always**
//! - J1: an interrupt that was taken is injected before the guest executes anything.
//! - J2: a core that leaves with one in hand has it come once more.
//!
//! **Callers**: `core`. **Proof**: `tests/e2e/events_interrupt.rs`.
#![expect(unsafe_code, reason = "opens root's interrupt window")]

use super::core::Vmx;
use super::deliver::is_interrupt;
use super::field::primary;
use crate::arch::x86::{apic, event, trap};
use core::arch::asm;

impl Vmx {
    /// Interrupts come to root, or no longer.
    pub(super) fn watch_interrupts(&mut self, on: bool) {
        self.interrupts_watched = on;
        self.set_primary(primary::INTERRUPT_WINDOW, false);
        self.stop_interrupts(on);
    }

    /// An interrupt exited that the guest does not take just now.
    pub(super) fn wait_for_window(&mut self) {
        self.stop_interrupts(false);
        self.set_primary(primary::INTERRUPT_WINDOW, true);
    }

    /// The guest takes interrupts.
    pub(super) fn window_came(&mut self) {
        self.set_primary(primary::INTERRUPT_WINDOW, false);
        self.stop_interrupts(self.interrupts_watched);
    }

    pub(super) fn acknowledge(&mut self) -> Option<u8> {
        if self.interrupted != 0 {
            return None;
        }
        // SAFETY: root's IDT is loaded, and interrupts are off in root; the stub notes what came, closes the window and changes
        // no register. The stack below is free (no red zone).
        unsafe { asm!("sti", "nop", "nop", "cli") };
        let vector = trap::interrupt_taken()?;
        self.held = vector;
        Some(vector)
    }

    pub(super) fn deliver_interrupt(&mut self, vector: u8) {
        self.held = 0;
        if self.takes_interrupts() {
            self.set_event(event::VALID | event::EXTERNAL | u64::from(vector));
        } else {
            // A script has closed the guest's own window meanwhile.
            apic::repeat(vector);
        }
    }

    pub(super) fn end_interrupt(&mut self, vector: u8) {
        self.held = 0;
        apic::end(vector);
    }

    /// J2.
    pub(super) fn give_back_interrupts(&mut self) {
        for what in [self.event, self.interrupted] {
            if is_interrupt(what) {
                apic::repeat(what.to_le_bytes()[0]);
            }
        }
        if self.held != 0 {
            apic::repeat(self.held);
        }
    }
}
