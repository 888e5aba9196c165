//! A core's own region: its stacks and what its trap stubs must find without a register.
//!
//! Core `n` has `[CORES_VA + n * CORE_STRIDE, + CORE_STRIDE)`; the first page is never mapped.
//! ```text
//! +0x00000  guard          a stack that grows too far faults here, on the fault stack
//! +0x01000  main stack     92 KiB, all of root runs here; a fifth of it is what scripts run on
//! +0x18000  NMI stack       8 KiB, IST 1
//! +0x1a000  fault stack    16 KiB, IST 2: last words
//! +0x1e000  `Local`
//! ```
//! G1: a region belongs to one core; other cores never touch it. The trap stubs find it by masking `rsp`.
#![expect(unsafe_code, reason = "the one file that makes a reference of a region's address")]

use super::tables::Tss;
use crate::arch::Core;
use abi::boot::{CORE_STRIDE, CORES_VA, FRAME_BYTES};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Top of the main stack, from the region's start.
pub const STACK_TOP: u64 = 0x1_8000;
/// Top of the NMI stack.
pub const NMI_STACK_TOP: u64 = 0x1_a000;
/// Top of the fault stack.
pub const FAULT_STACK_TOP: u64 = 0x1_e000;
/// Where [`Local`] lies.
pub const LOCAL: u64 = 0x1_e000;

/// What one core's traps and tables need.
#[repr(C)]
pub struct Local {
    /// NMIs that root itself took in a window (`trap::open_nmi_window`). The stub counts here: offset 0.
    pub nmis: AtomicU64,
    /// Vector of an interrupt that root took in a window and nobody has asked for yet, or 0; the stub notes it here.
    pub interrupt: AtomicU64,
    /// The core's number with Linux.
    pub core: AtomicU32,
    /// Not 0: the next NMI goes back without IRET, and clears this (`trap::hold_nmis`).
    pub keeps: AtomicU32,
    /// Address of the vendor's core object while there is one, else 0; for letting go after a fault.
    pub object: AtomicU64,
    /// While code of the user's runs, the stack to come back to (`called`); else 0.
    pub called: AtomicU64,
    /// The exception that ended such code,
    pub vector: AtomicU64,
    /// and where.
    pub fault_rip: AtomicU64,
    /// Changes of the window that this core has seen (`window`).
    pub window: AtomicU64,
    /// Its descriptor table.
    pub gdt: [AtomicU64; 12],
    /// Its task state, for the stacks of traps.
    pub tss: Tss,
}
const _: () = assert!(core::mem::offset_of!(Local, nmis) == 0);

/// Bytes of a region that the module maps, the guard page not counted.
#[expect(clippy::cast_possible_truncation, reason = "asserted below a region's size")]
pub const CORE_BYTES: u32 = {
    let bytes = (LOCAL + size_of::<Local>() as u64).next_multiple_of(FRAME_BYTES) - FRAME_BYTES;
    assert!(bytes < CORE_STRIDE);
    bytes as u32
};

/// The region of the core that runs this.
///
/// Only in root: on the host there are no regions.
#[must_use]
pub fn local() -> &'static Local {
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
    let base = rsp & !(CORE_STRIDE - 1);
    debug_assert!(base >= CORES_VA);
    // SAFETY: in root every stack lies in the core's region, mapped at `LOCAL` and zero at first, which is a valid
    // `Local`; all its fields are atomics, and by G1 only this core uses them.
    unsafe { &*((base + LOCAL) as *const Local) }
}

/// The core object of the core that runs this gives its guest back to bare metal, after a fault of root's. `C` is the vendor's.
pub fn let_go<C: Core>() -> ! {
    #[expect(clippy::cast_possible_truncation, reason = "an address of this 64-bit processor")]
    let object = core::ptr::with_exposed_provenance_mut::<C>(local().object.load(Relaxed) as usize);
    if object.is_null() {
        super::halt_for_ever();
    }
    // SAFETY: the vendor's `settle_down` stored the address of its object on this core's main stack, which nobody uses any more:
    // the code that did faulted and is never resumed. The control block holds the guest as the last exit left it.
    let object = unsafe { &mut *object };
    // The line of the link may have rung, or another core kicked this one: nobody would know what to do with it.
    let _taken = object.take_nmi();
    object.leave()
}
