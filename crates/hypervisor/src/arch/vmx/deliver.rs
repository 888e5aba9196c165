//! Events on their way to the guest: what an exit interrupted, what root makes happen, and NMIs, one at a time.
//!
//! **Holds always**
//! - C3: an event whose delivery an exit interrupted is delivered before anything else.
//! - I1: an NMI is delivered when the guest takes one, as the processor would: with virtual NMIs it keeps account, and the
//!   window's exit tells.
//! - I2: an entry that did not happen has delivered nothing.
//!
//! **Callers**: `core`.

use super::core::Vmx;
use super::field::{self, pin, primary};
use super::vmcs;
use crate::arch::x86::flag::IF;
use crate::arch::x86::{apic, event, vector};
use crate::arch::{Event, Injection};

/// Interruptibility (SDM3 table 25-3): behind STI, behind MOV SS, behind an NMI.
pub(super) const BY_STI: u64 = 1;
pub(super) const BY_MOV_SS: u64 = 1 << 1;
pub(super) const BY_NMI: u64 = 1 << 3;
/// Type of an event: INT3 or INTO.
const TRAP: u64 = 6 << 8;
/// Type of an event: INT1.
const PRIVILEGED: u64 = 5 << 8;

/// Whether an instruction made the event, so that what is pushed is behind it.
pub(super) fn has_length(what: u64) -> bool {
    matches!(what & event::TYPE, event::SOFTWARE | TRAP | PRIVILEGED)
}

pub(super) fn is_interrupt(what: u64) -> bool {
    what & event::VALID != 0 && what & event::TYPE == event::EXTERNAL
}

impl Vmx {
    /// Whether the guest takes external interrupts just now.
    pub(super) fn takes_interrupts(&self) -> bool {
        vmcs::read(field::GUEST_RFLAGS) & IF != 0 && vmcs::read(field::INTERRUPTIBILITY) & (BY_STI | BY_MOV_SS) == 0
    }

    /// C3, and an NMI that is due.
    #[cold]
    pub(super) fn deliver(&mut self) {
        // An NMI waits for the end of what passes (P1 of `step`), and behind that the exit is certain.
        let passing = self.is_passing();
        self.due = self.nmi && passing;
        if self.interrupted != 0 {
            // What root wanted to inject here (#UD, #GP) cannot be asked for by an exit that interrupted a delivery: no
            // instruction was executing.
            self.put_off_interrupt();
            self.event = core::mem::take(&mut self.interrupted);
        }
        if self.nmi && !passing {
            match vmcs::read(field::INTERRUPTIBILITY) & (BY_STI | BY_MOV_SS | BY_NMI) {
                0 if self.event == 0 => (self.nmi, self.event) = (false, event::VALID | event::NMI | vector::NMI),
                // Its own window comes at once then, though an NMI might be refused: STI holds back what comes before HLT.
                state if state & BY_STI != 0 => self.set_primary(primary::INTERRUPT_WINDOW, true),
                _ => self.set_primary(primary::NMI_WINDOW, true),
            }
        }
        if self.event == 0 {
            return;
        }
        if self.event & event::TYPE == event::NMI {
            // Its delivery was interrupted: the processor holds NMIs back already, and refuses one then.
            self.set_blocking(BY_NMI, false);
        }
        vmcs::write(field::ENTRY_EVENT, self.event & 0xffff_ffff);
        vmcs::write(field::ENTRY_ERROR, self.event >> 32);
        if has_length(self.event) {
            vmcs::write(field::ENTRY_LENGTH, self.event_length);
        }
    }

    /// I2.
    #[cold]
    pub(super) fn not_entered(&mut self) {
        vmcs::write(field::ENTRY_EVENT, 0);
        if self.event != 0 {
            (self.interrupted, self.event, self.due) = (self.event, 0, true);
        }
    }

    /// An exit came while an event was being delivered.
    #[cold]
    pub(super) fn remember(&mut self, what: u64) {
        self.due = true;
        let error = if what & event::ERROR == 0 { 0 } else { vmcs::read(field::VECTORING_ERROR) << 32 };
        self.interrupted = what & 0xffff_efff | error;
        self.event_length = if has_length(what) { vmcs::read(field::EXIT_LENGTH) } else { 0 };
    }

    /// Has an event delivered on the next entry.
    pub(super) fn set_event(&mut self, what: u64) {
        (self.event, self.due) = (what, true);
    }

    pub(super) fn make(&mut self, what: Event) {
        match what {
            Event::Nmi => (self.nmi, self.due) = (true, true),
            Event::UndefinedInstruction => self.set_event(event::exception(vector::UD, 0)),
            Event::GeneralProtection => self.set_event(event::exception(vector::GP, 0)),
            Event::Debug => self.set_event(event::exception(vector::DB, 0)),
            Event::PageFault { address, error } => {
                self.set_fault_address(address);
                self.set_event(event::exception(vector::PF, error.into()));
            }
        }
    }

    /// See [`crate::arch::Core::inject_instead`].
    pub(super) fn make_instead(&mut self, kind: Injection, vector: u8, code: Option<u32>) -> bool {
        let plain = event::exception(vector.into(), code.unwrap_or(0).into());
        let what = match kind {
            // The entry is refused unless the guest takes it (SDM3 27.3.1.4).
            Injection::External if self.takes_interrupts() && code.is_none() => {
                event::VALID | event::EXTERNAL | u64::from(vector)
            }
            Injection::Nmi if vector == 2 && code.is_none() => event::VALID | event::NMI | vector::NMI,
            Injection::Exception if vector < 32 && vector != 2 && (plain & event::ERROR != 0) == code.is_some() => plain,
            Injection::Software if code.is_none() => event::VALID | event::SOFTWARE | u64::from(vector),
            _ => return false,
        };
        if self.interrupted != 0 {
            return false;
        }
        if has_length(what) {
            // What is pushed is where the guest is: so the instruction lies before it.
            self.event_length = 1;
            vmcs::write(field::GUEST_RIP, vmcs::read(field::GUEST_RIP).wrapping_sub(1));
        }
        // What is due first at the next entry (C3).
        (self.interrupted, self.due) = (what, true);
        true
    }

    pub(super) fn set_blocking(&self, bits: u64, on: bool) {
        let now = vmcs::read(field::INTERRUPTIBILITY);
        vmcs::write(field::INTERRUPTIBILITY, if on { now | bits } else { now & !bits });
    }

    /// Sets or clears primary controls.
    pub(super) fn set_primary(&mut self, bits: u32, on: bool) {
        let wanted = if on { self.primary | bits } else { self.primary & !bits };
        if wanted != self.primary {
            self.primary = wanted;
            vmcs::write(field::PRIMARY_CONTROLS, wanted.into());
        }
    }

    /// External interrupts exit.
    pub(super) fn stop_interrupts(&mut self, on: bool) {
        self.pin = if on { self.pin | pin::INTERRUPTS } else { self.pin & !pin::INTERRUPTS };
        vmcs::write(field::PIN_CONTROLS, self.pin.into());
    }

    /// Something else goes first: an interrupt that was to be injected comes once more behind it.
    pub(super) fn put_off_interrupt(&mut self) {
        if is_interrupt(self.event) {
            apic::repeat(self.event.to_le_bytes()[0]);
            self.event = 0;
        }
    }
}
