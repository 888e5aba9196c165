//! The instructions of the extension: VMXON to VMXOFF, the current control structure, invalidations.
//!
//! Between VMPTRLD at entry and VMCLEAR when it leaves, a core's structure is current on it, and nobody else's: a field is
//! read and written without naming it.
#![expect(unsafe_code, reason = "VMX instructions")]

use core::arch::asm;

/// VMX refused, with or without an error number in the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Enters VMX root operation with this region, whose first word is the processor's revision.
///
/// # Errors
/// [`Refused`].
///
/// # Safety
/// CR4.VMXE is set, the feature control register allows it, and the frame is nobody else's until [`off`].
pub unsafe fn on(region: u64) -> Result<(), Refused> {
    let refused: u8;
    // SAFETY: by the caller; the instruction reads the address from the stack's word.
    unsafe { asm!("vmxon [{}]", "setna {}", in(reg) &raw const region, out(reg_byte) refused, options(nostack)) };
    if refused == 0 { Ok(()) } else { Err(Refused) }
}

/// Leaves VMX operation.
///
/// # Safety
/// The core is in VMX root operation, and its structure was cleared.
pub unsafe fn off() {
    // SAFETY: by the caller.
    unsafe { asm!("vmxoff", options(nostack)) };
}

/// Writes a structure back to memory and forgets it.
///
/// # Errors
/// [`Refused`].
///
/// # Safety
/// The core is in VMX root operation; the frame is a structure of this core's.
pub unsafe fn clear(structure: u64) -> Result<(), Refused> {
    let refused: u8;
    // SAFETY: by the caller.
    unsafe { asm!("vmclear [{}]", "setna {}", in(reg) &raw const structure, out(reg_byte) refused, options(nostack)) };
    if refused == 0 { Ok(()) } else { Err(Refused) }
}

/// Makes a structure the current one.
///
/// # Errors
/// [`Refused`].
///
/// # Safety
/// As [`clear`], which came before.
pub unsafe fn load(structure: u64) -> Result<(), Refused> {
    let refused: u8;
    // SAFETY: by the caller.
    unsafe { asm!("vmptrld [{}]", "setna {}", in(reg) &raw const structure, out(reg_byte) refused, options(nostack)) };
    if refused == 0 { Ok(()) } else { Err(Refused) }
}

/// Reads a field of the current structure. 0 if there is no such field.
#[inline(always)]
#[must_use]
pub fn read(field: u64) -> u64 {
    let value: u64;
    // SAFETY: callers exist only as core objects, which live while their structure is current on their core (V1); reading has
    // no effect but on the flags. A field that is not there leaves the register as it was: 0.
    unsafe { asm!("vmread {0}, {1}", inout(reg) 0_u64 => value, in(reg) field, options(nostack)) };
    value
}

/// The same of a field of 32 bits.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the field is 32 bits wide")]
pub fn read32(field: u64) -> u32 {
    read(field) as u32
}

/// Writes a field of the current structure. A field that is not there is left alone.
#[inline(always)]
pub fn write(field: u64, value: u64) {
    // SAFETY: as `read`; what the guest's state and the controls may be is checked at entry by the processor, and what they must
    // be so that nothing of root's is reachable is this floor's promise (V2).
    unsafe { asm!("vmwrite {0}, {1}", in(reg) field, in(reg) value, options(nostack)) };
}

/// What INVEPT or INVVPID is to forget.
#[repr(C, align(16))]
struct Descriptor([u64; 2]);

/// Forgets all translations that come of EPT: every pointer's.
pub fn invalidate_ept() {
    let all = Descriptor([0, 0]);
    // SAFETY: the core is in VMX root operation (V1), and `supported` saw that the instruction knows this kind. Forgetting is
    // always right.
    unsafe { asm!("invept {}, [{}]", in(reg) 2_u64, in(reg) &raw const all, options(nostack, readonly)) };
}

/// Forgets all translations of the guest's own tables. Only where VPIDs are used.
pub fn invalidate_linear() {
    let all = Descriptor([0, 0]);
    // SAFETY: as `invalidate_ept`; where VPIDs are used, this kind is there.
    unsafe { asm!("invvpid {}, [{}]", in(reg) 2_u64, in(reg) &raw const all, options(nostack, readonly)) };
}
