//! The time stamp counter and the local APIC's timer that waits for it, as a guest reads and writes them from whom time is hidden.
//!
//! The timer compares with the real counter, the guest asks by its own.
#![expect(unsafe_code, reason = "writes the counter")]

use super::{has_tsc_deadline, msr, set_tsc_deadline, trap, tsc, tsc_deadline};

/// Reads the counter or the timer; `None` if there is no such timer.
#[must_use]
pub fn read(register: u32, hidden: u64) -> Option<u64> {
    match register {
        msr::TSC => Some(tsc().wrapping_sub(hidden)),
        _ if !has_tsc_deadline() => None,
        _ => match tsc_deadline() {
            0 => Some(0),
            deadline => Some(deadline.wrapping_sub(hidden)),
        },
    }
}

/// Writes one of the two; false if the guest would fault.
pub fn write(register: u32, value: u64, hidden: u64) -> bool {
    match register {
        // SAFETY: the counter is the guest's; root only looks at differences.
        msr::TSC => unsafe { trap::try_write_msr(register, value.wrapping_add(hidden)) },
        _ if !has_tsc_deadline() => false,
        _ => {
            set_tsc_deadline(if value == 0 { 0 } else { value.wrapping_add(hidden) });
            true
        }
    }
}
