//! The local APIC, to send NMIs to other cores, and the I/O APIC, to make the UART's line an NMI.
//!
//! Both are read and written where PCs have them: the local APIC where its MSR says, the I/O APIC at 0xfec00000 (82093AA
//! data sheet). Where no I/O APIC answers there, the line is left alone and breaking in waits for the next exit.
#![expect(unsafe_code, reason = "memory-mapped registers")]

use super::{msr, read_msr, relax, uart, write_msr};
use abi::boot::DIRECT_VA;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

const IO_APIC_PA: u64 = 0xfec0_0000;
const IO_APIC_PINS_MIN: u32 = 16;
const ICR_LOW: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;
const ICR_BUSY: u32 = 1 << 12;
const ICR_SELF: u32 = 1 << 18 | 1 << 14;
const IN_SERVICE: u64 = 0x100;
const END: u64 = 0xb0;
const ICR_NMI: u32 = 4 << 8 | 1 << 14;
/// The line's redirection entry as Linux had it, with bit 63 of the high half free to say "saved".
static SAVED: AtomicU64 = AtomicU64::new(u64::MAX);

fn x2apic() -> Option<bool> {
    // SAFETY: every processor of ours has this register.
    let base = unsafe { read_msr(msr::APIC_BASE) };
    (base & 1 << 11 != 0).then_some(base & 1 << 10 != 0)
}

fn register(offset: u64) -> *mut u32 {
    // SAFETY: as in `x2apic`.
    let base = unsafe { read_msr(msr::APIC_BASE) } & 0x000f_ffff_ffff_f000;
    (DIRECT_VA + base + offset) as *mut u32
}

/// This core's APIC id.
#[must_use]
pub fn id() -> u32 {
    match x2apic() {
        // SAFETY: the register exists in this mode.
        #[expect(clippy::cast_possible_truncation, reason = "the id is 32 bits wide")]
        Some(true) => unsafe { read_msr(msr::X2APIC_ID) as u32 },
        // SAFETY: the page is below 4 GiB, so mapped (D1 in `direct`); its type is the firmware's MTRR, uncached.
        Some(false) => unsafe { register(0x20).read_volatile() >> 24 },
        None => 0,
    }
}

/// Sends an NMI to the core with this APIC id. What Linux had begun to write to the command register is kept.
pub fn send_nmi(target: u32) {
    match x2apic() {
        Some(true) => {
            let command = u64::from(target) << 32 | u64::from(ICR_NMI);
            // SAFETY: the register exists in this mode; an NMI to a core under root is an exit there.
            unsafe { write_msr(msr::X2APIC_ICR, command) };
        }
        Some(false) => {
            // SAFETY: mapped as in `id`; this core is in root, so Linux is not in the middle of anything here but the
            // two halves of a command, and the half it may have written already is put back.
            unsafe {
                let high = register(ICR_HIGH).read_volatile();
                for _ in 0..100_000 {
                    if register(ICR_LOW).read_volatile() & ICR_BUSY == 0 {
                        break;
                    }
                    relax();
                }
                register(ICR_HIGH).write_volatile(target << 24);
                register(ICR_LOW).write_volatile(ICR_NMI);
                register(ICR_HIGH).write_volatile(high);
            }
        }
        None => {}
    }
}

/// Reads or writes a register that both modes have, by its offset in the page.
fn both(offset: u64, write: Option<u32>) -> u32 {
    let msr = msr::X2APIC_FIRST + u32::try_from(offset >> 4).unwrap_or(0);
    match (x2apic(), write) {
        // SAFETY: the register exists in this mode; the callers write only what ends or repeats an interrupt of the guest's.
        (Some(true), Some(value)) => unsafe { write_msr(msr, value.into()) },
        #[expect(clippy::cast_possible_truncation, reason = "registers are 32 bits wide")]
        // SAFETY: as above.
        (Some(true), None) => return unsafe { read_msr(msr) as u32 },
        // SAFETY: mapped as in `id`; as above.
        (Some(false), Some(value)) => unsafe { register(offset).write_volatile(value) },
        // SAFETY: mapped as in `id`.
        (Some(false), None) => return unsafe { register(offset).read_volatile() },
        (None, _) => {}
    }
    0
}

/// Ends an interrupt that this core has taken and its Linux never gets. One that is not in service (a spurious one, or the
/// old controller's) has no end here.
pub fn end(vector: u8) {
    let word = both(IN_SERVICE + u64::from(vector >> 5) * 0x10, None);
    if word & 1 << (vector & 31) != 0 {
        both(END, Some(0));
    }
}

/// Has an interrupt that this core has taken come once more.
pub fn repeat(vector: u8) {
    end(vector);
    match x2apic() {
        // SAFETY: the register exists in this mode; the interrupt is one that this core's Linux was about to get.
        Some(true) => unsafe { write_msr(msr::X2APIC_SELF, vector.into()) },
        Some(false) => {
            both(ICR_LOW, Some(ICR_SELF | u32::from(vector)));
        }
        None => {}
    }
}

fn io_apic<T>(work: impl FnOnce(&dyn Fn(u32) -> u32, &dyn Fn(u32, u32)) -> T) -> T {
    let select = (DIRECT_VA + IO_APIC_PA) as *mut u32;
    let window = (DIRECT_VA + IO_APIC_PA + 0x10) as *mut u32;
    // SAFETY: below 4 GiB, so mapped (D1); the caller made sure that no other core is between the two registers.
    let before = unsafe { select.read_volatile() };
    let read = |index: u32| {
        // SAFETY: as above.
        unsafe {
            select.write_volatile(index);
            window.read_volatile()
        }
    };
    let write = |index: u32, value: u32| {
        // SAFETY: as above; only the entry of the UART's own line is written.
        unsafe {
            select.write_volatile(index);
            window.write_volatile(value);
        }
    };
    let result = work(&read, &write);
    // SAFETY: as above; Linux finds the index it had selected.
    unsafe { select.write_volatile(before) };
    result
}

const ENTRY: u32 = 0x10 + 2 * uart::LINE as u32;

/// Makes the UART's line an NMI to the core with this APIC id; `false` if no I/O APIC answers or the id is too large
/// for its entry.
///
/// # Safety
/// No other core runs Linux code at the moment, which might be between the I/O APIC's two registers.
pub unsafe fn line_to_nmi(target: u32) -> bool {
    if target > 0xfe {
        return false;
    }
    io_apic(|read, write| {
        let pins = (read(1) >> 16 & 0xff) + 1;
        if read(1) == u32::MAX || pins < IO_APIC_PINS_MIN {
            return false;
        }
        if SAVED.load(Relaxed) == u64::MAX {
            SAVED.store(u64::from(read(ENTRY + 1)) << 32 | u64::from(read(ENTRY)), Relaxed);
        }
        write(ENTRY, 1 << 16);
        write(ENTRY + 1, target << 24);
        write(ENTRY, 4 << 8);
        true
    })
}

/// Gives the line back as Linux had it.
///
/// # Safety
/// As [`line_to_nmi`].
pub unsafe fn line_restore() {
    let saved = SAVED.swap(u64::MAX, Relaxed);
    if saved != u64::MAX {
        #[expect(clippy::cast_possible_truncation, reason = "two halves of one entry")]
        io_apic(|_, write| {
            write(ENTRY, 1 << 16);
            write(ENTRY + 1, (saved >> 32) as u32);
            write(ENTRY, saved as u32);
        });
    }
}
