//! Debug registers that came to root. DR6 and DR7 are in the control block; DR0 to DR3 the processor has, and root leaves them
//! as they are.
//!
//! On silicon that is all, for DR7 is loaded with the guest. QEMU 7.2 keeps a list of breakpoints beside DR7 and changes it only
//! by the instruction that writes DR7, never when DR7 comes with a guest; and it finds what to take off the list by the
//! kinds of breakpoints in the DR7 that it replaces. If that one is not the guest's, QEMU dies or forgets one.
//!
//! **Holds always**
//! - G1: root's own DR7 is *parked*, with four disabled breakpoints of a kind that is on no list (I/O), or it is the
//!   guest's to the bit. While it is not parked every write of DR7 comes to root, watched or not, until one disarms all.
//! - G2: the guest's armed breakpoints are on the list, whoever put them there: its own instruction, or `rearm`.
//!
//! **Proof**: `tests/e2e/breakpoints.rs`, `tests/e2e/events_registers.rs`.
#![expect(unsafe_code, reason = "debug registers of the guest's, in the processor")]

use super::core::Svm;
use super::vmcb::{INTERCEPT_DR_READS, INTERCEPT_DR_WRITES, INTERCEPT_DR7_WRITES};
use crate::arch::x86::{self, debug};

/// Bits of DR7 that arm.
const ARMS: u64 = 0xff;
/// A bit that changes nothing but that DR7 is another.
const EXACT: u64 = 1 << 9;
const GENERAL_DETECT: u64 = 1 << 13;
/// Four disabled breakpoints for I/O.
const PARKED: u64 = 0x2222_0400;

fn write_dr7(value: u64) {
    // SAFETY: breakpoints that it arms are the guest's, at its addresses; root's #DB is ignored.
    unsafe { x86::write_dr7(value & !GENERAL_DETECT) };
}

impl Svm {
    /// Whether accesses to debug registers come to root.
    pub(super) fn watch_debug_registers(&mut self, on: bool) {
        self.debug_watched = on;
        self.vmcb.intercept_dr = match (on, self.parked) {
            (true, _) => INTERCEPT_DR_READS | INTERCEPT_DR_WRITES,
            (false, true) => 0,
            (false, false) => INTERCEPT_DR7_WRITES,
        };
    }

    /// See [`crate::arch::Core::debug_register`].
    pub(super) fn debug_register(&self, number: u8) -> u64 {
        match number {
            0..=3 => x86::breakpoint(number),
            6 => self.vmcb.dr6,
            _ => self.vmcb.dr7,
        }
    }

    /// See [`crate::arch::Core::set_debug_register`].
    pub(super) fn set_debug_register(&mut self, number: u8, value: u64) {
        match number {
            6 => self.vmcb.dr6 = debug::dr6(value),
            7 => self.rearm(|svm| svm.vmcb.dr7 = debug::dr7(value)),
            // SAFETY: an address of a breakpoint of the guest's, which asks for it.
            _ => self.rearm(|_| unsafe { x86::write_breakpoint(number, value) }),
        }
    }

    /// Changes debug registers between two states of QEMU's list (G2): empty, by the kinds that are on it, and as it shall be.
    fn rearm(&mut self, change: impl FnOnce(&mut Svm)) {
        let was_armed = self.vmcb.dr7 & ARMS != 0;
        if was_armed {
            self.empty();
        }
        change(self);
        // Else the list was empty and stays so, and DR7 is parked (G1).
        if was_armed || self.vmcb.dr7 & ARMS != 0 {
            self.park();
        }
    }

    /// Takes the guest's breakpoints off QEMU's list.
    fn empty(&self) {
        let kinds = self.vmcb.dr7 & !ARMS;
        // From parked this takes nothing off and puts nothing on; from the guest's own it takes all off.
        write_dr7(kinds);
        // Now whatever is on the list is of these kinds, and goes.
        write_dr7(kinds ^ EXACT);
    }

    /// Root's own DR7 becomes what G1 says; the list is empty, or what the guest's DR7 says.
    pub(super) fn park(&mut self) {
        self.parked = self.vmcb.dr7 & ARMS == 0;
        write_dr7(if self.parked { PARKED } else { self.vmcb.dr7 });
        self.watch_debug_registers(self.debug_watched);
    }

    /// Root leaves, and the guest's DR7 becomes the processor's.
    pub(super) fn unpark(&mut self) {
        self.empty();
        write_dr7(self.vmcb.dr7);
    }
}
