//! Calls machine code of the user's, and comes back from it whatever it does to its registers or by a fault.
//!
//! **Holds always**
//! - L1: while the region's `called` is not 0, an exception (but not a machine check) ends the call: the trap stub goes on at
//!   `called_over`, on the stack that it says.
//! - L2: code that returns on another stack than it was called on is ended by an exception of ours: L1.
//! - L3: after a call flags are as Rust expects them and callee-saved registers as they were.
//!
//! Interrupts are off and (AMD) the global interrupt flag is clear, so nothing ends code that never does.
//!
//! **Callers**: `custom`, on the core whose event it is.
#![expect(unsafe_code, reason = "machine code that Rust has not compiled")]

use super::region::{LOCAL, Local, local};
use super::window;
use abi::boot::CORE_STRIDE;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering::Relaxed;

/// An exception that ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its vector.
    pub vector: u8,
    /// Where, from the event's place on; wraps if it happened before it.
    pub offset: u64,
}

/// Nothing has happened.
const NONE: u64 = u64::MAX;

// rdi = the code, rsi = what it gets in rcx, rdx, r8; rdx = `called` of the region. Below the return address the code finds
// 32 bytes that it may write, as the Windows convention has it.
global_asm!(
    r#"
    .section .text
    .balign 16
called_call:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdx
    sub rsp, 32
    mov [rdx], rsp
    mov rax, rdi
    mov rcx, [rsi]
    mov rdx, [rsi + 8]
    mov r8, [rsi + 16]
    cld
    call rax
    mov rdx, rsp
    and rdx, {mask}
    cmp rsp, [rdx + {called}]
    je called_over
    ud2
    .global called_over
called_over:
    push 2
    popfq
    add rsp, 32
    pop rdx
    mov qword ptr [rdx], 0
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
    "#,
    mask = const -(CORE_STRIDE as i64),
    called = const LOCAL + offset_of!(Local, called) as u64,
);

unsafe extern "C" {
    fn called_call(code: u64, arguments: *const [u64; 3], called: u64) -> u64;
}

/// Calls the code at `offset` of an event's place; what it returned.
///
/// # Errors
/// [`Exception`].
///
/// # Safety
/// The place is open (K1 in `window`), code that ends in a return lies there, and whoever wrote it may do what root may: nothing
/// but an exception is kept from doing harm. `arguments` are addresses that it may use as it was told.
pub unsafe fn call(event: u32, offset: u32, arguments: [u64; 3]) -> Result<u64, Exception> {
    let local = local();
    let place = window::place(event);
    // Its page faults would leave their address where (Intel) the guest's still is.
    let cr2 = super::cr2();
    local.vector.store(NONE, Relaxed);
    // SAFETY: by the caller; the routine keeps to the calling convention (L3), on a stack of this core's own.
    let value = unsafe { called_call(place + u64::from(offset), &raw const arguments, local.called.as_ptr() as u64) };
    super::write_cr2(cr2);
    match local.vector.load(Relaxed) {
        NONE => Ok(value),
        vector => {
            let vector = u8::try_from(vector).unwrap_or(u8::MAX);
            Err(Exception { vector, offset: local.fault_rip.load(Relaxed).wrapping_sub(place) })
        }
    }
}
